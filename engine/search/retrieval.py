"""From a query to hits: filter, search, fuse, join with SQL, rerank, widen.

`Engine.search`, `ask` and the agent's tools come through `Retriever.retrieve`. The index proposes,
SQL decides: a hit counts only when its document is live, not deleted and readable for everyone who
will see it, at this moment. Which documents those are is `access.py`'s to say.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from engine.access.gate import count_searchable, usable_tokens
from engine.access.search_filters import SearchFilters
from engine.access.search_scope import (
    Kb,
    Ranking,
    SearchDefaults,
    SearchOverrides,
    SearchScope,
    count_waiting,
    load_search_scope,
)
from engine.clock import now
from engine.db.session import Database
from engine.domain import MAIN, Audience, Hit, Principal, SearchMode, SearchResult
from engine.errors import EngineError, InvalidInput, Unavailable
from engine.index import detection
from engine.index.detection import detect_language
from engine.index.port import (
    MAX_CHUNKS_PER_PART,
    IndexHit,
    IndexResult,
    SearchIndex,
    SearchRequest,
    Vector,
)
from engine.index.ranking import RRF_K
from engine.models.port import Embedder, Reranker
from engine.search.confidence import E5_SPACES, MINILM_SPACES, confidences, is_across
from engine.search.deduplication import shown_once
from engine.search.filters import SortOrder
from engine.search.passages import Visibility, load_hits
from engine.search.query import QUERY_MAX, choose_mode, is_foreign
from engine.search.query_log import Searched, SearchLog

AS_SET = SearchOverrides()
PAGES = 5  # the first page and at most four more, each twice as large
LIMIT_MAX = 1_000
SLIGHT = 0.05  # a share of the documents that is still being read, too small to mention


@dataclass(frozen=True, slots=True)
class Retrieved:
    """A search result with what judging its sentences takes.

    `term_weights` says what each term of the query weighs in what was searched; `vector` is the
    query's in the first space searched by meaning, `embedder` the model to read sentences with.
    `steps` may read the query (`understood.py`).
    """

    result: SearchResult
    term_weights: Mapping[str, float] = field(default_factory=dict)
    embedder: Embedder | None = None
    vector: Vector | None = None
    spaces: Sequence[str] = ()  # searched by meaning, by name
    language: str = ""
    steps: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class _Plan:
    """One query, ready to be sent. `vectors` are by space; a space without one has no meaning leg."""

    tenant_id: str
    query: str
    language: str
    mode: SearchMode
    scope: SearchScope
    vectors: Mapping[str, Vector]
    passages: int
    widen: int
    narrowed: bool = False  # the caller wants some of the documents only
    order: SortOrder = "relevance"
    overrides: SearchOverrides = AS_SET


class Retriever:
    """Searches for principals. `embedders` are by the name of their space."""

    def __init__(
        self,
        db: Database,
        index: SearchIndex,
        embedders: Mapping[str, Embedder],
        *,
        defaults: SearchDefaults | None = None,
        reranker: Reranker | None = None,
        query_log: SearchLog | None = None,
    ) -> None:
        self._db = db
        self._index = index
        self._embedders = embedders
        self._defaults = defaults or SearchDefaults()
        self._reranker = reranker
        self._query_log = query_log

    @property
    def query_log(self) -> SearchLog | None:
        """Where searches are noted, and questions too."""
        return self._query_log

    async def search(
        self,
        principal: Principal,
        audience: Audience,
        query: str,
        **options: Any,  # noqa: ANN401
    ) -> SearchResult:
        """`retrieve` for those who only want the hits; the options are the same."""
        return (await self.retrieve(principal, audience, query, **options)).result

    async def retrieve(
        self,
        principal: Principal,
        audience: Audience,
        query: str,
        *,
        kb_ids: Collection[str] | None = None,
        limit: int | None = None,
        mode: SearchMode | None = None,
        filters: SearchFilters | None = None,
        branch: str = MAIN,
        passages: int = 3,
        widen: int = 0,
        order: SortOrder = "relevance",
        overrides: SearchOverrides = AS_SET,
        noted: bool = True,
    ) -> Retrieved:
        """The best documents for `query` that everyone in `audience` may read, best first.

        `kb_ids` None searches every knowledge base that is readable; naming one that is not raises
        `NotFound`. `limit` and `mode` None take the knowledge bases' own, and so does what
        `overrides` leaves out. A hit shows at most `passages` chunks, then `widen` neighbours on each
        side of its best. Sorted by date, only hits at least half as sure as the best one are shown.
        A search that is not `noted` is missing from the query log.
        Raises `InvalidInput` for an empty query, `Unavailable` when the index is away, or when a
        purely semantic search has no model.
        """
        started = time.perf_counter()
        query = _checked(query, limit)
        await detection.ready()
        found, code = Retrieved(SearchResult((), query, mode or "hybrid", (), 0, 0.0)), ""
        try:
            plan, notices = await self._plan(
                principal, audience, query, mode, kb_ids, filters or SearchFilters(), branch
            )
            plan = replace(plan, passages=passages, widen=widen, order=order, overrides=overrides)
            gate = Visibility(
                principal.tenant_id,
                usable_tokens(principal, audience),
                branch,
                include_hidden=plan.scope.filter.include_hidden,
            )
            hits, weights, documents, missing = await self._find(plan, gate, limit)
            notices.append(missing)
            hits, fault = await self._reranked(plan, hits)
            notices.append(fault)
            hits = [hit for hit in hits if hit.confidence >= self._least(plan, hit)]
            if order != "relevance":
                hits = by_date(hits, order)[: self._wanted(plan, limit)]
            waiting = await self._waiting(plan, gate)
            if not hits:
                notices.append(
                    describe_nothing(
                        plan.scope.names, documents, narrowed=plan.narrowed, waiting=waiting
                    )
                )
            if hits or documents:
                notices.append(describe_waiting(documents, waiting))
            result = SearchResult(
                hits=hits,
                query=query,
                mode=plan.mode,
                searched_kbs=plan.scope.names,
                searched_documents=documents,
                took_ms=(time.perf_counter() - started) * 1000,
                semantic=bool(plan.vectors),
                notice=" ".join(filter(None, notices)),
                waiting=waiting,
                narrowed=plan.narrowed,
            )
            space = next(iter(plan.vectors), "")
            found = Retrieved(
                result,
                weights,
                self._reader(plan, space),
                plan.vectors.get(space),
                list(plan.vectors),
                plan.language,
                plan.scope.steps,
            )
        except EngineError as error:
            code = error.code
            raise
        finally:
            if noted:
                self.note(principal, found.result, kb_ids, started, code)
        return found

    def _reader(self, plan: _Plan, space: str) -> Embedder | None:
        """What reads the hits' sentences: a model the judge knows, if it knows the language.

        It need not be the one that found them.
        """
        own = self._embedders.get(space)
        if space not in E5_SPACES:
            return own
        known = [self._embedders[name] for name in self._embedders if name in MINILM_SPACES]
        fits = (e for e in known if not is_foreign(plan.query, plan.language, e.languages))
        return next(fits, own)

    def note(
        self,
        principal: Principal,
        result: SearchResult,
        kb_ids: Collection[str] | None,
        started: float,
        error_code: str,
    ) -> None:
        """Keep a search in the query log."""
        if self._query_log is None:
            return
        self._query_log.note(
            Searched(
                tenant_id=principal.tenant_id,
                user_id=principal.user_id,
                kb_ids=sorted(kb_ids or {hit.kb_id for hit in result.hits}),
                mode=result.mode,
                text=result.query,
                hits=len(result.hits),
                confidence=max((hit.confidence for hit in result.hits), default=0.0),
                took_ms=(time.perf_counter() - started) * 1000,
                at=now(),
                error_code=error_code,
            )
        )

    # What to search, and with which vectors

    async def _plan(
        self,
        principal: Principal,
        audience: Audience,
        query: str,
        wanted: SearchMode | None,
        kb_ids: Collection[str] | None,
        filters: SearchFilters,
        branch: str,
    ) -> tuple[_Plan, list[str]]:
        language = detect_language(query)
        mode = choose_mode(query) if wanted == "adaptive" else wanted
        embedding: asyncio.Task[Vector | str] | None = None
        own = next(iter(self._embedders), "")
        if own and mode != "keyword":
            # Nearly everything is in the space of the first: its model works while SQL is asked.
            embedding = asyncio.create_task(_embed(self._embedders[own], query, language))
        try:
            async with self._db.read() as session:
                scope = await load_search_scope(
                    session, principal, audience, kb_ids, filters, branch
                )
            if mode is None:
                mode = choose_mode(query) if scope.mode == "adaptive" else scope.mode
            made: dict[str, Vector | str] = {}
            if mode != "keyword":
                for name in dict.fromkeys(kb.space.name for kb in scope.kbs.values()):
                    if name not in self._embedders:
                        made[name] = (
                            f"the model that made the vectors ({name}) is not configured here"
                        )
                    elif name == own and embedding is not None:
                        made[name] = await embedding
                    else:
                        made[name] = await _embed(self._embedders[name], query, language)
        finally:
            if embedding is not None:
                embedding.cancel()
        vectors = {name: vector for name, vector in made.items() if not isinstance(vector, str)}
        missing = {name: why for name, why in made.items() if isinstance(why, str)}
        reasons = list(dict.fromkeys(missing.values()))
        if mode == "semantic" and reasons and not vectors:
            raise Unavailable(f"Semantic search is not available: {reasons[0]}. Use keyword mode.")
        notices = [_by_words(scope, missing, why, whole=not vectors) for why in reasons]
        narrowed = replace(filters, include_hidden=False) != SearchFilters()
        plan = _Plan(principal.tenant_id, query, language, mode, scope, vectors, 0, 0, narrowed)
        return plan, notices

    # Searching, page by page, until enough survive

    async def _find(
        self, plan: _Plan, gate: Visibility, limit: int | None
    ) -> tuple[list[Hit], Mapping[str, float], int, str]:
        """Hits, what each term weighs, how many documents were searched, what the index lacks."""
        kbs = plan.scope.kbs
        wanted = self._wanted(plan, limit)
        if not wanted:
            return [], {}, 0, ""
        if plan.order != "relevance":  # the newest of what fits, not of the few that fit best
            wanted = max(wanted, self._defaults.candidates)
            limit = wanted
        size, hits, weights = wanted, list[Hit](), dict[str, float]()
        # Of what filters leave, only the index knows how many there are.
        documents = None if plan.narrowed else plan.scope.documents
        missing = ""
        for page in range(PAGES):
            results = await self._search(plan, size)
            if page == 0:
                missing = await self._what_is_missing(plan, gate, results)
            if documents is None:
                documents = sum(result.documents or 0 for result in results)
            for result in results:
                for term, weight in result.term_weights.items():
                    weights[term] = max(weight, weights.get(term, 0.0))
            ordered = self._capped(plan, _merge(results, kbs), limit)
            hits = shown_once(await self._load(plan, gate, ordered, size))[:wanted]
            if len(hits) >= wanted or not any(result.more for result in results):
                break
            size *= 2
        spaces = [kbs[hit.kb_id].space.name if hit.kb_id in kbs else "" for hit in hits]
        across = [
            is_across(plan.language, hit, space) for hit, space in zip(hits, spaces, strict=True)
        ]
        sure = confidences([hit.scores for hit in hits], spaces=spaces, across=across)
        hits = [replace(hit, confidence=c) for hit, c in zip(hits, sure, strict=True)]
        return hits, weights, documents or 0, missing

    async def _waiting(self, plan: _Plan, gate: Visibility) -> int:
        async with self._db.read() as session:
            return await count_waiting(session, gate.tenant_id, gate.tokens, plan.scope.kbs)

    def _wanted(self, plan: _Plan, limit: int | None) -> int:
        kbs = plan.scope.kbs.values()
        return limit or max((kb.top_k(self._defaults) for kb in kbs), default=0)

    async def _load(
        self, plan: _Plan, gate: Visibility, ordered: Sequence[IndexHit], size: int
    ) -> list[Hit]:
        """Hits as SQL has them now, other passages in the place of those that were hidden since."""
        async with self._db.read() as session:
            hits, lost = await load_hits(session, gate, ordered, limit=size, widen=plan.widen)
        if not lost:
            return hits
        where = replace(plan.scope.filter, document_ids=frozenset(lost))
        more = replace(plan, passages=MAX_CHUNKS_PER_PART, scope=replace(plan.scope, filter=where))
        found = {hit.revision_id: hit for hit in _merge(await self._search(more, size), {})}
        ordered = [
            replace(hit, passages=found[hit.revision_id].passages)
            if hit.document_id in lost and hit.revision_id in found
            else hit
            for hit in ordered
        ]
        async with self._db.read() as session:
            hits, _ = await load_hits(session, gate, ordered, limit=size, widen=plan.widen)
        return [
            replace(hit, passages=hit.passages[: plan.passages + 2 * plan.widen]) for hit in hits
        ]

    async def _what_is_missing(
        self, plan: _Plan, gate: Visibility, results: Sequence[IndexResult]
    ) -> str:
        """A notice where the index holds less than SQL says can be found.

        Raises `Unavailable` where it holds none of it: an empty result would be untrue. Counting in
        SQL takes time, so it is done only where the counters disagree with the index. The index is
        asked again after SQL: what went live in between is no fault.
        """
        counted = plan.scope.documents
        held = _held(results)
        if plan.narrowed or plan.mode == "semantic" or held is None:
            return ""
        if held and (counted is None or held >= counted):
            return ""
        kb_ids = plan.scope.filter.kb_ids & plan.scope.kbs.keys()
        async with self._db.read() as session:
            expected = await count_searchable(
                session, gate.tenant_id, gate.tokens, kb_ids, branch=gate.branch
            )
        if held < expected:
            held = _held(await self._search(plan, 1)) or 0
        if held >= expected:
            return ""
        if not held:
            raise Unavailable(
                "The search index is missing, so nothing can be found until it is rebuilt. Run"
                " `scrubjay reconcile` to rebuild it; `scrubjay status` shows how far it is."
            )
        share = 100 * held // expected
        return f"The search index is being rebuilt: {share} % of the documents can be found so far."

    async def _search(self, plan: _Plan, size: int) -> list[IndexResult]:
        groups: dict[Ranking, set[str]] = defaultdict(set)
        for kb_id in plan.scope.filter.kb_ids & plan.scope.kbs.keys():
            ranking = plan.scope.kbs[kb_id].ranking(self._defaults)
            groups[plan.overrides.on(ranking)].add(kb_id)
        requests = [
            self._request(plan, ranking, frozenset(kb_ids), size)
            for ranking, kb_ids in sorted(groups.items(), key=lambda group: sorted(group[1]))
            if plan.mode != "semantic" or ranking.space.name in plan.vectors
        ]
        if len(requests) == 1:
            return [await self._index.search(requests[0])]
        async with asyncio.TaskGroup() as tasks:
            running = [tasks.create_task(self._index.search(request)) for request in requests]
        return [task.result() for task in running]

    def _request(
        self, plan: _Plan, ranking: Ranking, kb_ids: frozenset[str], size: int
    ) -> SearchRequest:
        # A semantic search still sends its words: their coverage is part of the confidence, and
        # with alpha 1 they have no say in the order.
        pure = plan.mode == "semantic"
        return SearchRequest(
            tenant_id=plan.tenant_id,
            space=ranking.space,
            filter=replace(plan.scope.filter, kb_ids=kb_ids),
            text=plan.query,
            vector=plan.vectors.get(ranking.space.name),
            language=plan.language,
            limit=size,
            candidates=max(self._defaults.candidates, size),
            passages=plan.passages,
            fusion="linear" if pure else ranking.fusion,
            alpha=1.0 if pure else ranking.alpha,
            title_weight=ranking.title_weight,
            decay_half_life_s=ranking.half_life_s,
            feature_weights=dict(ranking.feature_weights),
            balance_languages=ranking.space.name in E5_SPACES,
        )

    def _capped(
        self, plan: _Plan, ordered: Sequence[IndexHit], limit: int | None
    ) -> Sequence[IndexHit]:
        """Without a limit of the caller, a knowledge base shows no more than its own `top_k`."""
        if limit is not None or len(plan.scope.kbs) < 2:
            return ordered
        shown: dict[str, int] = defaultdict(int)
        kept = []
        for hit in ordered:
            shown[hit.kb_id] += 1
            kb = plan.scope.kbs.get(hit.kb_id)
            if kb is not None and shown[hit.kb_id] <= kb.top_k(self._defaults):
                kept.append(hit)
        return kept

    def _least(self, plan: _Plan, hit: Hit) -> float:
        if plan.overrides.threshold is not None:
            return plan.overrides.threshold
        kb = plan.scope.kbs.get(hit.kb_id)
        return kb.threshold(self._defaults) if kb else self._defaults.confidence_threshold

    async def _reranked(self, plan: _Plan, hits: Sequence[Hit]) -> tuple[list[Hit], str]:
        """The hits in the reranker's order, or in their own and the reason why."""
        wanted = plan.overrides.rerank
        if not hits or not (plan.scope.reranks if wanted is None else wanted):
            return list(hits), ""
        reranker = self._reranker
        if reranker is None and wanted:
            return list(hits), "No reranker is configured; hits are shown in their own order."
        if reranker is None:
            return list(hits), ""
        head = hits[: self._defaults.rerank_candidates]
        try:
            async with asyncio.timeout(self._defaults.rerank_timeout_s):
                scores = await reranker.rerank(plan.query, [_rerank_text(hit) for hit in head])
        except (Unavailable, TimeoutError):
            notice = "The reranker did not answer; hits are shown in their original order."
            return list(hits), notice
        scored = [
            replace(hit, scores=replace(hit.scores, rerank=score))
            for hit, score in zip(head, scores, strict=True)
        ]
        scored.sort(key=lambda hit: -(hit.scores.rerank or 0.0))
        return [*scored, *hits[len(head) :]], ""


