"""Reads words off pictures with RapidOCR, whose models lie in its wheel: the `ocr` extra.

Only children that were started for it import the library (`parsing_child.py`), a second and some
200 MB. Columns are separated by the white between them: recognisers give lines from top to bottom.
"""

from __future__ import annotations

import importlib.util
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from ingestion.convert.archive import damaged
from ingestion.convert.document import ConversionError

_MIN_SCORE = 0.6
_PIXELS = 80_000_000  # of one picture
_GAP = 1.2  # line heights of white that part columns
_GUTTER = 0.5  # likewise, between columns of text
_GUTTER_LINES, _GUTTER_WIDTH = 4, 6.0  # lines of such a column, and their heights in its width
_SURE = 0.9  # that a line lies upside down
_SIDE = 2000  # pixels: a larger picture is made smaller first


Box = Sequence[tuple[float, float]]  # the corners of a line, in pixels


@dataclass(frozen=True, slots=True)
class Piece:
    """Words in one line of a picture; pixels from its top left corner."""

    text: str
    left: float
    top: float
    right: float
    bottom: float

    @property
    def height(self) -> float:
        return self.bottom - self.top


class Recogniser:
    """Finds the words of pictures, in reading order, until its time is over."""

    def __init__(self, engine: Callable[[Any], Any], *, seconds: float, pages: int) -> None:
        self._engine = engine
        self._deadline = time.monotonic() + seconds
        self._pages = pages

    @property
    def is_over(self) -> bool:
        """Whether no further picture is to be read."""
        return self._pages <= 0 or time.monotonic() > self._deadline

    def read(self, picture: Any) -> list[Piece]:  # noqa: ANN401 (an array of pixels, blue first)
        """The lines of one picture."""
        self._pages -= 1
        found = self._engine(picture)
        if found is None or found.boxes is None or found.txts is None:
            return []
        height, width = picture.shape[:2]
        boxes = upright(
            [[(float(x), float(y)) for x, y in box] for box in found.boxes],
            getattr(found, "turns", ()),
            (width, height),
        )
        pieces = []
        for box, text, score in zip(boxes, found.txts, found.scores, strict=True):
            if score >= _MIN_SCORE and text.strip():
                xs, ys = [x for x, _ in box], [y for _, y in box]
                pieces.append(Piece(text, min(xs), min(ys), max(xs), max(ys)))
        return in_reading_order(pieces)


def is_installed() -> bool:
    """Whether the `ocr` extra is there; nothing is imported."""
    return importlib.util.find_spec("rapidocr") is not None


def open_engine(threads: int) -> Callable[[Any], Any]:
    """The recogniser's models, loaded and run once."""
    os.environ["OPENCV_IO_MAX_IMAGE_PIXELS"] = str(_PIXELS)
    import cv2  # noqa: PLC0415 (an extra, and slow)
    import numpy as np  # noqa: PLC0415
    from rapidocr import RapidOCR  # noqa: PLC0415

    cv2.setNumThreads(threads)

    class Engine(RapidOCR):
        """Keeps which lines it turned around, which the library's answer leaves out."""

        turns: Sequence[Any] = ()  # (label, score) of each line

        def cls_and_rotate(self, img: Any) -> Any:  # noqa: ANN401 (the library's)
            lines, found = super().cls_and_rotate(img)
            self.turns = list(found.cls_res or ())
            return lines, found

        def __call__(self, *args: Any, **options: Any) -> Any:  # noqa: ANN401 (the library's)
            self.turns = []
            found: Any = super().__call__(*args, **options)
            if found is not None:
                found.turns = [label == "180" and score >= _SURE for label, score in self.turns]
            return found

    engine = Engine(
        params={
            "Global.log_level": "error",
            "Global.max_side_len": _SIDE,
            "EngineConfig.onnxruntime.intra_op_num_threads": threads,
            "EngineConfig.onnxruntime.inter_op_num_threads": 1,
        }
    )
    page = np.full((120, 400, 3), 255, np.uint8)
    cv2.putText(page, "Warm up", (20, 80), cv2.FONT_HERSHEY_SIMPLEX, 2, (0, 0, 0), 4)
    engine(page)
    for suffix in (".png", ".jpg", ".webp", ".tiff", ".bmp"):
        _, packed = cv2.imencode(suffix, page)
        decode(packed.tobytes())
    opened: Callable[[Any], Any] = engine
    return opened


