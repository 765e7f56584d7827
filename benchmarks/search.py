"""How long a search takes, SQL and all: `python -m benchmarks.search`.

The world of `benchmarks.index` (invented words, gathered vectors) with its rows in SQL: ten
knowledge bases, and documents that name a group and a reader of their own. Each query asks for a
principal of its own, whose tokens let about 3 % of the chunks pass: a tenth by the knowledge base
asked, three tenths of those by group. It goes through `Retriever.search` as every door's does: the
scope and filter from SQL, both legs, titles, missing scores completed, the join and the passages'
texts. Only the query's embedding is left out: vectors are prepared.

`recall@10` compares with the same search told to look at every vector. `while_ingesting` searches
while a niced worker, the child of `scrubjay up`, takes in large files; idle rounds before and
after it are what it is compared with.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import hashlib
import os
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import insert, select

from benchmarks.index import BATCH_DOCUMENTS, KBS, World
from benchmarks.results import write_results
from benchmarks.workers import large_files, running_worker
from engine.access import gate
from engine.clock import new_id
from engine.config import load_settings
from engine.db.session import Database, open_database
from engine.db.tables import (
    Acl,
    AclToken,
    Chunk,
    Document,
    KnowledgeBase,
    Live,
    Revision,
    Source,
)
from engine.domain import MAIN, Audience, Principal, Role
from engine.index import legs
from engine.index.embedded import EmbeddedIndex
from engine.index.port import IndexDocument, Space
from engine.models.hashing import HashingEmbedder
from engine.runtime import open_engine
from engine.search.retrieval import Retriever

SPACE = HashingEmbedder.space
TOKENS = (10, 100, 1000)
WARM_UP = 10  # searches that are not counted


class Prepared:
    """An embedder whose queries are numbers of vectors prepared before."""

    space: Space = SPACE
    max_tokens = 256
    languages: frozenset[str] = frozenset()

    def __init__(self) -> None:
        self.vectors: dict[str, NDArray[np.float32]] = {}

    async def embed_query(self, text: str) -> NDArray[np.float32]:
        return self.vectors[text]


@dataclass(frozen=True)
class Query:
    """What is asked, by whom, of which knowledge base."""

    text: str
    kb_id: str
    principal: Principal
    audience: Audience


@dataclass
class Built:
    """A filled data folder, opened."""

    db: Database
    index: EmbeddedIndex
    embedder: Prepared
    world: World
    tenant_id: str
    kb_ids: list[str]
    documents: int

    def query(self, tokens: int) -> Query:
        request = self.world.request(tokens, self.documents)
        assert request.vector is not None
        self.embedder.vectors[request.text] = request.vector
        held = frozenset(request.filter.tokens)
        principal = Principal(
            self.tenant_id, None, "bench", Role.MEMBER, held, gate.ROLE_SCOPES[Role.MEMBER]
        )
        (kb,) = request.filter.kb_ids
        return Query(
            request.text,
            self.kb_ids[int(kb.removeprefix("kb"))],
            principal,
            Audience("bench", "bench", held),
        )

    def retriever(self) -> Retriever:
        return Retriever(self.db, self.index, {SPACE.name: self.embedder})


@asynccontextmanager
async def built(folder: Path, chunks: int) -> AsyncIterator[Built]:
    config = folder / "bench.toml"
    config.write_text('[embedding]\nmodel = "hashing"\n', encoding="utf-8")
    settings = load_settings(folder, config)
    async with open_engine(settings) as engine:
        owner = await engine.people.owner()
        kb_ids = [
            (await engine.knowledge_bases.create(owner, f"kb{number}")).id for number in range(KBS)
        ]
    world = World.of(7)
    index = EmbeddedIndex(folder / "index")
    try:
        async with open_database(settings.database_url) as db:
            async with db.read() as session:
                rows = await session.execute(select(Source.kb_id, Source.id))
                sources = {row.kb_id: row.id for row in rows}
            documents = 0
            batch: list[IndexDocument] = []
            for document in world.documents(chunks):
                batch.append(document)
                documents += 1
                if len(batch) == BATCH_DOCUMENTS:
                    await store(db, index, owner.tenant_id, kb_ids, sources, batch)
                    batch = []
            await store(db, index, owner.tenant_id, kb_ids, sources, batch)
            await index.aclose()  # merges under way end
            index = EmbeddedIndex(folder / "index")
            yield Built(db, index, Prepared(), world, owner.tenant_id, kb_ids, documents)
    finally:
        await index.aclose()


async def store(
    db: Database,
    index: EmbeddedIndex,
    tenant_id: str,
    kb_ids: Sequence[str],
    sources: dict[str, str],
    batch: Sequence[IndexDocument],
) -> None:
    """Rows and index entries of some documents, whose ids become the rows'."""
    rows: dict[type, list[dict[str, object]]] = {
        table: [] for table in (Acl, AclToken, Document, Revision, Live, Chunk)
    }
    fed = []
    for made in batch:
        kb_id = kb_ids[int(made.kb_id.removeprefix("kb"))]
        acl_id = new_id()
        digest = hashlib.sha256("\n".join(sorted(made.acl)).encode()).hexdigest()
        base = {"tenant_id": tenant_id}
        rows[Acl].append({"id": acl_id, "digest": digest, "tokens": sorted(made.acl), **base})
        rows[AclToken] += [{"acl_id": acl_id, "token": token, **base} for token in made.acl]
        rows[Document].append(
            {
                "id": made.document_id, "kb_id": kb_id, "source_id": sources[kb_id],
                "external_id": made.document_id, "title": made.title, "acl_id": acl_id,
                "state": "ready", "vectors": "complete", "chunk_count": len(made.chunks), **base,
            }
        )  # fmt: skip
        rows[Revision].append(
            {
                "id": made.revision_id, "document_id": made.document_id, "number": 1,
                "blob_hash": "", "space": SPACE.name, "chunk_count": len(made.chunks), **base,
            }
        )  # fmt: skip
        rows[Live].append(
            {
                "branch": MAIN, "document_id": made.document_id,
                "revision_id": made.revision_id, "kb_id": kb_id, **base,
            }
        )  # fmt: skip
        rows[Chunk] += [
            {
                "revision_id": made.revision_id, "ordinal": chunk.ordinal, "text": chunk.text,
                "start": 0, "end": len(chunk.text), **base,
            }
            for chunk in made.chunks
        ]  # fmt: skip
        fed.append(
            IndexDocument(
                made.document_id, made.revision_id, 0, kb_id, made.acl, made.title, made.chunks
            )
        )
    async with db.write() as session:
        for table, values in rows.items():
            if values:
                await session.execute(insert(table), values)
        for kb_id in {row["kb_id"] for row in rows[Document]}:
            kb = await session.get_one(KnowledgeBase, kb_id)
            mine = [row for row in rows[Document] if row["kb_id"] == kb_id]
            kb.document_count += len(mine)
            kb.chunk_count += sum(int(str(row["chunk_count"])) for row in mine)
    await index.ensure_space(tenant_id, SPACE)
    await index.feed(tenant_id, SPACE, fed)


