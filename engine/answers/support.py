"""Whether sources carry what a model wrote: `carries` reads one sentence against the passages it cites.

A sentence may say in other words what a passage says; it may add nothing. So its words must be
there, each of its clauses too, and all that names one thing exactly: figures with their units,
names, identifiers, addresses, code, quotations. It may not deny what the passage affirms. Pure;
`answer.py` reads whole drafts with it.
"""

# ruff: noqa: RUF001 (typography is part of what is matched)
from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from functools import lru_cache

from engine.answers.agreement import contradicts, missing_identifiers
from engine.domain import Hit, Passage
from engine.index.analysis import analyse, analyse_query
from engine.index.detection import detect_language
from engine.index.stopwords import STOPWORDS
from engine.markup.matching import figures, find_quote, fold
from engine.markup.sentences import split_sentences

CARRIED = 0.5  # share of a sentence's words that a sentence of the passage and its neighbours hold
CARRIED_HEADED, HEADED = 0.3, 0.8  # … or so much, and so much with the headings above the passage
IN_PASSAGE = 0.65  # … that the passages hold with their titles and headings
IN_CLAUSE = 0.5  # … of each clause
CLAUSE_MIN = 2  # words of a clause that is looked at by itself
FEW_FIGURES = 2  # so many must stand together in one place of the passage
QUOTE_MAX = 500

_QUOTED = re.compile(r"[\"“„«]([^\"“”„«»\n]{4,})[\"”“»]")
_CODE = re.compile(r"`+([^`\n]{2,300})`+")
_CLAUSES = re.compile(
    r"[,;:()—–]\s|\s[-–—]\s|\b(?:and|but|or|while|whereas|because|since|although|though|which|who"
    r"|whose|where|so that|as well as|in addition|plus|unless|until|after|before|if|when)\b",
    re.IGNORECASE,
)
_DENIES = re.compile(
    r"\b(?:not|cannot|never|no|none|nobody|nothing|neither|nor)\b|n['’]t\b", re.IGNORECASE
)
_DENIES_NOTHING = re.compile(
    r"\bnot (?:only|just|merely)\b|\bno (?:later|sooner|more|less|fewer|longer) than\b|\bNo\.\s?\d"
)
_WORD = re.compile(r"[^\W_][\w’'-]*")
_LETTER_RUN = re.compile(r"[^\W\d_]{2,}")
# Written in one way only: addresses, hosts, paths, file names, channels, accounts, versions.
_EXACT = re.compile(
    r"[\w.+-]+@[\w-]+(?:\.[\w-]+)+|(?<![\w/])[#@][^\W\d_][\w.-]*|(?<!\w)~?/[\w.-]+(?:/[\w.-]+)*"
    r"|\b[\w-]+(?:\.[\w-]+)+\b|\b\w+(?:_\w+)+\b|(?<!\w)--?[a-z][\w-]*"
)
_UNIT = re.compile(
    r"(?<![\w.,])(\d[\d,]*(?:\.\d+)?)[ -]?(%|percent|(?:milli|micro)?seconds?|ms|minutes?|hours?"
    r"|(?:(?:working|business|calendar) )?days?|weeks?|months?|quarters?|years?|euros?|dollars?|cents?"
    r"|[kmg]b|km|meters?|metres?|miles?|people|persons|employees|users|seats|times)\b",
    re.IGNORECASE,
)
_CURRENCY = re.compile(r"([$€£¥])\s?(\d[\d,]*(?:\.\d+)?)")
_REMOVED = "(link removed)"
# How a sentence may begin whose first word the passage lacks; any other names another subject.
_BEGINNINGS = frozenset(
    [
        "staff",
        "people",
        "person",
        "persons",
        "anyone",
        "everyone",
        "employee",
        "employees",
        "worker",
        "workers",
        "user",
        "users",
        "member",
        "members",
        "customer",
        "customers",
        "team",
        "teams",
        "company",
        "companies",
        "organization",
        "organisation",
        "admin",
        "admins",
        "administrators",
        "manager",
        "managers",
        "all",
        "each",
        "every",
        "any",
        "both",
        "many",
        "most",
        "some",
        "several",
        "other",
        "others",
        "contact",
        "ask",
        "submit",
        "use",
        "go",
        "click",
        "open",
        "set",
        "run",
        "make",
        "take",
        "check",
        "see",
        "send",
        "write",
        "call",
        "add",
        "create",
        "remove",
        "delete",
        "select",
        "choose",
        "enter",
        "install",
        "start",
        "stop",
        "restart",
        "press",
        "find",
        "keep",
        "get",
        "give",
        "bring",
        "complete",
        "fill",
        "apply",
        "request",
        "follow",
        "visit",
        "log",
        "sign",
        "enable",
        "disable",
        "please",
        "note",
        "remember",
        "first",
        "second",
        "third",
        "next",
        "then",
        "finally",
        "also",
        "additionally",
        "however",
        "generally",
        "typically",
        "usually",
        "normally",
        "currently",
        "overall",
        "otherwise",
        "instead",
        "therefore",
        "thus",
        "hence",
        "only",
        "up",
        "once",
        "within",
        "during",
        "according",
        "yes",
        "no",
    ]
)
_FORMED = ("ing", "ed", "ly")


