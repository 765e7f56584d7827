"""What a question asks for, read off its words: kind of answer, follow-up or not, best search mode.

Pure. `retrieval.py` takes the mode from here, `ask.py` the stand-alone query, `extraction.py` the
kind of answer expected. The patterns speak English; for another language the kind is "other" and
nothing is required of a sentence but that it is about the same thing.
"""

# ruff: noqa: RUF001 (typography is part of what is matched)
from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Literal

from engine.domain import SearchMode
from engine.index.analysis import analyse_query
from engine.index.detection import detect_language
from engine.index.stopwords import STOPWORDS

AnswerKind = Literal["number", "time", "person", "place", "yesno", "reason", "way", "other"]

QUERY_MAX = 4_000  # characters of a question that are searched for; the rest is context

_PATTERNS: dict[AnswerKind, str] = {
    "time": r"""
        \bwhen\b (?! .* \b(?:how\ (?:many|much|long)|what|who|where)\b)
        | \b(?:what|which)\s+(?:\w+\s+)?(?:date|days?|month|year|century|decade|time|weekday)\b
    """,
    "number": r"""
        \bhow\s+(?:many|much|long|old|far|often|big|large|tall|high|deep|fast|quickly|soon|early
            |late|wide|heavy)\b
        | \bwhat\s+(?:is|was|are|were)\s+the\s+(?:\w+\s+){0,3}?(?:number|amount|percentage|percent
            |price|costs?|fee|rate|budget|salary|limit|maximum|minimum|total|population|distance
            |length|size|height|weight|speed|temperature|age|score)\b
        | \b(?:what|which)\s+(?:percentage|percent|number|amount|price|cost|fee|salary)\b
        | \bwhat\s+(?:does|do|did)\b.*\bcosts?\b
    """,
    "person": r"\b(?:who|whom|whose)\b",
    "place": r"""
        \bwhere\b
        | \b(?:what|which)\s+(?:city|country|state|place|location|room|building|floor|address)\b
    """,
    "reason": r"""
        \bwhy\b | \bwhat\s+caused\b
        | \bwhat\s+(?:is|was|are|were)\s+the\s+(?:reason|cause|purpose)\b
    """,
    "way": r"^\W*how\s+(?:do|does|did|can|could|should|to|would|is|are)\b",
    "yesno": r"""
        ^\W*(?:is|are|was|were|am|do|does|did|can|could|may|might|must|shall|should|will|would
            |has|have|had)\b
    """,
}
_KINDS = {kind: re.compile(text, re.IGNORECASE | re.VERBOSE) for kind, text in _PATTERNS.items()}

_CONTINUES = re.compile(
    r"^\W*(?:and|but|so|or|also|then|what about|how about|what if|same for)\b", re.IGNORECASE
)
_POINTS_BACK = re.compile(
    r"\b(?:it|its|they|them|their|he|him|his|she|her|hers)\b"
    r"|\b(?:this|that|these|those)\b(?=\W*$|\s+(?:is|are|was|were|do|does|did|one|ones|apply|mean"
    r"|cost|take|work|happen)\b)|\bthere\W*$",
    re.IGNORECASE,
)
_FOLLOW_UP_TERMS = 5  # a question with more content words than this names its subject itself
_QUOTED = re.compile(r"^\s*[\"“„«].{2,}[\"”“»]\s*$")


@dataclass(frozen=True, slots=True)
class Question:
    """A question as it is searched and answered. `language` is "" where it can't be told.

    `focus` is the word for the very thing that is asked for ("password" in "What is the guest
    password?"), "" where the question does not say it or says it too generally.
    """

    text: str
    language: str
    kind: AnswerKind
    focus: str = ""


def read_question(text: str) -> Question:
    """What `text` asks for."""
    text = " ".join(text.split())[:QUERY_MAX]
    return Question(text, detect_language(text), answer_kind(text), focus_word(text))


def is_foreign(text: str, language: str, known: Collection[str]) -> bool:
    """Whether a text in `language`, as detected, is surely in none of the languages `known`.

    Only then is it searched by words alone, which costs a misjudged query half of what finds it. A
    title may lend an English question a French word ("What is Les Huguenots about?"), and letters
    that stand alone say nothing ("N-terminal"). So in Latin script two function words of that
    language are needed, and two more than any known language has, unless those have none.
    """
    if not language or not known or language in known:
        return False
    if language not in STOPWORDS:
        return not text.isascii()
    letters = re.sub(r"['’]", "", text.casefold())  # the lists hold "whats", not "what's"
    words = [word for word in re.findall(r"[^\W\d_]+", letters) if len(word) > 1]
    if not any("a" <= letter <= "\u024f" for word in words for letter in word):
        return True
    spoken = STOPWORDS[language]
    shared = spoken.intersection(*(STOPWORDS.get(item, frozenset()) for item in known))
    own = len({word for word in words if word in spoken and word not in shared})
    others = max(
        len({word for word in words if word in STOPWORDS.get(item, ()) and word not in shared})
        for item in known
    )
    return own >= 2 and (others == 0 or own >= others + 2)


