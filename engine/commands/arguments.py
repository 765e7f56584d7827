"""What the words of a command name: a channel, the workspace, a knowledge base."""

from __future__ import annotations

import re
import shlex

from engine.chats.callers import Caller
from engine.commands.table import (
    WORKSPACE,
)
from engine.engine import Engine
from engine.errors import InvalidInput, NotFound


async def channel_or_workspace(engine: Engine, caller: Caller, ref: str) -> tuple[str | None, str]:
    """The channel a command is about (None: the workspace) and how it is called."""
    if ref.lower() == WORKSPACE:
        return None, "The workspace"
    if ref:
        channel = await engine.chats.senders.find_channel(caller.sender, ref)
        return channel.id, f"#{channel.name}"
    here = await engine.chats.senders.channel(caller.sender)
    if here is None:
        raise InvalidInput("Which channel? Name one with #, or say `workspace`.", field="channel")
    return here.id, f"#{here.name}"


async def managed_kb(engine: Engine, caller: Caller, name: str) -> tuple[str, str]:
    kbs = await engine.knowledge_bases.list_managed(caller.principal)
    for kb in kbs:
        if name in {kb.name, kb.id}:
            return kb.id, kb.name
    names = ", ".join(kb.name for kb in kbs) or "none yet"
    raise NotFound(f"There is no knowledge base “{name[:60]}”. There are: {names}.")


def quoted(name: str) -> str:
    """A name as a command takes it: in quotes where it has more than letters and digits."""
    if shlex.quote(name) == name:
        return name
    return '"' + re.sub(r'(["\\])', r"\\\1", name) + '"'
