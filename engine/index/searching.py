"""One search over one snapshot: filter, score both legs, complete the union, fuse, collect.

Every document that passes the filter gets its exact BM25. Cosines are exact as well while the
filter leaves few enough vectors; beyond, the coarse lists of `vectors.py` choose candidates, whose
cosines are then completed. Rows count documents through all segments; a revision of several parts
is found under the row of its first.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from engine import ranking
from engine.domain import ScoreParts
from engine.index.analysis import analyse_query, detect_language
from engine.index.fields import Mask
from engine.index.port import Filter, IndexHit, IndexPassage, IndexResult, SearchRequest
from engine.index.postings import Postings, hash_term
from engine.index.segments import Segment, document_key, rows_with
from engine.index.snapshot import BM25_K1, Snapshot
from engine.index.vectors import Vectors

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]
Rows = NDArray[np.int64]

EXACT_VECTORS = 20_000  # passing vectors up to which every cosine is computed
PROBED_VECTORS = 8_000  # read first by a search over more; see docs/decisions/0001
PROBED_SHARE = 0.06  # or this share of a segment, whichever is more


@dataclass(frozen=True)
class Query:
    """What is asked, weighed over the whole space. A term may have several spellings."""

    hashes: NDArray[np.uint64]  # of each spelling
    owners: Rows  # which term a spelling belongs to
    text_weights: Doubles  # idf among chunks * times asked, of each spelling
    title_weights: Doubles  # idf among titles * times asked
    mass: Doubles  # idf of each term, for coverage; 0 for compounds, whose parts count


@dataclass
class Part:
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
    def vectors(self) -> Vectors | None:
        return self.segment.base.vectors

    @cached_property
    def chunk_passes(self) -> Mask:
        """Which chunks belong to documents that pass."""
        return self.passes[self.segment.base.chunk_documents]

    def chunks(self, row: int) -> slice:
        """The chunks of a document."""
        start, end = self.segment.base.chunk_starts[row : row + 2].tolist()
        return slice(start, end)

    def best_of_chunks(self, values: Floats) -> Floats:
        """The highest value among each document's chunks, NaN where all are missing."""
        best = np.full(len(self.passes), np.nan, np.float32)
        some = self.segment.has_chunks
        if some.any():
            starts = self.segment.base.chunk_starts[:-1][some]
            best[some] = np.fmax.reduceat(values, starts)
        return best


@dataclass(frozen=True)
class Candidates:
    """Documents found by either leg, one a revision, in the order of their ids."""

    members: list[list[tuple[Part, int]]]  # every passing part of each: whose share, which row
    title: Doubles
    text: Doubles
    cosine: Doubles  # NaN where no chunk has a vector


def search(snapshot: Snapshot, request: SearchRequest, *, now_s: float) -> IndexResult:
    """The best documents for a request; `now_s` is the present in seconds since 1970."""
    parts = _filtered(snapshot, request.filter)
    if not parts or request.limit < 1:
        return IndexResult((), more=False)
    query = _weigh(snapshot, request)
    wanted = max(request.candidates, request.limit)
    lexical = _lexical(snapshot, parts, query, request.title_weight)
    semantic = _semantic(snapshot, parts, request.vector, wanted)
    rows = np.union1d(_top(lexical, wanted), _top(semantic, wanted))
    if not len(rows):
        return IndexResult((), more=False)
    candidates = _complete(snapshot, parts, rows, request.vector)
    matching = lexical > 0
    if request.vector is not None:
        matching |= _with_vectors(snapshot, parts)
    more = int(np.count_nonzero(matching)) > request.limit
    return IndexResult(_collect(query, candidates, request, now_s), more)


def passing(segment: Segment, where: Filter) -> Mask:
    """Which live documents of a segment pass a filter."""
    passes = segment.fields.mask(where) & segment.live
    if where.document_ids is not None:
        wanted = np.array([document_key(value) for value in where.document_ids], np.uint64)
        chosen = np.zeros(len(passes), bool)
        chosen[rows_with(segment.base.document_keys, wanted)] = True
        passes &= chosen
    return passes


def _filtered(snapshot: Snapshot, where: Filter) -> list[Part]:
    parts = []
    for index, segment in enumerate(snapshot.segments):
        passes = passing(segment, where) & segment.has_chunks
        if passes.any():
            parts.append(Part(index, snapshot.bases[index], segment, passes))
    return parts


