"""What a tenant takes up: in the database, in the blob store, in the index, and of the workers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy import func, select

from engine.access import gate
from engine.db.session import Database
from engine.db.tables import Document, KnowledgeBase, Revision
from engine.domain import Principal, Scope
from engine.errors import Unavailable
from engine.index.port import SearchIndex, Space
from engine.jobs import backlog, heartbeats
from engine.operations.status import WORKER_ALIVE_S


@dataclass(frozen=True, slots=True)
class Resources:
    """Counts and bytes. `stored_bytes` are those of all revisions, `document_bytes` of the newest."""

    knowledge_bases: int
    documents: int
    chunks: int
    tokens: int
    document_bytes: int
    stored_bytes: int
    index_bytes: int
    jobs: Mapping[str, Mapping[str, int]]  # by lane, then state
    workers: int


async def read_resources(db: Database, index: SearchIndex, principal: Principal) -> Resources:
    """Of the principal's tenant, for its admins."""
    gate.require(principal, Scope.KB_ADMIN)
    tenant_id = principal.tenant_id
    async with db.read() as session:
        kbs = (
            await session.execute(
                select(
                    KnowledgeBase.space,
                    KnowledgeBase.dimension,
                    KnowledgeBase.chunk_count,
                    KnowledgeBase.token_count,
                ).where(KnowledgeBase.tenant_id == tenant_id, KnowledgeBase.deleted_at.is_(None))
            )
        ).all()
        documents = (
            await session.execute(
                select(func.count(), func.sum(Document.size_bytes)).where(
                    Document.tenant_id == tenant_id, Document.deleted_at.is_(None)
                )
            )
        ).one()
        stored = await session.scalar(
            select(func.sum(Revision.size_bytes)).where(Revision.tenant_id == tenant_id)
        )
        pending = await backlog.pending_counts(session, tenant_id)
        workers = await heartbeats.live_workers(session, within_s=WORKER_ALIVE_S)
    sizes = [
        await _size_bytes(index, tenant_id, space)
        for space in {Space(kb.space, kb.dimension) for kb in kbs}
    ]
    jobs: dict[str, dict[str, int]] = {}
    for (lane, state), count in pending.items():
        jobs.setdefault(lane, {})[state] = count
    return Resources(
        knowledge_bases=len(kbs),
        documents=documents[0],
        chunks=sum(kb.chunk_count for kb in kbs),
        tokens=sum(kb.token_count for kb in kbs),
        document_bytes=int(documents[1] or 0),
        stored_bytes=int(stored or 0),
        index_bytes=sum(sizes),
        jobs=jobs,
        workers=len(workers),
    )


async def _size_bytes(index: SearchIndex, tenant_id: str, space: Space) -> int:
    """0 where the index can't be read: the rest is wanted all the same."""
    try:
        return (await index.stats(tenant_id, space)).size_bytes
    except Unavailable:
        return 0
