"""How the lines of a PDF become running text: what a line's end parts, and what it only wraps.

Chinese and Japanese wrap anywhere and put nothing there. Korean wraps between words or within them:
a space at some lines' ends, or lines that all end at the margin, tell which. A soft hyphen at a line's
end says that the word goes on.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from ingestion.convert.letters import HAN, HAN_SIGNS
from ingestion.convert.pdf_lines import Line

_WRAPS = re.compile(f"[{HAN}{HAN_SIGNS}]")
_RAGGED = 2.5  # letters that a full line may end before the margin, so as to begin none with a sign
_FULL = 7.0  # letters in a full line at least
_SOFT = ("\u00ad", "\u2027")
_HANGUL = re.compile("[\u1100-\u11ff\u3130-\u318f\uac00-\ud7a3]")


def joined(lines: Sequence[Line], between: str) -> str:
    """The text of lines that belong together, with `between` where a line's end parts words."""
    wraps = _hangul_wraps(lines)
    margin = max((line.right for line in lines), default=0.0)
    text = ""
    last: Line | None = None
    for line in lines:
        said = line.text.strip()
        if last is None:
            text = said
        elif text.endswith(_SOFT):
            text = text[:-1] + said
        elif (_goes_on(text, said) and _is_full(last, margin)) or (
            wraps and _is_within_word(last, line)
        ):
            text += said
        else:
            text += between + said
        last = line
    return text.rstrip("\u00ad")


def joined_words(words: Sequence[str]) -> str:
    """The words of a cell: a space between, but where lines of Chinese or Japanese wrap."""
    text = ""
    for word in words:
        text += word if not text or _goes_on(text, word) else f" {word}"
    return text


def _goes_on(before: str, after: str) -> bool:
    return bool(before and after and _WRAPS.match(before[-1]) and _WRAPS.match(after[0]))


def _is_full(line: Line, margin: float) -> bool:
    """Whether a line ends where it had to: short ones end where their writer wanted."""
    width = line.right - line.left
    return margin - line.right <= _RAGGED * line.size and width >= _FULL * line.size


def _is_within_word(last: Line, line: Line) -> bool:
    return not last.ends_word and bool(
        _HANGUL.match(last.text.rstrip()[-1:])
        and _HANGUL.match(line.text[:1])  # a space would come first
    )


def _hangul_wraps(lines: Sequence[Line]) -> bool:
    """Whether Korean lines may end within a word."""
    full = [line for line in lines[:-1] if _HANGUL.search(line.text)]
    if not full:
        return False
    if any(line.ends_word or line.text[:1] == " " for line in lines):
        return True
    margin = max(line.right for line in full)
    return len(full) > 1 and all(margin - line.right <= 1.1 * line.size for line in full)
