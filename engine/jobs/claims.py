"""Durable work: claiming jobs under a lease, ending them, cancelling and counting them.

Workers and the relay call this; `outbox.py` creates the rows. SQL owns attempts, delays, leases
and cancellation. A job runs at least once: a worker that dies loses its lease, and the next one
starts over, which spends no attempt but is counted (`MAX_LOST`); whatever a worker that lost its
lease still tries to commit fails with `LeaseLost`.

    queued ──claim──► running ──finish──► done | failed | cancelled
      ▲                  │
      └── fail, release, ┘ a lapsed lease

Leases compare the clocks of the machines involved, which NTP keeps within a fraction of a lease.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Integer,
    Row,
    Select,
    String,
    bindparam,
    delete,
    exists,
    func,
    literal,
    select,
    true,
    union_all,
    update,
)
from sqlalchemy.ext.asyncio import AsyncSession

from engine import clock
from engine.db.session import Database
from engine.db.tables import Document, Job, Run, UtcDateTime, Worker
from engine.domain import DocumentState, JobState, Lane
from engine.errors import LeaseLost, NotFound
from engine.jobs.outbox import next_turn, served_turn

LANES = (Lane.LIVE, Lane.INTERACTIVE, Lane.BULK)  # first things first
FIRST_RETRY_S = 2.0
LONGEST_RETRY_S = 600.0
# How often a worker may die over one job. More often than it may fail: most that die are killed
# from outside, or by a job beside it.
MAX_LOST = 10
SOON = timedelta(hours=1)
SUSPECT = (
    2  # from so many losses on a job runs alone: if it is the one that kills, it hits no other
)

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

_PLAIN = {"synchronize_session": False}  # rows are read anew, never from a session's memory
# Statements that run for every job or at every poll are built once: putting one together takes longer
# than the database does.
_AT = bindparam("at", type_=UtcDateTime())
_DUE = (
    Job.state == JobState.QUEUED,
    Job.kind.in_(bindparam("kinds", expanding=True)),
    Job.run_at <= _AT,
)
_LAPSED = select(Job).where(Job.state == JobState.RUNNING, Job.leased_until < _AT)
_SOME_LAPSED = select(exists(_LAPSED))
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
_FINISH = (  # sets the columns that its other parameters name
    update(Job)
    .where(
        Job.id == bindparam("job", type_=String),
        Job.state == JobState.RUNNING,
        Job.lease_owner == bindparam("owner", type_=String),
        Job.attempts == bindparam("attempt", type_=Integer),
    )
    .returning(Job.id)
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
# States of a worker.
RUNNING, INDEX_FULL = "running", "index full"
WORKER_LOST = "The worker stopped {lost} times while working on this; Scrubjay gave up."


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


async def claimable(db: Database, kinds: Sequence[str], limit: int) -> list[str]:
    """Ids of jobs that could be claimed now, in the order they should be."""

    async def find(session: AsyncSession) -> tuple[bool, list[str]]:
        lapsed = await (await session.connection()).scalar(_SOME_LAPSED, {"at": clock.now()})
        return bool(lapsed), await _next_ids(session, kinds, limit)

    some_lapsed, ids = await db.run_read(find)
    if some_lapsed:
        await take_back_lapsed(db)
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
    of the same worker that are not among `jobs` lapse: it has lost track of them.
    """
    if not jobs:
        return set()
    owner = jobs[0].owner
    known = [job.id for job in jobs]
    mine = (Job.lease_owner == owner, Job.state == JobState.RUNNING, Job.id.in_(known))

    async def look(session: AsyncSession) -> list[Any]:
        query = select(Job.id, Job.cancel_requested, Job.attempts, Job.leased_until)
        return list(await session.execute(query.where(*mine)))

    async def extend(session: AsyncSession) -> None:
        until = clock.now() + timedelta(seconds=lease_s)
        await session.execute(update(Job).where(*mine).values(leased_until=until))

    rows = {row.id: row for row in await db.run_read(look)}
    third = clock.now() + timedelta(seconds=lease_s * 2 / 3)
    if any(row.leased_until < third for row in rows.values()):
        await db.run_write(extend)
    return {
        job.id
        for job in jobs
        if job.id not in rows
        or rows[job.id].cancel_requested
        or rows[job.id].attempts != job.attempt
    }


