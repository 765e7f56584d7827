"""One search in Vespa's words: the filter as a tree, the requests, and hits out of its answers.

Pure. `vespa.py` sends what is built here: first the candidates of both legs, then, where a leg had
to stop early, their words in full, then the passages of the hits that are shown. Vespa scores each
part; which order the parts' documents get is `engine.ranking`'s to say, over all candidates, as in
the embedded index: a revision may lie in several parts, and ties must not depend on where.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from engine import clock
from engine.domain import ScoreParts
from engine.index import ranking
from engine.index.analysis import QueryTerm, analyse_query, detect_language
from engine.index.port import Filter, IndexHit, IndexPassage, RevisionRef, SearchRequest
from engine.index.vespa_yql import And, Between, In, Is, Meets, Near, Node, Or, Rank, Words, render
from vespa_app.fields import (
    EARLIEST,
    NEAREST,
    SUMMARY,
    SUMMARY_KEYS,
    Field,
    Input,
    MatchFeature,
    Profile,
    Summary,
    SummaryFeature,
    decode_value,
    encode_date,
    encode_value,
)

HITS_MAX = 2000  # of one query: `maxHits` in the application's query profile
TERMS_MAX = 64  # spellings whose rarity is asked for; of more, the rest count as the average does


def conditions(tenant_id: str, where: Filter) -> list[Node]:
    """What FILTERS.md says, as conditions that must all hold."""
    found: list[Node] = [
        In(Field.TENANT, [encode_value(tenant_id)]),
        In(Field.ACL, where.tokens),
        Meets(Field.ACL_ALL, where.tokens),
        In(Field.KB_ID, _encoded(where.kb_ids)),
        In(Field.BRANCHES, [encode_value(where.branch)]),
    ]
    for name, values in (
        (Field.DOC_ID, where.document_ids),
        (Field.LANGUAGE, where.languages),
        (Field.SOURCE, where.sources),
        (Field.TAGS, where.tags),
    ):
        if values is not None:
            found.append(In(name, _encoded(values)))
    if where.updated_from is not None or where.updated_before is not None:
        found.append(
            Between(
                Field.UPDATED_AT,
                EARLIEST if where.updated_from is None else encode_date(where.updated_from),
                # Whole microseconds: up to but not including is up to the one before.
                None if where.updated_before is None else encode_date(where.updated_before) - 1,
            )
        )
    if not where.include_hidden:
        found.append(Is(Field.HIDDEN, value=False))
    return found


def passes_nothing(where: Filter) -> bool:
    """Whether an empty set keeps everything out: then there is nothing to ask."""
    sets = (where.document_ids, where.languages, where.sources, where.tags)
    return (
        not where.tokens or not where.kb_ids or any(set_ is not None and not set_ for set_ in sets)
    )


@dataclass(frozen=True, slots=True)
class Asked:
    """A request, analysed: the words it asks for as the index spells them."""

    request: SearchRequest
    schema: str
    terms: Sequence[QueryTerm]

    @property
    def words(self) -> str:
        """Every spelling as often as it counts: each one adds its BM25 once."""
        return " ".join(
            spelling for term in self.terms for spelling in term.terms for _ in range(term.count)
        )

    @property
    def spellings(self) -> list[str]:
        """The spellings whose rarity is worth asking for, in order."""
        found = dict.fromkeys(item for term in self.terms for item in term.terms)
        return list(found)[:TERMS_MAX]

    @property
    def wanted(self) -> int:
        """How many documents each leg is asked for: one more than enough, to know of more."""
        return max(self.request.candidates, self.request.limit) + 1

    @property
    def most(self) -> int:
        """How many candidates are looked at: those of all legs together."""
        legs = 2 * bool(self.terms) + (self.request.vector is not None)
        return min(legs * self.wanted, HITS_MAX)

    @property
    def asks(self) -> bool:
        """Whether there is anything to look for."""
        return bool(self.terms) or self.request.vector is not None


def analysed(request: SearchRequest, schema: str, languages: Sequence[str]) -> Asked:
    """What a request asks for, in its own language and in those the space holds."""
    language = request.language or detect_language(request.text)
    spoken = [language, *languages] if language else list(languages)
    return Asked(request, schema, analyse_query(request.text, spoken))


def candidates_body(asked: Asked) -> dict[str, Any]:
    """The best parts of every leg, scored by all of them."""
    request = asked.request
    legs: list[Node] = []
    if asked.terms:
        legs += _word_legs(asked, asked.wanted)
    if request.vector is not None:
        legs.append(Near(Field.EMBEDDINGS, Input.VECTOR, NEAREST, asked.wanted))
    where = And([Or(legs), *conditions(request.tenant_id, request.filter)])
    return _body(
        asked,
        where,
        profile=_profile(asked),
        hits=asked.most,
        summary=SUMMARY_KEYS,
        more={"ranking.globalPhase.rerankCount": asked.most},
    )


def words_body(asked: Asked, refs: Sequence[RevisionRef]) -> dict[str, Any]:
    """The words' scores of these revisions, in full.

    weakAnd passes over what can't be among its best; with so few to choose from it passes over
    none.
    """
    few = In(Field.REVISION, [encode_value(ref.revision_id) for ref in refs])
    where = And(
        [
            Or(_word_legs(asked, HITS_MAX)),
            few,
            *conditions(asked.request.tenant_id, asked.request.filter),
        ]
    )
    return _body(
        asked, where, profile=Profile.KEYWORD_ONLY, hits=HITS_MAX, summary=SUMMARY_KEYS, more={}
    )


def passages_body(asked: Asked, refs: Sequence[RevisionRef]) -> dict[str, Any]:
    """The best passages of these revisions' parts."""
    few = In(Field.REVISION, [encode_value(ref.revision_id) for ref in refs])
    where: Node = And([few, *conditions(asked.request.tenant_id, asked.request.filter)])
    if asked.terms:
        where = Rank(where, _word_legs(asked, HITS_MAX))
    return _body(asked, where, profile=_profile(asked), hits=HITS_MAX, summary=SUMMARY, more={})


