"""The order in which words of a picture are read."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from ingestion.convert.ocr import Piece, Recogniser, in_reading_order


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


def test_columns_of_text_may_stand_close_together() -> None:
    page = [piece("head", 0, 0, 205)]
    for line in range(6):
        page += [piece(f"l{line}", 0, 40 + 12 * line, 97), piece(f"r{line}", 105, 37 + 12 * line)]
    assert said(page) == ["head", *(f"l{n}" for n in range(6)), *(f"r{n}" for n in range(6))]


def test_a_line_in_two_pieces_is_no_pair_of_columns() -> None:
    page = []
    for line in range(3):
        page += [piece(f"a{line}", 0, 12 * line, 97), piece(f"b{line}", 105, 12 * line)]
    assert said(page) == ["a0", "b0", "a1", "b1", "a2", "b2"]


@pytest.mark.parametrize("quarters", [0, 1, 2, 3])
def test_a_picture_is_read_from_top_to_bottom_however_it_lies(quarters: int) -> None:
    """The recogniser lays each line flat by itself, and keeps no order of them."""
    width, height = 300, 200
    lines = [(20, 20 + 40 * at, 220, 40 + 40 * at) for at in range(4)]
    corners = [[(a, b), (c, b), (c, d), (a, d)] for a, b, c, d in lines]
    size = (width, height)
    for _ in range(quarters):  # clockwise
        corners = [[(size[1] - y, x) for x, y in box] for box in corners]
        size = size[1], size[0]
    found = SimpleNamespace(
        boxes=np.array(corners, float),
        txts=("one", "two", "three", "four"),
        scores=(0.9,) * 4,
        turns=[quarters >= 2] * 4,
    )
    shuffled = SimpleNamespace(**vars(found) | {"boxes": found.boxes[[2, 0, 3, 1]]})
    shuffled.txts = tuple(found.txts[at] for at in (2, 0, 3, 1))
    picture = np.zeros((size[1], size[0], 3), np.uint8)
    read = Recogniser(lambda _: shuffled, seconds=60, pages=1).read(picture)
    assert [item.text for item in read] == ["one", "two", "three", "four"]
    assert all(item.right - item.left == 200 and item.height == 20 for item in read)
