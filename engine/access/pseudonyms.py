"""Names of authors, or stable pseudonyms where a place keeps its people unnamed (`/kb anonymous`).

Documents are derived with them and citations shown with them. A pseudonym tells somebody's messages
from another's and not who they are: it is made of the platform's id and of the workspace's own,
which nobody is shown. Names that people write in their messages, without a mention, stay.
"""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import blake2b
from typing import Any

ALPHABET = "abcdefghjkmnpqrstvwxyz23456789"  # no letters that are read as another
LETTERS = 5


def is_unnamed(workspace: Mapping[str, Any], channel: Mapping[str, Any]) -> bool:
    """Whether authors are unnamed, by the settings of a channel, else of its workspace."""
    here, there = (settings.get("bot", {}).get("anonymous") for settings in (channel, workspace))
    return bool(there if here is None else here)


def pseudonym(workspace_id: str, who: str) -> str:
    """What somebody is called, by the platform's id of them, or by a name where there is no id."""
    digest = blake2b(who.encode(), key=workspace_id.encode()[:64], digest_size=8).digest()
    number = int.from_bytes(digest)
    letters = []
    for _ in range(LETTERS):
        number, at = divmod(number, len(ALPHABET))
        letters.append(ALPHABET[at])
    return f"Person {''.join(letters)}"
