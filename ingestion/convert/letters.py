"""Letters of scripts that PDFs set apart or together as their text does not: spaces put right."""

from __future__ import annotations

import re

HAN = (
    r"\u2e80-\u2fdf\u3005-\u3007\u3021-\u3029\u3031-\u3035\u3040-\u30ff\u31f0-\u31ff"
    r"\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\uff66-\uff9f\U00020000-\U0003ffff"
)
HAN_SIGNS = r"\u3001\u3002\u3008-\u301f\u30fb\uff01\uff08\uff09\uff0c\uff0e\uff1a\uff1b\uff1f"
_SPACED_HAN = re.compile(f"(?<=[{HAN}{HAN_SIGNS}]) +(?=[{HAN}{HAN_SIGNS}])")
_PAIR = re.compile(f"(?<=[{HAN}])(?=[{HAN}])")
_SPACED_HANGUL = re.compile("(?:[\uac00-\ud7a3] ){3,}[\uac00-\ud7a3]")
_RTL = "\u0590-\u05ff\u0620-\u064a\u066e-\u06d3\u06fa-\u06ff\u0750-\u077f\ufb1d-\ufdff\ufe70-\ufefc"
_GLUED = re.compile(f"(?<=[{_RTL}])(?=[A-Za-z])|(?<=[A-Za-z])(?=[{_RTL}])")


def mended(text: str) -> str:
    """A line without the spaces of letters set apart, with one where Arabic meets Latin."""
    if text.isascii():
        return text
    spaced = len(_SPACED_HAN.findall(text))
    if spaced > 1 and spaced > len(_PAIR.findall(text)):
        text = _SPACED_HAN.sub("", text)
    text = _SPACED_HANGUL.sub(lambda match: match[0].replace(" ", ""), text)
    return _GLUED.sub(" ", text)
