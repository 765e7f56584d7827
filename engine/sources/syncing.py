"""Syncs of a source, as rows: begun, one step after the other, ended. For `ingestion/source_jobs.py`.

A sync plans, then each scope goes through its phases by steps. A step is a job: what it read and
the cursor behind it are one commit, which counts only where the scope is where the step began. So
a kill, a lost lease or a second worker repeats a step at most, and a cursor is never ahead.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from engine import clock
from engine.db.tables import KnowledgeBase, Source, SourceItem, SourceScope, SyncRun
from engine.domain import Lane
from engine.jobs.kinds import FETCH_ITEMS, PLAN_SYNC, SYNC_SCOPE
from engine.jobs.outbox import append_event, enqueue
from engine.sources.contract import GROUPS_SCOPE, Offers, ScopeRef
from engine.sources.ending import close_if_done
from engine.sources.states import (
    ACCESS,
    ACTIVE,
    CANCELLED,
    DONE,
    FAILED,
    FEED,
    GROUPS,
    LISTING,
    NEEDS_LOGIN,
    RUNNING,
    SWEEP,
    WAITING,
)

SCOPE_MISSING = timedelta(hours=1)  # a scope must be missing so long before its items are
FETCHED_TOGETHER = 20  # items a job fetches
MAX_ATTEMPTS = 20
UNREAD = "unread"  # in a cursor: why the listing did not name everything
WINDOW = "window"  # in a cursor: it never names everything


@dataclass(frozen=True, slots=True)
class SourceRow:
    """A source as its jobs need it."""

    id: str
    tenant_id: str
    kb_id: str
    kind: str
    name: str
    settings: Mapping[str, Any]
    credential_id: str | None


@dataclass(frozen=True, slots=True)
class ScopeStep:
    """The step of a scope that is to be done, as the rows say."""

    source: SourceRow
    scope_id: str
    scope: ScopeRef
    run_id: str
    phase: str
    steps: int
    cursor: Mapping[str, Any]
    feed: Mapping[str, Any]


def row_of(source: Source) -> SourceRow:
    return SourceRow(
        source.id,
        source.tenant_id,
        source.kb_id,
        source.kind,
        source.name,
        source.settings,
        source.credential_id,
    )


async def queue_plan(
    session: AsyncSession,
    source: Source,
    *,
    cause: str,
    at: datetime | None = None,
) -> None:
    """Plan the next sync of a source, in place of whatever was planned before."""
    source.plan += 1
    source.next_sync_at = at or clock.now()
    await enqueue(
        session,
        tenant_id=source.tenant_id,
        kind=PLAN_SYNC,
        payload={"source_id": source.id, "plan": source.plan, "cause": cause},
        lane=Lane.BULK if at is not None else Lane.INTERACTIVE,
        run_at=at,
        max_attempts=MAX_ATTEMPTS,
    )


async def open_plan(session: AsyncSession, source_id: str, plan: int) -> SourceRow | None:
    """The source of a plan; None where another took its place, or nothing is to be synced."""
    source = await session.get(Source, source_id)
    if source is None or source.state != ACTIVE or source.plan != plan:
        return None
    kb = await session.get(KnowledgeBase, source.kb_id)
    return None if kb is None or kb.deleted_at is not None else row_of(source)


async def begin_run(
    session: AsyncSession,
    source_id: str,
    plan: int,
    found: Sequence[ScopeRef],
    offers: Offers,
    *,
    cause: str,
) -> str | None:
    """Begin a sync over the scopes that the source has now; its id, None where it is not wanted."""
    source = await session.get(Source, source_id, with_for_update=True)
    if source is None or source.state != ACTIVE or source.plan != plan:
        return None
    await cancel_run(session, source)
    now = clock.now()
    run = SyncRun(
        id=clock.new_id(),
        tenant_id=source.tenant_id,
        source_id=source.id,
        cause=cause[:40],
        state=RUNNING,
        started_at=now,
        counts={},
        error="",
    )
    session.add(run)
    source.run_id, source.error = run.id, ""
    wanted = list(found)
    if offers.groups:
        wanted.insert(0, ScopeRef("", "groups", GROUPS_SCOPE))
    rows = await scopes_of(session, source.id)
    for ref in wanted:
        row = rows.get(ref.id) or _new_scope(session, source, ref)
        row.title, row.kind, row.missing_since = ref.title[:500], ref.kind[:40], None
        await _begin_scope(session, source, row, run, offers, now)
    for row in rows.values():
        if row.external_id not in {ref.id for ref in wanted}:
            await _miss_scope(session, source, row, run, now)
    await session.flush()
    await _fetch_again(session, source)
    await append_event(session, source.tenant_id, "source.sync_started", _named(source, run))
    await close_if_done(session, source)
    return run.id


async def _fetch_again(session: AsyncSession, source: Source) -> None:
    """Items that a pause left to be fetched have no job any more."""
    due = select(SourceItem.id).where(SourceItem.source_id == source.id, SourceItem.state == "due")
    await queue_fetches(session, source, list(await session.scalars(due)))


async def scopes_of(session: AsyncSession, source_id: str) -> dict[str, SourceScope]:
    """The scopes of a source, by the source's own ids."""
    rows = await session.scalars(select(SourceScope).where(SourceScope.source_id == source_id))
    return {row.external_id: row for row in rows}


