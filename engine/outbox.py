"""What a change sets in motion: jobs and events, written in the transaction of their cause.

Every use case that writes calls these on its own session, so that a job exists exactly when the
change it follows does. `jobs.py` takes the jobs on from here.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import ScalarSelect, Select, func, insert, select, union_all
from sqlalchemy.ext.asyncio import AsyncSession

from engine import clock
from engine.db.session import upsert
from engine.db.tables import Event, Job
from engine.domain import JobState, Lane
from engine.errors import Conflict


async def enqueue(
    session: AsyncSession,
    *,
    tenant_id: str,
    kind: str,
    payload: Mapping[str, Any],
    lane: Lane,
    document_id: str | None = None,
    idempotency_key: str | None = None,
    run_at: datetime | None = None,
    max_attempts: int = 5,
    correlation_id: str = "",
) -> str:
    """The id of a new job, which exists once the caller's transaction commits.

    A tenant's second job under the same `idempotency_key` is its first: that one's id comes back,
    whatever became of it. `run_at`: not before.
    """
    job_id = clock.new_id()
    values: dict[str, Any] = {
        "id": job_id,
        "tenant_id": tenant_id,
        "kind": kind,
        "payload": dict(payload),
        "lane": lane,
        "turn": next_turn(tenant_id, lane),
        "document_id": document_id,
        "idempotency_key": idempotency_key,
        "run_at": run_at or clock.now(),
        "max_attempts": max_attempts,
        "correlation_id": correlation_id,
    }
    statement = (
        upsert(session, Job)
        .values(values)
        .on_conflict_do_nothing(index_elements=["tenant_id", "idempotency_key"])
    )
    created: str | None = await session.scalar(statement.returning(Job.id))
    if created is None:
        created = await session.scalar(
            select(Job.id).where(Job.tenant_id == tenant_id, Job.idempotency_key == idempotency_key)
        )
    if created is None:
        raise Conflict(f"The job {idempotency_key!r} was deleted while it was added; try again.")
    return created


def served_turn(lane: Lane) -> ScalarSelect[int]:
    """The turn being served in a lane, as SQL: of the newest job begun or the next to begin."""
    return _latest(*_served(lane))


def next_turn(tenant_id: str, lane: Lane) -> ScalarSelect[int]:
    """The turn of a tenant's next job in a lane, as SQL: start-time fair queueing.

    One after the tenant's last waiting job, but not before the turn that is being served: the
    jobs of two tenants alternate however many one of them has queued, and a tenant that comes
    back after a pause neither waits behind the others' queues nor is owed what it did not use.
    Goyal, Vin and Cheng, SIGCOMM 1996, with every job of the same weight.
    """
    own = select((func.max(Job.turn) + 1).label("turn")).where(
        Job.tenant_id == tenant_id, Job.state == JobState.QUEUED, Job.lane == lane
    )
    return _latest(own, *_served(lane))


def _served(lane: Lane) -> tuple[Select[int], Select[int]]:
    running = select(func.max(Job.turn).label("turn")).where(
        Job.state == JobState.RUNNING, Job.lane == lane
    )
    # Jobs that are delayed do not count: their turns are from when they last failed.
    head = (
        select(Job.turn)
        .where(Job.state == JobState.QUEUED, Job.lane == lane, Job.run_at <= clock.now())
        .order_by(Job.turn)
        .limit(1)
        .subquery()
    )
    return running, select(head.c.turn)


def _latest(*turns: Select[int]) -> ScalarSelect[int]:
    every = union_all(*turns).subquery()
    return select(func.coalesce(func.max(every.c.turn), 0)).scalar_subquery()


async def append_event(
    session: AsyncSession, tenant_id: str, kind: str, payload: Mapping[str, Any]
) -> str:
    """The id of a new event, which exists once the caller's transaction commits."""
    event_id = clock.new_id()
    await session.execute(
        insert(Event).values(
            id=event_id, tenant_id=tenant_id, kind=kind, payload=dict(payload), at=clock.now()
        )
    )
    return event_id
