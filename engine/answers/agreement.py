"""Whether a question and a text agree on what must agree: negation, opposites, identifiers, years.

A sentence can share every other word with a question and still answer another one: "who did not
sign", "the last king", "error 0x80070057". Pure; the patterns speak English, identifiers and years
are the same in every language.
"""

# ruff: noqa: RUF001 (typography is part of what is matched)
from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache

from engine.index.analysis import analyse

_NEGATION = re.compile(
    r"\b(?:not|cannot|never|no|none|nobody|nothing|nowhere|neither|nor|without|unable|except"
    r"|excluding|hardly|failures?|fail(?:s|ed|ing)?|refus(?:e|es|ed|ing)|lack(?:s|ed|ing)?)\b|n['’]t\b",
    re.IGNORECASE,
)
# "not only … but", "no later than", "No. 5" deny nothing
_NO_DENIAL = re.compile(
    r"\bnot (?:only|just|merely)\b|\bno (?:later|sooner|more|less|fewer) than\b|\bNo\.\s?\d",
    re.IGNORECASE,
)
_OPPOSITES = """
first last; before after; increase decrease; increase reduce; rise fall; rose fell; more less
more fewer; most least; most fewest; largest smallest; biggest smallest; longest shortest
highest lowest; higher lower; high low; greatest least; larger smaller; north south; east west
northern southern; eastern western; northwest southeast; northeast southwest; oldest youngest
oldest newest; older younger; old young; old new; earliest latest; earlier later; early late
begin end; start end; start stop; open close; allow forbid; allow prohibit; permit ban
win lose; won lost; victory defeat; import export; include exclude; minimum maximum; buy sell
accept reject; support oppose; friend enemy; male female; men women; public private
enable disable; add remove; success failure; strong weak; stronger weaker; strongest weakest
major minor; majority minority; rich poor; richest poorest; cause prevent; internal external
upper lower; left right; arrive leave; join leave; create destroy; create delete; agree disagree
known unknown; legal illegal; paid unpaid; domestic international; inbound outbound; push pull
upload download; encrypt decrypt; morning evening; summer winter; gain lose; lend borrow
credit debit; profit loss; supply demand; attack defend; ally enemy; inside outside; above below
ancient modern; encourage discourage; appear disappear; advantage disadvantage; easy difficult
fast slow; faster slower; fastest slowest; near far; common rare; permanent temporary
mandatory optional; required optional; approve deny; grant deny; install uninstall; lock unlock
best worst; better worse; positive negative; single multiple; employee contractor
"""
_IDENTIFIER = re.compile(
    r"\b0x[0-9a-f]+\b"  # 0x80070058
    r"|(?<![\w.])\d+(?:[.:]\d+){2,}(?::\d+)?\b"  # 10.20.30.40, 1.2.3
    r"|\b[a-z]{1,10}[-_/#.]?\d+(?:[-_/.][a-z\d]+)*\b"  # PPR-9999, RFC2119, e2-micro
    r"|\b\d+[-_/]?[a-z]{1,4}\d[a-z\d]*\b",  # 4x4b
    re.IGNORECASE,
)
_SPACED = re.compile(r"\b([A-Z]{2,10})\s(\d{2,})\b")  # "PPR 9087", "RFC 2119"
_LONG_NUMBER = re.compile(r"(?<![\w.,$€£])\d{5,}(?![\w.,]|\s?%)")
_YEAR = re.compile(r"(?<![\w.,$€£-])(?:1[0-9]|20)\d\d(?![\w%]|[.,]\d)")
_QUANTIFIED = re.compile(
    r"(?:1[0-9]|20)\d\d\s+(?:[a-z]+s|people|men|women)\b"
)  # "1500 people" is no year
_ORDINALS = re.compile(r"\d+(?:st|nd|rd|th|s|am|pm|h|k|m|km|kg|gb|mb|ms|x)", re.IGNORECASE)


def is_negated(text: str) -> bool:
    """Whether the text denies something."""
    return bool(_NEGATION.search(_NO_DENIAL.sub(" ", text)))


@cache
def _opposites() -> dict[str, frozenset[str]]:
    """By term, the terms that say the contrary."""
    found: dict[str, set[str]] = {}
    for pair in re.split(r"[;\n]", _OPPOSITES.strip()):
        left, right = (analyse(word, "en")[0] for word in pair.split())
        if left != right:
            found.setdefault(left, set()).add(right)
            found.setdefault(right, set()).add(left)
    return {term: frozenset(others) for term, others in found.items()}


def contradicts(question_terms: set[str], own: set[str], near: set[str]) -> bool:
    """Whether a sentence says the contrary of a word of the question, which is not near it.

    `own` are the terms of the sentence, `near` those of it and its neighbours.
    """
    opposites = _opposites()
    for term in question_terms & opposites.keys():
        contrary = opposites[term]
        if term not in near and own & contrary and not question_terms & contrary:
            return True
    return False


def identifiers(text: str) -> set[str]:
    """Part numbers, error codes, addresses and versions, each without punctuation and case."""
    found = {_bare(match.group()) for match in _identifier_matches(text)}
    found |= {_bare("".join(match.groups())) for match in _SPACED.finditer(text)}
    return found | {match.group() for match in _LONG_NUMBER.finditer(text)}


def _identifier_matches(text: str) -> Iterator[re.Match[str]]:
    for match in _IDENTIFIER.finditer(text):
        word = match.group()
        if any(map(str.isdigit, word)) and not _ORDINALS.fullmatch(word):
            yield match


def holds_identifier(identifier: str, text: str) -> bool:
    """Whether the text names that very identifier: PPR9087 is in "PPR-9087", not in "PPR-90871"."""
    pattern = r"[\W_]{0,2}".join(map(re.escape, identifier))
    return bool(re.search(rf"(?<![^\W_]){pattern}(?![^\W_])", text, re.IGNORECASE))


def _bare(text: str) -> str:
    return re.sub(r"[\W_]", "", text).casefold()


def years(text: str) -> set[str]:
    """The years a text names; "1500 people" names none."""
    return {
        match.group()
        for match in _YEAR.finditer(text)
        if not _QUANTIFIED.match(text, match.start())
    }


def missing_years(question: str, text: str) -> set[str]:
    """Years of the question that the text neither names nor spans ("1960s" holds 1965)."""
    asked = years(question)
    return {
        year
        for year in asked
        if year not in text and f"{year[:3]}0s" not in text and f"{year[:3]}0's" not in text
    }


def missing_identifiers(question: str, text: str) -> set[str]:
    """Identifiers of the question that the text does not hold."""
    return {name for name in identifiers(question) if not holds_identifier(name, text)}
