"""One search over one snapshot: run both legs, complete their union, fuse, render hits.

Candidates are the best of either leg. Every one of them then has its exact BM25 and its exact
cosine, whichever leg found it, before scores are fused over all of them (`engine.ranking`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from engine.domain import ScoreParts
from engine.index import ranking
from engine.index.fields import Mask
from engine.index.legs import (
    Doubles,
    Floats,
    Rows,
    SegmentShare,
    WeighedQuery,
    balanced,
    best_cosines,
    filtered,
    lexical_leg,
    semantic_leg,
    titled,
    weigh,
    with_vectors,
)
from engine.index.port import IndexHit, IndexPassage, IndexResult, RevisionRef, SearchRequest
from engine.index.postings import List
from engine.index.snapshot import Snapshot

Member = tuple[SegmentShare, int]  # one part of a revision: whose share it is in, and its row there


@dataclass(frozen=True)
class Candidates:
    """What either leg found, one a revision, in the order of their ids."""

    refs: list[RevisionRef]
    members: list[list[Member]]  # the passing parts of each
    title: Doubles
    text: Doubles
    cosine: Doubles  # NaN where no chunk has a vector
    near: Doubles  # cosines as they order: balanced by language where asked
    titled: Doubles  # what a title that says what is asked for adds


def search(snapshot: Snapshot, request: SearchRequest, *, now_s: float) -> IndexResult:
    """The best documents for a request; `now_s` is the present in seconds since 1970."""
    parts = filtered(snapshot, request.filter)
    if not parts or request.limit < 1:
        return IndexResult((), more=False, documents=0)
    passed = [part.segment.base.revision_keys[part.passes] for part in parts]
    documents = len(np.unique(np.concatenate(passed)))
    query = weigh(snapshot, request)
    wanted = max(request.candidates, request.limit)
    title, text = lexical_leg(snapshot, parts, query)
    lexical = np.float32(request.title_weight) * title
    lexical += np.float32(1 - request.title_weight) * text
    cosine, is_complete = semantic_leg(snapshot, parts, request.vector, wanted)
    near = cosine
    if request.balance_languages and request.vector is not None and is_complete:
        near = balanced(parts, cosine)
    named = titled(snapshot, parts, query) & (request.title_weight > 0)
    rows = np.union1d(_top(lexical, wanted, above=0), _top(near, wanted, above=-np.inf))
    rows = np.union1d(rows, np.flatnonzero(named)[:wanted])
    if not len(rows):
        return IndexResult((), more=False, documents=documents)
    matching = lexical > 0
    if request.vector is not None:
        matching |= with_vectors(snapshot, parts)
    refs, members = _members(snapshot, parts, rows)
    if request.vector is not None and not is_complete:
        _complete(members, request.vector)
        cosine = near = best_cosines(snapshot, parts)
    order = sorted(range(len(refs)), key=lambda i: (refs[i].document_id, refs[i].revision_id))
    rows = rows[order]
    candidates = Candidates(
        refs=[refs[i] for i in order],
        members=[members[i] for i in order],
        title=title[rows].astype(np.float64),
        text=text[rows].astype(np.float64),
        cosine=np.where(cosine[rows] > -np.inf, cosine[rows], np.nan).astype(np.float64),
        near=np.where(near[rows] > -np.inf, near[rows], np.nan).astype(np.float64),
        titled=np.where(named[rows], ranking.TITLED, 0.0),
    )
    hits = _collect(query, candidates, request, now_s)
    more = int(np.count_nonzero(matching)) > request.limit
    return IndexResult(hits, more, query.weights, documents)


def _top(values: Floats, wanted: int, *, above: float) -> Rows:
    """Rows of the highest values above a bound; among equals at the edge, the lower rows."""
    some = np.flatnonzero(values > above)
    if len(some) <= wanted:
        return some
    kept = values[some]
    edge = np.partition(kept, len(some) - wanted)[len(some) - wanted]
    level = some[kept == edge]
    better = some[kept > edge]
    return np.concatenate([better, level[: wanted - len(better)]])


def _members(
    snapshot: Snapshot, parts: Sequence[SegmentShare], rows: Rows
) -> tuple[list[RevisionRef], list[list[Member]]]:
    """The ids and the passing parts of each candidate."""
    by_index = {part.index: part for part in parts}
    bounds = np.array(snapshot.bases)
    owners = (np.searchsorted(bounds, rows, side="right") - 1).tolist()
    refs, members = [], []
    for row, owner in zip(rows.tolist(), owners, strict=True):
        siblings = snapshot.siblings.get(row)
        if siblings is None:
            found = [(by_index[owner], row - by_index[owner].base_row)]
        else:
            places = zip(
                siblings.tolist(),
                (np.searchsorted(bounds, siblings, side="right") - 1).tolist(),
                strict=True,
            )
            shares = [
                (by_index[index], sibling - by_index[index].base_row)
                for sibling, index in places
                if index in by_index
            ]
            found = [(part, local) for part, local in shares if part.passes[local]]
        part, local = found[0]
        refs.append(part.segment.base.ref(local))
        members.append(found)
    return refs, members


def _complete(members: Sequence[Sequence[Member]], vector: Floats) -> None:
    """Compute the cosines of candidates' chunks that no probe read."""
    documents: dict[int, tuple[SegmentShare, list[int]]] = {}
    for found in members:
        for part, row in found:
            if part.cosine is not None:
                documents.setdefault(part.index, (part, []))[1].append(row)
    for part, rows in documents.values():
        if part.cosine is None or part.vectors is None:
            continue
        wanted = np.zeros(len(part.passes), bool)
        wanted[rows] = True
        unknown = np.isnan(part.cosine) & (part.vectors.places >= 0)
        missing = np.flatnonzero(unknown & wanted[part.segment.base.chunk_documents])
        part.cosine[missing] = part.vectors.cosines(missing, vector)


