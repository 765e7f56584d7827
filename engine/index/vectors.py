"""The vectors of a segment: exact cosines of chosen rows, and a coarse index for many.

Vectors are float32 and L2-normalised, so a cosine is a dot product. A large segment keeps them
sorted by the nearest of about sqrt(n) centroids (an inverted file, Jégou et al. 2011): a search
over everything reads only the lists nearest to the query, then `engine.index.searching` completes
the documents found with exact cosines. Small or filtered searches never use the lists.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engine.index.arrays import Array, Stream

Matrix = NDArray[np.float32]
Rows = NDArray[np.int32]
Fetch = Callable[[NDArray[np.int64]], Matrix]

CLUSTER_FROM = 10_000  # vectors of a segment; below, reading them all is as quick
TRAINING_ROWS = 64  # a centroid, at most
ROUNDS = 8
_BLOCK = 8_192  # rows copied at a time when writing: 12 MB of 384 dimensions
_PICKED = 512  # rows copied at a time when searching: they stay in the cache


def dot(matrix: Matrix, query: Matrix) -> Matrix:
    """The dot product of every row with the query, by this thread alone.

    `matrix @ query` would share the rows among BLAS threads that wait for each other: on a machine
    busy with embedding that took 16 ms for 3,000 rows where this takes 0.1.
    """
    products: Matrix = np.vecdot(matrix, query)
    return products


@dataclass(frozen=True, slots=True)
class SegmentVectors:
    """Vectors of the chunks that have one.

    `places[chunk]` is the row of its vector, -1 where it has none; `chunks` is the inverse.
    `centroids` is None in a small segment; else rows `lists[i]` to `lists[i + 1]` are nearest to
    the i'th.
    """

    matrix: Matrix
    places: Rows
    chunks: Rows
    centroids: Matrix | None = None
    lists: NDArray[np.int64] | None = None

    def cosines(self, chunks: NDArray[np.int64], query: Matrix) -> Matrix:
        """The cosine of each chunk with the query; every one must have a vector."""
        places = self.places[chunks]
        if len(places) > len(self.matrix) // 2:  # reading on beats picking
            return dot(self.matrix, query)[places]
        found = np.empty(len(places), np.float32)
        for start in range(0, len(places), _PICKED):
            span = slice(start, start + _PICKED)
            found[span] = dot(self.matrix.take(places[span], axis=0), query)
        return found

    def near(self, query: Matrix, *, at_least: int) -> tuple[NDArray[np.int64], Matrix]:
        """Chunks of the lists nearest to the query, until `at_least` are read, and their cosines."""
        if self.centroids is None or self.lists is None:
            return self.chunks.astype(np.int64), dot(self.matrix, query)
        order = np.argsort(-dot(self.centroids, query), kind="stable")
        sizes = np.diff(self.lists)[order]
        enough = int(np.searchsorted(np.cumsum(sizes), at_least)) + 1
        spans = [slice(*self.lists[i : i + 2].tolist()) for i in order[:enough].tolist()]
        chunks = np.concatenate([self.chunks[span] for span in spans]).astype(np.int64)
        return chunks, np.concatenate([dot(self.matrix[span], query) for span in spans])

    @staticmethod
    def load(arrays: Mapping[str, Array]) -> SegmentVectors | None:
        """What `vector_arrays` stored, or None where a segment has no vectors."""
        if "vectors" not in arrays:
            return None
        return SegmentVectors(
            arrays["vectors"],
            arrays["vector_places"],
            arrays["vector_chunks"],
            arrays.get("centroids"),
            arrays.get("lists"),
        )


def vector_arrays(
    chunks: Rows, chunk_count: int, dimension: int, fetch: Fetch
) -> dict[str, Array | Stream]:
    """What to store for the vectors of `chunks`; `fetch(i)` gives those of chunks[i]."""
    if not len(chunks):
        return {}
    arrays: dict[str, Array | Stream] = {}
    order = np.arange(len(chunks))
    if len(chunks) >= CLUSTER_FROM:
        centroids, nearest = _cluster(len(chunks), fetch)
        order = np.argsort(nearest, kind="stable")
        arrays["centroids"] = centroids
        arrays["lists"] = np.searchsorted(nearest[order], np.arange(len(centroids) + 1))
    places = np.full(chunk_count, -1, np.int32)
    places[chunks[order]] = np.arange(len(chunks), dtype=np.int32)
    arrays["vector_places"] = places
    arrays["vector_chunks"] = chunks[order].astype(np.int32)
    shape = (len(chunks), dimension)
    blocks = (fetch(part) for part in _parts(order))
    arrays["vectors"] = Stream("<f4", shape, blocks)
    return arrays


def _cluster(count: int, fetch: Fetch) -> tuple[Matrix, NDArray[np.int32]]:
    """Spherical k-means on a sample, then the nearest centroid of every vector."""
    random = np.random.default_rng(count)  # the same data gives the same file
    clusters = int(count**0.5)
    picked = random.choice(count, min(count, clusters * TRAINING_ROWS), replace=False)
    sample = fetch(np.sort(picked))
    centroids = sample[random.choice(len(sample), clusters, replace=False)].copy()
    for _ in range(ROUNDS):
        nearest = _nearest(sample, centroids)
        sums = np.zeros_like(centroids)
        np.add.at(sums, nearest, sample)
        lengths = np.linalg.norm(sums, axis=1, keepdims=True)
        centroids = np.where(lengths > 0, sums / np.maximum(lengths, 1e-12), centroids)
    parts = [_nearest(fetch(part), centroids) for part in _parts(np.arange(count))]
    return centroids, np.concatenate(parts)


def _nearest(vectors: Matrix, centroids: Matrix) -> NDArray[np.int32]:
    best = [
        (vectors[start : start + _BLOCK] @ centroids.T).argmax(axis=1)
        for start in range(0, len(vectors), _BLOCK)
    ]
    return np.concatenate(best).astype(np.int32)


def _parts(order: NDArray[np.int64]) -> Iterator[NDArray[np.int64]]:
    for start in range(0, len(order), _BLOCK):
        yield order[start : start + _BLOCK]