async def take_over_all(
    db: Database, *, kinds: Sequence[str] | None = None, except_owner: str = ""
) -> int:
    """Let every lease of other owners lapse now, on jobs of these kinds; says how many.

    For whoever holds the data folder's worker lock: nobody else can be working on those that only
    workers do. A bot's jobs are not among them.
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


async def finish(
    session: AsyncSession,
    job: ClaimedJob,
    *,
    state: JobState = JobState.DONE,
    error: str = "",
) -> None:
    """End the job in the caller's transaction, with what it achieved.

    Raises `LeaseLost`, which must undo the transaction, when the lease is no longer held: twice
    finished is refused.
    """
    values = {"job": job.id, "owner": job.owner, "attempt": job.attempt, **_ended(state, error)}
    if await (await session.connection()).scalar(_FINISH, values) is None:
        raise _lease_lost(job)


async def fail(
    session: AsyncSession,
    job: ClaimedJob,
    error: str,
    *,
    retry: bool = True,
    retry_in_s: float | None = None,
) -> JobState:
    """Record that this attempt failed; says what became of the job: queued, failed, cancelled.

    `error` is one sentence that says what to do. It is tried again after `retry_in_s` (a service's
    Retry-After, obeyed as it is) or an exponential delay, unless `retry` is False or its attempts
    are used up. The caller sets the document's state to match, in this same transaction.
    """
    row = await _must_hold(session, job)
    if row.cancel_requested:
        _end(row, JobState.CANCELLED, error)
    elif not retry or row.attempts - row.lost >= row.max_attempts:
        _end(row, JobState.FAILED, error)
    else:
        delay_s = backoff_s(row.attempts - row.lost) if retry_in_s is None else retry_in_s
        await _queue_anew(session, row, clock.now() + timedelta(seconds=delay_s))
        row.error = error
    return JobState(row.state)


async def hold(
    session: AsyncSession, job: ClaimedJob, error: str, *, retry_in_s: float | None = None
) -> JobState:
    """Record that the job waits for something else to be mended; says what became of it.

    As `fail`, but however often that happens the job does not end by it.
    """
    row = await _must_hold(session, job)
    # One more is allowed rather than one less counted: the next attempt resumes this one's run.
    row.max_attempts += 1
    return await fail(session, job, error, retry_in_s=retry_in_s)


async def release(session: AsyncSession, job: ClaimedJob) -> JobState:
    """Give the job back without spending an attempt: this worker stops, the job did nothing wrong.

    A job that somebody cancelled meanwhile ends as cancelled; the answer says which it was.
    """
    row = await _must_hold(session, job)
    if row.cancel_requested:
        await _give_up(session, row, JobState.CANCELLED, "")
    else:
        row.attempts -= 1
        await _give_back(session, row)
    return JobState(row.state)


async def cancel(session: AsyncSession, tenant_id: str, job_id: str) -> JobState:
    """Stop a job: at once if it waits, else its worker is asked to; says its state after that."""
    row = await _of_tenant(session, tenant_id, job_id)
    _cancel(row)
    return JobState(row.state)


async def cancel_document(
    session: AsyncSession, tenant_id: str, document_id: str, *, except_job_id: str = ""
) -> int:
    """Stop the jobs of a document, as `cancel` does; says how many.

    A newer revision calls it with its own job excepted.
    """
    query = select(Job).where(
        Job.tenant_id == tenant_id,
        Job.document_id == document_id,
        Job.state.in_([JobState.QUEUED, JobState.RUNNING]),
        Job.id != except_job_id,
    )
    rows = list(await session.scalars(query.with_for_update()))
    for row in rows:
        _cancel(row)
    return len(rows)


async def retry(session: AsyncSession, tenant_id: str, job_id: str) -> JobState:
    """Queue a failed or cancelled job anew, with all its attempts; others stay as they are."""
    row = await _of_tenant(session, tenant_id, job_id)
    if row.state in {JobState.FAILED, JobState.CANCELLED}:
        row.attempts = 0
        row.lost = 0
        row.cancel_requested = False
        row.error = ""
        await _queue_anew(session, row, clock.now())
    return JobState(row.state)


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
    `SOON` is left out: nobody who works until all is done waits for what comes every night.
    """

    async def find(session: AsyncSession) -> datetime | None:
        due = await session.scalar(
            select(func.min(Job.run_at)).where(
                Job.state == JobState.QUEUED,
                Job.kind.in_(kinds),
                Job.run_at < clock.now() + SOON,
            )
        )
        lapse = await session.scalar(
            select(func.min(Job.leased_until)).where(
                Job.state == JobState.RUNNING, Job.kind.in_(kinds)
            )
        )
        return min((time for time in (due, lapse) if time is not None), default=None)

    return await db.run_read(find)


