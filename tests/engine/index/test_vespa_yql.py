"""Trees into YQL: what is sent, and that no text of anyone's can change it."""

from __future__ import annotations

import re
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st
from inline_snapshot import snapshot

from engine.errors import InvalidInput
from engine.index.vespa_yql import (
    And,
    Between,
    Everything,
    Holds,
    In,
    Is,
    Meets,
    Near,
    Node,
    Nothing,
    Or,
    Rank,
    Word,
    Words,
    YqlQuery,
    render,
)

FILTER: list[Node] = [
    In("tenant", ["t1"]),
    In("acl", {"tenant", "u:1"}),
    Meets("acl_all", {"u:1", "tenant"}),
    In("kb_id", ["kb"]),
    Is("hidden", value=False),
]


def hybrid(words: str) -> And:
    asked = [Word(words, frequency=3, population=10), Word("fox")]
    ranked = Or([Words("chunk_terms", asked, 200), Near("embeddings", "q", "dense", 200)])
    return And([ranked, *FILTER])


def test_a_hybrid_search_reads_as_it_is_meant() -> None:
    assert render("t_acme", hybrid("red")) == snapshot(
        YqlQuery(
            yql='select * from t_acme where ((({totalTargetHits:200}weakAnd(chunk_terms contains ({documentFrequency:{frequency:3,count:10}}@p0), chunk_terms contains @p1)) or ({label:"dense",totalTargetHits:200}nearestNeighbor(embeddings, q))) and tenant in (@p2) and acl in (@p3) and predicate(acl_all, {"acl_all":["tenant","u:1"]}, {}) and kb_id in (@p4) and hidden = false)',
            parameters={"p0": "red", "p1": "fox", "p2": "t1", "p3": "tenant,u:1", "p4": "kb"},
        )
    )


@pytest.mark.parametrize(
    ("node", "yql"),
    [
        (Everything(), "true"),
        (Nothing(), "false"),
        (And([]), "true"),
        (Or([]), "false"),
        (And([Is("hidden", value=True)]), "hidden = true"),
        (Rank(Is("hidden", value=False), []), "rank(hidden = false)"),
        (
            Rank(Everything(), [Is("hidden", value=True), Nothing()]),
            "rank(true, hidden = true, false)",
        ),
        (In("tags", []), "false"),
        (Words("chunk_terms", [], 9), "false"),
        (Meets("acl_all", []), "predicate(acl_all, {}, {})"),
        (Between("updated_at"), "true"),
        (Between("updated_at", low=-5), "range(updated_at, -5L, Infinity)"),
        (Between("updated_at", high=7), "range(updated_at, -Infinity, 7L)"),
        (Between("updated_at", 1, 2), "range(updated_at, 1L, 2L)"),
    ],
)
def test_the_edges(node: Node, yql: str) -> None:
    assert render("t", node) == YqlQuery(f"select * from t where {yql}", {})


HOSTILE = st.one_of(
    st.text(st.characters(exclude_categories=[]), max_size=200),
    st.sampled_from(
        [
            "",
            "x) or true or (y",
            '"; select * from t_other where true; --',
            "@p1",
            "{totalTargetHits:1}text(@p1)",
            'acl contains "admin" -foo +bar',
            "\\\" or \\'",
            "\0\1\2\u202e\ufeff\ud800",
            "\U0010ffff" * 50,
            "a" * 100_000,
        ]
    ),
)


@given(HOSTILE)
def test_no_words_of_a_query_change_what_is_asked(words: str) -> None:
    asked, harmless = render("t_acme", hybrid(words)), render("t_acme", hybrid("wolf"))
    same = re.sub(r"@p\d+", "@", asked.yql) == re.sub(r"@p\d+", "@", harmless.yql)
    assert same
    assert "acl in (@p3)" in harmless.yql
    found = re.search(r" and acl in \(@(p\d+)\) and predicate\(", asked.yql)
    assert found is not None
    assert asked.parameters[found[1]] == "tenant,u:1"
    assert words in asked.parameters.values()
    assert asked.yql.isascii()


@given(HOSTILE)
def test_values_that_could_be_taken_for_two_are_refused(value: str) -> None:
    plain = re.fullmatch(r"[A-Za-z0-9:_.~%-]+", value) is not None
    for node in (In("tags", [value]), And([*FILTER, In("source", ["a", value])])):
        if plain:
            assert value in ",".join(render("t", node).parameters.values()).split(",")
        else:
            with pytest.raises(InvalidInput):
                render("t", node)


@given(HOSTILE)
def test_only_tokens_are_held_and_only_names_are_named(text: str) -> None:
    token = re.fullmatch(r"[a-z0-9:_-]{1,100}", text) is not None
    if not token:
        with pytest.raises(InvalidInput):
            render("t", Meets("acl_all", [text]))
    if not re.fullmatch(r"[a-z_][a-z0-9_]*", text):
        with pytest.raises(InvalidInput):
            render(text, Everything())
        for node in (
            In(text, ["a"]),
            Is(text, value=True),
            Between(text, 1),
            Between(text),
            Holds(text, "a"),
            Words(text, [Word("a")], 1),
            Words(text, [], 1),
            Near(text, "q", "dense", 1),
            Near("embeddings", text, "dense", 1),
            Near("embeddings", "q", text, 1),
        ):
            with pytest.raises(InvalidInput):
                render("t", node)


def test_a_thousand_tokens_are_one_parameter() -> None:
    tokens = {f"g:{n}" for n in range(1000)}
    query = render("t", In("acl", tokens))
    assert set(query.parameters["p0"].split(",")) == tokens
    assert len(query.yql) < 100 < sys.maxsize
