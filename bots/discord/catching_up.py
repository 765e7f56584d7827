"""Messages sent while the bot was offline: fetched when a new session starts.

The gateway itself replays a short gap (RESUME). For a longer one, the id of the newest message
received is stored for each server; a new session fetches from there, in the channels and threads
with newer messages. A message that was received before is still answered only once.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from bots.discord import intake, payloads
from bots.discord.adapter import DiscordPlatform
from bots.discord.app import DiscordApp
from bots.discord.client import pause
from bots.discord.permissions import FORUMS, THREADS, server_of
from bots.discord.rest import DiscordTrouble
from engine import clock
from engine.access.discord_access import may_read
from engine.engine import Engine
from engine.errors import EngineError

log = logging.getLogger(__name__)

NOTE_S = 5.0  # how often the newest id is stored
KEPT_S = 30 * 24 * 3600.0
OVERLAP = timedelta(seconds=30)
LATEST = timedelta(hours=12)  # no one waits for an answer to an older question
PAGE, PAGES = 100, 10


class CatchingUp:
    """See the module."""

    def __init__(self, engine: Engine, platform: DiscordPlatform, app: DiscordApp) -> None:
        self._engine = engine
        self._platform = platform
        self._app = app
        self._keep: dict[str, int] = {}  # the newest message by server
        self._kept: dict[str, int] = {}
        self._due: set[str] = set()  # servers that a new session is about to describe

    def on_event(self, name: str, data: Mapping[str, Any]) -> None:
        """Follow the gateway's events."""
        match name:
            case "READY":
                self._due |= {str(item.get("id")) for item in data.get("guilds") or ()}
            case "GUILD_CREATE" if str(data.get("id")) in self._due:
                self._due.discard(str(data.get("id")))
                self._app.background.start(self.catch_up(data))
            case "MESSAGE_CREATE" if data.get("guild_id"):
                guild_id = str(data["guild_id"])
                self._keep[guild_id] = max(self._keep.get(guild_id, 0), int(data["id"]))
            case _:
                pass

    async def run(self, stop: asyncio.Event) -> None:
        """Store the newest ids, every few seconds and at the end."""
        while not stop.is_set():
            await pause(stop, NOTE_S)
            try:
                await self.note()
            except EngineError as error:
                log.warning("the ids of the newest messages were not stored: %s", error)

    async def note(self) -> None:
        """Store the newest id of each server."""
        for guild_id, newest in list(self._keep.items()):
            if self._kept.get(guild_id) != newest and await self._app.onboarding.is_known(guild_id):
                await self._engine.limits.put(_key(guild_id), str(newest).encode(), ttl_s=KEPT_S)
                self._kept[guild_id] = newest

    async def catch_up(self, guild: Mapping[str, Any]) -> int:
        """Fetch and queue what a server missed; returns how many messages were read."""
        guild_id = str(guild.get("id"))
        if not await self._app.onboarding.is_known(guild_id):
            return 0
        raw = await self._engine.limits.get(_key(guild_id))
        newest = self._kept[guild_id] = int(raw) if raw else 0
        self._keep[guild_id] = max(self._keep.get(guild_id, 0), newest)
        if not newest:  # connected just now: earlier messages were not meant for the bot
            return 0
        since = max(
            payloads.snowflake(payloads.posted_at(str(newest)) - OVERLAP),
            payloads.snowflake(clock.now() - LATEST),
        )
        me: Mapping[str, Any] = next(iter(guild.get("members") or ()), {})
        server, read = server_of(guild), 0
        for channel in [*(guild.get("channels") or ()), *(guild.get("threads") or ())]:
            last = int(channel.get("last_message_id") or 0)
            if last <= since or channel.get("type") in FORUMS:
                continue
            if channel.get("type") not in THREADS and not may_read(server, channel, me):
                continue
            read += await self._read(guild_id, str(channel["id"]), since)
        if read:
            log.info("read messages sent while the bot was offline", extra={"messages": read})
        return read

    async def _read(self, guild_id: str, channel: str, after: int) -> int:
        read = 0
        for _ in range(PAGES):
            query: dict[str, str | int] = {"limit": PAGE, "after": str(after)}
            try:
                path = f"channels/{channel}/messages"
                page = await self._platform.api.call("GET", path, query=query)
            except DiscordTrouble as trouble:
                log.warning("missed messages of a channel could not be read: %s", trouble)
                return read
            for message in sorted(page, key=lambda item: int(item["id"])):
                after = int(message["id"])
                self._keep[guild_id] = max(self._keep.get(guild_id, 0), after)
                event = intake.read_event("MESSAGE_CREATE", {**message, "guild_id": guild_id})
                if event is not None:
                    await self._app.on_message("MESSAGE_CREATE", event, late=True)
                read += 1
            if len(page) < PAGE:
                return read
        return read


def _key(guild_id: str) -> str:
    return f"discord:heard:{guild_id}"  # stored: a new name would lose what was missed
