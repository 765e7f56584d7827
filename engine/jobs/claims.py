"""Claiming jobs: the next ones in fair order, for one owner, under a lease.

Workers and the relay call this. `outbox.py` creates the rows, `leases.py` holds what was claimed,
`endings.py` ends it. SQL owns attempts, delays, leases and cancellation.

    queued ──claim──► running ──finish──► done | failed | cancelled
      ▲                  │
      └── fail, release, ┘ a lapsed lease
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import timedelta
from typing import Any

from sqlalchemy import Integer, Row, Select, bindparam, literal, select, union_all, update
from sqlalchemy.ext.asyncio import AsyncSession

from engine import clock
from engine.db.session import Database
from engine.db.tables import Job, UtcDateTime
from engine.domain import JobState, Lane
from engine.jobs.backlog import IS_SERVED
from engine.jobs.leases import ClaimedJob, any_lapsed, take_back_lapsed

LANES = (Lane.LIVE, Lane.INTERACTIVE, Lane.BULK)  # first things first

_CLAIMED = (
    Job.id,
    Job.tenant_id,
    Job.kind,
    Job.payload,
    Job.lane,
    Job.document_id,
    Job.attempts,
    Job.lost,
    Job.max_attempts,
    Job.lease_owner,
    Job.leased_until,
    Job.correlation_id,
)

# Statements that run at every poll are built once: putting one together takes longer than the
# database does.
_AT = bindparam("at", type_=UtcDateTime())
_DUE = (
    Job.state == JobState.QUEUED,
    Job.kind.in_(bindparam("kinds", expanding=True)),
    Job.run_at <= _AT,
    IS_SERVED,
)
_CLAIM = (
    update(Job)
    .where(Job.id.in_(bindparam("ids", expanding=True)), *_DUE)
    .values(
        state=JobState.RUNNING,
        attempts=Job.attempts + 1,
        lease_owner=bindparam("owner"),
        leased_until=bindparam("until"),
        updated_at=_AT,
    )
    .returning(*_CLAIMED)
)


def _next_statement() -> Select[str]:
    lanes = [
        select(Job.id, Job.turn, literal(rank).label("rank"))
        .where(*_DUE, Job.lane == lane)
        .order_by(Job.turn, Job.id)
        .limit(bindparam("most", type_=Integer))
        .subquery()
        for rank, lane in enumerate(LANES)
    ]
    found = union_all(*(select(lane) for lane in lanes)).subquery()
    query = select(found.c.id).order_by(found.c.rank, found.c.turn, found.c.id)
    return query.limit(bindparam("most", type_=Integer))


_NEXT_IDS = _next_statement()


async def claimable(
    db: Database, kinds: Sequence[str], limit: int, *, held: Collection[str] = ()
) -> list[str]:
    """Ids of jobs that could be claimed now, in the order they should be.

    Lapsed leases are taken back first, but those of `held`, which the caller works on.
    """

    async def find(session: AsyncSession) -> tuple[bool, list[str]]:
        return await any_lapsed(session, held=held), await _next_ids(session, kinds, limit)

    some_lapsed, ids = await db.run_read(find)
    if some_lapsed:
        await take_back_lapsed(db, held=held)
        _, ids = await db.run_read(find)
    return ids


async def claim(
    db: Database,
    owner: str,
    *,
    kinds: Sequence[str],
    lease_s: float,
    limit: int = 1,
    job_id: str | None = None,
) -> list[ClaimedJob]:
    """Up to `limit` jobs that are now `owner`'s for `lease_s` seconds, in fair order.

    Lanes come first (live, interactive, bulk), within a lane tenants take turns. With `job_id`
    just that job or, when it is not claimable, nothing.
    """
    if job_id is None and not await claimable(db, kinds, 1):
        return []  # most polls find nothing, and this one took no write lock

    async def take(session: AsyncSession) -> list[ClaimedJob]:
        ids = await _lock_next(session, kinds, limit) if job_id is None else [job_id]
        at = clock.now()
        values = {
            "ids": ids,
            "kinds": kinds,
            "at": at,
            "owner": owner,
            "until": at + timedelta(seconds=lease_s),
        }
        rows = await (await session.connection()).execute(_CLAIM, values)
        claimed = {row.id: row for row in rows}
        return [_claimed(claimed[job]) for job in ids if job in claimed]

    return await db.run_write(take)


async def _next_ids(session: AsyncSession, kinds: Sequence[str], limit: int) -> list[str]:
    values = {"kinds": kinds, "at": clock.now(), "most": limit}
    return list(await (await session.connection()).scalars(_NEXT_IDS, values))


async def _lock_next(session: AsyncSession, kinds: Sequence[str], limit: int) -> list[str]:
    """As `_next_ids`, passing over what another claimer is about to take."""
    if session.get_bind().dialect.name == "sqlite":  # the transaction holds the only write lock
        return await _next_ids(session, kinds, limit)
    ids: list[str] = []
    for lane in LANES:  # a union can't lock rows
        query = (
            select(Job.id)
            .where(*_DUE, Job.lane == lane)
            .order_by(Job.turn, Job.id)
            .limit(limit - len(ids))
            .with_for_update(skip_locked=True)
        )
        ids += await session.scalars(query, {"kinds": kinds, "at": clock.now()})
        if len(ids) >= limit:
            break
    return ids


def _claimed(row: Row[Any]) -> ClaimedJob:
    return ClaimedJob(
        id=row.id,
        tenant_id=row.tenant_id,
        kind=row.kind,
        payload=row.payload,
        lane=Lane(row.lane),
        document_id=row.document_id,
        attempt=row.attempts,
        lost=row.lost,
        max_attempts=row.max_attempts,
        owner=row.lease_owner,
        leased_until=row.leased_until,
        correlation_id=row.correlation_id,
    )
