"""Whether what an answer rests on may still be shown: every chunk of it, to everyone who will see it.

Stored turns and posts are read again, shared and elaborated only through here.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from sqlalchemy import String, bindparam, select
from sqlalchemy.ext.asyncio import AsyncSession

from engine.access.gate import join_live
from engine.db.json_arrays import items_of
from engine.db.tables import Chunk, Json
from engine.domain import MAIN, chunk_id, parse_chunk_id


async def readable_chunks(
    session: AsyncSession, tenant_id: str, tokens: Collection[str], chunk_ids: Collection[str]
) -> set[str]:
    """Those of `chunk_ids` that answer and are not hidden, and that these tokens may read now."""
    parsed = {id_: found for id_ in chunk_ids if (found := parse_chunk_id(id_)) is not None}
    if not parsed:
        return set()
    revisions = sorted({revision_id for revision_id, _ in parsed.values()})
    live = await join_live(session, tenant_id, MAIN, tokens, revisions)
    hidden = {
        chunk_id(revision_id, ordinal)
        for revision_id, ordinal in await session.execute(
            _HIDDEN, {"tenant_id": tenant_id, "revision_ids": sorted(live)}
        )
    }
    return {id_ for id_, (revision_id, _) in parsed.items() if revision_id in live} - hidden


async def all_readable(
    session: AsyncSession, tenant_id: str, tokens: Collection[str], chunk_ids: Sequence[str]
) -> bool:
    """Whether each of these is a chunk that these tokens may read now; True for none at all."""
    return set(chunk_ids) <= await readable_chunks(session, tenant_id, tokens, chunk_ids)


# Built once: composing it takes longer than the database takes to run it.
_HIDDEN = select(Chunk.revision_id, Chunk.ordinal).where(
    Chunk.revision_id.in_(select(items_of(bindparam("revision_ids", type_=Json)))),
    Chunk.tenant_id == bindparam("tenant_id", type_=String),
    Chunk.hidden.is_(True),
)
