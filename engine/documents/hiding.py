"""Hiding: a document or one of its chunks is kept, and neither found nor shown until it is shown again.

SQL decides from the transaction on (`engine/access`); the index follows by a job. What is hidden
stays hidden when its document is read again: chunks are known again by their place where the text
is the same, else by their words.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncSession

from engine.access import gate
from engine.clock import now
from engine.db.tables import Chunk, Document, KnowledgeBase, Live, Revision, RevisionText
from engine.documents.lifecycle import children_of, count
from engine.domain import MAIN, Lane, Principal, chunk_id
from engine.errors import InvalidInput, NotFound
from engine.jobs.kinds import REINDEX, UPDATE_FIELDS
from engine.jobs.outbox import enqueue

SHORTEST = 20  # characters of a chunk that is known again within another text
EXCERPT = 200  # characters of a hidden chunk that are shown to those who may show it again


@dataclass(frozen=True, slots=True)
class HiddenChunk:
    """A chunk that is hidden, as those see it who may show it again."""

    id: str
    page: int | None
    text: str


@dataclass(frozen=True, slots=True)
class HiddenSpan:
    """Where a hidden chunk is in its revision, and its words."""

    start: int
    end: int
    text: str


async def hide_document(
    session: AsyncSession, principal: Principal, document_id: str, *, hidden: bool
) -> Document:
    """Hide a document with the documents made of its files, or show them again."""
    document = await gate.get_writable_document(session, principal, document_id)
    if document.hidden != hidden:
        await _set_hidden(session, document, hidden=hidden)
        verb = "document.hide" if hidden else "document.unhide"
        await gate.audit(session, principal, verb, document.id)
    return document


async def _set_hidden(session: AsyncSession, document: Document, *, hidden: bool) -> None:
    for child in await children_of(session, document):
        if child.deleted_at is None and child.hidden != hidden:
            await _set_hidden(session, child, hidden=hidden)
    await count(session, document, -1 if hidden else 1)
    document.hidden = hidden
    document.updated_at = now()
    await session.flush()
    await queue_fields(session, document.tenant_id, document.id)


async def hide_chunk(
    session: AsyncSession, principal: Principal, revision_id: str, ordinal: int, *, hidden: bool
) -> Document:
    """Hide one chunk of what answers now, or show it again; `NotFound` where it is no more."""
    id_ = chunk_id(revision_id, ordinal)
    document, revision, live_id = await gate.get_visible_revision(
        session, principal.tenant_id, principal.tokens, revision_id
    )
    await gate.get_writable_kb(session, principal, document.kb_id)
    if live_id != revision_id:
        raise InvalidInput(
            f"The passage {id_!r} has changed since; search for it again.", field="id"
        )
    chunk = await session.get(Chunk, (revision_id, ordinal), with_for_update=True)
    if chunk is None:
        raise NotFound(f"No passage {id_!r} that you may read.")
    if chunk.hidden == hidden:
        return document
    chunk.hidden = hidden
    await _count_chunks(session, document, revision, 1 if hidden else -1)
    await queue_feed(session, document.tenant_id, document.id, revision_id)
    verb = "chunk.hide" if hidden else "chunk.unhide"
    await gate.audit(session, principal, verb, id_, {"document_id": document.id})
    return document


async def _count_chunks(
    session: AsyncSession, document: Document, revision: Revision, more: int
) -> None:
    revision.hidden_chunks += more
    document.chunk_count -= more
    document.updated_at = now()
    if not document.hidden:
        await session.execute(
            update(KnowledgeBase)
            .where(KnowledgeBase.id == document.kb_id)
            .values(chunk_count=KnowledgeBase.chunk_count - more, updated_at=now())
        )
    await session.flush()


async def hidden_chunks(
    session: AsyncSession, principal: Principal, document_id: str
) -> list[HiddenChunk]:
    """The hidden chunks of what answers of a document, in order, for those who may change it."""
    document = await gate.get_writable_document(session, principal, document_id)
    rows = await session.execute(
        select(Chunk.revision_id, Chunk.ordinal, Chunk.page, Chunk.text)
        .join(Live, Live.revision_id == Chunk.revision_id)
        .where(Live.document_id == document.id, Live.branch == MAIN, Chunk.hidden.is_(True))
        .order_by(Chunk.ordinal)
    )
    return [
        HiddenChunk(chunk_id(revision_id, ordinal), page, text[:EXCERPT])
        for revision_id, ordinal, page, text in rows
    ]


# For the worker


async def hidden_spans(session: AsyncSession, revision_id: str) -> list[HiddenSpan]:
    """The hidden chunks of a revision, in order."""
    rows = await session.execute(
        select(Chunk.start, Chunk.end, Chunk.text)
        .where(Chunk.revision_id == revision_id, Chunk.hidden.is_(True))
        .order_by(Chunk.ordinal)
    )
    return [HiddenSpan(start, end, text) for start, end, text in rows]


async def carry_over(session: AsyncSession, before: str, after: str) -> int:
    """Hide in the revision `after` what is hidden in `before`; how many chunks that is."""
    spans = await hidden_spans(session, before)
    if not spans:
        return 0
    bodies = await session.execute(
        select(RevisionText.revision_id, RevisionText.body).where(
            RevisionText.revision_id.in_([before, after])
        )
    )
    texts: dict[str, bytes] = dict(iter(bodies))
    same = texts.get(before) == texts.get(after)
    return await hide_again(session, after, spans, is_same_text=same)


async def hide_again(
    session: AsyncSession, revision_id: str, spans: Sequence[HiddenSpan], *, is_same_text: bool
) -> int:
    """Hide the chunks of a revision that are, hold or belong to these spans; how many."""
    rows = await session.execute(
        select(Chunk.ordinal, Chunk.start, Chunk.end, Chunk.text).where(
            Chunk.revision_id == revision_id
        )
    )
    known = [_words(span.text) for span in spans]
    found = [
        ordinal
        for ordinal, start, end, text in rows
        if (
            any(start < span.end and span.start < end for span in spans)
            if is_same_text
            else _is_among(_words(text), known)
        )
    ]
    if found:
        chunks = update(Chunk).where(Chunk.revision_id == revision_id, Chunk.ordinal.in_(found))
        await session.execute(
            chunks.values(hidden=True).execution_options(synchronize_session=False)
        )
    await session.execute(
        update(Revision)
        .where(Revision.id == revision_id)
        .values(hidden_chunks=len(found))
        .execution_options(synchronize_session=False)
    )
    return len(found)


def _words(text: str) -> str:
    return " ".join(text.casefold().split())


def _is_among(text: str, known: Collection[str]) -> bool:
    """Whether a text is one of `known`, holds one or is a part of one."""
    return any(
        text == words
        or (len(words) >= SHORTEST and words in text)
        or (len(text) >= SHORTEST and text in words)
        for words in known
    )


async def queue_fields(session: AsyncSession, tenant_id: str, document_id: str) -> None:
    """Queue the update of what the index knows of a document besides its text."""
    await enqueue(
        session,
        tenant_id=tenant_id,
        kind=UPDATE_FIELDS,
        payload={"document_id": document_id},
        lane=Lane.INTERACTIVE,
    )


async def queue_feed(
    session: AsyncSession, tenant_id: str, document_id: str, revision_id: str
) -> None:
    """Queue a revision to be fed to the index again, from its stored text and kept vectors."""
    await enqueue(
        session,
        tenant_id=tenant_id,
        kind=REINDEX,
        payload={"document_id": document_id, "revision_id": revision_id},
        lane=Lane.INTERACTIVE,
    )
