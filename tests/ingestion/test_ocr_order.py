"""The order in which words of a picture are read."""

from __future__ import annotations

from ingestion.convert.ocr import Piece, in_reading_order


def piece(text: str, left: float, top: float, width: float = 90) -> Piece:
    return Piece(text, left, top, left + width, top + 10)


def said(pieces: list[Piece]) -> list[str]:
    return [item.text for item in in_reading_order(pieces)]


def test_columns_are_read_one_after_the_other_below_what_spans_them() -> None:
    page = [piece("title", 0, 0, 220)]
    for line in range(5):
        page += [piece(f"l{line}", 0, 40 + 14 * line), piece(f"r{line}", 130, 40 + 14 * line)]
    page.append(piece("foot", 0, 160, 220))
    left, right = [f"l{n}" for n in range(5)], [f"r{n}" for n in range(5)]
    assert said(page) == ["title", *left, *right, "foot"]


def test_a_line_in_pieces_is_read_from_left_to_right() -> None:
    page = [piece("b", 95, 1), piece("a", 0, 0), piece("d", 95, 15), piece("c", 0, 14)]
    assert said(page) == ["a", "b", "c", "d"]


def test_one_piece_or_none_is_as_it_was() -> None:
    assert said([]) == []
    assert said([piece("a", 0, 0)]) == ["a"]
