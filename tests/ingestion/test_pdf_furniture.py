"""What repeats at the ends of PDF pages is left out; what only looks alike is content."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from ingestion.convert.formats import convert
from tests.fakes.files import pdf

NAMES = ["Ada", "Bob", "Cyd", "Dan", "Eve", "Fay", "Gus", "Hal"]
Ends = Callable[[int], list[str]]  # the lines at one end of page n, from 1


def text_of(first: Ends, last: Ends, pages: int = 6) -> str:
    """The text of pages that begin and end with some lines; a sentence each stands between."""
    made = []
    for number in range(1, pages + 1):
        above = [(50, 780 - 12 * at, 9, text) for at, text in enumerate(first(number))]
        lines = [
            *above,
            (50, 700, 10, f"{NAMES[number - 1]} wrote this letter about garden chairs,"),
            (50, 688, 10, f"{NAMES[-number]} has kept it for years."),
            *[(50, 40 - 12 * at, 9, text) for at, text in enumerate(last(number))],
        ]
        made.append(lines)
    return convert(pdf(*made), "a.pdf").text


@pytest.mark.parametrize(
    ("first", "last"),
    [
        (lambda n: f"Invoice number {4710 + 13 * n}", lambda n: f"Total due: {37 * n}.40 EUR"),
        (lambda n: f"Invoice {n}", lambda n: f"Total {n}"),
        (lambda n: f"{2018 + n}", lambda n: f"{1200 + 17 * n}"),
        (lambda n: f"2024-03-{10 + n}", lambda n: f"$ {450 - n}"),
        (lambda n: f"Order {n} of 6", lambda n: f"Balance {n * n}"),
    ],
    ids=["numbers and totals", "counted as the pages", "bare years", "dates", "of a total"],
)
def test_first_and_last_lines_that_differ_in_a_number_are_content(
    first: Callable[[int], str], last: Callable[[int], str]
) -> None:
    text = text_of(lambda n: [first(n)], lambda n: [last(n)])
    for number in range(1, 7):
        assert first(number) in text.splitlines()
        assert last(number) in text.splitlines()


def test_what_three_of_six_pages_share_is_content() -> None:
    text = text_of(lambda n: [f"Invoice {4000 + n * n}"], lambda n: [f"Total {n % 2 * 100}"])
    assert text.count("Total 100") == text.count("Total 0") == 3


@pytest.mark.parametrize(
    "label",
    [
        "{n}",
        "- {n} -",
        "Page {n}",
        "Page {n} of 6",
        "{n} / 6",
        "Seite {n} von 6",
        "Confidential | {n}",
        "Garden works, handbook Page {n} of 6",
    ],
)
def test_page_numbers_are_left_out(label: str) -> None:
    words = text_of(lambda n: [], lambda n: [label.format(n=n)])
    assert words == text_of(lambda n: [], lambda n: [])


def test_page_numbers_that_do_not_begin_at_one_are_left_out() -> None:
    assert text_of(lambda n: [], lambda n: [str(116 + n)]) == text_of(lambda n: [], lambda n: [])


def test_headers_and_footers_of_several_lines_are_left_out() -> None:
    text = text_of(
        lambda n: ["Garden works", "Handbook 2026"],
        lambda n: ["Printed in spring", "Do not copy", f"Page {n}"],
    )
    assert text == text_of(lambda n: [], lambda n: [])


def test_left_and_right_pages_may_have_headers_of_their_own() -> None:
    text = text_of(lambda n: ["Garden works" if n % 2 else "Chairs"], lambda n: [], pages=8)
    assert text == text_of(lambda n: [], lambda n: [], pages=8)


def test_a_table_keeps_the_header_that_each_page_repeats() -> None:
    pages = []
    for number in range(4):
        rows = [("Day", "What", "Paid"), *((f"{number}{n}", NAMES[n], f"{n}.50") for n in range(5))]
        pages.append(
            [
                (x, 780 - 14 * at, 10, text)
                for at, row in enumerate(rows)
                for x, text in zip((50, 220, 390), row, strict=True)
            ]
        )
    text = convert(pdf(*pages), "a.pdf").text
    assert text.count("| Day | What | Paid |") == 4


@pytest.mark.parametrize("pages", [2, 6])
def test_a_footer_that_the_file_writes_first_is_glued_to_no_sentence(pages: int) -> None:
    made = [
        [
            (50, 40, 10, "Handbook of the garden works"),
            (50, 740, 10, f"{NAMES[number]} wrote this letter about garden chairs,"),
            (50, 728, 10, f"{NAMES[-number]} has kept it and still"),
            (50, 780, 10, "Printed in spring for all who come"),
        ]
        for number in range(1, pages + 1)
    ]
    document = convert(pdf(*made), "a.pdf")
    said = [document.text[b.start : b.end] for b in document.blocks]
    assert [text for text in said if "wrote" in text] == [
        f"{NAMES[number]} wrote this letter about garden chairs,\n"
        f"{NAMES[-number]} has kept it and still"
        for number in range(1, pages + 1)
    ]
    assert ("Printed" in document.text) == (pages == 2)
    assert ("Handbook" in document.text) == (pages == 2)