def _weigh(snapshot: Snapshot, request: SearchRequest) -> Query:
    """The query's terms with their idf: ln(1 + (N - df + ½) / (df + ½)), as Lucene and Vespa."""
    language = request.language or detect_language(request.text)
    languages = [language, *snapshot.languages] if language else snapshot.languages
    terms = analyse_query(request.text, languages)
    spellings = [(owner, term) for owner, asked in enumerate(terms) for term in asked.terms]
    hashes = np.array([hash_term(term) for _, term in spellings], np.uint64)
    owners = np.array([owner for owner, _ in spellings], np.int64)
    counts = np.array([terms[owner].count for owner, _ in spellings], np.float64)
    text_df, title_df = np.zeros(len(spellings)), np.zeros(len(spellings))
    for segment in snapshot.segments:
        live = None if segment.dead is None else segment.live
        text_df += _document_frequency(segment.base.texts, hashes, segment.live_chunks)
        title_df += _document_frequency(segment.base.titles, hashes, live)
    text_idf = _idf(snapshot.totals.chunks, text_df)
    title_idf = _idf(snapshot.totals.documents, title_df)
    mass = np.full(len(terms), np.inf)
    np.minimum.at(mass, owners, text_idf)  # a term's most common spelling says what it tells
    mass[[term.compound for term in terms]] = 0.0
    return Query(hashes, owners, counts * text_idf, counts * title_idf, mass)


def _document_frequency(
    postings: Postings, hashes: NDArray[np.uint64], live: Mask | None
) -> Doubles:
    lists = postings.find(hashes)
    if live is None:
        return np.array([len(rows) for rows, _ in lists], np.float64)
    return np.array([np.count_nonzero(live[rows]) for rows, _ in lists], np.float64)


def _idf(population: int, frequency: Doubles) -> Doubles:
    idf: Doubles = np.log1p((population - frequency + 0.5) / (frequency + 0.5))
    return idf


def _bm25(
    postings: Postings, hashes: NDArray[np.uint64], weights: Doubles, norms: Floats
) -> Floats:
    """BM25 of every row: Σ idf · tf · (k1 + 1) / (tf + norm)."""
    scores = np.zeros(len(norms), np.float32)
    for (rows, counts), weight in zip(postings.find(hashes), weights.tolist(), strict=True):
        frequency = counts.astype(np.float32)
        scores[rows] += np.float32(weight * (BM25_K1 + 1)) * frequency / (frequency + norms[rows])
    return scores


def _lexical(
    snapshot: Snapshot, parts: Sequence[Part], query: Query, title_weight: float
) -> Floats:
    """The lexical score of each passing revision, 0 elsewhere.

    title_weight · bm25(title) + (1 - title_weight) · best bm25(chunk).
    """
    text = np.zeros(snapshot.bases[-1], np.float32)
    title = np.zeros(snapshot.bases[-1], np.float32)
    for part in parts:
        base = part.segment.base
        part.text = _bm25(
            base.texts, query.hashes, query.text_weights, snapshot.chunk_norms(part.index)
        )
        part.title = _bm25(
            base.titles, query.hashes, query.title_weights, snapshot.title_norms(part.index)
        )
        text[part.span] = np.where(part.passes, part.best_of_chunks(part.text), 0)
        title[part.span] = np.where(part.passes, part.title, 0)
    _collapse(snapshot, text, nothing=0)
    _collapse(snapshot, title, nothing=0)
    return np.float32(title_weight) * title + np.float32(1 - title_weight) * text


def _semantic(
    snapshot: Snapshot, parts: Sequence[Part], vector: Floats | None, wanted: int
) -> Floats:
    """The best cosine of each passing revision, 0 being the lowest: cosines are shifted by 2."""
    best = np.zeros(snapshot.bases[-1], np.float32)
    if vector is None:
        return best
    passing_vectors = 0
    for part in parts:
        if part.vectors is not None:
            part.cosine = np.full(part.segment.base.chunks, np.nan, np.float32)
            passing_vectors += int(np.count_nonzero(part.chunk_passes[part.vectors.chunks]))
    probe = PROBED_VECTORS if passing_vectors > EXACT_VECTORS else passing_vectors
    while True:
        exhausted = True
        for part in parts:
            if part.vectors is None or part.cosine is None:
                continue
            exhausted &= _probe(part, part.vectors, vector, probe, exact=probe >= passing_vectors)
            part_best = part.best_of_chunks(part.cosine) + 2
            best[part.span] = np.where(part.passes & (part_best > 0), part_best, 0)
        _collapse(snapshot, best, nothing=0)
        if exhausted or int(np.count_nonzero(best)) >= wanted:
            return best
        probe *= 4  # the filter's documents lie far from the query: look further


