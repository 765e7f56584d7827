"""What a change sets in motion: jobs and events, written in the transaction of their cause.

Every use case that writes calls these on its own session, so that a job exists exactly when the
change it follows does. `jobs.py` takes the jobs on from here.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from types import ModuleType
from typing import Any

from sqlalchemy import Select, bindparam, func, insert, select, union_all
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncSession

from engine import clock
from engine.db.tables import Event, Job, UtcDateTime
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
    at = clock.now()
    values = {
        "id": clock.new_id(),
        "tenant_id": tenant_id,
        "kind": kind,
        "payload": dict(payload),
        "lane": lane,
        "document_id": document_id,
        "idempotency_key": idempotency_key,
        "run_at": run_at or at,
        "max_attempts": max_attempts,
        "correlation_id": correlation_id,
        "at": at,
    }
    statement = _ENQUEUE[session.get_bind().dialect.name]
    created: str | None = await session.scalar(statement, values)
    if created is None:
        created = await session.scalar(
            select(Job.id).where(Job.tenant_id == tenant_id, Job.idempotency_key == idempotency_key)
        )
    if created is None:
        raise Conflict(f"The job {idempotency_key!r} was deleted while it was added; try again.")
    return created


async def served_turn(session: AsyncSession, lane: str) -> int:
    """The turn being served in a lane: of the newest job started or, if later, the next to start."""
    return await session.scalar(_SERVED_TURN, {"lane": lane, "at": clock.now()}) or 0


async def next_turn(session: AsyncSession, tenant_id: str, lane: str) -> int:
    """The turn of a tenant's next job in a lane: start-time fair queueing.

    One after the tenant's last waiting job, but not before the turn that is being served: the
    jobs of two tenants alternate however many one of them has queued, and a tenant that comes
    back after a pause neither waits behind the others' queues nor is owed what it did not use.
    Goyal, Vin and Cheng, SIGCOMM 1996, with every job of the same weight.
    """
    values = {"tenant_id": tenant_id, "lane": lane, "at": clock.now()}
    return await session.scalar(_NEXT_TURN, values) or 0


async def append_event(
    session: AsyncSession, tenant_id: str, kind: str, payload: Mapping[str, Any]
) -> str:
    """The id of a new event, which exists once the caller's transaction commits."""
    event_id = clock.new_id()
    row = {
        "id": event_id,
        "tenant_id": tenant_id,
        "kind": kind,
        "payload": dict(payload),
        "at": clock.now(),
    }
    await (await session.connection()).execute(_ADD_EVENT, [row])
    return event_id


def _latest(*turns: Select[int]) -> Select[int]:
    every = union_all(*turns).subquery()
    return select(func.coalesce(func.max(every.c.turn), 0))


def _turn_statements() -> tuple[Select[int], Select[int]]:
    lane = Job.lane == bindparam("lane")
    queued = Job.state == JobState.QUEUED
    running = select(func.max(Job.turn).label("turn")).where(Job.state == JobState.RUNNING, lane)
    # Jobs that are delayed do not count: their turns are from when they were last queued.
    due = queued, lane, Job.run_at <= bindparam("at", type_=UtcDateTime())
    first = select(Job.turn).where(*due).order_by(Job.turn).limit(1).subquery()
    last = (
        select(func.max(Job.turn).label("turn"))
        .where(Job.tenant_id == bindparam("tenant_id"), queued, lane)
        .subquery()
    )
    served = running, select(first.c.turn)
    return _latest(*served), _latest(*served, select((last.c.turn + 1).label("turn")))


def _enqueue_statement(dialect: ModuleType) -> Any:  # noqa: ANN401 (an Insert of either dialect)
    columns = ["id", "tenant_id", "kind", "payload", "lane", "document_id", "idempotency_key"]
    columns += ["run_at", "max_attempts", "correlation_id"]
    values: dict[str, Any] = {name: bindparam(name) for name in columns}
    values |= {"turn": _NEXT_TURN.scalar_subquery(), "created_at": bindparam("at")}
    return (
        dialect.insert(Job.__table__)  # the table: an ORM insert takes twice as long
        .values(**values, updated_at=bindparam("at"))
        .on_conflict_do_nothing(index_elements=["tenant_id", "idempotency_key"])
        .returning(Job.id)
    )


# Built once: putting the expressions together would take longer than the database does.
_ADD_EVENT = insert(Event)
_SERVED_TURN, _NEXT_TURN = _turn_statements()
_ENQUEUE = {
    "postgresql": _enqueue_statement(postgresql),
    "sqlite": _enqueue_statement(sqlite),
}
