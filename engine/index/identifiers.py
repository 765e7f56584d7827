"""What names one thing exactly: codes, numbers, addresses; and how they meet without separators.

An identifier is written in many ways: `PPR-9087`, `PPR 9087`, `ppr9087`; `00:1B:44:11:3A:B7`,
`001b.4411.3ab7`; `1,234.56`, `1234.56`. Each yields one joined term beside its whole and its parts.
`analysis.py` calls this for documents and queries alike. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

JOINED_LEAST = 5  # characters; shorter ones are versions, sizes and scores ("v1.2", "3-0")
NUMBER_LEAST = 4  # digits of a number, or characters of a code, that names something
JOINED_MOST = 40  # of an IBAN 34, of a UUID 32

# Digits in groups of three, as English, Swiss and continental texts write them. Spaces group as
# well, where they are ones at which no line may break.
_GROUPED = r"\d{1,3}(?:,\d{3})+(?:\.\d+)?(?![\d,])|\d{1,3}(?:\.\d{3})+,\d+(?![\d.])"
GROUPED_NUMBER = rf"(?<![\d.,]){_GROUPED}"
_GROUPED_WHOLE = re.compile(rf"(?:{_GROUPED}|\d{{1,3}}(?:'\d{{3}})+(?:\.\d+)?)\Z")
NO_BREAK_GROUPS = re.compile(r"(?<=\d)[\u00a0\u2009\u202f](?=\d{3}(?!\d))")

_SEPARATORS = re.compile(r"[-:._]+")
_DIGIT = re.compile(r"\d")
_YEAR = re.compile(r"(?:1[5-9]|20)\d\d")
_SPACED = re.compile(
    r"\b(?P<code>[A-Z]{2,6} \d{2,}[A-Z]?)\b(?![.,:]\d)"
    r"|\b(?P<iban>[A-Z]{2}\d{2}(?: [0-9A-Z]{4}){2,7}(?: [0-9A-Z]{1,3})?)\b"
    r"|(?P<phone>\+\d[\d ()/-]{6,18}\d)\b"
    r"|\b(?P<card>\d{4}(?: \d{4}){3})\b"
)
_ASKED_CODE = re.compile(
    r"\b(?P<code>[A-Za-z]{2,6} (?!(?:1[5-9]|20)\d\d\b)\d{3,}[A-Za-z]?)\b(?![.,:]\d)"
)
_NO_WORD = re.compile(r"[\W_]+")


def plain_number(token: str) -> str:
    """A number of grouped digits as it is without them: 1234.56 of "1,234.56" and "1.234,56".

    Anything else gives "".
    """
    if not _GROUPED_WHOLE.match(token):
        return ""
    digits = token.replace("'", "")
    last_comma, last_dot = digits.rfind(","), digits.rfind(".")
    if last_comma > last_dot >= 0:
        return digits.replace(".", "").replace(",", ".")
    return digits.replace(",", "")


def joined(token: str) -> str:
    """A token's letters and digits without what separates them; "" where it is no identifier.

    It needs a digit. Digits alone may be a number, a version, an address or a time, so they join
    only over hyphens ("978-3-16-148410-0"), or over the colons of a hardware address.
    """
    if not _DIGIT.search(token) or not _SEPARATORS.search(token):
        return ""
    plain = _SEPARATORS.sub("", token)
    if not plain.isalnum() or not JOINED_LEAST <= len(plain) <= JOINED_MOST:
        return ""
    if plain.isdigit() and not (set(token) <= set("0123456789-") or token.count(":") == 5):
        return ""
    return plain.casefold()


def spaced(text: str, *, asked: bool = False) -> Iterator[str]:
    """Identifiers written with blanks, joined: "PPR 9087", "DE89 3704 0044 …", "+49 30 123456".

    In what is `asked` codes may be in small letters.
    """
    for found in _SPACED.finditer(text):
        yield _NO_WORD.sub("", found[0]).casefold()
    if asked:
        for found in _ASKED_CODE.finditer(text):
            if not found[0][:-1].isupper():
                yield _NO_WORD.sub("", found[0]).casefold()


def is_exact(word: str) -> bool:
    """Whether a term names one thing: it has a digit and is no small number, version or year.

    `0x80070057`, `ppr9087`, `10.20.30.40`, `48213`; and names joined by underscores or dots. What
    many things share is none: "433 MHz", "in 1998", "16.04".
    """
    digits = sum(map(str.isdigit, word))
    if not digits:
        return len(word) >= JOINED_LEAST and ("_" in word or "." in word)
    if word.isdigit():
        return digits >= NUMBER_LEAST and not _YEAR.fullmatch(word)
    if not any(map(str.isalpha, word)):
        return digits >= JOINED_LEAST or word.count(".") == 3
    return len(word) >= NUMBER_LEAST
