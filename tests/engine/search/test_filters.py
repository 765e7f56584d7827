"""Filters as people say them: what each means, and how a wrong one is refused."""

from __future__ import annotations

import math
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine import clock
from engine.access.search_filters import FieldCondition, SearchFilters
from engine.errors import InvalidInput
from engine.search.filters import (
    parse_filter_line,
    parse_filters,
    parse_order,
    split_operators,
)


def at(*parts: int) -> datetime:
    return datetime(*parts, tzinfo=UTC)


@pytest.mark.parametrize(
    ("said", "start", "end"),
    [
        ("2026", at(2026, 1, 1), at(2027, 1, 1)),
        ("2026-02", at(2026, 2, 1), at(2026, 3, 1)),
        ("2024-02", at(2024, 2, 1), at(2024, 3, 1)),
        ("2026-12-31", at(2026, 12, 31), at(2027, 1, 1)),
        ("2026-03-01T14:30", at(2026, 3, 1, 14, 30), at(2026, 3, 1, 14, 30)),
        ("2026-03-01T14:30:00+02:00", at(2026, 3, 1, 12, 30), at(2026, 3, 1, 12, 30)),
    ],
)
def test_until_includes_the_whole_of_what_it_names(said, start, end):
    assert parse_filters(since=said).updated_from == start
    assert parse_filters(until=said).updated_before == end


@pytest.mark.parametrize(
    ("said", "start", "end"),
    [
        ("today", at(2026, 3, 4), at(2026, 3, 5)),
        ("Yesterday", at(2026, 3, 3), at(2026, 3, 4)),
        ("last week", at(2026, 2, 23), at(2026, 3, 2)),
        ("last_month", at(2026, 2, 1), at(2026, 3, 1)),
        ("2 weeks ago", at(2026, 2, 18), at(2026, 2, 19)),
        ("March 2025", at(2025, 3, 1), at(2025, 4, 1)),
        ("last friday", at(2026, 2, 27), at(2026, 2, 28)),
    ],
)
def test_days_are_named_in_words(said, start, end, monkeypatch):
    monkeypatch.setattr(clock, "now", lambda: at(2026, 3, 4, 23, 59))  # a Wednesday
    assert parse_filters(since=said).updated_from == start
    assert parse_filters(until=said).updated_before == end
    assert split_operators(f'rates since:"{said}"')[1].updated_from == start


def test_one_document_is_searched_by_its_id():
    assert parse_filter_line("document:abc")[0].document_ids == ["abc"]


def test_what_is_empty_restricts_nothing():
    assert parse_filters() == SearchFilters()
    assert parse_filters(author="  ", tag=[""], since=" ") == SearchFilters()


@pytest.mark.parametrize(
    ("said", "field"),
    [
        ({"since": "yesterday-ish"}, "since"),
        ({"until": "2026-13"}, "until"),
        ({"since": "2026-02-30"}, "since"),
        ({"since": "2026", "until": "2025"}, "since"),
        ({"language": "klingon"}, "language"),
        ({"tag": [str(n) for n in range(101)]}, "tag"),
        ({"metadata": ["price"]}, "metadata"),
        ({"metadata": ["price_float=cheap"]}, "price_float"),
        ({"metadata": ["price_int=1.5"]}, "price_int"),
        ({"metadata": ["due_date<soon"]}, "due_date"),
        ({"metadata": ["team_keyword<3"]}, "team_keyword"),
        ({"metadata": {"price_float": {"least": 1}}}, "price_float"),
        ({"metadata": {"price_float": {}}}, "price_float"),
        ({"metadata": {"Not a name": 1}}, "metadata"),
        ({"metadata": {"title": "x"}}, "title"),
        ({"metadata": {"plot_text": "  "}}, "plot_text"),
        ({"metadata": {"team_keyword": [None]}}, "team_keyword"),
    ],
)
def test_a_wrong_filter_names_its_field(said, field):
    with pytest.raises(InvalidInput) as refused:
        parse_filters(**said)
    assert refused.value.field == field
    assert str(refused.value).startswith(f"{field}:")


@pytest.mark.parametrize(
    ("said", "condition"),
    [
        ("team_keyword=People  OPS", FieldCondition("team_keyword", any_of=("people ops",))),
        ("price_float=9.5", FieldCondition("price_float", low=9.5, high=9.5)),
        ("price_float<=9", FieldCondition("price_float", high=9.0)),
        ("count_int>3", FieldCondition("count_int", low=math.nextafter(3.0, math.inf))),
        ("plot_text=Red, the fox", FieldCondition("plot_text", all_of=("red", "the", "fox"))),
        ("plot_text=狐狸", FieldCondition("plot_text", all_of=("狐", "狸"))),
        ("due_date>=2026", FieldCondition("due_date", low=at(2026, 1, 1).timestamp())),
        (
            "due_date<=2026-03",
            FieldCondition("due_date", high=math.nextafter(at(2026, 4, 1).timestamp(), -math.inf)),
        ),
        ("topics_features=Sailing", FieldCondition("topics_features", any_of=("sailing",))),
    ],
)
def test_a_line_is_a_condition_of_the_fields_type(said, condition):
    assert parse_filters(metadata=[said]).fields == (condition,)


def test_a_mapping_holds_values_and_ranges():
    said = {"team_keyword": ["A", "b"], "price_float": {"min": 1, "max": "5"}, "open_keyword": True}
    assert parse_filters(metadata=said).fields == (
        FieldCondition("team_keyword", any_of=("a", "b")),
        FieldCondition("price_float", low=1.0, high=5.0),
        FieldCondition("open_keyword", any_of=("true",)),
    )


def test_operators_are_taken_out_of_a_typed_query():
    query, filters, order = split_operators(
        'hotel rates since:2026-01 from:"Ada Lovelace" in:<#C12|travel> tag:a tag:b'
        " meta:price_float<=5 sort:newest see: http://x.example/in:side"
    )
    assert query == "hotel rates see: http://x.example/in:side"
    assert order == "newest"
    assert filters == parse_filters(
        since="2026-01",
        author="Ada Lovelace",
        channel="C12",
        tag=["a", "b"],
        metadata=["price_float<=5"],
    )


def test_a_line_of_filters_holds_nothing_else():
    filters, order = parse_filter_line('tag:a author:"Ada L" sort:oldest')
    assert (filters, order) == (parse_filters(tag="a", author="Ada L"), "oldest")
    assert parse_filter_line("") == (SearchFilters(), "relevance")
    with pytest.raises(InvalidInput, match="'since=2026' is not NAME:VALUE") as refused:
        parse_filter_line("since=2026 tag:a")
    assert refused.value.field == "filter"


def test_an_unknown_order_is_refused():
    with pytest.raises(InvalidInput, match="relevance, newest, oldest"):
        parse_order("best")


@given(st.text(max_size=80))
def test_any_line_is_a_query_with_filters_or_a_clear_refusal(line):
    try:
        query, _, _ = split_operators(line)
    except InvalidInput as refused:
        named = refused.field
    else:
        named = "nothing"
        assert len(query) <= len(line)
    assert named


@given(
    st.dictionaries(
        st.text(max_size=12),
        st.one_of(
            st.text(max_size=9),
            st.floats(),
            st.integers(),
            st.booleans(),
            st.none(),
            st.lists(st.text(max_size=3), max_size=3),
        ),
        max_size=3,
    )
)
def test_any_metadata_is_a_condition_or_a_clear_refusal(said):
    try:
        filters = parse_filters(metadata=said)
    except InvalidInput as refused:
        named = refused.field
    else:
        named = "nothing"
        assert len(filters.fields) == len(said)
    assert named