async def take_back_lapsed(db: Database) -> int:
    """Queue the jobs of dead workers anew; says how many leases had lapsed.

    One that was lost `MAX_LOST` times, so that a file that kills its worker does not do so for
    ever, ends as failed, and with it its document and run. One that was to be cancelled ends so.
    """
    return await db.run_write(_take_back_lapsed)


async def forget_ended(db: Database, *, before: datetime) -> int:
    """Delete jobs that ended before a time; says how many."""

    async def purge(session: AsyncSession) -> int:
        ended = [JobState.DONE, JobState.FAILED, JobState.CANCELLED]
        statement = delete(Job).where(Job.state.in_(ended), Job.updated_at < before)
        return len((await session.scalars(statement.returning(Job.id))).all())

    return await db.run_write(purge)


async def beat(
    db: Database,
    worker_id: str,
    *,
    host: str,
    pid: int,
    state: str = RUNNING,
    figures: Mapping[str, float] | None = None,
) -> None:
    """Record that a worker lives, and what it has counted; call it a few times a minute."""

    async def write(session: AsyncSession) -> None:
        row = await session.get(Worker, worker_id)
        if row is None:
            row = Worker(id=worker_id, host=host, pid=pid, started_at=clock.now())
            session.add(row)
        row.state, row.figures = state, dict(figures or {})
        row.heartbeat_at = clock.now()

    await db.run_write(write)


async def live_workers(session: AsyncSession, *, within_s: float) -> list[Worker]:
    """Workers heard of in the last `within_s` seconds, oldest first."""
    since = clock.now() - timedelta(seconds=within_s)
    query = select(Worker).where(Worker.heartbeat_at >= since).order_by(Worker.started_at)
    return list(await session.scalars(query))


async def forget_worker(db: Database, worker_id: str) -> None:
    """Strike off a worker that stops; its jobs must be released or finished before."""

    async def remove(session: AsyncSession) -> None:
        await session.execute(delete(Worker).where(Worker.id == worker_id))

    await db.run_write(remove)


def backoff_s(attempts: int) -> float:
    """The delay after so many attempts: 2, 4, 8 s … up to ten minutes, each up to a half less.

    Without the spread, jobs that failed together (a service was down) would come back together.
    """
    bound = min(LONGEST_RETRY_S, FIRST_RETRY_S * 2.0 ** min(attempts - 1, 32))
    spread = random.uniform(0.5, 1.0)  # noqa: S311 (spreads load, guards nothing)
    return spread * bound


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


