"""Documents: add, replace, delete, list, explain, follow. `Engine.documents` is a `Documents`.

Each verb is one short transaction. Adding is in `adding.py`, what becomes of the rows in
`lifecycle.py`, what a worker reports back in `revisions.py`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

import anyio
import anyio.to_thread
import numpy as np
from numpy.typing import NDArray
from sqlalchemy import or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from engine.access import gate
from engine.blobs.port import BlobStore
from engine.clock import now
from engine.db.session import Database
from engine.db.tables import Document, Revision
from engine.documents import document_status, hiding, ingestions, progress
from engine.documents.adding import Added, Intake, NewDocument
from engine.documents.chunks import ChunkPage, list_chunks
from engine.documents.hiding import HiddenChunk
from engine.documents.ingestions import Ingestion
from engine.documents.knowledge_bases import KnowledgeBases
from engine.documents.lifecycle import is_in_work, reset_state, retire, take_back
from engine.documents.metadata import MetadataChange, change_document
from engine.documents.progress import DocumentProgress
from engine.domain import DocumentState, Lane, Principal, Scope, parse_chunk_id
from engine.errors import InvalidInput, NotFound
from engine.index.port import Space
from engine.jobs import endings
from engine.jobs.kinds import INGEST
from engine.jobs.outbox import enqueue
from engine.models import cache
from engine.net.fetching import canonical_url

LOOK_UP = 500  # ids a statement


@dataclass(frozen=True, slots=True)
class DocumentInfo:
    """A document as lists show it."""

    id: str
    kb_id: str
    external_id: str
    title: str
    url: str
    state: str
    vectors: str
    progress: float
    message: str
    error: str
    error_code: str
    chunk_count: int
    token_count: int
    size_bytes: int
    language: str
    hidden: bool
    tags: Sequence[str]
    fields: Mapping[str, Any]
    features: Mapping[str, float]
    details: Mapping[str, Any]
    created_at: datetime
    updated_at: datetime
    source_updated_at: datetime | None


@dataclass(frozen=True, slots=True)
class DocumentPage:
    """Some documents, newest first; `next_cursor` is empty on the last page."""

    documents: Sequence[DocumentInfo]
    next_cursor: str


class Documents:
    """The verbs of documents, over a database and a blob store."""

    def __init__(
        self,
        db: Database,
        blobs: BlobStore,
        knowledge_bases: KnowledgeBases,
        *,
        max_file_size_bytes: int,
        max_attempts: int = 5,
        formats: Sequence[str] = (),
    ) -> None:
        self._db = db
        self._knowledge_bases = knowledge_bases
        self._max_attempts = max_attempts
        self.intake = Intake(
            db,
            blobs,
            max_file_size_bytes=max_file_size_bytes,
            max_attempts=max_attempts,
            formats=formats,
        )

    async def add(self, principal: Principal, kb: str, new: NewDocument) -> Added:
        """Accept one document; the handle says how to follow it."""
        return (await self.add_many(principal, kb, [new]))[0]

    async def add_many(
        self,
        principal: Principal,
        kb: str,
        new: Sequence[NewDocument],
        *,
        lane: Lane = Lane.INTERACTIVE,
        correlation_id: str = "",
    ) -> list[Added]:
        """Accept documents in one transaction, all or none."""
        found = await self._knowledge_bases.get(principal, kb)
        return await self.intake.add(
            principal, found.id, new, lane=lane, correlation_id=correlation_id
        )

    async def keep_vectors(
        self,
        principal: Principal,
        space: Space,
        hashes: Sequence[bytes],
        vectors: NDArray[np.float32],
    ) -> None:
        """Know vectors of texts that are still to come, shape [len(hashes), dimension].

        A text with that hash (`models.cache.text_hash`) is then not embedded in this tenant. For
        who runs the installation: a wrong vector misleads every search.
        """
        gate.require(principal, Scope.KB_ADMIN)
        await self._db.run_write(
            lambda session: cache.put_many(session, principal.tenant_id, space, hashes, vectors)
        )

    async def page(
        self,
        principal: Principal,
        kb: str = "",
        *,
        state: str = "",
        title: str = "",
        hidden: bool | None = None,
        limit: int = 100,
        cursor: str = "",
    ) -> DocumentPage:
        """Documents the principal may see, newest first, of one knowledge base or all.

        `title` is a part of the title, in letters of either case; `hidden` None lists hidden ones
        too; `cursor` is the last id seen.
        """
        gate.require(principal, Scope.KB_READ)
        if state and state not in set(DocumentState):
            allowed = ", ".join(DocumentState)
            raise InvalidInput(f"No state {state!r}. Allowed: {allowed}.", field="state")
        query = gate.select_documents(principal)
        if kb:
            found = await self._knowledge_bases.get(principal, kb)
            query = query.where(Document.kb_id == found.id)
        if state:
            query = query.where(Document.state == state)
        if title:
            query = query.where(Document.title.icontains(title, autoescape=True))
        if hidden is not None:
            query = query.where(Document.hidden.is_(hidden))
        if cursor:
            query = query.where(Document.id < cursor)
        async with self._db.read() as session:
            rows = list(await session.scalars(query.order_by(Document.id.desc()).limit(limit + 1)))
        more = len(rows) > limit
        return DocumentPage(
            [_info(row) for row in rows[:limit]], rows[limit - 1].id if more else ""
        )

    async def get(self, principal: Principal, document_id: str) -> DocumentInfo:
        """One document, or `NotFound`."""
        gate.require(principal, Scope.KB_READ)
        async with self._db.read() as session:
            return _info(await gate.get_visible_document(session, principal, document_id))

    async def find(self, principal: Principal, ref: str) -> DocumentInfo:
        """One document by its id, the id of a passage of it, or its address; else `NotFound`."""
        gate.require(principal, Scope.KB_READ)
        async with self._db.read() as session:
            return _info(await _find(session, principal, ref))

    async def hide(self, principal: Principal, ref: str, *, hidden: bool = True) -> DocumentInfo:
        """Hide a document, or one passage by its id, from this instant; or show it again.

        Nothing hidden is found, cited or read; it stays, with its vectors, until it is shown again.
        """
        gate.require(principal, Scope.KB_WRITE)

        async def commit(session: AsyncSession) -> DocumentInfo:
            chunk = parse_chunk_id(ref)
            if chunk is not None:
                return _info(await hiding.hide_chunk(session, principal, *chunk, hidden=hidden))
            document = await _find(session, principal, ref)
            return _info(await hiding.hide_document(session, principal, document.id, hidden=hidden))

        return await self._db.run_write(commit)

    async def change(self, principal: Principal, ref: str, change: MetadataChange) -> DocumentInfo:
        """Set tags, own fields and ranking features; filters and hits have them at once.

        Nothing is read or embedded again.
        """
        gate.require(principal, Scope.KB_WRITE)
        if not change:
            raise InvalidInput("Give something to set: tags, metadata or features.", field="body")

        async def commit(session: AsyncSession) -> DocumentInfo:
            document = await _find(session, principal, ref)
            return _info(await change_document(session, principal, document.id, change))

        return await self._db.run_write(commit)

    async def hidden_chunks(self, principal: Principal, document_id: str) -> list[HiddenChunk]:
        """The hidden passages of a document, for those who may change it."""
        gate.require(principal, Scope.KB_WRITE)
        return await self._db.run_read(
            lambda session: hiding.hidden_chunks(session, principal, document_id)
        )

    async def chunks(
        self, principal: Principal, document_id: str, *, after: int = -1, limit: int = 50
    ) -> ChunkPage:
        """What search sees of a document, in order, after a chunk's ordinal."""
        gate.require(principal, Scope.KB_READ)
        return await self._db.run_read(
            lambda session: list_chunks(session, principal, document_id, after=after, limit=limit)
        )

    async def follow(
        self, principal: Principal, document_ids: Sequence[str], *, every_s: float = 0.2
    ) -> AsyncIterator[list[DocumentInfo]]:
        """The documents every `every_s` seconds, until none of them is pending or running."""
        gate.require(principal, Scope.KB_READ)
        while True:
            found: list[DocumentInfo] = []
            async with self._db.read() as session:
                for start in range(0, len(document_ids), LOOK_UP):
                    some = document_ids[start : start + LOOK_UP]
                    rows = await session.scalars(
                        gate.select_documents(principal).where(Document.id.in_(some))
                    )
                    found += [_info(row) for row in rows]
            yield found
            if not any(document.state in {"pending", "running"} for document in found):
                return
            await anyio.sleep(every_s)

    async def delete(self, principal: Principal, document_id: str) -> DocumentInfo:
        """Take a document out of every answer from this instant; its index rows follow."""
        gate.require(principal, Scope.KB_WRITE)

        async def commit(session: AsyncSession) -> DocumentInfo:
            document = await gate.get_writable_document(session, principal, document_id)
            await retire(session, document)
            await gate.audit(session, principal, "document.delete", document.id)
            return _info(document)

        return await self._db.run_write(commit)

    async def retry(self, principal: Principal, document_id: str) -> Added:
        """Ingest the newest revision of a failed or cancelled document once more."""
        gate.require(principal, Scope.KB_WRITE)

        async def commit(session: AsyncSession) -> Added:
            document = await gate.get_writable_document(session, principal, document_id)
            if document.state not in {"failed", "cancelled"}:
                raise InvalidInput(
                    f"{document.title!r} is {document.state}: only failed or cancelled documents"
                    " can be retried.",
                    field="document_id",
                )
            revision = await session.scalar(
                select(Revision)
                .where(Revision.document_id == document.id)
                .order_by(Revision.number.desc())
                .limit(1)
            )
            if revision is None:
                raise NotFound(f"{document.title!r} has no content; add it again.")
            reset_state(document)
            job_id = await enqueue(
                session,
                tenant_id=document.tenant_id,
                kind=INGEST,
                payload={"document_id": document.id, "revision_id": revision.id},
                lane=Lane.INTERACTIVE,
                document_id=document.id,
                max_attempts=self._max_attempts,
            )
            return Added(document.id, revision.id, job_id, DocumentState.PENDING)

        return await self._db.run_write(commit)

    async def cancel(self, principal: Principal, document_id: str) -> DocumentInfo:
        """Stop the ingestion of a document; what answered before keeps answering."""
        gate.require(principal, Scope.KB_WRITE)

        async def commit(session: AsyncSession) -> DocumentInfo:
            document = await gate.get_writable_document(session, principal, document_id)
            if document.state not in {"pending", "running"}:
                raise InvalidInput(
                    f"{document.title!r} is {document.state}: there is nothing to cancel.",
                    field="document_id",
                )
            await endings.cancel_document(session, document.tenant_id, document.id)
            await take_back(session, document)
            if await is_in_work(session, document.id):
                document.message = "Cancelling."
            else:
                document.state = DocumentState.CANCELLED
                document.message = "Cancelled before it started."
            document.updated_at = now()
            return _info(document)

        return await self._db.run_write(commit)

    async def explain(self, principal: Principal, document_id: str) -> str:
        """One sentence on the state of a document and what to do about it."""
        gate.require(principal, Scope.KB_READ)
        async with self._db.read() as session:
            document = await gate.get_visible_document(session, principal, document_id)
            return await document_status.explain(session, document)

    async def get_ingestion(self, principal: Principal, ref: str) -> Ingestion:
        """How far an ingestion is, by its job's id or the document's."""
        return await self._db.run_read(
            lambda session: ingestions.get_ingestion(session, principal, ref)
        )

    async def watch(
        self,
        principal: Principal,
        document_ids: Sequence[str] = (),
        *,
        kb: str = "",
        every_s: float = 0.5,
    ) -> AsyncIterator[list[DocumentProgress]]:
        """What changes of these documents, or of all that are in work now, until each has ended."""
        ids = list(document_ids)
        for document_id in ids:
            await self.get(principal, document_id)
        if not ids:
            kb_id = (await self._knowledge_bases.get(principal, kb)).id if kb else ""
            async with self._db.read() as session:
                ids = await progress.in_work(session, principal, kb_id)
        async for changed in progress.watch(self._db, principal, ids, every_s=every_s):
            yield changed


