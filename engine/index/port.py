"""The search index port: what an index stores, what it is asked, what it answers.

`embedded.py` and `vespa.py` adapt it; `tests/contracts/search_index.py` is the suite both pass.
The index is a derived copy: SQL decides what is visible (`engine/search/retrieval.py` joins every hit),
so a late removal here leaks nothing, and losing the whole index loses nothing.
`FILTERS.md` beside this file says what each filter field means, exactly.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from engine.domain import MAIN, ScoreParts

Vector = NDArray[np.float32]

MAX_CHUNKS_PER_PART = 300  # of one index document; longer revisions are fed in several parts


@dataclass(frozen=True, slots=True)
class Space:
    """An embedding model, its dimension and its quantisation; vectors of two never mix."""

    name: str  # [a-z0-9_]{1,40}, e.g. minilm_l6_v2_fp32
    dimension: int


@dataclass(frozen=True, slots=True)
class IndexChunk:
    """One chunk: `text` is cited, `context` (title path, channel) is only searched.

    `ordinal` counts over the whole revision, not over the part. `vector` is L2-normalised, shape
    [dimension], or None while vectors are still on their way.
    """

    ordinal: int
    text: str
    context: str = ""
    vector: Vector | None = None


@dataclass(frozen=True, slots=True)
class IndexDocument:
    """One part of one revision of one document: the unit that is written and removed.

    Feeding the same (document, revision, part) again replaces it: that is how vectors arrive
    after the text, and why a job may run twice.
    """

    document_id: str
    revision_id: str
    part: int
    kb_id: str
    acl: Sequence[str]
    title: str
    chunks: Sequence[IndexChunk]
    language: str = "en"  # ISO 639-1, "" where unknown; one per part
    branches: Sequence[str] = (MAIN,)
    acl_all: Sequence[str] = ()
    updated_at: datetime | None = None
    features: Mapping[str, float] = field(default_factory=dict)
    tags: Sequence[str] = ()
    hidden: bool = False
    source: str = ""
    url: str = ""


@dataclass(frozen=True, slots=True)
class Filter:
    """What may be found. Only `engine.access` builds one. See FILTERS.md.

    `tokens`: a document passes when one of its `acl` is held and all of its `acl_all` are.
    None means "no restriction", an empty set means "nothing passes". Tags pass by any of them;
    a document without a date passes no date range; ranges include their start, not their end.
    """

    tokens: frozenset[str]
    kb_ids: frozenset[str]
    branch: str = MAIN
    document_ids: frozenset[str] | None = None
    languages: frozenset[str] | None = None
    sources: frozenset[str] | None = None
    tags: frozenset[str] | None = None
    updated_from: datetime | None = None
    updated_before: datetime | None = None
    include_hidden: bool = False


@dataclass(frozen=True, slots=True)
class SearchRequest:
    """One search in one tenant's one space.

    `text` is the raw query (the adapter analyses it) and may be empty; `vector` is the query's
    embedding, or None to leave the semantic leg out. `alpha` is the weight of the semantic leg in
    linear fusion, `title_weight` the title's share of the lexical score. `candidates` is how many
    documents each leg contributes to the union. `decay_half_life_s` None = no freshness decay.
    `balance_languages` orders by how much nearer a document is than the average one in its
    language, for models to which a language is part of the meaning; Vespa's adapter does not.
    """

    tenant_id: str
    space: Space
    filter: Filter
    text: str
    vector: Vector | None = None
    language: str = ""
    limit: int = 10
    candidates: int = 100
    passages: int = 3
    fusion: Literal["linear", "rrf"] = "linear"
    alpha: float = 0.5
    title_weight: float = 0.3
    decay_half_life_s: float | None = None
    decay_floor: float = 0.5
    feature_weights: Mapping[str, float] = field(default_factory=dict)
    balance_languages: bool = False


@dataclass(frozen=True, slots=True)
class IndexPassage:
    """A chunk of a hit with its own scores."""

    ordinal: int
    bm25: float
    cosine: float | None


@dataclass(frozen=True, slots=True)
class IndexHit:
    """One document (its parts collapsed), its best passages first, and every score part."""

    document_id: str
    revision_id: str
    kb_id: str
    score: float
    parts: ScoreParts
    passages: Sequence[IndexPassage]


@dataclass(frozen=True, slots=True)
class IndexResult:
    """Hits in order of score, ties in stable order; `more` says whether a larger limit finds more.

    `term_weights` is the idf of each thing the query asks for, by the first spelling
    `analysis.analyse_query` gives it, also of those no chunk holds; empty where the adapter can't
    tell. The extractive answer weighs sentences with it. `documents` counts the revisions that
    pass the filter and hold chunks, whether or not they match; None where the adapter doesn't know.
    """

    hits: Sequence[IndexHit]
    more: bool
    term_weights: Mapping[str, float] = field(default_factory=dict)
    documents: int | None = None


@dataclass(frozen=True, slots=True)
class IndexStats:
    """Counts of what is stored, live or not: documents are distinct revisions."""

    documents: int
    chunks: int
    vectors: int
    size_bytes: int


@dataclass(frozen=True, slots=True)
class RevisionRef:
    """Names every part of one revision."""

    document_id: str
    revision_id: str


@dataclass(frozen=True, slots=True)
class FieldUpdate:
    """New values for fields of every part of one document's revision; None leaves a field."""

    document_id: str
    revision_id: str
    acl: Sequence[str] | None = None
    acl_all: Sequence[str] | None = None
    branches: Sequence[str] | None = None
    hidden: bool | None = None
    tags: Sequence[str] | None = None
    features: Mapping[str, float] | None = None


