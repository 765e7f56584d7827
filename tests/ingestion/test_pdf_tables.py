"""Tables of PDF pages made here: what lines up becomes rows, what does not stays lines."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

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


# Tables that go on over the next page


def tables(data: bytes) -> list[tuple[int | None, list[str]]]:
    document = convert(data, "a.pdf")
    return [
        (block.page, document.text[block.start : block.end].split("\n"))
        for block in document.blocks
        if block.kind == "table"
    ]


AT = [50.0, 220.0, 390.0]
HEADER = ["Valve", "Holds", "Litres"]
FIRST = [HEADER, *([f"A{n}", f"water {n}", f"{n}0"] for n in range(4))]
SECOND = [[f"B{n}", f"oil {n}", f"{n}1"] for n in range(4)]
HEADED = "| Valve | Holds | Litres |"


@pytest.mark.parametrize("top", [760, 500])
def test_a_table_that_goes_on_over_the_page_keeps_its_header(top: float) -> None:
    found = tables(pdf(PROSE + tabled(FIRST, AT, 300), tabled(SECOND, AT, top)))
    assert [(page, rows[0], rows[2]) for page, rows in found] == [
        (1, HEADED, "| A0 | water 0 | 00 |"),
        (2, HEADED, "| B0 | oil 0 | 01 |"),
    ]
    assert len(found[1][1]) == 6


def test_a_table_of_words_goes_on_as_well_and_over_several_pages() -> None:
    parts = [
        tabled([[f"{letter}{n}", f"say {n}", "often"] for n in range(4)], AT) for letter in "BC"
    ]
    first = [["Part", "What", "When"], *([f"A{n}", f"say {n}", "now"] for n in range(4))]
    found = tables(pdf(tabled(first, AT), *parts))
    assert [rows[0] for _, rows in found] == ["| Part | What | When |"] * 3
    assert [len(rows) for _, rows in found] == [6, 6, 6]


def test_a_header_that_is_repeated_is_written_once_a_page() -> None:
    found = tables(pdf(tabled(FIRST, AT), tabled([HEADER, *SECOND], AT)))
    assert [(rows[0], len(rows)) for _, rows in found] == [(HEADED, 6), (HEADED, 6)]


@pytest.mark.parametrize(
    "second",
    [
        tabled([["Pump", "Moves", "Watts"], *SECOND], AT),  # another, with names of its own
        [(50.0, 780.0, 10.0, "And this is another table."), *tabled(SECOND, AT, 740)],
        tabled(SECOND, [50.0, 300.0, 470.0]),  # elsewhere on the page
        tabled([row[:2] for row in SECOND], AT[:2]),
    ],
)
def test_another_table_gets_no_header_of_the_one_before(second: Lines) -> None:
    found = tables(pdf(tabled(FIRST, AT), second))
    assert [rows[0] for _, rows in found].count(HEADED) == 1


def test_a_drawn_table_goes_on_in_the_same_grid() -> None:
    further = [(x, y, size, f"{text} b") for x, y, size, text in CELLS]
    found = tables(pdf(CELLS, further, drawn=strokes()))
    assert [(page, rows[0]) for page, rows in found] == [
        (1, "| Part | What it does | Price |"),
        (2, "| Part | What it does | Price |"),
    ]
    assert found[1][1][2].startswith("| Part b | What it does b |")


# Drawn tables

XS, YS = [50.0, 150.0, 400.0, 500.0], [700.0, 680.0, 640.0, 620.0]
TABLE = (
    "| Part | What it does | Price |\n| --- | --- | --- |\n"
    "| Valve | Holds the water back until it is needed | 12 |\n| Pump |  | 80 |"
)
CELLS: Lines = [
    (55, 685, 10, "Part"), (155, 685, 10, "What it does"), (405, 685, 10, "Price"),
    (55, 666, 10, "Valve"), (155, 666, 10, "Holds the water back"), (405, 666, 10, "12"),
    (155, 648, 10, "until it is needed"),
    (55, 626, 10, "Pump"), (405, 626, 10, "80"),
]  # fmt: skip


def strokes() -> str:
    """Each rule a line of its own."""
    across = [f"{XS[0]} {y} m {XS[-1]} {y} l S" for y in YS]
    return " ".join(across + [f"{x} {YS[-1]} m {x} {YS[0]} l S" for x in XS])


def one_path() -> str:
    """All rules in one path, scaled by a matrix."""
    across = [f"{XS[0] / 2} {y / 2} m {XS[-1] / 2} {y / 2} l" for y in YS]
    down = [f"{x / 2} {YS[-1] / 2} m {x / 2} {YS[0] / 2} l" for x in XS]
    return f"q 2 0 0 2 0 0 cm {' '.join(across + down)} S Q"


def thin_boxes() -> str:
    """Rules as word processors draw them: filled boxes half a point thick."""
    across = [f"{XS[0]} {y} {XS[-1] - XS[0]} 0.5 re f" for y in YS]
    return " ".join(across + [f"{x} {YS[-1]} 0.5 {YS[0] - YS[-1]} re f" for x in XS])


def frames() -> str:
    """Each cell a stroked rectangle."""
    return " ".join(
        f"{left} {low} {right - left} {high - low} re S"
        for left, right in pairwise(XS)
        for high, low in pairwise(YS)
    )


@pytest.mark.parametrize("drawn", [strokes, one_path, thin_boxes, frames])
def test_a_drawn_grid_says_what_belongs_together(drawn: Callable[[], str]) -> None:
    document = convert(pdf(PROSE + CELLS, drawn=drawn()), "a.pdf")
    (table,) = [b for b in document.blocks if b.kind == "table"]
    assert document.text[table.start : table.end] == TABLE
    assert document.text.count("Valve") == document.text.count("needed") == 1
    assert document.blocks[0].kind == "paragraph"


@pytest.mark.parametrize(
    "drawn",
    [
        "40 600 520 120 re S",  # a frame around it all
        "40 705 m 560 705 l S 40 690 m 560 690 l S 40 660 m 560 660 l S",  # rules across alone
        "40 600 m 560 720 l S",
        " ".join(f"{x} 610 m {x} 611 l S" for x in range(60, 500, 3)),  # ticks
    ],
)
def test_other_drawings_are_no_grid(drawn: str) -> None:
    with_it, without = convert(pdf(CELLS, drawn=drawn), "a.pdf"), convert(pdf(CELLS), "a.pdf")
    assert with_it.text == without.text


def test_a_cell_over_several_columns_is_the_first_of_them_and_a_title_is_none() -> None:
    """The title has no rule within, the second row one only."""
    title: Lines = [(200, 709, 10, "What there is, and what it costs")]
    last: Lines = [(130, 606, 10, "all parts"), (405, 606, 10, "92")]
    drawn = f"{strokes()} 50 720 m 500 720 l S 50 600 m 500 600 l S"
    drawn += " ".join(f" {x} 600 m {x} 720 l S" for x in (50, 500)) + " 400 600 m 400 620 l S"
    document = convert(pdf(title + CELLS + last, drawn=drawn), "a.pdf")
    assert document.text == (f"What there is, and what it costs\n\n{TABLE}\n| all parts |  | 92 |")


def test_rows_between_two_rules_are_told_by_their_lines() -> None:
    """Rules every few rows, as statistics have them; a name of three lines is one all the same."""
    lines: Lines = [(55, 685, 10, "Country"), (155, 685, 10, "Capital"), (405, 685, 10, "People")]
    for n, (country, capital, people) in enumerate(
        [("Austria", "Vienna", "9"), ("Belgium", "Brussels", "11"), ("Chad", "Faya", "19")]
    ):
        y = 671 - 11 * n
        lines += [(55, y, 10, country), (155, y, 10, capital), (405, y, 10, people)]
    lines += [(55, 626, 10, "Peru"), (155, 626, 10, "Lima"), (405, 626, 10, "34")]
    document = convert(pdf(lines, drawn=strokes()), "a.pdf")
    assert document.text.splitlines()[2:] == [
        "| Austria | Vienna | 9 |",
        "| Belgium | Brussels | 11 |",
        "| Chad | Faya | 19 |",
        "| Peru | Lima | 34 |",
    ]


def test_an_empty_form_stays_lines() -> None:
    label: Lines = [(55, 685, 10, "Name"), (55, 626, 10, "Date")]
    document = convert(pdf(label, drawn=strokes()), "a.pdf")
    assert not any(b.kind == "table" for b in document.blocks)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(*[st.integers(0, 600)] * 4, st.sampled_from(["S", "f"])), max_size=60))
def test_whatever_is_drawn_no_word_is_lost_or_doubled(boxes) -> None:
    drawn = " ".join(f"{x} {y} {w} {h} re {how}" for x, y, w, h, how in boxes)
    document = convert(pdf(PROSE + CELLS, drawn=drawn), "a.pdf")
    words = Counter(re.findall(r"[\w.]+", " ".join(text for *_, text in PROSE + CELLS)))
    assert Counter(re.findall(r"[\w.]+", document.text)) == words
