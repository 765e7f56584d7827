"""Hits out of Vespa's answers: parts, their documents in order, passages and coverage.

Pure. Vespa scores each part; `ranking.py` orders the parts' documents, over all candidates, as in
the embedded index: a revision may be in several parts, and ties must not depend on where.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from engine.domain import ScoreParts
from engine.index import ranking
from engine.index.port import IndexHit, IndexPassage, RevisionRef
from engine.index.vespa_requests import AnalysedRequest
from vespa_app.fields import Field, MatchFeature, Summary, SummaryFeature, decode_value


@dataclass(frozen=True, slots=True)
class FoundPart:
    """One hit of Vespa: a part of a revision, with what its profile computed."""

    ref: RevisionRef
    part: int
    kb_id: str
    chunk_count: int
    vector_count: int
    title: float
    text: float
    cosine: float  # NaN without vectors
    freshness: float
    features: float
    fields: Mapping[str, Any]


def total(root: Mapping[str, Any]) -> int:
    """How many documents matched."""
    count = _mapping(root.get("fields")).get("totalCount", 0)
    return count if isinstance(count, int) else 0


def parts_of(root: Mapping[str, Any]) -> list[FoundPart]:
    """The hits of an answer."""
    return [
        _part(_mapping(_mapping(child).get("fields")))
        for child in root.get("children") or []
        if not str(_mapping(child).get("id", "")).startswith("group:")
    ]


def sums_of(root: Mapping[str, Any]) -> tuple[int, int]:
    """The chunks and vectors that `summing_body` asked for."""
    for child in root.get("children") or []:
        fields = _mapping(_mapping(child).get("fields"))
        chunks = fields.get(f"sum({Field.CHUNK_COUNT})")
        if chunks is not None:
            return int(chunks), int(fields.get(f"sum({Field.VECTOR_COUNT})") or 0)
    return 0, 0


def _part(fields: Mapping[str, Any]) -> FoundPart:
    features = _mapping(fields.get("matchfeatures"))
    return FoundPart(
        ref=RevisionRef(
            decode_value(str(fields.get(Field.DOC_ID, ""))),
            decode_value(str(fields.get(Field.REVISION, ""))),
        ),
        part=int(fields.get(Field.PART) or 0),
        kb_id=decode_value(str(fields.get(Field.KB_ID, ""))),
        chunk_count=int(fields.get(Field.CHUNK_COUNT) or 0),
        vector_count=int(fields.get(Field.VECTOR_COUNT) or 0),
        title=_number(features.get(MatchFeature.BM25_TITLE), 0.0),
        text=_number(features.get(MatchFeature.BM25_CHUNK), 0.0),
        cosine=_number(features.get(MatchFeature.SEMANTIC), math.nan),
        freshness=_number(features.get(MatchFeature.FRESHNESS), 1.0),
        features=_number(features.get(MatchFeature.FEATURE_SCORE), 0.0),
        fields=fields,
    )


def titled(asked: AnalysedRequest, parts: Sequence[FoundPart]) -> frozenset[RevisionRef]:
    """The revisions whose title says next to nothing but what is asked for."""
    most = len(ranking.title_words(asked.terms)) + ranking.TITLE_EXTRA
    return frozenset(
        part.ref
        for part in parts
        if len(str(part.fields.get(Field.TITLE_TERMS, "")).split()) <= most
    )


@dataclass(slots=True)
class FoundRevision:
    """A revision: the best of its parts that were found."""

    ref: RevisionRef
    kb_id: str
    freshness: float
    features: float
    title: float = 0.0
    text: float = 0.0
    cosine: float = math.nan
    titled: float = 0.0  # what its title adds

    def add(self, part: FoundPart) -> None:
        """Take a part's scores where they are better."""
        self.title = max(self.title, part.title)
        self.text = max(self.text, part.text)
        self.cosine = float(np.fmax(self.cosine, part.cosine))


def collapse(parts: Sequence[FoundPart]) -> list[FoundRevision]:
    """One candidate a revision, in the order of their ids."""
    found: dict[RevisionRef, FoundRevision] = {}
    for part in sorted(parts, key=lambda item: item.part):
        known = found.setdefault(
            part.ref, FoundRevision(part.ref, part.kb_id, part.freshness, part.features)
        )
        known.add(part)
    return sorted(found.values(), key=lambda item: (item.ref.document_id, item.ref.revision_id))


@dataclass(frozen=True, slots=True)
class ScoredRevision:
    """A candidate and its place in the order of all."""

    candidate: FoundRevision
    fused: float
    score: float
    alpha: float | None

    def hit(
        self, passages: Sequence[IndexPassage], coverage: float, title_weight: float
    ) -> IndexHit:
        """The hit it becomes."""
        found = self.candidate
        return IndexHit(
            document_id=found.ref.document_id,
            revision_id=found.ref.revision_id,
            kb_id=found.kb_id,
            score=self.score,
            parts=ScoreParts(
                bm25_title=found.title,
                bm25_chunk=found.text,
                lexical=title_weight * found.title + (1 - title_weight) * found.text,
                cosine=None if math.isnan(found.cosine) else found.cosine,
                coverage=coverage,
                fused=self.fused,
                freshness=found.freshness,
                features=found.features,
                alpha=self.alpha,
                titled=found.titled,
            ),
            passages=passages,
        )


def found_by_a_leg(asked: AnalysedRequest, candidate: FoundRevision) -> bool:
    """Whether words that count, or a vector, led to it: with titles alone, a chunk's don't count."""
    weight = asked.request.title_weight
    lexical = weight * candidate.title + (1 - weight) * candidate.text
    return lexical > 0 or (asked.request.vector is not None and not math.isnan(candidate.cosine))


