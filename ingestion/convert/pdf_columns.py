"""Tables that a PDF wrote column by column: their lines put back into rows.

Only where it is sure: cells stand at the same heights side by side, and are numbers or few letters.
Columns of running text are left as they were written.
"""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Sequence

from ingestion.convert import pdf_rows
from ingestion.convert.pdf_lines import Cell, Line

_ROWS = 3  # fewer are no table
_LEVEL = 0.3  # of a letter's height, between cells of a row
_MATCHED = 0.8  # of a column's cells have one beside them
_NUMBERS = 0.6  # of a column's cells, where it holds numbers
_SHORT = 20  # letters in the usual cell of a table of words


def by_rows(lines: Sequence[Line]) -> list[Line]:
    """The lines in their order, but those of tables row by row, with cells."""
    stacks = _stacks(lines)
    found: list[Line] = []
    at = 0
    while at < len(stacks):
        end = at + 1
        while end < len(stacks) and _is_beside(stacks[end - 1], stacks[end]):
            end += 1
        woven = _woven(stacks[at:end]) if end > at + 1 else []
        found += woven or stacks[at]
        at = end if woven else at + 1
    return found


def _stacks(lines: Sequence[Line]) -> list[list[Line]]:
    """Lines in runs that go down the page."""
    stacks: list[list[Line]] = []
    for line in lines:
        if not stacks or line.bottom >= stacks[-1][-1].bottom:
            stacks.append([])
        stacks[-1].append(line)
    return stacks


def _is_beside(left: Sequence[Line], right: Sequence[Line]) -> bool:
    top = right[0].bottom + _LEVEL * right[0].size
    edges = [line.right for line in left if line.bottom <= top]
    return bool(edges) and right[0].left > max(edges)


def _woven(stacks: Sequence[Sequence[Line]]) -> list[Line]:
    """Stacks side by side as rows, with what stands above and below; nothing where they are none."""
    size = stacks[1][0].size
    high, low = stacks[1][0].bottom + _LEVEL * size, stacks[0][-1].bottom - _LEVEL * size
    above = [line for line in stacks[0] if line.bottom > high]
    below = [line for line in stacks[-1] if line.bottom < low]
    columns = [[line for line in stack if low <= line.bottom <= high] for stack in stacks]
    inner = sum(map(len, columns)) + len(above) + len(below)
    if inner < sum(map(len, stacks)) or min(map(len, columns)) < _ROWS:
        return []
    if not all(_is_apart(a, b) for a, b in itertools.pairwise(columns)):
        return []
    heights = [line.bottom for line in max(columns, key=len)]
    if not all(_is_level(column, heights) for column in columns) or not _is_tabular(columns):
        return []
    for line in (line for column in columns for line in column):
        line.cells = line.cells or [Cell(line.text.strip(), line.left, line.right)]
    rows: list[list[Line]] = []
    for line in sorted(
        (line for column in columns for line in column), key=lambda item: -item.bottom
    ):
        if rows and rows[-1][0].bottom - line.bottom <= _LEVEL * size:
            rows[-1].append(line)
        else:
            rows.append([line])
    inside = [line for row in rows for line in sorted(row, key=lambda item: item.left)]
    return [*above, *inside, *below]


def _is_apart(left: Sequence[Line], right: Sequence[Line]) -> bool:
    return max(line.right for line in left) < min(line.left for line in right)


def _is_level(column: Sequence[Line], heights: Sequence[float]) -> bool:
    beside = [
        any(abs(line.bottom - height) <= _LEVEL * line.size for height in heights)
        for line in column
    ]
    return sum(beside) >= _MATCHED * len(column)


def _is_tabular(columns: Sequence[Sequence[Line]]) -> bool:
    numbers = [
        sum(pdf_rows.NUMBER.fullmatch(line.text.strip()) is not None for line in column)
        for column in columns
    ]
    if any(count >= _NUMBERS * len(column) for count, column in zip(numbers, columns, strict=True)):
        return True
    usual = statistics.median(len(line.text) for column in columns for line in column)
    return len(columns) > 2 and usual <= _SHORT