def _new_scope(session: AsyncSession, source: Source, ref: ScopeRef) -> SourceScope:
    row = SourceScope(
        id=clock.new_id(),
        tenant_id=source.tenant_id,
        source_id=source.id,
        external_id=ref.id,
        phase=DONE,
        steps=0,
        cursor={},
        feed={},
        generation=0,
        state="new",
        error="",
        withheld=0,
    )
    session.add(row)
    return row


async def _begin_scope(
    session: AsyncSession,
    source: Source,
    row: SourceScope,
    run: SyncRun,
    offers: Offers,
    now: datetime,
) -> None:
    row.run_id = run.id
    if row.phase == DONE or row.state == FAILED:  # else it continues where it was stopped
        row.cursor = {}
        row.phase = _first_phase(row, offers, now)
    row.state, row.error = RUNNING, ""
    await _queue_step(session, source, row)


def _first_phase(row: SourceScope, offers: Offers, now: datetime) -> str:
    if row.kind == GROUPS_SCOPE:
        return GROUPS
    return ACCESS if offers.access else _content_phase(row, offers, now)


def _content_phase(row: SourceScope, offers: Offers, now: datetime) -> str:
    is_fresh = row.listed_at is not None and (now - row.listed_at).total_seconds() < offers.relist_s
    return FEED if offers.feed and row.feed and is_fresh and not row.withheld else LISTING


async def _miss_scope(
    session: AsyncSession, source: Source, row: SourceScope, run: SyncRun, now: datetime
) -> None:
    """A scope that is not in the list: its items are missing once that was so for an hour."""
    if row.missing_since is None:
        row.missing_since = now
    row.run_id, row.phase = None, DONE
    row.state, row.error = "gone", "It is not in the source any more, or can't be seen."
    if now - row.missing_since < SCOPE_MISSING or row.kind == GROUPS_SCOPE:
        return
    row.run_id, row.phase, row.cursor = run.id, SWEEP, {}
    row.generation += 1
    await _queue_step(session, source, row)


async def _queue_step(
    session: AsyncSession, source: Source, row: SourceScope, *, at: datetime | None = None
) -> None:
    await enqueue(
        session,
        tenant_id=source.tenant_id,
        kind=SYNC_SCOPE,
        payload={
            "source_id": source.id,
            "scope_id": row.id,
            "run_id": row.run_id,
            "steps": row.steps,
        },
        lane=Lane.BULK,
        run_at=at,
        max_attempts=MAX_ATTEMPTS,
    )


async def open_step(session: AsyncSession, payload: Mapping[str, Any]) -> ScopeStep | None:
    """What a step's job is to do; None where the scope has moved on, or its sync ended."""
    found = await current(session, payload)
    if found is None:
        return None
    source, row = found
    return ScopeStep(
        source=row_of(source),
        scope_id=row.id,
        scope=ScopeRef(row.external_id, row.title, row.kind),
        run_id=payload["run_id"],
        phase=row.phase,
        steps=row.steps,
        cursor=row.cursor,
        feed=row.feed,
    )


async def current(
    session: AsyncSession, payload: Mapping[str, Any], *, locked: bool = False
) -> tuple[Source, SourceScope] | None:
    """The source and scope of a step, where that step is the one to be done."""
    source = await session.get(Source, payload["source_id"], with_for_update=locked or None)
    row = await session.get(SourceScope, payload["scope_id"], with_for_update=locked or None)
    if source is None or row is None or source.state != ACTIVE:
        return None
    is_its = row.run_id == source.run_id == payload["run_id"] and row.steps == payload["steps"]
    return (source, row) if is_its and row.phase != DONE else None