def first_chunks_body(asked: Asked, refs: Sequence[RevisionRef]) -> dict[str, Any]:
    """Whole parts of these revisions: for hits that neither a word nor a vector chose a passage of."""
    few = In(Field.REVISION, [encode_value(ref.revision_id) for ref in refs])
    where = And(
        [
            few,
            Between(Field.PART, None, 0),
            *conditions(asked.request.tenant_id, asked.request.filter),
        ]
    )
    return _body(asked, where, profile="unranked", hits=HITS_MAX, summary="default", more={})


def holds(spelling: str) -> Node:
    """The parts whose chunks hold a term."""
    return Words(Field.CHUNK_TERMS, spelling, 1)


def counting_body(schema: str, where: Sequence[Node]) -> dict[str, Any]:
    """How many parts pass: exact, since nothing is ranked."""
    query = render(schema, And(list(where)))
    return _plain(schema, query.yql, query.parameters, hits=0)


def listing_body(schema: str, where: Sequence[Node], *, hits: int = HITS_MAX) -> dict[str, Any]:
    """The ids and counts of parts that pass."""
    query = render(schema, And(list(where)))
    return _plain(schema, query.yql, query.parameters, hits=hits)


def summing_body(schema: str, where: Sequence[Node]) -> dict[str, Any]:
    """The chunks and vectors of all parts that pass, summed."""
    sums = f" | all(output(sum({Field.CHUNK_COUNT}), sum({Field.VECTOR_COUNT})))"
    query = render(schema, And(list(where)), suffix=sums)
    return _plain(schema, query.yql, query.parameters, hits=0)


