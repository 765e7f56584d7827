"""Vespa's global phase and our rank expressions, against `engine.ranking`, number by number."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine.index import ranking
from tests.vespa_oracle.judge import Judge
from tests.vespa_oracle.packages import package, tenants
from vespa_app.fields import UNDATED, Profile
from vespa_app.package import Package

CLOSE = 1e-6
PACKAGE = package(tenants(1))
SCHEMA = PACKAGE.schemas[0].name

Row = tuple[float, float | None, float, float]  # lexical, semantic, freshness, features

SOME: list[Row] = [
    (6.44, 0.75, 1.0, 0.0),
    (0.0, 0.81, 0.75, 0.1),
    (7.4, None, 1.0, 0.0),
    (3.1, -0.2, 0.5, 0.0),
    (3.1, 0.4, 1.0, -0.05),
]


def global_phase(
    ask: Any, rows: list[Row], profile: Profile, alpha: float, package: Package = PACKAGE
) -> list[float]:
    """Vespa's score of each row; rows reach it in their order."""
    hits = [
        {
            "id": f"h{number}",
            "relevance": float(len(rows) - number),
            "features": {
                "lexical": lexical,
                "semantic": semantic,
                "freshness": freshness,
                "feature_score": features,
            },
        }
        for number, (lexical, semantic, freshness, features) in enumerate(rows)
    ]
    answer = ask(
        "global_phase",
        package,
        schema=SCHEMA,
        profile=profile,
        inputs={"alpha": alpha},
        rerank_count=max(200, len(rows)),
        hits=hits,
    )
    assert answer["ok"], answer
    scores = dict(answer["hits"])
    return [scores[f"h{number}"] for number in range(len(rows))]


def ours(rows: list[Row], profile: Profile, alpha: float) -> list[float]:
    """What the embedded engine makes of the same rows."""
    lexical, semantic, fresh, features = (
        np.array([math.nan if row[part] is None else row[part] for row in rows], np.float64)
        for part in range(4)
    )
    fused = ranking.fuse(
        None if profile == Profile.SEMANTIC_ONLY else lexical,
        None if profile == Profile.KEYWORD_ONLY else semantic,
        fusion="rrf" if profile == Profile.HYBRID_RRF else "linear",
        alpha=alpha,
    )
    return list(fused * fresh + features)


@pytest.mark.parametrize("profile", list(Profile))
@pytest.mark.parametrize("alpha", [0.0, 0.7, 1.0])
def test_the_global_phase_is_ours(judge: Judge, profile: Profile, alpha: float) -> None:
    assert global_phase(judge.ask, SOME, profile, alpha) == pytest.approx(
        ours(SOME, profile, alpha), abs=CLOSE
    )


@pytest.mark.parametrize("profile", [Profile.HYBRID_LINEAR, Profile.KEYWORD_ONLY])
def test_equal_scores_are_one_half(judge: Judge, profile: Profile) -> None:
    rows: list[Row] = [(2.0, 0.5, 1.0, 0.0)] * 3
    assert global_phase(judge.ask, rows, profile, 0.7) == pytest.approx([0.5] * 3, abs=CLOSE)


numbers = st.floats(0, 40, allow_subnormal=False)
rows_of_hits = st.lists(
    st.tuples(
        numbers,
        st.none() | st.floats(-1, 1, allow_subnormal=False),
        st.floats(0.1, 1),
        st.floats(-0.5, 0.5, allow_subnormal=False),
    ),
    min_size=1,
    max_size=40,
)


@pytest.mark.parametrize("profile", list(Profile))
@given(rows=rows_of_hits, alpha=st.floats(0, 1))
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_the_global_phase_is_ours_whatever_the_scores(
    live: Judge, profile: Profile, rows: list[Row], alpha: float
) -> None:
    # To six digits, and without a negative zero: Java sorts that one below zero.
    rows = [tuple(None if v is None else round(v, 6) + 0.0 for v in row) for row in rows]  # type: ignore[misc]
    assert global_phase(live.wonder, rows, profile, alpha) == pytest.approx(
        ours(rows, profile, alpha), abs=CLOSE
    )


# Functions of the profile `base`


def function(judge: Judge, name: str, **features: object) -> Any:
    """The value of a function as deployed; a feature's name is written f__x for query(x)."""
    named = {
        name.replace("query__", "query(") + ")" if name.startswith("query__") else name: value
        for name, value in features.items()
    }
    named |= {FEATURES[name]: named.pop(name) for name in list(named) if name in FEATURES}
    answer = judge.ask(
        "function", PACKAGE, schema=SCHEMA, profile="base", function=name, features=named
    )
    assert answer["ok"], answer
    return answer["cells"] if "cells" in answer else answer["value"]


FEATURES = {
    "title": "bm25(title_terms)",
    "chunks": "elementwise(bm25(chunk_terms),chunk,double)",
    "closeness": "closeness(label,dense)",
    "updated_at": "attribute(updated_at)",
    "features": "attribute(features)",
    "vectors": "attribute(embeddings)",
}
CHUNKS = "tensor(chunk{}):{{chunk:0}:3.1,{chunk:2}:7.4}"
NO_CHUNKS = "tensor(chunk{}):{}"
# Cosines 0.5, 0.2 and 0.6 to the query, which is the first axis.
VECTORS = "tensor<float>(chunk{},x[2]):{0:[0.5,0.866],1:[0.2,0.98],2:[0.6,0.8]}"
QUERY = "tensor<float>(x[2]):[1,0]"


