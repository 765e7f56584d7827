"""Pieces of a document that chunks are packed from: blocks, sentences, rows, words.

`chunking.py` packs the units that `Cutter` makes. Every unit fits a chunk, or was cut within a word
until it did. Sizes are counted by `Ruler`, in the embedder's own tokens.
"""

from __future__ import annotations

import itertools
import re
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from ingestion.contexts import TokenOffsets
from ingestion.convert.document import Block, BlockKind

# Text without spaces can be one token for thousands of letters; no chunk grows past this.
_LETTERS_PER_TOKEN = 16

_LINE = re.compile(r"\n")
_ITEM = re.compile(r"\n(?=[ \t]*(?:[-*+]|\d{1,9}[.)])[ \t])")
# After Latin punctuation a sentence needs a space, after that of scripts without spaces it doesn't.
SENTENCE = re.compile(
    r"(?<=[.!?\u2026])[\"'\u201d\u2019\u00bb)\]*_]*\s+|(?<=[\u3002\uff01\uff1f\uff61\u0964\u061f])\s*"
)
_WORD = re.compile(r"\s+")
_FENCE = re.compile(r"[ \t]*(?:`{3,}|~{3,})[^\n]*")

_CUTS: dict[BlockKind, tuple[re.Pattern[str], ...]] = {
    "code": (_LINE, _WORD),
    "heading": (_WORD,),
    "list": (_ITEM, SENTENCE, _WORD),
    "paragraph": (SENTENCE, _LINE, _WORD),
    "quote": (_LINE, SENTENCE, _WORD),
    "table": (_LINE, _WORD),
}


@dataclass(frozen=True, slots=True)
class Unit:
    """A piece that is not cut further.

    `header` is what a continuation carries: the header row of a table, the opening of a fence. `measured` is set where tokens were
    counted on the piece alone; such a piece, and a continuation, share their chunk with nothing,
    nor does a row that is to be `apart`.
    """

    start: int
    end: int
    block: Block
    header: str = ""
    measured: int | None = None
    apart: bool = False

    @property
    def alone(self) -> bool:
        return bool(self.header) or self.measured is not None or self.apart


class Ruler:
    """Counts tokens of stretches of one text, from one pass over the whole of it."""

    def __init__(self, text: str, offsets: TokenOffsets) -> None:
        self.text = text
        self.offsets = offsets
        self.starts = [start for start, _ in offsets(text)]

    def count(self, start: int, end: int) -> int:
        """Tokens that start in [start, end)."""
        return bisect_left(self.starts, end) - bisect_left(self.starts, start)

    def count_in(self, text: str) -> int:
        """Tokens of a text by itself."""
        return len(self.offsets(text))

    def fits(self, start: int, end: int, room: int) -> bool:
        """Whether [start, end) has at most `room` tokens."""
        return end - start <= room * _LETTERS_PER_TOKEN and self.count(start, end) <= room


