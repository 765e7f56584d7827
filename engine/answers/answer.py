"""What a model wrote, checked against its sources sentence by sentence, and what is said if nothing answers.

`check_answer` keeps of a text what its sources carry. Answers without a model are `composition.py`'s.
Pure; `ask.py` calls both, and whatever it shows a person went through one of them.
"""

# ruff: noqa: RUF001 (typography is part of what is matched)
from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from engine.domain import Citation, Hit, Passage, SearchResult
from engine.index.analysis import analyse, analyse_query
from engine.markup.links import sanitise
from engine.markup.matching import figures, find_quote
from engine.markup.plain import plain
from engine.markup.sentences import split_sentences
from engine.search.retrieval import describe_empty

CARRIED = 0.5  # share of a sentence's words that a passage must hold to carry it
QUOTE_MAX = 500


@dataclass(frozen=True, slots=True)
class CitableSource:
    """A passage as a model saw it, under its number."""

    n: int
    hit: Hit
    passage: Passage


@dataclass(frozen=True, slots=True)
class Checked:
    """Text with citation marks that all hold, and whether they carry all of it."""

    text: str
    citations: Sequence[Citation]
    grounded: bool


def cite(n: int, hit: Hit, passage: Passage, start: int, end: int) -> Citation:
    """A citation of passage.text[start:end]."""
    return Citation(
        n=n,
        id=passage.id,
        document_id=hit.document_id,
        revision_id=hit.revision_id,
        title=hit.title,
        url=hit.url,
        quote=passage.text[start:end],
        start=passage.start + start,
        end=passage.start + end,
        where=passage.where,
    )


# What a model wrote

_MARK = re.compile(r"\[(\d{1,3}(?:\s*[,;]\s*\d{1,3})*)\]")
_AFTER_STOP = re.compile(
    r"([.!?…。！？]+[\"'”’)*_]*)[ \t]*((?:\[\d{1,3}(?:\s*[,;]\s*\d{1,3})*\][ \t]*)+)"
)
_QUOTED = re.compile(r"[\"“„«]([^\"“”„«»\n]{12,})[\"”“»]")
_REFUSES = re.compile(
    r"\b(?:(?:do|does|did|could|can|was|were|is|are)(?:\s+not|n['’]t)\s+(?:find|found|contain|mention"
    r"|provide|say|specif\w+|state|include|have (?:enough|any) information|answer|able to)"
    r"|no (?:information|mention|answer)\b|not (?:mentioned|specified|stated|found|answered)"
    r"|cannot (?:find|answer|determine)|unable to (?:find|answer|determine))",
    re.IGNORECASE,
)
_TALK = re.compile(
    r"^\W*(?:here (?:is|are)|in summary|in short|according to (?:the )?(?:sources|passages|documents)"
    r"\W*$|hope this|let me know|yes\W*$|no\W*$|sure|certainly|sources?\W*:?\W*$)",
    re.IGNORECASE,
)


@dataclass(slots=True)
class _Numbering:
    """Citations in the order their marks appear; the same quote keeps its number."""

    citations: list[Citation] = field(default_factory=list)
    known: dict[tuple[str, int, int], int] = field(default_factory=dict)

    def number(self, source: CitableSource, span: tuple[int, int]) -> int:
        key = (source.passage.id, *span)
        if key not in self.known:
            self.known[key] = len(self.citations) + 1
            made = cite(self.known[key], source.hit, source.passage, *span)
            self.citations.append(made)
        return self.known[key]


def check_answer(text: str, sources: Sequence[CitableSource]) -> Checked:
    """What a model wrote, with only the citations that hold, renumbered from 1.

    A mark [n] holds when passage n carries its sentence: a quotation in it occurs there word for
    word, at least half of its words do otherwise, and all its numbers and dates are in the
    passages it cites. A sentence without a mark gets one where a passage carries it. Grounded
    means that something is said and every factual sentence is carried.
    """
    numbered = {source.n: source for source in sources}
    text = sanitise(text, sources=[source.passage.text for source in sources])
    text = _AFTER_STOP.sub(_before_stop, text)
    numbering = _Numbering()
    out: list[str] = []
    position, carried, bare = 0, 0, 0
    for sentence in split_sentences(text):
        said = text[sentence.start : sentence.end]
        out.append(text[position : sentence.start])
        position = sentence.end
        kept = _carried(said, numbered, numbering)
        words = _MARK.sub("", said)
        if kept:
            carried += 1
        elif sentence.kind != "heading" and _is_factual(words):
            bare += 1
        out.append(_marked(words, kept))
    out.append(text[position:])
    answers = carried > 0 and bare == 0 and not _REFUSES.search(_MARK.sub("", text))
    return Checked("".join(out).strip(), numbering.citations, grounded=answers)


