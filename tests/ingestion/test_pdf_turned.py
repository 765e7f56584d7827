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
