"""Queries in the shapes of vespa_app/README.md, as the container parses and rewrites them.

What the engine's adapter sends is judged beside its own tests; here is what it builds on.
"""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine.index.analysis import analyse_query
from tests.vespa_oracle.judge import Judge
from tests.vespa_oracle.packages import package, tenants
from vespa_app.fields import EARLIEST, Profile, decode_value, encode_value, held
from vespa_app.tenancy import BaseSchema

PACKAGE = package(tenants(2, BaseSchema(4)))
SCHEMA = PACKAGE.schemas[0].name
OTHER = PACKAGE.schemas[1].name


def words(count: int = 3) -> str:
    """The two legs of words, of terms @t0, @t1, …"""
    legs = []
    for name in ("title_terms", "chunk_terms"):
        terms = ", ".join(f"{name} contains @t{n}" for n in range(count))
        legs.append(f"({{totalTargetHits:100}}weakAnd({terms}))")
    return " or ".join(legs)


WORDS = words()
MEANING = "({label:'dense',totalTargetHits:100}nearestNeighbor(embeddings, q))"
FILTER = "tenant in (@tenant) and acl in (@acl) and kb_id in (@kbs) and hidden = false"
FILTER_TREE = (
    'STRING_IN tenant{"id-0"} STRING_IN acl{"g:eng","u:17"} STRING_IN kb_id{"k"} hidden:false'
)


def request(where: str, **more: object) -> dict[str, object]:
    return {
        "yql": f"select * from {SCHEMA} where {where}",
        "t0": "snake_case",
        "t1": "snake",
        "t2": "case",
        "tenant": "id-0",
        "acl": "u:17,g:eng",
        "kbs": "k",
        "model.restrict": SCHEMA,
        "ranking.profile": str(Profile.HYBRID_LINEAR),
        "input.query(q)": [0.5, 0.5, 0.5, 0.5],
        **more,
    }


def ask(judge: Judge, where: str, **more: object) -> Any:
    answer = judge.ask("query", PACKAGE, schema=SCHEMA, request=request(where, **more))
    assert answer["ok"], answer
    return answer


def test_a_hybrid_query_is_two_weakands_and_a_neighbour_below_the_filter(judge: Judge) -> None:
    answer = ask(judge, f"({WORDS} or {MEANING}) and {FILTER}")
    assert answer["tree"] == (
        "AND (OR (WEAKAND {totalTargetHits=100} title_terms:snake_case title_terms:snake"
        " title_terms:case) (WEAKAND {totalTargetHits=100} chunk_terms:snake_case chunk_terms:snake"
        " chunk_terms:case) NEAREST_NEIGHBOR {field=embeddings,queryTensorName=q,"
        f"totalTargetHits=100}}) {FILTER_TREE}"
    )
    assert answer["restrict"] == [SCHEMA]
    assert answer["timeout_ms"] == 2000
    assert answer["summary"] == "hit"


def test_a_missing_score_is_asked_for_by_id(judge: Judge) -> None:
    answer = ask(judge, f"rank(doc_id in (@ids), {WORDS})".replace(" or ", ", "), ids="d1,d2")
    assert answer["tree"].startswith('RANK STRING_IN doc_id{"d1","d2"} (WEAKAND {total')


def test_held_tokens_meet_requirements(judge: Judge) -> None:
    answer = ask(judge, f"true and {held(['g:a', 'w:b'])}")
    assert answer["tree"] == "AND TRUE PREDICATE_QUERY_ITEM acl_all=g:a, acl_all=w:b"


def test_a_date_range_leaves_out_what_has_no_date(judge: Judge) -> None:
    answer = ask(judge, f"true and range(updated_at, {EARLIEST}L, 1700000000000000L)")
    assert answer["tree"] == "AND TRUE updated_at:[-2305843009213693952;1700000000000000]"


def test_inputs_are_read_as_the_profile_declares_them(judge: Judge) -> None:
    answer = ask(
        judge,
        WORDS,
        **{"input.query(alpha)": 0.6, "input.query(feature_weights)": {"pagerank": 0.5}},
    )
    assert answer["inputs"] == {
        "query(alpha)": "0.6",
        "query(feature_weights)": "tensor(f{}):{pagerank:0.5}",
        "query(q)": "tensor<float>(x[4]):[0.5, 0.5, 0.5, 0.5]",
    }


