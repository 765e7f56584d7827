"""What a template leaves in prose: tags that were never filled, and `<br>` written as text.

Called by `markdown.py` on a whole file, before its blocks are marked. Fences, indented code and code
in a sentence keep all of it, and lines keep their number.
"""

from __future__ import annotations

import re

_MAY_HOLD = re.compile(r"\{[{%]|</?br\b", re.IGNORECASE)
_FENCE = re.compile(r"[ \t]*(?:(?:[-*+]|\d{1,9}[.)])[ \t]+)?(`{3,}|~{3,})")
_CODE = re.compile(r"(`+)(?:(?!\1).)+?\1(?!`)")
_ONLY_TAGS = re.compile(
    r"[ \t]*(?:(?:\{%.*?%\}|\{\{[^{}]*\}\}|</?br\s*/?>)[ \t]*)+$", re.IGNORECASE
)
_RESIDUE = re.compile(
    r"(?<!\$)\{\{[^{}]*\}\}"
    # A tag that quotes a word or a page says something, and what begins a comment is read later.
    r"|\{%-?\s*(?!(?:end)?comment\b)\w+(?![^%]*[\"'])[^%]*%\}"
    r"|</?br\s*/?>(?=\s|$)",
    re.IGNORECASE,
)
_BREAK = re.compile(r"</?br\s*/?>", re.IGNORECASE)


def without_residue(text: str, start: int) -> str:
    """`text` with templates' residue taken out of its prose from `start` on."""
    if _MAY_HOLD.search(text, start) is None:
        return text
    fence = ""
    lines = text[start:].split("\n")
    for number, line in enumerate(lines):
        match = _FENCE.match(line)
        if fence:
            if match and match[1].startswith(fence) and not line.strip(" \t`~"):
                fence = ""
            continue
        if match:
            fence = match[1]
            continue
        is_code = line.startswith(("    ", "\t")) and (not number or not lines[number - 1].strip())
        if not is_code and _MAY_HOLD.search(line) and not _ONLY_TAGS.match(line):
            lines[number] = _without(line)
    return text[:start] + "\n".join(lines)


def _without(line: str) -> str:
    pieces: list[str] = []
    at = 0
    for code in _CODE.finditer(line):
        pieces += (_cleaned(line[at : code.start()]), code[0])
        at = code.end()
    pieces.append(_cleaned(line[at:]))
    return "".join(pieces)


def _cleaned(prose: str) -> str:
    return _BREAK.sub(" ", _RESIDUE.sub("", prose))
