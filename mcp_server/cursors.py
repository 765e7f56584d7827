"""Cursors: where a list's next page starts; signed, valid only for the same list and tenant."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from engine.errors import InvalidInput, Unauthenticated

if TYPE_CHECKING:
    from mcp_server.caller import McpCaller


def cursor_of(caller: McpCaller, position: str | int, *parts: str) -> str:
    """The cursor of `position` in the caller's list that `parts` describe."""
    payload = f"{position}:{_digest(caller, parts)}"
    return caller.engine.secrets.sign("cursors", payload)


def position_of(caller: McpCaller, cursor: str, *parts: str) -> str:
    """The position; empty without a cursor. `InvalidInput` for one of another list or tenant."""
    if not cursor:
        return ""
    try:
        position, _, digest = caller.engine.secrets.verify("cursors", cursor).rpartition(":")
    except Unauthenticated:
        position = digest = ""
    if digest != _digest(caller, parts):
        raise InvalidInput(
            "This cursor does not belong to this call. Repeat the call that gave it, with the "
            "same other arguments, or leave the cursor out to start again.",
            field="cursor",
        )
    return position


def _digest(caller: McpCaller, parts: tuple[str, ...]) -> str:
    who = caller.principal.tenant_id
    return hashlib.sha256("\0".join((who, *parts)).encode()).hexdigest()[:16]