def _probe(part: Part, vectors: Vectors, query: Floats, probe: int, *, exact: bool) -> bool:
    """Fill in cosines of a part; returns whether none is left to compute."""
    if part.cosine is None:
        return True
    if exact or vectors.centroids is None:
        chunks = np.flatnonzero(part.chunk_passes & (vectors.places >= 0))
        part.cosine[chunks] = vectors.cosines(chunks, query)
        return True
    share = max(probe, int(len(vectors.chunks) * PROBED_SHARE))
    near, cosines = vectors.near(query, at_least=share)
    kept = part.chunk_passes[near]
    part.cosine[near[kept]] = cosines[kept]
    return len(near) == len(vectors.chunks)


def _collapse(snapshot: Snapshot, values: Floats, *, nothing: float) -> None:
    """Give the first part of a revision the best value of all its parts, the others nothing."""
    extra, firsts = snapshot.extra_parts
    if len(extra):
        np.maximum.at(values, firsts, values[extra])
        values[extra] = nothing


def _with_vectors(snapshot: Snapshot, parts: Sequence[Part]) -> Mask:
    """Which revisions pass and have a vector, whether a leg looked at them or not."""
    having = np.zeros(snapshot.bases[-1], np.float32)
    for part in parts:
        having[part.span] = part.passes & part.segment.has_vectors
    _collapse(snapshot, having, nothing=0)
    return having > 0


def _top(values: Floats, wanted: int) -> Rows:
    """Rows of the highest values above 0; among equals at the edge, those of lower rows."""
    some = np.flatnonzero(values)
    if len(some) <= wanted:
        return some
    edge = np.partition(values[some], len(some) - wanted)[len(some) - wanted]
    above = some[values[some] > edge]
    level = some[values[some] == edge]
    return np.concatenate([above, level[: wanted - len(above)]])


def _complete(
    snapshot: Snapshot, parts: Sequence[Part], rows: Rows, vector: Floats | None
) -> Candidates:
    """The candidates with every score part, those that a leg did not look at included."""
    by_index = {part.index: part for part in parts}
    bounds = np.array(snapshot.bases)
    members = []
    for row in rows.tolist():
        siblings = np.asarray(snapshot.siblings.get(row, [row]))
        owners = np.searchsorted(bounds, siblings, side="right") - 1
        pairs = [
            (part, int(sibling) - part.base_row)
            for sibling, owner in zip(siblings, owners.tolist(), strict=True)
            if (part := by_index.get(owner)) is not None
        ]
        members.append([(part, local) for part, local in pairs if part.passes[local]])
    members.sort(key=lambda found: _ids(*found[0]))
    if vector is not None:
        _complete_cosines(members, vector)
    return Candidates(
        members,
        title=np.array([max(_title(*pair) for pair in found) for found in members]),
        text=np.array([max(_best_text(*pair) for pair in found) for found in members]),
        cosine=np.array([_best_cosine(found) for found in members], np.float64),
    )


def _ids(part: Part, row: int) -> tuple[str, str]:
    ref = part.segment.base.ref(row)
    return ref.document_id, ref.revision_id


def _title(part: Part, row: int) -> float:
    return 0.0 if part.title is None else float(part.title[row])


def _best_text(part: Part, row: int) -> float:
    return 0.0 if part.text is None else float(part.text[part.chunks(row)].max())


def _best_cosine(found: Sequence[tuple[Part, int]]) -> float:
    known = [part.cosine[part.chunks(row)] for part, row in found if part.cosine is not None]
    values = np.concatenate(known) if known else np.empty(0)
    values = values[~np.isnan(values)]
    return float(values.max()) if len(values) else float("nan")


def _complete_cosines(members: Sequence[Sequence[tuple[Part, int]]], vector: Floats) -> None:
    """Compute the cosines of candidates' chunks that no probe read, a segment at a time."""
    wanted: dict[int, tuple[Part, list[Rows]]] = {}
    for found in members:
        for part, row in found:
            if part.cosine is not None:
                span = part.chunks(row)
                wanted.setdefault(part.index, (part, []))[1].append(
                    np.arange(span.start, span.stop)
                )
    for part, spans in wanted.values():
        chunks = np.concatenate(spans)
        if part.cosine is None or part.vectors is None:
            continue
        missing = chunks[np.isnan(part.cosine[chunks]) & (part.vectors.places[chunks] >= 0)]
        if len(missing):
            part.cosine[missing] = part.vectors.cosines(missing, vector)