def _checked(query: str, limit: int | None) -> str:
    query = query.replace("\0", " ").strip()  # which PostgreSQL can't keep
    if not query:
        raise InvalidInput("The query is empty: give a text to search for.", field="query")
    if limit is not None and not 1 <= limit <= LIMIT_MAX:
        raise InvalidInput(f"limit is {limit}; allowed are 1 to {LIMIT_MAX}.", field="limit")
    return query[:QUERY_MAX]


def _by_words(scope: SearchScope, missing: Mapping[str, str], why: str, *, whole: bool) -> str:
    """A notice of what was searched by keywords only: everything, or the knowledge bases named."""
    if whole:
        return f"Searched by keywords only: {why}."
    names = [kb.name for kb in scope.kbs.values() if missing.get(kb.space.name) == why]
    were = "was" if len(names) == 1 else "were"
    return f"{', '.join(names)} {were} searched by keywords only: {why}."


async def _embed(embedder: Embedder, query: str, language: str) -> Vector | str:
    """The query's vector, or why there is none."""
    if is_foreign(query, language, embedder.languages):
        return f"the embedding model does not know the language of the query ({language})"
    try:
        return await embedder.embed_query(query)
    except Unavailable as error:
        return f"the embedding model is not available ({error})"


def _merge(results: Sequence[IndexResult], kbs: Mapping[str, Kb]) -> list[IndexHit]:
    """One order: by score where one search made them all, else by rank (RRF); KB weights count."""
    if len(results) == 1:
        weighted = [replace(hit, score=hit.score * _weight(hit, kbs)) for hit in results[0].hits]
    else:
        weighted = [
            replace(hit, score=_weight(hit, kbs) / (RRF_K + rank))
            for result in results
            for rank, hit in enumerate(result.hits, start=1)
        ]
    return sorted(weighted, key=lambda hit: -hit.score)


