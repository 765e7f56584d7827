"""Background tasks of a bot, which need not outlive the process: first signs, forms, home views."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable

from bots.platform import Undelivered
from engine.errors import EngineError

log = logging.getLogger(__name__)


class BackgroundTasks:
    """Starts tasks and keeps them until they end; a failure is logged, and no more."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self, work: Awaitable[object]) -> None:
        """Start a task now."""
        task = asyncio.create_task(self._quietly(work))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def aclose(self, *, within_s: float) -> None:
        """Wait for the tasks to end, for so long."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=within_s)

    @staticmethod
    async def _quietly(work: Awaitable[object]) -> None:
        try:
            await work
        except (EngineError, Undelivered) as error:
            log.warning("a background task failed: %s", error)
        except Exception:  # the error boundary of a task
            log.exception("a background task failed")
