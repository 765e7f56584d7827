"""Adding: what comes in is stored, then document, revision, job and event are committed together.

`Documents` calls this and returns at once with a handle; the worker does the rest (`ingestion/`).
What a worker reports back (progress, switch, failure) is in `revisions.py`.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urlsplit

import anyio
import anyio.to_thread
from sqlalchemy import ColumnElement, select
from sqlalchemy.ext.asyncio import AsyncSession

from engine.access import acl, gate
from engine.blobs.port import BlobStore
from engine.db.session import Database
from engine.db.tables import Document, Job, Revision, Source
from engine.documents.formats import check_format, is_page, supported_formats
from engine.documents.lifecycle import (
    EXTERNAL_ID_MAX,
    TITLE_MAX,
    acl_of,
    reset_state,
    start_revision,
    take_off,
)
from engine.documents.metadata import MetadataChange, parse_change, set_metadata
from engine.documents.upload_options import (
    AS_THE_PIPELINE_SAYS,
    UploadOptions,
    details_of,
    kept_options,
    parse_options,
)
from engine.domain import DocumentState, Lane, Principal, Scope
from engine.errors import Conflict, InvalidInput, NotFound, TooLarge
from engine.jobs import endings
from engine.jobs.kinds import INGEST
from engine.net.fetching import canonical_url
from engine.people.quotas import require_room

RECEIVED_AT_A_TIME = 8

_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


@dataclass(frozen=True, slots=True)
class NewDocument:
    """What a door hands over: bytes (`data` or `path`), or a `url` to fetch.

    `external_id` makes it unique in its source: the canonical URL (without one it is made of `url`) or the path relative to the
    source's root; without one, the content's hash. `acl` None inherits the KB's readers.
    `extraction_strategy` (empty: standard) and `quality_control` as in `upload_options.py`. `tags`
    None leaves those that a document has; `metadata` is set beside the fields it has.
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
    tags: Sequence[str] | None = None
    metadata: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Added:
    """The handle of an added document. `unchanged`: the same bytes were there already.

    `chunks` is how many answer now: none of a new document, whose ingestion follows.
    """

    document_id: str
    revision_id: str
    job_id: str
    state: DocumentState
    unchanged: bool = False
    chunks: int = 0


@dataclass(frozen=True, slots=True)
class Received:
    """A new document whose bytes are stored."""

    new: NewDocument
    external_id: str
    title: str
    blob_hash: str
    size_bytes: int
    options: UploadOptions = AS_THE_PIPELINE_SAYS
    change: MetadataChange = field(default_factory=MetadataChange)


