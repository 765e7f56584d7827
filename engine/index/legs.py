"""The two legs of a search: exact BM25 of every document that passes, and cosines.

Cosines are exact as well while the filter leaves few enough vectors; beyond, the coarse lists of
`vectors.py` say which to read. Rows count documents through all segments; what a revision of
several parts scores is in the row of its first.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from engine.index import ranking
from engine.index.analysis import analyse_query
from engine.index.detection import detect_language
from engine.index.fields import Mask
from engine.index.port import Filter, SearchRequest
from engine.index.postings import List, hash_term
from engine.index.segments import Segment, document_key, rows_with
from engine.index.snapshot import BM25_K1, Snapshot
from engine.index.vectors import SegmentVectors

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]
Rows = NDArray[np.int64]
Rows32 = NDArray[np.int32]
Counts = NDArray[np.uint16]

EXACT_VECTORS = 20_000  # passing vectors up to which every cosine is computed
PROBED_VECTORS = 8_000  # read at first by a search over more; see docs/decisions/0001
LANGUAGE_LEAST = 20  # documents
PROBED_SHARE = 0.06  # or this share of a segment, whichever is more


@dataclass(frozen=True)
class WeighedQuery:
    """What is asked, weighed over the whole space.

    A term has a spelling for each way the languages of the space write it; one weighs as much as
    another, since rarity is counted over all of them.
    """

    owners: Rows  # which term each spelling belongs to
    text_weights: list[float]  # idf among chunks * times asked, of each spelling's term
    title_weights: list[float]  # idf among titles * times asked
    mass: Doubles  # what each term counts in coverage: `ranking.term_masses`
    weights: dict[str, float]  # of each term, by its first spelling: `ranking.term_weights`
    text_lists: list[list[List]]  # of each segment, where documents of its language say a spelling
    title_lists: list[list[List]]
    exact_share: float  # how much of it are exact terms that the space holds
    title_words: list[int]  # terms that a title must hold to be what was asked for

    @property
    def asks(self) -> bool:
        """Whether there is a term to look for."""
        return len(self.owners) > 0


@dataclass
class SegmentShare:
    """The share of one segment in a search."""

    index: int
    base_row: int
    segment: Segment
    passes: Mask  # documents
    text: Floats | None = None  # BM25 of each chunk
    title: Floats | None = None  # BM25 of each title
    cosine: Floats | None = None  # of each chunk, NaN where not computed or without vector

    @property
    def span(self) -> slice:
        """Its rows among all."""
        return slice(self.base_row, self.base_row + len(self.passes))

    @property
    def vectors(self) -> SegmentVectors | None:
        return self.segment.base.vectors

    @cached_property
    def chunk_passes(self) -> Mask:
        """Which chunks belong to documents that pass."""
        return self.passes[self.segment.base.chunk_documents]

    def chunks(self, row: int) -> range:
        """The chunks of a document."""
        return range(*self.segment.base.chunk_starts[row : row + 2].tolist())

    def best_of_chunks(self, values: Floats, *, nothing: float) -> Floats:
        """The highest value among each document's chunks, `nothing` where there is none."""
        best = np.full(len(self.passes), nothing, np.float32)
        if len(self.segment.first_chunks):
            highest = np.fmax.reduceat(values, self.segment.first_chunks)
            best[self.segment.has_chunks] = np.where(np.isnan(highest), nothing, highest)
        best[~self.passes] = nothing
        return best


def passing(segment: Segment, where: Filter) -> Mask:
    """Which live documents of a segment pass a filter."""
    passes = segment.fields.mask(where) & segment.live
    if where.document_ids is not None:
        wanted = np.array([document_key(value) for value in where.document_ids], np.uint64)
        chosen = np.zeros(len(passes), bool)
        chosen[rows_with(segment.base.document_keys, wanted)] = True
        passes &= chosen
    return passes


def filtered(snapshot: Snapshot, where: Filter) -> list[SegmentShare]:
    """The segments with something to find. Documents without chunks can't be cited: left out."""
    parts = []
    for index, segment in enumerate(snapshot.segments):
        passes = passing(segment, where) & segment.has_chunks
        if passes.any():
            parts.append(SegmentShare(index, snapshot.bases[index], segment, passes))
    return parts


