"""A sign of life while an answer takes long: platforms let a status lapse, and end a stream."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from bots.platform import StreamingReply, Undelivered

SILENCE_S = 50.0  # Slack's status lapses after two minutes, its streams after five
STILL = "Still working on it…"


class Keepalive:
    """What is shown of an answer while it is written, one thing at a time."""

    def __init__(self, streaming: StreamingReply) -> None:
        self._streaming = streaming
        self._turn = asyncio.Lock()
        self.shown = asyncio.Event()

    async def step(self, title: str) -> None:
        """As `StreamingReply`'s."""
        async with self._turn:
            await self._streaming.step(title)
        self.shown.set()

    async def grow(self, text: str) -> None:
        """As `StreamingReply`'s."""
        async with self._turn:
            await self._streaming.grow(text)
        self.shown.set()


@asynccontextmanager
async def with_keepalive(streaming: StreamingReply) -> AsyncIterator[Keepalive]:
    """The streaming reply, which shows a step whenever it has shown nothing for a while."""
    keepalive = Keepalive(streaming)
    ticking = asyncio.create_task(_tick(keepalive))
    try:
        yield keepalive
    finally:
        ticking.cancel()
        await asyncio.wait([ticking])


async def _tick(keepalive: Keepalive) -> None:
    while True:
        keepalive.shown.clear()
        try:
            async with asyncio.timeout(SILENCE_S):
                await keepalive.shown.wait()
        except TimeoutError:
            with contextlib.suppress(Undelivered):  # the writer gets the same error, and handles it
                await keepalive.step(STILL)
