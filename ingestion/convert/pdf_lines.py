"""The lines of one PDF page with their geometry: the part that talks to pdfium letter by letter."""

from __future__ import annotations

import ctypes
import functools
import itertools
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from operator import and_

import pypdfium2 as pdfium
from pypdfium2 import raw

from ingestion.convert.letters import mended
from ingestion.convert.pdf_rulings import Grid

_RIGHT_TO_LEFT = re.compile("[\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufefc]")
_FULL_WIDTH = re.compile("[\u2e80-\u9fff\uac00-\ud7a3\uf900-\ufaff\uff00-\uff60]")
_HALVES = re.compile("[\ud800-\udfff]")
_HYPHEN = 0xFFFE  # pdfium's mark for a word divided at a line's end, joined already
_LIGATURES = str.maketrans(
    {"\ufb00": "ff", "\ufb01": "fi", "\ufb02": "fl", "\ufb03": "ffi", "\ufb04": "ffl"}
)
_STRETCHED = 0.62  # a letter's share of its height in lines with gaps; prose has 0.4 to 0.55
_FIGURE = re.compile(r"(?<!\S)[(\-+\u2212]?[$€£]?\d[\d.,]*[)%]*(?!\S)")
_BESIDE = 2  # lines around one with gaps that are looked at as well
_ABOVE = 9  # lines above a table, where the names of its columns are looked for
_GAP = 0.8  # letters' heights of white that part cells
_GAP_WIDE = 1.3  # in scripts whose letters, and some of whose spaces, are as wide as high
_BOLD = 600  # font weight, of 100 to 900


@dataclass(slots=True)
class Line:
    """One line: its size is the height of its letters, in half points; heights grow upwards.

    `end_bottom` differs from `bottom` where a word divided at the line's end joined two lines.
    """

    text: str
    size: float
    bold: bool
    left: float
    right: float
    bottom: float
    end_bottom: float
    cells: Sequence[Cell] = ()  # where wide gaps part it, on lines in or near a table
    table: Table | None = None  # the ruled one it is in
    ends_word: bool = False  # a space is its last letter


