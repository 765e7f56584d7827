"""The ruled grids of PDF pages: lines drawn between cells say where a table's rows and columns are.

Rules are thin filled boxes, strokes, or the sides of stroked rectangles; those that cross make a
grid. What is in it is read by `pdf_lines.py` into its cells, however long they are.
"""

from __future__ import annotations

import ctypes
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import pypdfium2 as pdfium
from pypdfium2 import raw

_THIN = 2.5  # points: what is thicker is a bar or a box
_LEAST = 8.0  # points: what is shorter is a dash or a part of a letter
_NEAR = 3.0  # points between rules that are one, or that meet
_OBJECTS_MAX, _RULES_MAX = 20_000, 2_000  # beyond it is a drawing

Segment = tuple[float, float, float, float]  # left, bottom, right, top


@dataclass(frozen=True, slots=True, eq=False)
class Grid:
    """Where columns and rows begin and end, in points; `xs` from the left, `ys` from below.

    `walls` says, for each row from below, which columns have a rule at their left.
    """

    xs: Sequence[float]
    ys: Sequence[float]
    walls: Sequence[set[int]]

    def place(self, x: float, y: float) -> tuple[int, int] | None:
        """Row from the top and column of a point, the first where a cell spans some; None outside."""
        column, row = bisect_right(self.xs, x) - 1, bisect_right(self.ys, y) - 1
        if not (0 <= column < len(self.xs) - 1 and 0 <= row < len(self.ys) - 1):
            return None
        while column and column not in self.walls[row]:
            column -= 1
        return len(self.ys) - 2 - row, column


def read_grids(page: pdfium.PdfPage) -> list[Grid]:
    """The grids of two rows and two columns or more, as the page's rules draw them."""
    count = raw.FPDFPage_CountObjects(page)
    if not 4 <= count <= _OBJECTS_MAX:
        return []
    across: list[Segment] = []
    down: list[Segment] = []
    for index in range(count):
        thing = raw.FPDFPage_GetObject(page, index)
        if raw.FPDFPageObj_GetType(thing) != raw.FPDF_PAGEOBJ_PATH:
            continue
        for left, bottom, right, top in _rules(thing):
            if top - bottom <= _THIN and right - left >= _LEAST:
                across.append((left, bottom, right, top))
            elif right - left <= _THIN and top - bottom >= _LEAST:
                down.append((left, bottom, right, top))
        if len(across) + len(down) > _RULES_MAX:
            return []
    if len(across) < 2 or len(down) < 2:
        return []
    found = (_grid(some) for some in _joined(across + down))
    return [grid for grid in found if grid is not None]


def _rules(path: raw.FPDF_PAGEOBJECT) -> Iterator[Segment]:
    """The straight rules a path draws, in points of the page."""
    box = _bounds(path)
    if box is None:
        return
    if min(box[2] - box[0], box[3] - box[1]) <= _THIN:
        yield box
        return
    fill, stroke = ctypes.c_int(), ctypes.c_int()
    raw.FPDFPath_GetDrawMode(path, ctypes.byref(fill), ctypes.byref(stroke))
    segments = raw.FPDFPath_CountSegments(path)
    if not stroke.value or segments > _RULES_MAX:
        return
    yield from _sides(path, segments)


def _sides(path: raw.FPDF_PAGEOBJECT, segments: int) -> Iterator[Segment]:
    matrix = raw.FS_MATRIX()
    raw.FPDFPageObj_GetMatrix(path, ctypes.byref(matrix))
    x, y = ctypes.c_float(), ctypes.c_float()
    start = before = (0.0, 0.0)
    for index in range(segments):
        segment = raw.FPDFPath_GetPathSegment(path, index)
        raw.FPDFPathSegment_GetPoint(segment, ctypes.byref(x), ctypes.byref(y))
        here = (
            matrix.a * x.value + matrix.c * y.value + matrix.e,
            matrix.b * x.value + matrix.d * y.value + matrix.f,
        )
        kind = raw.FPDFPathSegment_GetType(segment)
        if kind == raw.FPDF_SEGMENT_MOVETO:
            start = here
        elif kind == raw.FPDF_SEGMENT_LINETO:
            yield _between(before, here)
        if raw.FPDFPathSegment_GetClose(segment):
            yield _between(here, start)
        before = here


def _between(one: tuple[float, float], other: tuple[float, float]) -> Segment:
    (left, right), (bottom, top) = sorted((one[0], other[0])), sorted((one[1], other[1]))
    return left, bottom, right, top


def _bounds(path: raw.FPDF_PAGEOBJECT) -> Segment | None:
    sides = [ctypes.c_float() for _ in range(4)]
    if not raw.FPDFPageObj_GetBounds(path, *(ctypes.byref(side) for side in sides)):
        return None
    left, bottom, right, top = (side.value for side in sides)
    return left, bottom, right, top


def _joined(rules: Sequence[Segment]) -> list[list[Segment]]:
    """Rules that touch, together: each group is a table, a frame or a drawing."""
    done: list[list[Segment]] = []
    groups: list[tuple[Segment, list[Segment]]] = []  # that a rule further right may still touch
    for rule in sorted(set(rules)):
        box, members, rest = rule, [rule], []
        for known, some in groups:
            if known[2] + _NEAR < rule[0]:
                done.append(some)
            elif _touch(known, rule) and any(_touch(item, rule) for item in reversed(some)):
                box = _around(box, known)
                members = some + members
            else:
                rest.append((known, some))
        groups = [*rest, (box, members)]
    return done + [some for _, some in groups]


def _touch(one: Segment, other: Segment) -> bool:
    return (
        one[0] <= other[2] + _NEAR
        and other[0] <= one[2] + _NEAR
        and one[1] <= other[3] + _NEAR
        and other[1] <= one[3] + _NEAR
    )


def _around(one: Segment, other: Segment) -> Segment:
    return (
        min(one[0], other[0]),
        min(one[1], other[1]),
        max(one[2], other[2]),
        max(one[3], other[3]),
    )


def _grid(rules: Sequence[Segment]) -> Grid | None:
    """The grid of rules that touch; None where they enclose no cells side by side."""
    across = [rule for rule in rules if rule[2] - rule[0] > rule[3] - rule[1]]
    down = [rule for rule in rules if rule[2] - rule[0] <= rule[3] - rule[1]]
    ys = _places([(rule[1] + rule[3]) / 2 for rule in across])
    sides = [((rule[0] + rule[2]) / 2, rule[1], rule[3]) for rule in down]
    xs = _places([x for x, _, _ in sides])
    walls: list[set[int]] = [
        {_nearest(xs, x) for x, low, high in sides if low <= (below + above) / 2 <= high}
        for below, above in pairwise(ys)
    ]
    # What spans the whole breadth at either end is a title or a note, not a row.
    inner = [row for row, some in enumerate(walls) if some & set(range(1, len(xs) - 1))]
    if not inner:
        return None
    ys, walls = ys[inner[0] : inner[-1] + 2], walls[inner[0] : inner[-1] + 1]
    return Grid(xs, ys, walls) if len(ys) > 2 else None


def _nearest(places: Sequence[float], value: float) -> int:
    return min(range(len(places)), key=lambda at: abs(places[at] - value))


def _places(values: Sequence[float]) -> list[float]:
    """Distinct places, those nearer than a line's breadth as one."""
    places: list[float] = []
    for value in sorted(values):
        if not places or value - places[-1] > _NEAR:
            places.append(value)
    return places
