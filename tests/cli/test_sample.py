"""The sample and the vectors shipped with it: they belong to its texts and to the shipped model."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from numpy.typing import NDArray
from sqlalchemy import select

from cli import sample, up
from cli.sample_vectors import FILE, SampleVectors, read_vectors, write_vectors
from engine.db.tables import Chunk
from engine.engine import Engine
from engine.models.cache import text_hash
from engine.models.catalogue import MINILM
from engine.models.local import LocalEmbedder
from engine.runtime import open_engine
from ingestion.host import run_worker
from tests.fakes.homes import home_settings
from tests.fakes.installations import parse_inline

AGAIN = "run `python -m scripts.sample_vectors`: the pages, their splitting or the model changed"


@pytest.mark.slow
async def test_every_text_of_the_sample_has_its_vector(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parse_inline(monkeypatch)
    embedded: list[str] = []
    real = LocalEmbedder.embed_documents

    async def counted(self: LocalEmbedder, texts: Sequence[str]) -> NDArray[np.float32]:
        embedded.extend(texts)
        return await real(self, texts)

    monkeypatch.setattr(LocalEmbedder, "embed_documents", counted)
    async with open_engine(home_settings(tmp_path, embedding__model="minilm")) as engine:
        begun = await sample.begin(engine, await engine.people.owner())
        assert begun is not None
        await sample.finish(engine, begun)
        await run_worker(engine, asyncio.Event(), idle_exit_s=0)
        owner = await engine.people.owner()
        [kb] = (await engine.operations.status(owner)).knowledge_bases
        assert (kb.documents, kb.without_vectors) == (begun.pages, 0)
        assert kb.states == {"ready": 246}
        assert embedded == [], AGAIN
        first = [await engine.documents.get(owner, id_) for id_ in begun.first]
        answer = await engine.answers.answer(owner, sample.QUESTION, kb=sample.NAME, door="cli")
        assert answer.citations[0].document_id in {page.id for page in first}
        assert "240" in answer.text
        await same_as_the_models(engine)


async def same_as_the_models(engine: Engine) -> None:
    """Embed some texts of the sample, and compare."""
    pages = sample.folder()
    assert pages is not None
    stored = read_vectors(pages.parent / FILE)
    assert (stored.space, stored.weights) == (
        engine.embedder.space.name,
        MINILM.files[MINILM.weights],
    )
    known = dict(zip(stored.hashes, stored.vectors, strict=True))
    async with engine.db.read() as session:
        rows = list(
            await session.execute(
                select(Chunk.context, Chunk.text).order_by(Chunk.revision_id, Chunk.ordinal)
            )
        )
    texts = [f"{context}\n{text}" if context else text for context, text in rows[::70]]
    fresh = await engine.embedder.embed_documents(texts)
    pairs = zip((known[text_hash(text)] for text in texts), fresh, strict=True)
    assert min(float(ours @ theirs) for ours, theirs in pairs) > 0.999, AGAIN


def test_vectors_keep_their_direction_in_a_byte_a_number(tmp_path: Path) -> None:
    vectors = np.random.default_rng(7).normal(size=(50, 384)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    made = SampleVectors("space", "weights", tuple(bytes([n] * 16) for n in range(50)), vectors)
    write_vectors(tmp_path / "v.npz", made)
    read = read_vectors(tmp_path / "v.npz")
    assert (read.space, read.weights, read.hashes) == ("space", "weights", made.hashes)
    assert np.sum(read.vectors * vectors, axis=1).min() > 0.9999


async def test_vectors_of_another_model_are_left_where_they_are(tmp_path: Path) -> None:
    async with open_engine(home_settings(tmp_path)) as engine:  # the hashing one
        pages = sample.folder()
        assert pages is not None
        owner = await engine.people.owner()
        assert await sample.remember(engine, owner, pages.parent / FILE) == 0


@pytest.mark.parametrize(
    ("state", "workers", "told"),
    [
        ("pending", [], "Waiting for the worker, which reads the pages, to start."),
        ("pending", ["w"], "Waiting for the worker to begin with the pages."),
        ("running", ["w"], "Reading the page with the first answer: 40% done."),
        ("failed", ["w"], "The page with the first answer can't be read: The disk is full."),
    ],
)
async def test_what_a_late_first_answer_waits_for_is_told(
    state: str, workers: list[str], told: str
) -> None:
    async def status(_: object) -> SimpleNamespace:
        return SimpleNamespace(workers=workers)

    engine = SimpleNamespace(operations=SimpleNamespace(status=status))
    page = SimpleNamespace(state=state, progress=0.4, error="The disk is full.")
    assert await up._awaited(engine, None, [page]) == told  # type: ignore[arg-type, list-item]