class Intake:
    """Accepts documents into a knowledge base, over a database and a blob store."""

    def __init__(
        self,
        db: Database,
        blobs: BlobStore,
        *,
        max_file_size_bytes: int,
        max_attempts: int = 5,
        formats: Sequence[str] = (),
    ) -> None:
        self._db = db
        self._blobs = blobs
        self._max = max_file_size_bytes
        self._formats = formats
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
        Raises `TooLarge` for a file over the size limit, and `InvalidInput` for a format that is
        not supported here or faulty metadata, before anything is stored.
        """
        received = await self.receive(principal, kb_id, new)
        return await self._db.run_write(
            lambda session: self.accept(
                session, principal, kb_id, received, lane=lane, correlation_id=correlation_id
            )
        )

    async def receive(
        self, principal: Principal, kb_id: str, new: Sequence[NewDocument]
    ) -> list[Received]:
        """Check documents for a KB and store their bytes: what `accept` takes. Errors as of `add`."""
        await self.check(principal, kb_id, new)
        return await self._receive_all(principal, new)

    async def check(self, principal: Principal, kb_id: str, new: Sequence[NewDocument]) -> None:
        """Refuse what can't be added to a KB: its format, its size, faulty metadata."""
        gate.require(principal, Scope.KB_WRITE)
        for entry in new:
            _options_of(entry)
            _change_of(entry)
        async with self._db.read() as session:
            kb = await gate.get_writable_kb(session, principal, kb_id)
            supported = supported_formats(self._formats, kb.formats)
        for entry in new:
            name = _name_of(entry)
            if entry.data is not None or entry.path is not None or not is_page(name):
                check_format(name, supported)
        await self.check_sizes(new)

    async def check_sizes(self, new: Sequence[NewDocument]) -> None:
        """`TooLarge` where one is over the size limit."""
        await anyio.to_thread.run_sync(self._check_sizes, new)

    def received_of(self, new: NewDocument, blob_hash: str, size_bytes: int) -> Received:
        """A document whose bytes are in the blob store already, with an external id of its own."""
        title = (_title_of(new) or new.external_id)[:TITLE_MAX]
        return self._checked(Received(new, new.external_id, title, blob_hash, size_bytes))

    async def accept(
        self,
        session: AsyncSession,
        principal: Principal,
        kb_id: str,
        received: Sequence[Received],
        *,
        lane: Lane = Lane.INTERACTIVE,
        correlation_id: str = "",
    ) -> list[Added]:
        """Make documents of what was received, in the caller's transaction."""
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
        added = [
            await self._accept(session, principal, source, item, lane, correlation_id)
            for item in received
        ]
        await require_room(session, principal.tenant_id)
        return added

    def _check_sizes(self, new: Sequence[NewDocument]) -> None:
        for entry in new:
            size = entry.path.stat().st_size if entry.path is not None else len(entry.data or b"")
            self._check_size(entry, size)

    def _check_size(self, new: NewDocument, size_bytes: int) -> None:
        if size_bytes > self._max:
            raise TooLarge(
                f"{_title_of(new) or 'The document'} has {size_bytes:,} bytes and the limit is"
                f" {self._max:,}: split it, or raise processing.max_file_size."
            )

    async def _receive_all(
        self, principal: Principal, new: Sequence[NewDocument]
    ) -> list[Received]:
        """All of them stored, some at a time: each waits for the disk rather than the processor."""
        room = asyncio.Semaphore(RECEIVED_AT_A_TIME)

        async def receive(item: NewDocument) -> Received:
            async with room:
                return await self._receive(principal, item)

        stored = await asyncio.gather(*map(receive, new), return_exceptions=True)
        for outcome in stored:
            if isinstance(outcome, BaseException):
                raise outcome
        return [outcome for outcome in stored if isinstance(outcome, Received)]

    async def _receive(self, principal: Principal, new: NewDocument) -> Received:
        if new.url and new.data is None and new.path is None:
            if urlsplit(new.url).scheme not in {"http", "https"}:
                raise InvalidInput(f"{new.url!r} is not an http or https URL.", field="url")
            title = new.title or new.url
            address = canonical_url(new.url)
            if new.external_id in {"", new.url}:
                new = replace(new, url=address, external_id=address)
            external_id = new.external_id
            return self._checked(Received(new, external_id, title[:TITLE_MAX], "", 0))
        if new.data is None and new.path is None:
            raise InvalidInput("A document needs content: a file, text or a URL.", field="data")
        data = new.data or b""
        if new.data is None and new.path is not None:
            data = await anyio.to_thread.run_sync(new.path.read_bytes)
            self._check_size(new, len(data))  # it may have grown since
        external_id = new.external_id or f"sha256:{hashlib.sha256(data).hexdigest()}"
        title = (_title_of(new) or external_id)[:TITLE_MAX]
        blob_hash = await self._blobs.put(principal.tenant_id, data)
        return self._checked(Received(new, external_id, title, blob_hash, len(data)))

    @staticmethod
    def _checked(received: Received) -> Received:
        # A name comes from the author of the file; PostgreSQL can't keep a NUL, a log no line end.
        received = replace(
            received,
            new=replace(received.new, url=_encoded(received.new.url)),
            options=_options_of(received.new),
            change=_change_of(received.new),
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
        item: Received,
        lane: Lane,
        correlation_id: str,
    ) -> Added:
        new, tenant_id = item.new, principal.tenant_id
        document = await self._find(session, source, Document.external_id == item.external_id)
        if document is None and new.url == item.external_id:  # one found at another address
            document = await self._find(
                session,
                source,
                Document.url == new.url,
                Document.external_id.startswith("http"),
                Document.deleted_at.is_(None),
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
                    await set_metadata(session, principal, document, item.change)
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
            await endings.cancel_document(session, tenant_id, document.id)
            if document.acl_id != acl_id and document.deleted_at is None:
                await self._let_in(session, principal, document, readers)
        document.title = item.title
        document.url = new.url
        document.acl_id = acl_id
        document.details = {**new.details, **details_of(item.options)}
        document.source_updated_at = new.updated_at
        document.size_bytes = item.size_bytes
        if document.deleted_at is not None:  # what was set of it went with it
            document.tags, document.fields, document.lookup, document.features = [], {}, {}, {}
            document.deleted_at = None
        reset_state(document)
        await session.flush()
        await set_metadata(session, principal, document, item.change)
        revision_id, job_id = await start_revision(
            session,
            document,
            newest,
            blob_hash=item.blob_hash,
            filename=filename,
            size_bytes=item.size_bytes,
            lane=lane,
            max_attempts=self._max_attempts,
            correlation_id=correlation_id,
        )
        return Added(
            document.id, revision_id, job_id, DocumentState.PENDING, chunks=document.chunk_count
        )

    @staticmethod
    async def _find(
        session: AsyncSession, source: Source, *conditions: ColumnElement[bool]
    ) -> Document | None:
        found = await session.scalars(
            select(Document)
            .where(Document.kb_id == source.kb_id, Document.source_id == source.id, *conditions)
            .order_by(Document.id)
            .limit(1)
        )
        return found.first()

    @staticmethod
    async def _let_in(
        session: AsyncSession, principal: Principal, document: Document, readers: Sequence[str]
    ) -> None:
        """Before a document gets other readers: its present text is for the present ones alone."""
        visible = gate.select_documents(principal).where(Document.id == document.id)
        if await session.scalar(visible) is None:
            raise Conflict(
                f"The external id {document.external_id!r} belongs to a document that you may not "
                "replace; use another id."
            )
        if not set(readers) <= set(await acl_of(session, document)):
            await take_off(session, document)

    @staticmethod
    async def _unchanged(
        session: AsyncSession, document: Document, newest: Revision | None, item: Received
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
        return Added(
            document.id, newest.id, job or "", state, unchanged=True, chunks=document.chunk_count
        )


def _options_of(new: NewDocument) -> UploadOptions:
    return parse_options(new.extraction_strategy, quality_control=new.quality_control)


def _title_of(new: NewDocument) -> str:
    """The title or file name on one line; empty where there is neither."""
    name = new.filename or (new.path.name if new.path else "")
    return _CONTROL.sub(" ", new.title or Path(name).name)[:TITLE_MAX]


def _encoded(name: str) -> str:
    """Control characters as in a URL: two files whose names differ in them stay two."""
    return _CONTROL.sub(lambda match: f"%{ord(match.group()):02X}", name)


def _change_of(new: NewDocument) -> MetadataChange:
    return parse_change(tags=new.tags, metadata=new.metadata)


def _name_of(new: NewDocument) -> str:
    """The name whose ending says the format; of an address its path's, which may have none."""
    if new.data is None and new.path is None:
        return PurePosixPath(urlsplit(new.url).path).name
    return new.filename or (new.path.name if new.path else "")