def weigh(snapshot: Snapshot, request: SearchRequest) -> WeighedQuery:
    """The query's terms with their idf: ln(1 + (N - df + ½) / (df + ½)), as Lucene and Vespa.

    Each document is asked for a term as its own language spells it, and df counts those it is
    found in: documents whose language was misjudged make no word rare.
    """
    language = request.language or detect_language(request.text)
    languages = [language, *snapshot.languages] if language else snapshot.languages
    terms = analyse_query(request.text, languages)
    spellings = [
        (owner, term, speakers)
        for owner, asked in enumerate(terms)
        for term, speakers in zip(asked.terms, asked.languages, strict=True)
    ]
    hashes = np.array([hash_term(term) for _, term, _ in spellings], np.uint64)
    owners = np.array([owner for owner, _, _ in spellings], np.int64)
    asked = np.array([term.count for term in terms], np.float64)
    speakers = [languages for _, _, languages in spellings]
    text_lists, title_lists = [], []
    text_df, title_df = np.zeros(len(terms)), np.zeros(len(terms))
    for segment in snapshot.segments:
        spoken = _Spoken(segment)
        texts = spoken.said(segment.base.texts.find(hashes), speakers, chunks=True)
        titles = spoken.said(segment.base.titles.find(hashes), speakers, chunks=False)
        live = None if segment.dead is None else segment.live
        np.add.at(text_df, owners, _document_frequency(texts, segment.live_chunks))
        np.add.at(title_df, owners, _document_frequency(titles, live))
        text_lists.append(texts)
        title_lists.append(titles)
    text_idf = _idf(snapshot.totals.chunks, text_df)
    title_idf = _idf(snapshot.totals.documents, title_df)
    held = ((text_df + title_df) > 0).tolist()
    idf = text_idf.tolist()
    mass = ranking.term_masses(terms, idf, held)
    return WeighedQuery(
        owners,
        (asked * text_idf)[owners].tolist(),
        (asked * title_idf)[owners].tolist(),
        np.array(mass),
        dict(zip((t.terms[0] for t in terms), ranking.term_weights(terms, idf, mass), strict=True)),
        text_lists,
        title_lists,
        ranking.exact_share(terms, idf, held),
        ranking.title_words(terms),
    )


class _Spoken:
    """Which rows of a segment are in some of the languages."""

    def __init__(self, segment: Segment) -> None:
        self._segment = segment
        self._column = segment.fields.analysed
        self._values = frozenset(self._column.values)
        self._masks: dict[tuple[frozenset[str], bool], Mask] = {}

    def said(
        self, found: Sequence[List], speakers: Sequence[frozenset[str]], *, chunks: bool
    ) -> list[List]:
        """Of each spelling's postings those whose document is in a language that spells it so."""
        return [
            (rows, counts) if not len(rows) or self._values <= languages
            else self._kept(rows, counts, languages, chunks=chunks)
            for (rows, counts), languages in zip(found, speakers, strict=True)
        ]  # fmt: skip

    def _kept(
        self, rows: Rows32, counts: Counts, languages: frozenset[str], *, chunks: bool
    ) -> List:
        key = (languages, chunks)
        if key not in self._masks:
            mask = self._column.among(languages)
            self._masks[key] = mask[self._segment.base.chunk_documents] if chunks else mask
        keep = self._masks[key][rows]
        return rows[keep], counts[keep]


def lexical_leg(
    snapshot: Snapshot, parts: Sequence[SegmentShare], query: WeighedQuery
) -> tuple[Floats, Floats]:
    """BM25 of the title and of the best chunk of every row that passes, 0 elsewhere."""
    titles = np.zeros(snapshot.bases[-1], np.float32)
    texts = np.zeros(snapshot.bases[-1], np.float32)
    if not query.asks:
        return titles, texts
    for part in parts:
        part.text = _bm25(
            query.text_lists[part.index], query.text_weights, snapshot.chunk_norms(part.index)
        )
        part.title = _bm25(
            query.title_lists[part.index], query.title_weights, snapshot.title_norms(part.index)
        )
        texts[part.span] = part.best_of_chunks(part.text, nothing=0)
        titles[part.span] = part.title * part.passes
    collapse(snapshot, texts, nothing=0)
    collapse(snapshot, titles, nothing=0)
    return titles, texts


def titled(snapshot: Snapshot, parts: Sequence[SegmentShare], query: WeighedQuery) -> Mask:
    """Which rows pass and have a title that says what is asked for, and next to nothing else."""
    found = np.zeros(snapshot.bases[-1], np.float32)
    wanted = len(query.title_words)
    if not wanted:
        return found > 0
    asked = np.isin(query.owners, query.title_words).tolist()
    for part in parts:
        held = np.zeros(len(part.passes), np.int32)
        for (rows, _), counts in zip(query.title_lists[part.index], asked, strict=True):
            if counts:
                held[rows] += 1  # of a term's spellings a title has the one of its language
        short = part.segment.base.title_lengths <= wanted + ranking.TITLE_EXTRA
        found[part.span] = (held == wanted) & short & part.passes
    collapse(snapshot, found, nothing=0)
    return found > 0


