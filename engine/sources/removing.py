"""Taking a source away: its documents answer no more at once, its rows go in small transactions."""

from __future__ import annotations

from sqlalchemy import delete, select
from sqlalchemy.ext.asyncio import AsyncSession

from engine.db.tables import (
    AccessEdge,
    AccessNode,
    Document,
    Source,
    SourceContainer,
    SourceItem,
    SourceScope,
    SyncRun,
)
from engine.documents.lifecycle import take_off_source
from engine.domain import Lane
from engine.jobs.kinds import CLEAN, REMOVE_SOURCE
from engine.jobs.outbox import enqueue
from engine.sources.states import REMOVING

AT_A_TIME = 100
REMOVED = "removed"  # the kind of a source of which only its documents' tombstones are left


async def take_off_all(session: AsyncSession, source: Source) -> int:
    """Let nothing of a source answer from this transaction on; how many documents did."""
    source.state = REMOVING
    documents = await take_off_source(session, source)
    await enqueue(
        session,
        tenant_id=source.tenant_id,
        kind=REMOVE_SOURCE,
        payload={"source_id": source.id},
        lane=Lane.INTERACTIVE,
        max_attempts=20,
    )
    return documents


async def remove_some(session: AsyncSession, source_id: str) -> bool:
    """Queue the clean-up of some of its documents, then its rows; False once nothing is left."""
    source = await session.get(Source, source_id, with_for_update=True)
    if source is None or source.state != REMOVING:
        return False
    rows = list(
        await session.scalars(
            select(Document)
            .where(Document.source_id == source_id, Document.title != "")
            .limit(AT_A_TIME)
        )
    )
    for document in rows:
        document.title, document.url, document.details = "", "", {}
        await enqueue(
            session,
            tenant_id=source.tenant_id,
            kind=CLEAN,
            payload={"document_id": document.id},
            lane=Lane.BULK,
        )
    if rows:
        return True
    nodes = select(AccessNode.id).where(AccessNode.source_id == source_id)
    await session.execute(delete(AccessEdge).where(AccessEdge.node_id.in_(nodes)))
    for table in (AccessNode, SourceItem, SourceContainer, SourceScope, SyncRun):
        await session.execute(delete(table).where(table.source_id == source_id))
    # The row stays: tombstones of documents refer to it.
    source.settings, source.cursor, source.name, source.error = {}, {}, "", ""
    source.credential_id = None
    source.kind, source.state = REMOVED, REMOVED
    return False
