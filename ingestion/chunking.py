"""Where a document is cut into chunks: a pure function from text, blocks and tokens to spans.

Every span is byte-faithful, `text[start:end]`, and may be cited; what stands around it (title,
headings, the header row of a table) goes into `context`, which is searched but never cited.
Sizes are counted in the embedder's own tokens, found by one pass over the whole text.

Strategies: `document_aware` cuts by sections, `recursive` by length at the mildest cut that serves
(block, sentence, word), `semantic` like it but also where the subject changes (`Marks.breaks`, found
by `topics.py`), `fixed` and `sliding_window` by length alone, the latter with an overlap.
"""

from __future__ import annotations

import itertools
import re
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from ingestion.contexts import Contexts, TokenOffsets
from ingestion.convert.document import (
    Block,
    BlockKind,
    Converted,
    Place,
    join_places,
    render_place,
)

Strategy = Literal["document_aware", "fixed", "recursive", "semantic", "sliding_window"]

WINDOWS: frozenset[Strategy] = frozenset({"fixed", "sliding_window"})


@dataclass(frozen=True, slots=True)
class Chunking:
    """How to cut. All sizes are tokens; `size` counts text, context and special tokens together.

    `size` is the smaller of what the user set and what the embedder takes. `overlap` repeats the
    end of a chunk at the start of the next: from a sentence's beginning (recursive), or the most
    whole words of so many tokens (sliding_window); the other strategies repeat nothing.
    `foreign_share` is how much of a chunk may be in other languages than most of it, where the
    languages are known (`Marks.languages`). `sections_apart` (document_aware): small sections are
    not joined with their siblings. `rows_apart`: each row of a table is a chunk of its own.
    """

    strategy: Strategy = "document_aware"
    size: int = 256
    overlap: int = 0
    context: int = 48  # at most, of `size`
    special: int = 2  # what the embedder adds to every input
    foreign_share: float = 1.0
    sections_apart: bool = False
    rows_apart: bool = False

    def __post_init__(self) -> None:
        if self.size - self.special - self.context < 8:
            raise ValueError(
                f"size {self.size} leaves no room for text beside context and specials"
            )
        if not 0 <= self.overlap <= (self.size - self.special - self.context) // 2:
            raise ValueError(f"overlap {self.overlap} is more than half of a chunk's text")
        if not 0 <= self.foreign_share <= 1:
            raise ValueError(f"foreign_share {self.foreign_share} is not between 0 and 1")


@dataclass(frozen=True, slots=True)
class Marks:
    """What is known of a text beside its blocks; offsets rise.

    No chunk that says enough by itself goes on past one of `breaks`. `languages` are stretches
    [start, end) of one language, ISO 639-1; what stands between them is of no known language.
    """

    breaks: Sequence[int] = ()
    languages: Sequence[tuple[int, int, str]] = ()


NO_MARKS = Marks()


@dataclass(frozen=True, slots=True)
class Span:
    """One chunk: [start, end) of the text. `tokens` counts text, context and special tokens."""

    start: int
    end: int
    context: str
    page: int | None
    heading_path: tuple[str, ...]
    tokens: int
    kind: BlockKind
    place: str = ""  # more than one page, or in a file without: `slide 3`, `Sales!A2:F40`


