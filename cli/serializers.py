"""The JSON of every command, made of the engine's. It is a promise: add, never rename."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from engine import serializers
from engine.domain import Answer, SearchResult


class DocumentSummary(Protocol):
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
    def chunk_count(self) -> int:
        """How many chunks of it answer."""

    @property
    def error(self) -> str:
        """One sentence on what to do, or empty."""


def search(result: SearchResult) -> dict[str, Any]:
    """`scrubjay search --json`."""
    return serializers.search(result)


def answer(value: Answer) -> dict[str, Any]:
    """`scrubjay ask --json`."""
    return serializers.answer(value)


def documents(listed: Sequence[DocumentSummary]) -> dict[str, Any]:
    """`scrubjay docs list --json` and `scrubjay add --json`."""
    return {
        "documents": [
            {
                "id": document.id,
                "title": document.title,
                "state": str(document.state),
                "vectors": str(document.vectors),
                "error": document.error,
                "chunks_created": document.chunk_count,
            }
            for document in listed
        ]
    }
