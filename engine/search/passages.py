"""From what the index found to hits: the join with SQL, and the texts of their passages.

`retrieval.py` calls `load_hits` once a page. Everything is read in one snapshot, and nothing of a
document that does not pass the join is read at all; neighbours come through the same gate.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Integer, Select, String, bindparam, cast, func, select
from sqlalchemy.ext.asyncio import AsyncSession

from engine.access.gate import LiveDocument, join_live
from engine.db.json_arrays import json_items
from engine.db.tables import Chunk, Json
from engine.domain import Hit, Passage, ScoreParts, chunk_id, parse_chunk_id
from engine.index.port import IndexHit, IndexPassage

ChunkKey = tuple[str, int]  # revision id and ordinal
DIGITS = 10  # of an ordinal, before the revision's id, in the parameter that names chunks


def _chunks() -> Select[str, int, str, str, int, int, int | None, dict[str, Any]]:
    """Chunks by one parameter, from which the join starts: pairs by IN would scan every chunk."""
    named = json_items(bindparam("wanted", type_=Json)).table_valued("value").c.value
    return (
        select(
            Chunk.revision_id,
            Chunk.ordinal,
            Chunk.text,
            Chunk.context,
            Chunk.start,
            Chunk.end,
            Chunk.page,
            Chunk.meta,
        )
        .where(
            Chunk.revision_id == func.substr(named, DIGITS + 1),
            Chunk.ordinal == cast(func.substr(named, 1, DIGITS), Integer),
            Chunk.tenant_id == bindparam("tenant_id", type_=String),
            Chunk.hidden.is_(False),
        )
    )  # fmt: skip


_CHUNKS = _chunks()


@dataclass(frozen=True, slots=True)
class Visibility:
    """Through what a hit must pass: `access.join_live` with these."""

    tenant_id: str
    tokens: Collection[str]
    branch: str
    include_hidden: bool = False


async def load_hits(
    session: AsyncSession, gate: Visibility, found: Sequence[IndexHit], *, limit: int, widen: int
) -> tuple[list[Hit], list[str]]:
    """The first `limit` of `found` that are visible now, in order; confidence is set later.

    `widen` neighbours on each side of a hit's best chunk follow its passages. Beside them the
    documents none of whose passages may be shown: the index still holds what was hidden since.
    """
    live = await join_live(
        session,
        gate.tenant_id,
        gate.branch,
        gate.tokens,
        [hit.revision_id for hit in found],
        include_hidden=gate.include_hidden,
    )
    visible = [hit for hit in found if hit.revision_id in live and hit.passages][:limit]
    wanted = {hit.revision_id: _ordinals(hit.passages, widen) for hit in visible}
    texts = await _load_chunks(
        session,
        gate.tenant_id,
        [(revision, ordinal) for revision, ordinals in wanted.items() for ordinal in ordinals],
    )
    hits: list[Hit] = []
    lost: list[str] = []
    for hit in visible:
        scored = {passage.ordinal: passage for passage in hit.passages}
        passages = [
            _passage(texts[key], scored.get(key[1]))
            for key in ((hit.revision_id, ordinal) for ordinal in wanted[hit.revision_id])
            if key in texts
        ]
        if passages:
            document = live[hit.revision_id]
            hits.append(_hit(document, passages, score=hit.score, parts=hit.parts))
        else:
            lost.append(hit.document_id)
    return hits, lost


async def recall_hits(
    session: AsyncSession, gate: Visibility, chunk_ids: Sequence[str], *, confidence: float
) -> list[Hit]:
    """The hits that an earlier search found these chunks in, as far as they are visible now."""
    keys = [key for key in map(parse_chunk_id, dict.fromkeys(chunk_ids)) if key is not None]
    live = await join_live(
        session,
        gate.tenant_id,
        gate.branch,
        gate.tokens,
        list(dict.fromkeys(revision_id for revision_id, _ in keys)),
        include_hidden=gate.include_hidden,
    )
    texts = await _load_chunks(session, gate.tenant_id, [key for key in keys if key[0] in live])
    passages: dict[str, list[Passage]] = {}
    for key in keys:
        if key in texts:
            passages.setdefault(key[0], []).append(texts[key])
    nothing = ScoreParts(0.0, 0.0, 0.0, None, 0.0, 0.0)
    return [
        _hit(live[revision_id], found, score=0.0, parts=nothing, confidence=confidence)
        for revision_id, found in passages.items()
    ]


def _ordinals(passages: Sequence[IndexPassage], widen: int) -> list[int]:
    best = passages[0].ordinal
    around = [best + step for n in range(1, widen + 1) for step in (n, -n) if best + step >= 0]
    return list(dict.fromkeys([passage.ordinal for passage in passages] + around))


async def _load_chunks(
    session: AsyncSession, tenant_id: str, keys: Sequence[ChunkKey]
) -> Mapping[ChunkKey, Passage]:
    if not keys:
        return {}
    wanted = [f"{ordinal:0{DIGITS}}{revision_id}" for revision_id, ordinal in keys]
    rows = await session.execute(_CHUNKS, {"tenant_id": tenant_id, "wanted": wanted})
    return {
        (revision_id, ordinal): Passage(
            id=chunk_id(revision_id, ordinal),
            ordinal=ordinal,
            text=text,
            context=context,
            start=start,
            end=end,
            page=page,
            where=name_place(page, meta),
        )
        for revision_id, ordinal, text, context, start, end, page, meta in rows
    }


def name_place(page: int | None, meta: Mapping[str, Any]) -> str:
    """Where a chunk is in its file, as people say it: `page 3, Annual leave`."""
    place = str(meta.get("place") or (f"page {page}" if page else ""))
    path = meta.get("path") or []
    heading = str(path[-1]) if path else ""
    if place.startswith(f"{heading}!"):
        heading = ""  # a sheet's name, which its cells bear already
    return ", ".join(part for part in (place, heading) if part)


def _passage(passage: Passage, scored: IndexPassage | None) -> Passage:
    if scored is None:
        return passage
    return Passage(
        id=passage.id,
        ordinal=passage.ordinal,
        text=passage.text,
        context=passage.context,
        start=passage.start,
        end=passage.end,
        page=passage.page,
        cosine=scored.cosine,
        bm25=scored.bm25,
        where=passage.where,
    )


def _hit(
    document: LiveDocument,
    passages: Sequence[Passage],
    *,
    score: float,
    parts: ScoreParts,
    confidence: float = 0.0,
) -> Hit:
    return Hit(
        id=passages[0].id,
        document_id=document.document_id,
        revision_id=document.revision_id,
        kb_id=document.kb_id,
        kb_name=document.kb_name,
        title=document.title,
        url=document.url,
        score=score,
        confidence=confidence,
        scores=parts,
        passages=tuple(passages),
        updated_at=document.updated_at,
        metadata=document.details,
        author=str(document.details.get("author") or ""),
        source=document.source,
        tags=tuple(document.tags),
        fields=document.fields,
    )
