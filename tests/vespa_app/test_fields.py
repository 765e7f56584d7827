"""Names in Python and names in the package are the same, and every rank feature exists.

Vespa's Java side takes a misspelt rank feature for one that content nodes will supply; those find
out when they start. So the lint here reads each expression and knows every name in it.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vespa_app.fields import (
    EARLIEST,
    UNDATED,
    Field,
    Input,
    MatchFeature,
    Profile,
    Summary,
    SummaryFeature,
    decode_value,
    document_key,
    encode_date,
    encode_value,
    held,
    requirement,
)
from vespa_app.package import Cluster, render
from vespa_app.tenancy import BaseSchema, Placement

PACKAGE = render([Placement("id", "acme", "minilm", BaseSchema(384), "dedicated")], Cluster())
BASE = PACKAGE.files["schemas/kb_bfloat16_384.sd"]
TENANT = PACKAGE.files["schemas/t_acme_minilm.sd"]
PROFILES = {
    path.rpartition("/")[2].removesuffix(".profile"): re.sub(r"#.*", "", text)
    for path, text in PACKAGE.files.items()
    if path.endswith(".profile")
}
FIELDS = dict(re.findall(r"^ +field (\w+) type (.+) \{$", BASE + TENANT, re.MULTILINE))


def block(text: str, name: str) -> set[str]:
    """The words of a block that lists names."""
    [found] = re.findall(rf"{name} \{{([^}}]*)\}}", text)
    return set(found.split())


def test_fields_are_those_of_the_schema() -> None:
    assert set(FIELDS) == set(Field)


def test_profiles_are_those_of_the_package() -> None:
    assert set(PROFILES) == {*Profile, "base"}
    for name in Profile:
        assert f"rank-profile {name} inherits base" in PROFILES[name]


def test_inputs_are_those_of_the_base_profile() -> None:
    assert set(re.findall(r"^ +query\((\w+)\) ", PROFILES["base"], re.MULTILINE)) == set(Input)


def test_features_returned_are_those_of_the_base_profile() -> None:
    assert block(PROFILES["base"], "match-features") == set(MatchFeature)
    assert block(PROFILES["base"], "summary-features") == set(SummaryFeature)


def test_summaries_select_by_a_feature_that_the_base_profile_returns() -> None:
    assert set(re.findall(r"summary (passage_\w+) \{", BASE)) == set(Summary)
    assert set(re.findall(r"select-elements-by: (\w+)", BASE)) == {SummaryFeature.PASSAGES}
    for source in re.findall(r"source: (\w+)", BASE):
        assert source in FIELDS


# The lint of rank features

WORDS_OF_EXPRESSIONS = {
    *("abs", "if", "isNan", "max", "min", "pow", "log", "exp"),
    *("reduce", "sum", "count", "map", "join", "merge", "top", "f"),
    *("x", "chunk", "double", "label", "a", "b", "s"),
}
GLOBAL_ONLY = {"normalize_linear", "reciprocal_rank"}


def functions_of(profile: str) -> dict[str, str]:
    return dict(re.findall(r"function (\w+)\(\) \{\s+expression: (.*)\n", PROFILES[profile]))


def phases_of(profile: str) -> dict[str, str]:
    found = re.findall(r"(first-phase|global-phase) \{[^}]*?expression: (.*)\n", PROFILES[profile])
    return dict(found)


FUNCTIONS = functions_of("base")


def check(expression: str, known: set[str], *, in_global_phase: bool = False) -> set[str]:
    """The names of an expression that nothing defines."""
    unknown = set()
    for feature, argument in re.findall(
        r"\b(bm25|attribute|query|closeness)\(([^)]*)\)", expression
    ):
        match feature:
            case "bm25":
                fine = "enable-bm25" in field_body(argument)
            case "attribute":
                fine = "attribute" in re.findall(r"indexing: (.*)", field_body(argument))[0]
            case "query":
                fine = argument in set(Input)
            case _:
                fine = argument == "label, dense"
        if not fine:
            unknown.add(f"{feature}({argument})")
    rest = re.sub(r"\b(bm25|attribute|query|closeness)\([^)]*\)", " ", expression)
    rest = re.sub(r"\belementwise\(\s*,", "(", rest)
    allowed = WORDS_OF_EXPRESSIONS | known | {"now"} | (GLOBAL_ONLY if in_global_phase else set())
    return unknown | {word for word in re.findall(r"[a-zA-Z_]\w*", rest) if word not in allowed}


def field_body(name: str) -> str:
    """The lines of a field; of an unknown one, one line that fails every check."""
    found = re.search(rf"field {name} type [^\n]*\{{(.*?)\n        \}}", BASE, re.DOTALL)
    return found[1] if found else "indexing: nothing"


@pytest.mark.parametrize("profile", sorted(PROFILES))
def test_every_rank_feature_exists(profile: str) -> None:
    own = functions_of(profile)
    known = set(FUNCTIONS) | set(own)
    for expression in own.values():
        assert not check(expression, known)
    for phase, expression in phases_of(profile).items():
        assert not check(expression, known, in_global_phase=phase == "global-phase")


@pytest.mark.parametrize(
    "expression",
    [
        "closenes(label, dense)",
        "closeness(label, dens)",
        "bm25(title)",
        "attribute(updated)",
        "attribute(title_terms)",
        "query(nosuch)",
        "lexicl + 1",
        "normalize_linear(lexical)",
    ],
)
def test_the_lint_sees_a_misspelt_name(expression: str) -> None:
    assert check(expression, set(FUNCTIONS))


def test_both_legs_fit_into_the_global_phase() -> None:
    for name in Profile:
        assert "rerank-count: 200" in PROFILES[name]  # twice search.candidates' default of 100


# Values


@given(st.text(max_size=50))
def test_a_value_comes_back(value: str) -> None:
    encoded = encode_value(value)
    assert decode_value(encoded) == value
    assert re.fullmatch(r"[A-Za-z0-9_.:~%-]+", encoded)


@given(st.lists(st.text(max_size=8), unique=True, max_size=6))
def test_values_stay_apart(values: list[str]) -> None:
    assert len({encode_value(value) for value in values}) == len(values)


@given(st.datetimes(timezones=st.just(UTC)))
def test_dates_keep_order_and_microseconds(value: datetime) -> None:
    encoded = encode_date(value)
    assert datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=encoded) == value
    assert encoded > EARLIEST > encode_date(None) == UNDATED


def test_a_date_is_an_instant_whatever_its_zone() -> None:
    there = datetime(2026, 7, 1, 2, 0, tzinfo=timezone(timedelta(hours=2)))
    assert encode_date(there) == encode_date(datetime(2026, 7, 1, tzinfo=UTC))


def test_a_requirement_names_every_token() -> None:
    assert requirement(["w:b", "g:a", "w:b"]) == "acl_all in ['g:a'] and acl_all in ['w:b']"
    assert requirement([]) == "true"
    assert held(["w:b", "g:a"]) == 'predicate(acl_all, {"acl_all": ["g:a", "w:b"]}, {})'


@pytest.mark.parametrize("token", ["", "a'", 'a"', "A", "a b", "a,b", "a\n", "x" * 101, "ä"])
def test_what_is_no_token_reaches_no_text(token: str) -> None:
    with pytest.raises(ValueError, match="not an ACL token"):
        requirement([token])
    with pytest.raises(ValueError, match="not an ACL token"):
        held([token])


parts = st.tuples(*[st.text(max_size=5)] * 3, st.integers(0, 3))


@given(one=parts, other=parts)
def test_no_two_parts_share_an_id(
    one: tuple[str, str, str, int], other: tuple[str, str, str, int]
) -> None:
    assert (document_key(*one) == document_key(*other)) == (one == other)