@dataclass(frozen=True, slots=True)
class CitableSource:
    """A passage as a model saw it, under its number."""

    n: int
    hit: Hit
    passage: Passage
    joined: Sequence[Passage] = ()  # the chunks that the passage is made of, where it is several

    @property
    def parts(self) -> Sequence[Passage]:
        """The chunks that the passage is made of."""
        return self.joined or (self.passage,)

    def part_at(self, start: int, end: int) -> tuple[Passage, int, int]:
        """The chunk that holds passage.text[start:end], and where in it; cut where none holds it whole."""
        first, last = self.passage.start + start, self.passage.start + end
        part = max(self.parts, key=lambda one: min(one.end, last) - max(one.start, first))
        return part, max(0, first - part.start), min(len(part.text), last - part.start)

    @property
    def heads(self) -> str:
        """What stands above the passage: title, headings, who wrote it."""
        return f"{self.hit.title}\n{self.passage.context}\n{self.hit.author}"

    @property
    def whole(self) -> str:
        """The passage with what stands above it."""
        return f"{self.heads}\n{self.passage.text}"


@dataclass(frozen=True, slots=True)
class Support:
    """Where the sources carry a sentence, by their numbers; `translated`: in another language."""

    spans: dict[int, tuple[int, int]]
    translated: bool = False


def support(
    words: str, named: Sequence[CitableSource], everything: Sequence[CitableSource]
) -> Support | None:
    """What carries `words`: the sources named in it, else the first that does; None for nothing.

    A small model counts badly: what another passage carries may cite that one.
    """
    if _REMOVED in words:
        return None
    spans = _together(words, named)
    if spans:
        return Support(spans)
    for source in everything:
        if spans := _together(words, [source]):
            return Support(spans)
    spans = _translated(words, named)
    return Support(spans, translated=True) if spans else None


def holds_exactly(words: str, texts: Iterable[str], *, translated: bool = False) -> bool:
    """Whether all that `words` name exactly is in `texts`: figures, names, addresses.

    The first word may name what the sentence is about, unless the sentence is `translated`.
    """
    known = "\n".join(texts)
    return (
        figures(words) <= figures(known)
        and _exact(words, known)
        and not missing_identifiers(words, known)
        and _has(_names(words) | (set() if translated else _first_word(words)), known)
    )


def holds_code(markdown: str, texts: Iterable[str]) -> bool:
    """Whether each piece of code in a sentence is in `texts`, word for word."""
    known = "\n".join(texts)
    return all(find_quote(match[1], known) for match in _CODE.finditer(markdown))


def share_of(words: str, texts: Iterable[str]) -> float:
    """The share of the content words that `texts` hold; 1 where there are none."""
    asked = _asked(words)
    return _share(asked, frozenset[str]().union(*map(_terms, texts))) if asked else 1.0


