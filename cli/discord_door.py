"""The Discord bot beside the server: the task it works in.

`bot_doors.py` opens it where Discord is set up, and `scrubjay bot discord` (`bot.py`) loads the same
bot alone. Discord's library is loaded when the bot starts.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING

import anyio.to_thread

from engine.errors import ConfigurationError, EngineError

if TYPE_CHECKING:
    from bots.desk import Desk
    from bots.discord.bot import DiscordBot
    from engine.engine import Engine

log = logging.getLogger(__name__)


class DiscordDoor:
    """See the module."""

    def __init__(self, engine: Engine, desk: Desk) -> None:
        self._engine = engine
        self._desk = desk

    @contextlib.asynccontextmanager
    async def lifespan(self) -> AsyncIterator[None]:
        """Run the bot for as long as the host runs; that it can't is logged, and serves on."""
        stop = asyncio.Event()
        task = asyncio.create_task(self._run(stop))
        try:
            yield
        finally:
            stop.set()
            await task

    async def _run(self, stop: asyncio.Event) -> None:
        try:
            open_discord_bot = await anyio.to_thread.run_sync(load_discord)
            async with open_discord_bot(self._engine, self._desk) as bot:
                await bot.run(stop)
        except* EngineError as group:
            log.error("the Discord bot does not run: %s", group.exceptions[0])  # noqa: TRY400 (it says what to do)
        except* Exception:
            log.exception("the Discord bot stopped unexpectedly")


def load_discord() -> Callable[..., contextlib.AbstractAsyncContextManager[DiscordBot]]:
    """The bot's opener; Discord's library takes a second to load, and may not be there."""
    try:
        from bots.discord.bot import open_discord_bot
    except ImportError as error:
        raise ConfigurationError(
            f"The Discord bot needs {error.name}: install Scrubjay with its extra `discord`."
        ) from error
    return open_discord_bot
