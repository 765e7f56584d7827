"""Takes messages out of every answer, with the documents that were made of them.

`history.py` and `retention.py` call it, and reading a platform where a message is missing. The
conversation comes back without what was deleted once its channel is derived again.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from sqlalchemy import delete, func, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from engine import clock
from engine.chats.batches import batches
from engine.chats.derivation import channels_of, queue_derivation, queue_for_channels, source_of
from engine.chats.forgetting import queue_scrub, saved_from
from engine.chats.messages import NewMessage, known_messages, message_row
from engine.chats.places import Place
from engine.db.tables import (
    Channel,
    Chunk,
    Document,
    Embedding,
    Message,
    MessageSpan,
    Revision,
    RevisionText,
)
from engine.documents import component_outputs
from engine.documents.lifecycle import children_of, retire, take_off
from engine.domain import Lane
from engine.jobs import endings
from engine.models.cache import text_hash

SCRUBBED_AT_A_TIME = 50  # documents a transaction


async def delete_messages(
    session: AsyncSession,
    place: Place,
    channel_id: str,
    external_ids: Collection[str],
    *,
    missed: bool = False,
) -> int:
    """Take messages out of every answer from this instant; says how many were there until now.

    `missed`: nobody said so, they were only not there when looked for; one that turns up again
    counts again. Of the others a tombstone stays, also of those not known yet: a delete may
    come before what it deletes.
    """
    source = await source_of(session, channel_id)
    if source is None or source.tenant_id != place.tenant_id:
        return 0
    known = await known_messages(session, channel_id, external_ids)
    present = [row for row in known.values() if row.deleted_at is None]
    await _bury(session, present, missed=missed)
    for external_id in sorted(set(external_ids) - known.keys()):
        if missed:
            continue
        row = message_row(place, channel_id, NewMessage(external_id, ""))
        session.add(Message(**{**row, "dirty": False}, deleted_at=clock.now()))
    await session.flush()
    if present:
        await queue_derivation(session, source)
    return len(present)


async def delete_thread(session: AsyncSession, place: Place, channel_id: str, thread: str) -> int:
    """A thread was deleted with its replies.

    A forum's post went with its first message; the message another thread grew from stays.
    """
    kind = await session.scalar(select(Channel.kind).where(Channel.id == channel_id))
    ids = await session.scalars(
        select(Message.external_id).where(
            Message.channel_id == channel_id, Message.thread == thread
        )
    )
    gone = [id_ for id_ in ids if id_ != thread or kind == "forum"]
    return await delete_messages(session, place, channel_id, gone)


async def _bury(session: AsyncSession, rows: Sequence[Message], *, missed: bool) -> None:
    """Make tombstones of messages and take their documents off until they are derived again."""
    documents = {row.document_id for row in rows if row.document_id is not None}
    for row in rows:
        row.deleted_at = clock.now()
        row.text = row.author_name = ""
        row.files, row.reactions = [], {}
        row.raw = {"missed": True} if missed else {}
        row.change_id = clock.new_id()
        row.dirty = True
    await session.flush()
    for document_id in sorted(documents):
        await scrub_document(session, document_id)
    if rows:
        await _drop_saved(session, rows)
        await queue_scrub(
            session, rows[0].tenant_id, documents | await _files_of(session, documents)
        )


async def _files_of(session: AsyncSession, documents: Collection[str]) -> set[str]:
    """The documents made of what was posted in these conversations."""
    found = set[str]()
    for document_id in documents:
        parent = await session.get(Document, document_id)
        if parent is not None:
            found |= {child.id for child in await children_of(session, parent)}
    return found


async def _drop_saved(session: AsyncSession, rows: Sequence[Message]) -> None:
    """What curators saved of messages goes with them."""
    channel = await session.get_one(Channel, rows[0].channel_id)
    ids = [row.external_id for row in rows]
    for saved in await saved_from(session, channel.tenant_id, channel.external_id, ids):
        await retire(session, saved)
        await drop_texts(session, saved)
        await queue_scrub(session, saved.tenant_id, [saved.id])


async def scrub_document(session: AsyncSession, document_id: str) -> None:
    """Take a document off every branch and drop all its texts: no revision of it may be shown.

    Its messages are marked, so that it comes back without what was deleted.
    """
    document = await session.get(Document, document_id, with_for_update=True)
    if document is None or document.deleted_at is not None:
        return
    await endings.cancel_document(session, document.tenant_id, document_id)
    await take_off(session, document)
    await drop_texts(session, document)
    await _overtake(session, document)
    await session.execute(
        update(Message)
        .where(Message.document_id == document_id)
        .values(dirty=True, change_id=clock.new_id())  # what reads them now must read again
        .execution_options(synchronize_session=False)
    )


async def scrub_some(
    session: AsyncSession,
    tenant_id: str,
    workspace_id: str,
    channel_id: str | None,
    *,
    after: str,
) -> str:
    """`scrub_document` for some documents of a channel or workspace, and for answers from them.

    Returns the `after` of the next call, empty once all are done.
    """
    where = Message.channel_id == channel_id if channel_id else channels_of(workspace_id)
    found = await session.scalars(
        select(Message.document_id)
        .where(Message.tenant_id == tenant_id, where, Message.document_id > after)
        .distinct()
        .order_by(Message.document_id)
        .limit(SCRUBBED_AT_A_TIME)
    )
    ids = [item for item in found if item is not None]
    for document_id in ids:
        await scrub_document(session, document_id)
    await queue_scrub(session, tenant_id, ids)
    touched = select(Message.channel_id).where(Message.document_id.in_(ids)).distinct()
    await queue_for_channels(session, list(await session.scalars(touched)), lane=Lane.LIVE)
    return ids[-1] if ids else ""


async def _overtake(session: AsyncSession, document: Document) -> None:
    """An empty revision after the last: a job that ingests the last can't make it answer."""
    newest = await session.scalar(
        select(func.max(Revision.number)).where(Revision.document_id == document.id)
    )
    session.add(
        Revision(
            tenant_id=document.tenant_id,
            document_id=document.id,
            number=(newest or 0) + 1,
            blob_hash="",
        )
    )
    await session.flush()


async def drop_texts(session: AsyncSession, document: Document) -> None:
    """Drop the texts, chunks and cached vectors of every revision of a document."""
    ids = select(Revision.id).where(Revision.document_id == document.id)
    rows = await session.execute(
        select(Chunk.context, Chunk.text).where(Chunk.revision_id.in_(ids))
    )
    hashes = [text_hash(f"{context}\n{text}" if context else text) for context, text in rows]
    for some in batches(hashes):
        await session.execute(
            delete(Embedding).where(
                Embedding.tenant_id == document.tenant_id, Embedding.text_hash.in_(some)
            )
        )
    for table in (Chunk, RevisionText, MessageSpan):
        await session.execute(delete(table).where(table.revision_id.in_(ids)))
    await component_outputs.forget(session, document.id)
