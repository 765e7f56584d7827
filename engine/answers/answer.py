"""What a model wrote, checked against its sources sentence by sentence, and what is said if nothing answers.

`DraftReader` lets through what its sources carry while it is written, `check_answer` reads a whole
text. Answers without a model are `composition.py`'s. Pure; `ask.py` calls both, and whatever it
shows a person went through one of them.
"""

# ruff: noqa: RUF001 (typography is part of what is matched)
from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from engine.answers.support import (
    CitableSource,
    Support,
    holds_code,
    holds_exactly,
    share_of,
    support,
)
from engine.domain import Citation, Hit, Passage, SearchResult
from engine.index.analysis import analyse_query
from engine.markup.links import sanitise
from engine.markup.matching import find_quote
from engine.markup.plain import plain
from engine.markup.sentences import Sentence, split_sentences
from engine.search.retrieval import describe_empty, describe_waiting

Unsupported = Literal["drop", "mark"]  # what becomes of sentences no source carries


@dataclass(frozen=True, slots=True)
class Checked:
    """Text with citation marks that all hold, and whether they carry all of it."""

    text: str
    citations: Sequence[Citation]
    grounded: bool
    left_out: int = 0  # sentences of a draft that no source carries


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
_OPEN_MARK = re.compile(r"(?:^|\s)(?:\[[\d,;\s]*\]?\s*)+$")
_CITED_WHOLE = re.compile(r"\[\d{1,3}\][.!?][ \t\n]+$")  # its marks come no more
_CAN_END = re.compile(r"[.!?…。！？｡؟۔।\n\]]")
_REFUSES = re.compile(
    r"\b(?:passages?|documents?|sources?|pages?|texts?|excerpts?|context|knowledge base|i|we)\b"
    r"[^.!?]{0,60}?(?:\b(?:do|does|did|could|can|was|were|is|are)(?:\s+not|n['’]t)\s+(?:find|found"
    r"|contain|mention|provide|say|specif\w+|state|include|have (?:enough|any) information|answer"
    r"|able to)|\bcannot (?:find|answer|determine)|\bunable to (?:find|answer|determine))"
    r"|\b(?:no (?:information|mention|answer)\b|not (?:mentioned|specified|stated|answered)\b)",
    re.IGNORECASE,
)
_OF_REFUSALS = (
    "passages sources documents text page pages information context provided find contain mention"
    " provide say specify state include answer able determine question enough given details"
)
_TALK = re.compile(
    r"^\W*(?:(?:here (?:is|are)(?: what i (?:have )?found| the (?:answer|details|steps|points?))?"
    r"|in (?:summary|short)|to summari[sz]e|according to (?:the )?(?:sources|passages|documents)"
    r"|(?:i )?hope (?:this|that) helps|let me know(?: if you (?:have|need) (?:any )?(?:more|further"
    r"|other)? ?(?:questions|help|details|anything else)?)?"
    r"|yes|no|sure|certainly|of course|sources?)\W*)+$",
    re.IGNORECASE,
)
_RULE_LINE = re.compile(r"^[ \t]*\|?[ \t:|-]*---[ \t:|-]*$", re.MULTILINE)
NO_SOURCE = " (no source)"
LEAD_SHARE = 0.6  # of a heading's words that sources or question must hold


@dataclass(slots=True)
class _Numbering:
    """Citations in the order their marks appear; the same quote keeps its number."""

    citations: list[Citation] = field(default_factory=list)
    known: dict[tuple[str, int, int], int] = field(default_factory=dict)

    def number(self, source: CitableSource, span: tuple[int, int]) -> int:
        key = (source.passage.id, *span)
        if key not in self.known:
            self.known[key] = len(self.citations) + 1
            made = cite(self.known[key], source.hit, *source.part_at(*span))
            self.citations.append(made)
        return self.known[key]


def check_answer(
    text: str,
    sources: Sequence[CitableSource],
    *,
    question: str = "",
    unsupported: Unsupported = "drop",
) -> Checked:
    """What a model wrote, as far as its sources carry it, with citations renumbered from 1.

    `DraftReader` says what holds. Grounded means that sentences answer, that sources carry each of
    them, and that not more had to be left out than stayed.
    """
    reader = DraftReader(sources, question=question, unsupported=unsupported)
    reader.feed(text)
    return reader.finish()


