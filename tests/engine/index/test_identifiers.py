"""Identifiers and numbers: one thing, however its separators are written."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.index.analysis import analyse, analyse_query
from engine.index.identifiers import joined, plain_number

ALIKE = [
    ("PPR-9087", "PPR 9087", "ppr 9087", "PPR9087", "ppr_9087"),
    (
        "00:1B:44:11:3A:B7",
        "00-1b-44-11-3a-b7",
        "001B.4411.3AB7",
        "001b44113ab7",
    ),
    ("1,234.56", "1234.56", "1.234,56", "1'234.56", "1\u202f234.56"),
    ("12,345,678", "12345678", "12\u00a0345\u00a0678"),
    ("978-3-16-148410-0", "9783161484100"),
    ("DE89 3704 0044 0532 0130 00", "DE89370400440532013000"),
    ("550e8400-e29b-41d4-a716-446655440000", "550E8400E29B41D4A716446655440000"),
    ("+49 30 1234567", "+49-30-1234567", "+49 (30) 1234567"),
    ("2026-11-30", "20261130"),
]


@pytest.mark.parametrize("forms", ALIKE, ids=lambda forms: forms[0])
def test_an_identifier_is_one_term_however_it_is_separated(forms: tuple[str, ...]) -> None:
    written = forms if "ppr" not in forms[0].lower() else [f for f in forms if f != "ppr 9087"]
    for text in written:
        held = set(analyse(f"see {text} there", "en"))
        for query in forms:
            exact = [term for term in analyse_query(query, ["en"]) if term.exact]
            assert any(held & set(term.terms) for term in exact), (text, query)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("1.2.3", "123"),
        ("10.20.30.40", "10203040"),
        ("12:30:45", "123045"),
        ("1,234.56", "123456"),
        ("1,2,3", "123"),
        ("3,14", "314"),
        ("v1.2", "v12"),
    ],
)
def test_versions_times_and_lists_are_no_other_number(one: str, other: str) -> None:
    assert other not in analyse(one, "en")


@pytest.mark.parametrize(
    ("text", "exact"),
    [
        ("10.20.30.40", ["10.20.30.40"]),
        ("10.20.30.40:8443", ["10.20.30.40:8443", "10.20.30.40"]),
        ("What does PPR-9087 cost?", ["ppr9087", "ppr-9087"]),
        ("error 0x80070057", ["0x80070057"]),
        ("invoice 48213", ["48213"]),
        ("max_retry_count", ["max_retry_count"]),
        ("who won the 1998 world cup", []),
        ("two of 12 rooms", []),
        ("the iPhone of O'Reilly", []),
        ("e.g. this", []),
    ],
)
def test_what_names_one_thing_is_exact(text: str, exact: list[str]) -> None:
    terms = analyse_query(text, ["en"])
    whole = [term.terms[0] for term in terms if term.exact and not term.terms[0].isdigit()]
    numbers = [term.terms[0] for term in terms if term.exact and term.terms[0].isdigit()]
    assert [term for term in exact if not term.isdigit()] == whole
    assert set(exact) - set(whole) <= set(numbers)
    assert exact or not numbers


@given(st.text("0123456789ab.,:-_/' ", max_size=60))
def test_any_code_is_found_by_itself(text: str) -> None:
    held = set(analyse(text, "en"))
    for term in analyse_query(text, ["en"]):
        # In small letters and with a blank only a query's code is joined.
        assert held & set(term.terms) or term.compound


@given(st.text(max_size=40))
def test_joining_needs_a_digit_and_something_to_join(token: str) -> None:
    found = joined(token)
    assert not found or (found.isalnum() and any(map(str.isdigit, found)) and found != token)
    number = plain_number(token)
    assert not number or float(number) >= 0
