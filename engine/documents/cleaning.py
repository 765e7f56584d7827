"""Deleting what no longer answers: old revisions, deleted documents and their texts and runs.

The worker's `CLEAN` jobs call this; the index is emptied by them, the rows are deleted here.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy import delete, exists, select
from sqlalchemy.ext.asyncio import AsyncSession

from engine.clock import now
from engine.db.tables import (
    Chunk,
    Document,
    Job,
    KnowledgeBase,
    Live,
    Revision,
    RevisionText,
    Run,
    RunEvent,
    RunNode,
)
from engine.documents import component_outputs
from engine.documents.lifecycle import retire
from engine.domain import JobState, Lane
from engine.index.port import RevisionRef, Space
from engine.jobs import endings, leases
from engine.jobs.kinds import CLEAN
from engine.jobs.outbox import enqueue

CLEAN_AGAIN_S = 2.0  # for an ingestion to notice that it was cancelled


async def queue_clean(
    session: AsyncSession,
    tenant_id: str,
    document_id: str,
    *,
    lane: Lane = Lane.BULK,
    run_at: datetime | None = None,
) -> None:
    """Queue the clean-up of a document's old revisions."""
    await enqueue(
        session,
        tenant_id=tenant_id,
        kind=CLEAN,
        payload={"document_id": document_id},
        lane=lane,
        run_at=run_at,
    )


async def is_being_stopped(session: AsyncSession, document_id: str) -> bool:
    """Whether a job of the document was asked to stop and has not ended yet."""
    job = exists().where(
        Job.document_id == document_id,
        Job.state == JobState.RUNNING,
        Job.cancel_requested.is_(True),
    )
    return bool(await session.scalar(select(job)))


async def clean_later(session: AsyncSession, job: leases.ClaimedJob) -> None:
    """End a clean-up that came too early, and queue it once more."""
    await endings.finish(session, job)
    await queue_clean(
        session,
        job.tenant_id,
        job.payload["document_id"],
        lane=job.lane,
        run_at=now() + timedelta(seconds=CLEAN_AGAIN_S),
    )


async def superseded(
    session: AsyncSession, document_id: str
) -> tuple[str, dict[Space, list[RevisionRef]]]:
    """The tenant and, by space, the revisions that no branch shows and no job builds."""
    document = await session.get(Document, document_id)
    if document is None:
        return "", {}
    kb = await session.get(KnowledgeBase, document.kb_id)
    dimension = kb.dimension if kb is not None else 0
    rows = list(
        await session.execute(
            select(Revision.id, Revision.number, Revision.space).where(
                Revision.document_id == document_id
            )
        )
    )
    live = select(Live.revision_id).where(Live.document_id == document_id)
    keep = set(await session.scalars(live))
    if document.deleted_at is None and rows:
        keep.add(max(rows, key=lambda row: row.number).id)
    found: dict[Space, list[RevisionRef]] = {}
    for row in rows:
        # One without a space stored no chunks, but may have been fed before its worker died.
        name = row.space or (kb.space if kb is not None else "")
        if row.id not in keep and name:
            space = Space(name, dimension)
            found.setdefault(space, []).append(RevisionRef(document_id, row.id))
    return document.tenant_id, found


async def retire_some(session: AsyncSession, kb_id: str, limit: int = 50) -> int:
    """Delete up to `limit` documents of a deleted knowledge base; returns how many."""
    rows = list(
        await session.scalars(
            select(Document)
            .where(Document.kb_id == kb_id, Document.deleted_at.is_(None))
            .limit(limit)
        )
    )
    for document in rows:
        await retire(session, document)
    return len(rows)


async def forget_deleted(session: AsyncSession, document_id: str) -> None:
    """Drop the texts, runs and revisions of a deleted document; its row stays as a tombstone."""
    document = await session.get(Document, document_id)
    if document is None or document.deleted_at is None:
        return
    await component_outputs.forget(session, document_id)
    ids = select(Revision.id).where(Revision.document_id == document_id)
    runs = select(Run.id).where(Run.document_id == document_id)
    await session.execute(delete(Chunk).where(Chunk.revision_id.in_(ids)))
    await session.execute(delete(RevisionText).where(RevisionText.revision_id.in_(ids)))
    await session.execute(delete(RunNode).where(RunNode.run_id.in_(runs)))
    await session.execute(delete(RunEvent).where(RunEvent.run_id.in_(runs)))
    await session.execute(delete(Run).where(Run.document_id == document_id))
    await session.execute(delete(Revision).where(Revision.document_id == document_id))
