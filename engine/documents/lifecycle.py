"""What becomes of a document's rows: a new revision, taken back, taken off, retired.

Each function works on the caller's session, in the transaction of its cause; nothing here checks
permissions: the verbs that call it have.
"""

from __future__ import annotations

import mimetypes

from sqlalchemy import delete, exists, func, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from engine import clock
from engine.db.tables import (
    Acl,
    Document,
    FileDocument,
    Job,
    KnowledgeBase,
    Live,
    Revision,
    Source,
)
from engine.domain import MAIN, DocumentState, JobState, Lane
from engine.jobs import endings
from engine.jobs.kinds import CLEAN, INGEST
from engine.jobs.outbox import append_event, enqueue

EXTERNAL_ID_MAX = 2000  # characters, the column's width
TITLE_MAX = 500
CHILDREN = 100  # documents made of the files within one


def reset_state(document: Document) -> None:
    """Begin again: `pending`, no progress, no error."""
    document.state = DocumentState.PENDING
    document.progress = 0.0
    document.message = ""
    document.error = ""
    document.error_code = ""
    document.updated_at = clock.now()


async def start_revision(
    session: AsyncSession,
    document: Document,
    newest: Revision | None,
    *,
    blob_hash: str,
    filename: str,
    size_bytes: int,
    lane: Lane,
    max_attempts: int,
    mime: str = "",
    correlation_id: str = "",
) -> tuple[str, str]:
    """Add the revision after `newest`, its job and its event; their ids, of revision and job.

    Without `mime` the file's name decides. The document's own row is its caller's to fill and flush.
    """
    revision = Revision(
        tenant_id=document.tenant_id,
        document_id=document.id,
        number=newest.number + 1 if newest else 1,
        blob_hash=blob_hash,
        filename=filename[:TITLE_MAX],
        mime=mime or mimetypes.guess_type(filename)[0] or "",
        size_bytes=size_bytes,
        created_at=clock.now(),
    )
    session.add(revision)
    await session.flush()
    ids = {"document_id": document.id, "revision_id": revision.id}
    job_id = await enqueue(
        session,
        tenant_id=document.tenant_id,
        kind=INGEST,
        payload=ids,
        lane=lane,
        document_id=document.id,
        max_attempts=max_attempts,
        correlation_id=correlation_id,
    )
    kind = "document.updated" if newest else "document.uploaded"
    await append_event(session, document.tenant_id, kind, {**ids, "kb_id": document.kb_id})
    return revision.id, job_id


async def take_back(session: AsyncSession, document: Document) -> None:
    """Let a document's newest revision no longer answer where it does so by its words alone.

    For one whose ingestion is cancelled: then nothing of it is found.
    """
    live = await session.scalar(select(Live.revision_id).where(Live.document_id == document.id))
    if live is not None and live == await newest_revision_id(session, document.id):
        await take_off(session, document)


async def newest_revision_id(session: AsyncSession, document_id: str) -> str | None:
    query = select(Revision.id).where(Revision.document_id == document_id)
    return await session.scalar(query.order_by(Revision.number.desc()).limit(1))


async def is_in_work(session: AsyncSession, document_id: str) -> bool:
    running = exists().where(Job.document_id == document_id, Job.state == JobState.RUNNING)
    return bool(await session.scalar(select(running)))


async def take_off(session: AsyncSession, document: Document) -> None:
    """Off every branch, and out of the counters."""
    if not document.hidden:
        await count(session, document, -1)
    await session.execute(delete(Live).where(Live.document_id == document.id))
    document.chunk_count = 0
    document.token_count = 0
    document.vectors = "none"