async def _take_back_lapsed(session: AsyncSession) -> int:
    query = _LAPSED.with_for_update(skip_locked=True)
    rows = list(await session.scalars(query, {"at": clock.now()}))
    for row in rows:
        if row.cancel_requested:
            await _give_up(session, row, JobState.CANCELLED, "")
            continue
        row.lost += 1
        if row.lost >= MAX_LOST:
            await _give_up(session, row, JobState.FAILED, WORKER_LOST.format(lost=row.lost))
        elif row.lost >= SUSPECT:
            await _queue_anew(session, row, clock.now())
        else:
            await _give_back(session, row)
    await session.flush()
    return len(rows)


async def _give_back(session: AsyncSession, row: Job) -> None:
    """To the head of its lane: this attempt was not the job's fault."""
    # With the turn of now, not its own, which may be long past: a tenant that queues while this
    # job is the head would begin there, and be served before everybody else.
    _queue(row, await served_turn(session, row.lane), clock.now())


async def _queue_anew(session: AsyncSession, row: Job, run_at: datetime) -> None:
    """Behind its tenant's other jobs: an attempt that failed has had its turn."""
    _queue(row, await next_turn(session, row.tenant_id, row.lane), run_at)


def _queue(row: Job, turn: int, run_at: datetime) -> None:
    row.state = JobState.QUEUED
    row.turn = turn
    row.run_at = run_at
    row.lease_owner = ""
    row.leased_until = None
    row.updated_at = clock.now()


def _ended(state: JobState, error: str) -> dict[str, Any]:
    return {
        "state": state,
        "error": error,
        "lease_owner": "",
        "leased_until": None,
        "updated_at": clock.now(),
    }


def _end(row: Job, state: JobState, error: str) -> None:
    for name, value in _ended(state, error).items():
        setattr(row, name, value)


def _cancel(row: Job) -> None:
    if row.state == JobState.QUEUED:
        _end(row, JobState.CANCELLED, "")
    elif row.state == JobState.RUNNING:
        row.cancel_requested = True
        row.updated_at = clock.now()


async def _give_up(session: AsyncSession, row: Job, state: JobState, error: str) -> None:
    """End a job that no worker will end, and with it what it was working on."""
    _end(row, state, error)
    await session.flush()
    await session.execute(
        update(Run)
        .where(Run.job_id == row.id, Run.state == "running")
        .values(state=state, progress=-1.0, error=error, ended_at=clock.now())
    )
    if row.document_id is None:
        return
    others = select(Job.id).where(
        Job.document_id == row.document_id,
        Job.state.in_([JobState.QUEUED, JobState.RUNNING]),
    )
    await session.execute(
        update(Document)
        .where(
            Document.id == row.document_id,
            Document.state.in_([DocumentState.PENDING, DocumentState.RUNNING]),
            ~exists(others),  # a newer job will say what becomes of the document
        )
        .values(
            state=DocumentState(state),
            progress=-1.0 if state is JobState.FAILED else Document.progress,
            error=error,
            error_code="worker_lost" if state is JobState.FAILED else "",
            updated_at=clock.now(),
        )
    )


def _held(job: ClaimedJob) -> tuple[ColumnElement[bool], ...]:
    return (
        Job.id == job.id,
        Job.state == JobState.RUNNING,
        Job.lease_owner == job.owner,
        Job.attempts == job.attempt,  # the same worker may have taken the job over from itself
    )


async def _must_hold(session: AsyncSession, job: ClaimedJob) -> Job:
    row = (await session.scalars(select(Job).where(*_held(job)).with_for_update())).one_or_none()
    if row is None:
        raise _lease_lost(job)
    return row


def _lease_lost(job: ClaimedJob) -> LeaseLost:
    return LeaseLost(f"Job {job.id} is no longer held by {job.owner}; its result is discarded.")


async def _of_tenant(session: AsyncSession, tenant_id: str, job_id: str) -> Job:
    query = select(Job).where(Job.id == job_id, Job.tenant_id == tenant_id)
    row = (await session.scalars(query.with_for_update())).one_or_none()
    if row is None:
        raise NotFound(f"There is no job {job_id}.")
    return row


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