def decode(data: bytes) -> list[Any]:
    """The pictures in a file, as arrays of pixels: one, or the pages of a TIFF."""
    import cv2  # noqa: PLC0415
    import numpy as np  # noqa: PLC0415

    raw = np.frombuffer(data, np.uint8)
    try:
        if data[:4] in {b"II*\x00", b"MM\x00*"}:
            done, pages = cv2.imdecodemulti(raw, cv2.IMREAD_COLOR)
            found = list(pages) if done else []
        else:
            picture = cv2.imdecode(raw, cv2.IMREAD_COLOR)
            found = [] if picture is None else [picture]
    except cv2.error as error:
        if "pixels" in str(error).lower():
            raise ConversionError(
                "too_large",
                f"the picture has more than {_PIXELS:,} pixels: make it smaller and add that",
            ) from error
        raise damaged() from error
    if not found:
        raise damaged()
    return found


def upright(boxes: Sequence[Box], turns: Sequence[bool], size: tuple[int, int]) -> Sequence[Box]:
    """The corners of lines as on the picture held upright; `size` is its width and height.

    Lines that are higher than wide lie on their side; `turns` says which of them were upside down
    when they were laid flat, the sideways ones a quarter turn counterclockwise.
    """
    if not boxes:
        return boxes
    on_side = 2 * sum(map(_is_tall, boxes)) > len(boxes)
    around = 2 * sum(turns) > len(boxes)
    width, height = size
    if on_side and around:
        return [[(height - y, x) for x, y in box] for box in boxes]
    if on_side:
        return [[(y, width - x) for x, y in box] for box in boxes]
    if around:
        return [[(width - x, height - y) for x, y in box] for box in boxes]
    return boxes


def _is_tall(box: Box) -> bool:
    xs, ys = [x for x, _ in box], [y for _, y in box]
    return max(ys) - min(ys) > 1.5 * (max(xs) - min(xs))


def in_reading_order(pieces: Sequence[Piece]) -> list[Piece]:
    """Columns one after the other, each from top to bottom; what spans them parts them."""
    if len(pieces) < 2:
        return list(pieces)
    heights = sorted(piece.height for piece in pieces)
    usual = heights[len(heights) // 2]
    columns = _columns(pieces, usual)
    if columns:
        return [piece for column in columns for piece in in_reading_order(column)]
    bands = _cut(pieces, lambda p: (p.top, p.bottom), 0.0)
    if len(bands) > 1:
        whole = _joined(bands, _GUTTER * usual)
        if len(whole) > 1:
            return [piece for item in whole for piece in in_reading_order(item)]
    return _by_line(pieces)


def _columns(pieces: Sequence[Piece], usual: float) -> list[list[Piece]]:
    """Columns with white between them, much of it or as little as between those of a text."""

    def sides(piece: Piece) -> tuple[float, float]:
        return piece.left, piece.right

    apart = _cut(pieces, sides, _GAP * usual)
    if len(apart) > 1 and sum(len(column) > 2 for column in apart) > 1:
        return apart
    near = _cut(pieces, sides, _GUTTER * usual)
    widths = [max(p.right for p in some) - min(p.left for p in some) for some in near]
    if len(near) > 1 and all(
        len(column) >= _GUTTER_LINES and width >= _GUTTER_WIDTH * usual
        for column, width in zip(near, widths, strict=True)
    ):
        return near
    return []


def _cut(
    pieces: Sequence[Piece], side: Callable[[Piece], tuple[float, float]], gap: float
) -> list[list[Piece]]:
    """Groups with at least `gap` of white between them."""
    groups: list[list[Piece]] = []
    end = 0.0
    for piece in sorted(pieces, key=side):
        start, stop = side(piece)
        if not groups or start - end > gap:
            groups.append([piece])
            end = stop
        else:
            groups[-1].append(piece)
            end = max(end, stop)
    return groups


def _joined(bands: list[list[Piece]], gap: float) -> list[list[Piece]]:
    """Bands below one another as one, for as long as the same columns can be seen in them."""

    def columns(some: Sequence[Piece]) -> int:
        return len(_cut(some, lambda p: (p.left, p.right), gap))

    groups: list[list[Piece]] = []
    for band in bands:
        if groups:
            together = [*groups[-1], *band]
            if columns(together) >= max(columns(groups[-1]), columns(band)):
                groups[-1] = together
                continue
        groups.append(list(band))
    return groups


def _by_line(pieces: Sequence[Piece]) -> list[Piece]:
    """From top to bottom; pieces at one height from left to right."""
    lines: list[list[Piece]] = []
    for piece in sorted(pieces, key=lambda p: p.top + p.bottom):
        middle = (piece.top + piece.bottom) / 2
        if lines and lines[-1][0].top < middle < lines[-1][0].bottom:
            lines[-1].append(piece)
        else:
            lines.append([piece])
    return [piece for line in lines for piece in sorted(line, key=lambda p: p.left)]
