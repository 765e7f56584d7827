"""The running Discord bot: its REST, gateway and app, for one open engine.

`open_discord_bot` creates it; `run` works until `stop` is set. Of several processes with one token,
one holds the gateway, and all of them answer. Where one process runs both platforms, the bots share
an answer worker.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from bots.answer_worker import AnswerWorker
from bots.discord import tree
from bots.discord.adapter import DiscordPlatform
from bots.discord.app import DiscordApp
from bots.discord.catching_up import CatchingUp
from bots.discord.client import RECONNECT_S, Gateway, pause
from bots.discord.rest import DiscordApi, DiscordTrouble, open_api
from engine.engine import Engine
from engine.errors import ConfigurationError, EngineError, Unavailable

log = logging.getLogger(__name__)

PURGE_S = 3600.0
COMMANDS_LIFE_S = 365 * 24 * 3600.0  # how long the digest of the registered commands is stored


class DiscordBot:
    """See the module. Get one from `open_discord_bot`. A given worker is run by its owner."""

    def __init__(
        self, engine: Engine, api: DiscordApi, answer_worker: AnswerWorker | None = None
    ) -> None:
        self._engine = engine
        self._settings = engine.settings.discord
        self.api = api
        self.platform = DiscordPlatform(engine, api)
        self._runs_worker = answer_worker is None
        self.answer_worker = answer_worker or AnswerWorker(engine, {})
        self.answer_worker.serve(self.platform)
        self.app = DiscordApp(engine, self.platform, self.answer_worker)
        self.gateway = Gateway(engine, self._on_event)
        self.catching_up = CatchingUp(engine, self.platform, self.app)
        self.platform.gateway = self.gateway.shared_state

    async def run(self, stop: asyncio.Event) -> None:
        """Connect, answer, and keep house, until `stop`."""
        if not await self._introduced(stop):
            return
        async with asyncio.TaskGroup() as tasks:
            if self._runs_worker:
                tasks.create_task(self.answer_worker.run(stop))
            tasks.create_task(self.gateway.run(stop))
            tasks.create_task(self.catching_up.run(stop))
            tasks.create_task(self._keep_house(stop))

    async def _introduced(self, stop: asyncio.Event) -> bool:
        """Whether Discord was reached; it is tried until it is, or until `stop`."""
        pause_s = RECONNECT_S[0]
        while not stop.is_set():
            try:
                await self.introduce()
            except Unavailable as error:
                log.warning("%s Trying again", error, extra={"in_s": pause_s})
                await pause(stop, pause_s)
                pause_s = min(2 * pause_s, RECONNECT_S[1])
            else:
                return True
        return False

    async def introduce(self) -> None:
        """Check the token, and register the commands with Discord if they changed."""
        try:
            await self.api.me()
        except DiscordTrouble as trouble:
            if trouble.status == 401:
                raise ConfigurationError(
                    "discord.bot_token is rejected by Discord: copy it again from your"
                    " application's Bot page, where Reset Token creates one."
                ) from None
            raise Unavailable("Discord can't be reached: check the network.") from None
        try:
            await self.sync_commands()
        except (DiscordTrouble, EngineError) as error:
            log.warning("the commands were not registered; Discord keeps the old ones: %s", error)

    async def sync_commands(self) -> bool:
        """Register the commands, unless they are those registered last; returns whether it did."""
        me = await self.api.me()
        application, server = me["application_id"], self._settings.development_server
        place = f"applications/{application}" + (f"/guilds/{server}" if server else "")
        commands = tree.payload()
        key, digest = f"discord:commands:{place}", tree.digest(commands).encode()
        if await self._engine.limits.get(key) == digest:
            return False
        await self.api.call("PUT", f"{place}/commands", commands)
        await self._engine.limits.put(key, digest, ttl_s=COMMANDS_LIFE_S)
        return True

    def _on_event(self, name: str, data: object) -> None:
        read = self.app.on_event(name, data)
        if read is not None:
            self.catching_up.on_event(name, read)

    async def _keep_house(self, stop: asyncio.Event) -> None:
        while not stop.is_set():
            try:
                await self._engine.chats.installations.purge_due()
            except EngineError as error:
                log.warning("what removed servers left was not purged: %s", error)
            await pause(stop, PURGE_S)


@asynccontextmanager
async def open_discord_bot(
    engine: Engine, answer_worker: AnswerWorker | None = None
) -> AsyncIterator[DiscordBot]:
    """The bot of an open engine; everything it holds is closed on exit."""
    async with open_api(engine.settings.discord) as api:
        bot = DiscordBot(engine, api, answer_worker)
        try:
            yield bot
        finally:
            await bot.app.aclose()
            bot.answer_worker.leave(bot.platform)
