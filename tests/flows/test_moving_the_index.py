"""Another embedding model, another search engine: what answers keeps answering, then the new does."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from engine import clock, runtime
from engine.config import load_settings
from engine.documents.adding import NewDocument
from engine.domain import Principal
from engine.engine import Engine
from engine.errors import Conflict
from engine.index.port import RevisionRef, Space
from engine.models.hashing import HashingEmbedder
from engine.runtime import open_engine, open_index
from ingestion.host import run_worker
from ingestion.migration import fill_index
from tests.fakes.installations import parse_inline
from tests.fakes.vespa_server import FakeVespa, running

PAGES = {
    "parking.md": b"# Parking\n\nThe garage opens at 06:30 on weekdays.\n",
    "leave.md": b"# Leave\n\nAnnual leave accrues every month.\n",
}
OTHER = Space("another_model", 384)


class OtherModel(HashingEmbedder):
    """The hashing embedder under another name, its vectors turned round."""

    @property
    def space(self) -> Space:
        return OTHER

    async def embed_documents(self, texts: Sequence[str]) -> NDArray[np.float32]:
        return -(await super().embed_documents(texts))

    async def embed_query(self, query: str) -> NDArray[np.float32]:
        return -(await super().embed_query(query))


@pytest.fixture(autouse=True)
def inline(monkeypatch: pytest.MonkeyPatch) -> None:
    parse_inline(monkeypatch)


@asynccontextmanager
async def opened(home: Path, **settings: object) -> AsyncIterator[tuple[Engine, Principal]]:
    chosen = load_settings(home, overrides={"embedding.model": "hashing", **settings}, environ={})
    async with open_engine(chosen) as engine:
        yield engine, await engine.people.owner()


async def work(engine: Engine) -> None:
    await run_worker(engine, asyncio.Event(), idle_exit_s=0)


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    """Wait for what a worker does, with a bound."""
    async with asyncio.timeout(60):
        while not await condition():  # noqa: ASYNC110 (rows change in the database)
            await asyncio.sleep(0.05)


async def fill(engine: Engine, owner: Principal) -> Principal:
    kb = await engine.knowledge_bases.create(owner, "office")
    owner = await engine.people.owner()
    for name, text in PAGES.items():
        await engine.documents.add(
            owner, kb.id, NewDocument(data=text, filename=name, external_id=name)
        )
    await work(engine)
    return owner


async def titles(engine: Engine, owner: Principal, query: str, **options: object) -> list[str]:
    return [hit.title for hit in (await engine.search.find(owner, query, **options)).hits]  # type: ignore[arg-type]


async def test_a_knowledge_base_moves_to_another_model_in_one_step(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with opened(home) as (engine, first_owner):
        owner = await fill(engine, first_owner)
        first = engine.embedder.space
        with pytest.raises(Conflict, match="already"):
            await engine.knowledge_bases.reembed(owner, "office")
    monkeypatch.setattr(runtime, "build_embedder", lambda _: OtherModel())
    async with opened(home) as (engine, owner):
        before = await engine.search.find(owner, "garage")
        assert not before.semantic
        assert [hit.title for hit in before.hits] == ["Parking"]

        queued = await engine.knowledge_bases.reembed(owner, "office")
        assert (queued.from_space, queued.to_space) == (first.name, OTHER.name)
        await engine.knowledge_bases.reembed(owner, "office")  # asking again queues nothing more
        assert (await titles(engine, owner, "garage"))[0] == "Parking"
        await work(engine)

        kb = await engine.knowledge_bases.get(owner, "office")
        assert kb.space == OTHER.name
        after = await engine.search.find(owner, "garage")
        assert after.semantic
        assert after.hits[0].title == "Parking"
        assert after.hits[0].scores.cosine is not None
        held = await engine.index.revisions(owner.tenant_id, OTHER)
        assert len(held) == len(PAGES)
        assert await engine.index.revisions(owner.tenant_id, first) == {}
        assert (await engine.operations.reconcile(owner, repair=False)).clean

        more = NewDocument(data=b"# Lunch\n\nThe canteen serves soup.\n", filename="lunch.md")
        await engine.documents.add(owner, kb.id, more)
        await work(engine)
        assert (await titles(engine, owner, "soup"))[0] == "Lunch"


async def test_a_document_ingested_while_its_base_moves_ends_in_the_new_space(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with opened(home) as (engine, first_owner):
        owner = await fill(engine, first_owner)
    monkeypatch.setattr(runtime, "build_embedder", lambda _: OtherModel())
    async with opened(home) as (engine, owner):
        kb = await engine.knowledge_bases.get(owner, "office")
        added = await engine.documents.add(
            owner,
            kb.id,
            NewDocument(data=b"# Lunch\n\nThe canteen serves soup.\n", filename="l.md"),
        )
        stop = asyncio.Event()
        working = asyncio.create_task(run_worker(engine, stop))

        async def is_told() -> bool:
            return "kb reembed" in await engine.documents.explain(owner, added.document_id)

        async def has_moved() -> bool:
            return (await engine.knowledge_bases.get(owner, "office")).space == OTHER.name

        await until(is_told)
        await engine.knowledge_bases.reembed(owner, "office")
        await until(has_moved)
        stop.set()
        await working
        monkeypatch.setattr(clock, "now", lambda: datetime.now(UTC) + timedelta(minutes=10))
        await work(engine)
        assert (await titles(engine, owner, "soup"))[0] == "Lunch"
        assert (await engine.operations.reconcile(owner, repair=False)).clean


async def test_an_index_moves_to_vespa_and_back_without_its_sources(home: Path) -> None:
    async with running(FakeVespa()) as port:
        vespa = {
            "search.engine": "vespa",
            "vespa.url": f"http://127.0.0.1:{port}",
            "vespa.config_url": f"http://127.0.0.1:{port}",
            "vespa.cells": "float",
        }
        async with opened(home) as (engine, first_owner):
            owner = await fill(engine, first_owner)
            target = load_settings(
                home, overrides={"embedding.model": "hashing", **vespa}, environ={}
            )
            await engine.blobs.delete_tenant(owner.tenant_id)  # the sources are not asked for
            async with open_index(target, engine.db) as index:
                done = await fill_index(engine, index)
                assert (done.fed, done.kept, done.removed, done.without_vectors) == (2, 0, 0, 0)
                again = await fill_index(engine, index)
                assert (again.fed, again.kept) == (0, 2)
                stray = RevisionRef("d", "r")
                await index.remove(owner.tenant_id, engine.embedder.space, [stray])
            there = {name: await _scores(engine, owner, name) for name in ("garage", "leave")}
        async with opened(home, **vespa) as (engine, owner):
            assert (await engine.operations.reconcile(owner, repair=False)).clean
            for name, scores in there.items():
                assert await _scores(engine, owner, name) == scores
            added = await engine.documents.add(
                owner, "office", NewDocument(data=b"# Lunch\n\nSoup.\n", filename="lunch.md")
            )
            await work(engine)
            back = load_settings(home, overrides={"embedding.model": "hashing"}, environ={})
            async with open_index(back, engine.db) as index:
                done = await fill_index(engine, index)
            assert (done.fed, done.kept) == (1, 2)
            await engine.documents.delete(owner, added.document_id)
            async with open_index(back, engine.db) as index:
                assert (await fill_index(engine, index)).removed == 1
        async with opened(home) as (engine, owner):
            assert (await titles(engine, owner, "garage"))[0] == "Parking"


async def _scores(engine: Engine, owner: Principal, query: str) -> list[tuple[str, float]]:
    """Titles and cosines, which both engines compute alike."""
    hits = (await engine.search.find(owner, query)).hits
    return [(hit.title, round(hit.scores.cosine or 0.0, 4)) for hit in hits]
