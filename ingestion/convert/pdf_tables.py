"""Tables of PDF pages: those whose grid is drawn, and rows whose cells are below one another.

Only lines that are much wider than their letters are looked at letter by letter (`pdf_lines.py`), so
pages of prose cost nothing. What does not line up stays lines: a row kept is better than a table
guessed.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise, zip_longest

from ingestion.convert import pdf_rows
from ingestion.convert.document import cell
from ingestion.convert.pdf_joints import joined_words
from ingestion.convert.pdf_lines import Cell, Line, Table

_ROWS = 3  # fewer are no table
_REGULAR = 0.8  # of the rows have each cell in a column of its own
_LEVEL = 2.0  # points that letters of one line may be apart
_RULED = 0.4  # of the cells of a drawn table hold something
_FILLED = 0.6  # of the cells hold something
_SAME = 0.6  # of a letter's height: what is raised or lowered less is in the row as well
_FAR = 2.6  # usual distances of rows, or letters' heights, that end a table
_LARGER = 0.2  # of a letter's height
_TRIES = 100  # to find a table among lines with gaps: a hostile page has thousands
_ALONE = 3  # lines of one cell that end a table
_PROSE = 30  # letters: two columns of longer cells are text in columns


def apart(lines: Sequence[Line]) -> Iterator[tuple[list[Line], list[list[str]]]]:
    """Runs of lines in order: those of a table with its rows of cells, others with none."""
    drawn = dict.fromkeys(line.table for line in lines if line.table is not None)
    ruled = {table: ruled_rows(table) for table in drawn}
    written: set[Table] = set()
    plain: list[Line] = []
    at = 0
    while at < len(lines):
        end, rows, table = _run(lines, at, ruled)
        if table is not None and table in written:  # more of one that has other lines in it
            rows = []
        elif rows:
            if plain:
                yield plain, []
            plain = []
            yield list(lines[at:end]), rows
        else:
            plain.extend(lines[at:end])
        written |= {table} if table is not None else set()
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
    if end == at:
        return at + 1, [], None
    first, last, rows = _first_table(lines[at:end])
    if not rows:
        return end, [], None
    return (at + last, rows, None) if first == 0 else (at + first, [], None)


def _first_table(lines: Sequence[Line]) -> tuple[int, int, list[list[str]]]:
    """The first table among lines with cells: from and to which, and its rows."""
    start = tries = 0
    for end in [*_breaks(lines), len(lines)]:
        while start < end and tries < _TRIES:
            tries += 1
            first, last = _trimmed(lines, start, end)
            if rows := table_rows(lines[first:last]):
                return first, last, rows
            # Without the labels between: rows in a row, as they were written.
            run = next((at for at in range(first, last) if len(lines[at].cells) < 2), last)
            run = _with_pieces(lines, first, run)
            if first < run < last and (rows := table_rows(lines[first:run])):
                return first, run, rows
            start = min(max(run, first + 1), end)
        start = end
    return len(lines), len(lines), []


def _with_pieces(lines: Sequence[Line], first: int, end: int) -> int:
    """A line of one cell at the height of the one before is a piece of its row."""
    while first < end < len(lines) and _is_level(lines[end], lines[end - 1]):
        end += 1
    return end


def _is_level(one: Line, other: Line) -> bool:
    return abs(one.bottom - other.bottom) < _SAME * one.size


def _is_row(lines: Sequence[Line], at: int) -> bool:
    """Whether a line has several cells, or is a piece of a row that does."""
    line = lines[at]
    beside = [lines[near] for near in (at - 1, at + 1) if 0 <= near < len(lines)]
    return len(line.cells) > 1 or any(_is_level(line, other) for other in beside)


def _breaks(lines: Sequence[Line]) -> list[int]:
    """Where no table goes on: before what stands far below, in large letters, or behind text."""
    drops = [a.bottom - b.bottom for a, b in pairwise(lines) if not _is_level(a, b)]
    usual = statistics.median(drops) if drops else 0.0
    found = []
    alone = 0
    for at, (above, below) in enumerate(pairwise(lines), start=1):
        alone = 0 if _is_row(lines, at) else alone + 1
        drop = above.bottom - below.bottom
        is_far = drop > max(_FAR * usual, _FAR * below.size) or drop < -_SAME * below.size
        if is_far or abs(above.size - below.size) > _LARGER * above.size or alone >= _ALONE:
            found.append(at)
    return found


def _trimmed(lines: Sequence[Line], start: int, end: int) -> tuple[int, int]:
    """From the first row of several cells to the last, with what its label goes on with."""
    rows = [at for at in range(start, end) if _is_row(lines, at)]
    if not rows:
        return end, end
    first, last = rows[0], rows[-1] + 1
    # Its parts may have a name above them, and its last label may wrap.
    while first > start and pdf_rows.is_label(lines[first - 1].text, lines[first].cells):
        first -= 1
    while last < end and pdf_rows.goes_on(lines[last - 1].cells[0].text, lines[last].text):
        last += 1
    return first, last


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
    """The cells of lines in columns; nothing where they do not.

    Lines of one cell amid them are labels or continue a cell above. What is above the columns
    names them; without it the table has an empty header, and its first row is a row.
    """
    cells = _by_height(lines)
    several = [item for item in cells if len(item) > 1]
    if len(several) < _ROWS:
        return []
    usual = statistics.mode([len(item) for item in several[1:]])
    columns = _columns([item for item in several[1:] if len(item) == usual])
    rows = [_row(item, columns) for item in several]
    regular = [row for row in rows[1:] if row is not None]
    if len(columns) < 2 or len(regular) < _REGULAR * (len(rows) - 1):
        return []
    lengths = [len(text) for row in regular for text in row if text]
    is_prose = len(columns) == 2 and statistics.median(lengths) > _PROSE
    if is_prose or len(lengths) < _FILLED * len(columns) * len(regular):
        return []
    begun = False
    for item, below in zip_longest(cells, cells[1:]):
        begun = begun or (len(item) > 1 and item[0].left < columns[0][1])
        if len(item) == 1 and begun and _row(item, columns) is None and not _wraps(item, below):
            return []  # text that runs over several columns
    return pdf_rows.arranged([_placed(item, columns) for item in cells])


def _placed(item: Sequence[Cell], columns: Sequence[tuple[float, float]]) -> list[str]:
    """Cells in their columns; one that runs over several, in the first of them."""
    if row := _row(item, columns):
        return row
    if len(item) > 1:
        return _nearest(item, columns)
    first = next(
        n for n, (_, right) in enumerate(columns) if item[0].left < right or n == len(columns) - 1
    )
    return [cell(item[0].text) if n == first else "" for n in range(len(columns))]


def _wraps(item: Sequence[Cell], below: Sequence[Cell] | None) -> bool:
    """Whether a long label continues in the row below, which has its values."""
    return below is not None and pdf_rows.goes_on(item[0].text, below[0].text)


def _by_height(lines: Sequence[Line]) -> list[list[Cell]]:
    """Cells by row: what is raised or lowered a little, as an exponent, is in the row as well."""
    rows: list[list[Cell]] = []
    bottom = 0.0
    for line in lines:
        if rows and abs(line.bottom - bottom) < _SAME * line.size:
            rows[-1].extend(line.cells)
        else:
            rows.append(list(line.cells))
            bottom = line.bottom
    return [_with_signs(row) for row in rows]


def _with_signs(cells: Sequence[Cell]) -> list[Cell]:
    """Cells with the currency before them and the bracket or percent sign behind them."""
    found: list[Cell] = []
    sign = ""
    for item in sorted(cells, key=lambda c: c.left):
        if pdf_rows.BEFORE.fullmatch(item.text):
            sign = f"{sign}{item.text} "
        elif found and not sign and pdf_rows.BEHIND.fullmatch(item.text):
            found[-1] = replace(found[-1], text=found[-1].text + item.text)
        else:
            # It keeps its own place: signs stand at the left of their column, under other rows.
            found.append(replace(item, text=f"{sign}{item.text}"))
            sign = ""
    if sign and cells:
        found.append(replace(cells[-1], text=sign.strip()))
    return found


def _columns(rows: Sequence[Sequence[Cell]]) -> list[tuple[float, float]]:
    """Where cells are: what overlaps in any two rows is one column."""
    columns: list[tuple[float, float]] = []
    for item in sorted((item for row in rows for item in row), key=lambda c: c.left):
        if columns and item.left < columns[-1][1]:
            columns[-1] = columns[-1][0], max(columns[-1][1], item.right)
        else:
            columns.append((item.left, item.right))
    return columns


def _row(cells: Sequence[Cell], columns: Sequence[tuple[float, float]]) -> list[str] | None:
    """Each cell in its column; None where two share one, or one spans two."""
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