async def take_off_source(session: AsyncSession, source: Source) -> int:
    """Let nothing of a source answer from this transaction on; how many documents did.

    One statement each, however much it is. The clean-up of its rows is the caller's.
    """
    theirs = select(Document.id).where(Document.source_id == source.id)
    counts = (
        await session.execute(
            select(
                func.count(),
                func.coalesce(func.sum(Document.chunk_count), 0),
                func.coalesce(func.sum(Document.token_count), 0),
            )
            .join(Live, Live.document_id == Document.id)
            .where(
                Document.source_id == source.id,
                Document.hidden.is_(False),
                Live.branch == MAIN,
            )
        )
    ).one()
    documents, chunks, tokens = (int(value) for value in counts)
    await session.execute(
        update(KnowledgeBase)
        .where(KnowledgeBase.id == source.kb_id)
        .values(
            document_count=KnowledgeBase.document_count - documents,
            chunk_count=KnowledgeBase.chunk_count - chunks,
            token_count=KnowledgeBase.token_count - tokens,
            updated_at=clock.now(),
        )
    )
    await session.execute(delete(Live).where(Live.document_id.in_(theirs)))
    for state, values in (
        (JobState.QUEUED, {"state": JobState.CANCELLED}),
        (JobState.RUNNING, {"cancel_requested": True}),
    ):
        await session.execute(
            update(Job)
            .where(Job.document_id.in_(theirs), Job.state == state)
            .values(**values, updated_at=clock.now())
            .execution_options(synchronize_session=False)
        )
    await session.execute(
        update(Document)
        .where(Document.source_id == source.id, Document.deleted_at.is_(None))
        .values(deleted_at=clock.now(), chunk_count=0, token_count=0, vectors="none")
        .execution_options(synchronize_session=False)
    )
    return documents


async def count(session: AsyncSession, document: Document, sign: int) -> None:
    """Add what answers of a document to its knowledge base's counters (1), or take it off (-1)."""
    live = await session.scalar(
        select(func.count()).select_from(Live).where(Live.document_id == document.id)
    )
    if not live:
        return
    await session.execute(
        update(KnowledgeBase)
        .where(KnowledgeBase.id == document.kb_id)
        .values(
            document_count=KnowledgeBase.document_count + sign,
            chunk_count=KnowledgeBase.chunk_count + sign * document.chunk_count,
            token_count=KnowledgeBase.token_count + sign * document.token_count,
            updated_at=clock.now(),
        )
    )


def child_ids(parent: Document) -> list[str]:
    """The external ids that documents made of a document's files have, in order."""
    return [f"attachment:{parent.id}:{number}" for number in range(CHILDREN)]


async def children_of(session: AsyncSession, parent: Document) -> list[Document]:
    """The documents made of a document's files (`attachments.py`), deleted ones too."""
    found = await session.scalars(
        select(Document).where(
            Document.kb_id == parent.kb_id,
            Document.source_id == parent.source_id,
            Document.external_id.in_(child_ids(parent)),
        )
    )
    return list(found)


async def retire(session: AsyncSession, document: Document) -> None:
    """Mark a document deleted, take it off every branch, and queue the clean-up of its bytes.

    The documents made of its files go with it.
    """
    for child in await children_of(session, document):
        if child.deleted_at is None:
            await retire(session, child)
    await endings.cancel_document(session, document.tenant_id, document.id)
    await take_off(session, document)
    document.deleted_at = clock.now()
    document.updated_at = clock.now()
    document.hidden = False  # added again, it is another matter
    await session.execute(delete(FileDocument).where(FileDocument.document_id == document.id))
    await enqueue(
        session,
        tenant_id=document.tenant_id,
        kind=CLEAN,
        payload={"document_id": document.id},
        lane=Lane.INTERACTIVE,
    )
    await append_event(
        session,
        document.tenant_id,
        "document.deleted",
        {"document_id": document.id, "kb_id": document.kb_id},
    )


async def acl_of(session: AsyncSession, document: Document) -> list[str]:
    """The ACL tokens of a document, sorted."""
    tokens = await session.scalar(select(Acl.tokens).where(Acl.id == document.acl_id))
    return sorted(tokens or [])
