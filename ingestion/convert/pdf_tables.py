"""Tables of PDF pages: those whose grid is drawn, and rows whose cells stand below one another.

Only lines that are much wider than their letters are looked at letter by letter (`pdf_lines.py`), so
pages of prose cost nothing. What does not line up stays lines: a row kept is better than a table
guessed.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping, Sequence

from ingestion.convert.document import cell
from ingestion.convert.pdf_joints import joined_words
from ingestion.convert.pdf_lines import Cell, Line, Table

_ROWS = 3  # fewer are no table
_REGULAR = 0.8  # of the rows have each cell in a column of its own
_LEVEL = 2.0  # points that letters of one line may stand apart
_RULED = 0.4  # of the cells of a drawn table hold something
_FILLED = 0.6  # of the cells hold something
_PROSE = 30  # letters: two columns of longer cells are text in columns


def apart(lines: Sequence[Line]) -> Iterator[tuple[list[Line], list[list[str]]]]:
    """Runs of lines in order: those of a table with its rows of cells, others with none."""
    drawn = dict.fromkeys(line.table for line in lines if line.table is not None)
    ruled = {table: ruled_rows(table) for table in drawn}
    told: set[Table] = set()
    plain: list[Line] = []
    at = 0
    while at < len(lines):
        end, rows, table = _run(lines, at, ruled)
        if table is not None and table in told:  # more of one that other lines stand amid
            rows = []
        elif rows:
            if plain:
                yield plain, []
            plain = []
            yield list(lines[at:end]), rows
        else:
            plain.extend(lines[at:end])
        told |= {table} if table is not None else set()
        at = end
    if plain:
        yield plain, []


def _run(
    lines: Sequence[Line], at: int, ruled: Mapping[Table, list[list[str]]]
) -> tuple[int, list[list[str]], Table | None]:
    """Where the run that begins at `at` ends, its rows where it is a table, and its grid if drawn."""

    def drawn(line: Line) -> Table | None:
        return line.table if line.table is not None and ruled[line.table] else None

    end, table = at, drawn(lines[at])
    if table is not None:
        while end < len(lines) and lines[end].table is table:
            end += 1
        return end, ruled[table], table
    while end < len(lines) and lines[end].cells and drawn(lines[end]) is None:
        end += 1
    return max(end, at + 1), table_rows(lines[at:end]), None


def ruled_rows(table: Table) -> list[list[str]]:
    """The cells of a drawn grid; nothing where it frames a form or a picture rather than a table."""
    columns = len(table.grid.xs) - 1
    found = [
        row
        for band in range(len(table.grid.ys) - 1)
        for row in _band([table.words.get((band, column), []) for column in range(columns)])
        if any(row)
    ]
    filled = sum(bool(text) for row in found for text in row)
    used = sum(any(row[column] for row in found) for column in range(columns))
    if len(found) < 2 or used < 2 or filled < _RULED * columns * len(found):
        return []
    return found


def _band(cells: Sequence[Sequence[tuple[float, str]]]) -> list[list[str]]:
    """The rows between two rules: one, unless most cells hold as many lines, three at the least."""
    heights = _distinct([height for words in cells for height, _ in words])
    even = sum(len(_distinct([height for height, _ in words])) == len(heights) for words in cells)
    if len(heights) < _ROWS or even < 2 or 2 * even < sum(map(bool, cells)):
        return [[cell(joined_words([word for _, word in words])) for words in cells]]
    return [
        [
            cell(" ".join(word for at, word in words if abs(at - height) <= _LEVEL))
            for words in cells
        ]
        for height in heights
    ]


def _distinct(heights: Sequence[float]) -> list[float]:
    """Lines' heights from the top, those of one line as one."""
    found: list[float] = []
    for height in sorted(heights, reverse=True):
        if not found or found[-1] - height > _LEVEL:
            found.append(height)
    return found


def table_rows(lines: Sequence[Line]) -> list[list[str]]:
    """The cells of lines that stand in columns, the first line's too; nothing where they do not."""
    cells = _by_height(lines)
    if len(cells) < _ROWS:
        return []
    usual = statistics.mode([len(item) for item in cells[1:]])
    columns = _columns([item for item in cells[1:] if len(item) == usual])
    rows = [_row(item, columns) for item in cells]
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
    for item in sorted((item for row in rows for item in row), key=lambda c: c.left):
        if columns and item.left < columns[-1][1]:
            columns[-1] = columns[-1][0], max(columns[-1][1], item.right)
        else:
            columns.append((item.left, item.right))
    return columns


def _row(cells: Sequence[Cell], columns: Sequence[tuple[float, float]]) -> list[str] | None:
    """Each cell in its column; None where two share one, or one stands over two."""
    row = [""] * len(columns)
    for item in cells:
        over = [
            n for n, (left, right) in enumerate(columns) if item.left < right and left < item.right
        ]
        if len(over) != 1 or row[over[0]]:
            return None
        row[over[0]] = cell(item.text)
    return row


def _nearest(cells: Sequence[Cell], columns: Sequence[tuple[float, float]]) -> list[str]:
    """Names that are wider than their columns, and what slipped: each in the one nearest to it."""
    row = [""] * len(columns)
    for item in sorted(cells, key=lambda c: c.left):
        middle = (item.left + item.right) / 2
        nearest = min(range(len(columns)), key=lambda n: abs(sum(columns[n]) / 2 - middle))
        row[nearest] = " ".join(filter(None, (row[nearest], cell(item.text))))
    return row