def _collect(
    query: Query, candidates: Candidates, request: SearchRequest, now_s: float
) -> list[IndexHit]:
    """Fuse over all candidates, adjust, and render the best as hits."""
    lexical = request.title_weight * candidates.title + (1 - request.title_weight) * candidates.text
    fused = ranking.fuse(
        lexical if len(query.hashes) else None,
        candidates.cosine if request.vector is not None else None,
        fusion=request.fusion,
        alpha=request.alpha,
    )
    firsts = [found[0] for found in candidates.members]
    updated = np.array([part.segment.fields.updated[row] for part, row in firsts], np.float64)
    fresh = ranking.freshness(
        now_s - updated, half_life_s=request.decay_half_life_s, floor=request.decay_floor
    )
    features = np.array(
        [
            ranking.feature_score(dict(part.segment.fields.features[row]), request.feature_weights)
            for part, row in firsts
        ]
    )
    scores = fused * fresh + features
    best = ranking.best_first(scores, request.limit)
    passages = _passages([candidates.members[i] for i in best], request)
    coverage = _coverage(query, [candidates.members[i] for i in best], passages)
    hits = []
    for i, found, covered in zip(best, passages, coverage, strict=True):
        part, row = firsts[i]
        ref = part.segment.base.ref(row)
        cosine = float(candidates.cosine[i])
        hits.append(
            IndexHit(
                document_id=ref.document_id,
                revision_id=ref.revision_id,
                kb_id=part.segment.fields.kb[row],
                score=float(scores[i]),
                parts=ScoreParts(
                    bm25_title=float(candidates.title[i]),
                    bm25_chunk=float(candidates.text[i]),
                    lexical=float(lexical[i]),
                    cosine=None if np.isnan(cosine) else cosine,
                    coverage=covered,
                    fused=float(fused[i]),
                    freshness=float(fresh[i]),
                    features=float(features[i]),
                ),
                passages=[passage for passage, _, _ in found],
            )
        )
    return hits


Found = tuple[IndexPassage, Part, int]  # a passage, whose share it is in, its chunk there


def _passages(
    hits: Sequence[Sequence[tuple[Part, int]]], request: SearchRequest
) -> list[list[Found]]:
    """The best passages of each hit, best first.

    Passages are ordered as documents are, by BM25 and cosine fused over the passages of all hits
    returned, so that a mere best among bad ones earns nothing by it. Equal ones keep their order
    in the document.
    """
    found: list[tuple[int, Part, int]] = []
    for number, members in enumerate(hits):
        for part, row in members:
            span = part.chunks(row)
            found.extend((number, part, chunk) for chunk in range(span.start, span.stop))
    bm25 = np.array([0.0 if part.text is None else part.text[c] for _, part, c in found])
    cosine = np.array([np.nan if part.cosine is None else part.cosine[c] for _, part, c in found])
    mixed = ranking.fuse(
        bm25 if request.text else None,
        cosine if request.vector is not None else None,
        alpha=request.alpha,
    )
    ordered = sorted(
        range(len(found)),
        key=lambda i: (-mixed[i], int(found[i][1].segment.base.ordinals[found[i][2]])),
    )
    best: list[list[Found]] = [[] for _ in hits]
    for i in ordered:
        number, part, chunk = found[i]
        if len(best[number]) < max(request.passages, 1):
            passage = IndexPassage(
                ordinal=int(part.segment.base.ordinals[chunk]),
                bm25=float(bm25[i]),
                cosine=None if np.isnan(cosine[i]) else float(cosine[i]),
            )
            best[number].append((passage, part, chunk))
    return best


def _coverage(
    query: Query,
    hits: Sequence[Sequence[tuple[Part, int]]],
    passages: Sequence[Sequence[Found]],
) -> list[float]:
    """The share of the query's idf mass found in the title or the best passage of each hit."""
    total = float(query.mass.sum())
    if not total:
        return [0.0] * len(hits)
    covered = []
    for members, found in zip(hits, passages, strict=True):
        _, part, chunk = found[0]
        row = next(row for owner, row in members if owner is part and _holds(part, row, chunk))
        base = part.segment.base
        has = _has(base.texts, query.hashes, chunk) | _has(base.titles, query.hashes, row)
        terms = np.unique(query.owners[has])
        covered.append(float(query.mass[terms].sum()) / total)
    return covered


def _holds(part: Part, row: int, chunk: int) -> bool:
    span = part.chunks(row)
    return bool(span.start <= chunk < span.stop)


def _has(postings: Postings, hashes: NDArray[np.uint64], row: int) -> Mask:
    """Which of the terms occur in a row."""
    found = []
    for rows, _ in postings.find(hashes):
        place = int(np.searchsorted(rows, row))
        found.append(place < len(rows) and int(rows[place]) == row)
    present: Mask = np.array(found, bool)
    return present
