"""What a query means beyond its letters: misspelt words, acronyms, and phrases that are filters. Pure.

`understood.py` asks what the audience may read and applies what is read here. Nothing is corrected
or expanded but towards words that readable documents hold.
"""

# ruff: noqa: RUF001 (typography is part of what is matched)
from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from datetime import date, timedelta

from engine.index.analysis import analyse
from engine.index.stopwords import STOPWORDS
from engine.search.date_words import DATE, days_ago, days_of

CORRECTED_MIN = 4  # letters of a word that may be misspelt
TWO_EDITS_MIN = 8  # letters from which two slips are believed
EDITS_MAX = 420  # spellings that are tried
LETTERS = "abcdefghijklmnopqrstuvwxyz"
VOWELS = "aeiouy"

_WORD = re.compile(r"[^\W\d_]+(?:[’'][^\W\d_]+)?")
_NAMES_ONLY = re.compile(r"\b[a-z][\w’'-]*")  # what is not written as a name
_WHOLE_QUOTE = re.compile(r"^\s*[\"“„«].{2,}[\"”“»]\s*$")


def is_literal(query: str) -> bool:
    """Whether it is to be found as it stands: a phrase in quotation marks."""
    return bool(_WHOLE_QUOTE.match(query))


# Spelling


def unknown_words(query: str, texts: Iterable[str], language: str) -> list[str]:
    """Words of a query that none of `texts` holds, in any form, and that may be misspelt.

    Words with a capital inside, digits or other scripts are names, and left alone.
    """
    spoken = language or "en"
    known = {term for text in texts for term in analyse(text, spoken)}
    stop = STOPWORDS.get(spoken, frozenset()) | STOPWORDS["en"]
    found = []
    for match in _WORD.finditer(query):
        word = match.group()
        before, after = query[match.start() - 1 : match.start()], query[match.end() :][:1]
        alone = not (before + after).strip("?!.,;:()\"' \n\t’“”")
        alone = alone and before not in {".", ":"}
        if len(word) < CORRECTED_MIN or not word.isascii() or not word.isalpha() or not alone:
            continue
        if any(letter.isupper() for letter in word[1:]) or word.casefold() in stop:
            continue
        if known.isdisjoint(analyse(word, spoken)):
            found.append(word)
    return list(dict.fromkeys(found))


def edits(word: str) -> list[str]:
    """Spellings one slip away, the likeliest kinds first, at most `EDITS_MAX`."""
    word = word.casefold()
    cuts = [(word[:n], word[n:]) for n in range(len(word) + 1)]
    swapped = [a + b[1] + b[0] + b[2:] for a, b in cuts if len(b) > 1]
    dropped = [a + b[1:] for a, b in cuts if b]
    doubled = [a + b[0] + b for a, b in cuts if b]
    vowels = [a + v + b[1:] for a, b in cuts if b and b[0] in VOWELS for v in VOWELS]
    added = [a + letter + b for a, b in cuts for letter in LETTERS]
    changed = [a + letter + b[1:] for a, b in cuts if b for letter in LETTERS]
    found = dict.fromkeys([*swapped, *dropped, *doubled, *vowels, *added, *changed])
    found.pop(word, None)
    return [item for item in found if len(item) >= CORRECTED_MIN - 1][:EDITS_MAX]


def correction(word: str, texts: Sequence[str], language: str, *, named: bool = False) -> str:
    """The word of `texts` that `word` most likely is, in small letters; empty for none.

    The one that most texts hold, among those one slip away, or two in a long word. A word with an
    ending more or less is another form or another word ("warranty", "warrant"), and what is written
    as a name is only read as a name.
    """
    wanted = word.casefold()
    texts = [_NAMES_ONLY.sub(" ", text) for text in texts] if named else texts
    most = 2 if len(wanted) >= TWO_EDITS_MIN else 1
    stop = STOPWORDS.get(language or "en", frozenset())
    counts: Counter[str] = Counter()
    for text in texts:
        counts.update({match.group().casefold() for match in _WORD.finditer(text)})
    near = [
        (distance, -count, known[0] != wanted[0], known)
        for known, count in counts.items()
        if known not in stop
        and abs(len(known) - len(wanted)) <= most
        and not _differ_in_ending(known, wanted)
        and 0 < (distance := slips(wanted, known, most)) <= most
    ]
    return min(near)[3] if near else ""


