"""Workbooks, delimited text and OpenDocument sheets made here: tables, values and where they stand."""

from __future__ import annotations

import time

import pytest

from ingestion.chunking import Chunking, split
from ingestion.convert.document import BlockPlace, ConversionError, ConversionLimits, Converted
from ingestion.convert.formats import convert
from ingestion.convert.sheets import column_name
from tests.fakes.files import R, S, odf, relations, row, words, xlsx


def test_a_workbook_gives_its_visible_sheets_as_tables() -> None:
    data = xlsx(
        {
            "Sales": row(2, "Region", "Total") + row(3, "North", 12.50) + row(4, "South | East", 7),
            "Secret": row(1, "a", "b"),
        },
        states="Secret",
    )
    document = convert(data, "a.xlsx")
    assert document.text == (
        "# Sales\n\n| Region | Total |\n| --- | --- |\n| North | 12.5 |\n| South \\| East | 7 |"
    )
    assert document.blocks[1].place == BlockPlace("row", 2, 4, "Sales", ("A", "B"))
    assert document.metadata == {"sheets": ["Sales"], "hidden_sheets": ["Secret"]}


def test_values_are_given_as_a_sheet_shows_them() -> None:
    styles = (
        f'<styleSheet xmlns="{S}"><numFmts><numFmt numFmtId="164" formatCode="dd\\.mm\\.yyyy"/></numFmts>'
        '<cellXfs><xf numFmtId="0"/><xf numFmtId="14"/><xf numFmtId="164"/><xf numFmtId="9"/>'
        '<xf numFmtId="22"/></cellXfs></styleSheet>'
    )
    strings = (
        f'<sst xmlns="{S}"><si><t>plain</t></si><si><r><t>ri</t></r><r><t>ch</t></r><rPh><t>no</t></rPh>'
        "</si></sst>"
    )
    cells = (
        '<row r="1"><c r="A1" s="1"><v>45292</v></c><c r="B1" s="2"><v>45293</v></c>'
        '<c r="C1" s="3"><v>0.125</v></c><c r="D1" s="4"><v>45292.5</v></c><c r="E1" t="s"><v>1</v></c>'
        '<c r="F1" t="b"><v>1</v></c><c r="G1" t="e"><v>#DIV/0!</v></c><c r="H1" t="s"><v>9</v></c>'
        '<c r="I1"><f>A1*2</f><v>90584</v></c><c r="J1"><v>0.1</v></c></row>'
    )
    parts = {"xl/styles.xml": styles, "xl/sharedStrings.xml": strings}
    document = convert(xlsx({"A": cells}, parts=parts), "a.xlsx")
    assert document.text.split("\n")[2] == (
        "| 2024-01-01 | 2024-01-02 | 12.5% | 2024-01-01 12:00 | rich | TRUE | #DIV/0! |  | 90584 | 0.1 |"
    )


def test_tables_on_one_sheet_stay_apart() -> None:
    rows = (
        row(1, "Prices of 2026") + row(2, "a", "b") + row(3, 1, 2)
        + row(6, "c", "d", "", "e", "f") + row(7, 3, 4, "", 5, 6)
    )  # fmt: skip
    document = convert(xlsx({"S": rows}), "a.xlsx")
    tables = [block for block in document.blocks if block.kind == "table"]
    assert [document.text[b.start : b.start + 9] for b in tables] == [
        "| a | b |",
        "| c | d |",
        "| e | f |",
    ]
    assert tables[0].heading_path == ("S", "Prices of 2026")
    assert tables[2].place == BlockPlace("row", 6, 7, "S", ("D", "E"))


def test_links_of_cells_are_kept_where_they_lead_to_the_web() -> None:
    data = xlsx(
        {"S": row(1, "page", "x")},
        parts={
            "xl/worksheets/_rels/s1.xml.rels": relations(
                ("l", "hyperlink", "https://wiki.example/a")
            ),
            "xl/worksheets/s1.xml": f'<worksheet xmlns="{S}" xmlns:r="{R}"><sheetData>{row(1, "page", "x")}'
            '</sheetData><hyperlinks><hyperlink ref="A1" r:id="l"/></hyperlinks></worksheet>',
        },
    )
    assert "[page](https://wiki.example/a)" in convert(data, "a.xlsx").text


def test_chunks_of_a_long_sheet_name_their_cells_and_keep_the_header() -> None:
    rows = row(1, "Name", "City") + "".join(row(n, f"person{n}", f"city{n}") for n in range(2, 301))
    document = convert(xlsx({"People": rows}), "a.xlsx")
    spans = split(document, Chunking(size=64, context=16), words)
    assert len(spans) > 5
    middle = next(span for span in spans if "person150 " in document.text[span.start : span.end])
    lines = document.text[middle.start : middle.end].split("\n")
    first, last = (int(lines[at].split()[1].removeprefix("person")) for at in (0, -1))
    assert middle.place == f"People!A{first}:B{last}"
    assert middle.context.endswith("| Name | City |")
    assert spans[0].place.startswith("People!A1:B")