class DraftReader:
    """Reads a draft as it is written, and lets through what its sources carry.

    A mark [n] holds when passage n carries its sentence (`support.py`); a sentence without a mark
    gets one where a passage carries it. With "drop", sentences no source carries are left out, and
    so are headings and lines that announce what was left out; with "mark" they stay, and say so.
    `sources` may grow until the first piece is fed.
    """

    def __init__(
        self,
        sources: Sequence[CitableSource],
        *,
        question: str = "",
        unsupported: Unsupported = "drop",
    ) -> None:
        self._sources = sources
        self._question = question
        self._drops = unsupported == "drop"
        self._numbering = _Numbering()
        self._rest = ""
        self._gap = ""  # what stood before sentences that were left out
        self._leads: list[tuple[str, str, str]] = []  # kind, gap, text: shown before what they lead
        self._shown: list[str] = []
        self._facts: list[bool] = []  # of each sentence that states something: is it carried?
        self._doubts = False  # it refuses in part, or translates

    def feed(self, piece: str) -> str:
        """What can be shown now that `piece` was written: whole sentences, checked."""
        self._rest += piece
        if not _CAN_END.search(self._rest):
            return ""
        self._rest = _AFTER_STOP.sub(_before_stop, self._rest)
        sentences = split_sentences(self._rest)
        settled = sentences if _CITED_WHOLE.search(self._rest) else sentences[:-1]
        if (
            settled is not sentences
            and settled
            and _OPEN_MARK.match(self._rest[sentences[-1].start :])
        ):
            settled = settled[:-1]
        return self._read(settled)

    def settle(self) -> str:
        """What is shown besides, once the draft is at its end."""
        self._rest = _AFTER_STOP.sub(_before_stop, self._rest)
        return self._read(split_sentences(self._rest))

    def finish(self) -> Checked:
        """The whole of what is shown; nothing may be fed after it."""
        self.settle()
        texts = [source.passage.text for source in self._sources]
        text = sanitise("".join(self._shown), sources=texts).strip()
        carried = sum(self._facts)
        kept_whole = carried == len(self._facts)
        enough = kept_whole or (self._drops and (self._facts[0] or 2 * carried >= len(self._facts)))
        return Checked(
            text if carried or not self._drops else "",
            self._numbering.citations,
            grounded=carried > 0 and enough and not self._doubts,
            left_out=len(self._facts) - carried if self._drops else 0,
        )

    def _read(self, sentences: Sequence[Sentence]) -> str:
        """Check these first sentences of the rest; what of them is shown."""
        before = len(self._shown)
        position = 0
        for sentence in sentences:
            gap = self._rest[position : sentence.start]
            said = self._rest[sentence.start : sentence.end]
            position = sentence.end
            is_header = sentence.kind == "row" and bool(
                _RULE_LINE.match(self._rest[position:].lstrip("\r\n"))
            )
            self._take(gap, said, "header" if is_header else sentence.kind)
        self._rest = self._rest[position:]
        return "".join(self._shown[before:])

    def _take(self, gap: str, said: str, kind: str) -> None:
        said = sanitise(said, sources=[source.passage.text for source in self._sources])
        words = plain(_MARK.sub(" ", said)) if kind != "code" else said
        bare = _MARK.sub("", said)
        if not words.strip():
            self._gap = _joined(self._gap, gap)
            return
        if kind in {"heading", "header"} or _TALK.match(words) or _announces(words):
            self._lead(gap, bare, words, kind)
            return
        if not analyse_query(words, ["en"]):
            self._lead(gap, bare, words, "talk")
            return
        found = self._carried(said, words, kind)
        if found is not None:
            self._facts.append(True)
            self._doubts = self._doubts or found.translated
            self._show(gap, _marked(bare, self._numbers(found), kind))
        elif _REFUSES.search(words) and self._says_what_is_missing(words):
            self._doubts = True
            self._show(gap, _marked(bare, (), kind))
        else:
            self._facts.append(False)
            if not self._drops:
                self._show(gap, _marked(bare, (), kind) + NO_SOURCE)
                return
            self._gap = _joined(self._gap, gap)
            if kind == "prose":
                self._leads = [lead for lead in self._leads if lead[0] == "heading"]

    def _lead(self, gap: str, bare: str, words: str, kind: str) -> None:
        """Keep a line back until something stands below it; one that says more is left out."""
        if not self._drops:
            self._show(gap, _marked(bare, (), kind))
            return
        known = [*(source.whole for source in self._sources), self._question]
        said = _TALK.sub("", words)
        is_known = holds_exactly(said, known) and holds_code(bare, known)
        if not (is_known and share_of(said, known) >= LEAD_SHARE):
            self._gap = _joined(self._gap, gap)
            return
        if kind == "heading":
            self._leads = []
        self._leads.append((kind, _joined(self._gap, gap), _marked(bare, (), kind)))
        self._gap = ""

    def _carried(self, said: str, words: str, kind: str) -> Support | None:
        if kind == "code":
            return self._code(words)
        numbered = {source.n: source for source in self._sources}
        named = [
            numbered[n]
            for match in _MARK.finditer(said)
            for n in map(int, re.findall(r"\d+", match[1]))
            if n in numbered
        ]
        found = support(words, named, self._sources)
        if found is None or not holds_code(said, [numbered[n].whole for n in found.spans]):
            return None
        return found

    def _code(self, code: str) -> Support | None:
        """The passage that holds each line of a piece of code."""
        lines = [line for line in code.splitlines() if not re.match(r"\s*(?:```|~~~)", line)]
        lines = [line for line in lines if re.search(r"\w", line)]
        for source in self._sources:
            spans = [find_quote(line, source.passage.text) for line in lines]
            found = [span for span in spans if span is not None]
            if found and len(found) == len(spans):
                return Support({source.n: (found[0][0], max(found[0][1], found[-1][1]))})
        return None

    def _says_what_is_missing(self, words: str) -> bool:
        """Whether a sentence that says what sources lack names only what they or the asker did."""
        known = [*(source.whole for source in self._sources), self._question]
        whole = share_of(words, [*known, _OF_REFUSALS]) >= 1.0
        return whole and holds_exactly(words, known) and holds_code(words, known)

    def _numbers(self, found: Support) -> list[int]:
        numbered = {source.n: source for source in self._sources}
        made = [self._numbering.number(numbered[n], span) for n, span in found.spans.items()]
        return list(dict.fromkeys(made))

    def _show(self, gap: str, text: str) -> None:
        for _, before, lead in self._leads:
            self._put(before, lead)
        self._leads = []
        self._put(_joined(self._gap, gap), text)
        self._gap = ""

    def _put(self, gap: str, text: str) -> None:
        self._shown.append((gap if self._shown else gap.lstrip("\n ")) + text)


