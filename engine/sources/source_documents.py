"""The documents of a source's items: put, given other readers, taken off. For the jobs of a sync.

Nothing here checks permissions: what a source brings is written for nobody in particular, with the
readers that its container says.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from engine import clock
from engine.access import acl
from engine.db.tables import Document, Revision, Source, SourceItem
from engine.documents import hiding
from engine.documents.lifecycle import (
    TITLE_MAX,
    children_of,
    reset_state,
    retire,
    start_revision,
    take_off,
)
from engine.domain import Lane
from engine.jobs import endings
from engine.sources.containers import Readers


@dataclass(frozen=True, slots=True)
class StoredContent:
    """The content of an item, whose bytes are in the blob store."""

    blob_hash: str
    size_bytes: int
    filename: str
    mime: str = ""


async def put_document(
    session: AsyncSession,
    source: Source,
    item: SourceItem,
    content: StoredContent,
    readers: Readers,
    *,
    max_attempts: int = 5,
) -> bool:
    """Let an item's document have this content; whether that was anything new."""
    document = await session.scalar(
        select(Document)
        .where(
            Document.kb_id == source.kb_id,
            Document.source_id == source.id,
            Document.external_id == item.external_id,
        )
        .with_for_update()
    )
    newest = None
    acl_id = await acl.intern_acl(session, source.tenant_id, readers.acl)
    if document is None:
        document = Document(
            id=clock.new_id(),
            tenant_id=source.tenant_id,
            kb_id=source.kb_id,
            source_id=source.id,
            external_id=item.external_id,
            title="",
            acl_id=acl_id,
        )
        session.add(document)
    else:
        newest = await session.scalar(
            select(Revision)
            .where(Revision.document_id == document.id)
            .order_by(Revision.number.desc())
            .limit(1)
        )
        if _is_same(document, newest, content):
            item.document_id = document.id
            document.url, document.source_updated_at = item.url, item.source_updated_at
            await set_readers(session, document, readers)
            return False
        await endings.cancel_document(session, source.tenant_id, document.id)
        if document.deleted_at is None and not _narrows(document, acl_id, readers):
            await take_off(session, document)  # its present text is for its present readers
    document.title = (item.title or content.filename)[:TITLE_MAX]
    document.url = item.url
    document.acl_id, document.acl_all = acl_id, list(readers.acl_all)
    document.details = {k: v for k, v in item.details.items() if not k.startswith("_")}
    document.source_updated_at = item.source_updated_at
    document.size_bytes = content.size_bytes
    document.deleted_at = None
    reset_state(document)
    await session.flush()
    await start_revision(
        session,
        document,
        newest,
        blob_hash=content.blob_hash,
        filename=content.filename,
        mime=content.mime,
        size_bytes=content.size_bytes,
        lane=Lane.BULK,
        max_attempts=max_attempts,
    )
    item.document_id = document.id
    return True


def _is_same(document: Document, newest: Revision | None, content: StoredContent) -> bool:
    return (
        newest is not None
        and newest.blob_hash == content.blob_hash
        and newest.filename == content.filename[:TITLE_MAX]
        and document.deleted_at is None
        and document.state not in {"failed", "cancelled"}
    )


def _narrows(document: Document, acl_id: str, readers: Readers) -> bool:
    return document.acl_id == acl_id and set(document.acl_all) <= set(readers.acl_all)


async def set_readers(session: AsyncSession, document: Document, readers: Readers) -> bool:
    """Give a document, and those made of its files, these readers; the index follows."""
    acl_id = await acl.intern_acl(session, document.tenant_id, readers.acl)
    wanted = (acl_id, sorted(readers.acl_all))
    if (document.acl_id, sorted(document.acl_all)) == wanted:
        return False
    for each in (document, *await children_of(session, document)):
        each.acl_id, each.acl_all = acl_id, list(wanted[1])
        each.updated_at = clock.now()
        await session.flush()
        await hiding.queue_fields(session, each.tenant_id, each.id)
    return True


async def move_document(session: AsyncSession, item: SourceItem, readers: Readers) -> None:
    """Give the document of an item that is in another container now the readers of that."""
    if item.document_id is None:
        return
    document = await session.get(Document, item.document_id, with_for_update=True)
    if document is not None:
        await set_readers(session, document, readers)


async def retire_item(session: AsyncSession, item: SourceItem) -> bool:
    """Take an item's document out of every answer; whether there was one."""
    if item.document_id is None:
        return False
    document = await session.get(Document, item.document_id, with_for_update=True)
    if document is None or document.deleted_at is not None:
        return False
    await retire(session, document)
    return True


async def documents_of(session: AsyncSession, items: Sequence[SourceItem]) -> dict[str, Document]:
    """The documents of these items, by the item's id."""
    ids = [item.document_id for item in items if item.document_id is not None]
    rows = await session.scalars(select(Document).where(Document.id.in_(ids)))
    found = {row.id: row for row in rows}
    return {item.id: found[item.document_id] for item in items if item.document_id in found}
