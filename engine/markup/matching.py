"""Whether a quote occurs in a text, and whether the figures of a sentence occur there too.

White space, case, Markdown and typography (curly quotes, long dashes, ligatures) make no
difference; letters, digits and other punctuation do. `answer.py` decides citations with it.
"""

# ruff: noqa: RUF001 (typography and other scripts are what this module is about)
from __future__ import annotations

import re
import unicodedata
from decimal import Decimal, InvalidOperation

_SAME = str.maketrans(
    {
        "‘": "'", "’": "'", "‚": "'", "‛": "'", "“": '"', "”": '"', "„": '"', "«": '"', "»": '"',
        "‐": "-", "‑": "-", "‒": "-", "–": "-", "—": "-", "−": "-", "…": "...",
    }
)  # fmt: skip
_INVISIBLE = {"\u00ad", "\u200b", "\u200c", "\u200d", "\u2060", "\ufeff"}
_LINK_TAIL = re.compile(
    r"\]\([^()\s]{0,2000}+(?:\([^()\s]{0,500}+\)[^()\s]{0,2000}+){0,5}+"
    r"(?:\s{1,20}+\"[^\"]{0,500}+\")?\)|\]\[[^\[\]]{0,500}+\]"
)
_LINE_MARK = re.compile(r"[ \t]*(?:(?:>|#{1,6}|[-*+•]|\d{1,3}[.)])[ \t]+)+", re.MULTILINE)
_RULE_LINE = re.compile(r"^(?=[ \t|:=-]*?---)[ \t|:=-]++$", re.MULTILINE)
_ELLIPSIS = re.compile(r"\[?(?:(?<!\.)\.{3,}+|…)\]?")
_JOINED_MAX = 600  # characters between the ends of a quote with something left out


def fold(text: str) -> tuple[str, list[int]]:
    """The text as quotes are compared, and for each of its characters the offset it came from.

    "**Bold**  [text](url)" becomes "bold text".
    """
    skipped: dict[int, int] = {}
    for pattern in (_LINK_TAIL, _RULE_LINE):
        skipped.update({match.start(): match.end() for match in pattern.finditer(text)})
    for match in re.finditer(r"^", text, re.MULTILINE):
        mark = _LINE_MARK.match(text, match.start())
        if mark:
            skipped.setdefault(mark.start(), mark.end())
    characters: list[str] = []
    offsets: list[int] = []
    position, length = 0, len(text)
    while position < length:
        if position in skipped:
            position = max(skipped[position], position + 1)
            continue
        character = text[position]
        if character.isspace() or character == "|":
            if characters and characters[-1] != " ":
                characters.append(" ")
                offsets.append(position)
        elif not _is_mark(text, position):
            for piece in unicodedata.normalize("NFKC", character.translate(_SAME)).casefold():
                characters.append(piece)
                offsets.append(position)
        position += 1
    return _without_cjk_spaces(characters, offsets)


def _is_mark(text: str, position: int) -> bool:
    character = text[position]
    if character in "*`~[]\\" or character in _INVISIBLE:
        return True
    if character == "!":
        return text[position + 1 : position + 2] == "["
    if character == "_":  # emphasis at the edge of a word; part of the name in snake_case
        before, after = text[position - 1 : position], text[position + 1 : position + 2]
        return not (before.isalnum() and after.isalnum())
    return False


def _is_cjk(character: str) -> bool:
    return "\u3000" <= character <= "\u9fff" or "\uf900" <= character <= "\ufaff"


def _without_cjk_spaces(characters: list[str], offsets: list[int]) -> tuple[str, list[int]]:
    # Chinese and Japanese write no spaces: one there is only where the source broke its line.
    kept = [
        index
        for index, character in enumerate(characters)
        if not (
            character == " "
            and 0 < index < len(characters) - 1
            and _is_cjk(characters[index - 1])
            and _is_cjk(characters[index + 1])
        )
    ]
    while kept and characters[kept[-1]] == " ":
        kept.pop()
    return "".join(characters[index] for index in kept), [offsets[index] for index in kept]


def find_quote(quote: str, text: str) -> tuple[int, int] | None:
    """Where `quote` occurs in `text` as (start, end), or None.

    Whole words only: "grant 12" does not occur in "grant 120 days". A quote with "..." occurs
    when its pieces occur in order, close together; the span then covers them all.
    """
    folded, offsets = fold(text)
    direct = _find(fold(quote)[0].strip(" "), folded, 0)
    if direct is not None:
        return offsets[direct[0]], offsets[direct[1] - 1] + 1
    pieces = [fold(piece)[0].strip(" ") for piece in _ELLIPSIS.split(quote)]
    pieces = [piece for piece in pieces if piece]
    if len(pieces) < 2 or any(len(piece) < 8 for piece in pieces):
        return None
    first: int | None = None
    position = 0
    for piece in pieces:
        span = _find(piece, folded, position)
        if span is None:
            return None
        first = span[0] if first is None else first
        position = span[1]
    assert first is not None  # noqa: S101 (there are at least two pieces)
    if position - first > _JOINED_MAX:
        return None
    return offsets[first], offsets[position - 1] + 1


