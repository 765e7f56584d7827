"""Jobs that wait and jobs that ended: how many, when the next is due, deleting the old."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from sqlalchemy import delete, func, or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from engine import clock
from engine.db.session import Database
from engine.db.tables import Job, Tenant
from engine.domain import JobState, Lane
from engine.jobs.kinds import FIRE_TRIGGER, JOB_KINDS, PLAN_SYNC

ON_TIME = (FIRE_TRIGGER, PLAN_SYNC)
SOON = timedelta(hours=1)
# The jobs of a suspended tenant wait until it is resumed; but what somebody asked in a chat does
# not, for the bot tells them. Those of a tenant that is being deleted go with it.
IS_SERVED = or_(
    Job.kind.not_in(JOB_KINDS),
    Job.tenant_id.not_in(
        select(Tenant.id).where(
            or_(Tenant.suspended_at.is_not(None), Tenant.deleted_at.is_not(None))
        )
    ),
)


async def pending_counts(
    session: AsyncSession, tenant_id: str | None = None
) -> dict[tuple[Lane, JobState], int]:
    """How many jobs wait or run, by lane and state; of one tenant or of all."""
    query = (
        select(Job.lane, Job.state, func.count())
        .where(Job.state.in_([JobState.QUEUED, JobState.RUNNING]))
        .group_by(Job.lane, Job.state)
    )
    if tenant_id is not None:
        query = query.where(Job.tenant_id == tenant_id)
    rows = await session.execute(query)
    return {(Lane(lane), JobState(state)): count for lane, state, count in rows}


async def next_due_at(db: Database, kinds: Sequence[str]) -> datetime | None:
    """When there may be something to claim: a delay that ends, a lease that may lapse.

    None while nothing waits or runs; a time in the past means now. What is planned for later than
    `SOON` is left out: a process that works until all is done does not wait for what comes every night.
    """

    async def find(session: AsyncSession) -> datetime | None:
        due = await session.scalar(
            select(func.min(Job.run_at)).where(
                Job.state == JobState.QUEUED,
                Job.kind.in_(kinds),
                Job.run_at < clock.now() + SOON,
                IS_SERVED,
                # A source's next sync, and a schedule's next run, are for their time, however soon.
                or_(Job.kind.not_in(ON_TIME), Job.run_at <= clock.now()),
            )
        )
        lapse = await session.scalar(
            select(func.min(Job.leased_until)).where(
                Job.state == JobState.RUNNING, Job.kind.in_(kinds)
            )
        )
        return min((time for time in (due, lapse) if time is not None), default=None)

    return await db.run_read(find)


async def forget_ended(db: Database, *, before: datetime) -> int:
    """Delete jobs that ended before a time; returns how many."""

    async def purge(session: AsyncSession) -> int:
        ended = [JobState.DONE, JobState.FAILED, JobState.CANCELLED]
        statement = delete(Job).where(Job.state.in_(ended), Job.updated_at < before)
        return len((await session.scalars(statement.returning(Job.id))).all())

    return await db.run_write(purge)