async def _find(session: AsyncSession, principal: Principal, ref: str) -> Document:
    chunk = parse_chunk_id(ref)
    if chunk is not None:
        return (
            await gate.get_visible_revision(
                session, principal.tenant_id, principal.tokens, chunk[0]
            )
        )[0]
    if urlsplit(ref).scheme in {"http", "https"}:
        named = or_(Document.url.in_({ref, canonical_url(ref)}), Document.external_id == ref)
        found = list(await session.scalars(gate.select_documents(principal).where(named).limit(2)))
        if len(found) > 1:
            raise InvalidInput(f"{ref} is in several documents: name one by its id.", field="id")
        if found:
            return found[0]
    return await gate.get_visible_document(session, principal, ref)


def _info(row: Document) -> DocumentInfo:
    return DocumentInfo(
        id=row.id,
        kb_id=row.kb_id,
        external_id=row.external_id,
        title=row.title,
        url=row.url,
        state=row.state,
        vectors=row.vectors,
        progress=row.progress,
        message=row.message,
        error=row.error,
        error_code=row.error_code,
        chunk_count=row.chunk_count,
        token_count=row.token_count,
        size_bytes=row.size_bytes,
        language=row.language,
        hidden=row.hidden,
        tags=row.tags,
        fields=row.fields,
        features=row.features,
        details=row.details,
        created_at=row.created_at,
        updated_at=row.updated_at,
        source_updated_at=row.source_updated_at,
    )
