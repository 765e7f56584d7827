"""What a job's row changes to: queued again, ended or cancelled, its document and run with it.

`leases.py` and `endings.py` call this with rows they have locked.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import exists, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from engine import clock
from engine.db.tables import Document, Job, Run
from engine.domain import DocumentState, JobState
from engine.jobs.outbox import next_turn, served_turn


async def give_back(session: AsyncSession, row: Job) -> None:
    """To the head of its lane: this attempt was not the job's fault."""
    # With the turn of now, not its own, which may be long past: a tenant that queues while this
    # job is the head would begin there, and be served before everyone else.
    _queue(row, await served_turn(session, row.lane), clock.now())
    await _no_longer_running(session, row)


async def queue_again(session: AsyncSession, row: Job, run_at: datetime) -> None:
    """Behind its tenant's other jobs: an attempt that failed has had its turn."""
    _queue(row, await next_turn(session, row.tenant_id, row.lane), run_at)
    await _no_longer_running(session, row)


async def _no_longer_running(session: AsyncSession, row: Job) -> None:
    """The document of a job that waits again is pending, whoever left it running."""
    if row.document_id is not None:
        await session.execute(
            update(Document)
            .where(Document.id == row.document_id, Document.state == DocumentState.RUNNING)
            .values(state=DocumentState.PENDING, updated_at=clock.now())
        )


def _queue(row: Job, turn: int, run_at: datetime) -> None:
    row.state = JobState.QUEUED
    row.turn = turn
    row.run_at = run_at
    row.lease_owner = ""
    row.leased_until = None
    row.updated_at = clock.now()


def ended_values(state: JobState, error: str) -> dict[str, Any]:
    """The columns of a job that ends."""
    return {
        "state": state,
        "error": error,
        "lease_owner": "",
        "leased_until": None,
        "updated_at": clock.now(),
    }


def end_row(row: Job, state: JobState, error: str) -> None:
    """End the job."""
    for name, value in ended_values(state, error).items():
        setattr(row, name, value)


def cancel_row(row: Job) -> None:
    """End a job that waits; ask the worker of one that runs to stop."""
    if row.state == JobState.QUEUED:
        end_row(row, JobState.CANCELLED, "")
    elif row.state == JobState.RUNNING:
        row.cancel_requested = True
        row.updated_at = clock.now()


async def give_up(session: AsyncSession, row: Job, state: JobState, error: str) -> None:
    """End a job that no worker will end, and with it what it was working on."""
    end_row(row, state, error)
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
