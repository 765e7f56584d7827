"""Ingesting the documents of a knowledge base again, through the pipeline it names now.

Each document gets a new revision of the same content: the present one keeps answering until
that one is whole. What went in unchanged is not done again: parsed files, what a language model
read out of them (`component_outputs.py`), vectors of unchanged passages. `preview` says beforehand
what it comes to.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Row, Select, func, insert, literal, select
from sqlalchemy.ext.asyncio import AsyncSession

from engine.access import gate
from engine.db.tables import (
    ComponentOutput,
    Document,
    KnowledgeBase,
    Live,
    MessageSpan,
    Revision,
    Run,
    Source,
)
from engine.documents.lifecycle import reset_state
from engine.domain import MAIN, DocumentState, Lane, Principal, Scope
from engine.errors import NotFound
from engine.jobs import endings
from engine.jobs.kinds import INGEST
from engine.jobs.outbox import append_event, enqueue

BATCH = 50  # documents a transaction: others write meanwhile
_AGAIN = (DocumentState.READY, DocumentState.FAILED, DocumentState.RUNNING)


@dataclass(frozen=True, slots=True)
class Preview:
    """What reindexing a knowledge base comes to.

    `tokens` are those of its passages now: at most about so many are embedded, those of unchanged
    passages not at all. `parsed` documents are kept as they were read; the others are read again,
    `read_bytes` of them. `took_s` is how long workers were busy with these documents the last time,
    None where that is not known. A pending document takes the new pipeline by itself.
    """

    kb_id: str
    name: str
    pipeline: str
    documents: int
    failed: int
    pending: int
    chunks: int
    tokens: int
    parsed: int
    read_bytes: int
    took_s: float | None


async def preview(session: AsyncSession, principal: Principal, kb_id: str) -> Preview:
    """What it would come to now."""
    kb = await session.scalar(gate.select_managed_kbs(principal).where(KnowledgeBase.id == kb_id))
    if kb is None:
        raise NotFound(f"No knowledge base {kb_id!r} that you may manage.")
    by_state = await session.execute(
        select(Document.state, func.count())
        .where(Document.kb_id == kb.id, Document.deleted_at.is_(None))
        .group_by(Document.state)
    )
    states: dict[str, int] = dict(iter(by_state))
    chosen = _chosen(kb.id).subquery()
    held = (
        await session.execute(
            select(
                func.count(),
                func.coalesce(func.sum(chosen.c.chunk_count), 0),
                func.coalesce(func.sum(chosen.c.token_count), 0),
                func.coalesce(func.sum(chosen.c.size_bytes), 0),
            )
        )
    ).one()
    kept = (
        await session.execute(
            select(func.count(), func.coalesce(func.sum(chosen.c.size_bytes), 0)).where(
                select(ComponentOutput.key)
                .where(
                    ComponentOutput.tenant_id == kb.tenant_id,
                    ComponentOutput.source_hash == chosen.c.blob_hash,
                    ComponentOutput.component == "Parser",
                )
                .exists()
            )
        )
    ).one()
    return Preview(
        kb_id=kb.id,
        name=kb.name,
        pipeline=kb.pipeline,
        documents=int(held[0]),
        failed=states.get(DocumentState.FAILED, 0),
        pending=states.get(DocumentState.PENDING, 0),
        chunks=int(held[1]),
        tokens=int(held[2]),
        parsed=int(kept[0]),
        read_bytes=int(held[3] - kept[1]),
        took_s=await _took(session, kb.id),
    )


async def start(
    session: AsyncSession, principal: Principal, kb_id: str, *, after: str = ""
) -> tuple[list[str], str]:
    """Queue the next documents of a knowledge base: their ids, and where to continue; "" at the end."""
    gate.require(principal, Scope.KB_WRITE)
    managed = gate.select_managed_kbs(principal).where(KnowledgeBase.id == kb_id)
    if await session.scalar(managed) is None:
        raise NotFound(f"No knowledge base {kb_id!r} that you may manage.")
    rows = list(
        await session.execute(
            _chosen(kb_id).where(Document.id > after).order_by(Document.id).limit(BATCH)
        )
    )
    queued = [await _queue(session, row) for row in rows]
    if not after:
        await gate.audit(session, principal, "kb.reindex", kb_id)
    return queued, rows[-1].id if len(rows) == BATCH else ""


def _chosen(kb_id: str) -> Select[*tuple[Any, ...]]:
    """The documents to be ingested again, each with its newest revision."""
    newest = (
        select(func.max(Revision.number))
        .where(Revision.document_id == Document.id)
        .correlate(Document)
        .scalar_subquery()
    )
    return (
        select(
            Document.id,
            Document.state,
            Document.chunk_count,
            Document.token_count,
            Revision.id.label("revision_id"),
            Revision.number,
            Revision.blob_hash,
            Revision.filename,
            Revision.mime,
            Revision.size_bytes,
            Live.revision_id.label("live_id"),
        )
        .join(Revision, Revision.document_id == Document.id)
        .join(Source, Source.id == Document.source_id)
        .outerjoin(Live, (Live.document_id == Document.id) & (Live.branch == MAIN))
        .where(
            Document.kb_id == kb_id,
            Document.deleted_at.is_(None),
            Document.state.in_(_AGAIN),
            Revision.number == newest,
            # Without content there is nothing to read but what an address gives; a thread whose
            # messages are being derived again has none either, and comes by itself.
            (Revision.blob_hash != "") | ((Source.kind == "upload") & (Document.url != "")),
        )
    )


async def _queue(session: AsyncSession, row: Row[Any]) -> str:
    """A new revision of the same content, and the job that ingests it."""
    document = await session.get_one(Document, row.id)
    await endings.cancel_document(session, document.tenant_id, document.id)
    reset_state(document)
    document.message = "Waiting to be reindexed."
    revision = Revision(
        tenant_id=document.tenant_id,
        document_id=document.id,
        number=row.number + 1,
        blob_hash=row.blob_hash,
        filename=row.filename,
        mime=row.mime,
        size_bytes=row.size_bytes,
    )
    session.add(revision)
    await session.flush()
    await _keep_messages(session, row.revision_id, revision.id)
    await enqueue(
        session,
        tenant_id=document.tenant_id,
        kind=INGEST,
        payload={"document_id": document.id, "revision_id": revision.id},
        lane=Lane.BULK,
        document_id=document.id,
    )
    await append_event(
        session,
        document.tenant_id,
        "document.updated",
        {"document_id": document.id, "kb_id": document.kb_id, "revision_id": revision.id},
    )
    return document.id


async def _keep_messages(session: AsyncSession, before: str, after: str) -> None:
    """The same content holds the same messages at the same places."""
    spans = select(
        literal(after),
        MessageSpan.start,
        MessageSpan.end,
        MessageSpan.message_id,
        MessageSpan.tenant_id,
    ).where(MessageSpan.revision_id == before)
    columns = ("revision_id", "start", "end", "message_id", "tenant_id")
    await session.execute(insert(MessageSpan).from_select(columns, spans))


async def _took(session: AsyncSession, kb_id: str) -> float | None:
    """Seconds in which at least one of the documents' last runs was under way."""
    last = (
        select(func.max(Run.id))
        .join(Document, Document.id == Run.document_id)
        .where(Document.kb_id == kb_id, Document.deleted_at.is_(None), Run.state == "done")
        .group_by(Run.document_id)
    )
    spans = await session.execute(
        select(Run.started_at, Run.ended_at).where(Run.id.in_(last)).order_by(Run.started_at)
    )
    return busy_s((start, end) for start, end in spans if end is not None)


def busy_s(spans: Iterable[tuple[datetime, datetime]]) -> float | None:
    """How long at least one of `spans`, by their start, lasted; None where there is none."""
    total, until = 0.0, None
    for start, end in spans:
        begin = start if until is None or start > until else until
        total += max((end - begin).total_seconds(), 0.0)
        until = end if until is None else max(until, end)
    return None if until is None else total
