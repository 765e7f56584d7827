"""Cursors: where the next page of a list begins, signed, and good for the same list only."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from engine.errors import InvalidInput, Unauthenticated

if TYPE_CHECKING:
    from engine.secrets import Secrets


def cursor_of(secrets: Secrets, offset: int, *parts: str) -> str:
    """The cursor of `offset` in the list that `parts` describe."""
    return secrets.sign("cursors", f"{offset}:{_digest(parts)}")


def offset_of(secrets: Secrets, cursor: str, *parts: str) -> int:
    """The offset; 0 without a cursor. Raises `InvalidInput` for one of another list."""
    if not cursor:
        return 0
    try:
        offset, _, digest = secrets.verify("cursors", cursor).partition(":")
    except Unauthenticated:
        digest = offset = ""
    if digest != _digest(parts):
        raise InvalidInput(
            "This cursor does not belong to this call. Repeat the call that gave it, with the same"
            " other arguments, or leave the cursor out to begin anew.",
            field="cursor",
        )
    return int(offset)


def _digest(parts: tuple[str, ...]) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]