@dataclass(slots=True, eq=False)
class Table:
    """A ruled grid with the words in its cells, in reading order, each with its height on the page."""

    grid: Grid
    words: dict[tuple[int, int], list[tuple[float, str]]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Cell:
    """A part of a line between wide gaps."""

    text: str
    left: float
    right: float


def read_lines(
    page: pdfium.PdfTextPage, width: float, grids: Sequence[Grid] = ()
) -> tuple[list[Line], int]:
    """The page's lines in reading order, and how many letters had no Unicode and were left out.

    Those in one of `grids` say so, and their words are in its cells.
    """
    count = page.count_chars()
    if count <= 0:
        return [], 0
    letters = list(map(_letter, _codes(page, count)))
    unmapped = 0
    if _some_unmapped(page, count):
        for index in range(count):
            if raw.FPDFText_HasUnicodeMapError(page, index) == 1:
                unmapped += 1
                letters[index] = ""
    if _RIGHT_TO_LEFT.search("".join(letters)):
        _restore_order(page, letters)
    lines = []
    spans = []
    start = 0
    for index in range(count + 1):
        if index == count or letters[index] in {"\n", "\r"}:
            if start < index and (line := _line(page, letters, start, index, width)):
                lines.append(line)
                spans.append((start, index))
            start = index + 1
    for at in _beside(_gappy(lines), len(lines)):
        lines[at].cells = _cells(page, letters, *spans[at], lines[at].size)
    tables = [Table(grid) for grid in grids]
    for line, (first, end) in zip(lines, spans, strict=True) if tables else ():
        line.table = next(
            (table for table in tables if _fill(table, page, letters, first, end)), None
        )
    return lines, unmapped


def _fill(table: Table, page: pdfium.PdfTextPage, letters: list[str], start: int, end: int) -> bool:
    """Put a line's words into their cells; False where some are outside."""
    found: list[tuple[tuple[int, int], tuple[float, str]]] = []
    for first, after in _words(letters, start, end):
        left, _, bottom, top = _loose_box(page, first)
        place = table.grid.place(left + 0.5, (bottom + top) / 2)
        if place is None:
            return False
        found.append((place, (bottom, _joined(letters, first, after))))
    for place, word in found:
        table.words.setdefault(place, []).append(word)
    return bool(found)


def _words(letters: list[str], start: int, end: int) -> Iterator[tuple[int, int]]:
    """Where words begin and end among letters."""
    index = start
    while index < end:
        if not letters[index].strip():
            index += 1
            continue
        first = index
        while index < end and letters[index].strip():
            index += 1
        yield first, index


def _gappy(lines: list[Line]) -> list[int]:
    """Lines in runs of three that may have gaps: wider than letters are, in pieces, or of figures."""
    wide = [
        (_stretch(line) > _STRETCHED and " " in line.text.strip())
        or len(_FIGURE.findall(line.text)) > 1
        for line in lines
    ]
    for at, (line, after) in enumerate(itertools.pairwise(lines)):
        if abs(line.bottom - after.bottom) < 0.3 * line.size and after.left > line.right:
            wide[at] = wide[at + 1] = True
    runs = [sum(wide[max(0, at - 2) : at + 3]) >= 3 for at in range(len(wide))]
    # The names of columns may stand some lines above, a last total below.
    return [
        at
        for at, one in enumerate(wide)
        if one
        and (runs[at] or any(map(and_, wide[at + 1 : at + _ABOVE], runs[at + 1 : at + _ABOVE])))
    ]


def _beside(places: Sequence[int], count: int) -> list[int]:
    """These lines and those near them: labels that wrap or head a part of a table have no gaps."""
    near = {at + step for at in places for step in range(-_BESIDE, _BESIDE + 1)}
    return sorted(at for at in near if 0 <= at < count)


def _stretch(line: Line) -> float:
    """Width a letter, in letters' heights: about 0.5 in prose."""
    return (line.right - line.left) / max(len(line.text) * line.size, 1.0)


def _cells(
    page: pdfium.PdfTextPage, letters: list[str], start: int, end: int, size: float
) -> list[Cell]:
    """The parts of a line between gaps of more than a letter's height."""
    cells: list[Cell] = []
    wide = _FULL_WIDTH.search("".join(letters[start:end])) is not None
    gap = (_GAP_WIDE if wide else _GAP) * size
    begin = None  # of the present cell, and its left side
    left = right = 0.0
    for word, after in _words(letters, start, end):
        first, last = _loose_box(page, word), _loose_box(page, after - 1)
        if begin is not None and first[0] - right > gap:
            cells.append(Cell(_joined(letters, begin, word), left, right))
            begin = None
        if begin is None:
            begin, left = word, first[0]
        right = last[1]
    if begin is not None:
        cells.append(Cell(_joined(letters, begin, end), left, right))
    return cells


def _joined(letters: list[str], start: int, end: int) -> str:
    return mended(" ".join("".join(letters[start:end]).split()))


def _some_unmapped(page: pdfium.PdfTextPage, count: int) -> bool:
    """Whether a word or more has no Unicode: fonts lack it as a whole, so a check of every third letter is enough."""
    handle, has_error = page.raw, raw.FPDFText_HasUnicodeMapError
    return any(has_error(handle, index) == 1 for index in range(0, count, 3))


def _codes(page: pdfium.PdfTextPage, count: int) -> list[int]:
    """The code of each letter: at once where pdfium's text has one unit a letter, else singly."""
    units = (ctypes.c_ushort * (count + 1))()
    written = raw.FPDFText_GetText(page, 0, count, units) - 1  # it ends with a zero
    text = bytes(units)[: 2 * count].decode("utf-16-le", "surrogatepass")
    if written == count == len(text) and not _HALVES.search(text):
        return units[:count]
    return [raw.FPDFText_GetUnicode(page, index) for index in range(count)]


@functools.cache
def _letter(code: int) -> str:
    if code == _HYPHEN or (code < 0x20 and code not in {0x09, 0x0A, 0x0D}):
        return ""
    if 0xD800 <= code <= 0xDFFF or code > 0x10FFFF or (0xE000 <= code <= 0xF8FF and code != 0xF0B7):
        return ""  # halves of pairs, and private letters that mean nothing outside their font
    return chr(code).translate(_LIGATURES)


def _restore_order(page: pdfium.PdfTextPage, letters: list[str]) -> None:
    """Turn around the letters of one glyph: pdfium reverses it together with its line."""
    index = 0
    while index < len(letters):
        if letters[index].isspace():
            index += 1
            continue
        box = _box(page, index)
        end = index + 1
        while end < len(letters) and _box(page, end) == box:
            end += 1
        if end - index > 1 and _RIGHT_TO_LEFT.search("".join(letters[index:end])):
            letters[index:end] = letters[index:end][::-1]
        index = end


def _line(
    page: pdfium.PdfTextPage, letters: list[str], start: int, end: int, width: float
) -> Line | None:
    written = "".join(letters[start:end]).replace("\t", " ")
    text = written.rstrip()
    if not text.strip():
        return None
    inked = [index for index in range(start, end) if letters[index].strip()]
    first, middle, last = inked[0], inked[len(inked) // 2], inked[-1]
    boxes = [_loose_box(page, index) for index in (first, middle, last)]
    heights = sorted(box[3] - box[2] for box in boxes)
    weights = [raw.FPDFText_GetFontWeight(page, index) for index in (first, last)]
    left = min(box[0] for box in boxes)
    return Line(
        text=mended(text),
        size=round(heights[1] * 2) / 2 or 0.5,
        bold=min(weights) >= _BOLD,
        left=max(0.0, min(left, width)),
        right=max(box[1] for box in boxes),
        bottom=boxes[0][2],
        end_bottom=boxes[2][2],
        ends_word=written != text,
    )


def _box(page: pdfium.PdfTextPage, index: int) -> tuple[float, ...]:
    numbers = [ctypes.c_double() for _ in range(4)]
    raw.FPDFText_GetCharBox(page, index, *(ctypes.byref(number) for number in numbers))
    return tuple(number.value for number in numbers)


def _loose_box(page: pdfium.PdfTextPage, index: int) -> tuple[float, float, float, float]:
    """Left, right, bottom and top of a letter's cell, which depends on the font, not the letter."""
    rectangle = raw.FS_RECTF()
    raw.FPDFText_GetLooseCharBox(page, index, ctypes.byref(rectangle))
    return rectangle.left, rectangle.right, rectangle.bottom, rectangle.top
