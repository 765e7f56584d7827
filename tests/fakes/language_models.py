"""A language model that replies with what a test gives it, in order, and keeps the prompts."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from engine.models.port import Completion, Extraction, T


class ScriptedModel:
    """Takes each reply once: a text, the JSON of a schema, or an exception to raise."""

    name = "test:scripted"

    def __init__(self, *replies: Any) -> None:
        self.replies = list(replies)
        self.prompts: list[str] = []

    async def complete(self, system: str, prompt: str, *, max_tokens: int = 1024) -> Completion:
        """The next reply as a text."""
        return Completion(self._next(prompt), 10, 2)

    async def stream(
        self,
        system: str,
        prompt: str,
        *,
        max_tokens: int = 1024,
    ) -> AsyncIterator[str | Completion]:
        """The next reply in one piece."""
        text = self._next(prompt)
        yield text
        yield Completion(text, 10, 2)

    async def extract(
        self,
        system: str,
        prompt: str,
        schema: type[T],
        *,
        max_tokens: int = 1024,
    ) -> Extraction[T]:
        """The next reply as the schema reads it."""
        return Extraction(schema.model_validate(self._next(prompt)), 10, 2)

    async def aclose(self) -> None:
        """Nothing is open."""

    def _next(self, prompt: str) -> Any:
        self.prompts.append(prompt)
        reply = self.replies.pop(0)
        if isinstance(reply, Exception):
            raise reply
        return reply