def _before_stop(match: re.Match[str]) -> str:
    """A mark belongs to the sentence it follows: "days. [4] Ask" becomes "days [4]. Ask"."""
    marks = match[2].rstrip()
    return f" {marks}{match[1]}{match[2][len(marks) :]}"


def _carried(said: str, numbered: Mapping[int, CitableSource], numbering: _Numbering) -> list[int]:
    """The numbers of the citations that carry a sentence: of those it names, else the first."""
    named = [
        numbered[n]
        for match in _MARK.finditer(said)
        for n in map(int, re.findall(r"\d+", match[1]))
        if n in numbered
    ]
    words = plain(_MARK.sub(" ", said))
    if not named and not _is_factual(words):
        return []
    spans = _spans(words, named)
    if not spans:
        # A small model counts badly: what another passage carries may cite that one.
        spans = dict(list(_spans(words, list(numbered.values())).items())[:1])
    stated = figures(words)
    shown = set[str]().union(*(figures(numbered[n].passage.text) for n in spans))
    if not stated <= shown:
        return []
    return list(dict.fromkeys(numbering.number(numbered[n], span) for n, span in spans.items()))


def _spans(words: str, sources: Sequence[CitableSource]) -> dict[int, tuple[int, int]]:
    found = {source.n: carrying_span(words, source.passage.text) for source in sources}
    return {n: span for n, span in found.items() if span is not None}


def carrying_span(words: str, passage: str) -> tuple[int, int] | None:
    """The sentence of a passage that carries `words`, as [start, end), or None.

    A quotation inside `words` must be in the passage; the span is then the quotation's.
    """
    quoted = [match[1] for match in _QUOTED.finditer(words)]
    spans = [find_quote(quote, passage) for quote in quoted]
    if any(span is None for span in spans):
        return None
    if spans and spans[0] is not None:
        return spans[0]
    direct = find_quote(words.rstrip(" ."), passage)
    if direct is not None:
        return direct
    asked = [set(term.terms) for term in analyse_query(words, ["en"])]
    if not asked:
        return None
    sentences = split_sentences(passage)
    best: tuple[float, int, int] | None = None
    for place, sentence in enumerate(sentences):
        lead = sentences[sentence.lead] if sentence.lead is not None else None
        said = passage[sentence.start : sentence.end]
        around = said + (f" {passage[lead.start : lead.end]}" if lead else "")
        if place:
            around += " " + passage[sentences[place - 1].start : sentences[place - 1].end]
        share = _share(asked, around) + _share(asked, said) / 100  # the sentence itself breaks ties
        if best is None or share > best[0]:
            best = (share, sentence.start, min(sentence.end, sentence.start + QUOTE_MAX))
    return (best[1], best[2]) if best and best[0] >= CARRIED else None


def _share(asked: Sequence[set[str]], text: str) -> float:
    terms = set(analyse(text, "en"))
    return sum(not terms.isdisjoint(item) for item in asked) / len(asked)


def _is_factual(words: str) -> bool:
    words = words.strip()
    if words.endswith(("?", ":")) or _TALK.match(words) or _REFUSES.search(words):
        return False
    return len(analyse_query(words, ["en"])) >= 2


def _marked(words: str, numbers: Sequence[int]) -> str:
    """The sentence with its marks before its final stop: "Up to 240 hours [1]."."""
    if not numbers:
        return re.sub(r"[ \t]+(?=[.,;:!?])", "", words).rstrip()
    marks = "".join(f"[{n}]" for n in numbers)
    body = re.sub(r"[ \t]+(?=[.,;:!?])", "", words).rstrip()
    stop = re.search(r"[.!?…。！？]+[\"'”’)*_]*$", body)
    if stop is None:
        return f"{body} {marks}"
    return f"{body[: stop.start()]} {marks}{stop.group()}"


# When nothing answers


def describe_unanswered(result: SearchResult, closest: Sequence[Hit]) -> str:
    """What was searched in vain, what came closest, and what to try."""
    kbs, documents = result.searched_kbs, result.searched_documents
    if not kbs or (not documents and not result.narrowed):
        return describe_empty(kbs, result.waiting)
    noun = "document" if documents == 1 else "documents"
    passing = " that pass the filters" if result.narrowed else ""
    lines = [
        f"I found no answer to this in {', '.join(kbs)} ({documents} {noun}{passing} searched)."
    ]
    titles = list(dict.fromkeys(hit.title for hit in closest if hit.title))[:3]
    if titles:
        lines.append(f"The closest pages are: {'; '.join(titles)}.")
    lines.append("Try the words the documents would use, or add a document that says it.")
    return " ".join(lines)
