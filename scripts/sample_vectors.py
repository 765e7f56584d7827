# ruff: noqa: INP001 (a script of the clone, no package)
"""Makes `samples/handbook/vectors.npz`: ingests the sample as `scrubjay up` does, and keeps its vectors.

    python -m scripts.sample_vectors

Takes about a minute of two cores. The file is the same each time but for the last bits of a model
that runs in several threads.
"""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path

import numpy as np
from sqlalchemy import select

from cli import sample
from cli.sample_vectors import FILE, SampleVectors, write_vectors
from engine.config import load_settings
from engine.db.tables import Embedding
from engine.models.catalogue import MINILM
from engine.runtime import open_engine
from ingestion.host import run_worker


async def make(home: Path) -> SampleVectors:
    """The vectors of the sample's texts, as this version cuts and this model embeds them."""
    async with open_engine(load_settings(home, environ={})) as engine:
        begun = await sample.begin(engine, await engine.people.owner(), vectors=False)
        assert begun is not None  # noqa: S101 (the folder is new, and a clone has the pages)
        await sample.finish(engine, begun)
        await run_worker(engine, asyncio.Event(), idle_exit_s=0)
        async with engine.db.read() as session:
            query = select(Embedding.text_hash, Embedding.vector).order_by(Embedding.text_hash)
            rows = list(await session.execute(query))
        return SampleVectors(
            engine.embedder.space.name,
            MINILM.files[MINILM.weights],
            tuple(bytes(key) for key, _ in rows),
            np.stack([np.frombuffer(vector, "<f4") for _, vector in rows]),
        )


def main() -> None:
    """Write the file beside the pages."""
    pages = sample.folder()
    assert pages is not None  # noqa: S101 (a clone has them)
    with tempfile.TemporaryDirectory(prefix="scrubjay-sample-") as home:
        made = asyncio.run(make(Path(home)))
    write_vectors(pages.parent / FILE, made)
    size = (pages.parent / FILE).stat().st_size
    print(f"{len(made.hashes):,} vectors, {size:,} bytes")  # noqa: T201


if __name__ == "__main__":
    main()
