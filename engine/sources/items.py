"""What a step says of items, written: new and changed ones, deletions, and what is left out.

An item whose version is known is touched and no more. One that came with its content has its
document in the same transaction; the others wait as `due` for the job that fetches them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import timedelta

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from engine import clock
from engine.db.json_arrays import array_value, items_of
from engine.db.tables import Source, SourceItem, SourceScope
from engine.sources.containers import Readers, readers_of
from engine.sources.contract import Change, Gone, KnownItem, LeftOut, Put
from engine.sources.source_documents import (
    StoredContent,
    move_document,
    put_document,
    retire_item,
)
from engine.sources.states import DUE, FAILED, GONE, KEPT, LEFT_OUT

RETRY_AFTER = timedelta(hours=6)  # until a later sync tries an item again that failed


async def commit_changes(
    session: AsyncSession,
    source: Source,
    scope: SourceScope,
    changes: Sequence[Change],
    contents: Mapping[str, StoredContent],
    *,
    has_access: bool,
) -> tuple[Counter[str], list[str]]:
    """Write what a step named; counts by outcome, and the ids of rows that are to be fetched."""
    last = {change.id: change for change in changes}  # a page may name one twice: the last counts
    rows = await _rows(session, source, last)
    counts: Counter[str] = Counter()
    due: list[str] = []
    put = [change for change in last.values() if isinstance(change, Put)]
    readers = await item_readers(
        session, source, scope, {_container(p, scope) for p in put}, has_access=has_access
    )
    for item_id in sorted(last):
        change = last[item_id]
        row = rows.get(item_id)
        match change:
            case Gone():
                if row is not None and row.state != GONE:
                    await let_go(session, row)
                    counts["removed"] += 1
            case LeftOut():
                row = row or _new(source, scope, item_id)
                await _leave_out(session, scope, row, change)
                counts["left_out"] += 1
            case Put():
                row = row or _new(source, scope, item_id)
                container = _container(change, scope)
                outcome = await _put(
                    session, source, scope, row, change, contents.get(item_id), readers[container]
                )
                counts[outcome] += 1
                if outcome == DUE:
                    due.append(row.id)
    await session.flush()
    counts["listed"] += len(put)
    return counts, due


async def item_readers(
    session: AsyncSession,
    source: Source,
    scope: SourceScope,
    containers: set[str],
    *,
    has_access: bool,
) -> dict[str, Readers]:
    """Who may read what is in these containers; a source without permissions has the KB's readers."""
    if not has_access:
        everyone = Readers((f"kb:{source.kb_id}",))
        return dict.fromkeys(containers, everyone)
    return await readers_of(session, source, scope.id, containers)


def _container(change: Put, scope: SourceScope) -> str:
    return change.container or scope.external_id


def _new(source: Source, scope: SourceScope, item_id: str) -> SourceItem:
    return SourceItem(
        id=clock.new_id(),
        tenant_id=source.tenant_id,
        source_id=source.id,
        scope_id=scope.id,
        external_id=item_id,
        container="",
        version="",
        state=DUE,
        reason="",
        attempts=0,
    )


async def _rows(
    session: AsyncSession, source: Source, ids: Mapping[str, Change]
) -> dict[str, SourceItem]:
    found = await session.scalars(
        select(SourceItem).where(
            SourceItem.source_id == source.id,
            SourceItem.external_id.in_(select(items_of(array_value(sorted(ids))))),
        )
    )
    return {row.external_id: row for row in found}


async def _put(
    session: AsyncSession,
    source: Source,
    scope: SourceScope,
    row: SourceItem,
    change: Put,
    content: StoredContent | None,
    readers: Readers,
) -> str:
    is_known = row.kept_version == change.version and row.state == KEPT
    moved = row.container != _container(change, scope)
    row.scope_id, row.generation, row.missing_since = scope.id, scope.generation, None
    row.container = _container(change, scope)
    if not is_known and row.version == change.version and _rests(row):
        return "left_out"
    _describe(row, change)
    session.add(row)
    if is_known:
        row.details = dict(change.details) or row.details
        if moved:
            await move_document(session, row, readers)
        return "moved" if moved else "unchanged"
    if content is not None:
        is_new = await put_document(session, source, row, content, readers)
        settle(row)
        return "changed" if is_new else "unchanged"
    if row.state == DUE and row.version == change.version and row.attempts:
        return "waiting"
    row.state, row.reason, row.attempts, row.retry_at = DUE, "", 0, None
    return DUE


def _rests(row: SourceItem) -> bool:
    """Whether this version was tried and is not to be tried again yet."""
    if row.state == LEFT_OUT:
        return True
    return row.state == FAILED and row.retry_at is not None and row.retry_at > clock.now()


def _describe(row: SourceItem, change: Put) -> None:
    row.version = change.version
    row.title, row.url = change.title[:500], change.url[:2000]
    row.filename, row.size_bytes = change.filename[:500], change.size_bytes
    row.source_updated_at, row.details = change.updated_at, dict(change.details)


def settle(row: SourceItem) -> None:
    """The content of the row's version is here."""
    row.kept_version, row.state, row.reason = row.version, KEPT, ""
    row.attempts, row.retry_at = 0, None


async def _leave_out(
    session: AsyncSession, scope: SourceScope, row: SourceItem, change: LeftOut
) -> None:
    """Keep why; what was there of it before answers no longer."""
    session.add(row)
    row.scope_id, row.generation, row.missing_since = scope.id, scope.generation, None
    row.title = change.title[:500] or row.title or change.id[:500]
    row.url = change.url[:2000] or row.url
    row.state, row.reason, row.version, row.kept_version = LEFT_OUT, change.reason, "", None
    await retire_item(session, row)


async def leave_out(session: AsyncSession, row: SourceItem, reason: str) -> None:
    """An item whose content is not taken, and why."""
    row.state, row.reason, row.kept_version = LEFT_OUT, reason, None
    await retire_item(session, row)


async def let_go(session: AsyncSession, row: SourceItem) -> bool:
    """An item is no longer there: nor is its document; whether there was one."""
    row.state, row.reason, row.kept_version = GONE, "", None
    row.missing_since, row.attempts, row.retry_at = None, 0, None
    return await retire_item(session, row)


async def put_fetched(
    session: AsyncSession,
    source: Source,
    row: SourceItem,
    content: StoredContent,
    *,
    has_access: bool,
) -> bool:
    """The content that was fetched for a row; whether it was anything new."""
    scope = await session.get_one(SourceScope, row.scope_id)
    readers = await item_readers(session, source, scope, {row.container}, has_access=has_access)
    is_new = await put_document(session, source, row, content, readers[row.container])
    settle(row)
    return is_new


async def known_items(
    session: AsyncSession, source_id: str, ids: Sequence[str]
) -> dict[str, KnownItem]:
    """Of these items those whose content is here, as they were last named."""
    rows = await session.scalars(
        select(SourceItem).where(
            SourceItem.source_id == source_id,
            SourceItem.state == KEPT,
            SourceItem.external_id.in_(select(items_of(array_value(sorted(ids))))),
        )
    )
    return {row.external_id: KnownItem(row.version, row.details) for row in rows}


async def count_present(session: AsyncSession, source_id: str) -> int:
    """How many documents of a source answer, or are on their way."""
    found = select(func.count()).where(
        SourceItem.source_id == source_id,
        SourceItem.document_id.is_not(None),
        SourceItem.state != GONE,
    )
    return int(await session.scalar(found) or 0)
