"""When a document's words answer before its vectors: only where these take long, or fail."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace

import numpy as np
import pytest

from engine.errors import Unavailable
from ingestion.components import embedder as module
from ingestion.components.embedder import EmbedderComponent

VECTORS = np.zeros((1, 4), np.float32)


class Run:
    """An ingestion that notes when its words are published."""

    def __init__(self) -> None:
        self.chunks = ["a chunk"]
        self.vectors = None
        self.events: list[str] = []
        self.published = asyncio.Event()
        self.shared = self.work = None

    async def publish_words(self) -> None:
        self.events.append("words")
        self.published.set()


@pytest.fixture
def embed(monkeypatch):
    """Lets a test say how the chunks are embedded; the component under test runs it."""

    async def go(run: Run, embedding) -> None:
        async def embed_chunks(run: Run, _report):
            await embedding()
            run.events.append("vectors")
            return VECTORS, 1

        monkeypatch.setattr(module, "embed_chunks", embed_chunks)
        component = EmbedderComponent("embedder", EmbedderComponent.Param(), None)
        context = SimpleNamespace(services=run, progress=lambda *_: None)
        await component._invoke(context, {})

    return go


async def test_quick_vectors_spare_the_words_their_own_way(embed):
    run = Run()

    async def at_once() -> None:
        pass

    await embed(run, at_once)
    assert run.events == ["vectors"]
    assert run.vectors is VECTORS


async def test_words_go_ahead_of_slow_vectors(embed, monkeypatch):
    monkeypatch.setattr(module, "WORDS_AFTER_S", 0.0)
    run = Run()
    async with asyncio.timeout(60):
        await embed(run, run.published.wait)
    assert run.events == ["words", "vectors"]


async def test_words_answer_also_where_vectors_fail(embed):
    run = Run()

    async def fail() -> None:
        raise Unavailable("The endpoint is away.")

    with pytest.raises(Unavailable):
        await embed(run, fail)
    assert run.events == ["words"]


async def test_cancelling_ends_the_embedding_too(embed):
    run, begun, ended = Run(), asyncio.Event(), asyncio.Event()

    async def for_ever() -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    working = asyncio.create_task(embed(run, for_ever))
    async with asyncio.timeout(60):
        await begun.wait()
        working.cancel()
        with pytest.raises(asyncio.CancelledError):
            await working
    assert ended.is_set()
