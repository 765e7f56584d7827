"""How a sync ends: once every scope is through and nothing is left to fetch, honestly.

`ok` only where every scope was read whole and every item taken or left out on purpose; `withheld`
where deletions wait for a yes; `failed` where no scope could be read; else `partial`.
"""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from engine import clock
from engine.db.tables import Source, SourceItem, SourceScope, SyncRun
from engine.domain import Lane
from engine.jobs.kinds import PLAN_SYNC
from engine.jobs.outbox import append_event, enqueue
from engine.sources.states import (
    CANCELLED,
    DONE,
    DUE,
    FAILED,
    OK,
    PARTIAL,
    RUNNING,
    WITHHELD,
)


async def close_if_done(session: AsyncSession, source: Source) -> None:
    """End the sync of a source that has nothing more to do, and plan the next."""
    if source.run_id is None:
        return
    await session.flush()
    open_scope = select(SourceScope.id).where(
        SourceScope.source_id == source.id,
        SourceScope.run_id == source.run_id,
        SourceScope.phase != DONE,
    )
    due = select(SourceItem.id).where(SourceItem.source_id == source.id, SourceItem.state == DUE)
    if await session.scalar(open_scope.limit(1)) or await session.scalar(due.limit(1)):
        return
    run = await session.get(SyncRun, source.run_id, with_for_update=True)
    source.run_id = None
    if run is None or run.state != RUNNING:
        return
    run.state, run.error = await _outcome(session, source)
    run.ended_at = clock.now()
    await append_event(
        session,
        source.tenant_id,
        "source.synced",
        {"source_id": source.id, "run_id": run.id, "state": run.state},
    )
    if source.every_s and source.state == "active":
        await _plan_next(session, source, run)


async def _outcome(session: AsyncSession, source: Source) -> tuple[str, str]:
    rows = await session.execute(
        select(SourceScope.state, SourceScope.title, SourceScope.error).where(
            SourceScope.source_id == source.id, SourceScope.missing_since.is_(None)
        )
    )
    scopes = [(str(state), str(title), str(error)) for state, title, error in rows]
    states = {state for state, *_ in scopes}
    waiting = await session.scalar(
        select(func.sum(SourceScope.withheld)).where(SourceScope.source_id == source.id)
    )
    failed = await session.scalar(
        select(func.count()).where(SourceItem.source_id == source.id, SourceItem.state == FAILED)
    )
    reasons = [f"{title or 'all'}: {error}" for _, title, error in scopes if error]
    if states and states <= {FAILED}:
        return FAILED, "; ".join(reasons[:3])
    if waiting:
        return WITHHELD, f"{waiting} deletions wait for your yes."
    if failed:
        reasons.append(f"{failed} items could not be read")
    if reasons or states & {FAILED, PARTIAL, CANCELLED}:
        return PARTIAL, "; ".join(reasons[:3])
    return OK, ""


async def _plan_next(session: AsyncSession, source: Source, run: SyncRun) -> None:
    at = max(clock.now(), run.started_at + timedelta(seconds=source.every_s))
    source.plan += 1
    source.next_sync_at = at
    await enqueue(
        session,
        tenant_id=source.tenant_id,
        kind=PLAN_SYNC,
        payload={"source_id": source.id, "plan": source.plan, "cause": "schedule"},
        lane=Lane.BULK,
        run_at=at,
        max_attempts=20,
    )
