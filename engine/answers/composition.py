"""Answers in the documents' own words: what of a passage is shown, and the citation that carries it.

A sentence is seldom the whole of what was asked for. A line that announces brings what it
announces; a step brings its list; a table's row is told with its columns' names; a number that was
asked for comes first. Pure; `ask.py` calls it with what `judge.py` chose. Citations hold by
construction: a quote is a slice of its passage.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from engine.answers.answer import Checked, cite, describe_searched
from engine.answers.extraction import CandidateSentence
from engine.answers.judge import ANSWERS, Judged
from engine.domain import Citation, SearchResult
from engine.index.analysis import analyse
from engine.markup.links import sanitise
from engine.markup.matching import find_quote, fold
from engine.markup.plain import plain
from engine.markup.sentences import Sentence, split_sentences
from engine.search.query import Question

SENTENCES = 2  # of one answer: a second one only where the question asks for two things
LEAD_MAX = 400  # characters of a quote that takes the line above a list with it
LIST_MAX = 1_500  # characters of a list, code or procedure that is shown whole
STEPS_MAX = 12
PROSE_MAX = 500  # characters of a procedure told in sentences
CELLS_MIN = 2
SHORT = 80  # characters of a sentence that is read at a glance
_RULE_ROW = re.compile(r"^[\s|:-]+$")
_SEVERAL = re.compile(
    r"^\W*(?:(?:what|which)\s+(?:\w+\s+){0,2}?(?:are|were|do|should|must|can)\b|list\b|name the\b"
    r"|(?:what|which)\s+(?:\w+\s+)?(?:steps|requirements|documents|options|rules)\b)",
    re.IGNORECASE,
)
_ANNOUNCES = re.compile(r":[*_`)\s]*$")
_HEADS = re.compile(r"^\W*(?:here(?:'s| is| are)|use this|run this|follow these)\b", re.IGNORECASE)
_AMOUNT = re.compile(
    r"(?<![\w.,-])(?:about|around|over|up to|at least|at most|more than|less than|fewer than)?\s*"
    r"[$€£]?\d[\d,.]*\d?%?(?:\s(?:million|billion|thousand|hundred))?",
    re.IGNORECASE,
)
_FIGURE = re.compile(r"\d[\d,.]*")
_HOW_MANY = re.compile(r"\bhow (?:much\b|many (\w+))", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class _Excerpt:
    """A slice of the candidate's passage, and the words in which it is shown."""

    start: int
    end: int
    text: str


def compose_answer(question: Question, judged: Sequence[Judged]) -> Checked | None:
    """The answer that the best sentence gives, with what belongs to it; None where none answers.

    `judged` is best first. A second document is quoted only where it says what the question asks
    for and the first does not.
    """
    excerpts: list[tuple[Judged, _Excerpt]] = []
    for sentence in judged:
        if sentence.probability < ANSWERS or len(excerpts) == SENTENCES:
            break
        if excerpts and not _adds(question, excerpts[0][0], sentence):
            continue
        shown = _excerpt(question, sentence.candidate)
        if shown is not None:
            excerpts.append((sentence, shown))
    if not excerpts:
        return None
    citations = [_cite(n, sentence, shown) for n, (sentence, shown) in enumerate(excerpts, start=1)]
    texts = [
        _marked(_safe(shown.text), citation.n)
        for (_, shown), citation in zip(excerpts, citations, strict=True)
    ]
    return Checked("\n\n".join(texts), citations, grounded=True)


def compose_closest(
    question: Question, judged: Sequence[Judged], result: SearchResult
) -> Checked | None:
    """What comes closest to an answer, said to be no more than that; None where nothing does."""
    for sentence in judged:
        shown = _excerpt(question, sentence.candidate)
        if shown is None:
            continue
        said = describe_searched(result, "no sure answer")
        quoted = "\n".join(f"> {line}" for line in _safe(shown.text).splitlines())
        text = f"{said} This passage is closest:\n\n{_marked(quoted, 1)}"
        return Checked(text, [_cite(1, sentence, shown)], grounded=False)
    return None


def _cite(n: int, sentence: Judged, shown: _Excerpt) -> Citation:
    candidate = sentence.candidate
    return cite(n, candidate.hit, candidate.passage, shown.start, shown.end)


def _safe(text: str) -> str:
    # A document may call @everyone, or write a tag as entities; its addresses are its own.
    return sanitise(text, sources=[text])


def _marked(text: str, n: int) -> str:
    """The text with its citation mark; below a fence, which must stay closed."""
    return f"{text}\n[{n}]" if text.endswith("```") else f"{text} [{n}]"


def _adds(question: Question, first: Judged, other: Judged) -> bool:
    """Whether another document says what the question asks for and the first sentence lacks."""
    candidate, shown = other.candidate, first.candidate
    if candidate.hit.document_id == shown.hit.document_id or not candidate.fits:
        return False
    if fold(candidate.words)[0] == fold(shown.words)[0]:
        return False
    language = question.language or "en"
    asked = set(analyse(question.text, language))
    added, had = set(analyse(candidate.text, language)), set(analyse(shown.text, language))
    parts = re.search(r"\b(?:and|or|vs\.?|versus|between)\b", question.text, re.IGNORECASE)
    return bool(parts) and bool(asked & added - had) and bool(asked & had - added)


