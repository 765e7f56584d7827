"""What is said of sources: how far each is, how its last sync ended, and why something is left out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from engine.db.tables import (
    Credential,
    Document,
    KnowledgeBase,
    Source,
    SourceItem,
    SourceScope,
    SyncRun,
)
from engine.sources.contract import GROUPS_SCOPE, Connector
from engine.sources.opening import kind_settings, trusted_domains
from engine.sources.states import FAILED, GONE, KEPT, LEFT_OUT


@dataclass(frozen=True, slots=True)
class ScopeInfo:
    """How far a scope is; `error` says why it is not further, or what is missing."""

    id: str
    title: str
    state: str
    phase: str
    error: str
    listed_at: datetime | None
    synced_at: datetime | None
    access_at: datetime | None
    withheld: int


@dataclass(frozen=True, slots=True)
class SyncInfo:
    """One sync: `state` is running, ok, partial, withheld, failed or cancelled."""

    id: str
    cause: str
    state: str
    started_at: datetime
    ended_at: datetime | None
    counts: Mapping[str, int]
    error: str


@dataclass(frozen=True, slots=True)
class SourceInfo:
    """A source as its admins see it.

    `items` counts what the source has by what became of it, `documents` those by their state.
    `has_permissions` False: everyone who may read the knowledge base reads all of it. `coverage` is
    the share of what is taken that answers already, of 1.
    """

    id: str
    name: str
    kind: str
    kb_id: str
    kb: str
    state: str
    error: str
    every_s: int
    next_sync_at: datetime | None
    settings: Mapping[str, Any]
    domains: Sequence[str]
    has_permissions: bool
    permissions_as_of: datetime | None
    credential: str
    withheld: int
    items: Mapping[str, int]
    documents: Mapping[str, int]
    scopes: Sequence[ScopeInfo] = field(default=())
    last_run: SyncInfo | None = None
    coverage: float = 1.0


@dataclass(frozen=True, slots=True)
class LeftOutItem:
    """Something a source has and no answer uses, and why."""

    id: str
    title: str
    url: str
    state: str
    reason: str


async def report(
    session: AsyncSession, source: Source, connector: Connector[Any] | None
) -> SourceInfo:
    """How far a source is."""
    kb = await session.get_one(KnowledgeBase, source.kb_id)
    scopes = list(
        await session.scalars(
            select(SourceScope)
            .where(SourceScope.source_id == source.id)
            .order_by(SourceScope.title, SourceScope.external_id)
        )
    )
    content = [row for row in scopes if row.kind != GROUPS_SCOPE]
    read_at = [row.access_at for row in scopes]
    has_permissions = connector is not None and connector.offers.access
    known = has_permissions and bool(read_at) and None not in read_at
    items = await _by(session, SourceItem.state, SourceItem.source_id == source.id)
    documents = await _by(
        session,
        Document.state,
        Document.source_id == source.id,
        Document.deleted_at.is_(None),
    )
    wanted = sum(count for state, count in items.items() if state not in {LEFT_OUT, GONE})
    return SourceInfo(
        id=source.id,
        name=source.name,
        kind=source.kind,
        kb_id=kb.id,
        kb=kb.name,
        state=source.state,
        error=source.error,
        every_s=source.every_s,
        next_sync_at=source.next_sync_at if source.every_s and source.state == "active" else None,
        settings=kind_settings(source.settings),
        domains=trusted_domains(source.settings),
        has_permissions=has_permissions,
        permissions_as_of=min(at for at in read_at if at is not None) if known else None,
        credential=await _credential(session, source),
        withheld=sum(row.withheld for row in content),
        items=items,
        documents=documents,
        coverage=min(1.0, documents.get("ready", 0) / wanted) if wanted else 1.0,
        scopes=[_scope(row) for row in content],
        last_run=await _last_run(session, source.id),
    )


def _scope(row: SourceScope) -> ScopeInfo:
    return ScopeInfo(
        id=row.external_id,
        title=row.title or row.external_id,
        state=row.state,
        phase=row.phase,
        error=row.error,
        listed_at=row.listed_at,
        synced_at=row.synced_at,
        access_at=row.access_at,
        withheld=row.withheld,
    )


async def _credential(session: AsyncSession, source: Source) -> str:
    if source.credential_id is None:
        return ""
    name = await session.scalar(
        select(Credential.name).where(Credential.id == source.credential_id)
    )
    return name or ""


async def _by(session: AsyncSession, column: Any, *where: Any) -> dict[str, int]:  # noqa: ANN401
    rows = await session.execute(select(column, func.count()).where(*where).group_by(column))
    return {str(state): int(count) for state, count in rows}


async def _last_run(session: AsyncSession, source_id: str) -> SyncInfo | None:
    found = await runs_of(session, source_id, 1)
    return found[0] if found else None


async def runs_of(session: AsyncSession, source_id: str, limit: int) -> list[SyncInfo]:
    """The last syncs of a source, the newest first."""
    rows = await session.scalars(
        select(SyncRun)
        .where(SyncRun.source_id == source_id)
        .order_by(SyncRun.started_at.desc(), SyncRun.id.desc())
        .limit(limit)
    )
    return [
        SyncInfo(
            id=row.id,
            cause=row.cause,
            state=row.state,
            started_at=row.started_at,
            ended_at=row.ended_at,
            counts={key: int(value) for key, value in row.counts.items()},
            error=row.error,
        )
        for row in rows
    ]


async def left_out(session: AsyncSession, source: Source, limit: int) -> list[LeftOutItem]:
    """What a source has and no answer uses: left out, failed, or read and not understood."""
    rows = await session.execute(
        select(SourceItem, Document.error, Document.state)
        .outerjoin(Document, Document.id == SourceItem.document_id)
        .where(
            SourceItem.source_id == source.id,
            SourceItem.state.in_([LEFT_OUT, FAILED])
            | ((SourceItem.state == KEPT) & (Document.state == FAILED)),
        )
        .order_by(SourceItem.external_id)
        .limit(limit)
    )
    return [
        LeftOutItem(
            id=row.external_id,
            title=row.title or row.external_id,
            url=row.url,
            state=row.state if row.state != KEPT else FAILED,
            reason=row.reason or error or "",
        )
        for row, error, _ in rows
    ]
