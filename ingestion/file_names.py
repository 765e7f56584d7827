"""What a document's file name says that its title does not.

Titles of many documents are alike ("Form 10-Q"), and their file names tell one from another. So the
name is searched beside the title, and its words stand in the context of each passage. Numbers that
only a computer reads are searched, but say nothing about a passage.
"""

from __future__ import annotations

import re
from pathlib import PurePosixPath

CONTEXT_CHARS = 60  # of a file name in each passage's context

_WORD = re.compile(r"[^\W_]+")
_CAMEL = re.compile(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_SUFFIX = re.compile(r"\.[A-Za-z][A-Za-z0-9]{0,11}$")
_ANYTHING = frozenset(
    (
        "answer", "attachment", "copy", "default", "doc", "docs", "document", "documento",
        "dokument", "download", "draft", "export", "file", "final", "image", "img", "index", "main",
        "new", "output", "page", "pages", "pdf", "print", "readme", "rev", "scan", "scanned",
        "temp", "text", "tmp", "unknown", "untitled", "upload", "version",
    )
)  # fmt: skip
_ALIKE = 5  # letters that words of one stem share
_PERIOD = re.compile(
    r"(?:19|20)\d\d(?:q[1-4]|h[12])?|[qh][1-4](?:fy)?(?:\d\d|(?:19|20)\d\d)?|[1-4]q\d{2,4}"
    r"|fy(?:\d\d|(?:19|20)\d\d)|v\d+"
)
_HEX = re.compile(r"(?=.*\d)[0-9a-f]{6,}")
_VOWEL = re.compile("[aeiouyà-öø-ÿ]")


def searched_title(title: str, filename: str) -> str:
    """What is searched as the title: the file name as well where it says something else.

    Numbers, codes and periods are searched as they are written; of a name of words those that the
    title lacks, since words said twice would weigh twice.
    """
    stem = _stem(file_name(filename))
    added = [word for word in _added(title, stem) if word not in _ANYTHING]
    if not added:
        return title
    return f"{title} {stem if any(map(str.isdigit, stem)) else ' '.join(added)}"


def context_title(title: str, filename: str) -> str:
    """What names the document in each passage's context; "" where neither tells anything.

    `title` is empty where the document has none but its file name.
    """
    stem = _stem(file_name(filename))
    added = [word for word in _added(title, stem) if _tells(word)]
    if not added:
        return title
    if not title:
        return " ".join(_WORD.findall(_spaced(stem)))[:CONTEXT_CHARS].strip()
    return f"{title} ({' '.join(added)[:CONTEXT_CHARS].strip()})"


def _added(title: str, stem: str) -> list[str]:
    """The words of a file's name that its title lacks, in any form."""
    known = set(_words(title))
    alike = {word[:_ALIKE] for word in known if len(word) >= _ALIKE}
    return [
        word
        for word in _words(stem)
        if word not in known and not (word.isalpha() and word[:_ALIKE] in alike)
    ]


def file_name(filename: str) -> str:
    """A file's own name; an address names no file, and what chats are kept in has none."""
    if "://" in filename or filename.endswith(".conversation"):
        return ""
    return PurePosixPath(filename.replace("\\", "/")).name


def _stem(name: str) -> str:
    return _SUFFIX.sub("", name)


def _spaced(text: str) -> str:
    return _CAMEL.sub(" ", text)


def _words(text: str) -> list[str]:
    return list(dict.fromkeys(_WORD.findall(_spaced(text).casefold())))


def _tells(word: str) -> bool:
    """Whether a word says something to people: a name or a period, no number and no code."""
    if word in _ANYTHING:
        return False
    if _PERIOD.fullmatch(word):
        return True
    if _HEX.fullmatch(word) or any(map(str.isdigit, word)):
        return False
    if not word.isascii():
        return True
    return len(word) > 2 and (len(word) < 6 or _VOWEL.search(word) is not None)