# What belongs to a sentence


def _excerpt(question: Question, candidate: CandidateSentence) -> _Excerpt | None:
    """The sentence with what it needs to be understood; None where it says nothing by itself."""
    passage = candidate.passage.text
    sentences = split_sentences(passage)
    place = candidate.place
    if candidate.kind == "row":
        return _row(candidate, passage, sentences, place)
    if candidate.kind == "code":
        return _code(candidate, passage)
    announced = _announced(passage, sentences, place)
    if announced is not None or _ANNOUNCES.search(candidate.words):
        return announced  # None where what it announces is not here
    return _prose(question, candidate, passage, sentences)


def _prose(
    question: Question, candidate: CandidateSentence, passage: str, sentences: Sequence[Sentence]
) -> _Excerpt:
    """A sentence or an item, with its list or the rest of its procedure where these were asked for."""
    place = candidate.place
    several = question.kind == "way" or bool(_SEVERAL.search(question.text))
    if candidate.kind == "item" and several:
        whole = _whole_list(passage, sentences, place)
        if whole is not None:
            return whole
    if candidate.kind == "prose" and question.kind == "way":
        return _procedure(passage, sentences, place)
    shown = _sentence(candidate, passage)
    return _number_first(question, candidate, shown) if question.kind == "number" else shown


def _sentence(candidate: CandidateSentence, passage: str) -> _Excerpt:
    """The sentence, behind the line that introduces it where that ends in a colon."""
    start, end, lead = candidate.start, candidate.end, candidate.lead
    if lead.endswith(":"):
        span = find_quote(lead, passage[:start])
        if span is not None and end - span[0] <= LEAD_MAX:
            return _Excerpt(span[0], end, f"{lead} {candidate.words}")
    return _Excerpt(start, end, candidate.words)


def _announced(passage: str, sentences: Sequence[Sentence], place: int) -> _Excerpt | None:
    """A line that ends in a colon with the list, table, code or line it announces."""
    said = passage[sentences[place].start : sentences[place].end]
    words = plain(said)
    if not (_ANNOUNCES.search(words) or _HEADS.match(words)) or place + 1 >= len(sentences):
        return None
    following = [n for n in range(place + 1, len(sentences)) if sentences[n].lead == place]
    if not following:
        following = [place + 1]
        if sentences[place + 1].kind == "heading" or not _ANNOUNCES.search(words):
            return None
    text, last = _lines(passage, sentences, following)
    return _Excerpt(sentences[place].start, last, f"{words}\n{text}") if text else None


def _whole_list(passage: str, sentences: Sequence[Sentence], place: int) -> _Excerpt | None:
    """The list a step is of, with the line that introduces it."""
    lead = sentences[place].lead
    first = last = place
    while first and sentences[first - 1].kind == "item" and sentences[first - 1].lead == lead:
        first -= 1
    while (
        last + 1 < len(sentences)
        and sentences[last + 1].kind == "item"
        and sentences[last + 1].lead == lead
    ):
        last += 1
    if first == last:
        return None
    text, end = _lines(passage, sentences, range(first, last + 1))
    if end < sentences[place].end:
        return None  # too long to hold the step itself
    start = _line_start(passage, sentences[first].start)
    if lead is not None and lead < first and sentences[lead].kind != "heading":
        introduced = plain(passage[sentences[lead].start : sentences[lead].end])
        return _Excerpt(sentences[lead].start, end, f"{introduced}\n{text}")
    return _Excerpt(start, end, text)


def _procedure(passage: str, sentences: Sequence[Sentence], place: int) -> _Excerpt:
    """A sentence of a procedure with those that follow it in its paragraph."""
    last = place
    while (
        last + 1 < len(sentences)
        and sentences[last + 1].kind == "prose"
        and "\n\n" not in passage[sentences[last].end : sentences[last + 1].start]
        and sentences[last + 1].end - sentences[place].start <= PROSE_MAX
    ):
        last += 1
    announced = _announced(passage, sentences, last) if last != place else None
    start, end = sentences[place].start, sentences[last].end
    if announced is not None:
        before = plain(passage[start : sentences[last].start])
        return _Excerpt(start, announced.end, f"{before} {announced.text}")
    if _ANNOUNCES.search(plain(passage[sentences[last].start : end])) and last != place:
        end = sentences[last - 1].end
    return _Excerpt(start, end, plain(passage[start:end]))


