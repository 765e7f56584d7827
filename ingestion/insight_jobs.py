"""What a worker does for insight: count the days that are over, and see that this is queued."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from sqlalchemy.ext.asyncio import AsyncSession

from engine.engine import Engine
from engine.errors import Unavailable
from engine.jobs.kinds import COUNT_DAYS
from engine.jobs.leases import ClaimedJob
from ingestion.worker import Handler

log = logging.getLogger(__name__)

EVERY_S = 1800.0  # a day is kept within half an hour of its time


class CountDays:
    """Counts and keeps the days of a tenant; a second run goes on with those that are missing.

    Nobody waits for it: days that are not kept are counted when they are asked for.
    """

    alone = False
    feeds = False

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def run(self, job: ClaimedJob) -> bool:
        """Count them, a transaction a day."""
        await self._engine.insight.count_days(job)
        return False

    async def waiting(self, session: AsyncSession, job: ClaimedJob, reason: str) -> None:
        """It is tried again."""

    async def failed(self, session: AsyncSession, job: ClaimedJob, error: str, code: str) -> None:
        """The job row keeps the reason; the next day's job does what this one left."""

    async def cancelled(self, session: AsyncSession, job: ClaimedJob) -> None:
        """The next day's job does what this one left."""


def insight_handlers(engine: Engine) -> dict[str, Handler]:
    """A handler for each kind of job that is about insight."""
    return {COUNT_DAYS: CountDays(engine)}


@asynccontextmanager
async def queueing_counts(engine: Engine, *, every_s: float = EVERY_S) -> AsyncIterator[None]:
    """Queue the counting of days that are over for as long as the context is open."""
    task = asyncio.create_task(_queue(engine, every_s))
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])


async def _queue(engine: Engine, every_s: float) -> None:
    while True:
        try:
            await engine.insight.queue_counting()
        except Unavailable as error:
            log.warning("no counting is queued now: %s", error)
        await asyncio.sleep(every_s)