def _differ_in_ending(left: str, right: str) -> bool:
    stem = min(len(left), len(right)) - 1
    return len(left) != len(right) and left[:stem] == right[:stem]


def slips(left: str, right: str, most: int) -> int:
    """How many letters were dropped, added, changed or swapped; `most` + 1 where more.

    Optimal string alignment (Damerau 1964, Wagner and Fischer 1974).
    """
    before: list[int] = []
    row = list(range(len(right) + 1))
    for i, letter in enumerate(left, start=1):
        older, before, row = before, row, [i]
        for j, other in enumerate(right, start=1):
            cost = min(row[j - 1] + 1, before[j] + 1, before[j - 1] + (letter != other))
            if i > 1 and j > 1 and letter == right[j - 2] and left[i - 2] == other:
                cost = min(cost, older[j - 2] + 1)
            row.append(cost)
        if min(row) > most:
            return most + 1
    return row[-1]


def is_named(query: str, word: str) -> bool:
    """Whether a query writes a word as a name: with a capital inside a sentence."""
    at = query.find(word)
    return word[:1].isupper() and bool(re.search(r"[\w,]\s+$", query[:at]))


def replaced(query: str, word: str, by: str) -> str:
    """The query with a word in place of another, in its letters' case."""
    made = by.capitalize() if word[0].isupper() else by
    return re.sub(rf"(?<!\w){re.escape(word)}(?!\w)", lambda _: made, query)


# Acronyms

_ACRONYM = re.compile(r"(?<![\w.-])([A-Z][A-Z0-9&]{1,6})(?:s|[’']s)?(?![\w-]|\.\w)")
_SHORT = re.compile(r"(?<![\w.-])([a-z]{2,5})(?![\w-]|\.\w)")
_SMALL = frozenset(["of", "and", "for", "the", "in", "on", "to", "a", "an", "by", "with", "&"])


def short_words(query: str) -> list[str]:
    """Words of a query in small letters that may be acronyms."""
    found = [match[1] for match in _SHORT.finditer(query)]
    return [word for word in found if word not in STOPWORDS["en"]]


def acronyms(query: str, small: Sequence[str], texts: Iterable[str]) -> list[str]:
    """Acronyms of a query, in capitals; of the `small` words those that texts write in capitals."""
    if query.isupper() and " " in query.strip():
        return []
    found = [match[1] for match in _ACRONYM.finditer(query)]
    small = [word.upper() for word in small]
    if small:
        said = {match[1] for text in texts for match in _ACRONYM.finditer(text)}
        found += [word for word in small if word in said]
    return list(dict.fromkeys(found))[:3]


def expansion(acronym: str, texts: Iterable[str]) -> str:
    """What the first text that defines an acronym says it is short for, in small letters.

    "Paid time off (PTO)", "PTO (paid time off)", "PTO stands for paid time off", "| PTO | paid …".
    """
    name = re.escape(acronym)
    before = re.compile(rf"((?:[\w’'&-]+[ \n]+){{1,{len(acronym) + 4}}})[\"“*_]*\(\W*{name}s?\W*\)")
    after = re.compile(
        rf"(?<!\w){name}\W{{0,4}}(?:\(|[:=–—|-]\s|stands for|is short for|means|is the abbreviation (?:of|for))"
        rf"\s*[\"“*_]*((?:[\w’'&-]+[ \n]*){{1,{len(acronym) + 4}}})"
    )
    for text in texts:
        for match in before.finditer(text):
            words = match[1].split()
            for start in range(len(words)):
                if _initials_fit(acronym, words[start:]):
                    return " ".join(words[start:]).casefold()
        for match in after.finditer(text):
            words = match[1].split()
            for end in range(len(words), 0, -1):
                if _initials_fit(acronym, words[:end]):
                    return " ".join(words[:end]).casefold()
    return ""


