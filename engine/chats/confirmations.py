"""Commands that wait for a yes: each a minute, for the person who said it."""

from __future__ import annotations

import json

from engine import clock
from engine.chats.callers import Caller
from engine.chats.sender_rows import Sender
from engine.errors import NotFound
from engine.limits import Limits

CONFIRM_S = 60.0  # how long a confirmation waits for its button


class Confirmations:
    """The verbs of confirming: `Engine.chats.confirmations`."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits

    async def ask(self, caller: Caller, line: str) -> str:
        """The id under which a command waits a minute for its confirmation by the same person."""
        confirm_id = clock.new_id()
        stored = {"line": line, "identity": caller.sender.identity_id, "channel": caller.channel}
        await self._limits.put(
            _key(caller.sender, confirm_id), json.dumps(stored).encode(), ttl_s=CONFIRM_S
        )
        return confirm_id

    async def take(self, caller: Caller, confirm_id: str) -> str:
        """The command that waits under an id; `NotFound` once its minute is over or for others."""
        key = _key(caller.sender, confirm_id)
        raw = await self._limits.get(key)
        stored = json.loads(raw) if raw is not None else {}
        if stored.get("identity") != caller.sender.identity_id:
            raise NotFound(
                "There is nothing to confirm: only the person who asked for it can confirm, within a minute."
            )
        await self._limits.forget(key)
        return str(stored["line"])


def _key(sender: Sender, confirm_id: str) -> str:
    return f"{sender.tenant_id}:confirm:{confirm_id}"
