"""The bots in the server's process: those that are configured, over one answer worker.

`serve.py` opens them; the libraries of a platform are loaded when its bot starts. A bot that can't
run says why in the log, and the rest continues.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

from starlette.routing import BaseRoute

from cli.discord_door import DiscordDoor
from cli.slack_door import SlackDoor

if TYPE_CHECKING:
    from bots.answer_worker import AnswerWorker
    from engine.engine import Engine
    from engine.settings import Settings


class BotDoors:
    """The configured bots, their routes and their lifespan."""

    def __init__(self, engine: Engine, settings: Settings) -> None:
        self._answer_worker: AnswerWorker | None = None
        self._slack: SlackDoor | None = None
        self._discord: DiscordDoor | None = None
        if not (settings.slack.is_set_up or settings.discord.is_set_up):
            return
        from bots.answer_worker import AnswerWorker

        self._answer_worker = AnswerWorker(engine, {})
        if settings.slack.is_set_up:
            self._slack = SlackDoor(engine, self._answer_worker)
        if settings.discord.is_set_up:
            self._discord = DiscordDoor(engine, self._answer_worker)

    def routes(self) -> list[BaseRoute]:
        """Where platforms reach their bots; Discord's needs no route, because it keeps a socket."""
        return self._slack.routes() if self._slack is not None else []

    @contextlib.asynccontextmanager
    async def lifespan(self) -> AsyncIterator[None]:
        """Run them as long as the host. The answer worker ends first: it posts through the bots."""
        if self._answer_worker is None:
            yield
            return
        async with contextlib.AsyncExitStack() as stack:
            for door in (self._slack, self._discord):
                if door is not None:
                    await stack.enter_async_context(door.lifespan())
            stop = asyncio.Event()
            working = asyncio.create_task(self._answer_worker.run(stop))
            try:
                yield
            finally:
                stop.set()
                await working
