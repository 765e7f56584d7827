"""What a worker does to a revision in SQL: begin, store its chunks, make it live, fail, clean up.

Called by `ingestion/` under the worker's own authority: a job row names the document, so there is
no principal here. Every function is safe to call twice, because a job may run twice.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import delete, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from engine.clock import now
from engine.db.tables import (
    Acl,
    Chunk,
    Document,
    KnowledgeBase,
    Live,
    Revision,
    RevisionText,
    Run,
    RunEvent,
    RunNode,
    Source,
)
from engine.documents import CLEAN, TITLE_MAX, retire
from engine.domain import MAIN, DocumentState, Lane, Vectors
from engine.errors import Cancelled
from engine.index.port import RevisionRef, Space
from engine.outbox import append_event, enqueue


@dataclass(frozen=True, slots=True)
class Work:
    """Everything an ingestion needs to know of its revision, read once at the start."""

    tenant_id: str
    kb_id: str
    document_id: str
    revision_id: str
    space: Space
    pipeline: str
    chunking: Mapping[str, Any]
    acl: Sequence[str]
    acl_all: Sequence[str]
    title: str
    url: str
    filename: str
    mime: str
    blob_hash: str
    source: str
    hidden: bool
    source_updated_at: datetime | None
    is_first: bool  # no revision of the document answers yet


@dataclass(frozen=True, slots=True)
class NewChunk:
    """A span of the revision's text, ready to be stored, fed and cited."""

    ordinal: int
    start: int
    end: int
    text: str
    context: str
    tokens: int
    page: int | None = None
    language: str = ""
    part: int = 0
    meta: Mapping[str, Any] = field(default_factory=dict)


async def begin(session: AsyncSession, document_id: str, revision_id: str) -> Work:
    """Mark the document running and return what its ingestion needs.

    Raises `Cancelled` where the document is deleted or a newer revision came.
    """
    document, revision, kb = await _current(session, document_id, revision_id)
    document.state = DocumentState.RUNNING
    document.updated_at = now()
    return await _work(session, document, revision, kb)


async def look_up(session: AsyncSession, document_id: str, revision_id: str) -> Work:
    """The same of a revision that answers already; `Cancelled` where it no longer does."""
    live = await session.get(Live, (MAIN, document_id))
    document = await session.get(Document, document_id)
    revision = await session.get(Revision, revision_id)
    if live is None or document is None or revision is None or live.revision_id != revision_id:
        raise Cancelled("The revision no longer answers.")
    kb = await session.get(KnowledgeBase, document.kb_id)
    if kb is None:
        raise Cancelled("The knowledge base was deleted.")
    return await _work(session, document, revision, kb)


async def _work(
    session: AsyncSession, document: Document, revision: Revision, kb: KnowledgeBase
) -> Work:
    tokens = await session.scalar(select(Acl.tokens).where(Acl.id == document.acl_id))
    kind = await session.scalar(select(Source.kind).where(Source.id == document.source_id))
    live = await session.scalar(
        select(Live.revision_id).where(Live.document_id == document.id, Live.branch == MAIN)
    )
    return Work(
        tenant_id=document.tenant_id,
        kb_id=document.kb_id,
        document_id=document.id,
        revision_id=revision.id,
        space=Space(kb.space, kb.dimension),
        pipeline=kb.pipeline,
        chunking=kb.chunking,
        acl=sorted(tokens or []),
        acl_all=sorted(document.acl_all),
        title=document.title,
        url=document.url,
        filename=revision.filename,
        mime=revision.mime,
        blob_hash=revision.blob_hash,
        source=kind or "",
        hidden=document.hidden,
        source_updated_at=document.source_updated_at,
        is_first=live is None or live == revision.id,
    )


async def _current(
    session: AsyncSession, document_id: str, revision_id: str
) -> tuple[Document, Revision, KnowledgeBase]:
    document = await session.get(Document, document_id, with_for_update=True)
    revision = await session.get(Revision, revision_id)
    if document is None or revision is None or document.deleted_at is not None:
        raise Cancelled("The document was deleted.")
    newest = await session.scalar(
        select(func.max(Revision.number)).where(Revision.document_id == document_id)
    )
    if revision.number != newest:
        raise Cancelled("A newer revision of the document took its place.")
    kb = await session.get(KnowledgeBase, document.kb_id)
    if kb is None or kb.deleted_at is not None:
        raise Cancelled("The knowledge base was deleted.")
    return document, revision, kb