def _joined(before: str, gap: str) -> str:
    """What stands between two sentences where something between them was left out."""
    if before and ("\n" not in gap or _RULE_LINE.search(before)):
        return before
    ends_paragraph = "\n\n" in before and gap.startswith("\n") and "\n\n" not in gap
    return f"\n{gap}" if ends_paragraph else gap


def _announces(words: str) -> bool:
    return words.rstrip("*_ ").endswith(":")


def _before_stop(match: re.Match[str]) -> str:
    """A mark belongs to the sentence it follows: "days. [4] Ask" becomes "days [4]. Ask"."""
    marks = match[2].rstrip()
    return f" {marks}{match[1]}{match[2][len(marks) :]}"


def _marked(words: str, numbers: Sequence[int], kind: str) -> str:
    """The sentence with its marks before its final stop: "Up to 240 hours [1]."."""
    marks = "".join(f"[{n}]" for n in numbers)
    if kind == "code":
        return f"{words}\n{marks}" if marks else words
    body = re.sub(r"[ \t]+(?=[.,;:!?])", "", words).rstrip()
    if not marks:
        return body
    if kind == "row" and body.endswith("|"):
        return f"{body[:-1].rstrip()} {marks} |"
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
    lines = [describe_searched(result)]
    titles = list(dict.fromkeys(hit.title for hit in closest if hit.title))[:3]
    if titles:
        lines.append(f"The closest pages are: {'; '.join(titles)}.")
    if waiting := describe_waiting(documents, result.waiting):
        lines.append(f"{waiting} Ask again in a moment.")
    else:
        lines.append("Try the words the documents would use, or add a document that says it.")
    return " ".join(lines)


def describe_searched(result: SearchResult, answer: str = "no answer") -> str:
    """Where `answer` to the question was found."""
    documents = result.searched_documents
    noun = "document" if documents == 1 else "documents"
    passing = " that pass the filters" if result.narrowed else ""
    kbs = ", ".join(result.searched_kbs)
    return f"I found {answer} to this in {kbs} ({documents} {noun}{passing} searched)."