def _plain(schema: str, yql: str, parameters: Mapping[str, str], *, hits: int) -> dict[str, Any]:
    return {
        **parameters,
        "yql": yql,
        "model.restrict": schema,
        "ranking.profile": "unranked",
        "presentation.summary": SUMMARY_KEYS,
        "hits": hits,
    }


def _word_legs(asked: Asked, hits: int) -> list[Node]:
    return [
        Words(Field.TITLE_TERMS, asked.words, hits),
        Words(Field.CHUNK_TERMS, asked.words, hits),
    ]


def _profile(asked: Asked) -> Profile:
    if asked.request.vector is None:
        return Profile.KEYWORD_ONLY
    if not asked.terms:
        return Profile.SEMANTIC_ONLY
    linear = asked.request.fusion == "linear"
    return Profile.HYBRID_LINEAR if linear else Profile.HYBRID_RRF


def _body(
    asked: Asked,
    where: Node,
    *,
    profile: str,
    hits: int,
    summary: str,
    more: Mapping[str, object],
) -> dict[str, Any]:
    request = asked.request
    query = render(asked.schema, where)
    alpha = request.alpha
    if request.vector is None or not asked.terms:
        alpha = 0.0 if request.vector is None else 1.0
    body: dict[str, Any] = {
        **query.parameters,
        "yql": query.yql,
        # Not a second condition but a second lock: no YQL reaches another schema.
        "model.restrict": asked.schema,
        "ranking.profile": profile,
        "presentation.summary": summary,
        "hits": hits,
        _input(Input.ALPHA): alpha,
        _input(Input.TITLE_WEIGHT): request.title_weight,
        _input(Input.HALF_LIFE_S): request.decay_half_life_s or 0.0,
        _input(Input.DECAY_FLOOR): request.decay_floor,
        _input(Input.NOW_S): clock.now().timestamp(),
        _input(Input.PASSAGES): max(request.passages, 1),
        **more,
    }
    if request.vector is not None:
        body[_input(Input.VECTOR)] = request.vector.astype(float).tolist()
    if request.feature_weights:
        body[_input(Input.FEATURE_WEIGHTS)] = dict(request.feature_weights)
    return body


def _input(name: Input) -> str:
    return f"input.query({name})"


# Answers


@dataclass(frozen=True, slots=True)
class Part:
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


def parts_of(root: Mapping[str, Any]) -> list[Part]:
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


def _part(fields: Mapping[str, Any]) -> Part:
    features = _mapping(fields.get("matchfeatures"))
    return Part(
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


@dataclass(slots=True)
class Candidate:
    """A revision: the best of its parts that were found."""

    ref: RevisionRef
    kb_id: str
    freshness: float
    features: float
    title: float = 0.0
    text: float = 0.0
    cosine: float = math.nan

    def add(self, part: Part) -> None:
        """Take a part's scores where they are better."""
        self.title = max(self.title, part.title)
        self.text = max(self.text, part.text)
        self.cosine = float(np.fmax(self.cosine, part.cosine))


def collapse(parts: Sequence[Part]) -> list[Candidate]:
    """One candidate a revision, in the order of their ids."""
    found: dict[RevisionRef, Candidate] = {}
    for part in sorted(parts, key=lambda item: item.part):
        known = found.setdefault(
            part.ref, Candidate(part.ref, part.kb_id, part.freshness, part.features)
        )
        known.add(part)
    return sorted(found.values(), key=lambda item: (item.ref.document_id, item.ref.revision_id))


@dataclass(frozen=True, slots=True)
class Scored:
    """A candidate and its place in the order of all."""

    candidate: Candidate
    fused: float
    score: float

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
            ),
            passages=passages,
        )


def found_by_a_leg(asked: Asked, candidate: Candidate) -> bool:
    """Whether words that count, or a vector, led to it: with titles alone, a chunk's don't count."""
    weight = asked.request.title_weight
    lexical = weight * candidate.title + (1 - weight) * candidate.text
    return lexical > 0 or (asked.request.vector is not None and not math.isnan(candidate.cosine))


