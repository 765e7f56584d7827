"""Embedder: one vector a chunk, from the cache where the same text was embedded before.

A document that answers nothing yet goes live with its words alone where its vectors take longer
than `WORDS_AFTER_S`: keyword answers come within seconds. One whose vectors are quicker is spared
being written twice.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import islice

import anyio.to_thread
import numpy as np
from numpy.typing import NDArray

from engine.documents import revisions
from engine.documents.revisions import NewChunk
from engine.flow.component import Component, Inputs, Output
from engine.flow.context import RunContext
from engine.models import cache
from engine.models.port import Embedder
from ingestion.services import IngestionRun

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
    texts = [embedded_text(chunk) for chunk in chunks]
    hashes = [cache.text_hash(text) for text in texts]
    known: dict[bytes, NDArray[np.float32]] = {}
    if shared.use_cache:
        async with shared.db.read() as session:
            known = await cache.get_many(session, work.tenant_id, work.space, hashes)
    missing = {key: text for key, text in zip(hashes, texts, strict=True) if key not in known}
    shared.cache_counts.add(sum(key in known for key in hashes), len(missing))
    if missing:
        shared.park()
    saved_at = time.monotonic()
    for batch in _batches(missing):
        if run.unsaved and time.monotonic() - saved_at > SAVE_EVERY_S:
            await shared.db.run_write(run.save_vectors)
            run.unsaved, saved_at = {}, time.monotonic()
        fresh = await _embed(run, list(batch.values()))
        new = dict(zip(batch, fresh, strict=True))
        run.unsaved |= new
        known |= new
        report(len(known) / len(set(hashes)))
    vectors = np.empty((len(hashes), work.space.dimension), np.float32)
    for row, key in enumerate(hashes):
        vectors[row] = known[key]
    return vectors, len(missing)


async def _embed(run: IngestionRun, texts: Sequence[str]) -> NDArray[np.float32]:
    """A vector a text. One that was cut for another model may be too long for this one.

    It is then embedded in windows, and the mean of their vectors stands for it.
    """
    pieces = await anyio.to_thread.run_sync(windows, run.embedder, texts)
    vectors = await run.embed(
        [text for some in pieces for text, _ in some], [n for some in pieces for _, n in some]
    )
    if len(vectors) == len(texts):
        return vectors
    starts = np.cumsum([0, *(len(some) for some in pieces)])[:-1]
    summed: NDArray[np.float32] = np.add.reduceat(vectors, starts)
    unit: NDArray[np.float32] = summed / np.linalg.norm(summed, axis=1, keepdims=True)
    return unit


def windows(embedder: Embedder, texts: Sequence[str]) -> list[list[tuple[str, int]]]:
    """Each text in pieces that `embedder` takes, with their tokens: nearly always the text itself."""
    found = []
    for text, count in zip(texts, embedder.count_tokens(texts), strict=True):
        if count <= embedder.max_tokens:
            found.append([(text, count)])
            continue
        starts = [start for start, _ in embedder.token_offsets(text)]
        # Some room: a piece may take more tokens by itself than where it was counted.
        step = max(1, embedder.max_tokens * 3 // 4)
        cuts = [*(starts[i] for i in range(0, len(starts), step)), len(text)]
        some = [text[a:b] for a, b in itertools.pairwise(cuts) if b > a]
        found.append(list(zip(some, embedder.count_tokens(some), strict=True)))
    return found


def _batches(missing: dict[bytes, str]) -> Iterator[dict[bytes, str]]:
    items = iter(missing.items())
    while batch := dict(islice(items, STEP)):
        yield batch


def embedded_text(chunk: NewChunk) -> str:
    """What is embedded: the context above the text."""
    return f"{chunk.context}\n{chunk.text}" if chunk.context else chunk.text
