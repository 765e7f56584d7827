"""A bot that runs in a background task of the server, for as long as the server does."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable

from engine.errors import EngineError

log = logging.getLogger(__name__)


@contextlib.asynccontextmanager
async def run_alongside(
    name: str, run: Callable[[asyncio.Event], Awaitable[None]]
) -> AsyncIterator[None]:
    """Run until the host ends, then set `run`'s event. A bot that fails is logged, not raised."""
    stop = asyncio.Event()
    task = asyncio.create_task(_guarded(name, run, stop))
    try:
        yield
    finally:
        stop.set()
        await task


async def _guarded(
    name: str, run: Callable[[asyncio.Event], Awaitable[None]], stop: asyncio.Event
) -> None:
    try:
        await run(stop)
    except* EngineError as group:
        log.error("the %s bot can't run: %s", name, group.exceptions[0])  # noqa: TRY400 (it says what to do)
    except* Exception:
        log.exception("the %s bot stopped unexpectedly", name)
