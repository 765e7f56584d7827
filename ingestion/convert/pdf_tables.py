"""Tables of PDF pages: rows whose cells stand below one another, told by the white between them.

Only lines that are much wider than their letters are looked at letter by letter (`pdf_lines.py`), so
pages of prose cost nothing. What does not line up stays lines: a row kept is better than a table
guessed.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence

from ingestion.convert.document import cell
from ingestion.convert.pdf_lines import Cell, Line

_ROWS = 3  # fewer are no table
_REGULAR = 0.8  # of the rows have each cell in a column of its own
_FILLED = 0.6  # of the cells hold something
_PROSE = 30  # letters: two columns of longer cells are text in columns


def apart(lines: Sequence[Line]) -> Iterator[tuple[list[Line], list[list[str]]]]:
    """Runs of lines in order: those of a table with its rows of cells, others with none."""
    plain: list[Line] = []
    at = 0
    while at < len(lines):
        end = at
        while end < len(lines) and lines[end].cells:
            end += 1
        rows = table_rows(lines[at:end])
        if rows:
            if plain:
                yield plain, []
            plain = []
            yield list(lines[at:end]), rows
        else:
            plain.extend(lines[at : max(end, at + 1)])
        at = max(end, at + 1)
    if plain:
        yield plain, []


def table_rows(lines: Sequence[Line]) -> list[list[str]]:
    """The cells of lines that stand in columns, the first line's too; nothing where they do not."""
    cells = _by_height(lines)
    if len(cells) < _ROWS:
        return []
    usual = statistics.mode([len(one) for one in cells[1:]])
    columns = _columns([one for one in cells[1:] if len(one) == usual])
    rows = [_row(one, columns) for one in cells]
    regular = [row for row in rows[1:] if row is not None]
    if len(columns) < 2 or len(regular) < _REGULAR * (len(rows) - 1):
        return []
    lengths = [len(text) for row in regular for text in row if text]
    is_prose = len(columns) == 2 and statistics.median(lengths) > _PROSE
    if is_prose or len(lengths) < _FILLED * len(columns) * len(regular):
        return []
    return [row or _nearest(one, columns) for row, one in zip(rows, cells, strict=True)]


def _by_height(lines: Sequence[Line]) -> list[list[Cell]]:
    """Cells by row: what is raised or lowered a little, as an exponent, is in the row as well."""
    rows: list[list[Cell]] = []
    bottom = 0.0
    for line in lines:
        if rows and abs(line.bottom - bottom) < 0.6 * line.size:
            rows[-1].extend(line.cells)
        else:
            rows.append(list(line.cells))
            bottom = line.bottom
    return rows


def _columns(rows: Sequence[Sequence[Cell]]) -> list[tuple[float, float]]:
    """Where cells stand: what overlaps in any two rows is one column."""
    columns: list[tuple[float, float]] = []
    for one in sorted((one for row in rows for one in row), key=lambda c: c.left):
        if columns and one.left < columns[-1][1]:
            columns[-1] = columns[-1][0], max(columns[-1][1], one.right)
        else:
            columns.append((one.left, one.right))
    return columns


def _row(cells: Sequence[Cell], columns: Sequence[tuple[float, float]]) -> list[str] | None:
    """Each cell in its column; None where two share one, or one stands over two."""
    row = [""] * len(columns)
    for one in cells:
        over = [
            n for n, (left, right) in enumerate(columns) if one.left < right and left < one.right
        ]
        if len(over) != 1 or row[over[0]]:
            return None
        row[over[0]] = cell(one.text)
    return row


def _nearest(cells: Sequence[Cell], columns: Sequence[tuple[float, float]]) -> list[str]:
    """Names that are wider than their columns, and what slipped: each in the one nearest to it."""
    row = [""] * len(columns)
    for one in sorted(cells, key=lambda c: c.left):
        middle = (one.left + one.right) / 2
        nearest = min(range(len(columns)), key=lambda n: abs(sum(columns[n]) / 2 - middle))
        row[nearest] = " ".join(filter(None, (row[nearest], cell(one.text))))
    return row