@pytest.mark.parametrize("weight", [0.0, 0.3, 1.0])
@pytest.mark.parametrize(("chunks", "best"), [(CHUNKS, 7.4), (NO_CHUNKS, 0.0)])
def test_lexical_is_title_and_best_chunk(
    judge: Judge, weight: float, chunks: str, best: float
) -> None:
    found = function(judge, "lexical", title=4.2, chunks=chunks, query__title_weight=weight)
    assert found == pytest.approx(weight * 4.2 + (1 - weight) * best, abs=CLOSE)


@pytest.mark.parametrize("cosine", [-1.0, -0.2, 0.0, 0.75, 1.0])
def test_semantic_is_the_cosine_of_closeness(judge: Judge, cosine: float) -> None:
    closeness = 1 / (1 + (1 - cosine))  # prenormalized-angular
    assert function(judge, "semantic", closeness=closeness) == pytest.approx(cosine, abs=CLOSE)


def test_without_a_vector_there_is_no_cosine(judge: Judge) -> None:
    assert function(judge, "semantic", closeness=0) is None


@pytest.mark.parametrize(
    ("age_s", "half_life_s", "floor"),
    [
        (0, 100, 0.5),
        (100, 100, 0.5),
        (350, 100, 0.2),
        (-50, 100, 0.5),
        (1e9, 100, 0.3),
        (5, 0, 0.5),
    ],
)
def test_freshness_is_ours(judge: Judge, age_s: float, half_life_s: float, floor: float) -> None:
    now_s = 1_700_000_000.0
    found = function(
        judge,
        "freshness",
        updated_at=(now_s - age_s) * 1e6,
        query__now_s=now_s,
        query__half_life_s=half_life_s,
        query__decay_floor=floor,
        now=1.0,
    )
    [wanted] = ranking.freshness(np.array([age_s]), half_life_s=half_life_s or None, floor=floor)
    assert found == pytest.approx(wanted, abs=CLOSE)


def test_without_a_date_nothing_decays(judge: Judge) -> None:
    inputs = {"query__now_s": 1.7e9, "query__half_life_s": 60, "query__decay_floor": 0.5}
    assert function(judge, "freshness", updated_at=UNDATED, now=1.0, **inputs) == 1


def test_the_nodes_clock_stands_in_for_the_callers(judge: Judge) -> None:
    inputs = {"query__now_s": 0, "query__half_life_s": 100, "query__decay_floor": 0.5}
    found = function(judge, "freshness", updated_at=1.6e15, now=1_600_000_100.0, **inputs)
    assert found == pytest.approx(0.75, abs=CLOSE)


@pytest.mark.parametrize(
    ("features", "weights"),
    [({"pagerank": 0.2, "x": 9.0}, {"pagerank": 0.5}), ({}, {"a": 1.0}), ({"a": 1.0}, {})],
)
def test_features_are_weighed_as_ours(
    judge: Judge, features: dict[str, float], weights: dict[str, float]
) -> None:
    found = function(
        judge,
        "feature_score",
        features=sparse("f", features),
        query__feature_weights=sparse("f", weights),
    )
    assert found == pytest.approx(ranking.feature_score(features, weights), abs=CLOSE)


def sparse(dimension: str, values: dict[str, float]) -> str:
    """A tensor literal."""
    cells = ",".join(f"{{{dimension}:{name}}}:{value}" for name, value in values.items())
    return f"tensor({dimension}{{}}):{{{cells}}}"


def passages(judge: Judge, name: str, chunks: str, alpha: float) -> Any:
    return function(
        judge,
        name,
        chunks=chunks,
        vectors=VECTORS,
        query__q=QUERY,
        query__alpha=alpha,
        query__passages=2,
    )


def test_the_best_passages_are_chosen_by_both_legs(judge: Judge) -> None:
    assert set(passages(judge, "passages", CHUNKS, 0.7)) == {"0", "2"}
    assert passages(judge, "passage_bm25", CHUNKS, 0.7) == {"0": 3.1, "2": 7.4}
    assert passages(judge, "passage_cosine", CHUNKS, 0.7) == pytest.approx(
        {"0": 0.5, "2": 0.6}, abs=CLOSE
    )


def test_without_a_word_of_the_query_vectors_choose(judge: Judge) -> None:
    assert set(passages(judge, "passages", NO_CHUNKS, 0.7)) == {"0", "2"}
    assert passages(judge, "passage_bm25", NO_CHUNKS, 0.7) == {}


def test_without_a_vector_words_choose(judge: Judge) -> None:
    empty = "tensor<float>(chunk{},x[2]):{}"
    found = function(
        judge,
        "passages",
        chunks=CHUNKS,
        vectors=empty,
        query__q=QUERY,
        query__alpha=0.7,
        query__passages=2,
    )
    assert set(found) == {"0", "2"}
