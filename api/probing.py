"""What fails, for probes: asked for once however many ask, and not again within a second.

Anybody may ask `/health`: it must cost the database no more than one look a second.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping

LASTS_S = 1.0


class Probing:
    """Shares what a probe found among all that ask meanwhile, and for a moment after."""

    def __init__(self, probe: Callable[[], Awaitable[Mapping[str, str]]]) -> None:
        self._probe = probe
        self._running: asyncio.Task[list[str]] | None = None
        self._ended_at = -LASTS_S

    async def failing(self) -> list[str]:
        """The names of the dependencies that fail, in order."""
        running = self._running
        if running is None or (running.done() and time.monotonic() - self._ended_at >= LASTS_S):
            running = self._running = asyncio.create_task(self._look())
        return await asyncio.shield(running)  # one that hangs up leaves it to the others

    async def _look(self) -> list[str]:
        try:
            found = await self._probe()
        finally:
            self._ended_at = time.monotonic()
        return sorted(name for name, text in found.items() if text)
