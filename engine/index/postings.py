"""Inverted lists: which rows a term occurs in and how often, as sorted arrays.

A term is its 64-bit hash, so no text is stored and merging is arithmetic. (Two of a million
terms share a hash with a chance of one in 37 million.) Rows are chunks, or documents for titles.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from engine.index.arrays import Array

Rows = NDArray[np.int32]
List = tuple[Rows, NDArray[np.uint16]]
CACHE_TERMS = 300_000
MERGED_AT_ONCE = 4_000_000  # rows moved in one step of a merge: bounds its memory
MAX_COUNT = 65_535  # of one term in one row; BM25 is flat long before


@dataclass(frozen=True, slots=True)
class Postings:
    """Lists of all terms of a segment, one after the other.

    The i'th of `terms` (ascending hashes) occurs in `rows[starts[i]:starts[i + 1]]` (ascending),
    `counts` times each.
    """

    terms: NDArray[np.uint64]
    starts: NDArray[np.int64]
    rows: Rows
    counts: NDArray[np.uint16]

    def find(self, hashes: NDArray[np.uint64]) -> list[List]:
        """The rows and counts of each hash in the order given; empty where it does not occur."""
        if not len(self.terms):
            return [(self.rows[:0], self.counts[:0])] * len(hashes)
        places = np.searchsorted(self.terms, hashes)
        places[places == len(self.terms)] = 0
        known = (self.terms[places] == hashes).tolist()
        starts = self.starts[places].tolist()
        ends = np.where(known, self.starts[places + 1], starts).tolist()
        return [
            (self.rows[start:end], self.counts[start:end])
            for start, end in zip(starts, ends, strict=True)
        ]

    def arrays(self, prefix: str) -> dict[str, Array]:
        """The arrays to store, named with a prefix."""
        return {
            f"{prefix}_terms": self.terms,
            f"{prefix}_starts": self.starts,
            f"{prefix}_rows": self.rows,
            f"{prefix}_counts": self.counts,
        }

    @staticmethod
    def load(arrays: Mapping[str, Array], prefix: str) -> Postings:
        """What `arrays` stored under the prefix."""
        return Postings(
            arrays[f"{prefix}_terms"],
            arrays[f"{prefix}_starts"],
            arrays[f"{prefix}_rows"],
            arrays[f"{prefix}_counts"],
        )


class _Hashes(dict[str, int]):
    def __missing__(self, term: str) -> int:
        value = int.from_bytes(blake2b(term.encode(), digest_size=8).digest(), "little")
        if len(self) >= CACHE_TERMS:
            self.clear()
        self[term] = value
        return value


_hashes = _Hashes()


def hash_term(term: str) -> int:
    """The 64 bits that represent a term, the same on every machine."""
    return _hashes[term]


def invert(rows_terms: Sequence[Sequence[str]]) -> Postings:
    """Postings of rows 0, 1, … from the terms of each."""
    lengths = np.fromiter(map(len, rows_terms), np.int64, len(rows_terms))
    total = int(lengths.sum())
    hashes = np.fromiter(
        map(_hashes.__getitem__, chain.from_iterable(rows_terms)), np.uint64, total
    )
    terms, which = np.unique(hashes, return_inverse=True)
    keys = which.astype(np.int64) << 32 | np.repeat(np.arange(len(lengths)), lengths)
    keys.sort()
    first = np.flatnonzero(np.diff(keys, prepend=-1))
    counts = np.minimum(np.diff(first, append=total), MAX_COUNT).astype(np.uint16)
    keys = keys[first]
    starts = np.searchsorted(keys, np.arange(len(terms) + 1, dtype=np.int64) << 32)
    rows = (keys & 0xFFFF_FFFF).astype(np.int32)
    return Postings(terms, starts.astype(np.int64), rows, counts)


def merge(parts: Sequence[tuple[Postings, Rows]]) -> Postings:
    """One set of postings from several, each with its map of old rows to new ones, -1 for gone.

    New rows rise from part to part, so lists stay sorted without sorting. Terms left without
    rows fall out.
    """
    kept = [_surviving(postings, renumbered) for postings, renumbered in parts]
    terms = np.unique(np.concatenate([terms for terms, _, _, _ in kept]))
    places = [np.searchsorted(terms, part_terms) for part_terms, _, _, _ in kept]
    sizes = np.zeros(len(terms), np.int64)
    for place, (_, lengths, _, _) in zip(places, kept, strict=True):
        sizes[place] += lengths
    starts = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
    rows = np.empty(starts[-1], np.int32)
    counts = np.empty(starts[-1], np.uint16)
    cursor = starts[:-1].copy()
    for place, (_, lengths, part_rows, part_counts) in zip(places, kept, strict=True):
        ends = np.cumsum(lengths)
        first = cursor[place] - (ends - lengths)  # how far each list moves
        for start, end in _spans(ends):
            span = slice(int(ends[start - 1]) if start else 0, int(ends[end - 1]))
            target = np.repeat(first[start:end], lengths[start:end])
            target += np.arange(span.start, span.stop)
            rows[target] = part_rows[span]
            counts[target] = part_counts[span]
        cursor[place] += lengths
    return Postings(terms, starts, rows, counts)


def _spans(ends: NDArray[np.int64]) -> Iterator[tuple[int, int]]:
    """Ranges of lists that hold about `MERGED_AT_ONCE` rows together."""
    start = 0
    while start < len(ends):
        base = int(ends[start - 1]) if start else 0
        end = max(int(np.searchsorted(ends, base + MERGED_AT_ONCE)), start + 1)
        yield start, end
        start = end


def _surviving(
    postings: Postings, renumbered: Rows
) -> tuple[NDArray[np.uint64], NDArray[np.int64], Rows, NDArray[np.uint16]]:
    """Terms, list lengths, new rows and counts of what a part keeps."""
    rows = renumbered[postings.rows]
    alive = rows >= 0
    if alive.all():
        return postings.terms, np.diff(postings.starts), rows, postings.counts
    lengths = np.add.reduceat(alive, postings.starts[:-1], dtype=np.int64)  # no list is empty
    some = lengths > 0
    return postings.terms[some], lengths[some], rows[alive], postings.counts[alive]
