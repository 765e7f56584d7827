"""What a search covers: which knowledge bases, how each is ranked, and the filter all of it carries.

`retrieval.py` loads a `Scope` at the start of every search; nothing here is kept between two.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, cast

from sqlalchemy import exists, func, select
from sqlalchemy.ext.asyncio import AsyncSession

from engine.access.gate import counters_tell, readable_kbs, usable_tokens, visible_document
from engine.access.index_filter import index_filter
from engine.access.search_filters import SearchFilters
from engine.db.tables import Document, Live, Source
from engine.domain import Audience, DocumentState, Principal, SearchMode
from engine.errors import NotFound
from engine.index.port import Filter, Space

Fusion = Literal["linear", "rrf"]
# What a query is read for before it is searched, each a setting of a knowledge base.
STEPS = ("spelling", "acronyms", "query_filters", "clarify")
# Of talk: halved twice as slowly or quickly, the labelled questions are answered no better
# (docs/explanation/chats.md).
TALK_HALF_LIFE_S = 2 * 365 * 86_400.0


@dataclass(frozen=True, slots=True)
class SearchDefaults:
    """What a search uses where neither the caller nor the knowledge base says otherwise.

    docs/explanation/ranking.md says how they were chosen.
    """

    alpha: float = 0.65
    title_weight: float = 0.3
    fusion: Fusion = "linear"
    candidates: int = 100
    # A document's pagerank adds a tenth of it to a score, which is about 0 to 1 without.
    feature_weights: tuple[tuple[str, float], ...] = (("pagerank", 0.1),)
    top_k: int = 10
    confidence_threshold: float = 0.0
    rerank_candidates: int = 30
    rerank_timeout_s: float = 5.0


@dataclass(frozen=True, slots=True)
class Ranking:
    """How knowledge bases are searched: those that share it share one search of the index."""

    space: Space
    alpha: float
    title_weight: float
    fusion: Fusion
    half_life_s: float | None
    feature_weights: tuple[tuple[str, float], ...]


@dataclass(frozen=True, slots=True)
class SearchOverrides:
    """What one search does otherwise than the knowledge bases' own settings; None: as they say."""

    alpha: float | None = None
    title_weight: float | None = None
    fusion: Fusion | None = None
    threshold: float | None = None
    rerank: bool | None = None
    half_life_s: float | None = None  # 0: dates do not count

    def on(self, ranking: Ranking) -> Ranking:
        """A ranking with these in place of its own."""
        return replace(
            ranking,
            alpha=ranking.alpha if self.alpha is None else self.alpha,
            title_weight=ranking.title_weight if self.title_weight is None else self.title_weight,
            fusion=self.fusion or ranking.fusion,
            half_life_s=ranking.half_life_s
            if self.half_life_s is None
            else self.half_life_s or None,
        )


@dataclass(frozen=True, slots=True)
class Kb:
    id: str
    name: str
    space: Space
    documents: int | None  # None where only some of them are for this principal
    search: Mapping[str, Any]
    decay_half_life_s: float | None = None  # where its own settings name none

    def _own(self, key: str, default: Any) -> Any:  # noqa: ANN401 (settings of many types)
        value = self.search.get(key)
        return default if value is None else value

    @property
    def reranks(self) -> bool:
        """Whether a reranker, where there is one, may reorder its hits."""
        return bool(self._own("rerank", True))

    def reads(self, step: str) -> bool:
        """Whether queries are read for this one of `STEPS`."""
        return bool(self._own(step, True))

    @property
    def mode(self) -> SearchMode:
        """How it is searched by those who don't say how."""
        return cast("SearchMode", self._own("mode", "hybrid"))

    @property
    def weight(self) -> float:
        """How much its hits count beside those of other knowledge bases."""
        return float(self._own("weight", 1.0))

    def top_k(self, defaults: SearchDefaults) -> int:
        return int(self._own("top_k", defaults.top_k))

    def threshold(self, defaults: SearchDefaults) -> float:
        return float(self._own("confidence_threshold", defaults.confidence_threshold))

    def ranking(self, defaults: SearchDefaults) -> Ranking:
        half_life = self._own("decay_half_life_s", self.decay_half_life_s)
        return Ranking(
            space=self.space,
            alpha=float(self._own("alpha", defaults.alpha)),
            title_weight=float(self._own("title_weight", defaults.title_weight)),
            fusion=cast("Fusion", self._own("fusion", defaults.fusion)),
            half_life_s=float(half_life) if half_life else None,
            feature_weights=tuple(
                sorted(dict(self._own("feature_weights", defaults.feature_weights)).items())
            ),
        )


