"""What was asked and found. `Engine.insight` is an `Insight`."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

from engine.access import gate
from engine.db.session import Database
from engine.domain import Principal
from engine.insight import day_tables
from engine.insight.statistics import (
    By,
    Statistics,
    StatisticsQuery,
    checked_span,
    read_groupings,
    read_statistics,
)
from engine.jobs.leases import ClaimedJob


class Insight:
    """The verbs of statistics."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def statistics(
        self,
        principal: Principal,
        *,
        first: date | None = None,
        last: date | None = None,
        days: int = 30,
        by: By = "day",
        kb: str = "",
    ) -> Statistics:
        """What happened on some days, both ends included; else on the last `days`, with today.

        Of the tenant for its admins, for others of the knowledge bases they manage; of `kb` alone,
        by name or id, where that is given.
        """
        gate.require_verb(principal, "insight.list")
        span = checked_span(first, last, days=days)
        return await self._db.run_read(
            lambda session: read_statistics(session, principal, StatisticsQuery(span, by, kb))
        )

    async def groupings(
        self, principal: Principal, groupings: Sequence[By], *, days: int = 30, kb: str = ""
    ) -> list[Statistics]:
        """The `statistics` of the last days by each grouping in turn, all from one reading."""
        gate.require_verb(principal, "insight.list")
        query = StatisticsQuery(checked_span(None, None, days=days), kb=kb)
        return await self._db.run_read(
            lambda session: read_groupings(session, principal, query, groupings)
        )

    # For workers

    async def queue_counting(self) -> int:
        """Queue a job for each tenant with days to count; how many."""
        return await day_tables.queue_counting(self._db)

    async def count_days(self, job: ClaimedJob) -> None:
        """Count the days of a job's tenant that nobody keeps yet, one after another."""
        tenant_id = job.tenant_id
        await day_tables.keep_stock(self._db, tenant_id)
        async with self._db.read() as session:
            days = await day_tables.days_to_count(session, tenant_id)
        for day in days:
            await day_tables.keep_day(self._db, tenant_id, day)
        await day_tables.forget_old(self._db, tenant_id)
