"""Progress while a tool works: a line every few seconds, so that no client gives up a call."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

from mcp.server.mcpserver import Context

FIRST_S = 1.0  # a faster call reports nothing
EVERY_S = 2.5  # clients give up after 30 to 60 s of silence


@asynccontextmanager
async def reported(context: Context[Any, Any], doing: Callable[[], str]) -> AsyncIterator[None]:
    """Report progress to the client for as long as the context is open.

    Only if it asked for progress: otherwise a notification would have nowhere to go.
    """
    meta = context.request_context.meta
    if not meta or meta.get("progress_token") is None:
        yield
        return
    telling = asyncio.create_task(_tell(context, doing))
    try:
        yield
    finally:
        telling.cancel()
        with suppress(asyncio.CancelledError):
            await telling


async def _tell(context: Context[Any, Any], doing: Callable[[], str]) -> None:
    await asyncio.sleep(FIRST_S)
    steps = 0
    while True:
        steps += 1
        await context.report_progress(steps, None, doing())
        await asyncio.sleep(EVERY_S)
