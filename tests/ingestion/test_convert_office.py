"""Web pages, Word and PDF files made here, small and sometimes hostile."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping
from datetime import UTC, datetime

import pytest

from ingestion.chunking import Chunking, split
from ingestion.convert.document import ConversionError, ConversionLimits, Converted
from ingestion.convert.formats import FORMATS, convert
from ingestion.convert.pdf import parse_pdf_date
from ingestion.convert.warmup import warm_up
from tests.fakes.files import words

W = "http://schemas.openxmlformats.org/wordprocessingml/2006/main"
R = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"


def word(body: str, parts: Mapping[str, str] | None = None) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("[Content_Types].xml", "<Types/>")
        archive.writestr(
            "word/document.xml",
            f'<w:document xmlns:w="{W}" xmlns:r="{R}"><w:body>{body}</w:body></w:document>',
        )
        for name, content in (parts or {}).items():
            archive.writestr(name, content)
    return out.getvalue()


def p(text: str, properties: str = "") -> str:
    return f"<w:p><w:pPr>{properties}</w:pPr><w:r><w:t>{text}</w:t></w:r></w:p>"


def item(text: str, number: int, level: int = 0) -> str:
    return p(text, f'<w:numPr><w:ilvl w:val="{level}"/><w:numId w:val="{number}"/></w:numPr>')


STYLES = f"""<w:styles xmlns:w="{W}">
<w:style w:styleId="T"><w:name w:val="Title"/></w:style>
<w:style w:styleId="1"><w:name w:val="heading 1"/></w:style>
<w:style w:styleId="X"><w:name w:val="Own"/><w:basedOn w:val="1"/></w:style>
<w:style w:styleId="C"><w:name w:val="circle"/><w:basedOn w:val="C"/></w:style>
</w:styles>"""
NUMBERING = f"""<w:numbering xmlns:w="{W}">
<w:abstractNum w:abstractNumId="0"><w:lvl w:ilvl="0"><w:numFmt w:val="decimal"/></w:lvl></w:abstractNum>
<w:num w:numId="7"><w:abstractNumId w:val="0"/></w:num></w:numbering>"""


def test_a_word_document_keeps_its_structure() -> None:
    link = '<w:hyperlink r:id="r1"><w:r><w:t>the page</w:t></w:r></w:hyperlink>'
    deleted = "<w:del><w:r><w:delText>gone</w:delText></w:r></w:del>"
    cells = "<w:tr><w:tc><w:p><w:r><w:t>{}</w:t></w:r></w:p></w:tc><w:tc>{}</w:tc></w:tr>"
    nested = f"<w:tbl>{cells.format('x', p('y|z'))}</w:tbl>"
    body = (
        p("Handbook", '<w:pStyle w:val="T"/>')
        + p("Leave", '<w:pStyle w:val="X"/>')
        + f"<w:p><w:r><w:t>See </w:t></w:r>{link}{deleted}<w:r><w:br/><w:t>soon</w:t></w:r></w:p>"
        + item("first", 7)
        + item("second", 7)
        + item("inner", 8, 1)
        + p("Round", '<w:pStyle w:val="C"/>')
        + f"<w:tbl>{cells.format('a', p('b'))}{cells.format('c', nested)}</w:tbl>"
    )
    relations = (
        '<R><Relationship Id="r1" TargetMode="External" Target="https://wiki.example/a(b)"/></R>'
    )
    core = '<c xmlns:dc="http://purl.org/dc/elements/1.1/"><dc:creator>Ada</dc:creator></c>'
    data = word(
        body,
        {
            "word/styles.xml": STYLES,
            "word/numbering.xml": NUMBERING,
            "word/_rels/document.xml.rels": relations,
            "docProps/core.xml": core,
        },
    )
    document = convert(data, "handbook.docx")
    assert document.author == "Ada"
    assert document.title == "Handbook"
    assert document.text == (
        "# Handbook\n\n# Leave\n\nSee [the page](https://wiki.example/a%28b%29)\nsoon\n\n1. first\n2. second\n  - inner\n\nRound\n\n"
        "| a | b |\n| --- | --- |\n| c | x; y\\|z |"
    )
    assert [b.kind for b in document.blocks][-3:] == ["list", "paragraph", "table"]


def test_entities_in_word_are_refused_not_expanded() -> None:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("[Content_Types].xml", "<Types/>")
        archive.writestr(
            "word/document.xml",
            '<!DOCTYPE d [<!ENTITY a SYSTEM "file:///etc/hostname">]>'
            f'<w:document xmlns:w="{W}"><w:body>{p("&a;")}</w:body></w:document>',
        )
    with pytest.raises(ConversionError, match="XML entities"):
        convert(out.getvalue(), "a.docx")


def test_a_zip_bomb_is_refused_by_what_it_unpacks_to() -> None:
    bomb = word(p("x" * 3_000_000))
    assert len(bomb) < 20_000
    with pytest.raises(ConversionError) as caught:
        convert(bomb, "a.docx", ConversionLimits(unpacked_bytes=1_000_000))
    assert caught.value.code == "too_large"


def test_mathematics_is_told_on_one_line() -> None:
    def r(text: str) -> str:
        return f"<m:r><m:t>{text}</m:t></m:r>"

    square = f"<m:sSup><m:e>{r('x')}</m:e><m:sup>{r('2')}</m:sup></m:sSup>"
    root = f"<m:rad><m:deg/><m:e>{r('a+b')}</m:e></m:rad>"
    fraction = f"<m:f><m:num>{r('1')}{square}</m:num><m:den>{root}</m:den></m:f>"
    m = "http://schemas.openxmlformats.org/officeDocument/2006/math"
    body = f'<w:p><m:oMath xmlns:m="{m}">{r("y=")}{fraction}</m:oMath></w:p>'
    assert convert(word(body), "a.docx").text == "y=(1x^2)/(\u221a(a+b))"


def test_word_nested_without_end_is_read_without_a_crash() -> None:
    body = p("top") + "<w:sdt><w:sdtContent>" * 80 + p("deep") + "</w:sdtContent></w:sdt>" * 80
    assert convert(word(body), "a.docx").text == "top"


PAGE = """<!DOCTYPE html><html lang="de"><head><title>Leave rules</title>
<meta name="author" content="Ada"><meta property="article:published_time" content="2026-03-01">
<style>p{}</style></head><body><header>Site</header><nav>Menu</nav>
<h1>Leave</h1><p>Ask <b>early</b>,<br>see <a href="/form">the form</a> or <a href="javascript:x()">this</a>.
<script>alert(1)</script><ul><li>one<ul><li>inner</li></ul>tail</li><li hidden>no</li></ul>
<ol><li>first</li></ol><pre><code class="language-sh">a  &lt; b
c</code></pre><table><tr><th>A</th><th>B|C</th></tr><tr><td colspan=2>x</td></tr></table>
<table><tr><td><h2>Laid out</h2><p>Text</p></td></tr></table>
<blockquote><p>Quoted.</p></blockquote><div style="display: none">hidden</div>
<p aria-hidden="true">unseen</p><footer>Imprint</footer></body></html>"""


def test_a_web_page_gives_what_a_reader_came_for() -> None:
    document = convert(PAGE.encode(), "page.html")
    assert document.text == (
        "# Leave\n\nAsk early, see [the form](/form) or this.\n\n- one tail\n  - inner\n\n1. first\n\n"
        "```sh\na  < b\nc\n```\n\n| A | B\\|C |\n| --- | --- |\n| x |  |\n\n## Laid out\n\nText\n\n> Quoted."
    )
    assert (document.title, document.author, document.language) == ("Leave rules", "Ada", "de")
    assert document.created_at == datetime(2026, 3, 1, tzinfo=UTC)


def test_the_main_part_of_a_page_is_preferred() -> None:
    body = "What people came for, at some length. " * 5
    page = (
        f"<html><body><p>Cookies!</p><main><header><h1>T</h1></header>{body}</main></body></html>"
    )
    document = convert(page.encode(), "a")
    assert "Cookies" not in document.text
    assert document.text.endswith("at some length.")
    assert document.mime == "text/html"


def test_a_page_nested_deeply_ends_in_text() -> None:
    page = b"<html><body>" + b"<div>" * 200 + b"deep" + b"</body></html>"
    assert convert(page, "a.html").text == "deep"


def test_a_page_nested_absurdly_ends_without_a_crash() -> None:
    page = b"<html><body>Top" + b"<ul><li>" * 3000 + b"x</body></html>"
    assert convert(page, "a.html").text.startswith("Top")


def pdf(*pages: list[tuple[float, float, float, str]]) -> bytes:
    """A PDF whose pages hold lines of (x, y, size, text)."""
    objects = ["<</Type/Catalog/Pages 2 0 R>>", ""]
    kids = []
    for lines in pages:
        ops = " ".join(f"BT /F {size} Tf {x} {y} Td ({text}) Tj ET" for x, y, size, text in lines)
        objects.append(f"<</Length {len(ops)}>>stream\n{ops}\nendstream")
        font = "<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>"
        objects.append(
            f"<</Type/Page/Parent 2 0 R/MediaBox[0 0 600 800]/Contents {len(objects)} 0 R"
            f"/Resources<</Font<</F {font}>>>>>>"
        )
        kids.append(f"{len(objects)} 0 R")
    objects[1] = f"<</Type/Pages/Kids[{' '.join(kids)}]/Count {len(kids)}>>"
    body = "".join(f"{n} 0 obj{content}\nendobj\n" for n, content in enumerate(objects, 1))
    return f"%PDF-1.4\n{body}trailer<</Root 1 0 R>>".encode()


def page_of(number: int) -> list[tuple[float, float, float, str]]:
    return [
        (50, 780, 8, "Handbook 2026"),
        (50, 700, 20, f"Chapter {['One', 'Two', 'Three', 'Four'][number - 1]}"),
        (50, 660, 10, "The first line of a paragraph goes on"),
        (50, 648, 10, "in the second line of it."),
        (50, 610, 10, "Another paragraph stands apart."),
        (300, 20, 8, str(number)),
    ]


def test_a_pdf_gives_headings_paragraphs_and_pages() -> None:
    document: Converted = convert(pdf(*(page_of(n) for n in range(1, 5))), "a.pdf")
    assert document.page_count == 4
    assert document.title == "Chapter One"
    seen = [(b.kind, b.page, document.text[b.start : b.end]) for b in document.blocks[:4]]
    assert seen == [
        ("heading", 1, "# Chapter One"),
        ("paragraph", 1, "The first line of a paragraph goes on\nin the second line of it."),
        ("paragraph", 1, "Another paragraph stands apart."),
        ("heading", 2, "# Chapter Two"),
    ]
    assert "Handbook 2026" not in document.text


def test_a_chunk_over_two_pages_names_both() -> None:
    lines = [[(50.0, 700.0, 10.0, f"A sentence of page {n}, which goes on.")] for n in (1, 2)]
    document = convert(pdf(*lines), "a.pdf")
    spans = split(document, Chunking(strategy="recursive"), words)
    assert [(span.page, span.place) for span in spans] == [(1, "pages 1\u20132")]
    apart = split(document, Chunking(strategy="recursive", size=16, context=4), words)
    assert [(span.page, span.place) for span in apart] == [(1, ""), (2, "")]


def test_a_pdf_without_text_asks_for_the_ocr_extra() -> None:
    with pytest.raises(ConversionError, match="install the ocr extra") as caught:
        convert(pdf([]), "scan.pdf")
    assert caught.value.code == "no_text"


def test_a_pdf_of_letters_that_make_no_words_is_refused() -> None:
    garbage = [(50, 700 - 12 * n, 10, "7KLV LV D WHVW RI WKH VKLIW FLSKHU WKDW") for n in range(5)]
    with pytest.raises(ConversionError, match="map to characters"):
        convert(pdf(garbage), "a.pdf")


def test_a_pdf_of_too_many_pages_is_refused() -> None:
    with pytest.raises(ConversionError) as caught:
        convert(pdf(page_of(1), page_of(2)), "a.pdf", ConversionLimits(pages=1))
    assert caught.value.code == "too_large"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("D:20240103093826+01'00'", datetime(2024, 1, 3, 8, 38, 26, tzinfo=UTC)),
        ("D:2024", datetime(2024, 1, 1, tzinfo=UTC)),
        ("D:20241399", None),
        ("yesterday", None),
    ],
)
def test_pdf_dates(value: str, expected: datetime | None) -> None:
    assert parse_pdf_date(value) == expected


def test_warming_up_runs_every_format() -> None:
    warm_up()
    assert all(known.samples for known in FORMATS)