@dataclass(frozen=True, slots=True)
class _Unit:
    """A piece that is not cut further.

    `header` is the header row a table's continuation carries. `measured` is set where tokens were
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


# Text without spaces can be one token for thousands of letters; no chunk grows past this.
_LETTERS_PER_TOKEN = 16

_LINE = re.compile(r"\n")
_ITEM = re.compile(r"\n(?=[ \t]*(?:[-*+]|\d{1,9}[.)])[ \t])")
# After Latin punctuation a sentence needs a space, after that of scripts without spaces it doesn't.
SENTENCE = re.compile(
    r"(?<=[.!?\u2026])[\"'\u201d\u2019\u00bb)\]*_]*\s+|(?<=[\u3002\uff01\uff1f\uff61\u0964\u061f])\s*"
)
_WORD = re.compile(r"\s+")

_CUTS: dict[BlockKind, tuple[re.Pattern[str], ...]] = {
    "code": (_LINE, _WORD),
    "heading": (_WORD,),
    "list": (_ITEM, SENTENCE, _WORD),
    "paragraph": (SENTENCE, _LINE, _WORD),
    "quote": (_LINE, SENTENCE, _WORD),
    "table": (_LINE, _WORD),
}


def split(
    document: Converted,
    settings: Chunking,
    token_offsets: TokenOffsets,
    marks: Marks = NO_MARKS,
) -> list[Span]:
    """Cut `document` into spans, in order, that cover all of its blocks but the hidden ones.

    `token_offsets` gives the character span of each token of a text, in order, special tokens
    left out. It is called once for the whole text, once for all headings, and again only for
    header rows and for words so long that they must be cut within.
    """
    return _Splitter(document, settings, token_offsets, marks).split()


class _Splitter:
    def __init__(
        self, document: Converted, settings: Chunking, offsets: TokenOffsets, marks: Marks
    ) -> None:
        self._text = document.text
        self._document = document
        self._settings = settings
        self._offsets = offsets
        self._starts = [start for start, _ in offsets(document.text)]
        self._contexts = Contexts(document, settings.context, offsets)
        self._places = _Places(document.text)
        # A part smaller than this says too little by itself and is joined with its siblings.
        self._small = (settings.size - settings.special) // 3
        self._breaks = marks.breaks
        self._languages = marks.languages if settings.foreign_share < 1 else ()

    def split(self) -> list[Span]:
        spans: list[Span] = []
        for run in _runs(self._document):
            if self._settings.strategy in WINDOWS:
                spans.extend(self._span(window, window[0].start) for window in self._windows(run))
                continue
            units = list(self._units(run))
            if self._settings.strategy == "document_aware":
                chunks = self._pack_sections(units)
            else:
                chunks = self._pack(units)
            if self._settings.strategy == "recursive":
                starts = self._overlapping(chunks)
            else:
                starts = [chunk[0].start for chunk in chunks]
            spans.extend(map(self._span, chunks, starts))
        return spans

    def _count(self, start: int, end: int) -> int:
        return bisect_left(self._starts, end) - bisect_left(self._starts, start)

    def _room(self, path: tuple[str, ...]) -> int:
        """Tokens of text a chunk under `path` may have beside context, specials and overlap."""
        kept = self._settings.special + self._contexts.tokens(path) + self._settings.overlap
        return self._settings.size - kept

    def _fits(self, start: int, end: int, room: int) -> bool:
        return end - start <= room * _LETTERS_PER_TOKEN and self._count(start, end) <= room

    # Packing units into chunks

    def _pack(self, units: Sequence[_Unit]) -> list[list[_Unit]]:
        """Units one after the other for as long as they fit; a heading stays with what follows."""
        chunks: list[list[_Unit]] = []
        for unit in units:
            if not chunks:
                chunks.append([unit])
            elif self._extends(chunks[-1], unit):
                chunks[-1].append(unit)
            else:
                chunks.append([*self._headings_for(chunks[-1], unit), unit])
        return chunks

    def _extends(self, chunk: Sequence[_Unit], unit: _Unit) -> bool:
        first = chunk[0]
        if first.alone or unit.alone or _elsewhere(chunk, unit):
            return False
        if not self._fits(first.start, unit.end, self._room(first.block.heading_path)):
            return False
        if self._breaks and self._is_parted(chunk, unit):
            return False
        return not self._languages or self._is_pure([*chunk, unit])

    def _is_parted(self, chunk: Sequence[_Unit], unit: _Unit) -> bool:
        """Whether the subject changes before `unit`, and what stands before it says enough."""
        first, last = chunk[0], chunk[-1]
        if last.block.kind == "heading":  # it belongs to what follows
            return False
        breaks = self._breaks
        passed = bisect_right(breaks, unit.start) > bisect_right(breaks, last.start)
        return passed and self._count(first.start, last.end) >= self._small

    def _is_pure(self, units: Sequence[_Unit]) -> bool:
        """Whether `units` are in one language but for the share that may be foreign."""
        letters: Counter[str] = Counter()
        start, end = units[0].start, units[-1].end
        at = bisect_right(self._languages, start, key=lambda stretch: stretch[1])
        while at < len(self._languages) and self._languages[at][0] < end:
            begin, stop, language = self._languages[at]
            letters[language] += min(stop, end) - max(begin, start)
            at += 1
        total = letters.total()
        return not total or max(letters.values()) >= total * (1 - self._settings.foreign_share)

    def _headings_for(self, chunk: list[_Unit], unit: _Unit) -> list[_Unit]:
        """Take the headings off the end of a full chunk where they fit with the unit after them."""
        count = 0
        while count < len(chunk) - 1 and chunk[-1 - count].block.kind == "heading":
            count += 1
        if not count or not self._extends(chunk[-count:], unit):
            return []
        moved = chunk[-count:]
        del chunk[-count:]
        return moved

    def _pack_sections(self, units: Sequence[_Unit]) -> list[list[_Unit]]:
        """Each section by itself, small ones joined with the related section before."""
        chunks: list[list[_Unit]] = []
        for section in _sections(units):
            if chunks and self._joins(chunks[-1], section):
                chunks[-1].extend(section)
            else:
                chunks.extend(self._pack(section))
        return chunks

    def _joins(self, chunk: Sequence[_Unit], section: Sequence[_Unit]) -> bool:
        first, last = chunk[0], section[-1]
        if self._settings.sections_apart or first.alone:
            return False
        if any(unit.alone or _elsewhere(chunk, unit) for unit in section):
            return False
        if not _related(first.block.heading_path, section[0].block.heading_path):
            return False
        if not self._fits(first.start, last.end, self._room(first.block.heading_path)):
            return False
        if self._languages and not self._is_pure([*chunk, *section]):
            return False
        return (
            self._count(first.start, chunk[-1].end) < self._small
            or self._count(section[0].start, last.end) < self._small
        )

    def _overlapping(self, chunks: Sequence[Sequence[_Unit]]) -> list[int]:
        """Where each chunk begins once it repeats the last sentences of the one before it."""
        starts = [chunk[0].start for chunk in chunks]
        if not self._settings.overlap:
            return starts
        for number in range(1, len(chunks)):
            before, chunk = chunks[number - 1][-1], chunks[number][0]
            if before.alone or chunk.alone or before.block.kind in {"code", "table"}:
                continue
            first_token = bisect_left(self._starts, before.end) - self._settings.overlap
            earliest = max(before.start, self._starts[max(0, first_token)])
            parts = pieces(self._text, before.block.start, before.end, SENTENCE)
            sentences = (a for a, _ in parts if a >= earliest and a > starts[number - 1])
            starts[number] = next(sentences, chunk.start)
        return starts

    def _span(self, chunk: Sequence[_Unit], start: int) -> Span:
        first, end = chunk[0], chunk[-1].end
        path = _shared_path([unit.block for unit in chunk])
        tokens = self._settings.special
        tokens += self._count(start, end) if first.measured is None else first.measured
        if first.header:
            tokens += len(self._offsets(first.header))
        context, context_tokens = self._contexts.render(path, self._settings.size - tokens)
        return Span(
            start=start,
            end=end,
            context="\n".join(part for part in (context, first.header) if part),
            page=first.block.page,
            heading_path=first.block.heading_path,
            tokens=tokens + context_tokens,
            kind=max(chunk, key=lambda unit: unit.end - unit.start).block.kind,
            place=self._places.of(chunk, start, end),
        )

    def _windows(self, run: Sequence[Block]) -> Iterator[list[_Unit]]:
        """Windows of as many whole words as fit, each but the first beginning with the overlap."""
        width = self._settings.size - self._settings.special - self._settings.context
        overlap = self._settings.overlap if self._settings.strategy == "sliding_window" else 0
        units = list(self._words(run, width))
        start = 0
        while start < len(units):
            end = self._window_end(units, start, start + 1, width)
            yield units[start:end]
            start = self._window_start(units, start, end, overlap, width)

    def _window_end(self, units: Sequence[_Unit], start: int, end: int, width: int) -> int:
        first = units[start]
        while (
            end < len(units)
            and not (first.alone or units[end].alone)
            and self._fits(first.start, units[end].end, width)
            and (not self._languages or self._is_pure(units[start : end + 1]))
        ):
            end += 1
        return end

    def _window_start(
        self, units: Sequence[_Unit], start: int, end: int, overlap: int, width: int
    ) -> int:
        """Where the window after `units[start:end]` begins: in its overlap, where that leads on."""
        at = end
        while (
            at - 1 > start
            and not units[at - 1].alone
            and self._count(units[at - 1].start, units[end - 1].end) <= overlap
        ):
            at -= 1
        if at < end and self._window_end(units, at, end, width) == end:
            return end  # what follows does not fit beside it
        return at

    # Cutting blocks into units

    def _words(self, run: Sequence[Block], width: int) -> Iterator[_Unit]:
        """Words; a fence or a table that fits a window is one unit."""
        for block in run:
            start, end = _trimmed(self._text, block.start, block.end)
            if block.kind in {"code", "table"} and self._fits(start, end, width):
                yield _Unit(start, end, block)
            else:
                yield from self._cut(block, start, end, width, (_WORD,))

    def _units(self, run: Sequence[Block]) -> Iterator[_Unit]:
        lead: int | None = None  # where the headings directly above a block begin
        for block, start, end in self._parts(run):
            room = self._room(block.heading_path)
            above = start if lead is None else lead
            whole = block.kind in {"code", "table", "heading"}
            if block.kind == "table" and self._settings.rows_apart:
                yield from self._rows(block, start, end, room - self._count(above, start))
            elif self._fits(start if whole else above, end, room):
                yield _Unit(start, end, block)
            elif block.kind == "table":
                yield from self._rows(block, start, end, room - self._count(above, start))
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
                yield block, *_trimmed(self._text, start, end)

    def _rows(self, block: Block, start: int, end: int, room: int) -> Iterator[_Unit]:
        """Rows, packed; all but the first pack carry the header row in their context."""
        header = self._text[start:end].split("\n", 1)[0]
        cost = len(self._offsets(header)) + 1
        if cost > room // 3:
            header, cost = "", 0
        lines = self._cut(block, start, end, room - cost, _CUTS["table"])
        apart = self._settings.rows_apart
        packs = (self._row_by_row if apart else self._pack_within)(lines, room - cost)
        for number, pack in enumerate(packs):
            measured = pack[0].measured
            rest = (header, measured, apart) if number else ("", measured, False)
            yield _Unit(pack[0].start, pack[-1].end, block, *rest)

    def _row_by_row(self, lines: Iterator[_Unit], room: int) -> list[list[_Unit]]:
        """Each line by itself; the first row with the header and the rule above it."""
        rows = list(lines)
        ruled = len(rows) > 1 and not set(self._text[rows[1].start : rows[1].end]) - set("|-: ")
        head = rows[: 3 if ruled else 2]
        whole = not any(unit.alone for unit in head)
        if not (head and whole and self._fits(head[0].start, head[-1].end, room)):
            head = rows[:1]
        return [head, *([unit] for unit in rows[len(head) :])]

    def _pack_within(self, units: Iterator[_Unit], room: int) -> list[list[_Unit]]:
        packs: list[list[_Unit]] = []
        for unit in units:
            last = packs[-1] if packs else None
            if (
                last is not None
                and not (last[0].alone or unit.alone)
                and self._fits(last[0].start, unit.end, room)
            ):
                last.append(unit)
            else:
                packs.append([unit])
        return packs

    def _cut(
        self, block: Block, start: int, end: int, room: int, cuts: Sequence[re.Pattern[str]]
    ) -> Iterator[_Unit]:
        """Pieces that fit, cut at the first of `cuts` and, where one is too long, at the next."""
        if not cuts:
            yield from self._letters(block, start, end, room)
            return
        for piece_start, piece_end in pieces(self._text, start, end, cuts[0]):
            if self._fits(piece_start, piece_end, room):
                yield _Unit(piece_start, piece_end, block)
            else:
                yield from self._cut(block, piece_start, piece_end, room, cuts[1:])

    def _letters(self, block: Block, start: int, end: int, room: int) -> Iterator[_Unit]:
        """A word longer than a chunk, cut where the tokens of each part, measured alone, fit.

        They are not those of the whole: WordPiece takes a word over 100 letters for one token.
        """
        while start < end:
            stop = min(end, start + room)
            while (tokens := len(self._offsets(self._text[start:stop]))) > room:
                if stop - start == 1:
                    break  # one letter of more tokens than a chunk holds: no cut helps
                stop = start + (stop - start) // 2
            yield _Unit(start, stop, block, measured=tokens)
            start = stop


class _Places:
    """Names where spans stand; asked in their order, so that no line is counted twice."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._block = -1  # where the block that is being counted begins
        self._at = 0
        self._lines = 0  # of it before `_at`

    def of(self, chunk: Sequence[_Unit], start: int, end: int) -> str:
        """The place of `chunk`, which spans from `start` to `end`, or nothing."""
        unit = next((part for part in chunk if part.block.place is not None), None)
        if unit is None:
            pages = [part.block.page for part in chunk if part.block.page]
            return f"pages {pages[0]}\u2013{pages[-1]}" if pages and pages[0] < pages[-1] else ""
        first, last = unit.block, chunk[-1].block
        begin = self._narrow(first, max(start, first.start), min(end, first.end))
        stop = begin if first is last else self._narrow(last, last.start, end)
        joined = join_places(begin, stop)
        return "" if joined is None else render_place(joined)

    def _narrow(self, block: Block, start: int, end: int) -> Place | None:
        """Of a block whose lines are rows or lines of the file, those from `start` to `end`."""
        place = block.place
        if place is None or place.unit not in {"line", "row"} or place.first == place.last:
            return place
        if self._block != block.start or self._at > start:
            self._block, self._at, self._lines = block.start, block.start, 0
        self._lines += self._text.count("\n", self._at, start)
        self._at = start
        ruled = 1 if block.kind == "table" else 0  # the line under a table's header is no row
        first = max(self._lines - ruled, 0)
        last = max(self._lines + self._text.count("\n", start, end) - ruled, 0)
        return replace(place, first=place.first + first, last=min(place.last, place.first + last))