def _initials_fit(acronym: str, words: Sequence[str]) -> bool:
    """Whether the words' first letters spell the acronym; small words may be left out."""
    letters = [letter.casefold() for letter in acronym if letter.isalpha()]
    parts = [part for word in words for part in re.split(r"[-’'&]", word.casefold()) if part]
    if len(parts) < 2 or parts[0] in _SMALL:
        return False
    place = 0
    for part in parts:
        if place < len(letters) and part[0] == letters[place]:
            place += 1
        elif part not in _SMALL:
            return False
    return place == len(letters)


def is_rather_written_out(acronym: str, words: str, texts: Iterable[str]) -> bool:
    """Whether more of these texts write the words without the acronym than use the acronym.

    Where pages say the acronym themselves, its words only find others.
    """
    named = re.compile(rf"(?<!\w){re.escape(acronym)}s?(?!\w)")
    whole = re.compile(r"\W+".join(map(re.escape, words.split())), re.IGNORECASE)
    use = written = 0
    for text in texts:
        if named.search(text):
            use += 1
        elif whole.search(text):
            written += 1
    return written > 0 and written >= use


def expanded(query: str, acronym: str, by: str) -> str:
    """The query with what the acronym is short for behind it."""
    pattern = rf"(?<!\w)({re.escape(acronym)}(?:s|[’']s)?)(?!\w)"
    return re.sub(pattern, lambda match: f"{match[1]} ({by})", query, count=1, flags=re.IGNORECASE)


def says(query: str, words: str) -> bool:
    """Whether a query says all of these words already."""
    return set(analyse(words, "en")) <= set(analyse(query, "en"))


# Phrases that are filters


@dataclass(frozen=True, slots=True)
class PhraseFilter:
    """A phrase that narrows a search: `rest` is the query without it.

    `title` names a document; the others are as `filters.parse_filters` takes them.
    """

    said: str
    rest: str
    since: str = ""
    until: str = ""
    author: str = ""
    channel: str = ""
    title: str = ""

    @property
    def read(self) -> str:
        """As a filter is written."""
        named = ("since", "until", "author", "channel", "title")
        values = [(name, getattr(self, name)) for name in named]
        return " ".join(
            f'{name}:"{value}"' if " " in value else f"{name}:{value}"
            for name, value in values
            if value
        )


_END = r"(?=\s*[?.!]*\s*$|\s*,)"
_WHEN = re.compile(rf"\b(since|after|until|till|before|up to)\s+({DATE}){_END}", re.IGNORECASE)
_SPAN = re.compile(
    r"\b(?:in|during|over|within|from)\s+the\s+(?:last|past)\s+(?:(\d{1,3}|few)\s+)?"
    rf"(day|week|month|year)s?{_END}",
    re.IGNORECASE,
)
_BY = re.compile(
    r"\b(?:written |posted |said |asked |sent |reported )?by\s+@?"
    rf"([A-Z][\w’'-]+(?:\s[A-Z][\w’'-]+){{0,2}}){_END}"
)
_DID = re.compile(
    r"^\W*[Ww]hat\s+(?:did|has|does)\s+@?([A-Z][\w’'-]+(?:\s[A-Z][\w’'-]+){0,2})\s+"
    r"(?:say|said|write|written|post|posted|ask|asked|suggest|suggested|recommend|recommended"
    r"|report|reported|mention|mentioned)\b"
)
_CHANNEL = re.compile(r"\b(?:in|from|on)\s+(?:<#([^|>]+)(?:\|[^>]*)?>|#([\w-]{1,80}))")
_TITLED = re.compile(
    r"\b(?:(?:from|according to|as per|per)\s+(?:the|our|this)\s+(?P<from>[\w][\w ’'-]{2,60}?)"
    r"(?:\s+(?:document|file|pdf|page|doc))?"
    r"|in\s+(?:the|our|this)\s+(?P<in>[\w][\w ’'-]{2,60}?)\s+(?:document|file|pdf|page|doc))"
    + _END,
    re.IGNORECASE,
)


