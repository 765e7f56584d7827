"""The Discord bot in the server's process: the task it works in.

`bot_doors.py` opens it where Discord is configured, and `scrubjay bot discord` (`bot.py`) loads the
same bot alone. Discord's library is loaded when the bot starts.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING

import anyio.to_thread

from cli.alongside import run_alongside
from engine.errors import ConfigurationError

if TYPE_CHECKING:
    from bots.answer_worker import AnswerWorker
    from bots.discord.bot import DiscordBot
    from engine.engine import Engine


class DiscordDoor:
    """The Discord bot's background task in the server."""

    def __init__(self, engine: Engine, answer_worker: AnswerWorker) -> None:
        self._engine = engine
        self._answer_worker = answer_worker

    @contextlib.asynccontextmanager
    async def lifespan(self) -> AsyncIterator[None]:
        """Run the bot for as long as the host runs; a failure is logged, not raised."""
        async with run_alongside("Discord", self._run):
            yield

    async def _run(self, stop: asyncio.Event) -> None:
        open_discord_bot = await anyio.to_thread.run_sync(load_discord)
        async with open_discord_bot(self._engine, self._answer_worker) as bot:
            await bot.run(stop)


def load_discord() -> Callable[..., contextlib.AbstractAsyncContextManager[DiscordBot]]:
    """The bot's opener; Discord's library takes a second to load, and may not be there."""
    try:
        from bots.discord.bot import open_discord_bot
    except ImportError as error:
        raise ConfigurationError(
            f"The Discord bot needs {error.name}: install Scrubjay with its extra `discord`."
        ) from error
    return open_discord_bot