async def run(built: Built, queries: Sequence[Query]) -> tuple[list[float], list[list[str]]]:
    """Milliseconds of each search, and the documents it found."""
    retriever, times, found = built.retriever(), [], []
    for query in queries:
        start = time.perf_counter()
        result = await retriever.search(
            query.principal, query.audience, query.text, kb_ids=[query.kb_id], limit=10
        )
        times.append((time.perf_counter() - start) * 1000)
        found.append([hit.document_id for hit in result.hits])
    return times, found


def spread(times: Sequence[float]) -> dict[str, float]:
    p50, p95 = np.percentile(times[WARM_UP:], [50, 95])
    return {"p50_ms": round(float(p50), 1), "p95_ms": round(float(p95), 1)}


async def latencies(built: Built, count: int, rounds: int) -> dict[str, object]:
    """By tokens held: the quietest of some rounds, each with queries of its own, and recall."""
    result: dict[str, object] = {}
    for tokens in TOKENS:
        measured = []
        for _ in range(rounds):
            queries = [built.query(tokens) for _ in range(count + WARM_UP)]
            times, found = await run(built, queries)
            measured.append(spread(times))
        limit, legs.EXACT_VECTORS = legs.EXACT_VECTORS, sys.maxsize
        _, exact = await run(built, queries)
        legs.EXACT_VECTORS = limit
        shares = [
            len(set(some) & set(all_)) / len(all_)
            for some, all_ in zip(found, exact, strict=True)
            if all_
        ]
        result[str(tokens)] = {
            **min(measured, key=lambda item: item["p95_ms"]),
            "recall@10": round(float(np.mean(shares)), 4),
            "hits": round(float(np.mean([len(some) for some in found])), 2),
            "rounds": measured,
        }
    return result


