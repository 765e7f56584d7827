"""How fast the embedded index is, and how much it finds: `python -m benchmarks.index`.

Texts are made of invented words with the frequencies of real ones (Zipf-Mandelbrot, topics);
vectors gather around topics. Each query has a filter of its own that 3 % of the chunks pass: one of
ten knowledge bases, and an ACL that a principal with 10, 100 or 1,000 tokens meets. Every document
also carries a token of its own, so that no two ACLs are alike: the worst case. What SQL and the
embedder add to a search is not in these figures.
"""

from __future__ import annotations

import argparse
import asyncio
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from benchmarks.results import write_results
from engine.index import legs
from engine.index.analysis import analyse
from engine.index.embedded import EmbeddedIndex
from engine.index.legs import passing
from engine.index.manifest import read_manifest
from engine.index.port import Filter, IndexChunk, IndexDocument, SearchRequest, Space
from engine.index.segments import Segment

SPACE = Space("bench", 384)
TENANT = "bench"
TOPICS = 400
KBS = 10
GROUPS = 20  # a principal holds three in ten of them; its other tokens are of single documents
TOKENS = (10, 100, 1000)
BATCH_DOCUMENTS = 200


@dataclass(frozen=True)
class World:
    """Where documents and queries are drawn from."""

    random: np.random.Generator
    words: np.ndarray
    common: np.ndarray  # cumulated probability of each word
    topic_words: np.ndarray  # [topics, words a topic]
    topic_vectors: np.ndarray

    @staticmethod
    def of(seed: int) -> World:
        random = np.random.default_rng(seed)
        syllables = np.array([c + v for c in "bcdfghjklmnprstvwz" for v in "aeiou"])
        picks = random.integers(0, len(syllables), (80_000, 4))
        sizes = random.integers(2, 5, len(picks))
        words = np.unique(["".join(syllables[p[:n]]) for p, n in zip(picks, sizes, strict=True)])
        random.shuffle(words)
        common = 1.0 / (np.arange(len(words)) + 2.7) ** 1.05
        topic_words = random.integers(100, len(words), (TOPICS, 120))
        vectors = unit(random.standard_normal((TOPICS, SPACE.dimension)))
        return World(random, words, np.cumsum(common / common.sum()), topic_words, vectors)

    def any_words(self, size: int) -> np.ndarray:
        places = np.searchsorted(self.common, self.random.random(size))
        return np.minimum(places, len(self.words) - 1)

    def text(self, topic: int, length: int) -> str:
        general = self.any_words(length * 7 // 10)
        special = self.random.choice(self.topic_words[topic], length - len(general))
        return " ".join(self.words[np.concatenate([general, special])])

    def vectors(self, topic: int, count: int) -> np.ndarray:
        noise = self.random.standard_normal((count, SPACE.dimension)) / SPACE.dimension**0.5
        return unit(self.topic_vectors[topic] * 0.75 + noise)

    def documents(self, chunks: int) -> Iterator[IndexDocument]:
        made = number = 0
        while made < chunks:
            topic = int(self.random.integers(TOPICS))
            size = min(int(self.random.geometric(0.1)), 300, chunks - made)
            lengths = np.clip(self.random.lognormal(4.6, 0.4, size), 10, 250).astype(int)
            group = self.random.integers(GROUPS)
            yield IndexDocument(
                document_id=f"{number:032x}",
                revision_id=f"{number:032x}",
                part=0,
                kb_id=f"kb{self.random.integers(KBS)}",
                acl=[f"g:{group}", f"u:{number}"],
                title=self.text(topic, 6),
                chunks=[
                    IndexChunk(i, self.text(topic, length), vector=vector)
                    for i, (length, vector) in enumerate(
                        zip(lengths, self.vectors(topic, size), strict=True)
                    )
                ],
            )
            made += size
            number += 1

    def request(self, tokens: int, documents: int) -> SearchRequest:
        topic = int(self.random.integers(TOPICS))
        asked = [
            *self.random.choice(self.topic_words[topic], 4),
            *self.any_words(2),
        ]
        groups = self.random.choice(GROUPS, GROUPS * 3 // 10, replace=False)
        held = {f"g:{group}" for group in groups}
        own = self.random.integers(0, documents, max(tokens - len(held), 0))
        return SearchRequest(
            tenant_id=TENANT,
            space=SPACE,
            filter=Filter(
                tokens=frozenset(held | {f"u:{number}" for number in own}),
                kb_ids=frozenset({f"kb{self.random.integers(KBS)}"}),
            ),
            text=" ".join(self.words[asked]),
            vector=self.vectors(topic, 1)[0],
            language="en",
        )


def unit(vectors: np.ndarray) -> np.ndarray:
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


async def measure(size: int, queries: int, root: Path) -> dict[str, object]:
    world = World.of(7)
    index = EmbeddedIndex(root)
    documents = 0
    feed_s = analysis_s = 0.0
    batch: list[IndexDocument] = []
    for document in world.documents(size):
        batch.append(document)
        documents += 1
        if len(batch) == BATCH_DOCUMENTS:
            feed_s += await timed(index, batch)
            analysis_s += analysing(batch)
            batch = []
    feed_s += await timed(index, batch)
    analysis_s += analysing(batch)
    merging = time.perf_counter()
    await index.aclose()  # merges under way end
    feed_s += time.perf_counter() - merging

    index = EmbeddedIndex(root)
    everything = await everything_found(index, world, queries, documents)
    result: dict[str, object] = {
        "documents": documents,
        "ingest_chunks_per_s": round(size / feed_s),
        "ingest_without_analysis_chunks_per_s": round(size / max(feed_s - analysis_s, 1e-9)),
        "size_bytes": (await index.stats(TENANT, SPACE)).size_bytes,
        "segments": len(read_manifest(root / TENANT / SPACE.name).segments),
        "unfiltered": everything,
        "filtered": {
            str(tokens): await latencies(
                index, [world.request(tokens, documents) for _ in range(queries)]
            )
            for tokens in TOKENS
        },
    }
    await index.aclose()
    result["reader"] = reader(root, size)
    return result


async def timed(index: EmbeddedIndex, batch: list[IndexDocument]) -> float:
    start = time.perf_counter()
    await index.feed(TENANT, SPACE, batch)
    return time.perf_counter() - start


def analysing(batch: list[IndexDocument]) -> float:
    start = time.perf_counter()
    for document in batch:
        analyse(document.title, "en")
        for chunk in document.chunks:
            analyse(chunk.text, "en")
    return time.perf_counter() - start


async def latencies(index: EmbeddedIndex, requests: list[SearchRequest]) -> dict[str, float]:
    for request in requests[:5]:
        await index.search(request)
    times, hits = [], 0
    for request in requests[5:]:
        start = time.perf_counter()
        hits += len((await index.search(request)).hits)
        times.append((time.perf_counter() - start) * 1000)
    p50, p95 = np.percentile(times, [50, 95])
    snapshot = index._snapshots.get(index._folder(TENANT, SPACE))
    passed = [sum(passing_chunks(s, r.filter) for s in snapshot.segments) for r in requests[5:25]]
    return {
        "p50_ms": round(float(p50), 2),
        "p95_ms": round(float(p95), 2),
        "passing_share": round(float(np.mean(passed)) / snapshot.totals.chunks, 4),
        "hits": round(hits / len(times), 2),
    }


def passing_chunks(segment: Segment, where: Filter) -> int:
    return int(np.count_nonzero(passing(segment, where)[segment.base.chunk_documents]))


async def everything_found(
    index: EmbeddedIndex, world: World, queries: int, documents: int
) -> dict[str, float]:
    """Latency and recall@10 of the semantic leg with a filter that everything passes."""
    wide = Filter(
        tokens=frozenset(f"g:{group}" for group in range(GROUPS)),
        kb_ids=frozenset(f"kb{kb}" for kb in range(KBS)),
    )
    requests = [replace(world.request(10, documents), filter=wide, text="") for _ in range(queries)]
    found = [[h.document_id for h in (await index.search(r)).hits] for r in requests]
    limit, legs.EXACT_VECTORS = legs.EXACT_VECTORS, sys.maxsize
    exact = [[h.document_id for h in (await index.search(r)).hits] for r in requests]
    legs.EXACT_VECTORS = limit
    shares = [
        len(set(some) & set(all_)) / len(all_) for some, all_ in zip(found, exact, strict=True)
    ]
    hybrid = [replace(r, text=world.request(10, documents).text) for r in requests]
    return {
        "recall@10": round(float(np.mean(shares)), 4),
        **{f"semantic_{k}": v for k, v in (await latencies(index, requests)).items()},
        **{f"hybrid_{k}": v for k, v in (await latencies(index, hybrid)).items()},
    }


def reader(root: Path, size: int) -> dict[str, float]:
    """Time to open and answer once, and memory, of a fresh process."""
    code = (
        "import asyncio, time, resource, sys; from pathlib import Path\n"
        "import benchmarks.index as b; from engine.index.embedded import EmbeddedIndex\n"
        "def own(): return int(open('/proc/self/smaps_rollup').read().split('Anonymous:')[1].split()[0])\n"
        f"w = b.World.of(8); r = [w.request(100, {size} // 10) for _ in range(20)]; before = own()\n"
        "async def main():\n"
        f"    index = EmbeddedIndex(Path({str(root)!r})); t = time.perf_counter()\n"
        "    await index.search(r[0]); first = time.perf_counter() - t\n"
        "    for q in r: await index.search(q)\n"
        "    print(first * 1000, (own() - before) / 1024)\n"
        "asyncio.run(main())\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120
    )
    first_ms, own_mb = map(float, done.stdout.split())
    return {"first_search_ms": round(first_ms, 1), "own_memory_mb": round(own_mb, 1)}


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=[10_000, 100_000])
    parser.add_argument("--queries", type=int, default=100)
    arguments = parser.parse_args()
    results: dict[str, object] = {}
    for size in arguments.sizes:
        root = Path(tempfile.mkdtemp(prefix="scrubjay-bench-"))
        try:
            results[str(size)] = await measure(size, arguments.queries, root)
        finally:
            shutil.rmtree(root)
        print(size, results[str(size)], flush=True)
    write_results("index", results)


if __name__ == "__main__":
    asyncio.run(main())
