"""A page that was turned reads as the same page upright, tables and all."""

from __future__ import annotations

import pytest

from ingestion.convert.formats import convert
from tests.fakes.files import pdf
from tests.ingestion.test_pdf_tables import CELLS, PROSE, TABLE, Lines, strokes, tabled

ROWS = [["Country", "Capital", "People"], ["Austria", "Vienna", "8.9"],
        ["Belgium", "Brussels", "11.5"], ["Denmark", "Copenhagen", "5.8"],
        ["Estonia", "Tallinn", "1.4"]]  # fmt: skip
COLUMN_BY_COLUMN = sorted(tabled(ROWS, [50, 220, 390]), key=lambda cell: cell[0])


@pytest.mark.parametrize("seen", ["turned by the viewer", "on its side"])
@pytest.mark.parametrize("rotate", [90, 180, 270])
@pytest.mark.parametrize(
    ("lines", "drawn"),
    [(tabled(ROWS, [50, 220, 390]), ""), (COLUMN_BY_COLUMN, ""), (CELLS, strokes())],
    ids=["by rows", "by columns", "drawn"],
)
def test_a_turned_page_reads_as_it_does_upright(
    lines: Lines, drawn: str, rotate: int, seen: str
) -> None:
    heading = (50, 795, 16, "Countries of Europe")
    upright = convert(pdf([heading, *PROSE, *lines], drawn=drawn), "a.pdf").text
    data = pdf([heading, *PROSE, *lines], drawn=drawn, rotate=rotate)
    if seen == "on its side":
        data = data.replace(b"/Rotate %d" % rotate, b"/Rotate %3d" % 0)
    assert convert(data, "a.pdf").text == upright


def test_a_drawn_table_of_a_turned_page_keeps_its_rows() -> None:
    assert TABLE in convert(pdf(PROSE + CELLS, drawn=strokes(), rotate=90), "a.pdf").text


@pytest.mark.parametrize("rotate", [0, 90, 180, 270])
def test_a_table_written_column_by_column_has_rows(rotate: int) -> None:
    note = (50, 600, 10, "Behind the table a sentence goes on and on to the right margin.")
    text = convert(pdf([*PROSE, *COLUMN_BY_COLUMN, note], rotate=rotate), "a.pdf").text
    assert text.splitlines()[5:] == [
        "| Country | Capital | People |",
        "| --- | --- | --- |",
        "| Austria | Vienna | 8.9 |",
        "| Belgium | Brussels | 11.5 |",
        "| Denmark | Copenhagen | 5.8 |",
        "| Estonia | Tallinn | 1.4 |",
        "",
        "Behind the table a sentence goes on and on to the right margin.",
    ]


def test_columns_of_text_stay_columns() -> None:
    left = [(50, 700 - 12 * n, 10, f"Line {n} of the text at the left side") for n in range(8)]
    right = [(330, 700 - 12 * n, 10, f"and line {n} of what is at the right") for n in range(8)]
    text = convert(pdf([*left, *right]), "a.pdf").text
    assert text.split("\n") == [line[3] for line in [*left, *right]]
