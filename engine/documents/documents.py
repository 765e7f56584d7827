"""Documents: add, replace, delete, list, explain. Each verb is one short transaction.

The doors call these through `Engine`. Adding stores the bytes, then commits document, revision,
job and event together and returns at once with a handle; the worker does the rest
(`ingestion/`). What a worker reports back (progress, switch, failure) is in `revisions.py`.
"""

from __future__ import annotations

import asyncio
import hashlib
import mimetypes
import re
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import anyio
import anyio.to_thread
from sqlalchemy import delete, exists, func, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from engine.access import acl, gate
from engine.blobs.store import BlobStore
from engine.clock import now
from engine.db.session import Database
from engine.db.tables import (
    Acl,
    Document,
    Job,
    KnowledgeBase,
    Live,
    Revision,
    Source,
)
from engine.documents.document_status import explain
from engine.documents.upload_options import (
    AS_THE_PIPELINE_SAYS,
    UploadOptions,
    details_of,
    kept_options,
    parse_options,
)
from engine.domain import DocumentState, JobState, Lane, Principal, Scope
from engine.errors import Conflict, InvalidInput, NotFound, TooLarge
from engine.jobs import claims
from engine.jobs.kinds import CLEAN, INGEST
from engine.jobs.outbox import append_event, enqueue

EXTERNAL_ID_MAX = 2000  # characters, the column's width
TITLE_MAX = 500
CHILDREN = 100  # documents made of the files within one
RECEIVED_AT_A_TIME = 8
LOOK_UP = 500  # ids a statement

_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


@dataclass(frozen=True, slots=True)
class NewDocument:
    """What a door hands over: bytes (`data` or `path`), or a `url` to fetch.

    `external_id` makes it unique in its source: the canonical URL or the path relative to the
    source's root; without one, the content's hash. `acl` None inherits the KB's readers.
    `extraction_strategy` (empty: standard) and `quality_control` as in `upload_options.py`.
    """

    data: bytes | None = None
    path: Path | None = None
    filename: str = ""
    title: str = ""
    url: str = ""
    external_id: str = ""
    acl: Sequence[str] | None = None
    updated_at: datetime | None = None
    details: Mapping[str, Any] = field(default_factory=dict)
    extraction_strategy: str = ""
    quality_control: bool = False


@dataclass(frozen=True, slots=True)
class Added:
    """The handle of an added document. `unchanged`: the same bytes were there already."""

    document_id: str
    revision_id: str
    job_id: str
    state: DocumentState
    unchanged: bool = False


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
    details: Mapping[str, Any]
    created_at: datetime
    updated_at: datetime
    source_updated_at: datetime | None


@dataclass(frozen=True, slots=True)
class DocumentPage:
    """Some documents, newest first; `next_cursor` is empty on the last page."""

    documents: Sequence[DocumentInfo]
    next_cursor: str


@dataclass(frozen=True, slots=True)
class _Received:
    """A new document whose bytes are stored."""

    new: NewDocument
    external_id: str
    title: str
    blob_hash: str
    size_bytes: int
    options: UploadOptions = AS_THE_PIPELINE_SAYS
    fault: str = ""  # why it can't be ingested, where that is plain already


