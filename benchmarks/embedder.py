"""How fast the local model embeds, how long a query waits, and what memory it holds.

    python -m benchmarks.embedder [--threads 1 2] [--chunks 400]

Chunks are the sample handbook's paragraphs, packed up to 256 tokens, so of natural lengths. `raw`
is one call with all of them; `batched` is the same chunks asked for by document, several at a
time, through the batcher, as ingestion does. Rates per CPU second hold on a busy machine too (with
one thread; more of them also spin while they wait). Memory is the whole process, in a child.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import statistics
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import anyio

from benchmarks.results import write_results
from engine.domain import Lane
from engine.models.batching import EmbeddingBatcher
from engine.models.local import MAX_TOKENS, LocalEmbedder

HANDBOOK = Path(__file__).parent.parent / "samples" / "handbook"
QUERIES = ["how many vacation days do I get in my first year?", "parental leave", "who fixes VPN?"]


def split(embedder: LocalEmbedder, text: str) -> list[str]:
    """Paragraphs packed up to the model's limit; a longer one is cut at it."""
    chunks: list[str] = []
    for paragraph in text.split("\n\n"):
        offsets = embedder.token_offsets(paragraph)
        room = MAX_TOKENS - 2
        for start in range(0, len(offsets), room):
            piece = paragraph[offsets[start][0] : offsets[min(start + room, len(offsets)) - 1][1]]
            joined = f"{chunks[-1]}\n\n{piece}" if chunks else piece
            if chunks and embedder.count_tokens([joined])[0] <= MAX_TOKENS:
                chunks[-1] = joined
            else:
                chunks.append(piece)
    return chunks


def read_documents(embedder: LocalEmbedder, limit: int) -> list[list[str]]:
    """Documents as lists of chunks, in a fixed order, `limit` chunks in all."""
    documents: list[list[str]] = []
    for path in sorted(HANDBOOK.rglob("*.md")):
        chunks = split(embedder, path.read_text(encoding="utf-8"))
        chunks = chunks[: limit - sum(map(len, documents))]
        if chunks:
            documents.append(chunks)
    return documents


def memory_mb() -> dict[str, int]:
    """Resident and proportional memory of this process; empty where /proc is not."""
    try:
        lines = Path("/proc/self/smaps_rollup").read_text(encoding="ascii").splitlines()[1:]
    except OSError:
        return {}
    sizes = {name: int(rest.split()[0]) // 1024 for name, rest in (x.split(":") for x in lines)}
    return {"rss": sizes["Rss"], "pss": sizes["Pss"]}


async def time_queries(embedder: LocalEmbedder, rounds: int) -> dict[str, float]:
    times = []
    for number in range(rounds):
        start = time.perf_counter()
        await embedder.embed_query(QUERIES[number % len(QUERIES)])
        times.append((time.perf_counter() - start) * 1000)
        await anyio.sleep(0.02)  # as they come: one by one, into a process that was idle
    return {
        "p50_ms": round(statistics.median(times), 1),
        "p95_ms": round(statistics.quantiles(times, n=20)[-1], 1),
    }


async def rate(
    work: Callable[..., Awaitable[object]], *arguments: object, count: int
) -> dict[str, float]:
    wall, cpu = time.perf_counter(), time.process_time()
    await work(*arguments)
    return {
        "chunks_per_s": count / (time.perf_counter() - wall),
        "chunks_per_cpu_s": count / (time.process_time() - cpu),
    }


def middle(rates: Sequence[dict[str, float]]) -> dict[str, float]:
    return {name: round(statistics.median(r[name] for r in rates), 1) for name in rates[0]}


async def measure(threads: int, limit: int, models: Path) -> dict[str, object]:
    found: dict[str, object] = {
        "load_at_start": round(os.getloadavg()[0], 1),
        "memory_mb_before": memory_mb(),
    }
    embedder = LocalEmbedder(models, threads=threads)
    start = time.perf_counter()
    await embedder.embed_query("first")
    found["first_query_ms"] = round((time.perf_counter() - start) * 1000)
    found["query_idle"] = await time_queries(embedder, 100)
    found["memory_mb_after_queries"] = memory_mb()

    documents = read_documents(embedder, limit)
    chunks = [chunk for document in documents for chunk in document]
    counts = embedder.count_tokens(chunks)
    found["chunks"] = {
        "count": len(chunks),
        "documents": len(documents),
        "mean_tokens": round(statistics.mean(counts), 1),
    }
    raw, batched = [], []
    for _ in range(3):  # interleaved, so that a busy neighbour hits both
        raw.append(await rate(embedder.embed_documents, chunks, count=len(chunks)))
        batched.append(await rate(embed_by_document, embedder, documents, count=len(chunks)))
    found["raw"], found["batched"] = middle(raw), middle(batched)
    found["batched_share_of_raw"] = {
        name: round(
            statistics.median(b[name] / r[name] for b, r in zip(batched, raw, strict=True)), 3
        )
        for name in raw[0]
    }
    found["memory_mb_after_batches"] = memory_mb()
    async with anyio.create_task_group() as group:
        group.start_soon(embedder.embed_documents, chunks[: limit // 2])
        await anyio.sleep(0.2)
        found["query_while_embedding"] = await time_queries(embedder, 30)
        group.cancel_scope.cancel()
    await embedder.aclose()
    found["memory_mb_after_release"] = memory_mb()
    return found


async def embed_by_document(
    embedder: LocalEmbedder, documents: Sequence[Sequence[str]], *, at_once: int = 16
) -> None:
    batcher = EmbeddingBatcher(embedder)
    slots = anyio.CapacityLimiter(at_once)

    async def embed(chunks: Sequence[str]) -> None:
        async with slots:
            await batcher.embed(chunks, lane=Lane.BULK)

    async with anyio.create_task_group() as group:
        for document in documents:
            group.start_soon(embed, document)


def run(threads: int, limit: int, models: Path) -> dict[str, object]:
    return anyio.run(measure, threads, limit, models)


def main(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--chunks", type=int, default=400)
    parser.add_argument("--models", type=Path, default=Path(".scrubjay/models"))
    options = parser.parse_args(arguments)
    context = multiprocessing.get_context("spawn")
    with context.Pool(1, maxtasksperchild=1) as pool:
        found = {
            f"{threads}_threads": pool.apply(run, (threads, options.chunks, options.models))
            for threads in options.threads
        }
    print(write_results("embedder", found).read_text(encoding="utf-8"))


if __name__ == "__main__":
    main(sys.argv[1:])
