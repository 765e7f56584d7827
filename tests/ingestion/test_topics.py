"""Sentences as the semantic splitter sees them, and where it finds that the subject changes."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from ingestion.convert.document import ConversionLimits
from ingestion.convert.markdown import from_text
from ingestion.topics import find_breaks, gap_distances, sentences


def of(*directions: int) -> np.ndarray:
    """Unit vectors along the axes named."""
    return np.eye(4, dtype=np.float32)[list(directions)]


def test_headings_go_with_their_first_sentence_and_tables_stay_whole() -> None:
    text = "# A\n\n## B\n\nOne is here. Two is there.\n\n| a | b |\n| --- | --- |\n| 1 | 2 |\n\n# End\n"
    document = from_text(text, ConversionLimits())
    assert [document.text[a:b].strip() for a, b in sentences(document)] == [
        "# A\n\n## B\n\nOne is here.",
        "Two is there.",
        "| a | b |\n| --- | --- |\n| 1 | 2 |",
        "# End",
    ]


def test_a_change_of_subject_is_the_widest_gap() -> None:
    vectors = of(0, 0, 0, 0, 1, 1, 1, 1)
    distances = gap_distances(vectors)
    assert int(distances.argmax()) == 3
    assert find_breaks(range(8), vectors, percentile=90) == [4]


def test_one_subject_throughout_has_no_break() -> None:
    assert find_breaks(range(6), of(0, 0, 0, 0, 0, 0), percentile=50) == []


def test_the_highest_percentile_and_a_lone_sentence_have_no_break() -> None:
    assert find_breaks(range(4), of(0, 1, 2, 3), percentile=100) == []
    assert find_breaks([0], of(0), percentile=50) == []


@given(st.lists(st.integers(0, 3), min_size=2, max_size=40), st.floats(0, 100))
def test_breaks_are_starts_of_sentences_and_no_more_than_asked(
    directions: list[int], percentile: float
) -> None:
    starts = [7 * n for n in range(len(directions))]
    breaks = find_breaks(starts, of(*directions), percentile=percentile)
    assert set(breaks) <= set(starts[1:])
    assert breaks == sorted(breaks)
    higher = find_breaks(starts, of(*directions), percentile=min(100, percentile + 20))
    assert set(higher) <= set(breaks)