def _collect(
    query: WeighedQuery, candidates: Candidates, request: SearchRequest, now_s: float
) -> list[IndexHit]:
    """Fuse over all candidates, adjust, and render the best as hits."""
    w = request.title_weight
    lexical = w * candidates.title + (1 - w) * candidates.text
    fusion, alpha = ranking.lean(request.fusion, request.alpha, query.exact_share)
    fused = ranking.fuse(
        lexical if query.asks else None,
        candidates.near if request.vector is not None else None,
        fusion=fusion,
        alpha=alpha,
        across=_across(candidates, request),
    )
    fresh, features = _adjustments(candidates, request, now_s)
    added = candidates.titled if request.alpha < 1 else np.zeros(len(fused))
    scores = fused * fresh + features + added
    weighed = alpha if fusion == "linear" else None
    best = ranking.best_first(scores, request.limit)
    members = [candidates.members[i] for i in best]
    passages = _passages(query, members, request)
    hits = []
    for i, found in zip(best, passages, strict=True):
        part, row = candidates.members[i][0]
        cosine = float(candidates.cosine[i])
        hits.append(
            IndexHit(
                document_id=candidates.refs[i].document_id,
                revision_id=candidates.refs[i].revision_id,
                kb_id=part.segment.fields.kb[row],
                score=float(scores[i]),
                parts=ScoreParts(
                    bm25_title=float(candidates.title[i]),
                    bm25_chunk=float(candidates.text[i]),
                    lexical=float(lexical[i]),
                    cosine=None if np.isnan(cosine) else cosine,
                    coverage=_coverage(query, candidates.members[i], found[0]),
                    fused=float(fused[i]),
                    freshness=float(fresh[i]),
                    features=float(features[i]),
                    alpha=weighed,
                    titled=float(added[i]),
                ),
                passages=[passage for passage, _, _ in found],
            )
        )
    return hits


def _across(candidates: Candidates, request: SearchRequest) -> Mask | None:
    """Which candidates are in another language than the query; None where that is no matter."""
    asked = request.language
    if not request.balance_languages or not asked:
        return None
    firsts = [found[0] for found in candidates.members]
    said = [part.segment.fields.analysed[row] for part, row in firsts]
    return np.array([bool(language) and language != asked for language in said])


def _adjustments(
    candidates: Candidates, request: SearchRequest, now_s: float
) -> tuple[Doubles, Doubles]:
    """What each candidate's fused score is multiplied by, and what is added."""
    firsts = [found[0] for found in candidates.members]
    fresh, features = np.ones(len(firsts)), np.zeros(len(firsts))
    if request.decay_half_life_s is not None:
        updated = np.array([part.segment.fields.updated[row] for part, row in firsts])
        fresh = ranking.freshness(
            now_s - updated, half_life_s=request.decay_half_life_s, floor=request.decay_floor
        )
    if request.feature_weights:
        stored = [dict(part.segment.fields.features[row]) for part, row in firsts]
        weights = request.feature_weights
        features = np.array([ranking.feature_score(values, weights) for values in stored])
    return fresh, features


Found = tuple[IndexPassage, SegmentShare, int]  # a passage, whose share it is in, its chunk there


def _passages(
    query: WeighedQuery, hits: Sequence[Sequence[Member]], request: SearchRequest
) -> list[list[Found]]:
    """The best passages of each hit, best first.

    They are ordered as documents are: BM25 and cosine, fused linearly over the passages of all hits
    returned, so that the best among bad ones gains nothing by it. Equal ones keep their order in
    the document.
    """
    chunks = [
        (number, part, chunk)
        for number, members in enumerate(hits)
        for part, row in members
        for chunk in part.chunks(row)
    ]
    bm25 = np.array([0.0 if part.text is None else part.text[c] for _, part, c in chunks])
    cosine = np.array([np.nan if part.cosine is None else part.cosine[c] for _, part, c in chunks])
    ordinals = np.array([part.segment.base.ordinals[c] for _, part, c in chunks])
    mixed = ranking.fuse(
        bm25 if query.asks else None,
        cosine if request.vector is not None else None,
        alpha=ranking.lean("linear", request.alpha, query.exact_share)[1],
    )
    found: list[list[Found]] = [[] for _ in hits]
    for i in np.lexsort((ordinals, -mixed)).tolist():
        number, part, chunk = chunks[i]
        if len(found[number]) < max(request.passages, 1):
            passage = IndexPassage(
                ordinal=int(ordinals[i]),
                bm25=float(bm25[i]),
                cosine=None if np.isnan(cosine[i]) else float(cosine[i]),
            )
            found[number].append((passage, part, chunk))
    return found


def _coverage(query: WeighedQuery, members: Sequence[Member], best: Found) -> float:
    """The share of the query's idf mass found in the title or the best passage of a hit."""
    total = float(query.mass.sum())
    if not total:
        return 0.0
    _, part, chunk = best
    row = next(row for share, row in members if share is part and chunk in share.chunks(row))
    has = [
        _has(text, chunk) or _has(title, row)
        for text, title in zip(
            query.text_lists[part.index], query.title_lists[part.index], strict=True
        )
    ]
    return float(query.mass[np.unique(query.owners[has])].sum()) / total


def _has(postings: List, row: int) -> bool:
    """Whether a term occurs in a row."""
    rows, _ = postings
    place = int(np.searchsorted(rows, row))
    return place < len(rows) and int(rows[place]) == row
