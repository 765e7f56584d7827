"""The sample's vectors, made once and shipped with it: the first answer waits for no embedding.

A row a text, keyed by the hash of exactly what is embedded, as the embedding cache is; so a text
that is cut otherwise by now, or by other settings, is embedded as any other. Bytes with a scale a
row: a third of the size of half floats, and what they lose changes no ranking (the test measures
it). Make them again with `python -m scripts.sample_vectors` when the pages, the splitting or the
model change.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from engine.domain import Principal
    from engine.engine import Engine

FILE = "vectors.npz"


@dataclass(frozen=True, slots=True)
class SampleVectors:
    """Vectors of `space`, shape [texts, dimension], normalised, and the hash of each text.

    `weights` is the SHA-256 of the model's weights that made them.
    """

    space: str
    weights: str
    hashes: tuple[bytes, ...]
    vectors: NDArray[np.float32]


def write_vectors(file: Path, made: SampleVectors) -> None:
    """Store vectors, a byte a number."""
    scales = np.abs(made.vectors).max(axis=1) / 127
    np.savez_compressed(
        file,
        space=np.array(made.space),
        weights=np.array(made.weights),
        hashes=np.frombuffer(b"".join(made.hashes), np.uint8).reshape(-1, 16),
        numbers=np.rint(made.vectors / scales[:, None]).astype(np.int8),
        scales=scales.astype(np.float32),
    )


def read_vectors(file: Path) -> SampleVectors:
    """What `write_vectors` stored."""
    with np.load(file, allow_pickle=False) as stored:
        vectors = stored["numbers"].astype(np.float32) * stored["scales"][:, None]
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        return SampleVectors(
            str(stored["space"]),
            str(stored["weights"]),
            tuple(row.tobytes() for row in stored["hashes"]),
            vectors,
        )


async def remember(engine: Engine, owner: Principal, file: Path) -> int:
    """Let the engine know the vectors of a file, if its model made them; how many it knows now."""
    from anyio import to_thread

    from engine.models.catalogue import MINILM

    try:
        known = await to_thread.run_sync(read_vectors, file)
    except FileNotFoundError:
        return 0
    if known.weights != MINILM.files[MINILM.weights] or known.space != engine.embedder.space.name:
        return 0
    await engine.documents.keep_vectors(owner, engine.embedder.space, known.hashes, known.vectors)
    return len(known.hashes)
