"""Tables that go on over the next page: each part is read below the header that is written once.

Called by `pdf.py` for each table in order. A part keeps its own page, so a citation still names the
page on which its row is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from ingestion.convert import pdf_rows
from ingestion.convert.pdf_lines import Line

_NEAR = 3.0  # points that the columns of two pages may differ by


@dataclass(frozen=True, slots=True)
class _Part:
    page: int
    header: Sequence[str]
    columns: Sequence[tuple[float, float]]  # left and right, in points
    is_ruled: bool
    is_bold: bool  # its header


class ContinuedTables:
    """Remembers the table a page ends with."""

    def __init__(self) -> None:
        self._last: _Part | None = None

    def text_follows(self) -> None:
        """Say that something else follows the table: it does not go on."""
        self._last = None

    def read(
        self, page: int, lines: Sequence[Line], rows: Sequence[Sequence[str]], *, is_first: bool
    ) -> list[list[str]]:
        """The rows of a table, with the header of the table it continues where it has none itself."""
        found = [list(row) for row in rows]
        part = _Part(page, found[0], _columns(lines), _is_ruled(lines), lines[0].bold)
        before = self._last
        if is_first and before is not None and before.page == page - 1 and _fits(before, part):
            found = _under(before, part, found)
        self._last = _Part(page, found[0], part.columns, part.is_ruled, part.is_bold)
        return found


def _under(before: _Part, part: _Part, rows: list[list[str]]) -> list[list[str]]:
    if rows[0] == list(before.header) or not any(before.header):
        return rows
    if not any(rows[0]):  # it has no header: an empty one was put there
        return [list(before.header), *rows[1:]]
    if (before.is_bold and part.is_bold) or _names_its_columns(rows):
        return rows
    return [list(before.header), *rows]


def _names_its_columns(rows: Sequence[Sequence[str]]) -> bool:
    """Whether the first row has words where those below it have numbers."""
    for name, *below in zip(*rows, strict=True):
        numbers = sum(pdf_rows.NUMBER.fullmatch(text) is not None for text in below)
        if name and not pdf_rows.NUMBER.fullmatch(name) and below and numbers * 2 > len(below):
            return True
    return False


def _fits(before: _Part, part: _Part) -> bool:
    """Whether both have the same columns in the same places."""
    if len(before.header) != len(part.header) or len(before.columns) != len(part.columns):
        return False
    if before.is_ruled != part.is_ruled:
        return False
    pairs = zip(before.columns, part.columns, strict=True)
    if part.is_ruled:
        return all(abs(a[0] - b[0]) <= _NEAR and abs(a[1] - b[1]) <= _NEAR for a, b in pairs)
    # Columns of words are as wide as their words: they begin, or end, at one place.
    return all(abs(a[0] - b[0]) <= _NEAR or abs(a[1] - b[1]) <= _NEAR for a, b in pairs)


def _is_ruled(lines: Sequence[Line]) -> bool:
    return lines[0].table is not None


def _columns(lines: Sequence[Line]) -> list[tuple[float, float]]:
    table = lines[0].table
    if table is not None:
        xs = table.grid.xs
        return list(pairwise(xs))
    found: list[tuple[float, float]] = []
    for item in sorted((item for line in lines for item in line.cells), key=lambda c: c.left):
        if found and item.left < found[-1][1]:
            found[-1] = found[-1][0], max(found[-1][1], item.right)
        else:
            found.append((item.left, item.right))
    return found
