"""Where the sentences of a text are, in prose, lists, tables and headings.

The extractive answer chooses among them and `answer.py` checks citations sentence by sentence.
Offsets point into the text that was given, so that what is chosen stays a byte-faithful quote.
"""

# ruff: noqa: RUF001 (typography and other scripts are what this module is about)
from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

Kind = Literal["prose", "item", "row", "heading", "code"]

_FENCE = re.compile(r"^\s{0,3}(```|~~~)")
_HEADING = re.compile(r"^\s{0,3}#{1,6}\s+")
_ITEM = re.compile(r"^\s*(?:>\s*)*(?:[-*+•]|\d{1,3}[.)])\s+(?:\[[ xX]\]\s+)?")
_ROW = re.compile(r"^\s*\|.*\|\s*$")
_RULE = re.compile(r"^[\s|:=*_-]+$")
_QUOTE_MARK = re.compile(r"^\s*>\s?")

# A full stop ends a sentence when space and something that can start one follow. CJK marks and
# their Arabic, Urdu and Devanagari sisters end one wherever they are.
_END = re.compile(r"(?<![.!?…])[.!?…]++[)\]\"'”’*_`]*+(?=\s)|[。！？｡؟۔।]+[」』”’）]*")
_STARTS = re.compile(r"\s+[\"'“‘(\[*_`¿¡]*[^\W_a-zß-öø-ÿ]")
_ABBREVIATION = re.compile(
    r"(?:^|[\s(\[])(?:[A-Za-z]|(?:[A-Za-z]\.)+[A-Za-z]|approx|bzw|ca|cf|col|dept|dr|ed|eds|esp|est"
    r"|etc|fig|figs|gen|gov|inc|jr|lt|ltd|max|min|mr|mrs|ms|mt|no|nos|nr|op|p|pp|prof|ref|rev|sec"
    r"|sen|sr|st|str|univ|usw|vgl|vol|vs|z\.b|d\.h|e\.g|i\.e)\.$",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Sentence:
    """text[start:end], without the list marker or the hashes that announce it.

    `lead` is the index of the sentence that introduces this one: the line ending in a colon above
    a list, else the nearest heading.
    """

    start: int
    end: int
    kind: Kind
    lead: int | None = None


def split_sentences(text: str) -> list[Sentence]:
    """Every sentence of `text`, in order; a table row, list item or code fence counts as one.

    A list item of several sentences is cut like prose. Lines of a paragraph belong together.
    """
    found: list[Sentence] = []
    heading: int | None = None
    lead: int | None = None
    for kind, start, end in _blocks(text):
        spans = _cut(text, start, end) if kind in {"prose", "item"} else [(start, end)]
        for number, (left, right) in enumerate(spans):
            introduced = lead if kind in {"item", "row"} else None
            if introduced is None:
                introduced = heading
            found.append(Sentence(left, right, kind, introduced))
            if kind == "heading":
                heading, lead = len(found) - 1, None
            elif kind == "prose" and number == len(spans) - 1:
                lead = len(found) - 1 if text[left:right].rstrip("*_ ").endswith(":") else None
    return found


def _blocks(text: str) -> list[tuple[Kind, int, int]]:
    blocks: list[tuple[Kind, int, int]] = []
    open_kind: Kind | None = None
    fence = ""
    position = 0
    for line in text.splitlines(keepends=True):
        start, position = position, position + len(line)
        end = start + len(line.rstrip())
        if fence:
            blocks[-1] = ("code", blocks[-1][1], end)
            if line.lstrip().startswith(fence):
                fence = ""
            continue
        opening = _FENCE.match(line)
        if opening:
            fence = opening.group(1)
            blocks.append(("code", start, end))
            open_kind = None
        elif not line.strip() or _RULE.match(line.rstrip("\n\r")):
            open_kind = None
        elif heading := _HEADING.match(line):
            blocks.append(("heading", start + heading.end(), end))
            open_kind = None
        elif _ROW.match(line):
            blocks.append(("row", start, end))
            open_kind = None
        elif item := _ITEM.match(line):
            blocks.append(("item", start + item.end(), end))
            open_kind = "item"
        elif open_kind is not None:
            blocks[-1] = (open_kind, blocks[-1][1], end)
        else:
            mark = _QUOTE_MARK.match(line)
            blocks.append(("prose", start + (mark.end() if mark else 0), end))
            open_kind = "prose"
    return [block for block in blocks if text[block[1] : block[2]].strip()]


def _cut(text: str, start: int, end: int) -> list[tuple[int, int]]:
    cuts = [start]
    for match in _END.finditer(text, start, end):
        if match.group()[0] in ".!?…":
            if not _STARTS.match(text, match.end()):
                continue
            stop = match.group().rstrip(")]\"'”’*_`")
            if stop == "." and _ABBREVIATION.search(
                text, max(start, match.start() - 12), match.start() + 1
            ):
                continue
        cuts.append(match.end())
    cuts.append(end)
    spans = []
    for left, right in pairwise(cuts):
        piece = text[left:right]
        if piece.strip():
            spans.append((left + len(piece) - len(piece.lstrip()), left + len(piece.rstrip())))
    return spans
