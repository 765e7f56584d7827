"""Tables of PDF pages made here: what lines up becomes rows, what does not stays lines."""

from __future__ import annotations

from ingestion.convert.formats import convert
from tests.fakes.files import pdf

Lines = list[tuple[float, float, float, str]]


def tabled(rows: list[list[str]], at: list[float], top: float = 700) -> Lines:
    """Rows whose cells begin at the columns `at`; pdfium takes what stands at one height for a line."""
    return [
        (at[column], top - 14 * number, 10, text)
        for number, row in enumerate(rows)
        for column, text in enumerate(row)
        if text
    ]


PROSE: Lines = [
    (50, 780 - 12 * n, 10, "The first line of a paragraph goes on and on to the right margin of it")
    for n in range(4)
]


def test_cells_that_stand_below_one_another_are_a_table() -> None:
    rows = [["Country", "Capital", "People"], ["Austria", "Vienna", "8.9"], ["Belgium", "", "11.5"],
            ["Denmark", "Copenhagen", "5.8"]]  # fmt: skip
    document = convert(pdf(PROSE + tabled(rows, [50, 220, 390])), "a.pdf")
    (table,) = [b for b in document.blocks if b.kind == "table"]
    assert document.text[table.start : table.end] == (
        "| Country | Capital | People |\n| --- | --- | --- |\n| Austria | Vienna | 8.9 |\n"
        "| Belgium |  | 11.5 |\n| Denmark | Copenhagen | 5.8 |"
    )
    assert table.page == 1
    assert document.blocks[0].kind == "paragraph"


def test_a_header_wider_than_its_columns_stands_over_the_nearest() -> None:
    rows = [["Country of birth", "Capital now", "n"], *([f"c{n}", f"d{n}", "7"] for n in range(4))]
    document = convert(pdf(tabled(rows, [50, 220, 390])), "a.pdf")
    assert document.text.startswith("| Country of birth | Capital now | n |\n")


def test_prose_in_two_columns_is_no_table() -> None:
    left = "A column of a page that holds prose, and"
    rows = [[left, "goes on at the right, as in newspapers of"] for _ in range(6)]
    document = convert(pdf(tabled(rows, [50, 330])), "a.pdf")
    assert not any(b.kind == "table" for b in document.blocks)


def test_gaps_that_do_not_line_up_are_no_table() -> None:
    ragged: Lines = [
        (50 + 60 * part + 37 * (number % 3) * part, 700 - 14 * number, 10, f"w{number}{part}")
        for number in range(6)
        for part in range(2 + number % 3)
    ]
    document = convert(pdf(ragged), "a.pdf")
    assert not any(b.kind == "table" for b in document.blocks)