@dataclass(frozen=True, slots=True)
class StoredFields:
    """What is stored of a revision besides its text and may change; sets are sorted."""

    acl: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    features: tuple[tuple[str, float], ...] = ()
    hidden: bool = False


class SearchIndex(Protocol):
    """The port. Every method is safe to call twice; errors are `Unavailable` or `IndexDamaged`.

    Reading and writing may happen in different processes: what `feed` has returned from is found
    by the next `search` anywhere. Exactly one process writes.
    """

    async def ensure_space(self, tenant_id: str, space: Space) -> None:
        """Make the space ready to be fed; no effect where it exists."""

    async def drop_space(self, tenant_id: str, space: Space) -> None:
        """Remove a space and all its bytes."""

    async def drop_tenant(self, tenant_id: str) -> None:
        """Remove all spaces of a tenant."""

    async def feed(self, tenant_id: str, space: Space, documents: Sequence[IndexDocument]) -> None:
        """Store documents, replacing parts of the same id; durable against a kill on return."""

    async def remove(self, tenant_id: str, space: Space, revisions: Sequence[RevisionRef]) -> None:
        """Forget all parts of these revisions; unknown ones are ignored."""

    async def update_fields(
        self, tenant_id: str, space: Space, updates: Sequence[FieldUpdate]
    ) -> None:
        """Change fields without touching text or vectors; unknown revisions are ignored."""

    async def search(self, request: SearchRequest) -> IndexResult:
        """Find, score and order documents; an unknown space is empty."""

    async def get(
        self, tenant_id: str, space: Space, revisions: Sequence[RevisionRef], where: Filter
    ) -> list[RevisionRef]:
        """Those of `revisions` that are stored and pass the filter `where`, in the order given."""

    async def revisions(self, tenant_id: str, space: Space) -> dict[RevisionRef, int]:
        """Every stored revision and its number of chunks, for `reconcile`."""

    async def fields(self, tenant_id: str, space: Space) -> dict[RevisionRef, StoredFields | None]:
        """The fields of every stored revision, for `reconcile`; None where its parts differ."""

    async def stats(self, tenant_id: str, space: Space) -> IndexStats:
        """Counts of one space; zeros where it is unknown."""

    async def health(self, tenant_id: str = "", space: Space | None = None) -> str:
        """An empty text when well, else one sentence that says what to do.

        Of all that is stored, of a tenant, or of one space of a tenant.
        """

    def figures(self) -> Mapping[str, float]:
        """What this process has counted since its start, by a name in snake_case ending _total."""

    async def purge(self) -> None:
        """Drop the bytes of everything removed so far, now rather than when convenient."""

    async def aclose(self) -> None:
        """Release files and threads; idempotent."""
