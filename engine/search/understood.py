"""Retrieval that understands: misspelt words, acronyms and phrases that are filters, read for the audience.

`Understanding` is a `Retriever` that first searches for what was typed. Only where that leaves a
word unknown, an acronym open, or names a date, person, channel or document, does it look again:
with words that documents this audience may read hold, and with filters that leave an answer. What
it read and did is in `SearchResult.steps`.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Any

from engine.access.search_filters import SearchFilters
from engine.access.search_scope import SearchOverrides
from engine.clock import now
from engine.domain import Audience, Hit, Principal, QueryStep, SearchResult
from engine.errors import EngineError, InvalidInput
from engine.models.port import Embedder, TokenEmbedder
from engine.search import understanding
from engine.search.filters import parse_filters
from engine.search.retrieval import Retrieved, Retriever
from engine.search.understanding import PhraseFilter

WORDS_MAX = 2  # misspelt words of one query that are looked up
NEAR = 10  # hits whose words are known without a look-up
PROBED = 20  # documents a look-up reads
TITLED_MAX = 5  # documents that a name may mean
# A filter that was read holds where its best hit is at least so sure as the best one without it.
HOLDS = 0.6
PROBE = SearchOverrides(threshold=0.0, rerank=False)


@dataclass(frozen=True, slots=True)
class _Asked:
    """Who asks, and all else of a search but its text."""

    principal: Principal
    audience: Audience
    options: dict[str, Any]

    @property
    def where(self) -> dict[str, Any]:
        """What a look-up keeps of the options: what may be found."""
        kept = ("kb_ids", "filters", "branch")
        return {name: self.options[name] for name in kept if name in self.options}


class Understanding(Retriever):
    """A `Retriever` that reads a query before it answers it."""

    async def retrieve(
        self,
        principal: Principal,
        audience: Audience,
        query: str,
        *,
        kb_ids: Collection[str] | None = None,
        **options: Any,  # noqa: ANN401 (as `Retriever.retrieve` takes them)
    ) -> Retrieved:
        """As `Retriever.retrieve`; `result.searched` is what was searched for, where that differs."""
        asked = _Asked(principal, audience, {"kb_ids": kb_ids, **options})
        started, code = time.perf_counter(), ""
        found = Retrieved(SearchResult((), query, "hybrid", (), 0, 0.0))
        try:
            found = await self._look(asked, query)
            if found.steps and not understanding.is_literal(query):
                found = await self._understood(asked, found)
        except EngineError as error:
            code = error.code
            raise
        finally:
            self.note(principal, found.result, kb_ids, started, code)
        return found

    async def _understood(self, asked: _Asked, found: Retrieved) -> Retrieved:
        query = text = found.result.query
        steps: list[QueryStep] = []
        on = found.steps
        if "spelling" in on:
            text, made = await self._spelt(asked, found, text)
            steps += made
        if "acronyms" in on:
            text, made = await self._expanded(asked, found, text)
            steps += made
        if steps:
            found = await self._look(asked, text)
        if "query_filters" in on:
            text, found, made = await self._narrowed(asked, found, text)
            steps += made
        if not steps:
            return found
        result = replace(
            found.result, query=query, searched=text if text != query else "", steps=tuple(steps)
        )
        return replace(found, result=result)

    async def _look(
        self,
        asked: _Asked,
        query: str,
        **changed: Any,  # noqa: ANN401
    ) -> Retrieved:
        options = {**asked.options, **changed}
        return await super().retrieve(
            asked.principal, asked.audience, query, noted=False, **options
        )

    async def _probe(self, asked: _Asked, words: str, limit: int = PROBED) -> Sequence[Hit]:
        """Documents with some of these words, of those that may be found."""
        found = await super().retrieve(
            asked.principal,
            asked.audience,
            words,
            mode="keyword",
            limit=limit,
            overrides=PROBE,
            noted=False,
            **asked.where,
        )
        return found.result.hits

    # Spelling

    async def _spelt(
        self, asked: _Asked, found: Retrieved, text: str
    ) -> tuple[str, list[QueryStep]]:
        """The query with words that no readable document holds read as those they are near."""
        steps = []
        doubtful = [
            word
            for word in understanding.unknown_words(text, (), found.language)
            if _may_be_misspelt(word, found.embedder)
        ]
        if not doubtful:  # the usual case: nothing is read but the query
            return text, []
        near = _texts(found.result.hits[:NEAR])
        unknown = understanding.unknown_words(" ".join(doubtful), near, found.language)
        for word in unknown[:WORDS_MAX]:
            hits = await self._probe(asked, " ".join([word, *understanding.edits(word)]))
            texts = _texts(hits)
            if not understanding.unknown_words(word, texts, found.language):
                continue  # a rare word that is there
            meant = understanding.correction(
                word, [*near, *texts], found.language, named=understanding.is_named(text, word)
            )
            if meant:
                text = understanding.replaced(text, word, meant)
                steps.append(QueryStep("spelling", word, meant))
        return text, steps

    # Acronyms

    async def _expanded(
        self, asked: _Asked, found: Retrieved, text: str
    ) -> tuple[str, list[QueryStep]]:
        """The query with what readable documents say its acronyms are short for."""
        steps = []
        near = _texts(found.result.hits[:NEAR])
        short = understanding.short_words(text)
        small = [word for word in short if _may_be_misspelt(word, found.embedder)]
        for acronym in understanding.acronyms(text, small, near):
            meant = understanding.expansion(acronym, near)
            if not meant:
                meant = understanding.expansion(acronym, _texts(await self._probe(asked, acronym)))
            if not meant or understanding.says(text, meant):
                continue
            texts = [*near, *_texts(await self._probe(asked, meant, NEAR))]
            if understanding.is_rather_written_out(acronym, meant, dict.fromkeys(texts)):
                text = understanding.expanded(text, acronym, meant)
                steps.append(QueryStep("acronym", acronym, meant))
        return text, steps

    # Filters

    async def _narrowed(
        self, asked: _Asked, found: Retrieved, text: str
    ) -> tuple[str, Retrieved, list[QueryStep]]:
        """What is found with the phrases that are filters taken as such, as long as they hold."""
        steps: list[QueryStep] = []
        sure = _sureness(found)
        filters: SearchFilters = asked.options.get("filters") or SearchFilters()
        for narrowing in understanding.narrowings(text, now().date()):
            if narrowing.said not in text:
                continue  # it went with another phrase
            narrower = await self._filters(asked, found, narrowing, filters)
            if narrower is None:
                continue
            rest = narrowing.rest if not steps else text.replace(narrowing.said, "").strip()
            tried = await self._look(asked, rest, filters=narrower)
            if not tried.result.hits or _sureness(tried) < HOLDS * sure:
                continue
            text, found, filters = rest, tried, narrower
            steps.append(QueryStep("filter", narrowing.said, narrowing.read))
        return text, found, steps

    async def _filters(
        self, asked: _Asked, found: Retrieved, narrowing: PhraseFilter, filters: SearchFilters
    ) -> SearchFilters | None:
        """The filters with this one; None where it names nothing here, or the caller set it."""
        if narrowing.title:
            if filters.document_ids is not None:
                return None
            hits = [*found.result.hits, *await self._probe(asked, narrowing.title)]
            named = {
                hit.document_id
                for hit in hits
                if understanding.names_document(hit.title, narrowing.title)
            }
            if not 0 < len(named) <= TITLED_MAX:
                return None
            return replace(filters, document_ids=frozenset(named))
        try:
            read = parse_filters(
                since=narrowing.since,
                until=narrowing.until,
                author=narrowing.author,
                channel=narrowing.channel,
            )
        except InvalidInput:
            return None
        fresh = {
            name: getattr(read, name)
            for name in ("updated_from", "updated_before", "authors", "channels")
            if getattr(read, name) is not None
        }
        if any(getattr(filters, name) is not None for name in fresh):
            return None
        return replace(filters, **fresh)


def _texts(hits: Sequence[Hit]) -> list[str]:
    return [
        "\n".join([hit.title, *(f"{p.context}\n{p.text}" for p in hit.passages)]) for hit in hits
    ]


def _sureness(found: Retrieved) -> float:
    return max((hit.confidence for hit in found.result.hits), default=0.0)


def _may_be_misspelt(word: str, embedder: Embedder | None) -> bool:
    """Whether a word may be none: a model's vocabulary holds common words whole."""
    if not isinstance(embedder, TokenEmbedder):
        return True
    return len(embedder.token_offsets(word.casefold())) > 1