def order(asked: Asked, candidates: Sequence[Candidate]) -> list[Scored]:
    """Fuse over all candidates and adjust; the best `limit`, ties in the order of their ids."""
    request = asked.request
    weight = request.title_weight
    lexical = np.array([weight * c.title + (1 - weight) * c.text for c in candidates])
    cosine = np.array([c.cosine for c in candidates])
    fused = ranking.fuse(
        lexical if asked.terms else None,
        cosine if request.vector is not None else None,
        fusion=request.fusion,
        alpha=request.alpha,
    )
    fresh = np.array([c.freshness for c in candidates])
    features = np.array([c.features for c in candidates])
    scores = fused * fresh + features
    return [
        Scored(candidates[i], float(fused[i]), float(scores[i]))
        for i in ranking.best_first(scores, request.limit)
    ]


@dataclass(frozen=True, slots=True)
class Passage:
    """A passage and the terms it holds, its title's included."""

    ref: RevisionRef
    ordinal: int
    bm25: float
    cosine: float
    terms: frozenset[str] = field(repr=False)


def passages_of(asked: Asked, parts: Sequence[Part]) -> dict[RevisionRef, list[Passage]]:
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
        alpha=request.alpha,
    )
    ordinals = np.array([passage.ordinal for passage in found], np.int64)
    best: dict[RevisionRef, list[Passage]] = {}
    for i in np.lexsort((ordinals, -mixed)).tolist():
        shown = best.setdefault(found[i].ref, [])
        if len(shown) < max(request.passages, 1):
            shown.append(found[i])
    return best


def _passages(part: Part) -> list[Passage]:
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
        Passage(
            part.ref,
            int(ordinal),
            _number(bm25.get(str(place)), 0.0),
            _number(cosine.get(str(place)), math.nan),
            frozenset([*str(held).split(), *title]),
        )
        for place, ordinal, held in zip(places, ordinals, terms, strict=False)
    ]


def first_passages(parts: Sequence[Part]) -> dict[RevisionRef, list[Passage]]:
    """The first chunk of each revision, from its whole first part."""
    found: dict[RevisionRef, list[Passage]] = {}
    for part in parts:
        ordinals = part.fields.get(Field.ORDINALS) or []
        terms = part.fields.get(Field.CHUNK_TERMS) or []
        title = str(part.fields.get(Field.TITLE_TERMS, "")).split()
        if ordinals and terms:
            held = frozenset([*str(terms[0]).split(), *title])
            found[part.ref] = [Passage(part.ref, int(ordinals[0]), 0.0, math.nan, held)]
    return found


def inverse_frequency(population: int, frequency: int) -> float:
    """ln(1 + (N - n + ½) / (n + ½)), as BM25 weighs a term that n of N parts hold."""
    return math.log1p((population - frequency + 0.5) / (frequency + 0.5))


def masses(asked: Asked, weights: Mapping[str, float]) -> dict[str, float]:
    """What each term tells, by its first spelling: that of its most common spelling.

    Compounds count nothing, their parts do. A term that was not asked about counts as the others
    do on average.
    """
    known = {
        term.terms[0]: min(weights[item] for item in term.terms if item in weights)
        for term in asked.terms
        if any(item in weights for item in term.terms)
    }
    mean = sum(known.values()) / len(known) if known else 0.0
    return {
        term.terms[0]: 0.0 if term.compound else known.get(term.terms[0], mean)
        for term in asked.terms
    }


def coverage(asked: Asked, mass: Mapping[str, float], best: Passage | None) -> float:
    """The share of the terms' mass that the title or the best passage holds."""
    whole = sum(mass.values())
    if best is None or not whole:
        return 0.0
    held = sum(mass[t.terms[0]] for t in asked.terms if not best.terms.isdisjoint(t.terms))
    return held / whole


def _encoded(values: frozenset[str]) -> list[str]:
    return [encode_value(value) for value in values]


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