class Cutter:
    """Cuts blocks into units.

    `room` gives the tokens of text that a chunk under a heading path may have. Prose is parted at
    `breaks`, where the subject changes; `rows_apart`: each row of a table is a unit.
    """

    def __init__(
        self,
        ruler: Ruler,
        room: Callable[[tuple[str, ...]], int],
        *,
        breaks: Sequence[int] = (),
        rows_apart: bool = False,
    ) -> None:
        self._ruler = ruler
        self._text = ruler.text
        self._room = room
        self._breaks = breaks
        self._rows_apart = rows_apart

    def words(self, run: Sequence[Block], width: int) -> Iterator[Unit]:
        """Words; a fence or a table that fits a window is one unit."""
        for block in run:
            start, end = trimmed(self._text, block.start, block.end)
            if block.kind in {"code", "table"} and self._ruler.fits(start, end, width):
                yield Unit(start, end, block)
            else:
                yield from self._cut(block, start, end, width, (_WORD,))

    def units(self, run: Sequence[Block]) -> Iterator[Unit]:
        """Blocks that fit, and of others the largest pieces that do."""
        lead: int | None = None  # where the headings directly above a block begin
        for block, start, end in self._parts(run):
            room = self._room(block.heading_path)
            above = start if lead is None else lead
            whole = block.kind in {"code", "table", "heading"}
            if block.kind == "table" and self._rows_apart:
                yield from self._rows(block, start, end, room - self._ruler.count(above, start))
            elif self._ruler.fits(start if whole else above, end, room):
                yield Unit(start, end, block)
            elif block.kind == "table":
                yield from self._rows(block, start, end, room - self._ruler.count(above, start))
            elif block.kind == "code" and (fence := _FENCE.match(self._text, start, end)):
                left = room - self._ruler.count(above, start)
                yield from self._lines(block, start, end, left, fence[0].strip())
            else:
                yield from self._cut(block, start, end, room, _CUTS[block.kind])
            lead = above if block.kind == "heading" else None

    def _parts(self, run: Sequence[Block]) -> Iterator[tuple[Block, int, int]]:
        """Each block from start to end, trimmed; prose is parted where the subject changes."""
        for block in run:
            edges = [block.start, block.end]
            if self._breaks and block.kind not in {"code", "heading", "table"}:
                first, last = (
                    bisect_right(self._breaks, edges[0]),
                    bisect_left(self._breaks, edges[1]),
                )
                edges[1:1] = self._breaks[first:last]
            for start, end in itertools.pairwise(edges):
                yield block, *trimmed(self._text, start, end)

    def _rows(self, block: Block, start: int, end: int, room: int) -> Iterator[Unit]:
        """Rows, packed; all but the first pack carry the header row in their context."""
        header = self._text[start:end].split("\n", 1)[0]
        cost = self._ruler.count_in(header) + 1
        if cost > room // 3:
            header, cost = "", 0
        lines = self._cut(block, start, end, room - cost, _CUTS["table"])
        apart = self._rows_apart
        packs = (self._row_by_row if apart else self._pack_within)(lines, room - cost)
        for number, pack in enumerate(packs):
            measured = pack[0].measured
            rest = (header, measured, apart) if number else ("", measured, False)
            yield Unit(pack[0].start, pack[-1].end, block, *rest)

    def _lines(self, block: Block, start: int, end: int, room: int, fence: str) -> Iterator[Unit]:
        """Lines of a fence, packed; all but the first pack carry its opening in their context.

        So each is code of a known language by itself. A line keeps what it is indented by, and the
        closing stays with the line before it.
        """
        cost = self._ruler.count_in(fence) + 1
        if cost > room // 3:
            fence, cost = "", 0
        packs = self._pack_within(
            self._cut(block, start, end, room - cost, _CUTS["code"]), room - cost
        )
        last = self._text[packs[-1][0].start : packs[-1][-1].end].strip()
        if len(packs) > 1 and len(packs[-2]) > 1 and not last.strip("`~"):
            packs[-1].insert(0, packs[-2].pop())
        for number, pack in enumerate(packs):
            first = pack[0].start
            line = self._text.rfind("\n", start, first) + 1
            begin = line if line and not self._text[line:first].strip() else first
            header = fence if number else ""
            yield Unit(begin, pack[-1].end, block, header, pack[0].measured)

    def _row_by_row(self, lines: Iterator[Unit], room: int) -> list[list[Unit]]:
        """Each line by itself; the first row with the header and the rule above it."""
        rows = list(lines)
        ruled = len(rows) > 1 and not set(self._text[rows[1].start : rows[1].end]) - set("|-: ")
        head = rows[: 3 if ruled else 2]
        whole = not any(unit.alone for unit in head)
        if not (head and whole and self._ruler.fits(head[0].start, head[-1].end, room)):
            head = rows[:1]
        return [head, *([unit] for unit in rows[len(head) :])]

    def _pack_within(self, units: Iterator[Unit], room: int) -> list[list[Unit]]:
        packs: list[list[Unit]] = []
        for unit in units:
            last = packs[-1] if packs else None
            if (
                last is not None
                and not (last[0].alone or unit.alone)
                and self._ruler.fits(last[0].start, unit.end, room)
            ):
                last.append(unit)
            else:
                packs.append([unit])
        return packs

    def _cut(
        self, block: Block, start: int, end: int, room: int, cuts: Sequence[re.Pattern[str]]
    ) -> Iterator[Unit]:
        """Pieces that fit, cut at the first of `cuts` and, where one is too long, at the next."""
        if not cuts:
            yield from self._letters(block, start, end, room)
            return
        for piece_start, piece_end in pieces(self._text, start, end, cuts[0]):
            if self._ruler.fits(piece_start, piece_end, room):
                yield Unit(piece_start, piece_end, block)
            else:
                yield from self._cut(block, piece_start, piece_end, room, cuts[1:])

    def _letters(self, block: Block, start: int, end: int, room: int) -> Iterator[Unit]:
        """A word longer than a chunk, cut where the tokens of each part, measured alone, fit.

        They are not those of the whole: WordPiece takes a word over 100 letters for one token.
        """
        while start < end:
            stop = min(end, start + room)
            while (tokens := self._ruler.count_in(self._text[start:stop])) > room:
                if stop - start == 1:
                    break  # one letter of more tokens than a chunk holds: no cut helps
                stop = start + (stop - start) // 2
            yield Unit(start, stop, block, measured=tokens)
            start = stop


def pieces(text: str, start: int, end: int, cut: re.Pattern[str]) -> Iterator[tuple[int, int]]:
    """What is between the matches of `cut` in [start, end), trimmed, the empty left out."""
    stops = (match.end() for match in cut.finditer(text, start, end))
    for stop in itertools.chain(stops, (end,)):
        piece = trimmed(text, start, stop)
        start = stop
        if piece[0] < piece[1]:
            yield piece


def trimmed(text: str, start: int, end: int) -> tuple[int, int]:
    """[start, end) without the space around it."""
    piece = text[start:end]
    bare = piece.strip()
    if len(bare) == len(piece):
        return start, end
    start += len(piece) - len(piece.lstrip())
    return start, start + len(bare)