@dataclass(frozen=True, slots=True)
class SearchScope:
    """Who searches what: the knowledge bases by id, and the filter every search carries."""

    kbs: Mapping[str, Kb]
    filter: Filter

    @property
    def documents(self) -> int | None:
        """How many documents it covers; None where only the index can tell which are seen."""
        counts = [kb.documents for kb in self.kbs.values()]
        return None if None in counts else sum(filter(None, counts))

    @property
    def reranks(self) -> bool:
        """Whether any of them wants its hits reranked."""
        return any(kb.reranks for kb in self.kbs.values())

    @property
    def steps(self) -> frozenset[str]:
        """What a query is read for: what none of them has switched off."""
        kbs = self.kbs.values()
        return frozenset(step for step in STEPS if all(kb.reads(step) for kb in kbs) and kbs)

    @property
    def mode(self) -> SearchMode:
        """The mode they all set; hybrid where they differ or set none."""
        modes = {kb.mode for kb in self.kbs.values()}
        return modes.pop() if len(modes) == 1 else "hybrid"

    @property
    def names(self) -> list[str]:
        return [kb.name for kb in self.kbs.values()]


async def load_search_scope(
    session: AsyncSession,
    principal: Principal,
    audience: Audience,
    kb_ids: Collection[str] | None,
    filters: SearchFilters,
    branch: str,
) -> SearchScope:
    """The knowledge bases a search covers and the filter it carries; `NotFound` for one it may not."""
    readable = {kb.id: kb for kb in await readable_kbs(session, principal, audience)}
    for kb_id in kb_ids or ():
        if kb_id not in readable:
            raise NotFound(f"No knowledge base {kb_id!r} that you may read.")
    chosen = {id_: kb for id_, kb in readable.items() if kb_ids is None or id_ in kb_ids}
    where = await index_filter(
        session,
        principal,
        audience,
        kb_ids=list(chosen),
        branch=branch,
        filters=filters,
    )
    tokens = usable_tokens(principal, audience)
    decay = TALK_HALF_LIFE_S if await _are_of_talk(session, chosen) else None
    kbs = {
        kb.id: Kb(
            kb.id,
            kb.name,
            Space(kb.space, kb.dimension),
            kb.document_count if await counters_tell(session, kb, tokens) else None,
            kb.search,
            decay,
        )
        for kb in chosen.values()
    }
    return SearchScope(kbs, where)


async def _are_of_talk(session: AsyncSession, kb_ids: Collection[str]) -> bool:
    """Whether all of these hold channels' history: beside pages, age says little of either."""
    found = await session.scalars(
        select(Source.kb_id)
        .where(Source.kb_id.in_(kb_ids), Source.channel_id.is_not(None))
        .distinct()
    )
    return bool(kb_ids) and set(found) == set(kb_ids)


async def count_waiting(
    session: AsyncSession, tenant_id: str, tokens: Collection[str], kb_ids: Collection[str]
) -> int:
    """How many documents of these knowledge bases are being read for the first time.

    Of those that these tokens may see. One that is read again is found as it was, until then.
    """
    found = select(func.count()).where(
        visible_document(tenant_id, tokens),
        Document.kb_id.in_(kb_ids),
        Document.state.in_([DocumentState.PENDING, DocumentState.RUNNING]),
        ~exists().where(Live.document_id == Document.id),
    )
    return int(await session.scalar(found) or 0)
