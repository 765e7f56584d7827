"""One search in Vespa's words: the filter as a tree, and the bodies of the requests.

Pure. `vespa.py` sends what is built here: first the candidates of both legs, then, where a leg had
to stop early, their words in full, then the passages of the hits that are shown. `vespa_answers.py`
reads what comes back.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from engine import clock
from engine.index import ranking
from engine.index.analysis import QueryTerm, analyse_query
from engine.index.detection import detect_language
from engine.index.port import Filter, RevisionRef, SearchRequest
from engine.index.vespa_yql import (
    And,
    Between,
    Holds,
    In,
    Is,
    Meets,
    Near,
    Node,
    Or,
    Rank,
    Word,
    Words,
    render,
)
from vespa_app.fields import (
    EARLIEST,
    NEAREST,
    SUMMARY,
    SUMMARY_KEYS,
    Field,
    Input,
    Profile,
    encode_date,
    encode_value,
)

HITS_MAX = 2000  # of one query: `maxHits` in the application's query profile
TERMS_MAX = 32  # terms whose rarity is asked for; of more, the rest count as the average does


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
class Rarity:
    """How many of a tenant's parts hold a term in their chunks, and how many in their title."""

    chunks: int
    titles: int


@dataclass(frozen=True, slots=True)
class Rarities:
    """What is known of how rare a query's terms are, by their spellings, among `population`."""

    population: int = 0
    terms: Mapping[tuple[str, ...], Rarity] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class AnalysedRequest:
    """A request, analysed: what it asks for, and how each language of the space spells that."""

    request: SearchRequest
    schema: str
    terms: Sequence[QueryTerm]
    languages: Sequence[str] = ("",)
    rarities: Rarities = field(default_factory=Rarities)

    @property
    def idf(self) -> list[float]:
        """Each term's, over all its spellings; one that was not counted has the others' mean."""
        population = self.rarities.population
        known = {
            key: inverse_frequency(max(population, rarity.chunks), rarity.chunks)
            for key, rarity in self.rarities.terms.items()
        }
        mean = sum(known.values()) / len(known) if known else 0.0
        return [known.get(term.terms, mean) for term in self.terms]

    @property
    def held(self) -> list[bool]:
        """Whether any of the tenant's parts has each term, as far as that is known."""
        rarities = (self.rarities.terms.get(term.terms) for term in self.terms)
        return [known is None or bool(known.chunks or known.titles) for known in rarities]

    @property
    def leaning(self) -> tuple[Literal["linear", "rrf"], float]:
        """How the legs are fused, and how much meaning counts: see `ranking.lean`."""
        share = ranking.exact_share(self.terms, self.idf, self.held)
        return ranking.lean(self.request.fusion, self.request.alpha, share)

    @property
    def tongues(self) -> list[frozenset[str]]:
        """The languages of the space, those together that spell the whole query alike."""
        alike: dict[tuple[str | None, ...], list[str]] = {}
        for language in self.languages:
            spelt = tuple(term.spelt(language) for term in self.terms)
            alike.setdefault(spelt, []).append(language)
        return [frozenset(found) for found in alike.values()]

    def spellings(self) -> Iterator[tuple[QueryTerm, str, frozenset[str]]]:
        """What to count for the rarity of its terms: a term, a spelling, and whose that is."""
        held = frozenset(self.languages)
        for term in self.terms[:TERMS_MAX]:
            for spelling, languages in zip(term.terms, term.languages, strict=True):
                if languages & held:
                    yield term, spelling, languages & held

    @property
    def wanted(self) -> int:
        """How many documents each leg is asked for: one more than enough, to know of more."""
        return max(self.request.candidates, self.request.limit) + 1

    @property
    def most(self) -> int:
        """How many candidates are looked at: those of all legs together."""
        legs = 2 * len(self.tongues) * bool(self.terms) + (self.request.vector is not None)
        return min(legs * self.wanted, HITS_MAX)

    @property
    def asks(self) -> bool:
        """Whether there is anything to look for."""
        return bool(self.terms) or self.request.vector is not None


def inverse_frequency(population: int, frequency: int) -> float:
    """ln(1 + (N - n + ½) / (n + ½)), as BM25 weighs a term that n of N parts hold."""
    return math.log1p((population - frequency + 0.5) / (frequency + 0.5))