async def while_ingesting(built: Built, folder: Path, count: int) -> dict[str, object]:
    """p95 of searches while a worker takes in large files, and of the same before and after."""
    settings = load_settings(folder, folder / "bench.toml")
    async with open_engine(settings) as engine:
        owner = await engine.people.owner()
        kb = await engine.knowledge_bases.create(owner, "bulk")
        owner = await engine.people.owner()

        async def round_() -> list[float]:
            times, _ = await run(built, [built.query(100) for _ in range(count + WARM_UP)])
            return times[WARM_UP:]

        idle = await round_()
        busy: list[float] = []
        async with running_worker(folder, folder / "bench.toml", child=True):
            await engine.documents.add_many(owner, kb.id, large_files(40, 1_000_000))
            await working(engine, owner)
            while len(busy) < 5 * count and await engine_works(engine, owner):
                busy += await round_()
        idle += await round_()
    busy_p95, idle_p95 = (float(np.percentile(times, 95)) for times in (busy, idle))
    return {
        "idle_p95_ms": round(idle_p95, 1),
        "busy_p50_ms": round(float(np.percentile(busy, 50)), 1),
        "busy_p95_ms": round(busy_p95, 1),
        "ratio_of_p95": round(busy_p95 / idle_p95, 2),
        "searches_while_busy": len(busy),
    }


async def engine_works(engine, owner) -> bool:
    states = [kb.states for kb in (await engine.operations.status(owner)).knowledge_bases]
    return any(state.keys() & {"pending", "running"} for state in states)


async def working(engine, owner) -> None:
    """Until the worker has finished its first file: from then on it does everything at once."""
    async with asyncio.timeout(120):
        while True:
            status = await engine.operations.status(owner)
            bulk = next(kb for kb in status.knowledge_bases if kb.name == "bulk")
            if bulk.documents:
                return
            await asyncio.sleep(0.1)


async def measure(chunks: int, count: int, rounds: int, *, bulk: bool) -> dict[str, object]:
    with tempfile.TemporaryDirectory(prefix="scrubjay-bench-") as name:
        folder = Path(name)
        start = time.perf_counter()
        async with built(folder, chunks) as world:
            found: dict[str, object] = {
                "documents": world.documents,
                "build_s": round(time.perf_counter() - start),
                "load": round(os.getloadavg()[0], 1),
                "tokens": await latencies(world, count, rounds),
            }
            if bulk:
                found["while_ingesting"] = await while_ingesting(world, folder, count)
    return found


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=[10_000, 100_000])
    parser.add_argument("--queries", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    for size in options.sizes:
        with contextlib.suppress(BrokenPipeError):
            found = await measure(size, options.queries, options.rounds, bulk=size == 100_000)
            print(size, found, flush=True)
        write_results("search", {str(size): found})


if __name__ == "__main__":
    asyncio.run(main())
