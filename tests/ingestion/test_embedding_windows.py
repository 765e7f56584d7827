"""A chunk that was cut for one model may be too long for another: it is embedded in windows."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from engine.models.hashing import HashingEmbedder
from ingestion.components.embedder import windows

EMBEDDER = HashingEmbedder(max_tokens=10)


def test_a_text_that_fits_stays_whole() -> None:
    assert windows(EMBEDDER, ["one two three", ""]) == [[("one two three", 3)], [("", 0)]]


@given(st.lists(st.text("ab \n", max_size=80), max_size=5))
def test_windows_hold_the_whole_text_and_no_more_than_the_model_takes(texts: list[str]) -> None:
    for text, pieces in zip(texts, windows(EMBEDDER, texts), strict=True):
        assert "".join(piece for piece, _ in pieces).split() == text.split()
        assert all(count <= EMBEDDER.max_tokens for _, count in pieces)
