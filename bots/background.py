"""What runs beside a bot's listeners and need not outlive the process: first signs, forms, homes."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable

from bots.platform import Undelivered
from engine.errors import EngineError

log = logging.getLogger(__name__)


class BackgroundTasks:
    """Starts work and keeps it until it ends; that something failed is logged, and no more."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self, work: Awaitable[object]) -> None:
        """Begin it now."""
        task = asyncio.create_task(self._quietly(work))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def aclose(self, *, within_s: float) -> None:
        """Let what runs end, for so long."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=within_s)

    @staticmethod
    async def _quietly(work: Awaitable[object]) -> None:
        try:
            await work
        except (EngineError, Undelivered) as error:
            log.warning("beside the work: %s", error)
        except Exception:  # the rim of what runs beside
            log.exception("something beside the work failed")
