"""The Slack bot in the server's process: its routes, and the task it works in.

`serve.py` opens it where Slack is configured, and `scrubjay bot slack` (`bot.py`) loads the same bot
alone. Slack's libraries are loaded when the bot starts.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING

import anyio.to_thread
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route
from starlette.types import Receive, Scope, Send

from cli.alongside import run_alongside
from engine.errors import ConfigurationError, TooLarge, Unavailable

if TYPE_CHECKING:
    from bots.answer_worker import AnswerWorker
    from bots.slack.bot import SlackBot
    from engine.engine import Engine

PATHS = ("/slack/events", "/slack/install", "/slack/oauth_redirect")
BODY_MAX = 1_000_000  # bytes; Slack's events are a few thousand


class SlackDoor:
    """The Slack bot in the server's process: its routes, and the task it works in."""

    def __init__(self, engine: Engine, answer_worker: AnswerWorker) -> None:
        self._engine = engine
        self._answer_worker = answer_worker
        self._bot: SlackBot | None = None

    def routes(self) -> list[BaseRoute]:
        """Where Slack reaches the bot."""
        return [Route(path, endpoint=self) for path in PATHS]

    @contextlib.asynccontextmanager
    async def lifespan(self) -> AsyncIterator[None]:
        """Run the bot for as long as the host runs; a failure is logged, not raised."""
        async with run_alongside("Slack", self._run):
            yield

    async def _run(self, stop: asyncio.Event) -> None:
        try:
            open_slack_bot = await anyio.to_thread.run_sync(load_slack)
            async with open_slack_bot(self._engine, self._answer_worker) as bot:
                self._bot = bot
                await bot.run(stop)
        finally:
            self._bot = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hand one request to the bot."""
        request = Request(scope, receive)
        if self._bot is None:
            raise Unavailable("The Slack bot is not running; the server's log says why.")
        headers: dict[str, list[str]] = {}
        for name, value in request.headers.items():
            headers.setdefault(name, []).append(value)
        given = await _read_body(request)
        answer = await self._bot.handle(
            request.method, request.url.path, headers, request.url.query, given
        )
        response = Response(answer.body, answer.status, dict(answer.headers or {}))
        await response(scope, receive, send)


def load_slack() -> Callable[..., contextlib.AbstractAsyncContextManager[SlackBot]]:
    """The bot's opener; Slack's libraries take a second to load, and may not be there."""
    try:
        from bots.slack.bot import open_slack_bot
    except ImportError as error:
        raise ConfigurationError(
            f"The Slack bot needs {error.name}: install Scrubjay with its extra `slack`."
        ) from error
    return open_slack_bot


async def _read_body(request: Request) -> bytes:
    """The body of a request that is known to be small."""
    body = bytearray()
    async for piece in request.stream():
        body += piece
        if len(body) > BODY_MAX:
            raise TooLarge("The body is larger than anything a platform sends.")
    return bytes(body)
