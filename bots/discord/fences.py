"""Where a text's fenced code is. Pure; `markup.py` converts around it, `splitting.py` cuts there.

CommonMark's rules: a fence is three or more backticks or tildes, and one of the same kind, at least
as long and with nothing after it, closes it; one never closed lasts to the end. A fence in a quote
ends with the quote at the latest. A fence may begin a list item.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

LINE_MAX = 100  # characters of an opening line; a longer one opens nothing
LANGUAGE_MAX = 24

_OPENS = re.compile(
    r"(?P<prefix>[ \t]{0,12}(?:>[ \t]?){0,3}(?:(?:[-*+]|\d{1,3}[.)])[ \t]{1,4})?[ \t]{0,8})"
    r"(?P<marks>(?P<mark>[`~])(?P=mark){2,15})(?!(?P=mark))[ \t]*(?P<info>[^\n]*)"
)
_LANGUAGE = re.compile(r"[\w+#.-]+")
_LINE = re.compile(r"[^\n]*\n?")


@dataclass(frozen=True, slots=True)
class Fence:
    """Code from `start` to `end`; what is inside lies from `code` to `close`.

    `close` is `end` where no line closes it. `prefix` comes before the marks of a line that opens
    it again: quote marks, and spaces for a list's bullet.
    """

    start: int
    code: int
    close: int
    end: int
    prefix: str
    marks: str
    language: str

    @property
    def opening(self) -> str:
        """The line that opens it again in the next part."""
        return f"{self.prefix}{self.marks}{self.language}\n"

    @property
    def closing(self) -> str:
        """The line that closes it at a part's end."""
        return f"{self.prefix}{self.marks}"


def find_fences(text: str) -> list[Fence]:
    """The fences of a text, in order."""
    found: list[Fence] = []
    lines = _lines(text)
    for start, line in lines:
        opens = _OPENS.fullmatch(line.rstrip("\r\n"))
        if opens is None or len(line) > LINE_MAX:
            continue
        if opens["mark"] == "`" and "`" in opens["info"]:
            continue
        found.append(_read(start, start + len(line), opens, lines, len(text)))
    return found


def _read(
    start: int, code: int, opens: re.Match[str], lines: Iterator[tuple[int, str]], end: int
) -> Fence:
    close = end
    mark, length = re.escape(opens["mark"]), len(opens["marks"])
    closes = re.compile(rf"[ \t>]*{mark}{{{length},}}[ \t]*")
    for at, line in lines:
        if ">" in opens["prefix"] and not line.lstrip().startswith(">"):
            close = end = at
            break
        if closes.fullmatch(line.rstrip("\r\n")):
            close, end = at, at + len(line)
            break
    prefix = re.sub(r"[^\s>]", " ", opens["prefix"])
    language = _LANGUAGE.match(opens["info"])
    name = language.group() if language else ""
    name = name if len(name) <= LANGUAGE_MAX else ""
    return Fence(start, code, close, end, prefix, opens["marks"], name)


def _lines(text: str) -> Iterator[tuple[int, str]]:
    return ((match.start(), match.group()) for match in _LINE.finditer(text) if match.group())