def narrowings(query: str, today: date) -> list[PhraseFilter]:
    """The phrases of a query that may be filters, each by itself."""
    found: list[PhraseFilter] = []
    if match := _CHANNEL.search(query):
        found.append(_cut(query, match, channel=match[1] or match[2]))
    if match := _WHEN.search(query):
        first, after = days_of(match[2].casefold(), today)
        if match[1].casefold() in {"since", "after"}:
            found.append(_cut(query, match, since=first.isoformat()))
        else:
            until = first - timedelta(days=1) if match[1].casefold() == "before" else after
            found.append(_cut(query, match, until=until.isoformat()))
    elif match := _SPAN.search(query):
        count = 3 if match[1] == "few" else int(match[1] or 1)
        start = days_ago(today, count, match[2].casefold())
        found.append(_cut(query, match, since=start.isoformat()))
    if match := _BY.search(query):
        found.append(_cut(query, match, author=match[1]))
    elif match := _DID.search(query):
        rest = query[: match.start(1)] + query[match.end(1) :]
        found.append(PhraseFilter(match[1], " ".join(rest.split()), author=match[1]))
    if match := _TITLED.search(query):
        title = (match["from"] or match["in"]).strip()
        if not _is_time(title):
            found.append(_cut(query, match, title=title))
    return [item for item in found if _WORD.search(item.rest)]


def names_document(title: str, said: str) -> bool:
    """Whether a document's title has all the words it was called by."""
    words = set(analyse(said, "en")) - STOPWORDS["en"]
    return bool(words) and words <= set(analyse(title, "en"))


def _cut(
    query: str,
    match: re.Match[str],
    *,
    since: str = "",
    until: str = "",
    author: str = "",
    channel: str = "",
    title: str = "",
) -> PhraseFilter:
    rest = " ".join(f"{query[: match.start()]} {query[match.end() :]}".split()).strip(" ,")
    rest = re.sub(r"\s+([?.!])", r"\1", rest)
    return PhraseFilter(match.group().strip(), rest, since, until, author, channel, title)


def _is_time(words: str) -> bool:
    return bool(re.fullmatch(rf"(?:last|past|next|same) .*|{DATE}", words.casefold()))


# Questions that ask for nothing in particular

_VAGUE = frozenset(
    [
        "work",
        "works",
        "working",
        "worked",
        "doesn't",
        "doesnt",
        "don't",
        "dont",
        "isn't",
        "isnt",
        "not",
        "help",
        "please",
        "issue",
        "issues",
        "problem",
        "problems",
        "error",
        "errors",
        "broken",
        "break",
        "breaks",
        "broke",
        "fix",
        "fixed",
        "wrong",
        "fail",
        "fails",
        "failed",
        "failing",
        "failure",
        "thing",
        "things",
        "stuff",
        "something",
        "anything",
        "again",
        "still",
        "stuck",
        "trouble",
        "happen",
        "happens",
        "happening",
        "happened",
        "do",
        "does",
        "did",
        "it",
        "this",
        "that",
        "can",
        "can't",
        "cant",
        "get",
        "got",
        "getting",
        "need",
        "want",
        "know",
        "how",
        "what",
        "why",
        "fails",
        "down",
        "crash",
        "crashes",
        "crashed",
        "can’t",
        "doesn’t",
        "isn’t",
    ]
)


def is_unclear(question: str) -> bool:
    """Whether a question names nothing it could be about: "it doesn't work", "help please"."""
    words = [word.casefold() for word in re.findall(r"[\w’']+", question)]
    named: AbstractSet[str] = set(words) - _VAGUE - STOPWORDS["en"]
    return bool(words) and not named and bool(set(words) & _VAGUE - STOPWORDS["en"])
