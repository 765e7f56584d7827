import pytest

from engine.answers.agreement import (
    contradicts,
    holds_identifier,
    identifiers,
    is_negated,
    missing_identifiers,
    missing_years,
    years,
)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("What does error 0x80070058 mean?", {"0x80070058"}),
        ("What does PPR 9087 cost, and PPR-2000?", {"ppr9087", "ppr2000"}),
        ("Who uses 10.20.30.40 for RFC 2119?", {"10203040", "rfc2119"}),
        ("What happened on the 3rd of May, at 5pm, to 40 people?", set()),
        ("Order 4711234 was late", {"4711234"}),
    ],
)
def test_part_numbers_codes_and_addresses_are_identifiers(text, found):
    assert identifiers(text) == found


def test_an_identifier_is_held_however_it_is_punctuated():
    assert holds_identifier("ppr9087", "the pump seal, PPR-9087, costs")
    assert holds_identifier("ppr9087", "| PPR 9087 | 14 euros |")
    assert not holds_identifier("ppr9087", "PPR-90871")
    assert not holds_identifier("0x80070058", "error 0x80070057")


def test_a_code_that_differs_in_one_digit_is_missing():
    text = "Error 0x80070057 means that a parameter is wrong."
    assert missing_identifiers("What does error 0x80070058 mean?", text) == {"0x80070058"}
    assert missing_identifiers("What does error 0x80070057 mean?", text) == set()


def test_a_year_is_missing_unless_named_or_spanned():
    assert years("In 1876, 1500 people paid $1900 for 1,200 seats") == {"1876"}
    assert missing_years("What changed in 1965?", "Much changed in the 1960s.") == set()
    assert missing_years("What changed in 1965?", "Much changed in 1966.") == {"1965"}


@pytest.mark.parametrize(
    ("text", "negated"),
    [
        ("Who did not sign?", True),
        ("They didn’t sign.", True),  # noqa: RUF001
        ("It failed to win.", True),
        ("Not only signed, but kept.", False),
        ("Hand it in no later than Friday.", False),
        ("See No. 5.", False),
    ],
)
def test_denials_are_told_from_phrases_that_deny_nothing(text, negated):
    assert is_negated(text) is negated


def test_the_contrary_of_a_word_contradicts_unless_the_word_is_near():
    assert contradicts({"largest", "citi"}, {"smallest", "citi"}, {"smallest", "citi"})
    assert not contradicts({"largest"}, {"smallest"}, {"smallest", "largest"})
    assert not contradicts({"largest", "smallest"}, {"smallest"}, {"smallest"})
