"""PDF pages whose letters lie on their side or upside down, as wide tables on upright paper do.

Lines, columns and rules are found in the page's own coordinates, so such a page's contents are turned
before it is read. What the viewer turns (`/Rotate`) says nothing: the letters do.
"""

from __future__ import annotations

import math
from collections import Counter

import pypdfium2 as pdfium
from pypdfium2 import raw

_LOOKED_AT = 200  # letters
_SHARE = 0.6  # of them lie the same way


def turn_of(page: pdfium.PdfTextPage) -> int:
    """The quarter turns, clockwise, that most of a page's letters have made."""
    count = page.count_chars()
    turns: Counter[int] = Counter()
    for index in range(0, count, max(1, count // _LOOKED_AT)):
        if raw.FPDFText_GetUnicode(page, index) > 0x20:
            angle = raw.FPDFText_GetCharAngle(page, index)
            turns[round(angle / (math.pi / 2)) % 4] += 1
    if not turns:
        return 0
    turn, letters = turns.most_common(1)[0]
    return turn if letters >= _SHARE * turns.total() else 0


def turn_back(page: pdfium.PdfPage, turn: int) -> None:
    """Turn a page's contents, so that letters which made `turn` quarter turns stand upright.

    The page must be loaded again to be read so.
    """
    left, bottom, right, top = page.get_mediabox()
    # About the origin, then back into the first quadrant.
    matrix = {
        1: (0, 1, -1, 0, top, -left),
        2: (-1, 0, 0, -1, right, top),
        3: (0, -1, 1, 0, -bottom, right),
    }[turn]
    width, height = right - left, top - bottom
    if turn != 2:
        width, height = height, width
    raw.FPDFPage_TransFormWithClip(page, raw.FS_MATRIX(*matrix), None)
    page.set_mediabox(0, 0, width, height)
    page.set_cropbox(0, 0, width, height)
    page.set_rotation(0)
