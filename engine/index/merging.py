"""Which segments to merge, and merging them without the writer waiting.

A merge reads what lived when it began and writes one segment; whatever died or changed meanwhile is
carried over when the writer installs it (`Merged.rows` maps old rows to new). Sizes rise in tiers,
so a chunk is rewritten about once a tier and the number of segments stays small.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from engine.index import postings
from engine.index.arrays import Array, Stream
from engine.index.segments import Segment, SegmentEntry, SegmentFile, save
from engine.index.vectors import vector_arrays

Rows = NDArray[np.int32]

TIER_CHUNKS = 2_000  # segments up to this size are of the lowest tier
TIER_FACTOR = 4  # each tier holds segments so many times larger than the one below
TIER_SEGMENTS = 4  # of one tier are merged
MAX_SEGMENTS = 12  # then the smallest are merged whatever their tier
DEAD_SHARE = 0.3  # a segment with more of its chunks dead is rewritten


@dataclass(frozen=True, slots=True)
class Merged:
    """A segment written from others, not yet part of the space."""

    sources: tuple[Segment, ...]
    rows: tuple[Rows, ...]  # of each source: old document row → new one, -1 for those left out
    base: str
    documents: int
    chunks: int


def choose(entries: Sequence[SegmentEntry]) -> list[SegmentEntry]:
    """The segments to merge next; none when all is well."""
    tiers: dict[int, list[SegmentEntry]] = {}
    for entry in entries:
        tiers.setdefault(_tier(entry.chunks - entry.dead_chunks), []).append(entry)
    for _, tier in sorted(tiers.items()):
        if len(tier) >= TIER_SEGMENTS:
            return tier
    if len(entries) > MAX_SEGMENTS:
        return sorted(entries, key=lambda entry: entry.chunks)[: len(entries) // 2]
    return [entry for entry in entries if entry.dead_chunks > DEAD_SHARE * entry.chunks][:1]


def merge(folder: Path, base: str, sources: Sequence[Segment], *, sync: bool) -> Merged:
    """Write the live documents of some segments into one new file."""
    document_maps = _renumber([segment.live for segment in sources])
    chunk_maps = _renumber([segment.live[segment.base.chunk_documents] for segment in sources])
    bases = [segment.base for segment in sources]
    documents = _kept(document_maps)
    chunks = _kept(chunk_maps)
    if documents:
        arrays = _arrays(bases, document_maps, chunk_maps)
        save(folder / base, arrays, sync=sync)
    return Merged(tuple(sources), tuple(document_maps), base, documents, chunks)


def _tier(chunks: int) -> int:
    tier = 0
    while chunks > TIER_CHUNKS * TIER_FACTOR**tier:
        tier += 1
    return tier


def _renumber(alive: Sequence[NDArray[np.bool_]]) -> list[Rows]:
    """Old rows to new ones, counted through all sources; -1 for what is left out."""
    maps, base = [], 0
    for mask in alive:
        new = np.where(mask, np.cumsum(mask) - 1 + base, -1).astype(np.int32)
        maps.append(new)
        base += int(np.count_nonzero(mask))
    return maps


def _kept(maps: Sequence[Rows]) -> int:
    return sum(int(np.count_nonzero(rows >= 0)) for rows in maps)


def _arrays(
    bases: Sequence[SegmentFile], document_maps: Sequence[Rows], chunk_maps: Sequence[Rows]
) -> dict[str, Array | Stream]:
    documents = [np.flatnonzero(rows >= 0) for rows in document_maps]
    chunks = [np.flatnonzero(rows >= 0) for rows in chunk_maps]

    def joined(name: str, kept: Sequence[NDArray[np.int64]]) -> Array:
        return np.concatenate([getattr(b, name)[rows] for b, rows in zip(bases, kept, strict=True)])

    ids = [_ids(base, rows) for base, rows in zip(bases, documents, strict=True)]
    sizes = np.concatenate(
        [np.diff(base.chunk_starts)[rows] for base, rows in zip(bases, documents, strict=True)]
    )
    id_sizes = np.concatenate([lengths for _, lengths in ids])
    texts = postings.merge([(b.texts, rows) for b, rows in zip(bases, chunk_maps, strict=True)])
    titles = postings.merge(
        [(b.titles, rows) for b, rows in zip(bases, document_maps, strict=True)]
    )
    arrays: dict[str, Array | Stream] = {
        name: joined(name, documents)
        for name in ("document_keys", "revision_keys", "part_keys", "parts", "title_lengths")
    }
    arrays |= {name: joined(name, chunks) for name in ("ordinals", "chunk_lengths")}
    arrays["ids"] = np.concatenate([data for data, _ in ids])
    arrays["id_starts"] = np.concatenate([[0], np.cumsum(id_sizes)]).astype(np.int64)
    arrays["chunk_starts"] = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
    arrays["chunk_documents"] = np.repeat(np.arange(len(sizes), dtype=np.int32), sizes)
    arrays |= titles.arrays("title")
    arrays |= texts.arrays("text")
    return arrays | _vectors(bases, chunk_maps)


def _ids(base: SegmentFile, rows: NDArray[np.int64]) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """The bytes of the ids in some rows, and the length of each id."""
    sizes = np.diff(base.id_starts).reshape(-1, 2)
    keep = np.zeros(base.documents, bool)
    keep[rows] = True
    return base.ids[np.repeat(keep, sizes.sum(axis=1))], sizes[rows].ravel()


def _vectors(bases: Sequence[SegmentFile], chunk_maps: Sequence[Rows]) -> dict[str, Array | Stream]:
    """The vectors of live chunks, fetched from the old files as the new one is written."""
    new_chunks, owners, places = [], [], []
    for number, (base, rows) in enumerate(zip(bases, chunk_maps, strict=True)):
        if base.vectors is None:
            continue
        old = np.flatnonzero((base.vectors.places >= 0) & (rows >= 0))
        new_chunks.append(rows[old])
        places.append(base.vectors.places[old])
        owners.append(np.full(len(old), number, np.int32))
    if not new_chunks:
        return {}
    owner, place = np.concatenate(owners), np.concatenate(places)
    matrices = [base.vectors.matrix if base.vectors else None for base in bases]
    dimension = next(matrix.shape[1] for matrix in matrices if matrix is not None)

    def fetch(wanted: NDArray[np.int64]) -> NDArray[np.float32]:
        block = np.empty((len(wanted), dimension), np.float32)
        for number, matrix in enumerate(matrices):
            mine = owner[wanted] == number
            if matrix is not None and mine.any():
                block[mine] = matrix[place[wanted][mine]]
        return block

    return vector_arrays(np.concatenate(new_chunks), _kept(chunk_maps), dimension, fetch)
