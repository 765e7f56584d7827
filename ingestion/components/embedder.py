"""Embedder: one vector a chunk, from the cache where the same text was embedded before.

A document that answers nothing yet goes live with its words alone where its vectors take longer
than `WORDS_AFTER_S`: keyword answers come within seconds. One whose vectors are quicker is spared
being written twice.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from engine.documents import revisions
from engine.documents.revisions import NewChunk
from engine.errors import Blocked
from engine.flow.component import Component, Inputs, Output
from engine.flow.context import RunContext
from engine.models import cache
from ingestion.services import IngestionRun

OTHER_MODEL_WAIT_S = 120.0  # while a knowledge base is moved to another model
STEP = 64  # chunks between two progress lines
WORDS_AFTER_S = 1.0
SAVE_EVERY_S = 1.0  # how much embedding a killed worker may have done in vain


class EmbedderComponent(Component[IngestionRun]):
    """Vectors of the knowledge base's space, in the order of the chunks."""

    type = "Embedder"
    reads = frozenset({"chunk_count", "facts"})
    writes = frozenset({"embedded", "from_cache"})
    checkpoint = False  # the cache is the checkpoint
    timeout_s = 24 * 3600.0  # a big document on a small machine; cancelling stops it any time
    weight = 8.0

    async def _invoke(self, context: RunContext[IngestionRun], inputs: Inputs) -> Output:
        run, shared, work = context.services, context.services.shared, context.services.work
        if run.chunks is None:  # another attempt parsed and stored it
            run.unpack_facts(inputs["facts"])
            async with shared.db.read() as session:
                run.chunks = await revisions.load_chunks(session, work.revision_id)
            run.stored = True
        count = len(run.chunks)
        began_at = time.monotonic()

        def report(share: float) -> None:
            done = round(share * count)
            rate = done / max(time.monotonic() - began_at, 0.001)
            context.progress(self.id, share, f"{done:,} of {count:,} chunks, {rate:,.0f}/s")

        embedding = asyncio.create_task(embed_chunks(run, report))
        try:
            done, _ = await asyncio.wait([embedding], timeout=WORDS_AFTER_S)
            if not done or embedding.exception() is not None:
                await run.publish_words()
            run.vectors, embedded = await embedding
        finally:
            embedding.cancel()
            await asyncio.wait([embedding])
        return {"embedded": embedded, "from_cache": count - embedded}


async def embed_chunks(
    run: IngestionRun, report: Callable[[float], None]
) -> tuple[NDArray[np.float32], int]:
    """Vectors of the run's chunks, in order, and how many had to be embedded."""
    shared, work, chunks = run.shared, run.work, run.chunks or []
    if shared.embedder.space != work.space:
        raise Blocked(
            f"The knowledge base uses vectors of {work.space.name}, but this installation is set to "
            f"{shared.embedder.space.name}: move it with `scrubjay kb reembed`.",
            retry_after_s=OTHER_MODEL_WAIT_S,
        )
    texts = [embedded_text(chunk) for chunk in chunks]
    hashes = [cache.text_hash(text) for text in texts]
    known: dict[bytes, NDArray[np.float32]] = {}
    if shared.use_cache:
        async with shared.db.read() as session:
            known = await cache.get_many(session, work.tenant_id, work.space, hashes)
    missing = {
        key: (text, chunk.tokens)
        for key, text, chunk in zip(hashes, texts, chunks, strict=True)
        if key not in known
    }
    if missing:
        shared.park()
    saved_at = time.monotonic()
    for batch in _batches(missing):
        if run.unsaved and time.monotonic() - saved_at > SAVE_EVERY_S:
            await shared.db.run_write(run.save_vectors)
            run.unsaved, saved_at = {}, time.monotonic()
        some, lengths = zip(*batch.values(), strict=True)
        fresh = await shared.embed(some, lane=run.lane, lengths=lengths)
        new = dict(zip(batch, fresh, strict=True))
        run.unsaved |= new
        known |= new
        report(len(known) / len(set(hashes)))
    vectors = np.empty((len(hashes), work.space.dimension), np.float32)
    for row, key in enumerate(hashes):
        vectors[row] = known[key]
    return vectors, len(missing)


def _batches(
    missing: dict[bytes, tuple[str, int]],
) -> Iterator[dict[bytes, tuple[str, int]]]:
    items = iter(missing.items())
    while batch := dict(islice(items, STEP)):
        yield batch


def embedded_text(chunk: NewChunk) -> str:
    """What is embedded: the context above the text."""
    return f"{chunk.context}\n{chunk.text}" if chunk.context else chunk.text