def _lines(passage: str, sentences: Sequence[Sentence], places: Sequence[int]) -> tuple[str, int]:
    """The sentences as Markdown lines, as many as may be shown, and where the last one ends."""
    lines: list[str] = []
    header: list[str] = []
    end = sentences[places[0]].start
    size = steps = 0
    for place in places:
        sentence = sentences[place]
        raw = passage[sentence.start : sentence.end]
        size += len(raw)
        if steps == STEPS_MAX or size > LIST_MAX:
            break
        end = sentence.end
        if sentence.kind == "code":
            lines.append(raw if raw.startswith(("```", "~~~")) else f"`{plain(raw)}`")
        elif sentence.kind == "row":
            cells = _cells(raw)
            if not header:
                header = cells
                continue
            lines.append(f"- {_named(header, cells)}")
        elif sentence.kind == "item" and _starts_item(passage, sentence.start):
            lines.append(f"{_marker(passage, sentence.start)} {plain(raw)}")
        elif lines and sentence.kind == "item":
            lines[-1] += f" {plain(raw)}"
            continue
        else:
            lines.append(plain(raw))
        steps += 1
    return "\n".join(lines), end


_MARKER = re.compile(r"^[ \t>]*(?:([-*+•])|(\d{1,3})[.)])[ \t]+(?:\[[ xX]\][ \t]+)?$")


def _line_start(passage: str, start: int) -> int:
    return passage.rfind("\n", 0, start) + 1


def _starts_item(passage: str, start: int) -> bool:
    return bool(_MARKER.match(passage[_line_start(passage, start) : start]))


def _marker(passage: str, start: int) -> str:
    found = _MARKER.match(passage[_line_start(passage, start) : start])
    return f"{found[2]}." if found and found[2] else "-"


def _code(candidate: CandidateSentence, passage: str) -> _Excerpt:
    raw = passage[candidate.start : candidate.end]
    lead = f"{candidate.lead}\n" if candidate.lead else ""
    return _Excerpt(candidate.start, candidate.end, f"{lead}{raw}")


# Tables


def _row(
    candidate: CandidateSentence, passage: str, sentences: Sequence[Sentence], place: int
) -> _Excerpt | None:
    """A row as "column: cell", below its table's caption; None for the header itself."""
    header = _header(candidate, passage, sentences, place)
    raw = passage[candidate.start : candidate.end]
    if header is None:
        if _is_header(passage, sentences, place):
            return None
        return _Excerpt(candidate.start, candidate.end, candidate.words)
    caption = _caption(passage, sentences, place)
    named = _named(header, _cells(raw))
    text = f"{caption.rstrip(':')}: {named}" if caption else named
    return _Excerpt(candidate.start, candidate.end, text)


def _cells(row: str) -> list[str]:
    return [plain(cell).strip() for cell in row.strip().strip("|").split("|")]


def _named(header: Sequence[str], cells: Sequence[str]) -> str:
    """The cells, each behind its column's name; the first names the row."""
    if len(header) != len(cells) or len(cells) < CELLS_MIN:
        return " | ".join(cell for cell in cells if cell)
    pairs = [
        f"{name}: {cell}" if name and name.casefold() != cell.casefold() else cell
        for name, cell in zip(header, cells, strict=True)
        if cell
    ]
    return "; ".join(pairs)


def _is_header(passage: str, sentences: Sequence[Sentence], place: int) -> bool:
    after = passage[sentences[place].end :].lstrip("\r\n").split("\n", 1)[0]
    return bool(after) and "-" in after and bool(_RULE_ROW.match(after))


def _header(
    candidate: CandidateSentence, passage: str, sentences: Sequence[Sentence], place: int
) -> list[str] | None:
    """The cells of the row above a rule; of a table that was cut, those in the passage's context."""
    if _is_header(passage, sentences, place):
        return None
    for above in range(place, -1, -1):
        if sentences[above].kind != "row":
            break
        if _is_header(passage, sentences, above):
            return _cells(passage[sentences[above].start : sentences[above].end])
    rows = [line for line in candidate.passage.context.splitlines() if line.strip().startswith("|")]
    rows = [line for line in rows if not _RULE_ROW.match(line)]
    return _cells(rows[-1]) if rows else None


def _caption(passage: str, sentences: Sequence[Sentence], place: int) -> str:
    """The line that introduces the table; a heading is shown by the citation already."""
    lead = sentences[place].lead
    if lead is None or sentences[lead].kind == "heading":
        return ""
    return plain(passage[sentences[lead].start : sentences[lead].end])


# Numbers


def _number_first(question: Question, candidate: CandidateSentence, shown: _Excerpt) -> _Excerpt:
    """The amount that was asked for before its sentence, where there is just one it can be.

    It is counted in what the question counts: "240 hours" of "240 annual leave hours". In a short
    sentence it is seen at once.
    """
    asks = _HOW_MANY.search(question.text)
    if asks is None or len(shown.text) <= SHORT:
        return shown
    unit = asks[1] or ""
    asked = set(_FIGURE.findall(question.text))
    amounts = [
        match
        for match in _AMOUNT.finditer(candidate.words)
        if not asked & set(_FIGURE.findall(match.group()))
    ]
    if len(amounts) != 1:
        return shown
    amount = amounts[0].group().strip().rstrip(".,")
    after = re.findall(r"\w+", candidate.words[amounts[0].end() :].casefold())
    if candidate.words.startswith(amount) or (unit and unit.casefold() not in after):
        return shown
    said = f"{amount} {unit}".strip()
    return replace(shown, text=f"{said[0].upper()}{said[1:]}: {shown.text}")
