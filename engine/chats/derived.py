"""The documents that hold a channel's messages: what the job that derives them writes.

`channel_changes.py` reads whole conversations around the changed messages, `ingestion/threads.py`
makes documents of them, and `commit_derived` replaces the documents that held the same messages.
All of it may run twice. Where a message changes in between, nothing is written.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import delete, insert, or_, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from engine import clock
from engine.access import acl
from engine.chats.batches import batches
from engine.chats.channel_changes import ChannelChanges
from engine.chats.derivation import AGAIN_S, queue_derivation
from engine.chats.forgetting import SAVED
from engine.chats.message_deletion import drop_texts
from engine.db.tables import (
    Chunk,
    Document,
    FileEntry,
    Live,
    Message,
    MessageSpan,
    Revision,
    RevisionText,
    Source,
)
from engine.documents.lifecycle import TITLE_MAX, reset_state, retire, start_revision
from engine.domain import Lane
from engine.jobs import endings


@dataclass(frozen=True, slots=True)
class DerivedDocument:
    """A conversation as a document: `spans` says where each message is in its text."""

    external_id: str
    title: str
    url: str
    blob_hash: str
    size_bytes: int
    spans: Sequence[tuple[int, int, str]]  # start, end, message id
    updated_at: datetime
    details: Mapping[str, Any] = field(default_factory=dict)


THREAD_MIME = (
    "application/vnd.scrubjay.conversation"  # a converted document, as its text and blocks
)


async def start_derivation(session: AsyncSession, source_id: str) -> None:
    """From here on a change queues a new job: this job may have read before it."""
    await session.execute(update(Source).where(Source.id == source_id).values(derive_due_at=None))


async def commit_derived(
    session: AsyncSession,
    changes: ChannelChanges,
    documents: Sequence[DerivedDocument],
    *,
    lane: Lane,
    max_attempts: int = 5,
) -> bool:
    """Let these documents take the place of those that held the same messages before.

    False, and nothing is done, where a message changed since it was read: read again.
    """
    source = await session.get(Source, changes.source_id, with_for_update=True)
    if source is None or source.state == "removing":
        return True
    if not await _is_current(session, changes.change_ids):
        return False
    readers = [acl.channel_token(changes.channel_id)]
    acl_id = await acl.intern_acl(session, changes.tenant_id, readers)
    kept: set[str] = set()
    for new in documents:
        document = await _put(session, source, new, acl_id, lane, max_attempts)
        kept.add(document.id)
        ids = [message_id for _, _, message_id in new.spans]
        for some in batches(ids):
            await session.execute(
                update(Message)
                .where(Message.id.in_(some))
                .values(document_id=document.id)
                .execution_options(synchronize_session=False)
            )
    held = {message_id for new in documents for _, _, message_id in new.spans}
    for some in batches(sorted(changes.change_ids.keys() - held)):
        await session.execute(
            update(Message)
            .where(Message.id.in_(some))
            .values(document_id=None)
            .execution_options(synchronize_session=False)
        )
    for some in batches(sorted(changes.change_ids)):
        await session.execute(
            update(Message)
            .where(Message.id.in_(some))
            .values(dirty=False)
            .execution_options(synchronize_session=False)
        )
    for document_id in sorted(changes.documents - kept):
        gone = await session.get(Document, document_id, with_for_update=True)
        if gone is not None and gone.deleted_at is None:
            await retire(session, gone)
            await drop_texts(session, gone)
    if changes.more or changes.again_at is not None:
        at = None if changes.more else changes.again_at
        await queue_derivation(session, source, lane=lane, at=at)
    return True


async def _is_current(session: AsyncSession, change_ids: Mapping[str, str]) -> bool:
    for some in batches(sorted(change_ids)):
        rows = await session.execute(
            select(Message.id, Message.change_id).where(Message.id.in_(some)).with_for_update()
        )
        if {row.id: row.change_id for row in rows} != {item: change_ids[item] for item in some}:
            return False
    return True


async def _put(
    session: AsyncSession,
    source: Source,
    new: DerivedDocument,
    acl_id: str,
    lane: Lane,
    max_attempts: int,
) -> Document:
    document = await session.scalar(
        select(Document)
        .where(
            Document.kb_id == source.kb_id,
            Document.source_id == source.id,
            Document.external_id == new.external_id,
        )
        .with_for_update()
    )
    newest = None
    if document is not None:
        newest = await session.scalar(
            select(Revision)
            .where(Revision.document_id == document.id)
            .order_by(Revision.number.desc())
            .limit(1)
        )
        is_same = newest is not None and newest.blob_hash == new.blob_hash
        if (
            is_same
            and document.deleted_at is None
            and document.state not in {"failed", "cancelled"}
        ):
            return document
        await endings.cancel_document(session, source.tenant_id, document.id)
        await _drop_superseded(session, document)
    else:
        document = Document(
            id=clock.new_id(),
            tenant_id=source.tenant_id,
            kb_id=source.kb_id,
            source_id=source.id,
            external_id=new.external_id,
            title=new.title,
            acl_id=acl_id,
        )
        session.add(document)
    document.title = new.title[:TITLE_MAX]
    document.url = new.url
    document.acl_id = acl_id
    document.details = dict(new.details)
    document.source_updated_at = new.updated_at
    document.size_bytes = new.size_bytes
    document.deleted_at = None
    reset_state(document)
    await session.flush()
    revision_id, _ = await start_revision(
        session,
        document,
        newest,
        blob_hash=new.blob_hash,
        filename=f"{new.external_id}.conversation",
        mime=THREAD_MIME,
        size_bytes=new.size_bytes,
        lane=lane,
        max_attempts=max_attempts,
    )
    rows = [
        {
            "revision_id": revision_id,
            "start": start,
            "end": end,
            "message_id": message_id,
            "tenant_id": source.tenant_id,
        }
        for start, end, message_id in new.spans
    ]
    await session.execute(insert(MessageSpan), rows)
    return document


async def _drop_superseded(session: AsyncSession, document: Document) -> None:
    """Delete the texts of revisions that no longer answer: every reply to a thread adds a revision."""
    live = select(Live.revision_id).where(Live.document_id == document.id)
    ids = select(Revision.id).where(Revision.document_id == document.id, Revision.id.not_in(live))
    for table in (Chunk, RevisionText, MessageSpan):
        await session.execute(delete(table).where(table.revision_id.in_(ids)))


async def is_resolved(session: AsyncSession, document_id: str) -> bool:
    """Whether somebody marked the conversation of a document as solved."""
    details = await session.scalar(select(Document.details).where(Document.id == document_id))
    return bool((details or {}).get("solved"))


async def outdated_contents(session: AsyncSession, document_id: str) -> list[str]:
    """Hashes of what talk, or an answer saved of it, said before and no revision says now.

    The caller deletes these blobs: what somebody deleted must not stay on disk.
    """
    of_talk = or_(
        Revision.mime == THREAD_MIME,
        Revision.document_id.in_(
            select(Document.id).where(
                Document.id == document_id,
                or_(
                    Document.external_id.startswith(SAVED),
                    Document.external_id.startswith("attachment:"),
                ),
            )
        ),
    )
    rows = (
        await session.execute(
            select(Revision.id, Revision.number, Revision.blob_hash, Revision.tenant_id).where(
                Revision.document_id == document_id, Revision.blob_hash != "", of_talk
            )
        )
    ).all()
    if not rows:
        return []
    document = await session.get(Document, document_id)
    live = select(Live.revision_id).where(Live.document_id == document_id)
    keep = set(await session.scalars(live))
    if document is not None and document.deleted_at is None:
        keep.add(max(rows, key=lambda row: row.number).id)
    old = {row.blob_hash for row in rows if row.id not in keep}
    others = await session.execute(
        select(Revision.blob_hash, Document.deleted_at)
        .join(Document, Document.id == Revision.document_id)
        .where(
            Revision.tenant_id == rows[0].tenant_id,
            Revision.blob_hash.in_(old),
            Revision.id.not_in([row.id for row in rows if row.id not in keep]),
        )
    )
    in_files = await session.scalars(
        select(FileEntry.blob_hash).where(
            FileEntry.tenant_id == rows[0].tenant_id, FileEntry.blob_hash.in_(old)
        )
    )
    kept = {row.blob_hash for row in others if row.deleted_at is None} | set(in_files)
    return sorted(old - kept)


async def derive_later(session: AsyncSession, source_id: str, lane: Lane) -> None:
    """Try a channel again that kept changing while it was read."""
    source = await session.get(Source, source_id, with_for_update=True)
    if source is not None:
        at = clock.now() + timedelta(seconds=AGAIN_S)
        await queue_derivation(session, source, lane=lane, at=at)


async def report_failure(session: AsyncSession, source_id: str, error: str) -> None:
    """Say on the source why its documents are not up to date."""
    await session.execute(update(Source).where(Source.id == source_id).values(error=error))
