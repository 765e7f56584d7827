"""Cells of HTML tables stand in the column where a browser draws them."""

from __future__ import annotations

import pytest

from ingestion.convert.formats import convert


def table(rows: str) -> list[str]:
    """The rows of a page's table, without the line below the header."""
    page = f"<html><body><h1>Rates</h1><table>{rows}</table></body></html>"
    document = convert(page.encode(), "a.html")
    (found,) = [b for b in document.blocks if b.kind == "table"]
    lines = document.text[found.start : found.end].splitlines()
    return lines[:1] + lines[2:]


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        (
            ("<tr><th rowspan=2>Region<th colspan=2>2024<tr><th>Q1<th>Q2"
            "<tr><td rowspan=2>North<td>11<td>12<tr><td>13<td>14<tr><td>South<td colspan=2>99"),
            [
                "| Region | 2024 |  |",
                "| Region | Q1 | Q2 |",
                "| North | 11 | 12 |",
                "| North | 13 | 14 |",
                "| South | 99 |  |",
            ],
        ),
        (
            ("<thead><tr><th>A<th>B<tbody><tr><td rowspan=0>x<td>1<tr><td>2<tr><td>3"
            "<tbody><tr><td>y<td>4"),
            ["| A | B |", "| x | 1 |", "| x | 2 |", "| x | 3 |", "| y | 4 |"],
        ),
        (
            "<tr><td>1<td rowspan=3>tall<td>2<tr><td>3<td rowspan=2>4<tr><td>5",
            ["| 1 | tall | 2 |", "| 3 | tall | 4 |", "| 5 | tall | 4 |"],
        ),
        (
            "<tr><td>a<td>b<td>c<tr><td rowspan=2 colspan=2>wide<td>1<tr><td>2",
            ["| a | b | c |", "| wide |  | 1 |", "| wide |  | 2 |"],
        ),
        (
            "<tr><td>a<td rowspan=2>b<td>c<tr><td colspan=2>over<td>d",
            ["| a | b | c |", "| over | b | d |"],
        ),
        (
            "<tr><td>a<td>b<tr><td rowspan=2>c<td rowspan=2>d<tr></tr><tr><td>e<td>f",
            ["| a | b |", "| c | d |", "| e | f |"],
        ),
        (
            "<thead><tr><th rowspan=5>A<th>B<tbody><tr><td>1<td>2",
            ["| A | B |", "| 1 | 2 |"],
        ),
        ("<tr><td>a<td>b<td>c<tr><td colspan=999>all", ["| a | b | c |", "| all |  |  |"]),
        ("<tr><td rowspan=-1>a<td colspan=x>b<tr><td>c<td>d", ["| a | b |", "| c | d |"]),
        (
            "<tr><td>a<td>b<td rowspan=2>last<tr><td>c<td>d",
            ["| a | b | last |", "| c | d | last |"],
        ),
    ],
    ids=[
        "header and body", "to the end of the group", "in the middle", "both ways", "overlapping",
        "a row without cells", "not out of its group", "all columns", "no numbers", "at the end",
    ],
)  # fmt: skip
def test_a_cell_over_several_rows_moves_no_other(rows: str, expected: list[str]) -> None:
    assert table(rows) == expected


def test_a_tables_caption_is_kept() -> None:
    page = "<body><table><caption>Rates of 2024<tr><td>a<td>b<tr><td>c<td>d</table>"
    assert convert(page.encode(), "a.html").text.startswith("Rates of 2024\n\n| a | b |")


@pytest.mark.timeout(120)
def test_spans_that_ask_for_billions_of_cells_cost_little() -> None:
    first = "<tr>" + "<td rowspan=65534 colspan=1000>x" * 400
    page = f"<body><table>{first}{'<tr><td>y' * 5000}</table>"
    assert "y" in convert(page.encode(), "a.html").text
