"""Single documents: hidden and shown again."""

from __future__ import annotations

from engine.chats.callers import Caller
from engine.commands.results import CommandResult
from engine.commands.table import Parsed
from engine.domain import parse_chunk_id
from engine.engine import Engine


async def hide(engine: Engine, caller: Caller, parsed: Parsed) -> CommandResult:
    found = await engine.documents.hide(caller.principal, _ref(parsed))
    return CommandResult(f"{_named(parsed, found.title)} is hidden: no answer uses it from now on.")


async def unhide(engine: Engine, caller: Caller, parsed: Parsed) -> CommandResult:
    found = await engine.documents.hide(caller.principal, _ref(parsed), hidden=False)
    return CommandResult(f"{_named(parsed, found.title)} can be found again.")


def _ref(parsed: Parsed) -> str:
    """An id or an address; chats put addresses between angle brackets."""
    return parsed.text("document").strip("<>").split("|")[0]


def _named(parsed: Parsed, title: str) -> str:
    return f"A passage of **{title}**" if parse_chunk_id(_ref(parsed)) else f"**{title}**"
