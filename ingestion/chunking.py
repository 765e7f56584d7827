"""Where a document is cut into chunks: a pure function from text, blocks and tokens to spans.

Every span is byte-faithful, `text[start:end]`, and may be cited; what stands around it (title,
headings, the header row of a table, the opening of a fence) goes into `context`, which is searched but never cited.
Sizes are counted in the embedder's own tokens, found by one pass over the whole text.

Strategies: `document_aware` cuts by sections, `recursive` by length at the mildest cut that serves
(block, sentence, word), `semantic` like it but also where the subject changes (`Marks.breaks`, found
by `topics.py`), `fixed` and `sliding_window` by length alone, the latter with an overlap.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from ingestion.chunk_places import ChunkPlaces
from ingestion.contexts import Contexts, TokenOffsets
from ingestion.convert.document import Block, BlockKind, Converted
from ingestion.units import SENTENCE, Cutter, Ruler, Unit, pieces

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
    not joined with their siblings. `rows_apart`: each row of a table is its own chunk.
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

    No chunk that says enough by itself continues past one of `breaks`. `languages` are stretches
    [start, end) of one language, ISO 639-1; what is between them is of no known language.
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


def split(
    document: Converted,
    settings: Chunking,
    token_offsets: TokenOffsets,
    marks: Marks = NO_MARKS,
) -> list[Span]:
    """Cut `document` into spans, in order, that cover all of its blocks but the hidden ones.

    `token_offsets` gives the character span of each token of a text, in order, special tokens
    left out. It is called once for the whole text, once for all headings, and again only for
    header rows, for openings of fences and for words so long that they must be cut within.
    """
    return _ChunkPacker(document, settings, token_offsets, marks).split()


class _ChunkPacker:
    def __init__(
        self, document: Converted, settings: Chunking, offsets: TokenOffsets, marks: Marks
    ) -> None:
        self._document = document
        self._settings = settings
        self._ruler = Ruler(document.text, offsets)
        self._contexts = Contexts(document, settings.context, offsets)
        self._cutter = Cutter(
            self._ruler, self._room, breaks=marks.breaks, rows_apart=settings.rows_apart
        )
        self._places = ChunkPlaces(document.text)
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
            units = list(self._cutter.units(run))
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

    def _room(self, path: tuple[str, ...]) -> int:
        """Tokens of text a chunk under `path` may have beside context, specials and overlap."""
        kept = self._settings.special + self._contexts.tokens(path) + self._settings.overlap
        return self._settings.size - kept

    def _pack(self, units: Sequence[Unit]) -> list[list[Unit]]:
        """Units one after the other for as long as they fit; a heading stays with what follows."""
        chunks: list[list[Unit]] = []
        for unit in units:
            if not chunks:
                chunks.append([unit])
            elif self._extends(chunks[-1], unit):
                chunks[-1].append(unit)
            else:
                chunks.append([*self._headings_for(chunks[-1], unit), unit])
        return chunks

    def _extends(self, chunk: Sequence[Unit], unit: Unit) -> bool:
        first = chunk[0]
        if first.alone or unit.alone or _elsewhere(chunk, unit):
            return False
        if not self._ruler.fits(first.start, unit.end, self._room(first.block.heading_path)):
            return False
        if self._breaks and self._is_parted(chunk, unit):
            return False
        return not self._languages or self._is_pure([*chunk, unit])

    def _is_parted(self, chunk: Sequence[Unit], unit: Unit) -> bool:
        """Whether the subject changes before `unit`, and what comes before it says enough."""
        first, last = chunk[0], chunk[-1]
        if last.block.kind == "heading":  # it belongs to what follows
            return False
        breaks = self._breaks
        passed = bisect_right(breaks, unit.start) > bisect_right(breaks, last.start)
        return passed and self._ruler.count(first.start, last.end) >= self._small

    def _is_pure(self, units: Sequence[Unit]) -> bool:
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

    def _headings_for(self, chunk: list[Unit], unit: Unit) -> list[Unit]:
        """Take the headings off the end of a full chunk where they fit with the unit after them."""
        count = 0
        while count < len(chunk) - 1 and chunk[-1 - count].block.kind == "heading":
            count += 1
        if not count or not self._extends(chunk[-count:], unit):
            return []
        moved = chunk[-count:]
        del chunk[-count:]
        return moved

    def _pack_sections(self, units: Sequence[Unit]) -> list[list[Unit]]:
        """Each section by itself, small ones joined with the related section before."""
        chunks: list[list[Unit]] = []
        for section in _sections(units):
            if chunks and self._joins(chunks[-1], section):
                chunks[-1].extend(section)
            else:
                chunks.extend(self._pack(section))
        return chunks

    def _joins(self, chunk: Sequence[Unit], section: Sequence[Unit]) -> bool:
        first, last = chunk[0], section[-1]
        if self._settings.sections_apart or first.alone:
            return False
        if any(unit.alone or _elsewhere(chunk, unit) for unit in section):
            return False
        if not _related(first.block.heading_path, section[0].block.heading_path):
            return False
        if not self._ruler.fits(first.start, last.end, self._room(first.block.heading_path)):
            return False
        if self._languages and not self._is_pure([*chunk, *section]):
            return False
        return (
            self._ruler.count(first.start, chunk[-1].end) < self._small
            or self._ruler.count(section[0].start, last.end) < self._small
        )

    def _overlapping(self, chunks: Sequence[Sequence[Unit]]) -> list[int]:
        """Where each chunk begins once it repeats the last sentences of the one before it."""
        starts = [chunk[0].start for chunk in chunks]
        if not self._settings.overlap:
            return starts
        for number in range(1, len(chunks)):
            before, chunk = chunks[number - 1][-1], chunks[number][0]
            if before.alone or chunk.alone or before.block.kind in {"code", "table"}:
                continue
            first_token = bisect_left(self._ruler.starts, before.end) - self._settings.overlap
            earliest = max(before.start, self._ruler.starts[max(0, first_token)])
            parts = pieces(self._ruler.text, before.block.start, before.end, SENTENCE)
            sentences = (a for a, _ in parts if a >= earliest and a > starts[number - 1])
            starts[number] = next(sentences, chunk.start)
        return starts

    def _span(self, chunk: Sequence[Unit], start: int) -> Span:
        first, end = chunk[0], chunk[-1].end
        path = _shared_path([unit.block for unit in chunk])
        tokens = self._settings.special
        tokens += self._ruler.count(start, end) if first.measured is None else first.measured
        if first.header:
            tokens += self._ruler.count_in(first.header)
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

    def _windows(self, run: Sequence[Block]) -> Iterator[list[Unit]]:
        """Windows of as many whole words as fit, each but the first beginning with the overlap."""
        width = self._settings.size - self._settings.special - self._settings.context
        overlap = self._settings.overlap if self._settings.strategy == "sliding_window" else 0
        units = list(self._cutter.words(run, width))
        start = 0
        while start < len(units):
            end = self._window_end(units, start, start + 1, width)
            yield units[start:end]
            start = self._window_start(units, start, end, overlap, width)

    def _window_end(self, units: Sequence[Unit], start: int, end: int, width: int) -> int:
        first = units[start]
        while (
            end < len(units)
            and not (first.alone or units[end].alone)
            and self._ruler.fits(first.start, units[end].end, width)
            and (not self._languages or self._is_pure(units[start : end + 1]))
        ):
            end += 1
        return end

    def _window_start(
        self, units: Sequence[Unit], start: int, end: int, overlap: int, width: int
    ) -> int:
        """Where the window after `units[start:end]` begins: in its overlap, where that leads on."""
        at = end
        while (
            at - 1 > start
            and not units[at - 1].alone
            and self._ruler.count(units[at - 1].start, units[end - 1].end) <= overlap
        ):
            at -= 1
        if at < end and self._window_end(units, at, end, width) == end:
            return end  # what follows does not fit beside it
        return at


def _runs(document: Converted) -> Iterator[list[Block]]:
    """Blocks with content, parted where something hidden is between."""
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


def _sections(units: Sequence[Unit]) -> Iterator[list[Unit]]:
    """Units by section: a heading begins one, unless only headings come before it."""
    section: list[Unit] = []
    content = False
    for unit in units:
        heading = unit.block.kind == "heading"
        if heading and content:
            yield section
            section, content = [], False
        section.append(unit)
        content = content or not heading
    yield section


def _elsewhere(chunk: Sequence[Unit], unit: Unit) -> bool:
    """Whether a unit is on another slide or sheet than a chunk: a citation names one."""
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
    """The headings above all of `blocks` and are not among them."""
    paths = [b.heading_path[:-1] if b.kind == "heading" else b.heading_path for b in blocks]
    first, last = min(paths), max(paths)  # what these two share, all that sort between them share
    shared = 0
    while shared < min(len(first), len(last)) and first[shared] == last[shared]:
        shared += 1
    return first[:shared]
