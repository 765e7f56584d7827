"""The search index on Vespa: any number of processes feed and search it over HTTP.

A tenant's space lives in a schema (`vespa_app.tenancy`); `SpacePlaces` knows which, and makes one.
Documents are spelt by `vespa_feed.py`, searches by `vespa_requests.py`, both pure; `vespa_http.py`
sends them. What this adapter can't do at all it says with an error in time: never part of an answer.
"""

from __future__ import annotations

import asyncio
import math
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Iterable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Protocol, TypeVar

import anyio.to_thread
import numpy as np

from engine import clock
from engine.errors import EngineError, InvalidInput, TooLarge
from engine.index import ranking, vespa_answers, vespa_requests
from engine.index.port import (
    FieldUpdate,
    Filter,
    IndexDocument,
    IndexPassage,
    IndexResult,
    IndexStats,
    RevisionRef,
    SearchRequest,
    Space,
    StoredFields,
)
from engine.index.vespa_answers import FoundPart, FoundRevision, VespaPassage
from engine.index.vespa_feed import (
    STORED_FIELDS,
    key_of,
    read_fields,
    render_document,
    render_update,
    to_microseconds,
)
from engine.index.vespa_http import VespaHttp
from engine.index.vespa_requests import AnalysedRequest, Rarities, Rarity
from engine.index.vespa_yql import Between, In, Node
from vespa_app.fields import CLUSTER, Field, decode_value, document_key, encode_value
from vespa_app.package import PLACEHOLDER
from vespa_app.tenancy import Cells

T = TypeVar("T")

REVISIONS_A_QUERY = 200
CHUNK_BYTES = 1024  # an estimate of what a chunk's terms and bookkeeping take, for `stats`
GRAPH_BYTES = 320  # of the vector graph a vector, at 16 links
RARITY_LASTS_S = 60.0  # how long what a term weighs is remembered


@dataclass(frozen=True, slots=True)
class SpacePlace:
    """Where a space is: its schema, how its vectors are stored, and the languages it holds."""

    schema: str
    cells: Cells
    is_pooled: bool
    languages: Sequence[str]


class SpacePlaces(Protocol):
    """Which schema each space lives in, the same for all processes; it makes and removes them."""

    async def find(self, tenant_id: str, space: Space) -> SpacePlace | None:
        """Where a space is, or None where there is none."""

    async def make(self, tenant_id: str, space: Space) -> SpacePlace:
        """Where a space is, placed and deployed first where there is none."""

    async def drop(self, tenant_id: str, space: Space) -> None:
        """Forget a space, and remove its schema where nobody else's documents are in it."""

    async def spaces(self, tenant_id: str) -> list[Space]:
        """The spaces of a tenant."""

    async def learn(self, tenant_id: str, space: Space, languages: frozenset[str]) -> None:
        """Remember that a space holds texts in these languages."""


