"""Where the subject of a text changes, found by vectors of its sentences. Pure.

The Splitter's `semantic` strategy embeds what `sentences` gives and hands the breaks of `find_breaks`
to the chunker. After Greg Kamradt's "5 levels of text splitting" (2024): a break is a gap whose
neighbourhoods are less alike than those of most gaps of the same document.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ingestion.convert.document import Converted
from ingestion.units import SENTENCE, pieces

NEIGHBOURS = 3  # sentences on each side of a gap: one alone says too little of a subject
WHOLE = frozenset({"code", "table"})


def sentences(document: Converted) -> list[tuple[int, int]]:
    """The sentences [start, end) of what is not hidden, in order, headings with what they head.

    A fence or a table counts as one.
    """
    found: list[tuple[int, int]] = []
    lead: int | None = None  # where the headings directly above begin
    for block in document.blocks:
        if block.kind == "hidden":
            continue
        if block.kind == "heading":
            lead = block.start if lead is None else lead
            continue
        if block.kind in WHOLE:
            parts = [(block.start, block.end)]
        else:
            parts = list(pieces(document.text, block.start, block.end, SENTENCE))
        if parts and lead is not None:
            parts[0] = (lead, parts[0][1])
            lead = None
        found += parts
    if lead is not None:
        found.append((lead, document.blocks[-1].end))
    return found


def find_breaks(
    starts: Sequence[int], vectors: NDArray[np.float32], *, percentile: float
) -> list[int]:
    """The starts of sentences that begin another subject, rising.

    `vectors` is [sentences, dimension], L2-normalised. `percentile` is the share of gaps, in
    percent, that are no breaks: 100 finds none. A text of one tone throughout still has its
    least smooth gaps; the chunker ignores a break that would leave too small a chunk.
    """
    if len(starts) < 2 or percentile >= 100:
        return []
    distances = gap_distances(vectors)
    threshold = np.percentile(distances, percentile)
    return [
        start
        for start, distance in zip(itertools.islice(starts, 1, None), distances, strict=True)
        if distance > 0 and distance >= threshold
    ]


def gap_distances(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """1 - cosine of the mean vectors before and after each gap, [sentences - 1]."""
    sums = np.vstack([np.zeros((1, vectors.shape[1]), np.float64), np.cumsum(vectors, axis=0)])
    gaps = np.arange(1, len(vectors))
    before = sums[gaps] - sums[np.maximum(gaps - NEIGHBOURS, 0)]
    after = sums[np.minimum(gaps + NEIGHBOURS, len(vectors))] - sums[gaps]
    norms = np.linalg.norm(before, axis=1) * np.linalg.norm(after, axis=1)
    alike = np.einsum("ij,ij->i", before, after) / np.where(norms == 0, 1, norms)
    distances: NDArray[np.float32] = np.round(1 - alike, 6).astype(np.float32)
    return distances
