"""The words of the product as values: who asks, what is found, what is answered.

Everything here is frozen and free of I/O. Rows live in `db/tables/`, what the index stores in
`index/port.py`; this module holds what crosses from the engine to the doors.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Literal

MAIN = "main"  # the branch every knowledge base has from day one

SearchMode = Literal["hybrid", "semantic", "keyword", "adaptive"]
Outcome = Literal["answered", "maybe", "not_found"]


class Role(StrEnum):
    """What a member may do in a tenant, strongest first. No role implies a token."""

    OWNER = "owner"
    ADMIN = "admin"
    CURATOR = "curator"
    MEMBER = "member"
    GUEST = "guest"


class Scope(StrEnum):
    """What a credential may be used for; never more than its creator's role allows."""

    KB_READ = "kb:read"
    KB_ASK = "kb:ask"
    KB_WRITE = "kb:write"
    KB_MANAGE = "kb:manage"
    KB_ADMIN = "kb:admin"
    OPS_READ = "ops:read"


class DocumentState(StrEnum):
    """pending → running → ready | failed | cancelled."""

    PENDING = "pending"
    RUNNING = "running"
    READY = "ready"
    FAILED = "failed"
    CANCELLED = "cancelled"


class Vectors(StrEnum):
    """How much of a document's live revision the semantic leg can find."""

    NONE = "none"
    PARTIAL = "partial"
    COMPLETE = "complete"


class Lane(StrEnum):
    """Whose work goes first: live > interactive > bulk."""

    LIVE = "live"
    INTERACTIVE = "interactive"
    BULK = "bulk"


class JobState(StrEnum):
    """queued → running → done | failed | cancelled; running → queued when its lease lapses."""

    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True)
class Principal:
    """Who asks. `tokens` decide what is found, `scopes` and `role` which verbs may be used."""

    tenant_id: str
    user_id: str | None
    name: str
    role: Role
    tokens: frozenset[str]
    scopes: frozenset[Scope]
    identity_id: str | None = None  # the platform account, where no user is linked to it
    api_token_id: str | None = None  # the credential they came by, if it was one
    session_id: str | None = None  # the session they are signed in with, if they are
    assured: bool = True  # False: by a credential that may be stolen, not confirmed just now
    writable: frozenset[str] = frozenset()  # ids of knowledge bases granted for writing
    managed: frozenset[str] = frozenset()  # … and those granted for managing, or owned
    assistants: frozenset[str] | None = None  # the only ones that answer them; None: not bound
    let_in_to: str = ""  # id of the one of these that answers now


@dataclass(frozen=True, slots=True)
class Audience:
    """Who will see an answer: `tokens` are those that every one of them holds.

    `key` names the audience in stored turns ("u:…", "i:…", "ch:…"); `label` names it to people.
    """

    key: str
    label: str
    tokens: frozenset[str]


@dataclass(frozen=True, slots=True)
class ScoreParts:
    """Every part of a hit's score, so that `--explain` can say it in words.

    `bm25_title`, `bm25_chunk` and `cosine` are absolute; `lexical` is their weighted BM25;
    `fused` follows normalisation over the candidates of this search only.
    `coverage` is the share of the query's idf mass found in title or best chunk, 0 to 1. `alpha` is
    what the cosine weighed against the words in this query; None where ranks were fused. `titled`
    is what is added because the title says just what was asked for.
    """

    bm25_title: float
    bm25_chunk: float
    lexical: float
    cosine: float | None
    coverage: float
    fused: float
    freshness: float = 1.0
    features: float = 0.0
    rerank: float | None = None
    alpha: float | None = None
    titled: float = 0.0


@dataclass(frozen=True, slots=True)
class Passage:
    """One chunk of a hit: `text` is the byte-faithful span [start, end) of the revision's text."""

    id: str
    ordinal: int
    text: str
    context: str
    start: int
    end: int
    page: int | None = None
    cosine: float | None = None
    bm25: float = 0.0
    where: str = ""  # for people: page, slide or cells, then the heading it is under


