"""Which jobs may work at the same time: many together, or one alone.

Two kinds of job run alone: one that may have killed its worker (`jobs.SUSPECT`), so that it takes
no other down with it, and one that rebuilds what the others write to.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager


class ExclusiveLock:
    """Belongs to one event loop. A job that wants it alone keeps newcomers off until the others are done."""

    def __init__(self) -> None:
        self._together = 0
        self._reserved = False
        self._changed = asyncio.Event()

    @property
    def is_reserved(self) -> bool:
        """Whether a job is alone on it, or waits for that."""
        return self._reserved

    @asynccontextmanager
    async def together(self) -> AsyncIterator[None]:
        """Work beside others, once nobody is alone or about to be."""
        await self._until(lambda: not self._reserved)
        self._together += 1
        try:
            yield
        finally:
            self._together -= 1
            self._wake()

    @asynccontextmanager
    async def alone(self) -> AsyncIterator[None]:
        """Work while nobody else does, once those who do have ended."""
        await self._until(lambda: not self._reserved)
        self._reserved = True
        try:
            await self._until(lambda: not self._together)
            yield
        finally:
            self._reserved = False
            self._wake()

    async def _until(self, condition: Callable[[], bool]) -> None:
        while not condition():
            await self._changed.wait()

    def _wake(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()