@dataclass(frozen=True, slots=True)
class Content:
    """What File and Parser found out; empty values leave what is there."""

    blob_hash: str
    mime: str = ""
    size_bytes: int = 0
    text: str = ""
    title: str = ""
    details: Mapping[str, Any] = field(default_factory=dict)
    updated_at: datetime | None = None


async def store_content(session: AsyncSession, work: Work, content: Content) -> None:
    """Write a revision's text and facts, replacing what an earlier attempt left."""
    await session.execute(
        update(Revision)
        .where(Revision.id == work.revision_id)
        .values(blob_hash=content.blob_hash, mime=content.mime, size_bytes=content.size_bytes)
    )
    if content.text:
        await session.execute(
            delete(RevisionText).where(RevisionText.revision_id == work.revision_id)
        )
        body = zlib.compress(content.text.encode(), level=1)
        await session.execute(
            insert(RevisionText).values(
                revision_id=work.revision_id, tenant_id=work.tenant_id, body=body
            )
        )
    document = await session.get(Document, work.document_id)
    if document is None:
        raise Cancelled("The document was deleted.")
    document.size_bytes = content.size_bytes
    if content.title:
        document.title = content.title[:TITLE_MAX]
    if content.details:
        document.details = {**document.details, **content.details}
    if document.source_updated_at is None:
        document.source_updated_at = content.updated_at


async def load_text(session: AsyncSession, revision_id: str) -> str | None:
    """The canonical text of a revision, or None where it was never parsed."""
    body = await session.scalar(
        select(RevisionText.body).where(RevisionText.revision_id == revision_id)
    )
    return None if body is None else zlib.decompress(body).decode()


async def store_chunks(session: AsyncSession, work: Work, chunks: Sequence[NewChunk]) -> None:
    """Write the chunks of a revision, replacing what an earlier attempt left."""
    await session.execute(delete(Chunk).where(Chunk.revision_id == work.revision_id))
    if chunks:
        rows = [
            {
                "revision_id": work.revision_id,
                "tenant_id": work.tenant_id,
                "ordinal": chunk.ordinal,
                "part": chunk.part,
                "start": chunk.start,
                "end": chunk.end,
                "page": chunk.page,
                "text": chunk.text,
                "context": chunk.context,
                "tokens": chunk.tokens,
                "language": chunk.language,
                "meta": dict(chunk.meta),
            }
            for chunk in chunks
        ]
        # The table rather than the mapped class: nothing here needs an identity map.
        await session.execute(insert(Chunk.__table__), rows)  # type: ignore[arg-type]
    await session.execute(
        update(Revision)
        .where(Revision.id == work.revision_id)
        .values(
            chunk_count=len(chunks),
            token_count=sum(chunk.tokens for chunk in chunks),
            language=chunks[0].language if chunks else "",
            space=work.space.name,
        )
    )


async def load_chunks(session: AsyncSession, revision_id: str) -> list[NewChunk]:
    """The stored chunks of a revision, in order."""
    rows = await session.scalars(
        select(Chunk).where(Chunk.revision_id == revision_id).order_by(Chunk.ordinal)
    )
    return [
        NewChunk(
            ordinal=row.ordinal,
            start=row.start,
            end=row.end,
            text=row.text,
            context=row.context,
            tokens=row.tokens,
            page=row.page,
            language=row.language,
            part=row.part,
            meta=row.meta,
        )
        for row in rows
    ]