@dataclass(frozen=True, slots=True)
class Hit:
    """One document found, with its best passages, best first. `id` is its best chunk's id.

    `score` only orders hits of one search; `confidence` (0 to 1) is calibrated and comparable.
    """

    id: str
    document_id: str
    revision_id: str
    kb_id: str
    kb_name: str
    title: str
    url: str
    score: float
    confidence: float
    scores: ScoreParts
    passages: Sequence[Passage]
    updated_at: datetime | None = None
    metadata: Mapping[str, object] = field(default_factory=dict)
    author: str = ""
    source: str = ""  # the kind of its source: upload, slack, …
    tags: Sequence[str] = ()
    fields: Mapping[str, Any] = field(default_factory=dict)  # metadata of the team's own

    @property
    def text(self) -> str:
        """The best passage."""
        return self.passages[0].text


@dataclass(frozen=True, slots=True)
class QueryStep:
    """Something a query was read as: `said` in it means `read`."""

    kind: Literal["spelling", "acronym", "filter", "follow_up"]
    said: str
    read: str


@dataclass(frozen=True, slots=True)
class SearchResult:
    """What a search found and what it looked through.

    `semantic` is False where the semantic leg was off, `notice` says why or, with no hits, what
    was searched and what to try. `searched` is what `query` was read as by `steps`; empty where
    they left its words alone.
    """

    hits: Sequence[Hit]
    query: str
    mode: SearchMode
    searched_kbs: Sequence[str]
    searched_documents: int
    took_ms: float
    semantic: bool = True
    notice: str = ""
    waiting: int = 0  # documents that were not searched: they are being read for the first time
    narrowed: bool = False  # by filters of the caller
    searched: str = ""
    steps: Sequence[QueryStep] = ()


@dataclass(frozen=True, slots=True)
class Citation:
    """A quote that is, verbatim but for white space, case and Markdown, in chunk `id`.

    [start, end) are the quote's offsets in the revision's text. Of a chat message `url` leads to
    the message itself, `author` wrote it, and `posted_at` (ISO 8601) says when.
    """

    n: int
    id: str
    document_id: str
    revision_id: str
    title: str
    url: str
    quote: str
    start: int
    end: int
    where: str = ""  # as of its passage
    author: str = ""
    posted_at: str = ""


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer and what it rests on.

    `grounded`: at least one sentence answers the question and every factual sentence keeps a
    citation. When it is False, `text` says so and names what was searched; `outcome` tells apart
    whether it quotes what comes closest.
    """

    text: str
    grounded: bool
    confidence: float
    citations: Sequence[Citation]
    searched_kbs: Sequence[str]
    hits: Sequence[Hit] = ()
    model: str = ""
    input_tokens: int = 0
    output_tokens: int = 0
    turn_id: str = ""
    conversation_id: str = ""
    searched_documents: int = 0  # or waiting to be read, where none could be searched
    searched: str = ""  # what was searched for, where that is not the question
    steps: Sequence[QueryStep] = ()
    prompt: str = ""  # name and version of the instructions a model wrote it by: "answer/2"
    left_out: int = 0  # sentences a model wrote and no source carries
    choices: Sequence[str] = ()  # what an unclear question may be about: questions to ask instead
    uncited: int = 0  # citations it rests on that its assistant does not show

    @property
    def outcome(self) -> Outcome:
        """What came of the question: an answer, quotes that may answer it, or nothing."""
        if self.grounded:
            return "answered"
        return "maybe" if self.has_sources else "not_found"

    @property
    def has_sources(self) -> bool:
        """Whether something is quoted, shown or not; else it says what was searched in vain."""
        return bool(self.citations or self.uncited)


@dataclass(frozen=True, slots=True)
class Searching:
    """The engine looks something up."""

    query: str
    kind: Literal["searching"] = "searching"


@dataclass(frozen=True, slots=True)
class Delta:
    """More text of the answer, before its citations are checked."""

    text: str
    kind: Literal["delta"] = "delta"


@dataclass(frozen=True, slots=True)
class Answered:
    """The checked answer; always the last event, and authoritative over the deltas."""

    answer: Answer
    kind: Literal["answered"] = "answered"


AnswerEvent = Searching | Delta | Answered


def chunk_id(revision_id: str, ordinal: int) -> str:
    """The id of a chunk: stable, opaque to callers, accepted wherever an id is fetched."""
    return f"{revision_id}.{ordinal}"


def parse_chunk_id(value: str) -> tuple[str, int] | None:
    """Revision and ordinal of a chunk id, or None where `value` is not one."""
    revision_id, dot, ordinal = value.partition(".")
    if not dot or len(revision_id) != 32 or not ordinal.isdecimal() or not ordinal.isascii():
        return None
    return revision_id, int(ordinal)
