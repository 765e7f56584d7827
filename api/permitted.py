"""Streams that end when their reader may no longer read what they could when the stream began.

A stream can outlast a session, a role or a grant: who asks is looked up again while it runs, and
before the item that matters most.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from typing import TypeVar

from starlette.requests import Request

from api.service import service_of
from engine.domain import Principal
from engine.errors import Conflict

T = TypeVar("T")

RECHECK_S = 2.0


async def permitted(
    request: Request,
    principal: Principal,
    items: AsyncIterator[T],
    *,
    is_last: Callable[[T], bool] = lambda _: False,
    again: Callable[[], Awaitable[Principal]] | None = None,
) -> AsyncIterator[T]:
    """The items, until the reader may read less than `principal` could.

    `again` finds the reader once more; without it the doorkeeper does. Looked at every `RECHECK_S`, whether or not an item comes, and before an item that `is_last`
    picks. Raises what the doorkeeper raises, or `Conflict` where something was taken from them.
    """
    waiting: asyncio.Queue[tuple[T | None, BaseException | None]] = asyncio.Queue(1)

    async def pump() -> None:
        # In one task from beginning to end, as whatever makes the items may have to be.
        try:
            async for item in items:
                await waiting.put((item, None))
        except Exception as error:  # noqa: BLE001 (raised again by who reads)
            await waiting.put((None, error))
        else:
            await waiting.put((None, StopAsyncIteration()))

    task = asyncio.create_task(pump())
    coming = asyncio.create_task(waiting.get())
    checked_at = time.monotonic()
    try:
        while True:
            done, _ = await asyncio.wait({coming}, timeout=RECHECK_S)
            item, error = coming.result() if done else (None, None)
            is_due = time.monotonic() - checked_at >= RECHECK_S
            if is_due or (item is not None and is_last(item)):
                await _check(request, principal, again)
                checked_at = time.monotonic()
            if isinstance(error, StopAsyncIteration):
                return
            if error is not None:
                raise error
            if done:
                coming = asyncio.create_task(waiting.get())
                assert item is not None  # noqa: S101 (no error came)
                yield item
    finally:
        for running in (coming, task):
            running.cancel()
            with suppress(asyncio.CancelledError):
                await running


async def _check(
    request: Request, principal: Principal, again: Callable[[], Awaitable[Principal]] | None
) -> None:
    if again is not None:
        present = await again()
    else:
        present = await service_of(request).doorkeeper.again(request, principal)
    require_same(principal, present)


def require_same(principal: Principal, present: Principal) -> None:
    """Raise `Conflict` where a caller may no longer read all of what `principal` could."""
    if not principal.tokens <= present.tokens:
        raise Conflict("What you may read has changed meanwhile: ask again.")
