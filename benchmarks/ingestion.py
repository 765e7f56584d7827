"""How fast documents are taken in: `python -m benchmarks.ingestion`.

Each round has a fresh data folder and a warm `scrubjay worker` with its parser child; the clock
runs from the first `add` until every document is ready.

`free`: with an embedder that costs nothing, the handbook's 246 pages, and 20 files of 1 MB.
`model`: with MiniLM, against one call of the raw embedder with the same chunks and threads, in a
process of its own; rounds alternate, so that a busy neighbour hits both.
Every round is kept; the best counts of `free` (a neighbour only ever adds time), the middle
share of `model`.
"""

from __future__ import annotations

import argparse
import asyncio
import multiprocessing
import os
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from sqlalchemy import select

from benchmarks.results import write_results
from benchmarks.workers import Home, large_files, open_home, pages
from engine.db.session import open_database
from engine.db.tables import Chunk, Live
from engine.documents.adding import NewDocument
from engine.models.local import LocalEmbedder

LARGE_FILES, LARGE_BYTES = 20, 1_000_000
MODEL_PAGES = 80  # some 430 chunks


async def free_round(documents: Sequence[NewDocument]) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as folder:
        async with open_home(Path(folder), model="hashing") as home:
            seconds = await home.ingest(documents)
            chunks = await home.chunks()
    return {
        "seconds": round(seconds, 2),
        "documents_per_s": round(len(documents) / seconds, 1),
        "chunks_per_s": round(chunks / seconds),
        "chunks": chunks,
        "load": round(os.getloadavg()[0], 1),
    }


async def free(documents: Sequence[NewDocument], rounds: int) -> dict[str, object]:
    measured = [await free_round(documents) for _ in range(rounds)]
    return {**min(measured, key=lambda item: item["seconds"]), "rounds": measured}


async def model_round(documents: Sequence[NewDocument]) -> tuple[float, list[str], Path, int]:
    """Seconds, the texts that were embedded, the models folder and the threads."""
    with tempfile.TemporaryDirectory() as folder:
        async with open_home(Path(folder), model="minilm") as home:
            seconds = await home.ingest(documents)
            settings = home.engine.settings
            texts = await embedded_texts(home)
        return seconds, texts, settings.models_folder, settings.embedding_threads


async def embedded_texts(home: Home) -> list[str]:
    documents = await home.engine.documents.page(home.owner, kb=home.kb_id, limit=1000)
    ours = {document.id for document in documents.documents}
    async with open_database(home.engine.settings.database_url) as db, db.read() as session:
        rows = await session.execute(
            select(Chunk.context, Chunk.text)
            .join(Live, Live.revision_id == Chunk.revision_id)
            .where(Live.document_id.in_(ours))
        )
        return [f"{context}\n{text}" if context else text for context, text in rows]


def raw_seconds(texts: list[str], models: Path, threads: int) -> float:
    """One length-sorted call; the model is loaded before."""

    async def run() -> float:
        embedder = LocalEmbedder(models, threads=threads)
        await embedder.embed_documents(texts[:4])
        start = time.perf_counter()
        await embedder.embed_documents(texts)
        return time.perf_counter() - start

    return asyncio.run(run())


async def model(documents: Sequence[NewDocument], rounds: int) -> dict[str, object]:
    shares, measured = [], []
    context = multiprocessing.get_context("spawn")
    for _ in range(rounds):
        seconds, texts, models, threads = await model_round(documents)
        with context.Pool(1) as pool:
            raw = await asyncio.to_thread(pool.apply, raw_seconds, (texts, models, threads))
        shares.append(raw / seconds)
        measured.append(
            {
                "chunks_per_s": round(len(texts) / seconds, 1),
                "raw_chunks_per_s": round(len(texts) / raw, 1),
                "share_of_raw": round(raw / seconds, 3),
                "chunks": len(texts),
                "load": round(os.getloadavg()[0], 1),
            }
        )
    return {"share_of_raw": round(statistics.median(shares), 3), "rounds": measured}


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", choices=["handbook", "large", "model"])
    options = parser.parse_args()
    wanted = {options.only} if options.only else {"handbook", "large", "model"}
    found: dict[str, object] = {}
    if "handbook" in wanted:
        found["free_handbook"] = await free(pages(), options.rounds)
    if "large" in wanted:
        found["free_large_files"] = await free(
            large_files(LARGE_FILES, LARGE_BYTES), options.rounds
        )
    if "model" in wanted:
        found["model"] = await model(pages(MODEL_PAGES), options.rounds)
    for name, result in found.items():
        print(name, result, flush=True)
    write_results("ingestion", found)


if __name__ == "__main__":
    asyncio.run(main())
