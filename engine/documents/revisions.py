"""What a worker does to a revision in SQL: load it, store its chunks, let it answer.

Called by `ingestion/` under the worker's own authority: a job row names the document, so there is
no principal here. Every function is safe to call twice, because a job may run twice. How a
document's ingestion went is in `reports.py`, what is deleted afterwards in `cleaning.py`.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import Select, String, bindparam, delete, insert, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncSession

from engine.clock import now
from engine.custom_fields import index_features
from engine.db.tables import (
    Acl,
    Base,
    Chunk,
    Document,
    KnowledgeBase,
    Live,
    Revision,
    RevisionText,
    Source,
)
from engine.documents import hiding, metadata, upload_options
from engine.documents.cleaning import queue_clean
from engine.documents.lifecycle import TITLE_MAX
from engine.documents.upload_options import UploadOptions
from engine.domain import MAIN, DocumentState, Vectors
from engine.errors import Cancelled, Conflict
from engine.index.port import Space
from engine.jobs.outbox import append_event

_DOCUMENT = tuple(
    Document.__table__.c[name]
    for name in (
        "id",
        "tenant_id",
        "kb_id",
        "title",
        "url",
        "acl_all",
        "hidden",
        "details",
        "tags",
        "fields",
        "features",
        "source_updated_at",
        "chunk_count",
        "token_count",
    )
)


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
    options: UploadOptions = upload_options.AS_THE_PIPELINE_SAYS
    tags: Sequence[str] = ()
    features: Mapping[str, float] = field(default_factory=dict)
    formats: Sequence[str] = ()  # endings of files its knowledge base takes; empty: all


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
    hidden: bool = False  # kept, and not given to the index


async def begin(session: AsyncSession, document_id: str, revision_id: str) -> Work:
    """What the ingestion of a revision needs, in one statement; nothing is written.

    Raises `Cancelled` where the document is deleted or a newer revision came.
    """
    row = await _look(session, document_id, revision_id)
    if row is None:
        raise Cancelled("The document was deleted.")
    if row.newest != revision_id:
        raise Cancelled("A newer revision of the document took its place.")
    return _work(row)


async def look_up(session: AsyncSession, document_id: str, revision_id: str) -> Work:
    """The same of a revision that answers already; `Cancelled` where it no longer does."""
    row = await _look(session, document_id, revision_id)
    if row is None or row.live_id != revision_id:
        raise Cancelled("The revision no longer answers.")
    return _work(row)


def _look_statement() -> Select[Any]:
    document_id = bindparam("document_id", type_=String)
    revision_id = bindparam("revision_id", type_=String)
    newest = (
        select(Revision.id)
        .where(Revision.document_id == document_id)
        .order_by(Revision.number.desc())
        .limit(1)
        .scalar_subquery()
    )
    live = (
        select(Live.revision_id)
        .where(Live.document_id == document_id, Live.branch == MAIN)
        .scalar_subquery()
    )
    return (
        select(
            *_DOCUMENT,
            *(Revision.__table__.c[name] for name in ("filename", "mime", "blob_hash", "number")),
            Revision.id.label("revision_id"),
            Revision.chunk_count.label("new_chunks"),
            Revision.hidden_chunks.label("new_hidden"),
            Revision.token_count.label("new_tokens"),
            Revision.language.label("new_language"),
            KnowledgeBase.space,
            KnowledgeBase.dimension,
            KnowledgeBase.pipeline,
            KnowledgeBase.chunking,
            KnowledgeBase.formats,
            Source.kind,
            Acl.tokens,
            newest.label("newest"),
            live.label("live_id"),
        )
        .join_from(Document, Revision, Revision.document_id == Document.id)
        .join(KnowledgeBase, KnowledgeBase.id == Document.kb_id)
        .join(Source, Source.id == Document.source_id)
        .join(Acl, Acl.id == Document.acl_id)
        .where(
            Document.id == document_id,
            Revision.id == revision_id,
            Document.deleted_at.is_(None),
            KnowledgeBase.deleted_at.is_(None),
        )
    )


def _replacing(table: type[Base], keys: Sequence[str], column: str) -> dict[str, Any]:
    """An insert by dialect that, where the row is there, changes one column of it."""
    inserts: dict[str, Any] = {
        "postgresql": postgresql.insert(table),
        "sqlite": sqlite.insert(table),
    }
    return {
        name: new.on_conflict_do_update(
            index_elements=list(keys), set_={column: new.excluded[column]}
        )
        for name, new in inserts.items()
    }


# What every ingestion begins and ends with, built once: putting a statement together takes longer
# than the database does. An update sets the columns that its parameters name, `row` but for one.
_ROW = bindparam("row", type_=String)
_LOOK = _look_statement()
# SQLite has no such clause, and its write lock.
_LOOK_TO_CHANGE = _LOOK.with_for_update(of=Document)
_CHANGE_DOCUMENT = update(Document).where(Document.id == _ROW)
_CHANGE_REVISION = update(Revision).where(Revision.id == _ROW).returning(Revision.hidden_chunks)
_COUNT = (
    update(KnowledgeBase)
    .where(KnowledgeBase.id == _ROW)
    .values(
        document_count=KnowledgeBase.document_count + bindparam("documents"),
        chunk_count=KnowledgeBase.chunk_count + bindparam("chunks"),
        token_count=KnowledgeBase.token_count + bindparam("tokens"),
        updated_at=bindparam("updated_at"),
    )
)
_SET_TEXT = _replacing(RevisionText, ["revision_id"], "body")
_SET_LIVE = _replacing(Live, ["branch", "document_id"], "revision_id")
_ADD_CHUNKS = insert(Chunk)
_DROP_CHUNKS = delete(Chunk).where(Chunk.revision_id == _ROW)


async def _look(
    session: AsyncSession, document_id: str, revision_id: str, *, to_change: bool = False
) -> Any:  # noqa: ANN401 (a row)
    """All of a revision that is not deleted, its document, base, source, ACL and live rival."""
    values = {"document_id": document_id, "revision_id": revision_id}
    statement = _LOOK_TO_CHANGE if to_change else _LOOK
    return (await (await session.connection()).execute(statement, values)).one_or_none()


def _work(row: Any) -> Work:  # noqa: ANN401 (a row)
    return Work(
        tenant_id=row.tenant_id,
        kb_id=row.kb_id,
        document_id=row.id,
        revision_id=row.revision_id,
        space=Space(row.space, row.dimension),
        pipeline=row.pipeline,
        chunking=row.chunking,
        acl=sorted(row.tokens),
        acl_all=sorted(row.acl_all),
        title=row.title,
        url=row.url,
        filename=row.filename,
        mime=row.mime,
        blob_hash=row.blob_hash,
        source=row.kind,
        hidden=row.hidden,
        source_updated_at=row.source_updated_at,
        is_first=row.live_id is None or row.live_id == row.revision_id,
        options=upload_options.kept_options(row.details),
        tags=sorted(row.tags),
        features=index_features(row.fields, row.features),
        formats=row.formats,
    )


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
    fields: Mapping[str, Any] = field(default_factory=dict)  # set by the pipeline


async def store_content(
    session: AsyncSession, work: Work, content: Content, chunks: Sequence[NewChunk] | None = None
) -> None:
    """Write a revision's text, facts and chunks, replacing what an earlier attempt left.

    With `chunks` None only what was fetched is noted, so that a second attempt reads the same.
    """
    connection = await session.connection()
    values: dict[str, Any] = {
        "row": work.revision_id,
        "blob_hash": content.blob_hash,
        "mime": content.mime,
        "size_bytes": content.size_bytes,
    }
    if chunks is not None:
        values |= {
            "chunk_count": len(chunks),
            "token_count": sum(chunk.tokens for chunk in chunks),
            "language": chunks[0].language if chunks else "",
            "space": work.space.name,
        }
    hidden = await connection.scalar(_CHANGE_REVISION, values)
    if hidden is None:
        raise Cancelled("The document was deleted.")
    if chunks is None:
        return
    body = zlib.compress(content.text.encode(), level=1)
    text_row = {"revision_id": work.revision_id, "tenant_id": work.tenant_id, "body": body}
    await connection.execute(_SET_TEXT[connection.dialect.name], text_row)
    spans = await hiding.hidden_spans(session, work.revision_id) if hidden else []
    await connection.execute(_DROP_CHUNKS, {"row": work.revision_id})
    if chunks:
        await connection.execute(_ADD_CHUNKS, [_chunk_row(work, chunk) for chunk in chunks])
    if spans:  # hidden since an earlier attempt stored them
        await hiding.hide_again(session, work.revision_id, spans, is_same_text=True)


def _chunk_row(work: Work, chunk: NewChunk) -> dict[str, Any]:
    return {
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


async def load_text(session: AsyncSession, revision_id: str) -> str | None:
    """The canonical text of a revision, or None where it was never parsed."""
    body = await session.scalar(
        select(RevisionText.body).where(RevisionText.revision_id == revision_id)
    )
    return None if body is None else zlib.decompress(body).decode()


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
            hidden=row.hidden,
        )
        for row in rows
    ]


async def make_live(
    session: AsyncSession,
    work: Work,
    vectors: Vectors,
    *,
    content: Content | None = None,
    ready: str | None = None,
) -> None:
    """Let this revision answer: the switch is one row, its counters and clean-up beside it.

    `ready` ends the document with that message; without it the words answer already and the
    vectors follow. `content` brings what the parser found. Raises `Cancelled` where the document
    is deleted or a newer revision came.
    """
    row = await _look(session, work.document_id, work.revision_id, to_change=True)
    if row is None:
        raise Cancelled("The document was deleted.")
    if row.newest != work.revision_id:
        raise Cancelled("A newer revision of the document took its place.")
    if row.space != work.space.name:
        raise Conflict(
            "The knowledge base has moved to another embedding model; the document is being "
            "reindexed."
        )
    connection = await session.connection()
    at = now()
    shown = row.new_chunks - row.new_hidden
    if row.live_id != work.revision_id:
        shown -= await _switch(session, work, row)
        counted = {
            "documents": int(row.live_id is None),
            "chunks": shown - row.chunk_count,
            "tokens": row.new_tokens - row.token_count,
        }
        if not row.hidden:
            await connection.execute(_COUNT, {"row": work.kb_id, "updated_at": at, **counted})
    values: dict[str, Any] = {
        "row": work.document_id,
        "vectors": vectors,
        "chunk_count": shown,
        "token_count": row.new_tokens,
        "language": row.new_language,
        "updated_at": at,
    }
    if content is not None:
        values |= _facts(row, content)
    fields = values.get("fields", row.fields)
    known = (row.hidden, sorted(row.tags), index_features(fields, row.features))
    readers = (sorted(row.tokens), sorted(row.acl_all))
    fed = (work.hidden, list(work.tags), dict(work.features))
    if (known, readers) != (fed, (list(work.acl), list(work.acl_all))):  # than what was fed
        await hiding.queue_fields(session, work.tenant_id, work.document_id)
    if ready is None:
        values["state"] = DocumentState.RUNNING
    else:
        values |= {"state": DocumentState.READY, "progress": 1.0, "message": ready}
    await connection.execute(_CHANGE_DOCUMENT, values)
    if ready is None:
        return
    await connection.execute(_CHANGE_REVISION, {"row": work.revision_id, "vectors": vectors})
    payload = {"kb_id": work.kb_id, "chunks": row.new_chunks}
    await append_event(session, work.tenant_id, "document.processed", _named(work) | payload)


async def _switch(session: AsyncSession, work: Work, row: Any) -> int:  # noqa: ANN401 (a row)
    """Make the revision the live one; how many of its chunks are hidden as they were before."""
    values = {
        "branch": MAIN,
        "document_id": work.document_id,
        "revision_id": work.revision_id,
        "kb_id": work.kb_id,
        "tenant_id": work.tenant_id,
    }
    connection = await session.connection()
    await connection.execute(_SET_LIVE[connection.dialect.name], values)
    if row.number != 1:  # older ones may have been fed, also those that never answered
        await queue_clean(session, work.tenant_id, work.document_id)
    if row.live_id is None:
        return 0
    hidden = await hiding.carry_over(session, row.live_id, work.revision_id)
    if hidden:
        await hiding.queue_feed(session, work.tenant_id, work.document_id, work.revision_id)
    return hidden


def _named(work: Work) -> dict[str, Any]:
    return {"document_id": work.document_id, "revision_id": work.revision_id}


def _facts(row: Any, content: Content) -> dict[str, Any]:  # noqa: ANN401 (a row)
    facts: dict[str, Any] = {"size_bytes": content.size_bytes}
    if content.title:
        facts["title"] = content.title[:TITLE_MAX]
    if content.details or "extracted" in row.details:
        # What the present pipeline read out of it takes the place of all an earlier one did.
        kept = {key: value for key, value in row.details.items() if key != "extracted"}
        # What the upload asked for is not for the file to say.
        found = {key: value for key, value in content.details.items() if key != upload_options.KEY}
        facts["details"] = {**kept, **found}
    if content.fields or row.details.get(metadata.BY_PIPELINE):
        facts |= metadata.pipeline_values(row.fields, row.details, content.fields)
        own = {metadata.BY_PIPELINE: sorted(set(content.fields) - _set_by_people(row))}
        facts["details"] = {**facts.get("details", row.details), **own}
    if row.source_updated_at is None:
        facts["source_updated_at"] = content.updated_at
    return facts


def _set_by_people(row: Any) -> set[str]:  # noqa: ANN401 (a row)
    return set(row.fields) - set(row.details.get(metadata.BY_PIPELINE, ()))