def order(asked: AnalysedRequest, candidates: Sequence[FoundRevision]) -> list[ScoredRevision]:
    """Fuse over all candidates and adjust; the best `limit`, ties in the order of their ids."""
    request = asked.request
    weight = request.title_weight
    lexical = np.array([weight * c.title + (1 - weight) * c.text for c in candidates])
    cosine = np.array([c.cosine for c in candidates])
    fusion, alpha = asked.leaning
    fused = ranking.fuse(
        lexical if asked.terms else None,
        cosine if request.vector is not None else None,
        fusion=fusion,
        alpha=alpha,
    )
    fresh = np.array([c.freshness for c in candidates])
    features = np.array([c.features for c in candidates])
    titles = np.array([c.titled for c in candidates])
    scores = fused * fresh + features + titles
    weighed = alpha if fusion == "linear" else None
    return [
        ScoredRevision(candidates[i], float(fused[i]), float(scores[i]), weighed)
        for i in ranking.best_first(scores, request.limit)
    ]


@dataclass(frozen=True, slots=True)
class VespaPassage:
    """A passage and the terms it holds, its title's included."""

    ref: RevisionRef
    ordinal: int
    bm25: float
    cosine: float
    terms: frozenset[str] = field(repr=False)


def passages_of(
    asked: AnalysedRequest, parts: Sequence[FoundPart]
) -> dict[RevisionRef, list[VespaPassage]]:
    """The best passages of each revision, best first: fused over those of all hits.

    So the best among bad ones gains nothing by it. Equal ones keep their order in the document.
    """
    request = asked.request
    found = [passage for part in parts for passage in _passages(part)]
    if request.vector is None:
        found = [replace(passage, cosine=math.nan) for passage in found]
    mixed = ranking.fuse(
        np.array([passage.bm25 for passage in found]) if asked.terms else None,
        np.array([passage.cosine for passage in found]) if request.vector is not None else None,
        alpha=asked.leaning[1],
    )
    ordinals = np.array([passage.ordinal for passage in found], np.int64)
    best: dict[RevisionRef, list[VespaPassage]] = {}
    for i in np.lexsort((ordinals, -mixed)).tolist():
        shown = best.setdefault(found[i].ref, [])
        if len(shown) < max(request.passages, 1):
            shown.append(found[i])
    return best


def _passages(part: FoundPart) -> list[VespaPassage]:
    fields = part.fields
    features = _mapping(fields.get("summaryfeatures"))
    # Selected elements come in the part's order; the labels are their places, as text.
    places = sorted(map(int, _cells(features.get(SummaryFeature.PASSAGES))))
    bm25 = _cells(features.get(SummaryFeature.PASSAGE_BM25))
    cosine = _cells(features.get(SummaryFeature.PASSAGE_COSINE))
    ordinals = fields.get(Summary.PASSAGE_ORDINALS) or []
    terms = fields.get(Summary.PASSAGE_TERMS) or []
    title = str(fields.get(Field.TITLE_TERMS, "")).split()
    return [
        VespaPassage(
            part.ref,
            int(ordinal),
            _number(bm25.get(str(place)), 0.0),
            _number(cosine.get(str(place)), math.nan),
            frozenset([*str(held).split(), *title]),
        )
        for place, ordinal, held in zip(places, ordinals, terms, strict=False)
    ]


def first_passages(parts: Sequence[FoundPart]) -> dict[RevisionRef, list[VespaPassage]]:
    """The first chunk of each revision, from its whole first part."""
    found: dict[RevisionRef, list[VespaPassage]] = {}
    for part in parts:
        ordinals = part.fields.get(Field.ORDINALS) or []
        terms = part.fields.get(Field.CHUNK_TERMS) or []
        title = str(part.fields.get(Field.TITLE_TERMS, "")).split()
        if ordinals and terms:
            held = frozenset([*str(terms[0]).split(), *title])
            found[part.ref] = [VespaPassage(part.ref, int(ordinals[0]), 0.0, math.nan, held)]
    return found


def masses(asked: AnalysedRequest) -> list[float]:
    """What each term counts in coverage, by how rare it is in any language of the space."""
    return ranking.term_masses(asked.terms, asked.idf, asked.held)


def weights(asked: AnalysedRequest, mass: Sequence[float]) -> dict[str, float]:
    """What each term weighs in a sentence, by its first spelling."""
    found = ranking.term_weights(asked.terms, asked.idf, mass)
    return dict(zip((term.terms[0] for term in asked.terms), found, strict=True))


def coverage(asked: AnalysedRequest, mass: Sequence[float], best: VespaPassage | None) -> float:
    """The share of the terms' mass that the title or the best passage holds."""
    whole = sum(mass)
    if best is None or not whole:
        return 0.0
    weighed = zip(asked.terms, mass, strict=True)
    return sum(own for term, own in weighed if not best.terms.isdisjoint(term.terms)) / whole


def _cells(value: object) -> Mapping[str, Any]:
    """The cells of a tensor with one mapped dimension, in any of the forms Vespa renders."""
    tensor = _mapping(value)
    cells = tensor.get("cells", tensor)
    if isinstance(cells, list):
        return {
            str(next(iter(_mapping(_mapping(cell).get("address")).values()), "")): _mapping(
                cell
            ).get("value")
            for cell in cells
        }
    return {name: one for name, one in _mapping(cells).items() if name != "type"}


def _number(value: object, missing: float) -> float:
    """A number, also one that JSON can't spell (Vespa writes those as text or null)."""
    if isinstance(value, bool) or value is None:
        return missing
    if isinstance(value, int | float):
        return float(value) if math.isfinite(value) else missing
    return missing


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