async def advance(
    session: AsyncSession,
    source: Source,
    row: SourceScope,
    *,
    cursor: Mapping[str, Any] | None,
    offers: Offers,
    pause_s: float = 0.0,
) -> None:
    """The next step of a scope: of its phase with this cursor, else (None) of the next phase."""
    row.steps += 1
    row.error = ""
    if cursor is not None:
        row.cursor = dict(cursor)
    else:
        row.phase = _next_phase(row, offers)
        row.cursor = {key: value for key, value in row.cursor.items() if key == UNREAD}
    if row.phase == DONE:
        _end_scope(row)
        await close_if_done(session, source)
    else:
        row.state = RUNNING
        at = clock.now() + timedelta(seconds=pause_s) if pause_s else None
        await _queue_step(session, source, row, at=at)


def _next_phase(row: SourceScope, offers: Offers) -> str:
    match row.phase:
        case "access":
            return _content_phase(row, offers, clock.now())
        case "listing" if not {UNREAD, WINDOW} & row.cursor.keys():
            return SWEEP
        case "listing" if offers.feed:
            return FEED
        case "sweep" if offers.feed and row.missing_since is None:
            return FEED
        case _:
            return DONE


def _end_scope(row: SourceScope) -> None:
    if row.missing_since is not None:
        row.state = "withheld" if row.withheld else "gone"
    elif row.withheld:
        row.state = "withheld"
    elif reason := row.cursor.get(UNREAD):
        row.state, row.error = "partial", str(reason)
    else:
        row.state = "ok"
    if row.state in {"ok", "withheld"}:
        row.synced_at = clock.now()


async def skip_to(
    session: AsyncSession, source: Source, row: SourceScope, phase: str, *, offers: Offers
) -> None:
    """Begin another phase than the next, as after a cursor that expired."""
    row.phase = phase
    await advance(session, source, row, cursor={}, offers=offers)


async def wait_step(
    session: AsyncSession, source: Source, row: SourceScope, seconds: float, reason: str
) -> None:
    """The same step later, because the source asks for it."""
    row.state = WAITING
    row.error = f"Waits {seconds:.0f} s: {reason}"
    await _queue_step(session, source, row, at=clock.now() + timedelta(seconds=seconds))


async def fail_scope(
    session: AsyncSession, source: Source, row: SourceScope, error: str, *, login: bool = False
) -> None:
    """End a scope's sync with a reason; its items stay, and nothing of it counts as missing."""
    row.steps += 1
    row.phase, row.state, row.error = DONE, FAILED, error
    if login:
        source.state, source.error = NEEDS_LOGIN, error
    await close_if_done(session, source)


async def cancel_run(session: AsyncSession, source: Source) -> None:
    """End the sync that is under way, if one is; what it stored stays."""
    if source.run_id is None:
        return
    run = await session.get(SyncRun, source.run_id, with_for_update=True)
    if run is not None and run.state == RUNNING:
        run.state, run.ended_at = CANCELLED, clock.now()
    source.run_id = None


async def report_plan(
    session: AsyncSession, source_id: str, error: str, *, login: bool = False
) -> None:
    """Say on a source why its sync did not begin, and plan the next one."""
    source = await session.get(Source, source_id, with_for_update=True)
    if source is None or source.state != ACTIVE:
        return
    source.error = error
    if login:
        source.state = NEEDS_LOGIN
        return
    every = source.every_s or 3_600
    await queue_plan(session, source, cause="schedule", at=clock.now() + timedelta(seconds=every))


async def count_in(session: AsyncSession, run_id: str, counts: Counter[str]) -> SyncRun:
    """Add to a sync's counts; the row, locked."""
    run = await session.get_one(SyncRun, run_id, with_for_update=True)
    together = Counter({key: int(value) for key, value in run.counts.items()}) + counts
    run.counts = dict(together)
    return run


async def queue_fetches(
    session: AsyncSession,
    source: Source,
    item_ids: Collection[str],
    *,
    at: datetime | None = None,
) -> None:
    """Queue the fetching of items, some to a job."""
    ids = list(item_ids)
    for start in range(0, len(ids), FETCHED_TOGETHER):
        await enqueue(
            session,
            tenant_id=source.tenant_id,
            kind=FETCH_ITEMS,
            payload={"source_id": source.id, "items": ids[start : start + FETCHED_TOGETHER]},
            lane=Lane.BULK,
            run_at=at,
            max_attempts=MAX_ATTEMPTS,
        )


def _named(source: Source, run: SyncRun) -> dict[str, Any]:
    return {"source_id": source.id, "kb_id": source.kb_id, "run_id": run.id}
