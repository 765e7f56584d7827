"""The chunks of a document, as those see them who want to know what search sees."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from engine.access import gate
from engine.db.tables import Chunk, Live
from engine.domain import MAIN, Principal, chunk_id
from engine.errors import Forbidden, NotFound


@dataclass(frozen=True, slots=True)
class ChunkInfo:
    """One chunk: `text` is what is cited, `context` is only searched; `tokens` counts both."""

    id: str
    ordinal: int
    page: int | None
    text: str
    context: str
    tokens: int
    language: str
    hidden: bool


@dataclass(frozen=True, slots=True)
class ChunkPage:
    """Some chunks in their order; `next_after` is None on the last page."""

    chunks: Sequence[ChunkInfo]
    next_after: int | None


async def list_chunks(
    session: AsyncSession, principal: Principal, document_id: str, *, after: int, limit: int
) -> ChunkPage:
    """The chunks of what answers of a document, after an ordinal.

    Hidden ones are for those who may change the document; nobody else learns that there are any.
    """
    document = await gate.get_visible_document(session, principal, document_id)
    query = (
        select(Chunk)
        .join(Live, Live.revision_id == Chunk.revision_id)
        .where(Live.document_id == document.id, Live.branch == MAIN, Chunk.ordinal > after)
        .order_by(Chunk.ordinal)
        .limit(limit + 1)
    )
    if not await _may_change(session, principal, document.kb_id):
        query = query.where(Chunk.hidden.is_(False))
    rows = list(await session.scalars(query))
    chunks = [
        ChunkInfo(
            chunk_id(row.revision_id, row.ordinal),
            row.ordinal,
            row.page,
            row.text,
            row.context,
            row.tokens,
            row.language,
            row.hidden,
        )
        for row in rows[:limit]
    ]
    return ChunkPage(chunks, chunks[-1].ordinal if len(rows) > limit else None)


async def _may_change(session: AsyncSession, principal: Principal, kb_id: str) -> bool:
    try:
        await gate.get_writable_kb(session, principal, kb_id)
    except (Forbidden, NotFound):
        return False
    return True
