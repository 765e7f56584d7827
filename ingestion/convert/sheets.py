"""Rows of cells become tables: what spreadsheets and delimited files share.

An empty row ends a table. The first row of a table is its header, which the chunker repeats with
every part of it. A table too wide for that becomes records, each value beside its column's name.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ingestion.convert.document import BlockPlace, TextWriter, cell, render_table

Row = tuple[int, Sequence[str]]  # its number from 1, and its cells from column A

_WIDE = 320  # characters of a header row that can still go with each part of its table
_COLUMNS = 500
_CAPTION = 160
_RECORD = 8  # columns a table has at least where it is written as records


@dataclass(slots=True)
class _SheetTable:
    rows: list[Row]
    left: int
    right: int  # the column after the last


def write_rows(writer: TextWriter, rows: Iterable[Row], *, name: str = "", level: int = 2) -> int:
    """Write the tables among `rows`, which are on the sheet `name`; how many rows had cells.

    `level` is the depth of headings made of a table's caption. Without a name, places count rows.
    """
    group: list[Row] = []
    count = 0
    last = 0
    for number, cells in rows:
        if not any(cells):
            continue
        count += 1
        if group and number > last + 1:
            _write_group(writer, group, name, level)
            group = []
        group.append((number, cells[:_COLUMNS]))
        last = number
    if group:
        _write_group(writer, group, name, level)
    return count


def column_name(index: int) -> str:
    """The letters of a column, counted from 0: A, B, … Z, AA."""
    name = ""
    index += 1
    while index:
        index, rest = divmod(index - 1, 26)
        name = chr(65 + rest) + name
    return name


def _write_group(writer: TextWriter, rows: list[Row], name: str, level: int) -> None:
    for table in _apart(rows):
        _write_table(writer, table, name, level)


def _apart(rows: list[Row]) -> list[_SheetTable]:
    """Tables side by side: where columns without any cell part at least two from two."""
    width = max(len(cells) for _, cells in rows)
    used = [False] * width
    for _, cells in rows:
        for index, text in enumerate(cells):
            if text:
                used[index] = True
    spans: list[tuple[int, int]] = []
    for index, is_used in enumerate(used):
        if not is_used:
            continue
        if spans and spans[-1][1] == index:
            spans[-1] = spans[-1][0], index + 1
        else:
            spans.append((index, index + 1))
    if len(rows) > 1 and len(spans) > 1 and all(right - left > 1 for left, right in spans):
        return [_SheetTable(_trimmed(rows, left, right), left, right) for left, right in spans]
    return [_SheetTable(rows, spans[0][0], spans[-1][1])]


def _trimmed(rows: list[Row], left: int, right: int) -> list[Row]:
    """Rows from the first to the last that has a cell between the columns."""
    has = [any(cells[left:right]) for _, cells in rows]
    first = has.index(True)
    return rows[first : len(rows) - has[::-1].index(True)]


def _write_table(writer: TextWriter, table: _SheetTable, name: str, level: int) -> None:
    rows, left, right = table.rows, table.left, table.right
    while len(rows) > 1 and right - left > 1:  # a caption over the table
        first = [text for text in rows[0][1][left:right] if text]
        if len(first) != 1 or len([t for t in rows[1][1][left:right] if t]) < 2:
            break
        place = _place(rows[:1], left, right, name)
        if len(first[0]) <= _CAPTION and not first[0].endswith((".", ";")):
            writer.heading(level, first[0], place=place)
        else:
            writer.add("paragraph", first[0], place=place)
        rows = rows[1:]
    place = _place(rows, left, right, name)
    if right - left == 1:
        lines = [" ".join(cells[left].split()) for _, cells in rows]
        writer.add("paragraph", "\n".join(lines), place=place)
        return
    cells = [[cell(text) for text in _cut(row, left, right)] for _, row in rows]
    header = cells[0]
    if len(header) >= _RECORD and sum(map(len, header)) + 3 * len(header) > _WIDE:
        for (number, _), values in zip(rows[1:], cells[1:], strict=True):
            said = "; ".join(f"{h or '?'}: {v}" for h, v in zip(header, values, strict=True) if v)
            writer.add("paragraph", said, place=_place([(number, [])], left, right, name))
        if len(cells) > 1:
            return
    writer.add("table", render_table(cells), place=place)


def _cut(row: Sequence[str], left: int, right: int) -> list[str]:
    cells = list(row[left:right])
    return cells + [""] * (right - left - len(cells))


def _place(rows: Sequence[Row], left: int, right: int, name: str) -> BlockPlace:
    columns = (column_name(left), column_name(right - 1)) if name else None
    return BlockPlace("row", rows[0][0], rows[-1][0], name, columns)
