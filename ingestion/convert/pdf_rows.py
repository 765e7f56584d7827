"""Rows of a PDF's table put together: wrapped cells, names of parts, and the header or its absence."""

from __future__ import annotations

import re
from collections.abc import Sequence

from ingestion.convert.pdf_lines import Cell

BEFORE = re.compile(r"[$€£¥₹₩₽(]|\(?(?:US|C|A|R|HK)?\$|EUR|USD|GBP|CHF|JPY|RMB")
BEHIND = re.compile(r"\)|%|\)\s?%|\)?[*†‡]|[€£]|\)?\s?EUR")

_HEADER_MAX = 4  # rows that name the columns
_LABEL = 60  # letters
NUMBER = re.compile(
    r"[(\-+\u2212\u2013~<>]*\s*(?:[A-Z]{0,3}[$€£¥₹₩₽]|EUR|USD|GBP|CHF)?\s*[(\-+\u2212]?\d[\d.,'\u00a0 ]*"
    r"\)?\s*(?:%|pp|bps|x|[$€£])?\)?|[\u2013\u2014-]"
)
_YEAR = re.compile(r"(?:19|20)\d\d|(?:FY|Q[1-4])\s?'?\d{2,4}")
_OPEN = re.compile(
    r"(?:[,\u2013-]|\b(?:and|or|of|the|for|in|to|by|from|on|with|und|der|die|et|de|y|e))$",
    re.IGNORECASE,
)


def goes_on(before: str, after: str) -> bool:
    """Whether a label is the end of the one before it."""
    before, after = before.strip(), after.strip()
    if not before or not after or before.endswith((":", ".")):
        return False
    is_open = before.count("(") > before.count(")") or _OPEN.search(before) is not None
    return is_open or after[0].islower() or after[0] in ")]"


def is_label(text: str, below: Sequence[Cell]) -> bool:
    """Whether a line names the part of a table that begins below it."""
    text = text.strip()
    if not text or len(text) > _LABEL:
        return False
    has_label = bool(below) and not NUMBER.fullmatch(below[0].text)
    return has_label and (text.endswith(":") or goes_on(text, below[0].text))


def arranged(rows: Sequence[Sequence[str]]) -> list[list[str]]:
    """Rows with wrapped cells whole, below one header; an empty one where none is written."""
    found = _header(rows)
    body = rows[len(found) :]
    header = [" ".join(filter(None, parts)) for parts in zip(*found, strict=True)]
    whole: list[list[str]] = []
    for row in body:
        if whole and _is_rest(whole[-1], row):
            whole[-1] = [" ".join(filter(None, pair)) for pair in zip(whole[-1], row, strict=True)]
        else:
            whole.append(list(row))
    if not header and _is_data(whole):
        header = [""] * len(rows[0])
    return [header, *whole] if header else whole


def _header(rows: Sequence[Sequence[str]]) -> list[Sequence[str]]:
    """Rows above the first that says what it is about: they name the columns."""
    first = next((at for at, row in enumerate(rows) if row[0]), 0)
    if first > _HEADER_MAX:
        return []
    if first and all(_YEAR.fullmatch(text) for text in rows[first][1:] if text):
        # The years, with "in millions" or the like before them.
        first += any(rows[first][1:])
    return list(rows[:first])


def _is_rest(above: Sequence[str], row: Sequence[str]) -> bool:
    """Whether a row only ends what the one above began, or has the values of its label."""
    if row[0]:
        clash = any(one and other for one, other in zip(above[1:], row[1:], strict=True))
        alone = not any(row[1:]) or not any(above[1:])
        return alone and not clash and goes_on(above[0], row[0])
    return any(row) and all(
        above[at] and goes_on(above[at], text) and not NUMBER.fullmatch(text)
        for at, text in enumerate(row)
        if text
    )


def _is_data(rows: Sequence[Sequence[str]]) -> bool:
    """Whether the first row holds values rather than the names of columns."""
    values = [text for text in rows[0][1:] if text]
    if not values:
        return sum(any(map(NUMBER.fullmatch, row[1:])) for row in rows) > 1
    return any(NUMBER.fullmatch(text) and not _YEAR.fullmatch(text) for text in values)
