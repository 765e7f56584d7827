"""Filling another search index from SQL: stored texts, cached vectors, no source and no parser.

`scrubjay index migrate` calls it. What is there already and whole is left alone, so running it again
catches up; what nothing in SQL names is taken out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engine.documents import revisions
from engine.documents.revisions import NewChunk
from engine.engine import Engine
from engine.errors import Cancelled
from engine.index.port import RevisionRef, SearchIndex, Space
from engine.models import cache
from engine.operations import reconcile
from ingestion.components.embedder import embedded_text
from ingestion.services import index_documents


@dataclass(slots=True)
class Filled:
    """How many revisions were fed, were there, were taken out, and were fed without vectors."""

    fed: int = 0
    kept: int = 0
    removed: int = 0
    without_vectors: int = 0


async def fill_index(engine: Engine, target: SearchIndex) -> Filled:
    """Make `target` hold what every tenant's spaces must, and nothing else."""
    done = Filled()
    async with engine.db.read() as session:
        spaces = await reconcile.all_spaces(session)
    for tenant_id, space in spaces:
        await target.ensure_space(tenant_id, space)
        held = await target.revisions(tenant_id, space)
        async with engine.db.read() as session:
            live = await reconcile.live_chunks(session, tenant_id, space)
        for ref, chunks in live.items():
            if held.get(ref, -1) == chunks:
                done.kept += 1
            else:
                await _feed(engine, target, ref, done)
        stray = [ref for ref in held if ref not in live]
        if stray:
            await target.remove(tenant_id, space, stray)
            done.removed += len(stray)
    return done


async def _feed(engine: Engine, target: SearchIndex, ref: RevisionRef, done: Filled) -> None:
    try:
        async with engine.db.read() as session:
            work = await revisions.look_up(session, ref.document_id, ref.revision_id)
            chunks = await revisions.load_chunks(session, ref.revision_id)
    except Cancelled:  # deleted or replaced while we were at it
        return
    vectors = await _vectors(engine, work.tenant_id, work.space, chunks)
    await target.feed(work.tenant_id, work.space, index_documents(work, chunks, vectors))
    done.fed += 1
    done.without_vectors += bool(chunks) and vectors is None


async def _vectors(
    engine: Engine, tenant_id: str, space: Space, chunks: Sequence[NewChunk]
) -> NDArray[np.float32] | None:
    """The vectors of chunks, from the cache or made by the model of that space; None without."""
    texts = [embedded_text(chunk) for chunk in chunks]
    keys = [cache.text_hash(text) for text in texts]
    async with engine.db.read() as session:
        known = await cache.get_many(session, tenant_id, space, keys)
    missing = {key: text for key, text in zip(keys, texts, strict=True) if key not in known}
    if missing:
        embedder = engine.embedders.get(space.name)
        if embedder is None or embedder.space != space:
            return None
        made = await embedder.embed_documents(list(missing.values()))
        known |= dict(zip(missing, made, strict=True))
    if not keys:
        return None
    return np.stack([known[key] for key in keys])
