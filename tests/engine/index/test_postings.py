from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.index import postings
from engine.index.postings import Postings, hash_term, invert, merge

texts = st.lists(st.lists(st.sampled_from("abcdefg"), max_size=6), max_size=8)


def read(lists: Postings) -> dict[str, list[tuple[int, int]]]:
    found = lists.find(np.array([hash_term(term) for term in "abcdefg"], np.uint64))
    return {
        term: list(zip(rows.tolist(), counts.tolist(), strict=True))
        for term, (rows, counts) in zip("abcdefg", found, strict=True)
    }


@given(texts)
def test_lists_name_the_rows_of_each_term_with_its_count(rows: list[list[str]]) -> None:
    expected = {
        term: [(row, terms.count(term)) for row, terms in enumerate(rows) if term in terms]
        for term in "abcdefg"
    }
    assert read(invert(rows)) == expected


@given(st.lists(texts, min_size=1, max_size=4), st.data())
def test_merging_is_inverting_what_is_left(
    parts: list[list[list[str]]], data: st.DataObject
) -> None:
    left: list[list[str]] = []
    maps = []
    for rows in parts:
        alive = data.draw(st.lists(st.booleans(), min_size=len(rows), max_size=len(rows)))
        renumbered = np.full(len(rows), -1, np.int32)
        for row, lives in enumerate(alive):
            if lives:
                renumbered[row] = len(left)
                left.append(rows[row])
        maps.append((invert(rows), renumbered))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(postings, "MERGED_AT_ONCE", data.draw(st.integers(1, 10)))
        merged = merge(maps)
    assert read(merged) == read(invert(left))
    assert len(merged.terms) == len({term for terms in left for term in terms})
