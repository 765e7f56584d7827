"""Ending jobs: finished, failed, held, released, cancelled, and queued again by a person.

Everything here runs in the caller's transaction, beside what the job achieved, and raises
`LeaseLost` where the job is no longer held.
"""

from __future__ import annotations

import random
from datetime import timedelta

from sqlalchemy import Integer, String, bindparam, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from engine import clock
from engine.db.tables import Job
from engine.domain import JobState
from engine.errors import NotFound
from engine.jobs.leases import ClaimedJob, lease_lost, must_hold
from engine.jobs.states import cancel_row, end_row, ended_values, give_back, give_up, queue_again

FIRST_RETRY_S = 2.0
LONGEST_RETRY_S = 600.0

# Built once: putting a statement together takes longer than the database does.
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
    values = {
        "job": job.id,
        "owner": job.owner,
        "attempt": job.attempt,
        **ended_values(state, error),
    }
    if await (await session.connection()).scalar(_FINISH, values) is None:
        raise lease_lost(job)


async def fail(
    session: AsyncSession,
    job: ClaimedJob,
    error: str,
    *,
    retry: bool = True,
    retry_in_s: float | None = None,
) -> JobState:
    """Record that this attempt failed; returns the job's state: queued, failed or cancelled.

    `error` is one sentence that says what to do. It is tried again after `retry_in_s` (a service's
    Retry-After, obeyed as it is) or an exponential delay, unless `retry` is False or its attempts
    are used up. The caller sets the document's state to match, in this same transaction.
    """
    row = await must_hold(session, job)
    if row.cancel_requested:
        end_row(row, JobState.CANCELLED, error)
    elif not retry or row.attempts - row.lost >= row.max_attempts:
        end_row(row, JobState.FAILED, error)
    else:
        delay_s = backoff_s(row.attempts - row.lost) if retry_in_s is None else retry_in_s
        await queue_again(session, row, clock.now() + timedelta(seconds=delay_s))
        row.error = error
    return JobState(row.state)


async def hold(
    session: AsyncSession, job: ClaimedJob, error: str, *, retry_in_s: float | None = None
) -> JobState:
    """Record that the job waits for something else to be fixed; returns its state.

    As `fail`, but however often that happens the job does not end by it.
    """
    row = await must_hold(session, job)
    # One more is allowed rather than one less counted: the next attempt resumes this one's run.
    row.max_attempts += 1
    return await fail(session, job, error, retry_in_s=retry_in_s)


async def release(session: AsyncSession, job: ClaimedJob) -> JobState:
    """Give the job back without spending an attempt: this worker stops, the job did nothing wrong.

    A job that was cancelled meanwhile ends as cancelled; the returned state says which it was.
    """
    row = await must_hold(session, job)
    if row.cancel_requested:
        await give_up(session, row, JobState.CANCELLED, "")
    else:
        row.attempts -= 1
        await give_back(session, row)
    return JobState(row.state)


async def cancel(session: AsyncSession, tenant_id: str, job_id: str) -> JobState:
    """Stop a job: at once if it waits, else its worker is asked to; returns the new state."""
    row = await _of_tenant(session, tenant_id, job_id)
    cancel_row(row)
    return JobState(row.state)


async def cancel_document(
    session: AsyncSession, tenant_id: str, document_id: str, *, except_job_id: str = ""
) -> int:
    """Stop the jobs of a document, as `cancel` does; returns how many.

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
        cancel_row(row)
    return len(rows)


async def retry(session: AsyncSession, tenant_id: str, job_id: str) -> JobState:
    """Queue a failed or cancelled job again, with all its attempts; others stay as they are."""
    row = await _of_tenant(session, tenant_id, job_id)
    if row.state in {JobState.FAILED, JobState.CANCELLED}:
        row.attempts = 0
        row.lost = 0
        row.cancel_requested = False
        row.error = ""
        await queue_again(session, row, clock.now())
    return JobState(row.state)


def backoff_s(attempts: int) -> float:
    """The delay after so many attempts: 2, 4, 8 s … up to ten minutes, each up to a half less.

    Without the spread, jobs that failed together (a service was down) would come back together.
    """
    bound = min(LONGEST_RETRY_S, FIRST_RETRY_S * 2.0 ** min(attempts - 1, 32))
    spread = random.uniform(0.5, 1.0)  # noqa: S311 (spreads load, guards nothing)
    return spread * bound


async def _of_tenant(session: AsyncSession, tenant_id: str, job_id: str) -> Job:
    query = select(Job).where(Job.id == job_id, Job.tenant_id == tenant_id)
    row = (await session.scalars(query.with_for_update())).one_or_none()
    if row is None:
        raise NotFound(f"There is no job {job_id}.")
    return row
