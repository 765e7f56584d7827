"""The place of a chunk, as a citation names it: `slide 3`, `Sales!A2:F40`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ingestion.convert.document import Block, BlockPlace, join_places, render_place
from ingestion.units import Unit


class ChunkPlaces:
    """Names the places of chunks; asked in their order, so that no line is counted twice."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._block = -1  # where the block that is being counted begins
        self._at = 0
        self._lines = 0  # of it before `_at`

    def of(self, chunk: Sequence[Unit], start: int, end: int) -> str:
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

    def _narrow(self, block: Block, start: int, end: int) -> BlockPlace | None:
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