def _runs(document: Converted) -> Iterator[list[Block]]:
    """Blocks with content, parted where something hidden stands between."""
    run: list[Block] = []
    for block in document.blocks:
        if block.kind != "hidden":
            if document.text[block.start : block.end].strip():
                run.append(block)
        elif run:
            yield run
            run = []
    if run:
        yield run


def _sections(units: Sequence[_Unit]) -> Iterator[list[_Unit]]:
    """Units by section: a heading begins one, unless only headings stand before it."""
    section: list[_Unit] = []
    content = False
    for unit in units:
        heading = unit.block.kind == "heading"
        if heading and content:
            yield section
            section, content = [], False
        section.append(unit)
        content = content or not heading
    yield section


def _elsewhere(chunk: Sequence[_Unit], unit: _Unit) -> bool:
    """Whether a unit stands on another slide or sheet than a chunk: a citation names one."""
    before = next((item.block.place for item in reversed(chunk) if item.block.place), None)
    after = unit.block.place
    if before is None or after is None:
        return False
    if before.name != after.name:
        return True
    return before.unit == "slide" and before.first != after.first


def _related(before: tuple[str, ...], after: tuple[str, ...]) -> bool:
    """Whether a section belongs below, beside or above the place a chunk began at."""
    parent = after[:-1]
    return before[: len(parent)] == parent or after[: len(before)] == before


def _shared_path(blocks: Sequence[Block]) -> tuple[str, ...]:
    """The headings that stand above all of `blocks` and are not among them."""
    paths = [b.heading_path[:-1] if b.kind == "heading" else b.heading_path for b in blocks]
    first, last = min(paths), max(paths)  # what these two share, all that sort between them share
    shared = 0
    while shared < min(len(first), len(last)) and first[shared] == last[shared]:
        shared += 1
    return first[:shared]


def pieces(text: str, start: int, end: int, cut: re.Pattern[str]) -> Iterator[tuple[int, int]]:
    """What stands between the matches of `cut` in [start, end), trimmed, the empty left out."""
    stops = (match.end() for match in cut.finditer(text, start, end))
    for stop in itertools.chain(stops, (end,)):
        piece = _trimmed(text, start, stop)
        start = stop
        if piece[0] < piece[1]:
            yield piece


def _trimmed(text: str, start: int, end: int) -> tuple[int, int]:
    piece = text[start:end]
    bare = piece.strip()
    if len(bare) == len(piece):
        return start, end
    start += len(piece) - len(piece.lstrip())
    return start, start + len(bare)
