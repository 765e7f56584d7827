"""Addresses of documents and passages: short, the same each time, and worth nothing to a thief.

`/d/<document>` is a document, `/d/<revision>/<n>` its passage `n` as that revision has it. The
server asks who opens one, and the gate decides then. A document that came from the web keeps its
own address. Where nobody can sign in, a link stands in for the address: `reading_links.py`. Pure.
"""

from __future__ import annotations

import re
import string
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from engine.domain import chunk_id, parse_chunk_id
from engine.settings import ServerSettings

PREFIX: Final = "/d/"
DIGITS: Final = string.digits + string.ascii_uppercase + string.ascii_lowercase
_ID = re.compile(r"[0-9a-f]{32}", re.ASCII)
_PATH = re.compile(r"/d/([0-9A-Za-z]{1,22})(?:/([0-9]{1,7}))?/?", re.ASCII)
_OFFSET = re.compile(r"[0-9]{1,11}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Links:
    """Addresses for one asker: `base` is how they reach the server.

    `sign` makes what follows `/v/` in a link that needs no sign-in, where addresses would be of no
    use to them.
    """

    base: str
    sign: Callable[[str], str] | None = None

    def viewer(self, id: str) -> str:  # noqa: A002 (the field's word)
        """The viewer's page for an id, always; empty where there is none."""
        path = path_of(id)
        if not path or self.sign is None:
            return f"{self.base}{path}" if path else ""
        target, _, offset = id.partition("~")
        return f"{self.base}/v/{self.sign(target)}" + (f"?at={offset}" if offset else "")

    def url(self, document_url: str, id: str) -> str:  # noqa: A002
        """The document's own address where a browser can open it, else the viewer's."""
        return document_url if is_web_address(document_url) else self.viewer(id)


def path_of(id: str) -> str:  # noqa: A002
    """The path of a document, a passage or a page of a document; empty for any other id.

    >>> path_of("0197a3f2c4d87b6e9f00112233445566.3")
    '/d/2iiYTzEXlq48LGR9KjDyw/3'
    """
    target, tilde, offset = id.partition("~")
    passage = parse_chunk_id(target)
    name, ordinal = passage if passage is not None else (target, None)
    if _ID.fullmatch(name) is None or (tilde and _OFFSET.fullmatch(offset) is None):
        return ""
    path = f"{PREFIX}{short(name)}"
    if ordinal is not None:
        path += f"/{ordinal}"
    return f"{path}?at={int(offset)}" if tilde else path


def id_of(address: str) -> str:
    """The id that a path or URL of ours leads to; empty for any other text."""
    try:
        parts = urlsplit(address.strip())
    except ValueError:
        return ""
    found = _PATH.fullmatch(parts.path)
    name = long(found[1]) if found is not None else ""
    if found is None or not name:
        return ""
    if found[2] is not None:
        return chunk_id(name, int(found[2]))
    at = re.fullmatch(r"at=([0-9]{1,11})", parts.query, re.ASCII)
    return f"{name}~{at[1]}" if at else name


def short(id: str) -> str:  # noqa: A002
    """An id of 32 hexadecimal digits in 22 characters at most."""
    number, digits = int(id, 16), ""
    while number:
        number, digit = divmod(number, len(DIGITS))
        digits = DIGITS[digit] + digits
    return digits or DIGITS[0]


def long(name: str) -> str:
    """The id behind a short name; empty where it is none that `short` makes."""
    number = 0
    for character in name:
        digit = DIGITS.find(character)
        if digit < 0:
            return ""
        number = number * len(DIGITS) + digit
    id_ = f"{number:032x}"
    return id_ if number < 1 << 128 and short(id_) == name else ""


def address_of(server: ServerSettings, port: int | None = None) -> str:
    """How this machine reaches the server: `port` where it is not the configured one."""
    host = server.host.strip("[]")
    if host in {"0.0.0.0", "::"}:  # noqa: S104 (recognised, not bound)
        host = "localhost"
    shown = f"[{host}]" if ":" in host else host
    return f"http://{shown}:{server.port if port is None else port}"


def is_web_address(url: str) -> bool:
    """Whether a browser may be sent there: http or https, with a host."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return False
    return parts.scheme in {"http", "https"} and bool(parts.hostname)