def carrying_span(words: str, passage: str, heads: str = "") -> tuple[int, int] | None:
    """The sentence of a passage that carries `words`, as [start, end), or None.

    A quotation inside `words` must be in the passage; the span is then the quotation's. `heads`
    are the headings above the passage.
    """
    quoted = [find_quote(match[1], passage) for match in _QUOTED.finditer(words)]
    if any(span is None for span in quoted):
        return None
    best = _best_span(words, passage, heads)
    if best is None or not _agrees(words, passage, best):
        return None
    cut = (best[0], min(best[1], best[0] + QUOTE_MAX))
    return next((span for span in quoted if span is not None), cut)


def _together(words: str, sources: Sequence[CitableSource]) -> dict[int, tuple[int, int]]:
    """The sources that each carry the words, where together they hold all that is exact in them."""
    spans = {
        source.n: span
        for source in sources
        if (span := carrying_span(words, source.passage.text, source.heads)) is not None
    }
    shown = [source.whole for source in sources if source.n in spans]
    if not spans or not holds_exactly(words, shown):
        return {}
    known = frozenset[str]().union(*map(_terms, shown))
    if _share(_asked(words), known) < IN_PASSAGE:
        return {}
    for clause in _CLAUSES.split(words):
        asked = _asked(clause)
        if len(asked) >= CLAUSE_MIN and _share(asked, known) < IN_CLAUSE:
            return {}
    return spans


def _best_span(words: str, passage: str, heads: str) -> tuple[int, int] | None:
    direct = find_quote(words.strip(" ."), passage)
    if direct is not None:
        return direct
    asked = _asked(words)
    if not asked:
        return None
    best: tuple[float, int, int, str] | None = None
    for start, end, window in _windows(passage):
        share = _share(asked, _terms(window))
        share += _share(asked, _terms(passage[start:end])) / 100  # the sentence itself breaks ties
        if best is None or share > best[0]:
            best = (share, start, end, window)
    if best is None:
        return None
    share, start, end, window = best
    if share >= CARRIED:
        return start, end
    # "Up to 240 hours." under the heading it speaks of
    headed = _share(asked, _terms(window) | _terms(heads))
    return (start, end) if share >= CARRIED_HEADED and headed >= HEADED else None


@lru_cache(maxsize=512)
def _windows(passage: str) -> list[tuple[int, int, str]]:
    """Each sentence as [start, end) and its text with its lead and the sentence before it."""
    sentences = split_sentences(passage)
    found = []
    for place, sentence in enumerate(sentences):
        lead = sentences[sentence.lead] if sentence.lead is not None else None
        said = passage[sentence.start : sentence.end]
        if lead:
            said += f" {passage[lead.start : lead.end]}"
        if place:
            said += " " + passage[sentences[place - 1].start : sentences[place - 1].end]
        found.append((sentence.start, sentence.end, said))
    return found


def _agrees(words: str, passage: str, span: tuple[int, int]) -> bool:
    """Whether the place denies what the words deny, and has their figures with their units."""
    sentences = split_sentences(passage)
    at = [n for n, one in enumerate(sentences) if one.start < span[1] and span[0] < one.end]
    if not at:
        return True
    said = " ".join(passage[sentences[n].start : sentences[n].end] for n in at)
    near = sentences[max(0, at[0] - 1) : at[-1] + 2]
    leads = [sentences[one.lead] for one in near if one.lead is not None]
    window = " ".join(passage[one.start : one.end] for one in [*leads, *near])
    if _is_denied(words) != _is_denied(said):
        return False
    if contradicts(set(_terms(words)), set(_terms(said)), set(_terms(window))):
        return False
    stated = figures(words)
    if len(stated) <= FEW_FIGURES and not stated <= figures(window):
        return sentences[at[0]].kind == "row"  # whose column may be named by a year far above
    return _same_units(words, window)


def _is_denied(text: str) -> bool:
    return bool(_DENIES.search(_DENIES_NOTHING.sub(" ", text)))


