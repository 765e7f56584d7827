"""The rows of running workers: a heartbeat each, with what the worker has counted."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta

from sqlalchemy import delete, select
from sqlalchemy.ext.asyncio import AsyncSession

from engine import clock
from engine.db.session import Database
from engine.db.tables import Worker

# States of a worker.
RUNNING, INDEX_FULL = "running", "index full"


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
