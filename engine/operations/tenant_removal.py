"""Deleting a tenant with everything it has: its part of the index, its bytes and its rows.

A worker's job calls this, in this order; each step may be repeated, so that a job that was killed
continues where it was. The job and the last audit row belong to the operator's tenant.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from sqlalchemy import Table, delete, exists, select, tuple_, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased

from engine import clock
from engine.access import auditing
from engine.db.session import Database
from engine.db.tables import Base, Ephemeral, Job, Membership, Tenant, User
from engine.domain import JobState
from engine.jobs import endings, outbox
from engine.jobs.leases import ClaimedJob

BATCH = 500  # rows a transaction
AGAIN_S = 2.0  # for running jobs to notice that they are to stop


async def stop_jobs(session: AsyncSession, tenant_id: str) -> bool:
    """Ask the running jobs of a tenant that is being deleted to stop; whether any still runs."""
    running = (Job.tenant_id == tenant_id, Job.state == JobState.RUNNING)
    await session.execute(update(Job).where(*running).values(cancel_requested=True))
    held = exists().where(*running, Job.leased_until > clock.now())
    return bool(await session.scalar(select(held)))


async def later(session: AsyncSession, job: ClaimedJob) -> None:
    """End a deletion that came too early, and queue it once more."""
    await endings.finish(session, job)
    await outbox.enqueue(
        session,
        tenant_id=job.tenant_id,
        kind=job.kind,
        payload=job.payload,
        lane=job.lane,
        run_at=clock.now() + timedelta(seconds=AGAIN_S),
    )


async def delete_rows(db: Database, tenant_id: str) -> dict[str, int]:
    """Delete every row of a tenant but its own, in short transactions; how many by table.

    Accounts of people who are in no other tenant go first: what is theirs alone goes with them.
    """
    counts: dict[str, int] = {}
    while deleted := await db.run_write(lambda session: _forget_people(session, tenant_id)):
        counts["user"] = counts.get("user", 0) + deleted
    for table in reversed(Base.metadata.sorted_tables):
        if "tenant_id" not in table.c:
            continue
        while deleted := await db.run_write(_batch(table, tenant_id)):
            counts[table.name] = counts.get(table.name, 0) + deleted
    await db.run_write(lambda session: _forget_ephemeral(session, tenant_id))
    return counts


async def finish(
    session: AsyncSession, operator: str, tenant_id: str, key: str, counts: Mapping[str, int]
) -> None:
    """Delete the tenant's own row, and say in the operator's log what went with it."""
    gone = await session.execute(delete(Tenant).where(Tenant.id == tenant_id).returning(Tenant.id))
    if gone.first() is not None:
        detail = {"key": key, "rows": dict(counts)}
        await auditing.append(session, operator, "system", "tenant.deleted", tenant_id, detail)


def _batch(table: Table, tenant_id: str) -> Any:  # noqa: ANN401 (a use case of `run_write`)
    key = tuple_(*table.primary_key.columns)
    some = select(*table.primary_key.columns).where(table.c.tenant_id == tenant_id).limit(BATCH)

    async def use_case(session: AsyncSession) -> int:
        ids = [tuple(row) for row in await session.execute(some)]
        if ids:
            await session.execute(delete(table).where(key.in_(ids)))
        return len(ids)

    return use_case


async def _forget_people(session: AsyncSession, tenant_id: str) -> int:
    other = aliased(Membership)
    elsewhere = exists().where(other.user_id == Membership.user_id, other.tenant_id != tenant_id)
    some = select(Membership.user_id).where(Membership.tenant_id == tenant_id, ~elsewhere)
    ids = list(await session.scalars(some.limit(BATCH)))
    await session.execute(delete(User).where(User.id.in_(ids)))
    return len(ids)


async def _forget_ephemeral(session: AsyncSession, tenant_id: str) -> None:
    named = Ephemeral.key.contains(tenant_id, autoescape=True)
    await session.execute(delete(Ephemeral).where(named))
