"""The items whose content a job fetches: which, and what became of each. For `FETCH_ITEMS` jobs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from engine import clock
from engine.db.tables import KnowledgeBase, Source, SourceItem, SourceScope
from engine.jobs import endings
from engine.jobs.leases import ClaimedJob
from engine.sources import items, syncing
from engine.sources.contract import ItemRef, ScopeRef, SourceRefused
from engine.sources.ending import close_if_done
from engine.sources.source_documents import StoredContent
from engine.sources.states import ACTIVE, DUE, FAILED, NEEDS_LOGIN

TRIES = 3
FIRST_RETRY_S = 30.0


@dataclass(frozen=True, slots=True)
class DueItem:
    """An item to be fetched, as its row says."""

    row_id: str
    ref: ItemRef
    scope: ScopeRef


@dataclass(frozen=True, slots=True)
class DueItems:
    """The items of a job, their source, and the formats that its knowledge base takes."""

    source: syncing.SourceRow
    items: Sequence[DueItem]
    formats: Sequence[str]


async def open_items(
    session: AsyncSession, source_id: str, row_ids: Sequence[str]
) -> DueItems | None:
    """Those of a job's items that are still to be fetched; None where the source is not read now."""
    source = await session.get(Source, source_id)
    if source is None or source.state != ACTIVE:
        return None
    kb = await session.get_one(KnowledgeBase, source.kb_id)
    rows = await session.execute(
        select(SourceItem, SourceScope)
        .join(SourceScope, SourceScope.id == SourceItem.scope_id)
        .where(SourceItem.id.in_(row_ids), SourceItem.state == DUE)
        .order_by(SourceItem.external_id)
    )
    found = [
        DueItem(
            row.id,
            ItemRef(
                row.external_id,
                row.version,
                row.title,
                row.url,
                row.filename,
                row.container,
                row.size_bytes,
                row.details,
            ),
            ScopeRef(scope.external_id, scope.title, scope.kind),
        )
        for row, scope in rows
    ]
    return DueItems(syncing.row_of(source), found, kb.formats)


async def commit_fetched(
    session: AsyncSession,
    item: DueItem,
    content: StoredContent | None,
    *,
    reason: str,
    has_access: bool,
) -> None:
    """Keep an item's content; with a reason it is left out, without either it is gone."""
    row = await _row(session, item)
    if row is None:
        return
    source = await session.get_one(Source, row.source_id)
    if reason:
        await items.leave_out(session, row, reason)
        counts = Counter(left_out=1)
    elif content is None:
        await items.let_go(session, row)
        counts = Counter(removed=1)
    else:
        is_new = await items.put_fetched(session, source, row, content, has_access=has_access)
        counts = Counter(changed=int(is_new))
    if source.run_id is not None:
        await syncing.count_in(session, source.run_id, counts)


async def _row(session: AsyncSession, item: DueItem) -> SourceItem | None:
    """The row, where it is still due in the version that was fetched."""
    row = await session.get(SourceItem, item.row_id, with_for_update=True)
    is_its = row is not None and row.state == DUE and row.version == item.ref.version
    return row if is_its else None


async def try_later(session: AsyncSession, item: DueItem, error: str) -> None:
    """An item could not be fetched: some more times a little later, then not before long."""
    row = await _row(session, item)
    if row is None:
        return
    row.attempts += 1
    row.reason = error
    source = await session.get_one(Source, row.source_id)
    if row.attempts < TRIES:
        at = clock.now() + timedelta(seconds=FIRST_RETRY_S * 4 ** (row.attempts - 1))
        row.retry_at = at
        await syncing.queue_fetches(session, source, [row.id], at=at)
        return
    row.state, row.retry_at = FAILED, clock.now() + items.RETRY_AFTER
    if source.run_id is not None:
        await syncing.count_in(session, source.run_id, Counter(failed=1))


async def end_fetch(session: AsyncSession, source_id: str) -> None:
    """A job's items are through: the sync may be, too."""
    source = await session.get(Source, source_id, with_for_update=True)
    if source is not None:
        await close_if_done(session, source)


async def fetch_later(session: AsyncSession, payload: Mapping[str, Any], at: datetime) -> None:
    """Fetch what is left of a job's items at a time."""
    source = await session.get(Source, payload["source_id"])
    if source is not None:
        await syncing.queue_fetches(session, source, payload["items"], at=at)


async def refuse(
    session: AsyncSession,
    job: ClaimedJob,
    refusal: SourceRefused,
) -> None:
    """The source takes nothing from us any more: its items wait for a person."""
    await endings.finish(session, job)
    if refusal.login:
        source = await session.get(Source, job.payload["source_id"], with_for_update=True)
        if source is not None and source.state == ACTIVE:
            source.state, source.error = NEEDS_LOGIN, str(refusal)
        return
    await give_up(session, job.payload["source_id"], job.payload["items"], str(refusal))


async def give_up(
    session: AsyncSession, source_id: str, row_ids: Sequence[str], error: str
) -> None:
    """Leave a job's items with the reason, until a later sync tries them again."""
    rows = await session.scalars(
        select(SourceItem).where(SourceItem.id.in_(row_ids), SourceItem.state == DUE)
    )
    for row in rows:
        row.state, row.reason = FAILED, error
        row.retry_at = clock.now() + items.RETRY_AFTER
    await end_fetch(session, source_id)