def _find(needle: str, haystack: str, position: int) -> tuple[int, int] | None:
    if not any(character.isalnum() for character in needle):
        return None
    while True:
        start = haystack.find(needle, position)
        if start < 0:
            return None
        end = start + len(needle)
        if not _inside_word(haystack, start) and not _inside_word(haystack, end):
            return start, end
        position = start + 1


def _inside_word(text: str, position: int) -> bool:
    if not 0 < position < len(text):
        return False
    before, after = text[position - 1], text[position]
    if _is_cjk(before) or _is_cjk(after):
        return False
    if before.isdigit() and after in ".," and text[position + 1 : position + 2].isdigit():
        return True  # "8" does not occur in "8.65"
    if after.isdigit() and before in ".," and text[position - 2 : position - 1].isdigit():
        return True
    return before.isalnum() and after.isalnum()


_NUMBER = re.compile(r"(?<![\w.])\d+(?:[,\u00a0\u202f ]\d{3})+(?:\.\d+)?(?!\d)|\d+(?:\.\d+)?")
_ISO_DATE = re.compile(r"\b(\d{4})-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])\b")
_MONTHS = {
    name: f"month:{number}"
    for number, names in enumerate(
        (
            "january jan", "february feb", "march mar", "april apr", "may", "june jun",
            "july jul", "august aug", "september sep sept", "october oct", "november nov",
            "december dec",
        ),
        start=1,
    )
    for name in names.split()
}  # fmt: skip
_DAYS = {
    day: f"day:{day}"
    for day in ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
}
_MONTH = re.compile(
    r"\b(" + "|".join(_MONTHS) + r")\b\.?(?=\s+\d)|(?<=\d)(?:st|nd|rd|th)?\s+(?:of\s+)?("
    + "|".join(_MONTHS)
    + r")\b",
    re.IGNORECASE,
)  # fmt: skip
_DAY = re.compile(r"\b(" + "|".join(_DAYS) + r")s?\b", re.IGNORECASE)
_UNITS = "two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen"
_WORDS = {word: number for number, word in enumerate(_UNITS.split(), start=2)}
_TENS = {
    word: number * 10
    for number, word in enumerate(
        ("twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"), start=2
    )
}
_SCALES = {"hundred": 100, "thousand": 1_000, "million": 1_000_000, "billion": 1_000_000_000}
_WORD_NUMBER = re.compile(
    r"\b(?:(" + "|".join(_TENS) + r")(?:[-\s](one|" + "|".join(_WORDS) + r"))?|("
    + "|".join(_WORDS)
    + r"))\b",
    re.IGNORECASE,
)  # fmt: skip
_SCALE = re.compile(r"[\s-]?(" + "|".join(_SCALES) + r"|k|m|bn)\b", re.IGNORECASE)
_SHORT_SCALES = {"k": 1_000, "m": 1_000_000, "bn": 1_000_000_000}
_CITATION_MARK = re.compile(r"\[\d{1,3}(?:\s*,\s*\d{1,3})*\]")


def figures(text: str) -> set[str]:
    """The numbers, months and weekdays a sentence states, in one spelling each.

    "On Nov. 15th, 2024 we spent $1,500 on twelve seats" gives
    {"month:11", "15", "2024", "1500", "12"}. Citation marks "[1]" are not figures.
    """
    text = _CITATION_MARK.sub(" ", text)
    found: set[str] = set()
    for match in _ISO_DATE.finditer(text):
        found |= {match[1], f"month:{int(match[2])}", str(int(match[3]))}
    text = _ISO_DATE.sub(" ", text)
    for match in _MONTH.finditer(text):
        found.add(_MONTHS[(match[1] or match[2]).casefold()])
    found |= {_DAYS[match[1].casefold()] for match in _DAY.finditer(text)}
    for match in _NUMBER.finditer(text):
        try:
            value = Decimal(re.sub(r"[,\s]", "", match.group()))
        except InvalidOperation:
            continue
        found.add(_spell(value * _scale_after(text, match.end(), short=True)))
    for match in _WORD_NUMBER.finditer(text):
        tens, unit, word = (group.casefold() if group else "" for group in match.groups())
        number = _TENS.get(tens, 0) + (1 if unit == "one" else _WORDS.get(unit or word, 0))
        found.add(_spell(Decimal(number) * _scale_after(text, match.end(), short=False)))
    return found


def _scale_after(text: str, position: int, *, short: bool) -> int:
    match = _SCALE.match(text, position)
    if not match:
        return 1
    word = match[1].casefold()
    if word in _SCALES:
        return _SCALES[word]
    # "5k" and "2 m": only glued to digits, where they can't be a unit of their own
    return _SHORT_SCALES[word] if short and match.start(1) == position and word != "m" else 1


def _spell(value: Decimal) -> str:
    return format(value.normalize(), "f") if value else "0"


def has_number(text: str) -> bool:
    """Whether the text states a quantity, in digits or words."""
    return bool(_NUMBER.search(text) or _WORD_NUMBER.search(text))