def analysed(request: SearchRequest, schema: str, languages: Sequence[str]) -> AnalysedRequest:
    """What a request asks for, in its own language and in those the space holds."""
    language = request.language or detect_language(request.text)
    held = list(languages) or [""]
    spoken = [language, *held] if language else held
    return AnalysedRequest(request, schema, analyse_query(request.text, spoken), held)


def candidates_body(asked: AnalysedRequest) -> dict[str, Any]:
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


def titled_body(asked: AnalysedRequest) -> dict[str, Any] | None:
    """The parts whose title holds every word of a query that may be one; None where it can't be."""
    request = asked.request
    words = [asked.terms[place] for place in ranking.title_words(asked.terms)]
    if not words or request.title_weight <= 0 or request.alpha >= 1:
        return None
    named = [
        And(
            [
                In(Field.LANGUAGE, _encoded(languages)),
                *(Holds(Field.TITLE_TERMS, _spelt(term, languages)) for term in words),
            ]
        )
        for languages in asked.tongues
    ]
    where = And([Or(named), *conditions(request.tenant_id, request.filter)])
    query = render(asked.schema, where)
    body = _plain(asked.schema, query.yql, query.parameters, hits=min(asked.wanted, HITS_MAX))
    return {**body, "presentation.summary": SUMMARY}


def words_body(asked: AnalysedRequest, refs: Sequence[RevisionRef]) -> dict[str, Any]:
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


def passages_body(asked: AnalysedRequest, refs: Sequence[RevisionRef]) -> dict[str, Any]:
    """The best passages of these revisions' parts."""
    few = In(Field.REVISION, [encode_value(ref.revision_id) for ref in refs])
    where: Node = And([few, *conditions(asked.request.tenant_id, asked.request.filter)])
    if asked.terms:
        where = Rank(where, _word_legs(asked, HITS_MAX))
    return _body(asked, where, profile=_profile(asked), hits=HITS_MAX, summary=SUMMARY, more={})


def first_chunks_body(asked: AnalysedRequest, refs: Sequence[RevisionRef]) -> dict[str, Any]:
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


def holds(name: Field, spelling: str, languages: frozenset[str]) -> Node:
    """The parts in some languages whose chunks, or title, hold a term."""
    return And([Holds(name, spelling), In(Field.LANGUAGE, _encoded(languages))])


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


def _word_legs(asked: AnalysedRequest, hits: int) -> list[Node]:
    """Titles and chunks, each part asked in its own language where these spell a term apart."""
    tongues = asked.tongues
    return [
        leg if len(tongues) == 1 else And([In(Field.LANGUAGE, _encoded(languages)), leg])
        for languages in tongues
        for leg in (
            Words(name, _words(asked, name, languages), hits)
            for name in (Field.TITLE_TERMS, Field.CHUNK_TERMS)
        )
    ]


def _words(asked: AnalysedRequest, name: Field, languages: frozenset[str]) -> list[Word]:
    """The terms as some languages, which agree, spell them; each as often as it is asked for."""
    rarities = asked.rarities
    found = []
    for term in asked.terms:
        known = rarities.terms.get(term.terms)
        frequency = None
        if known is not None:
            frequency = known.titles if name == Field.TITLE_TERMS else known.chunks
        found += [Word(_spelt(term, languages), frequency, rarities.population)] * term.count
    return found


def _spelt(term: QueryTerm, languages: frozenset[str]) -> str:
    """A term as some languages, which agree, spell it."""
    return term.spelt(next(iter(languages))) or term.terms[0]


def _profile(asked: AnalysedRequest) -> Profile:
    if asked.request.vector is None:
        return Profile.KEYWORD_ONLY
    if not asked.terms:
        return Profile.SEMANTIC_ONLY
    linear = asked.leaning[0] == "linear"
    return Profile.HYBRID_LINEAR if linear else Profile.HYBRID_RRF


def _body(
    asked: AnalysedRequest,
    where: Node,
    *,
    profile: str,
    hits: int,
    summary: str,
    more: Mapping[str, object],
) -> dict[str, Any]:
    request = asked.request
    query = render(asked.schema, where)
    alpha = asked.leaning[1]
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


def _encoded(values: frozenset[str]) -> list[str]:
    return [encode_value(value) for value in values]