class Documents:
    """The document verbs over a database and a blob store."""

    def __init__(
        self, db: Database, blobs: BlobStore, *, max_file_size_bytes: int, max_attempts: int = 5
    ) -> None:
        self._db = db
        self._blobs = blobs
        self._max = max_file_size_bytes
        self._max_attempts = max_attempts

    async def add(
        self,
        principal: Principal,
        kb_id: str,
        new: Sequence[NewDocument],
        *,
        lane: Lane = Lane.INTERACTIVE,
        correlation_id: str = "",
    ) -> list[Added]:
        """Accept documents into a KB: all of them, or none where one is refused.

        Adding the same external id again is a new revision; the same bytes again is nothing new.
        A file over the size limit becomes a row too: `failed`, with the reason.
        """
        gate.require(principal, Scope.KB_WRITE)
        for one in new:  # before anything is stored
            _options_of(one)
        received = await self._receive_all(principal, new)

        async def commit(session: AsyncSession) -> list[Added]:
            await gate.get_writable_kb(session, principal, kb_id)
            source = await session.scalar(
                select(Source).where(
                    Source.tenant_id == principal.tenant_id,
                    Source.kb_id == kb_id,
                    Source.kind == "upload",
                )
            )
            if source is None:
                raise NotFound(f"No knowledge base {kb_id!r} that you may write to.")
            return [
                await self._accept(session, principal, source, item, lane, correlation_id)
                for item in received
            ]

        return await self._db.run_write(commit)

    async def _receive_all(
        self, principal: Principal, new: Sequence[NewDocument]
    ) -> list[_Received]:
        """All of them stored, some at a time: each waits for the disk rather than the processor."""
        room = asyncio.Semaphore(RECEIVED_AT_A_TIME)

        async def receive(item: NewDocument) -> _Received:
            async with room:
                return await self._receive(principal, item)

        stored = await asyncio.gather(*map(receive, new), return_exceptions=True)
        for outcome in stored:
            if isinstance(outcome, BaseException):
                raise outcome
        return [outcome for outcome in stored if isinstance(outcome, _Received)]

    async def _receive(self, principal: Principal, new: NewDocument) -> _Received:
        if new.url and new.data is None and new.path is None:
            if urlsplit(new.url).scheme not in {"http", "https"}:
                raise InvalidInput(f"{new.url!r} is not an http or https URL.", field="url")
            title = new.title or new.url
            external_id = new.external_id or new.url
            return self._checked(_Received(new, external_id, title[:TITLE_MAX], "", 0))
        if new.data is None and new.path is None:
            raise InvalidInput("A document needs content: a file, text or a URL.", field="data")
        data, size = new.data, len(new.data or b"")
        if data is None and new.path is not None:
            size = (await anyio.to_thread.run_sync(new.path.stat)).st_size
            # One too large is not even read.
            data = b"" if size > self._max else await anyio.to_thread.run_sync(new.path.read_bytes)
        data = data or b""
        title = new.title or Path(new.filename or (new.path.name if new.path else "")).name
        external_id = new.external_id or f"sha256:{hashlib.sha256(data).hexdigest()}"
        title = (title or external_id)[:TITLE_MAX]
        if size > self._max:
            fault = (
                f"{title} has {size:,} bytes and the limit is {self._max:,}: split it, or raise"
                " processing.max_file_size."
            )
            return self._checked(_Received(new, external_id, title, "", size, fault=fault))
        blob_hash = await self._blobs.put(principal.tenant_id, data)
        return self._checked(_Received(new, external_id, title, blob_hash, len(data)))

    @staticmethod
    def _checked(received: _Received) -> _Received:
        # A name comes from whoever made the file; PostgreSQL can't keep a NUL, a log no line end.
        received = replace(
            received,
            new=replace(received.new, url=_encoded(received.new.url)),
            options=_options_of(received.new),
            title=_CONTROL.sub(" ", received.title),
            external_id=_encoded(received.external_id),
        )
        if len(received.external_id) > EXTERNAL_ID_MAX:
            raise InvalidInput(
                f"The external id of {received.title!r} has {len(received.external_id)}"
                f" characters; at most {EXTERNAL_ID_MAX} are allowed.",
                field="external_id",
            )
        return received

    async def _accept(
        self,
        session: AsyncSession,
        principal: Principal,
        source: Source,
        item: _Received,
        lane: Lane,
        correlation_id: str,
    ) -> Added:
        new, tenant_id = item.new, principal.tenant_id
        document = await session.scalar(
            select(Document).where(
                Document.kb_id == source.kb_id,
                Document.source_id == source.id,
                Document.external_id == item.external_id,
            )
        )
        readers = [acl.kb_token(source.kb_id)] if new.acl is None else new.acl
        acl_id = await acl.intern_acl(session, tenant_id, readers)
        newest = None
        if document is not None:
            newest = await session.scalar(
                select(Revision)
                .where(Revision.document_id == document.id)
                .order_by(Revision.number.desc())
                .limit(1)
            )
            if document.acl_id == acl_id:
                unchanged = await self._unchanged(session, document, newest, item)
                if unchanged is not None:
                    return unchanged
        filename = new.filename or (new.path.name if new.path else "") or item.title
        filename = filename.replace("\0", " ")
        if document is None:
            document = Document(
                tenant_id=tenant_id,
                kb_id=source.kb_id,
                source_id=source.id,
                external_id=item.external_id,
                title=item.title,
                acl_id=acl_id,
            )
            session.add(document)
        else:
            await claims.cancel_document(session, tenant_id, document.id)
            if document.acl_id != acl_id and document.deleted_at is None:
                await self._let_in(session, principal, document, readers)
        document.title = item.title
        document.url = new.url
        document.acl_id = acl_id
        document.details = {**new.details, **details_of(item.options)}
        document.source_updated_at = new.updated_at
        document.size_bytes = item.size_bytes
        document.deleted_at = None
        reset_state(document)
        await session.flush()
        if item.fault:
            return await self._refuse(session, document, item.fault)
        revision = Revision(
            tenant_id=tenant_id,
            document_id=document.id,
            number=newest.number + 1 if newest else 1,
            blob_hash=item.blob_hash,
            filename=filename[:TITLE_MAX],
            mime=mimetypes.guess_type(filename)[0] or "",
            size_bytes=item.size_bytes,
        )
        session.add(revision)
        await session.flush()
        job_id = await enqueue(
            session,
            tenant_id=tenant_id,
            kind=INGEST,
            payload={"document_id": document.id, "revision_id": revision.id},
            lane=lane,
            document_id=document.id,
            max_attempts=self._max_attempts,
            correlation_id=correlation_id,
        )
        await append_event(
            session,
            tenant_id,
            "document.updated" if newest else "document.uploaded",
            {"document_id": document.id, "kb_id": source.kb_id, "revision_id": revision.id},
        )
        return Added(document.id, revision.id, job_id, DocumentState.PENDING)

    @staticmethod
    async def _let_in(
        session: AsyncSession, principal: Principal, document: Document, readers: Sequence[str]
    ) -> None:
        """Before a document gets other readers: its present text is for the present ones alone."""
        visible = gate.select_documents(principal).where(Document.id == document.id)
        if await session.scalar(visible) is None:
            raise Conflict(
                f"The external id {document.external_id!r} is taken by a document that is not for"
                " you to replace; give yours another."
            )
        if not set(readers) <= set(await acl_of(session, document)):
            await take_off(session, document)

    @staticmethod
    async def _refuse(session: AsyncSession, document: Document, fault: str) -> Added:
        """A row that says why the document can't be had; what answered before goes on answering."""
        document.state = DocumentState.FAILED
        document.progress = -1.0
        document.error = document.message = fault
        document.error_code = TooLarge.code
        await append_event(
            session,
            document.tenant_id,
            "document.processing_failed",
            {"document_id": document.id, "kb_id": document.kb_id, "error": fault},
        )
        return Added(document.id, "", "", DocumentState.FAILED)

    @staticmethod
    async def _unchanged(
        session: AsyncSession, document: Document, newest: Revision | None, item: _Received
    ) -> Added | None:
        """The handle of what is there where these bytes are indexed, or on their way, already."""
        if newest is None or document.deleted_at is not None or not item.blob_hash:
            return None
        if newest.blob_hash != item.blob_hash or document.state in {"failed", "cancelled"}:
            return None
        if kept_options(document.details) != item.options:
            return None  # read otherwise, the same bytes may be other chunks
        job = await session.scalar(
            select(Job.id)
            .where(Job.document_id == document.id, Job.kind == INGEST)
            .order_by(Job.id.desc())
            .limit(1)
        )
        state = DocumentState(document.state)
        return Added(document.id, newest.id, job or "", state, unchanged=True)

    async def page(
        self,
        principal: Principal,
        *,
        kb_ids: Sequence[str] | None = None,
        state: str = "",
        limit: int = 100,
        cursor: str = "",
    ) -> DocumentPage:
        """Documents the principal may see, newest first; `cursor` is the last id seen."""
        gate.require(principal, Scope.KB_READ)
        if state and state not in set(DocumentState):
            allowed = ", ".join(DocumentState)
            raise InvalidInput(f"No state {state!r}. Allowed: {allowed}.", field="state")
        query = gate.select_documents(principal)
        if kb_ids is not None:
            query = query.where(Document.kb_id.in_(kb_ids))
        if state:
            query = query.where(Document.state == state)
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

    async def follow(
        self, principal: Principal, document_ids: Sequence[str], *, every_s: float
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
        """Stop the ingestion of a document; what answered before goes on answering."""
        gate.require(principal, Scope.KB_WRITE)

        async def commit(session: AsyncSession) -> DocumentInfo:
            document = await gate.get_writable_document(session, principal, document_id)
            if document.state not in {"pending", "running"}:
                raise InvalidInput(
                    f"{document.title!r} is {document.state}: there is nothing to cancel.",
                    field="document_id",
                )
            await claims.cancel_document(session, document.tenant_id, document.id)
            await take_back(session, document)
            if await _is_in_work(session, document.id):
                document.message = "Cancelling."
            else:
                document.state = DocumentState.CANCELLED
                document.message = "Cancelled before it began."
            document.updated_at = now()
            return _info(document)

        return await self._db.run_write(commit)

    async def why(self, principal: Principal, document_id: str) -> str:
        """One sentence on where a document stands and what to do about it."""
        gate.require(principal, Scope.KB_READ)
        async with self._db.read() as session:
            document = await gate.get_visible_document(session, principal, document_id)
            return await explain(session, document)


def _options_of(new: NewDocument) -> UploadOptions:
    return parse_options(new.extraction_strategy, quality_control=new.quality_control)


def _encoded(name: str) -> str:
    """Control characters as in a URL: two files whose names differ in them stay two."""
    return _CONTROL.sub(lambda match: f"%{ord(match.group()):02X}", name)


def reset_state(document: Document) -> None:
    """Begin again: `pending`, no progress, no error."""
    document.state = DocumentState.PENDING
    document.progress = 0.0
    document.message = ""
    document.error = ""
    document.error_code = ""
    document.updated_at = now()


async def take_back(session: AsyncSession, document: Document) -> None:
    """Let a document's newest revision no longer answer where it does so by its words alone.

    For one whose ingestion is cancelled: then nothing of it is found.
    """
    live = await session.scalar(select(Live.revision_id).where(Live.document_id == document.id))
    if live is not None and live == await _newest_id(session, document.id):
        await take_off(session, document)


async def _newest_id(session: AsyncSession, document_id: str) -> str | None:
    query = select(Revision.id).where(Revision.document_id == document_id)
    return await session.scalar(query.order_by(Revision.number.desc()).limit(1))


async def _is_in_work(session: AsyncSession, document_id: str) -> bool:
    running = exists().where(Job.document_id == document_id, Job.state == JobState.RUNNING)
    return bool(await session.scalar(select(running)))


async def take_off(session: AsyncSession, document: Document) -> None:
    """Off every branch, and out of the counters."""
    live = await session.scalar(
        select(func.count()).select_from(Live).where(Live.document_id == document.id)
    )
    if live:
        await session.execute(
            update(KnowledgeBase)
            .where(KnowledgeBase.id == document.kb_id)
            .values(
                document_count=KnowledgeBase.document_count - 1,
                chunk_count=KnowledgeBase.chunk_count - document.chunk_count,
                token_count=KnowledgeBase.token_count - document.token_count,
                updated_at=now(),
            )
        )
    await session.execute(delete(Live).where(Live.document_id == document.id))
    document.chunk_count = 0
    document.token_count = 0
    document.vectors = "none"


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
    await claims.cancel_document(session, document.tenant_id, document.id)
    await take_off(session, document)
    document.deleted_at = now()
    document.updated_at = now()
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
        details=row.details,
        created_at=row.created_at,
        updated_at=row.updated_at,
        source_updated_at=row.source_updated_at,
    )