def _weight(hit: IndexHit, kbs: Mapping[str, Kb]) -> float:
    return kbs[hit.kb_id].weight if hit.kb_id in kbs else 1.0


def _rerank_text(hit: Hit) -> str:
    best = hit.passages[0]
    return f"{best.context}\n{best.text}" if best.context else best.text


def _held(results: Sequence[IndexResult]) -> int | None:
    """How many documents the index looked through; None where an adapter can't tell."""
    counts = [result.documents for result in results]
    return None if None in counts else sum(filter(None, counts))


def by_date(hits: Sequence[Hit], order: SortOrder) -> list[Hit]:
    """Hits at least half as sure as the best one by the date their source gives; without one last."""
    least = max((hit.confidence for hit in hits), default=0.0) / 2
    sign = -1 if order == "newest" else 1
    return sorted(
        (hit for hit in hits if hit.confidence >= least),
        key=lambda hit: sign * hit.updated_at.timestamp() if hit.updated_at else math.inf,
    )


def describe_nothing(
    kbs: Sequence[str], documents: int, *, narrowed: bool = False, waiting: int = 0
) -> str:
    """What was searched in vain, and what to try."""
    if not kbs or (not documents and not narrowed):
        return describe_empty(kbs, waiting)
    names = ", ".join(kbs)
    if narrowed:
        return (
            f"Nothing was found in {names} that passes the filters. Try other words, or fewer"
            " filters."
        )
    noun = "document" if documents == 1 else "documents"
    return (
        f"Nothing was found in {names} ({documents} {noun}). Try other words, a shorter query, "
        "or a wider choice of knowledge bases."
    )