def test_an_unknown_rank_profile_is_refused(judge: Judge) -> None:
    asked = request(WORDS, **{"ranking.profile": "nosuch"})
    assert "nosuch" in judge.refuses("query", PACKAGE, schema=SCHEMA, request=asked)


def test_a_terms_rarity_is_the_one_that_the_query_says(judge: Judge) -> None:
    rare = "{documentFrequency:{frequency:%d,count:101}}"
    terms = f"title_terms contains ({rare % 1}@t0), title_terms contains ({rare % 13}@t1)"
    answer = ask(judge, f"({{totalTargetHits:9}}weakAnd({terms}))", t0="10.20.30.40", t1="a:b@c/d")
    assert answer["tree"] == (
        "WEAKAND {totalTargetHits=9} title_terms:10.20.30.40 title_terms:a:b@c/d"
    )
    assert sorted(answer["document_frequencies"].values()) == ["[1, 101]", "[13, 101]"]


def test_a_language_is_asked_in_its_own_spelling(judge: Judge) -> None:
    legs = [
        f"(language in (@{name}) and ({{totalTargetHits:9}}weakAnd(chunk_terms contains @{term})))"
        for name, term in (("l0", "t0"), ("l1", "t1"))
    ]
    answer = ask(judge, f"({' or '.join(legs)}) and {FILTER}", l0="en", l1="%,de")
    assert answer["tree"].replace('"%","de"', '"de","%"') == (
        'AND (OR (AND STRING_IN language{"en"} (WEAKAND {totalTargetHits=9} chunk_terms:snake_case))'
        ' (AND STRING_IN language{"de","%"} (WEAKAND {totalTargetHits=9} chunk_terms:snake)))'
        f" {FILTER_TREE}"
    )


def test_an_empty_list_matches_nothing(judge: Judge) -> None:
    assert "STRING_IN acl{}" in ask(judge, f"{WORDS} and acl in (@acl)", acl="")["tree"]


def test_values_of_any_text_are_one_value_each(judge: Judge) -> None:
    tags = ["a,b", "'quoted'", '"', "", "ü", "a b"]
    sent = ",".join(map(encode_value, tags))
    tree = ask(judge, "true and tags in (@tags)", tags=sent)["tree"]
    read = tree.removeprefix("AND TRUE STRING_IN tags{").removesuffix("}").split(",")
    assert sorted(decode_value(value.strip('"')) for value in read) == sorted(tags)


HOSTILE = [
    '") or true or ("',
    "acl:admin -hidden:true +title:x",
    "@acl @tenant @kbs",
    "{targetHits:1}userInput(@q); select * from sources *",
    "\\\"'`${7*7}",
    "a" * 1000,
    "\u202e\u0000\u0007 \ufeff",
]


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_the_filter_survives(judge: Judge, text: str) -> None:
    terms = [term for asked in analyse_query(text, ["en"]) for term in asked.terms] or ["x"]
    tree = ask(
        judge,
        f"({words(len(terms))} or {MEANING}) and {FILTER}",
        **{f"t{n}": term for n, term in enumerate(terms)},
    )["tree"]
    assert tree.startswith("AND (OR (WEAKAND")
    assert tree.endswith(FILTER_TREE)


@given(text=st.text(max_size=300))
@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_the_filter_survives_whatever_is_asked(live: Judge, text: str) -> None:
    """Even raw, as no caller sends it: a parameter is a value, and never syntax."""
    for terms in (
        [text] if text.split() else [],
        [t for asked in analyse_query(text, ["en"]) for t in asked.terms],
    ):
        if not terms:
            continue
        answer = live.wonder(
            "query",
            PACKAGE,
            schema=SCHEMA,
            request=request(
                f"({words(len(terms))} or {MEANING}) and {FILTER}",
                **{f"t{n}": term for n, term in enumerate(terms)},
            ),
        )
        assert answer["ok"], answer
        assert answer["tree"].startswith("AND (OR (WEAKAND")
        assert answer["tree"].endswith(FILTER_TREE)