def _same_units(words: str, window: str) -> bool:
    """Whether no figure of the words has another unit there: "240 days" of "240 hours"."""
    there = _units(window)
    return all(units <= there[figure] for figure, units in _units(words).items() if figure in there)


def _units(text: str) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for match in _UNIT.finditer(text):
        unit = match[2].casefold().replace("percent", "%").rstrip("s").rsplit(" ", 1)[-1]
        found.setdefault(match[1].replace(",", ""), set()).add(unit)
    for match in _CURRENCY.finditer(text):
        found.setdefault(match[2].replace(",", ""), set()).add(match[1])
    return found


def _exact(words: str, known: str) -> bool:
    """Whether every quotation and address in `words` is in `known`."""
    quoted = [match[1] for match in _QUOTED.finditer(words)]
    if any(find_quote(quote, known) is None for quote in quoted):
        return False
    folded = fold(known)[0]
    return all(
        fold(match.group())[0] in folded
        for match in _EXACT.finditer(words)
        if not _is_abbreviation(match.group())
    )


def _is_abbreviation(token: str) -> bool:
    """Whether it is written like "e.g" or "U.S", or is a number."""
    return not _LETTER_RUN.search(token)


def _names(words: str) -> set[str]:
    """Words with a capital inside a sentence, casefolded: what names one thing.

    German writes every noun with a capital, so there only words with a capital inside count.
    """
    is_german = detect_language(words) == "de"
    named: set[str] = set()
    starts = True
    for match in _WORD.finditer(words):
        word = match.group()
        inside = any(letter.isupper() for letter in word[1:])
        capital = word[0].isupper() and not starts and not is_german
        if (inside or capital) and word not in {"I", "I'm", "I’m"}:
            named.add(_bare(word))
        starts = words[match.end() : match.end() + 1] in {".", "?", "!", ":"}
    return named


def _first_word(words: str) -> set[str]:
    """The word a sentence begins with, where it may name what the sentence is about."""
    match = _WORD.search(words)
    word = _bare(match.group()) if match else ""
    ordinary = word in STOPWORDS["en"] or word in _BEGINNINGS or word.endswith(_FORMED)
    return set() if ordinary or not word else {word}


def _has(named: AbstractSet[str], known: str) -> bool:
    there = _words(known)
    return all(name in there or not _terms(known).isdisjoint(analyse(name, "en")) for name in named)


@lru_cache(maxsize=512)
def _words(text: str) -> frozenset[str]:
    found = set[str]()
    for match in _WORD.finditer(text):
        word = match.group()
        found.add(_bare(word))
        found.update(_bare(part) for part in re.split(r"[-’']", word))
    return frozenset(found)


def _bare(word: str) -> str:
    return re.sub(r"[’']s?$", "", word.casefold())


def _asked(words: str) -> list[set[str]]:
    return [set(term.terms) for term in analyse_query(words, ["en"])]


@lru_cache(maxsize=4096)  # a passage is read for each sentence of a draft
def _terms(text: str) -> frozenset[str]:
    return frozenset(analyse(text, "en"))


def _share(asked: Sequence[set[str]], terms: AbstractSet[str]) -> float:
    if not asked:
        return 1.0
    return sum(not terms.isdisjoint(item) for item in asked) / len(asked)


def _translated(words: str, named: Sequence[CitableSource]) -> dict[int, tuple[int, int]]:
    """The source a sentence names that is in another language and holds all its figures and names.

    Words can't be compared across languages; so there must be such an anchor, and what is carried
    so is no claim of an answer.
    """
    language = detect_language(words)
    anchors = figures(words) | _names(words)
    if not language or not anchors:
        return {}
    found: dict[int, tuple[int, int]] = {}
    for source in named:
        passage = source.passage.text
        if detect_language(passage) in {"", language}:
            continue
        if not holds_exactly(words, [source.whole], translated=True):
            continue
        for start, end, window in _windows(passage):
            if anchors <= figures(window) | _words(window):
                found[source.n] = (start, min(end, start + QUOTE_MAX))
                break
    return found