class VespaIndex:
    """A `SearchIndex` on a Vespa cluster."""

    def __init__(self, http: VespaHttp, places: SpacePlaces) -> None:
        self._http = http
        self._places = places
        self._rarity: dict[tuple[str, str, str, str, frozenset[str]], tuple[float, int]] = {}

    async def ensure_space(self, tenant_id: str, space: Space) -> None:
        """Make the space ready to be fed; no effect where it exists."""
        await self._places.make(tenant_id, space)

    async def drop_space(self, tenant_id: str, space: Space) -> None:
        """Remove a space and all its documents."""
        place = await self._places.find(tenant_id, space)
        if place is None:
            return
        if place.is_pooled:
            selection = f'{place.schema}.{Field.TENANT} == "{encode_value(tenant_id)}"'
            await self._http.remove_where(place.schema, CLUSTER, selection)
        await self._places.drop(tenant_id, space)

    async def drop_tenant(self, tenant_id: str) -> None:
        """Remove all spaces of a tenant."""
        for space in await self._places.spaces(tenant_id):
            await self.drop_space(tenant_id, space)

    async def feed(self, tenant_id: str, space: Space, documents: Sequence[IndexDocument]) -> None:
        """Store documents, replacing parts of the same id; each is kept once this returns.

        Of two writes of one part the one that began later stays, whichever arrives last.
        """
        if not documents:
            return
        place = await self._places.make(tenant_id, space)
        unknown = frozenset(d.language for d in documents) - frozenset(place.languages)
        if unknown:
            await self._places.learn(tenant_id, space, unknown)
        version = to_microseconds(clock.now())
        last = {key_of(tenant_id, document): document for document in documents}
        rendered = await anyio.to_thread.run_sync(
            lambda: {
                key: render_document(tenant_id, space, d, cells=place.cells, version=version)
                for key, d in last.items()
            }
        )
        # As late as ours or earlier: then ours replaces it. A repeated request finds its own.
        condition = f"{place.schema}.{Field.VERSION} <= {version}"
        await _all(
            self._http.put(place.schema, key, fields, condition=condition)
            for key, fields in rendered.items()
        )

    async def remove(self, tenant_id: str, space: Space, revisions: Sequence[RevisionRef]) -> None:
        """Forget all parts of these revisions; unknown ones are ignored."""
        place = await self._places.find(tenant_id, space)
        if place is None:
            return
        async for parts in self._parts(tenant_id, place, revisions):
            await _all(self._http.remove(place.schema, _key(tenant_id, part)) for part in parts)

    async def update_fields(
        self, tenant_id: str, space: Space, updates: Sequence[FieldUpdate]
    ) -> None:
        """Change fields without touching text or vectors; unknown revisions are ignored."""
        place = await self._places.find(tenant_id, space)
        if place is None:
            return
        # In the order given: a later update of the same revision counts.
        for update in updates:
            fields = render_update(update)
            ref = RevisionRef(update.document_id, update.revision_id)
            async for parts in self._parts(tenant_id, place, [ref] if fields else []):
                await _all(
                    self._http.update(place.schema, _key(tenant_id, part), fields) for part in parts
                )

    async def search(self, request: SearchRequest) -> IndexResult:
        """Find, score and order documents; an unknown space is empty."""
        place = await self._places.find(request.tenant_id, request.space)
        if place is None or request.limit < 1 or vespa_requests.passes_nothing(request.filter):
            return IndexResult((), more=False, documents=0)
        _check_vector(request)
        asked = vespa_requests.analysed(request, place.schema, place.languages)
        async with self._answering():
            asked = replace(asked, rarities=await self._rarities(asked))
            async with asyncio.TaskGroup() as tasks:
                found = tasks.create_task(self._candidates(asked))
                counted = tasks.create_task(self._count(asked))
            candidates, more = found.result()
            scored = vespa_answers.order(asked, candidates)
            passages = await self._passages(asked, [item.candidate for item in scored])
        mass = vespa_answers.masses(asked)
        hits = tuple(
            item.hit(
                [_shown(passage) for passage in passages.get(item.candidate.ref, [])],
                vespa_answers.coverage(
                    asked, mass, next(iter(passages.get(item.candidate.ref, [])), None)
                ),
                request.title_weight,
            )
            for item in scored
            if passages.get(item.candidate.ref)  # else it went while we looked
        )
        weights = vespa_answers.weights(asked, mass)
        return IndexResult(hits, more or len(candidates) > request.limit, weights, counted.result())

    async def get(
        self, tenant_id: str, space: Space, revisions: Sequence[RevisionRef], where: Filter
    ) -> list[RevisionRef]:
        """Those of `revisions` that are stored and pass the filter, in the order given."""
        place = await self._places.find(tenant_id, space)
        if place is None or vespa_requests.passes_nothing(where):
            return []
        passing = vespa_requests.conditions(tenant_id, where)
        found: set[RevisionRef] = set()
        async for parts in self._parts(tenant_id, place, revisions, passing):
            found.update(part.ref for part in parts)
        return [ref for ref in revisions if ref in found]

    async def revisions(self, tenant_id: str, space: Space) -> dict[RevisionRef, int]:
        """Every stored revision and its number of chunks, by a visit of the whole schema."""
        place = await self._places.find(tenant_id, space)
        counts: dict[RevisionRef, int] = {}
        if place is None:
            return counts
        fields = (Field.DOC_ID, Field.REVISION, Field.CHUNK_COUNT)
        selection = f'{place.schema}.{Field.TENANT} == "{encode_value(tenant_id)}"'
        visiting = self._http.visit(place.schema, CLUSTER, fields, selection=selection)
        async for stored in visiting:
            ref = RevisionRef(
                decode_value(str(stored[Field.DOC_ID])), decode_value(str(stored[Field.REVISION]))
            )
            counts[ref] = counts.get(ref, 0) + int(stored.get(Field.CHUNK_COUNT) or 0)
        return counts

    async def fields(self, tenant_id: str, space: Space) -> dict[RevisionRef, StoredFields | None]:
        """The fields of every stored revision, by a visit of the whole schema."""
        place = await self._places.find(tenant_id, space)
        found: dict[RevisionRef, StoredFields | None] = {}
        if place is None:
            return found
        selection = f'{place.schema}.{Field.TENANT} == "{encode_value(tenant_id)}"'
        names = (Field.DOC_ID, Field.REVISION, *STORED_FIELDS)
        async for stored in self._http.visit(place.schema, CLUSTER, names, selection=selection):
            ref = RevisionRef(
                decode_value(str(stored[Field.DOC_ID])), decode_value(str(stored[Field.REVISION]))
            )
            fields = read_fields(stored)
            found[ref] = fields if found.get(ref, fields) == fields else None
        return found

    async def stats(self, tenant_id: str, space: Space) -> IndexStats:
        """Counts of one space; `size_bytes` is an estimate of the memory its parts take."""
        place = await self._places.find(tenant_id, space)
        if place is None:
            return IndexStats(0, 0, 0, 0)
        mine: list[Node] = [In(Field.TENANT, [encode_value(tenant_id)])]
        firsts = vespa_requests.counting_body(place.schema, [*mine, Between(Field.PART, None, 0)])
        sums = vespa_requests.summing_body(place.schema, mine)
        counted, summed = await _all(self._http.query(body) for body in (firsts, sums))
        chunks, vectors = vespa_answers.sums_of(summed)
        cell_bytes = 2 if place.cells == "bfloat16" else 4
        size = chunks * CHUNK_BYTES + vectors * (space.dimension * cell_bytes + GRAPH_BYTES)
        return IndexStats(vespa_answers.total(counted), chunks, vectors, size)

    async def health(self, tenant_id: str = "", space: Space | None = None) -> str:
        """An empty text when Vespa answers whole and takes writes, else what to do."""
        if self._http.is_blocked:
            return f"Vespa at {self._http.host} is full: add memory, disk or content nodes."
        try:
            schemas = [PLACEHOLDER]
            spaces = [space] if space else await self._places.spaces(tenant_id or "-")
            for item in spaces:
                place = await self._places.find(tenant_id, item)
                schemas += [place.schema] if place else []
            for schema in dict.fromkeys(schemas):
                await self._http.query(vespa_requests.counting_body(schema, []))
        except EngineError as error:
            return str(error)
        return ""

    def figures(self) -> Mapping[str, float]:
        """Queries, operations, and how often Vespa asked for patience."""
        return self._http.figures.by_name()

    async def purge(self) -> None:
        """Nothing to do: Vespa drops the bytes of what was removed by itself, in the background."""

    async def aclose(self) -> None:
        """Close the connections; idempotent."""
        await self._http.aclose()

    # Searching

    async def _candidates(self, asked: AnalysedRequest) -> tuple[list[FoundRevision], bool]:
        """The revisions either leg found, with every score; and whether there are more."""
        if not asked.asks:
            return [], False
        naming = vespa_requests.titled_body(asked)
        bodies = [vespa_requests.candidates_body(asked), *([naming] if naming else [])]
        root, *named = await _all(self._http.query(body) for body in bodies)
        titled = vespa_answers.titled(
            asked, [p for one in named for p in vespa_answers.parts_of(one)]
        )
        parts = vespa_answers.parts_of(root)
        more = vespa_answers.total(root) > len(parts)
        candidates = vespa_answers.collapse(parts)
        legs_were_cut = len(parts) >= asked.wanted
        if asked.terms and candidates and legs_were_cut:
            refs = [candidate.ref for candidate in candidates]
            by_ref = {candidate.ref: candidate for candidate in candidates}
            for few in _some(refs):
                whole = await self._http.query(vespa_requests.words_body(asked, few))
                for part in vespa_answers.parts_of(whole):
                    if part.ref in by_ref:
                        by_ref[part.ref].add(part)
        for candidate in candidates:
            candidate.titled = ranking.TITLED if candidate.ref in titled else 0.0
        return [
            candidate for candidate in candidates if vespa_answers.found_by_a_leg(asked, candidate)
        ], more

    async def _passages(
        self, asked: AnalysedRequest, shown: Sequence[FoundRevision]
    ) -> dict[RevisionRef, list[VespaPassage]]:
        refs = [item.ref for item in shown]
        parts: list[FoundPart] = []
        for few in _some(refs):
            parts += vespa_answers.parts_of(
                await self._http.query(vespa_requests.passages_body(asked, few))
            )
        found = vespa_answers.passages_of(asked, parts)
        # Found by its title alone and without vectors, a document has no best passage: its first.
        for few in _some([ref for ref in refs if ref not in found]):
            root = await self._http.query(vespa_requests.first_chunks_body(asked, few))
            found |= vespa_answers.first_passages(vespa_answers.parts_of(root))
        return found

    async def _count(self, asked: AnalysedRequest) -> int:
        """How many revisions with chunks pass the filter."""
        passing = vespa_requests.conditions(asked.request.tenant_id, asked.request.filter)
        firsts = [Between(Field.PART, None, 0), Between(Field.CHUNK_COUNT, 1), *passing]
        return vespa_answers.total(
            await self._http.query(vespa_requests.counting_body(asked.schema, firsts))
        )

    async def _rarities(self, asked: AnalysedRequest) -> Rarities:
        """How rare the terms are among the tenant's parts, remembered for a minute.

        A part is in one language and is counted by its spelling in it, so the counts add up.
        """
        if not asked.terms:
            return Rarities()
        tenant_id, schema = asked.request.tenant_id, asked.schema
        mine: list[Node] = [In(Field.TENANT, [encode_value(tenant_id)])]

        async def count(field: str, spelling: str, languages: frozenset[str]) -> int:
            key = (schema, tenant_id, field, spelling, languages)
            known = self._rarity.get(key)
            now = asyncio.get_running_loop().time()
            if known is not None and now - known[0] < RARITY_LASTS_S:
                return known[1]
            held = [vespa_requests.holds(Field(field), spelling, languages)] if spelling else []
            root = await self._http.query(vespa_requests.counting_body(schema, [*held, *mine]))
            if len(self._rarity) > 100_000:
                self._rarity.clear()
            self._rarity[key] = (now, vespa_answers.total(root))
            return vespa_answers.total(root)

        said = list(asked.spellings())
        fields = (Field.CHUNK_TERMS, Field.TITLE_TERMS)
        wanted = [("", "", frozenset[str]())]
        wanted += [(field, spelling, who) for field in fields for _, spelling, who in said]
        population, *counts = await _all((count(*one) for one in wanted), most=16)
        chunks: Counter[tuple[str, ...]] = Counter()
        titles: Counter[tuple[str, ...]] = Counter()
        for (term, _, _), held, entitled in zip(
            said, counts[: len(said)], counts[len(said) :], strict=True
        ):
            chunks[term.terms] += held
            titles[term.terms] += entitled
        return Rarities(population, {key: Rarity(chunks[key], titles[key]) for key in chunks})

    # Parts of revisions

    async def _parts(
        self,
        tenant_id: str,
        place: SpacePlace,
        revisions: Sequence[RevisionRef],
        passing: Sequence[Node] | None = None,
    ) -> AsyncIterator[list[FoundPart]]:
        """The stored parts of revisions, some at a time; those that pass, where that is said."""
        mine = passing or [In(Field.TENANT, [encode_value(tenant_id)])]
        wanted = frozenset(revisions)
        waiting = list(_some(list(dict.fromkeys(revisions))))
        while waiting:
            few = waiting.pop()
            named = In(Field.REVISION, [encode_value(ref.revision_id) for ref in few])
            root = await self._http.query(vespa_requests.listing_body(place.schema, [named, *mine]))
            if vespa_answers.total(root) <= vespa_requests.HITS_MAX:
                yield [part for part in vespa_answers.parts_of(root) if part.ref in wanted]
            elif len(few) > 1:  # too many for one answer: halve the question
                waiting += [few[: len(few) // 2], few[len(few) // 2 :]]
            else:
                raise TooLarge(
                    f"Revision {few[0].revision_id} lies in {vespa_answers.total(root)} parts; Vespa lists "
                    f"{vespa_requests.HITS_MAX} at most. Split the document."
                )

    @asynccontextmanager
    async def _answering(self) -> AsyncIterator[None]:
        """One deadline for all queries of a search; of several errors at once, the first."""
        try:
            async with self._http.one_deadline():
                yield
        except* EngineError as group:
            raise _first(group) from None


def _first(group: BaseExceptionGroup[EngineError]) -> EngineError:
    for error in group.exceptions:
        return _first(error) if isinstance(error, BaseExceptionGroup) else error
    raise AssertionError(group)


async def _all(work: Iterable[Awaitable[T]], *, most: int = 256) -> list[T]:
    """Await all, some at a time; the first error ends the others."""
    free = asyncio.Semaphore(most)

    async def within(waiting: Awaitable[T]) -> T:
        async with free:
            return await waiting

    try:
        async with asyncio.TaskGroup() as tasks:
            running = [tasks.create_task(within(waiting)) for waiting in work]
    except* EngineError as group:
        raise _first(group) from None
    return [task.result() for task in running]


def _some(refs: Sequence[RevisionRef]) -> Iterator[list[RevisionRef]]:
    for start in range(0, len(refs), REVISIONS_A_QUERY):
        yield list(refs[start : start + REVISIONS_A_QUERY])


def _key(tenant_id: str, part: FoundPart) -> str:
    return document_key(tenant_id, part.ref.document_id, part.ref.revision_id, part.part)


def _shown(passage: VespaPassage) -> IndexPassage:
    cosine = None if math.isnan(passage.cosine) else passage.cosine
    return IndexPassage(passage.ordinal, passage.bm25, cosine)


def _check_vector(request: SearchRequest) -> None:
    vector = request.vector
    if vector is None:
        return
    if vector.shape != (request.space.dimension,) or not np.isfinite(vector).all():
        raise InvalidInput(
            f"The query's vector has the shape {vector.shape}; space {request.space.name} takes "
            f"{request.space.dimension} finite numbers.",
            field="vector",
        )