async def make_live(
    session: AsyncSession, work: Work, vectors: Vectors, *, final: bool, message: str = ""
) -> None:
    """Let this revision answer: the switch is one row, its counters and clean-up beside it.

    `final` ends the document `ready`; without it the text answers already and vectors follow.
    Raises `Cancelled` where the document is deleted or a newer revision came.
    """
    document, revision, _ = await _current(session, work.document_id, work.revision_id)
    live = await session.get(Live, (MAIN, work.document_id))
    replaced = live.revision_id if live is not None else None
    if live is None:
        session.add(
            Live(
                branch=MAIN,
                document_id=work.document_id,
                revision_id=work.revision_id,
                kb_id=work.kb_id,
                tenant_id=work.tenant_id,
            )
        )
    else:
        live.revision_id = work.revision_id
    await session.execute(
        update(KnowledgeBase)
        .where(KnowledgeBase.id == work.kb_id)
        .values(
            document_count=KnowledgeBase.document_count + (live is None),
            chunk_count=KnowledgeBase.chunk_count + revision.chunk_count - document.chunk_count,
            token_count=KnowledgeBase.token_count + revision.token_count - document.token_count,
            updated_at=now(),
        )
    )
    revision.vectors = vectors
    document.vectors = vectors
    document.chunk_count = revision.chunk_count
    document.token_count = revision.token_count
    document.language = revision.language
    document.updated_at = now()
    if final:
        document.state = DocumentState.READY
        document.progress = 1.0
        document.message = message
        await append_event(
            session,
            work.tenant_id,
            "document.processed",
            {
                "document_id": work.document_id,
                "kb_id": work.kb_id,
                "revision_id": work.revision_id,
                "chunks": revision.chunk_count,
            },
        )
    if replaced is not None and replaced != work.revision_id:
        await enqueue(
            session,
            tenant_id=work.tenant_id,
            kind=CLEAN,
            payload={"document_id": work.document_id},
            lane=Lane.BULK,
        )


async def report_progress(
    session: AsyncSession, document_id: str, progress: float, message: str
) -> None:
    """Show how far a running document is; a document in another state is left alone."""
    await session.execute(
        update(Document)
        .where(Document.id == document_id, Document.state == DocumentState.RUNNING)
        .values(progress=progress, message=message)
    )


async def report_failure(
    session: AsyncSession, document_id: str, revision_id: str, error: str, code: str
) -> None:
    """End a document `failed` with one sentence; its live revision, if any, goes on answering."""
    try:
        document, _, _ = await _current(session, document_id, revision_id)
    except Cancelled:
        return
    document.state = DocumentState.FAILED
    document.progress = -1.0
    document.error = error
    document.error_code = code
    document.message = error
    document.updated_at = now()
    await append_event(
        session,
        document.tenant_id,
        "document.processing_failed",
        {"document_id": document_id, "kb_id": document.kb_id, "error": error, "code": code},
    )


async def report_waiting(session: AsyncSession, document_id: str, reason: str) -> None:
    """Back to `pending` until the next attempt, with the reason of the delay."""
    await session.execute(
        update(Document)
        .where(Document.id == document_id, Document.state == DocumentState.RUNNING)
        .values(state=DocumentState.PENDING, message=reason, updated_at=now())
    )


async def report_cancelled(session: AsyncSession, document_id: str, revision_id: str) -> None:
    """End a document `cancelled`, unless a newer revision is on its way already."""
    try:
        document, _, _ = await _current(session, document_id, revision_id)
    except Cancelled:
        return
    if document.state in {DocumentState.PENDING, DocumentState.RUNNING}:
        document.state = DocumentState.CANCELLED
        document.message = "Cancelled."
        document.updated_at = now()


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
        if row.id not in keep and row.space:
            space = Space(row.space, dimension)
            found.setdefault(space, []).append(RevisionRef(document_id, row.id))
    return document.tenant_id, found


async def retire_some(session: AsyncSession, kb_id: str, limit: int = 50) -> int:
    """Delete up to `limit` documents of a deleted knowledge base; says how many."""
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
    ids = select(Revision.id).where(Revision.document_id == document_id)
    runs = select(Run.id).where(Run.document_id == document_id)
    await session.execute(delete(Chunk).where(Chunk.revision_id.in_(ids)))
    await session.execute(delete(RevisionText).where(RevisionText.revision_id.in_(ids)))
    await session.execute(delete(RunNode).where(RunNode.run_id.in_(runs)))
    await session.execute(delete(RunEvent).where(RunEvent.run_id.in_(runs)))
    await session.execute(delete(Run).where(Run.document_id == document_id))
    await session.execute(delete(Revision).where(Revision.document_id == document_id))
