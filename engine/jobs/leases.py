"""Leases: what holding a job means, extending it, and taking back the jobs of dead workers.

A job runs at least once: a worker that dies loses its lease, and the next one starts over, which
spends no attempt but is counted (`MAX_LOST`). Whatever a worker that lost its lease still tries to
commit fails with `LeaseLost`. Leases compare the clocks of the machines involved, which NTP keeps
within a fraction of a lease.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, bindparam, exists, select, true, update
from sqlalchemy.ext.asyncio import AsyncSession

from engine import clock
from engine.db.session import Database
from engine.db.tables import Job, UtcDateTime
from engine.domain import JobState, Lane
from engine.errors import LeaseLost
from engine.jobs.states import give_back, give_up, queue_again

# How often a worker may die over one job. More often than it may fail: most that die are killed
# from outside, or by a job beside it.
MAX_LOST = 10
# After so many losses a job runs alone: if it is the one that kills, it hits no other.
SUSPECT = 2
WORKER_LOST = "The worker stopped {lost} times while working on this; Scrubjay gave up."

_PLAIN = {"synchronize_session": False}  # rows are read again, never from a session's memory
_AT = bindparam("at", type_=UtcDateTime())
# A job that is among `held` is worked on in this very process, however late its renewal comes.
_LAPSED = select(Job).where(
    Job.state == JobState.RUNNING,
    Job.leased_until < _AT,
    Job.id.not_in(bindparam("held", expanding=True)),
)
_SOME_LAPSED = select(exists(_LAPSED))  # built once, as it runs at every poll


@dataclass(frozen=True, slots=True)
class ClaimedJob:
    """A job this process holds until `leased_until`; (`owner`, `attempt`) names the lease."""

    id: str
    tenant_id: str
    kind: str
    payload: Mapping[str, Any]
    lane: Lane
    document_id: str | None
    attempt: int  # from 1
    max_attempts: int
    owner: str
    leased_until: datetime
    correlation_id: str
    lost: int = 0  # attempts that ended with their worker

    @property
    def is_suspect(self) -> bool:
        """Whether it may be what killed its workers, so that it should run alone."""
        return self.lost >= SUSPECT


@dataclass(frozen=True, slots=True)
class Lease:
    """What `renew` found: whether the job is still ours, and whether someone wants it stopped."""

    held: bool
    cancel_requested: bool


async def renew(db: Database, job: ClaimedJob, *, lease_s: float) -> Lease:
    """Extend the lease from now; call it at least three times a lease.

    A lease that lapsed but that nobody took over is held again.
    """

    async def extend(session: AsyncSession) -> Lease:
        statement = (
            update(Job)
            .where(*_held(job))
            .values(leased_until=clock.now() + timedelta(seconds=lease_s))
            .returning(Job.cancel_requested)
        )
        cancel_requested = await session.scalar(statement, execution_options=_PLAIN)
        return Lease(held=cancel_requested is not None, cancel_requested=bool(cancel_requested))

    return await db.run_write(extend)


async def renew_all(db: Database, jobs: Sequence[ClaimedJob], *, lease_s: float) -> set[str]:
    """Extend the leases of one worker's jobs; ids of those to stop: lost, or to be cancelled.

    A lease is only written once a third of it is gone, so this may be called every second. Jobs
    of the same worker that are not among `jobs` lapse: it has lost track of them. One that has done
    its work is not lost, however long its worker takes to notice.
    """
    if not jobs:
        return set()
    owner = jobs[0].owner
    known = [job.id for job in jobs]
    mine = (Job.lease_owner == owner, Job.state == JobState.RUNNING, Job.id.in_(known))

    async def look(session: AsyncSession) -> list[Any]:
        query = select(
            Job.id,
            Job.state,
            Job.lease_owner,
            Job.cancel_requested,
            Job.attempts,
            Job.leased_until,
        )
        return list(await session.execute(query.where(Job.id.in_(known))))

    def is_ours(job: ClaimedJob) -> bool:
        row = rows.get(job.id)
        if row is None or row.attempts != job.attempt:
            return False
        if row.state == JobState.DONE:
            return True
        held = row.state == JobState.RUNNING and row.lease_owner == owner
        return held and not row.cancel_requested

    async def extend(session: AsyncSession) -> None:
        until = clock.now() + timedelta(seconds=lease_s)
        await session.execute(update(Job).where(*mine).values(leased_until=until))

    rows = {row.id: row for row in await db.run_read(look)}
    third = clock.now() + timedelta(seconds=lease_s * 2 / 3)
    running = [row for row in rows.values() if row.state == JobState.RUNNING]
    if any(row.lease_owner == owner and row.leased_until < third for row in running):
        await db.run_write(extend)
    return {job.id for job in jobs if not is_ours(job)}


async def take_over_all(
    db: Database, *, kinds: Sequence[str] | None = None, except_owner: str = ""
) -> int:
    """Let every lease of other owners lapse now, on jobs of these kinds; returns how many.

    For the process that holds the data folder's worker lock: no other can be working on jobs that
    only workers do. A bot's jobs are not among them.
    """
    some = Job.kind.in_(kinds) if kinds is not None else true()

    async def lapse(session: AsyncSession) -> int:
        result = await session.execute(
            update(Job)
            .where(Job.state == JobState.RUNNING, Job.lease_owner != except_owner, some)
            .values(leased_until=clock.now() - timedelta(seconds=1))
            .returning(Job.id)
        )
        return len(result.all())

    return await db.run_write(lapse)


async def any_lapsed(session: AsyncSession, *, held: Collection[str] = ()) -> bool:
    """Whether a worker that died, or lost touch, holds a job that is not among `held`."""
    values = {"at": clock.now(), "held": list(held)}
    found = await (await session.connection()).scalar(_SOME_LAPSED, values)
    return bool(found)


async def take_back_lapsed(db: Database, *, held: Collection[str] = ()) -> int:
    """Queue the jobs of dead workers again; returns how many leases had lapsed.

    Jobs among `held`, which the caller works on itself, stay its own.

    One that was lost `MAX_LOST` times, so that a file that kills its worker does not do so for
    ever, ends as failed, and with it its document and run. One that was to be cancelled ends so.
    """
    return await db.run_write(lambda session: _take_back_lapsed(session, held))


async def _take_back_lapsed(session: AsyncSession, held: Collection[str]) -> int:
    query = _LAPSED.with_for_update(skip_locked=True)
    rows = list(await session.scalars(query, {"at": clock.now(), "held": list(held)}))
    for row in rows:
        if row.cancel_requested:
            await give_up(session, row, JobState.CANCELLED, "")
            continue
        row.lost += 1
        if row.lost >= MAX_LOST:
            await give_up(session, row, JobState.FAILED, WORKER_LOST.format(lost=row.lost))
        elif row.lost >= SUSPECT:
            await queue_again(session, row, clock.now())
        else:
            await give_back(session, row)
    await session.flush()
    return len(rows)


def _held(job: ClaimedJob) -> tuple[ColumnElement[bool], ...]:
    return (
        Job.id == job.id,
        Job.state == JobState.RUNNING,
        Job.lease_owner == job.owner,
        Job.attempts == job.attempt,  # the same worker may have taken the job over from itself
    )


async def must_hold(session: AsyncSession, job: ClaimedJob) -> Job:
    """The row of a job that is still held, to be changed; else `LeaseLost`."""
    row = (await session.scalars(select(Job).where(*_held(job)).with_for_update())).one_or_none()
    if row is None:
        raise lease_lost(job)
    return row


def lease_lost(job: ClaimedJob) -> LeaseLost:
    """What to raise for a job that this process no longer holds."""
    return LeaseLost(f"Job {job.id} is no longer held by {job.owner}; its result is discarded.")
