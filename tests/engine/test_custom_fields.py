"""Fields of a document's own: each of the type its name ends in, or refused by its name."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.custom_fields import (
    ENDINGS,
    FieldType,
    features_of,
    lookup_of,
    parse_assignments,
    parse_fields,
    type_of,
)
from engine.errors import InvalidInput

GOOD = {
    FieldType.TEXT: "The red fox",
    FieldType.KEYWORD: ["A", "B"],
    FieldType.INT: 3,
    FieldType.FLOAT: 2.5,
    FieldType.DATE: "2026-03-01T12:00:00+00:00",
    FieldType.FEATURE: 0.5,
    FieldType.FEATURES: {"sailing": 1.0},
}


@pytest.mark.parametrize(("ending", "kind"), sorted(ENDINGS.items()))
def test_a_field_of_each_ending_is_typed_without_any_schema(ending, kind):
    name = f"some_{ending}"
    assert parse_fields({name: GOOD[kind]}) == {name: GOOD[kind]}
    assert type_of(name) is kind


def test_values_are_kept_in_the_form_of_their_type():
    given_ = {
        "a_int": "42",
        "a_float": 3,
        "a_date": "2026-03-01T14:00+02:00",
        "a_keyword": [True, 7, "x", "x"],
        "plain": "Without an ending",
        "a_features": {"Sailing": "2"},
        "gone_int": None,
    }
    assert parse_fields(given_) == {
        "a_int": 42,
        "a_float": 3.0,
        "a_date": "2026-03-01T12:00:00+00:00",
        "a_keyword": ["true", "7", "x"],
        "plain": "Without an ending",
        "a_features": {"sailing": 2.0},
        "gone_int": None,
    }


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("a_int", "one"),
        ("a_int", 1.5),
        ("a_int", True),
        ("a_int", 2**60),
        ("a_float", "nan"),
        ("a_float", float("inf")),
        ("a_float", 10**400),
        ("a_date", "soon"),
        ("a_date", 20260301.5),
        ("a_text", 5),
        ("a_text", "x" * 10_001),
        ("a_keyword", ""),
        ("a_keyword", {"a": 1}),
        ("a_keyword", ["x"] * 101),
        ("a_feature", "high"),
        ("a_features", 3),
        ("a_features", {"Not a name": 1}),
        ("a_vec", [1.0]),
        ("author", "Ada"),
    ],
)
def test_a_value_of_another_type_is_refused_by_its_field(name, value):
    with pytest.raises(InvalidInput) as refused:
        parse_fields({name: value})
    assert name in str(refused.value)
    assert refused.value.field.startswith(name)


@pytest.mark.parametrize(
    ("said", "kept"),
    [("2026", "2026-01-01"), ("2026-03", "2026-03-01"), ("2026-03-09", "2026-03-09")],
)
def test_a_date_may_be_a_year_or_a_month(said, kept):
    assert parse_fields({"a_date": said}) == {"a_date": f"{kept}T00:00:00+00:00"}


def test_lines_are_fields_and_a_name_given_twice_has_both():
    lines = ["Team=a", "team=b", "t_features=x:1", "t_features=y:2", "old_int="]
    assert parse_assignments(lines) == {
        "team": ["a", "b"],
        "t_features": {"x": "1", "y": "2"},
        "old_int": None,
    }
    with pytest.raises(InvalidInput, match="not NAME=VALUE"):
        parse_assignments(["team"])


def test_only_features_count_in_ranking():
    fields = parse_fields({"rank_fea": 2, "t_feas": {"x": 1}, "price_float": 9})
    assert features_of(fields) == {"rank_fea": 2.0, "t_feas.x": 1.0}


@given(
    st.dictionaries(
        st.text(max_size=20),
        st.recursive(
            st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=9),
            lambda inner: (
                st.lists(inner, max_size=3)
                | st.dictionaries(st.text(max_size=4), inner, max_size=3)
            ),
            max_leaves=5,
        ),
        max_size=4,
    )
)
def test_any_metadata_is_kept_with_its_lookup_or_refused(given_):
    try:
        fields = parse_fields(given_)
    except InvalidInput as refused:
        named = refused.field
    else:
        named = "nothing"
        kept = {name: value for name, value in fields.items() if value is not None}
        assert lookup_of(kept).keys() == kept.keys()
        assert parse_fields(kept) == kept
    assert named
