"""Which formats of files are taken: as the installation says and, where it says, a knowledge base. Pure.

A format is the ending of a file's name, without the dot. An empty list takes every format that can
be read.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import PurePosixPath

from engine.errors import InvalidInput

_ENDING = re.compile(r"[a-z0-9+_-]{1,20}")
# Pages behind an address often have no ending, or that of a program.
_OF_PAGES = frozenset({"", "html", "htm", "xhtml", "php", "asp", "aspx", "jsp"})


def parse_formats(said: str | Sequence[str]) -> list[str]:
    """Endings as they are kept: `.PDF, md` is ["md", "pdf"]. Raises `InvalidInput`."""
    words = said.replace(",", " ").split() if isinstance(said, str) else list(said)
    found = {word.strip().lower().lstrip(".") for word in words}
    for ending in found:
        if not _ENDING.fullmatch(ending):
            raise InvalidInput(
                f"supported_formats: {ending[:40]!r} is not the ending of a file's name, such as"
                " pdf.",
                field="supported_formats",
            )
    return sorted(found)


def supported_formats(installation: Sequence[str], kb: Sequence[str]) -> Sequence[str]:
    """What a knowledge base takes: its own list, as far as the installation takes it too."""
    if not installation or not kb:
        return kb or installation
    both = sorted(set(installation) & set(kb))
    return both or ["(none)"]


def check_format(name: str, supported: Sequence[str]) -> None:
    """Return where a file of this name is taken, else raise `InvalidInput` with what is.

    An address may have no ending: what it gives is checked once it is fetched.
    """
    if not supported:
        return
    ending = PurePosixPath(name).suffix.lower().lstrip(".")
    if ending in supported or not name:
        return
    raise InvalidInput(
        f"{name[-100:]} is not of a supported format. Supported are: {', '.join(supported)}.",
        field="file",
    )


def is_page(name: str) -> bool:
    """Whether the ending of an address's name says nothing of what it gives."""
    return PurePosixPath(name).suffix.lower().lstrip(".") in _OF_PAGES
