"""Words of PDFs in scripts that wrap within words, are set apart, or run from right to left."""

from __future__ import annotations

import pytest

from ingestion.convert.formats import convert
from ingestion.convert.letters import mended
from ingestion.convert.pdf_joints import joined
from ingestion.convert.pdf_lines import Line

ENCODINGS = {
    "ja": ("UniJIS-UCS2-H", "Japan1"),
    "zh": ("UniGB-UCS2-H", "GB1"),
    "ko": ("UniKS-UCS2-H", "Korea1"),
}


def pdf(language: str, *lines: str) -> bytes:
    """A PDF of lines below one another, in a font that is named only."""
    encoding, ordering = ENCODINGS[language]
    ops = " ".join(
        f"BT /F 10 Tf 50 {700 - 14 * at} Td <{line.encode('utf-16-be').hex()}> Tj ET"
        for at, line in enumerate(lines)
    )
    box = "/Flags 4/FontBBox[0 -200 1000 800]/Ascent 800/Descent -200/CapHeight 700/StemV 80"
    objects = [
        "<</Type/Catalog/Pages 2 0 R>>",
        "<</Type/Pages/Kids[4 0 R]/Count 1>>",
        f"<</Length {len(ops)}>>stream\n{ops}\nendstream",
        (
            "<</Type/Page/Parent 2 0 R/MediaBox[0 0 600 800]/Contents 3 0 R/Resources<</Font<</F 5 0 R"
            ">>>>>>"
        ),
        f"<</Type/Font/Subtype/Type0/BaseFont/X/Encoding/{encoding}/DescendantFonts[6 0 R]>>",
        (
            "<</Type/Font/Subtype/CIDFontType0/BaseFont/X/CIDSystemInfo<</Registry(Adobe)/Ordering"
            f"({ordering})/Supplement 2>>/DW 1000/FontDescriptor<</Type/FontDescriptor/FontName/X"
            f"/ItalicAngle 0{box}>>>>"
        ),
    ]
    body = "".join(f"{n} 0 obj{content}\nendobj\n" for n, content in enumerate(objects, 1))
    return f"%PDF-1.4\n{body}trailer<</Root 1 0 R>>".encode()


@pytest.mark.parametrize(
    ("language", "lines", "text"),
    [
        (
            "ja",
            ["庭の椅子はとても丈夫に作ら", "れています。雨の日も外に置", "いて大丈夫です。"],
            "庭の椅子はとても丈夫に作られています。雨の日も外に置いて大丈夫です。",
        ),
        (
            "zh",
            ["公司第二季度的营业收入增", "长了百分之十二。"],
            "公司第二季度的营业收入增长了百分之十二。",
        ),
        ("zh", ["甲方:张三", "乙方:李四"], "甲方:张三\n乙方:李四"),
        ("zh", ["中 国 人 民 银 行 公 告"], "中国人民银行公告"),
        (
            "ko",
            ["회사의 이번 분기 매출은 크게 늘었으며 영업이", "익도 늘어났다. 내년에는 새로운 공장을 ", "세운다."],
            "회사의 이번 분기 매출은 크게 늘었으며 영업이익도 늘어났다. 내년에는 새로운 공장을\n세운다.",
        ),
        (
            "ko",
            ["회사의이번분기매출은크게늘었", "으며영업이익도함께늘어났다고", "밝혔다."],
            "회사의이번분기매출은크게늘었으며영업이익도함께늘어났다고밝혔다.",
        ),
        (
            "ko",
            ["회사의 이번 분기 매출은 지난해보다", "크게 늘었으며 영업이익도", "함께 늘었다."],
            "회사의 이번 분기 매출은 지난해보다\n크게 늘었으며 영업이익도\n함께 늘었다.",
        ),
    ],
    ids=["Japanese", "Chinese", "lines of their own", "set apart", "within words", "justified",
         "between words"],
)  # fmt: skip
def test_a_line_end_parts_no_word(language: str, lines: list[str], text: str) -> None:
    assert convert(pdf(language, *lines), "a.pdf").text == text


@pytest.mark.parametrize(
    ("written", "text"),
    [
        ("كتابPython للمبتدئين", "كتاب Python للمبتدئين"),  # noqa: RUF001 (letters that look like Latin ones)
        ("استخدمDockerفي", "استخدم Docker في"),  # noqa: RUF001 (letters that look like Latin ones)
        ("مدرسة", "مدرسة"),
        ("ספרPython", "ספר Python"),  # noqa: RUF001 (letters that look like Latin ones)
        ("目 录", "目 录"),
        ("第 2 章 概 要 と 目 的", "第 2 章概要と目的"),
        ("차 례 와 개 요", "차례와개요"),
        ("이 것은 새 책", "이 것은 새 책"),
    ],
)
def test_spaces_are_put_where_the_script_has_them(written: str, text: str) -> None:
    assert mended(written) == text


def test_a_soft_hyphen_at_a_line_end_parts_no_word() -> None:
    lines = [
        Line(text, 10, bold=False, left=50, right=200, bottom=700, end_bottom=700)
        for text in ("It is in the hand\u00ad", "book on the desk")
    ]
    assert joined(lines, "\n") == "It is in the handbook on the desk"
