"""Files made to hurt: each ends in a document or one clear error, and the next one is read."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Callable

import pytest
import pytest_asyncio

from engine.errors import DocumentError
from ingestion.parsing import ParsingPool, open_parsing_pool
from tests.fakes.files import S, odf, pdf, row, xlsx, zipped

pytestmark = pytest.mark.slow


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def pool() -> AsyncIterator[ParsingPool]:
    async with open_parsing_pool(timeout_s=200, ocr=False) as opened:
        yield opened


def noise(head: bytes) -> bytes:
    return head + random.Random(1).randbytes(300_000)


def sheet(value: str) -> bytes:
    cell = f'<row r="1"><c r="A1" t="inlineStr"><is><t>{value}</t></is></c></row>'
    return xlsx({"S": cell})


ENDLESS_ROW = (
    '<table:table-row table:number-rows-repeated="1000000"><table:table-cell'
    ' table:number-columns-repeated="16384"><text:p>x</text:p></table:table-cell></table:table-row>'
)
HOSTILE: dict[str, Callable[[], bytes]] = {
    "pages.pdf": lambda: pdf(*([[(50, 700, 10, f"Page {n}")] for n in range(10_001)])),
    "bomb.xlsx": lambda: sheet("a" * 450_000_000),
    "attributes.html": lambda: (
        b"<html><body " + b" ".join(b"a%d=1" % n for n in range(20_000)) + b">x"
    ),
    "tables.html": lambda: b"<html><body>" + b"<table><tr><td>" * 20_000 + b"x",
    "deep.json": lambda: b"[" * 5_000_000,
    "braces.rtf": lambda: b"{\\rtf1" + b"{" * 500_000,
    "stars.md": lambda: b"*" * 500_000,
    "blanks.md": lambda: b" " * 5_000_000 + b"x",
    "brackets.md": lambda: b"[" * 500_000,
    "definitions.py": lambda: b"def f(\n" * 100_000,
    "call.c": lambda: b"int a b c d e f g h i j k l m n o p q r s t u v w x y z " * 8 + b"(\n",
    "quotes.csv": lambda: b'"' * 1_000_001,
    "commas.csv": lambda: b"," * 1_000_000,
    "encoded.eml": lambda: b"From: a\nTo: b\nSubject: " + b"=?utf-8?q?a?= " * 200_000 + b"\n\nbody",
    "parts.eml": lambda: (
        b"From: a\nTo: b\nSubject: c\nContent-Type: multipart/mixed; boundary=x\n\n"
        + b"--x\n\na\n" * 50_000
    ),
    "rules.rst": lambda: b"=====\n" * 100_000,
    "noise.pdf": lambda: noise(b"%PDF-1.4\n"),
    "noise.docx": lambda: noise(b"PK\x03\x04"),
    "noise.msg": lambda: noise(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"),
    "noise.rtf": lambda: noise(b"{\\rtf1 "),
    "endless.ods": lambda: odf("spreadsheet", f"<table:table>{ENDLESS_ROW * 50}</table:table>"),
    "blanks.odt": lambda: odf("text", '<text:p><text:s text:c="99999999"/></text:p>' * 10_000),
    "parts.docx": lambda: zipped(
        {f"word/{n}": "" for n in range(20_001)} | {"word/document.xml": ""}
    ),
    "loop.xlsx": lambda: zipped(
        {
            "[Content_Types].xml": "<Types/>",
            "_rels/.rels": '<R><Relationship Id="1" Type="officeDocument" Target="../../etc/passwd"/></R>',
            "xl/workbook.xml": f'<workbook xmlns="{S}"/>',
        }
    ),
}


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("name", HOSTILE)
async def test_a_hostile_file_ends_and_the_next_is_read(pool: ParsingPool, name: str) -> None:
    code = ""
    try:
        said = (await pool.parse(HOSTILE[name](), name)).text
    except DocumentError as error:
        code, said = error.code, str(error)
    assert code in {"", "too_large", "unreadable", "empty", "unknown_type"}
    assert said.strip()
    assert not code or ":" in said, "what is wrong: what to do"
    assert (await pool.parse(b"next", "b.txt")).text == "next"


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("wide.json", b'[{"a": 1, "b": 2}, {"a": 3, "b": 4}]'),
        ("a.xml", "<?xml version='1.0' encoding='koi8-r'?><a>слово</a>".encode("koi8_r")),
        ("a.html", "<meta charset='big5'><p>\u4e2d\u6587\u6e2c\u8a66</p>".encode("big5")),
        ("a.eml", b"From: a\nTo: b\nSubject: =?iso-2022-kr?B?GyQpQw==?= x\n\nbody"),
        ("a.xlsx", xlsx({"S": row(1, "a", "b")})),
        ("a.rtf", b"{\\rtf1\\ansi\\ansicpg1258 caf\\'e9}"),
    ],
)
async def test_nothing_is_left_to_load_in_a_child_that_opens_no_file(
    pool: ParsingPool, name: str, data: bytes
) -> None:
    assert (await pool.parse(data, name)).text


@pytest.mark.asyncio(loop_scope="module")
async def test_ten_thousand_pages_are_read(pool: ParsingPool) -> None:
    data = pdf(*([[(50, 700, 10, f"Page number {n} of jays")] for n in range(10_000)]))
    document = await pool.parse(data, "a.pdf")
    assert document.page_count == 10_000
    assert document.blocks[-1].page == 10_000
