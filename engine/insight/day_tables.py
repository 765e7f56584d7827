"""Days that are over, counted once and kept: what a worker's job fills, a day a transaction.

A day is kept once it has been over for `SETTLE`: by then rows that waited for the database have
come. Whatever changes a row of a kept day later calls `day_changed` in its own transaction, and the
day is counted anew. Killed halfway, the job goes on with the days that are missing.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from functools import partial

from sqlalchemy import delete, func, insert, or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from engine import clock
from engine.db.session import Database, upsert
from engine.db.tables import (
    CountedDay,
    Document,
    KnowledgeBase,
    Live,
    MetricDay,
    QueryLog,
    Revision,
    Tenant,
)
from engine.domain import MAIN, Lane
from engine.insight.day_counts import (
    COUNTED,
    DIMENSIONS,
    STOCK,
    Cells,
    DayCell,
    DayRange,
    cell_of,
    count_days,
    summed,
)
from engine.jobs.kinds import COUNT_DAYS
from engine.jobs.outbox import enqueue

SETTLE = timedelta(days=1)  # how long a day has been over before it is kept
SUMS = {f"sum:{topic}": topic for topic in COUNTED}  # topics of rows that sum others up
DAYS_MAX = 800  # that are kept at most: older ones go


async def days_to_count(session: AsyncSession, tenant_id: str) -> list[date]:
    """The days of a tenant that are over and not kept, or changed since; the oldest first."""
    last = last_settled()
    first = max(await _first_day(session, tenant_id), last - timedelta(days=DAYS_MAX - 1))
    kept = await kept_days(session, tenant_id, DayRange(first, last))
    every = (first + timedelta(days=n) for n in range((last - first).days + 1))
    return [day for day in every if day.isoformat() not in kept]


def last_settled() -> date:
    """The newest day that has been over for `SETTLE`."""
    return (clock.now() - SETTLE).date() - timedelta(days=1)


async def kept_days(session: AsyncSession, tenant_id: str, span: DayRange) -> set[str]:
    """Of some days those that are kept and did not change since, ISO 8601."""
    rows = await session.scalars(
        select(CountedDay.day).where(
            CountedDay.tenant_id == tenant_id,
            CountedDay.day >= span.first.isoformat(),
            CountedDay.day <= span.last.isoformat(),
            CountedDay.counted_at.is_not(None),
            or_(CountedDay.changed_at.is_(None), CountedDay.changed_at < CountedDay.counted_at),
        )
    )
    return set(rows)


async def keep_day(db: Database, tenant_id: str, day: date) -> None:
    """Count a day and keep what it comes to, in place of what was kept of it before.

    A change meanwhile is later than `counted_at`, so the day is counted once more.
    """
    counted_at = clock.now()
    async with db.read() as session:
        cells = await count_days(session, tenant_id, DayRange(day, day))

    async def write(session: AsyncSession) -> None:
        if await _is_gone(session, tenant_id):
            return
        of_day = (MetricDay.tenant_id == tenant_id, MetricDay.day == day.isoformat())
        await session.execute(delete(MetricDay).where(*of_day, MetricDay.topic != STOCK))
        await _insert(session, tenant_id, cells)
        await _insert(session, tenant_id, summed(cells), prefix="sum:")
        statement = upsert(session, CountedDay).values(
            tenant_id=tenant_id, day=day.isoformat(), counted_at=counted_at
        )
        await session.execute(
            statement.on_conflict_do_update(
                index_elements=["tenant_id", "day"], set_={"counted_at": counted_at}
            )
        )

    await db.run_write(write)


async def keep_stock(db: Database, tenant_id: str) -> None:
    """Keep what the tenant has now as what it had at the end of yesterday, unless that is kept."""
    day = (clock.now().date() - timedelta(days=1)).isoformat()
    async with db.read() as session:
        cells = await count_stock(session, tenant_id, day)

    async def write(session: AsyncSession) -> None:
        known = select(MetricDay.day).where(
            MetricDay.tenant_id == tenant_id, MetricDay.day == day, MetricDay.topic == STOCK
        )
        if await session.scalar(known.limit(1)) is None and not await _is_gone(session, tenant_id):
            await _insert(session, tenant_id, cells)

    await db.run_write(write)


async def count_stock(session: AsyncSession, tenant_id: str, day: str) -> Cells:
    """The documents that answer now, with passages, tokens and bytes, by base and source."""
    rows = await session.execute(
        select(
            Live.kb_id,
            Document.source_id,
            func.count(),
            func.sum(Revision.chunk_count - Revision.hidden_chunks),
            func.sum(Revision.token_count),
            func.sum(Revision.size_bytes),
        )
        .join(Document, Document.id == Live.document_id)
        .join(Revision, Revision.id == Live.revision_id)
        .join(KnowledgeBase, KnowledgeBase.id == Live.kb_id)
        .where(
            Live.tenant_id == tenant_id,
            Live.branch == MAIN,
            Document.deleted_at.is_(None),
            KnowledgeBase.deleted_at.is_(None),
        )
        .group_by(Live.kb_id, Document.source_id)
    )
    found: Cells = {}
    for kb_id, source_id, documents, chunks, tokens, size in rows:
        counted = cell_of(found, DayCell(day, STOCK, kb_id=kb_id, source_id=source_id or ""))
        counted.add("documents", documents)
        counted.add("chunks", int(chunks or 0))
        counted.add("tokens", int(tokens or 0))
        counted.add("bytes", int(size or 0))
    return found


async def day_changed(session: AsyncSession, tenant_id: str, at: datetime) -> None:
    """Have the day of `at` counted anew, where it is kept: something of it changed."""
    day = at.astimezone(UTC).date()
    if day > last_settled():
        return  # not kept yet: it is counted as it is
    statement = upsert(session, CountedDay).values(
        tenant_id=tenant_id, day=day.isoformat(), changed_at=clock.now()
    )
    await session.execute(
        statement.on_conflict_do_update(
            index_elements=["tenant_id", "day"], set_={"changed_at": clock.now()}
        )
    )


async def queue_counting(db: Database) -> int:
    """Queue a job for every tenant with days to count, one a day each; how many tenants."""
    async with db.read() as session:
        tenants = await session.scalars(select(Tenant.id).where(Tenant.deleted_at.is_(None)))
        due = [one for one in list(tenants) if await days_to_count(session, one)]
    for tenant_id in due:
        await db.run_write(partial(_queue, tenant_id=tenant_id))
    return len(due)


async def _queue(session: AsyncSession, tenant_id: str) -> str:
    return await enqueue(
        session,
        tenant_id=tenant_id,
        kind=COUNT_DAYS,
        payload={},
        lane=Lane.BULK,
        idempotency_key=f"{COUNT_DAYS}:{clock.now().date().isoformat()}",
    )


async def forget_old(db: Database, tenant_id: str) -> None:
    """Drop the days that are older than any that are kept."""
    before = (clock.now().date() - timedelta(days=DAYS_MAX)).isoformat()

    async def remove(session: AsyncSession) -> None:
        for table in (MetricDay, CountedDay):
            await session.execute(
                delete(table).where(table.tenant_id == tenant_id, table.day < before)
            )

    await db.run_write(remove)


async def _first_day(session: AsyncSession, tenant_id: str) -> date:
    """When there was a tenant, or the first row about it."""
    times: Sequence[datetime | None] = [
        await session.scalar(select(Tenant.created_at).where(Tenant.id == tenant_id)),
        await session.scalar(select(func.min(QueryLog.at)).where(QueryLog.tenant_id == tenant_id)),
    ]
    return min((at for at in times if at is not None), default=clock.now()).date()


async def _insert(session: AsyncSession, tenant_id: str, cells: Cells, prefix: str = "") -> None:
    rows = [
        {name: getattr(cell, name) for name in DIMENSIONS}
        | {
            "tenant_id": tenant_id,
            "topic": prefix + cell.topic,
            "figures": dict(counted.figures),
            "latency": {str(bucket): n for bucket, n in sorted(counted.latency.items())},
        }
        for cell, counted in cells.items()
    ]
    if rows:
        await session.execute(insert(MetricDay), rows)


async def _is_gone(session: AsyncSession, tenant_id: str) -> bool:
    return await session.scalar(select(Tenant.id).where(Tenant.id == tenant_id)) is None
