"""What comes back, as frozen values. A field that a newer server adds is left out."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar

Outcome = Literal["answered", "maybe", "not_found"]
T = TypeVar("T")


def read(kind: type[T], data: Mapping[str, Any]) -> T:
    """`data` as `kind`, without what `kind` does not know."""
    names = {item.name for item in dataclasses.fields(kind)}  # type: ignore[arg-type]
    return kind(**{name: value for name, value in data.items() if name in names})


@dataclass(frozen=True, slots=True)
class KnowledgeBase:
    """A collection of documents."""

    id: str
    name: str
    description: str = ""
    documents: int = 0
    updated_at: str = ""
    supported_formats: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Document:
    """A document and its state; `message` and `progress` only where it was asked for alone."""

    id: str
    title: str
    state: str
    vectors: str = ""
    error: str = ""
    hidden: bool = False
    chunks_created: int = 0
    tags: Sequence[str] = ()
    metadata: Mapping[str, Any] = field(default_factory=dict)
    message: str = ""
    progress: float = 0.0

    @property
    def has_ended(self) -> bool:
        """Whether nothing more will happen to it by itself."""
        return self.state in {"ready", "failed", "cancelled"}


@dataclass(frozen=True, slots=True)
class Added:
    """A file that was accepted; `unchanged`: the same content was there already."""

    id: str
    title: str
    state: str
    job_id: str | None = None
    unchanged: bool = False
    chunks_created: int = 0


@dataclass(frozen=True, slots=True)
class FileLink:
    """A knowledge base that a file is in, and the document that it is there."""

    knowledge_base_id: str
    knowledge_base: str
    document_id: str
    state: str = ""


@dataclass(frozen=True, slots=True)
class FileInfo:
    """A folder or a file; `level`: how far it is granted to the owner of the token."""

    id: str
    kind: Literal["folder", "file"]
    name: str
    path: str
    folder_id: str | None = None
    level: str = "read"
    size_bytes: int = 0
    mime: str = ""
    updated_at: str = ""
    knowledge_bases: Sequence[FileLink] = ()


@dataclass(frozen=True, slots=True)
class Hit:
    """A document that was found, with its best passage.

    `score` orders the hits of one search; `confidence`, 0 to 1, compares between searches.
    """

    id: str
    document_id: str
    title: str
    url: str
    text: str
    score: float
    confidence: float
    where: str = ""
    knowledge_base: str = ""
    source: str = ""
    author: str = ""
    updated_at: str = ""
    tags: Sequence[str] = ()
    metadata: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class SearchResult:
    """Hits, best first; `notice` says why there is none, or none that is likely."""

    hits: Sequence[Hit]
    notice: str = ""


@dataclass(frozen=True, slots=True)
class Citation:
    """A quote, to the letter, that an answer rests on."""

    n: int
    id: str
    document_id: str
    title: str
    url: str
    quote: str
    where: str = ""
    author: str = ""
    posted_at: str = ""


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer; `not_found` means that nothing answers the question, and `text` says so."""

    text: str
    outcome: Outcome
    grounded: bool
    confidence: float
    citations: Sequence[Citation]
    conversation_id: str


@dataclass(frozen=True, slots=True)
class Stats:
    """What is in a knowledge base; `index_size` is in bytes, of its whole embedding space."""

    document_count: int
    chunk_count: int
    token_count: int
    index_size: int
    last_updated: str
    states: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Searching:
    """The server looks something up."""

    query: str


@dataclass(frozen=True, slots=True)
class Delta:
    """More text of an answer, before its citations are checked."""

    text: str


@dataclass(frozen=True, slots=True)
class Answered:
    """The checked answer, which replaces the deltas; always last."""

    answer: Answer


AnswerEvent = Searching | Delta | Answered


def search_result(data: Mapping[str, Any]) -> SearchResult:
    """The response of a search."""
    hits = tuple(read(Hit, hit) for hit in data["hits"])
    return SearchResult(hits, str(data.get("notice", "")))


def answer(data: Mapping[str, Any]) -> Answer:
    """The response of a question."""
    return Answer(
        text=data["answer"],
        outcome=data["outcome"],
        grounded=data["grounded"],
        confidence=data["confidence"],
        citations=tuple(read(Citation, item) for item in data["citations"]),
        conversation_id=data["conversation_id"],
    )


def answer_event(kind: str, data: Mapping[str, Any]) -> AnswerEvent | None:
    """An event of an answer's stream; None for one that a newer server adds."""
    if kind == "searching":
        return Searching(str(data.get("query", "")))
    if kind == "delta":
        return Delta(str(data.get("text", "")))
    return Answered(answer(data)) if kind == "answered" else None