def semantic_leg(
    snapshot: Snapshot, parts: Sequence[SegmentShare], vector: Floats | None, wanted: int
) -> tuple[Floats, bool]:
    """The best cosine of every row that passes, minus infinity elsewhere; and whether of all.

    With coarse lists some rows are not looked at; at least `wanted` are, if there are as many.
    """
    if vector is None:
        return np.full(snapshot.bases[-1], -np.inf, np.float32), True
    passing_vectors = 0
    for part in parts:
        if part.vectors is not None:
            part.cosine = np.full(part.segment.base.chunks, np.nan, np.float32)
            passing_vectors += int(np.count_nonzero(part.chunk_passes[part.vectors.chunks]))
    probe = PROBED_VECTORS if passing_vectors > EXACT_VECTORS else 0
    while True:
        read = [_read_cosines(part, vector, probe) for part in parts]
        best = best_cosines(snapshot, parts)
        if all(read) or int(np.count_nonzero(best > -np.inf)) >= wanted:
            return best, all(read)
        probe *= 4  # what passes lies far from the query: look further


def balanced(parts: Sequence[SegmentShare], cosines: Floats) -> Floats:
    """Cosines by row, less what the average document in the same language has above all others.

    A multilingual model puts texts in one language nearer to each other than to the same text in
    another: else a Spanish question finds any Spanish page before the English one that answers it.
    A language of fewer than `LANGUAGE_LEAST` documents has no average worth the name.
    """
    found: dict[str, list[Floats]] = {}
    for part in parts:
        rows, column = cosines[part.span], part.segment.fields.analysed
        for code, language in enumerate(column.values):
            some = rows[(column.codes == code) & (rows > -np.inf)]
            if language and len(some):
                found.setdefault(language, []).append(some)
    known = {language: np.concatenate(some) for language, some in found.items()}
    means = {n: float(some.mean()) for n, some in known.items() if len(some) >= LANGUAGE_LEAST}
    if len(means) < 2:
        return cosines
    middle = float(np.mean(list(means.values())))
    less = cosines.copy()
    for part in parts:
        column = part.segment.fields.analysed
        shifts = np.array([means.get(value, middle) - middle for value in column.values])
        less[part.span] -= shifts[column.codes].astype(np.float32)
    return less


def best_cosines(snapshot: Snapshot, parts: Sequence[SegmentShare]) -> Floats:
    """The best of the cosines computed so far, by row; minus infinity where there is none."""
    best = np.full(snapshot.bases[-1], -np.inf, np.float32)
    for part in parts:
        if part.cosine is not None:
            best[part.span] = part.best_of_chunks(part.cosine, nothing=-np.inf)
    collapse(snapshot, best, nothing=-np.inf)
    return best


def with_vectors(snapshot: Snapshot, parts: Sequence[SegmentShare]) -> Mask:
    """Which rows pass and have a vector, whether the leg looked at them or not."""
    having = np.zeros(snapshot.bases[-1], np.float32)
    for part in parts:
        having[part.span] = part.passes & part.segment.has_vectors
    collapse(snapshot, having, nothing=0)
    return having > 0


def collapse(snapshot: Snapshot, values: Floats, *, nothing: float) -> None:
    """Give the first part of a revision the best value of all its parts, the others nothing."""
    extra, firsts = snapshot.extra_parts
    if len(extra):
        np.maximum.at(values, firsts, values[extra])
        values[extra] = nothing


def _document_frequency(lists: Sequence[List], live: Mask | None) -> Doubles:
    if live is None:
        return np.array([len(rows) for rows, _ in lists], np.float64)
    return np.array([np.count_nonzero(live[rows]) for rows, _ in lists], np.float64)


def _idf(population: int, frequency: Doubles) -> Doubles:
    idf: Doubles = np.log1p((population - frequency + 0.5) / (frequency + 0.5))
    return idf


def _bm25(lists: Sequence[List], weights: Sequence[float], norms: Floats) -> Floats:
    """BM25 of every row: the sum of idf · tf · (k1 + 1) / (tf + norm)."""
    scores = np.zeros(len(norms), np.float32)
    for (rows, counts), weight in zip(lists, weights, strict=True):
        if len(rows):
            frequency = counts.astype(np.float32)
            frequency /= frequency + norms[rows]
            frequency *= np.float32(weight * (BM25_K1 + 1))
            scores[rows] += frequency
    return scores


def _read_cosines(part: SegmentShare, query: Floats, probe: int) -> bool:
    """Compute cosines of a part, all (probe 0) or those near; returns whether all are known."""
    vectors = part.vectors
    if part.cosine is None or vectors is None:
        return True
    if not probe or vectors.centroids is None:
        chunks = np.flatnonzero(part.chunk_passes & (vectors.places >= 0))
        part.cosine[chunks] = vectors.cosines(chunks, query)
        return True
    share = max(probe, int(len(vectors.chunks) * PROBED_SHARE))
    near, cosines = vectors.near(query, at_least=share)
    kept = part.chunk_passes[near]
    part.cosine[near[kept]] = cosines[kept]
    return len(near) == len(vectors.chunks)
