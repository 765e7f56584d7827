"""What programs read: the JSON of every command. The shapes are a promise; add, never rename."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, Protocol

from engine.domain import Answer, SearchResult
from engine.serializers import said_by


class Listed(Protocol):
    """A document as lists show it."""

    @property
    def id(self) -> str:
        """Its id."""

    @property
    def title(self) -> str:
        """Its title."""

    @property
    def state(self) -> str:
        """pending, running, ready, failed or cancelled."""

    @property
    def vectors(self) -> str:
        """none, partial or complete."""

    @property
    def error(self) -> str:
        """One sentence on what to do, or empty."""


def search(result: SearchResult) -> dict[str, Any]:
    """`scrubjay search --json`."""
    return {
        "hits": [
            {
                "id": hit.id,
                "document_id": hit.document_id,
                "title": hit.title,
                "url": hit.url,
                "where": hit.passages[0].where,
                "text": hit.text,
                "score": hit.score,
                "confidence": hit.confidence,
                "scores": asdict(hit.scores),
            }
            for hit in result.hits
        ]
    }


def answer(value: Answer) -> dict[str, Any]:
    """`scrubjay ask --json`."""
    return {
        "answer": value.text,
        "grounded": value.grounded,
        "confidence": value.confidence,
        "citations": [
            {
                "n": citation.n,
                "id": citation.id,
                "document_id": citation.document_id,
                "title": citation.title,
                "url": citation.url,
                "where": citation.where,
                "quote": citation.quote,
                **said_by(citation),
            }
            for citation in value.citations
        ],
    }


def documents(listed: Sequence[Listed]) -> dict[str, Any]:
    """`scrubjay docs list --json` and `scrubjay add --json`."""
    return {
        "documents": [
            {
                "id": document.id,
                "title": document.title,
                "state": str(document.state),
                "vectors": str(document.vectors),
                "error": document.error,
            }
            for document in listed
        ]
    }
