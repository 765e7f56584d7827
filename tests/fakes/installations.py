"""A whole installation for stories: the real engine and worker over a folder of the test's own.

The embedder is the hashing one, and can be held; the parser runs in this process where a story is
not about parsing, because starting its children takes longer than most stories.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio.to_thread
import numpy as np
import pytest
from numpy.typing import NDArray

from engine.config import load_settings
from engine.documents.adding import Added, NewDocument
from engine.documents.documents import DocumentInfo
from engine.domain import Principal
from engine.engine import Engine
from engine.errors import DocumentError
from engine.models.hashing import HashingEmbedder
from engine.runtime import open_engine
from ingestion import chunking, host
from ingestion.chunking import Chunking, Span
from ingestion.convert.document import ConversionError, ConversionLimits, Converted
from ingestion.convert.formats import convert
from ingestion.convert.progress import told_to
from ingestion.host import run_worker
from ingestion.parsing import Report

BOUND_S = 60.0


class HeldEmbedder(HashingEmbedder):
    """Embeds documents only while `gate` is open; `broken` is raised instead of a vector."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = asyncio.Event()
        self.gate.set()
        self.asked = asyncio.Event()
        self.texts = 0
        self.broken: Exception | None = None

    async def embed_documents(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """As the hashing embedder, once the gate is open."""
        self.asked.set()
        await self.gate.wait()
        if self.broken is not None:
            raise self.broken
        self.texts += len(texts)
        return await super().embed_documents(texts)


class InlineParsers:
    """Reads files in a thread of this process, as `ParsingPool` does in a child."""

    def __init__(self, limits: ConversionLimits) -> None:
        self._limits = limits

    async def parse(self, data: bytes, filename: str, *, report: Report | None = None) -> Converted:
        """The converter's own words, as errors of the document."""
        try:
            with told_to(report or (lambda _done, _total: None)):
                return await anyio.to_thread.run_sync(convert, data, filename, self._limits)
        except ConversionError as error:
            raise DocumentError(error.message, code=error.code) from None

    async def split(
        self,
        document: Converted,
        settings: Chunking,
        token_offsets: Callable[[str], list[tuple[int, int]]],
    ) -> list[Span]:
        """Spans of a document."""
        return await anyio.to_thread.run_sync(chunking.split, document, settings, token_offsets)


@asynccontextmanager
async def _inline_pool(*, limits: ConversionLimits, **_: object) -> AsyncIterator[InlineParsers]:
    yield InlineParsers(limits)


def parse_inline(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let workers of this test read files without children."""
    monkeypatch.setattr(host, "open_parsing_pool", _inline_pool)


class Installation:
    """An open engine, its owner, a knowledge base called notes, and a worker on demand."""

    def __init__(self, engine: Engine, owner: Principal, embedder: HeldEmbedder) -> None:
        self.engine = engine
        self.owner = owner
        self.embedder = embedder

    async def add(self, text: str | bytes, name: str = "note.md", **more: Any) -> Added:
        """Add one document; its name is its external id."""
        data = text.encode() if isinstance(text, str) else text
        new = NewDocument(data=data, filename=name, **({"external_id": name} | more))
        return await self.engine.documents.add(self.owner, "notes", new)

    async def get(self, added: Added) -> DocumentInfo:
        return await self.engine.documents.get(self.owner, added.document_id)

    async def why(self, added: Added) -> str:
        return await self.engine.documents.explain(self.owner, added.document_id)

    async def found(self, query: str, *, mode: Any = "keyword") -> list[str]:
        """The texts of the hits of a search."""
        result = await self.engine.search.find(self.owner, query, mode=mode)
        return [hit.text for hit in result.hits]

    async def until(self, added: Added, condition: Callable[[DocumentInfo], bool]) -> DocumentInfo:
        """The document once it is as wanted."""
        async with asyncio.timeout(BOUND_S):
            while not condition(info := await self.get(added)):  # noqa: ASYNC110 (a row tells nobody)
                await asyncio.sleep(0.01)
        return info

    async def drain(self) -> None:
        """Run a worker until nothing is left to do."""
        async with asyncio.timeout(BOUND_S):
            await run_worker(self.engine, asyncio.Event(), idle_exit_s=0)

    @asynccontextmanager
    async def working(self) -> AsyncIterator[None]:
        """A worker beside the story."""
        stop = asyncio.Event()
        task = asyncio.create_task(run_worker(self.engine, stop))
        try:
            yield
        finally:
            stop.set()
            self.embedder.gate.set()
            async with asyncio.timeout(BOUND_S):
                await task


@asynccontextmanager
async def open_installation(
    home: Path, settings: Mapping[str, object] | None = None
) -> AsyncIterator[Installation]:
    """An installation in `home`, whose knowledge base is made where it is not there yet.

    Settings may name another model than the hashing one, which then embeds in earnest.
    """
    chosen = {"embedding.model": "hashing", **(settings or {})}
    async with open_engine(load_settings(home, None, chosen, environ={})) as engine:
        embedder = HeldEmbedder()
        if chosen["embedding.model"] == "hashing":
            engine.embedder = embedder
        owner = await engine.people.owner()
        if "notes" not in {kb.name for kb in await engine.knowledge_bases.list_readable(owner)}:
            await engine.knowledge_bases.create(owner, "notes")
            owner = await engine.people.owner()
        yield Installation(engine, owner, embedder)
