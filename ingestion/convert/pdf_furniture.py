"""What a PDF repeats at the ends of its pages: running headers and footers, and page numbers.

A line is furniture where it says the same, word for word, on most pages, or where it is the page's
number. Lines that differ in a number which isn't the page's (an invoice's, a total) are content.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ingestion.convert import pdf_tables
from ingestion.convert.pdf_lines import Line

_DEPTH = 3  # lines at either end: what lies further in is text
_NEAR = 2.0  # letters' heights between the lines of one header
_LEAST = 3  # pages that make a repetition
_SIDES_LEAST = 8  # pages from which left and right ones may have headers of their own
_SIDES_SHARE = 0.75  # of the left pages, or of the right ones
_COUNTED_MAX = 999  # a larger number counts pages only in a file as long
_SHIFT_MAX = 30  # pages before page one, for numbers that stand beside other words
_WIDE = 0.7  # a letter's share of its height, in lines whose number stands far from its words

_EDGE = r"[\s\-\u2010-\u2015|\u00b7\u2022.,:()\[\]<>~]*"
_DIGITS = r"(?P<number>\d{1,4}|[ivxl]{1,7})"
_TOTAL = r"(?:\s*/\s*\d{1,4}|\s+(?:of|von|de|di|sur|af|av|van|z|ze|iz|od|sa|из|з|din)\s+\d{1,4})?"
_BEFORE = (
    r"(?:pages?|pg\.?|p\.|seite|s\.|p[áa]gina|p[áa]g\.|side|sida|sivu|strona|str\.|strana|strany|stránka"
    r"|oldal|sayfa|halaman|trang|страница|сторінка|стр\.|\u0441\.|σελίδα|صفحة|עמוד|第|頁|페이지)"
)
_AFTER = r"(?:頁|页|ページ|쪽|페이지|oldal)"
_NAMED = rf"(?:\b{_BEFORE}\s*{_DIGITS}{_TOTAL}(?:\s*{_AFTER})?)"
_NAMED_ALONE = re.compile(rf"{_EDGE}{_NAMED}{_EDGE}", re.IGNORECASE)
_COUNTED_ALONE = re.compile(rf"{_EDGE}{_DIGITS}{_TOTAL}\s*{_AFTER}{_EDGE}", re.IGNORECASE)
_DASHED = re.compile(r"\s*([-\u2010-\u2015])\s*\d{1,4}\s*\1\s*")
_ALONE = re.compile(rf"{_EDGE}{_DIGITS}{_TOTAL}{_EDGE}")
_NAMED_BESIDE = (
    re.compile(rf"(?P<rest>.*\S)\s*{_NAMED}{_EDGE}", re.IGNORECASE),
    re.compile(rf"{_EDGE}{_NAMED}[\s|\u00b7\u2022\u2013\u2014-]+(?P<rest>\S.*)", re.IGNORECASE),
)
_APART = r"\s*[|\u00b7\u2022\u2013\u2014]\s*"
_BESIDE = (
    re.compile(rf"(?P<rest>.*\S){_APART}{_DIGITS}{_EDGE}"),
    re.compile(rf"{_EDGE}{_DIGITS}{_APART}(?P<rest>\S.*)"),
)
_FAR_BESIDE = (
    re.compile(rf"(?P<rest>.*\S)\s+{_DIGITS}"),
    re.compile(rf"{_DIGITS}\s+(?P<rest>\S.*)"),
)
_ROMAN = {"i": 1, "v": 5, "x": 10, "l": 50}


@dataclass(frozen=True, slots=True)
class _Reading:
    """A way to take a line: what repeats of it, and its number's distance to the page's."""

    words: str
    shift: int | None = None


def without_furniture(pages: Sequence[Sequence[Line]]) -> list[list[Line]]:
    """The lines of each page that are content; a page never loses all of them."""
    seen: dict[tuple[str, _Reading], set[int]] = defaultdict(set)
    for index, lines in enumerate(pages):
        for end, line in _ends(lines):
            for reading in _readings(line, index + 1):
                seen[end, reading].add(index)
    repeated = {key for key, where in seen.items() if _is_repeated(key[1], where, len(pages))}
    return [_content(lines, index + 1, repeated) for index, lines in enumerate(pages)]


def _content(lines: Sequence[Line], number: int, repeated: set[tuple[str, _Reading]]) -> list[Line]:
    dropped: set[int] = set()
    rows: set[int] | None = None
    for end in ("top", "bottom"):
        outer: Line | None = None
        for side, line in _ends(lines):
            if side != end:
                continue
            if outer is not None and abs(outer.bottom - line.bottom) > _NEAR * line.size:
                break  # what stands away from a header or a footer is no part of it
            outer = line
            readings = _readings(line, number)
            is_number = any(not reading.words for reading in readings)
            if not any((end, reading) in repeated for reading in readings):
                break  # what lies behind text is text
            if not is_number and len(lines) < 3:
                break  # a header and a footer would leave nothing
            if line.cells or line.table:
                rows = _table_rows(lines) if rows is None else rows
                if id(line) in rows:
                    break
            dropped.add(id(line))
    kept = [line for line in lines if id(line) not in dropped]
    return kept or list(lines)


def _ends(lines: Sequence[Line]) -> Iterator[tuple[str, Line]]:
    """The outer lines of a page, from outside; a footer may be the first that a file writes."""
    from_top = sorted(lines, key=lambda line: -line.bottom)
    for line in from_top[:_DEPTH]:
        yield "top", line
    for line in reversed(from_top[-_DEPTH:]):
        yield "bottom", line


def _readings(line: Line, page: int) -> list[_Reading]:
    text = " ".join(line.text.split())
    if _NAMED_ALONE.fullmatch(text) or _COUNTED_ALONE.fullmatch(text) or _DASHED.fullmatch(text):
        return [_Reading("")]
    if match := _ALONE.fullmatch(text):
        value = _value(match["number"])
        return [_Reading("", value - page)] if value else []
    readings = [_Reading(text)]
    for patterns, is_named in ((_NAMED_BESIDE, True), (_BESIDE, False), (_FAR_BESIDE, False)):
        if patterns is _FAR_BESIDE and not _is_wide(line):
            continue
        for pattern in patterns:
            match = pattern.fullmatch(text)
            shift = _value(match["number"]) - page if match else 0
            if match and (is_named or abs(shift) <= _SHIFT_MAX):
                readings.append(_Reading(match["rest"].strip(), shift))
    return readings


def _value(number: str) -> int:
    """A page number, Roman ones too; 0 for none."""
    if number.isdecimal():
        value = int(number)
        return value if value <= _COUNTED_MAX or number[0] != "0" else 0
    digits = [_ROMAN[letter] for letter in number.lower()]
    return sum(
        -digit if digit < max(digits[at:], default=0) else digit for at, digit in enumerate(digits)
    )


def _is_wide(line: Line) -> bool:
    return line.right - line.left > _WIDE * line.size * max(len(line.text), 1)


def _is_repeated(reading: _Reading, where: set[int], total: int) -> bool:
    if not reading.words:
        if reading.shift is None or reading.shift == 0:
            return True
        # Numbers that run with the pages count them, though not from one; larger ones count
        # something else.
        last = max(where) + 1 + reading.shift
        return len(where) >= min(_LEAST, total) > 1 and last <= max(
            _COUNTED_MAX, total + _SHIFT_MAX
        )
    if len(where) < _LEAST:
        return False
    if 2 * len(where) > total:
        return True
    sides = {index % 2 for index in where}
    pages_of_side = (total + 1) // 2
    return total >= _SIDES_LEAST and len(sides) == 1 and len(where) >= _SIDES_SHARE * pages_of_side


def _table_rows(lines: Sequence[Line]) -> set[int]:
    """Lines that are rows of a table: its header is repeated on each page, and still its header."""
    return {
        id(line)
        for run, rows in pdf_tables.apart(lines)
        if rows
        for at, line in enumerate(run)
        if at or line.table or line.bottom - run[1].bottom < 2 * line.size
    }