def describe_empty(kbs: Sequence[str], waiting: int) -> str:
    """Why there was nothing to search: each door adds what its people can do about it."""
    if not kbs:
        return "You have no access to a knowledge base."
    names = ", ".join(kbs)
    if not waiting:
        return f"{names} has no documents yet."
    if waiting == 1:
        return f"One document of {names} is still being read. Ask again in a moment."
    return f"{waiting:,} documents of {names} are still being read. Ask again in a moment."


def describe_waiting(documents: int, waiting: int) -> str:
    """Where a good part of the documents is still being read, so that more may be found later."""
    if waiting <= SLIGHT * (documents + waiting):
        return ""
    if waiting == 1:
        return "One document is still being read and was not searched."
    return f"{waiting:,} documents are still being read and were not searched."


def explain(hit: Hit) -> str:
    """Every part of a hit's score in words."""
    parts = hit.scores
    semantic = (
        "semantic: no vector"
        if parts.cosine is None
        else f"semantic {parts.cosine:.2f} (cosine of the question and its best passage)"
    )
    found = (
        f"score {hit.score:.3f}: {semantic}; keyword {parts.lexical:.2f} (BM25: title "
        f"{parts.bm25_title:.2f}, best passage {parts.bm25_chunk:.2f}); fused {parts.fused:.3f}"
        + ("" if parts.alpha is None else f" with {parts.alpha:.0%} of the weight on meaning")
    )
    sure = (
        f"confidence {hit.confidence:.2f}: {parts.coverage:.0%} of the query's weight occurs in "
        "the title or the best passage"
    )
    lines = [found, sure]
    if parts.freshness != 1.0:
        lines.append(f"multiplied by {parts.freshness:.2f} for its age")
    if parts.features:
        lines.append(f"features add {parts.features:.3f}")
    if parts.titled:
        lines.append(f"its title says just what was asked for, which adds {parts.titled:.3f}")
    if parts.rerank is not None:
        lines.append(f"the reranker gave it {parts.rerank:.3f}, which decides the order")
    return "; ".join(lines)
