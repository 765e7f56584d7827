from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.index.ranking import (
    best_first,
    feature_score,
    freshness,
    fuse,
    normalize_linear,
    reciprocal_rank,
)

NAN = math.nan


def scores(*values: float) -> np.ndarray:
    return np.array(values, np.float64)


floats = st.floats(-1e6, 1e6, allow_subnormal=False)


def test_linear_normalisation_stretches_to_zero_and_one() -> None:
    assert normalize_linear(scores(2, 6, 4, NAN)).tolist() == pytest.approx(
        [0, 1, 0.5, NAN], nan_ok=True
    )


@pytest.mark.parametrize(
    ("values", "expected"),
    [([3, 3], [0.5, 0.5]), ([7], [0.5]), ([], []), ([NAN, 1], [NAN, 0.5]), ([NAN], [NAN])],
)
def test_equal_values_are_all_one_half(values: list[float], expected: list[float]) -> None:
    assert normalize_linear(scores(*values)).tolist() == pytest.approx(expected, nan_ok=True)


@given(st.lists(floats, min_size=1, max_size=30))
def test_normalising_keeps_order_and_bounds(values: list[float]) -> None:
    normalised = normalize_linear(scores(*values))
    assert (normalised >= -1e-9).all()
    assert (normalised <= 1 + 1e-9).all()
    for i, j in zip(range(len(values)), range(1, len(values)), strict=False):
        if values[i] < values[j]:
            assert normalised[i] <= normalised[j]


def test_reciprocal_ranks_start_at_one_over_k_plus_one_with_ties_in_order() -> None:
    assert reciprocal_rank(scores(1, 5, 5, NAN)).tolist() == [1 / 63, 1 / 61, 1 / 62, 1 / 64]
    assert reciprocal_rank(scores(1, 2), k=0).tolist() == [0.5, 1.0]


@given(st.lists(floats, min_size=1, max_size=30))
def test_reciprocal_ranks_are_those_of_a_stable_sort(values: list[float]) -> None:
    order = sorted(range(len(values)), key=lambda i: -values[i])
    expected = [1 / (61 + order.index(i)) for i in range(len(values))]
    assert reciprocal_rank(scores(*values)).tolist() == pytest.approx(expected)


def test_linear_fusion_weighs_the_semantic_leg_by_alpha() -> None:
    fused = fuse(scores(0, 10, 5), scores(1, 0, 0.5), alpha=0.25)
    assert fused.tolist() == pytest.approx([0.25, 0.75, 0.5])


def test_one_leg_stands_in_where_a_candidate_lacks_the_other() -> None:
    fused = fuse(scores(4, 2), scores(NAN, 0.3), alpha=0.5)
    assert fused.tolist() == pytest.approx([1.0, 0.25])
    assert fuse(scores(4, 2), scores(0.9, NAN), fusion="rrf").tolist() == pytest.approx(
        [2 / 61, 2 / 62]
    )


def test_a_leg_that_is_off_has_no_say() -> None:
    only = fuse(scores(1, 3), None, alpha=0.9)
    assert only.tolist() == [0.0, 1.0]
    assert fuse(scores(1, 3), scores(NAN, NAN), alpha=0.9).tolist() == [0.0, 1.0]
    assert fuse(None, scores(1, 3), fusion="rrf").tolist() == [1 / 62, 1 / 61]
    assert fuse(None, scores(NAN)).tolist() == [0.0]
    assert fuse(None, None).tolist() == []


def test_freshness_halves_towards_its_floor() -> None:
    aged = freshness(scores(0, 10, 20, NAN, -5), half_life_s=10, floor=0.2)
    assert aged.tolist() == pytest.approx([1.0, 0.6, 0.4, 1.0, 1.0])
    assert freshness(scores(0, 1e9), half_life_s=None, floor=0.2).tolist() == [1.0, 1.0]


def test_features_add_by_weight() -> None:
    assert feature_score({"pagerank": 0.5, "unweighted": 9}, {"pagerank": 2, "absent": 3}) == 1.0
    assert feature_score({}, {}) == 0


def test_best_first_keeps_ties_in_order() -> None:
    assert best_first(scores(1, 3, 3, 2), 3) == [1, 2, 3]
    assert best_first(scores(1), 0) == []