def answer_kind(text: str) -> AnswerKind:
    """The kind of thing an answer must hold: "How many hours …?" wants a number.

    "What does it cost and who pays?" wants whatever its first question word asks for.
    """
    found = [
        (match.start(), order, kind)
        for order, (kind, pattern) in enumerate(_KINDS.items())
        if (match := pattern.search(text))
    ]
    return min(found)[2] if found else "other"


_AFTER_FOCUS = (
    r"(?:is|are|was|were|do|does|did|can|could|may|might|must|should|shall|will|would|has|have|had"
    r"|of|for|in|at|on|to|from|that|which|who|when|per|by|with|about|i|you|we|they)"
)
_PHRASE = r"((?:[\w'’-]+\s+){0,3}?[\w'’-]+?)(?=\s+" + _AFTER_FOCUS + r"\b|\W*$|[,;])"
_FOCUS = tuple(
    re.compile(start + _PHRASE, re.IGNORECASE)
    for start in (
        r"\b(?:what|who)\s+(?:is|was|are|were)\s+(?:the|our|my|your|their|his|her|an?)\s+",
        r"\b(?:which|what)\s+",
    )
)
_NO_FOCUS = re.compile(_AFTER_FOCUS + r"$", re.IGNORECASE)
# What a fitting answer rarely says itself: "in 1842" for "what year", "Alice" for "which person".
_GENERAL = frozenset(
    [
        "name",
        "names",
        "type",
        "types",
        "kind",
        "kinds",
        "term",
        "word",
        "number",
        "numbers",
        "amount",
        "percentage",
        "percent",
        "price",
        "cost",
        "costs",
        "rate",
        "year",
        "day",
        "date",
        "time",
        "month",
        "reason",
        "purpose",
        "way",
        "part",
        "one",
        "thing",
        "things",
        "title",
        "role",
        "country",
        "city",
        "state",
        "place",
        "area",
        "group",
        "person",
        "people",
        "maximum",
        "minimum",
        "total",
        "size",
        "length",
        "distance",
        "population",
        "score",
        "age",
        "value",
        "effect",
        "result",
        "example",
        "hours",
    ]
)


def focus_word(text: str) -> str:
    """The noun a "what is the …" or "which …" question asks for, if it names a particular thing."""
    for pattern in _FOCUS:
        match = pattern.search(text)
        if match is None:
            continue
        words = match[1].casefold().split()
        last = words[-1]
        if _NO_FOCUS.match(words[0]) or last in _GENERAL or last.endswith("ed"):
            continue
        return last
    return ""


def stand_alone(question: str, earlier: Sequence[str]) -> str:
    """The question as it can be searched without the conversation.

    A follow-up ("And for term employees?", "How long does it take?") is put behind the question
    before it; `earlier` holds the conversation's questions, oldest first. Without a model this is
    all that is done: retrieval weighs words, so the old ones help and do not forbid.
    """
    if not earlier or not is_follow_up(question):
        return question
    subject = stand_alone(earlier[-1], earlier[:-1]) if len(earlier) < 4 else earlier[-1]
    return f"{subject.strip()} {question.strip()}"[-QUERY_MAX:]


def is_follow_up(question: str) -> bool:
    """Whether a question leans on what was said before: a pronoun, "and …", or hardly any words."""
    terms = len(analyse_query(question, ["en"]))
    if _CONTINUES.match(question) or terms < 2:
        return True
    # In "I changed my name. When will it show up?" the pronoun has its noun at hand.
    first_sentence = re.split(r"[.!?]\s", question, maxsplit=1)[0]
    return terms <= _FOLLOW_UP_TERMS and bool(_POINTS_BACK.search(first_sentence))


def choose_mode(text: str) -> SearchMode:
    """What "adaptive" means for this query.

    Keyword for a quoted phrase and for identifiers, paths and error codes, whose neighbours in
    meaning are noise: `ERR_CONN_42`, "exactly these words". Hybrid for everything else.
    """
    if _QUOTED.match(text):
        return "keyword"
    terms = analyse_query(text, [detect_language(text)])
    named = any(term.compound for term in terms)
    return "keyword" if named and len(text.split()) <= 3 else "hybrid"