def test_rows_of_a_wide_sheet_keep_their_columns_names() -> None:
    heads = [f"A long name of column {n}" for n in range(20)]
    rows = row(1, *heads) + row(2, *(f"v{n}" for n in range(20)))
    document = convert(xlsx({"W": rows}), "a.xlsx")
    assert "A long name of column 7: v7; A long name of column 8: v8" in document.text
    assert document.blocks[-1].place == BlockPlace("row", 2, 2, "W", ("A", "T"))


def test_a_sheet_longer_than_the_limit_ends_with_a_word_about_it() -> None:
    rows = "".join(row(n, f"a{n}", "b") for n in range(1, 21))
    document = convert(xlsx({"S": rows}), "a.xlsx", ConversionLimits(rows=10))
    assert "a10 " in document.text
    assert "a11 " not in document.text
    assert document.notice.startswith(
        "Only the first 10 rows were read (up to row 10 of sheet 'S')"
    )


@pytest.mark.slow
def test_a_sheet_of_a_million_rows_costs_only_what_is_kept() -> None:
    one = "".join(
        f'<row r="{n}"><c r="A{n}"><v>{n}</v></c><c r="B{n}"><v>1</v></c></row>'
        for n in range(1, 1_000_001)
    )
    data = xlsx({"S": one})
    began = time.thread_time()
    document = convert(data, "a.xlsx")
    assert time.thread_time() - began < 30
    assert "Only the first 100,000 rows" in document.notice


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"a,b\n1,2\n", ["a", "b"]),
        (b"a;b\n1,5;2\n", ["a", "b"]),
        (b"a\tb\n1\t2\n", ["a", "b"]),
        (b"a|b\n1|2\n", ["a", "b"]),
        (b"sep=;\na;b,c\n1;2\n", ["a", "b,c"]),
        (b'a,"b\nc"\n1,"x ""y"""\n', ["a", "b c"]),
        ("\ufeffa;b\nä;ö\n".encode(), ["a", "b"]),
        ("a,b\nü,2\n".encode("cp1252"), ["a", "b"]),
        ("a\tb\n1\t2\n".encode("utf-16"), ["a", "b"]),
    ],
)
def test_delimited_text_is_cut_where_it_is_meant_to(data: bytes, expected: list[str]) -> None:
    header = convert(data, "a.csv").text.split("\n")[0]
    assert header == "| " + " | ".join(expected) + " |"


def test_a_quote_that_never_closes_does_not_swallow_the_file() -> None:
    document = convert(b'a,b\n"1,2\n' + b"3,4\n" * 500_000, "a.csv", ConversionLimits(rows=1000))
    assert document.blocks


def test_a_delimited_file_over_the_limit_says_so() -> None:
    document = convert(b"a,b\n" + b"1,2\n" * 50, "a.csv", ConversionLimits(rows=10))
    assert document.text.count("\n") == 10
    assert "Only the first 10 rows" in document.notice


def test_a_page_or_table_named_xls_is_read_as_what_it_is() -> None:
    assert convert(b"a\tb\n1\t2\n", "export.xls").text.startswith("| a | b |")
    page = convert(b"<html><table><tr><td>a</td><td>b</td></tr></table></html>", "export.xls")
    assert page.metadata == {"read_as": "HTML"}


SHEET = (
    '<table:table table:name="Costs"><table:table-row><table:table-cell><text:p>Item</text:p>'
    '</table:table-cell><table:table-cell table:number-columns-repeated="2"><text:p>Eur</text:p>'
    '</table:table-cell><table:table-cell table:number-columns-repeated="16000"/></table:table-row>'
    '<table:table-row table:number-rows-repeated="2"><table:table-cell><text:p>Pen</text:p>'
    '</table:table-cell><table:table-cell office:value="3"><text:p>3,00</text:p></table:table-cell>'
    '</table:table-row><table:table-row table:number-rows-repeated="1048000"><table:table-cell/>'
    "</table:table-row></table:table>"
)


def test_an_opendocument_sheet_is_read_without_its_endless_empty_cells() -> None:
    document: Converted = convert(odf("spreadsheet", SHEET), "a.ods")
    assert document.text == (
        "# Costs\n\n| Item | Eur | Eur |\n| --- | --- | --- |\n| Pen | 3,00 |  |\n| Pen | 3,00 |  |"
    )
    assert document.blocks[1].place == BlockPlace("row", 1, 3, "Costs", ("A", "C"))


def test_a_row_repeated_a_million_times_is_a_trap_that_ends() -> None:
    trap = SHEET.replace('number-rows-repeated="2"', 'number-rows-repeated="1000000"')
    assert convert(odf("spreadsheet", trap), "a.ods").text.count("Pen") == 1000


def test_a_locked_opendocument_file_is_refused_as_encrypted() -> None:
    manifest = (
        "<m:manifest xmlns:m='x'><m:file-entry><m:encryption-data/></m:file-entry></m:manifest>"
    )
    with pytest.raises(ConversionError) as caught:
        convert(odf("text", "", parts={"META-INF/manifest.xml": manifest}), "a.odt")
    assert caught.value.code == "encrypted"


def test_columns_have_letters() -> None:
    assert [column_name(n) for n in (0, 25, 26, 701, 702)] == ["A", "Z", "AA", "ZZ", "AAA"]
