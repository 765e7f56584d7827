"""The cells of HTML tables, each in the column where a browser draws it.

A cell that spans rows is repeated in each of them, so that every row can be read by itself; one that
spans columns is written in the first of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import groupby

from lxml import html

_COLUMNS_MAX = 100  # a cell may span; pages ask for more to say "all"
_WIDTH_MAX = 500  # columns that spans may make
_ROWS_MAX = 65_534  # likewise
_REPEATED_MAX = 300  # characters: longer text is written once
_CARRIED_MAX = 100_000  # cells a table may repeat; a short file could ask for billions


@dataclass(slots=True)
class _SpannedRows:
    """The slots of one row group: `held` are those that cells from above reach into."""

    carried: int = 0  # in the whole table
    held: dict[int, tuple[int, str]] = field(default_factory=dict)  # column: rows left, text

    def add(self, cells: Iterator[tuple[str, int, int]]) -> list[str]:
        """One row of (text, rows it spans, columns it spans), with what reaches into it."""
        above = {column: text for column, (_, text) in self.held.items()}
        self.held = {
            column: (left - 1, text) for column, (left, text) in self.held.items() if left > 1
        }
        row = dict(above)
        column = 0
        own = False
        for text, rows, asked in cells:
            own = True
            while column in above:
                column += 1
            row[column] = text
            columns = asked if column + asked <= _WIDTH_MAX else 1
            for at in range(column, column + columns if rows > 1 else column):
                if at in above or self.carried + rows > _CARRIED_MAX:
                    break
                self.carried += rows
                again = text if at == column and len(text) <= _REPEATED_MAX else ""
                self.held[at] = (rows - 1, again)
            column += columns
        if not own:
            return []  # it only makes those above higher
        return [row.get(at, "") for at in range(1 + max(row))]


def table_rows(
    table: html.HtmlElement,
    render: Callable[[html.HtmlElement], str],
    is_hidden: Callable[[html.HtmlElement], bool],
) -> list[list[str]]:
    """The rows that hold something, each cell's text by `render`, none of what `is_hidden`."""
    found: list[list[str]] = []
    carried = 0
    # Spans end with the group (thead, tbody, tfoot) they begin in.
    for _, rows in groupby(table.iter("tr"), key=lambda row: row.getparent()):
        shown = [row for row in rows if not is_hidden(row)]
        group = _SpannedRows(carried)
        for at, row in enumerate(shown):
            cells = (
                (
                    render(item),
                    min(_span(item, "rowspan", len(shown)), len(shown) - at),
                    min(max(_span(item, "colspan", 1), 1), _COLUMNS_MAX),
                )
                for item in row
                if item.tag in {"td", "th"} and not is_hidden(item)
            )
            found.append(group.add(cells))
        carried = group.carried
    return [row for row in found if any(row)]


def _span(item: html.HtmlElement, name: str, whole: int) -> int:
    """How far a cell reaches; 0 means as far as its group does."""
    value = (item.get(name) or "").strip()
    if not (value.isascii() and value.isdecimal()):
        return 1
    return min(int(value[:6]), _ROWS_MAX) or whole
