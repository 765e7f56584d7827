"""A language model whose every request is reserved and counted for one run."""

from __future__ import annotations

from collections.abc import AsyncIterator

from engine.errors import Unavailable
from engine.models.port import Completion, Extraction, LanguageModel, T, TunableModel
from engine.workflows.budget import RunMeter


class BudgetedModel:
    """`inner` within the budget of a run. Raises `BudgetSpent` before a request over it."""

    def __init__(self, inner: LanguageModel, meter: RunMeter) -> None:
        self.name = inner.name
        self._inner = inner
        self._meter = meter

    async def complete(self, system: str, prompt: str, *, max_tokens: int = 1024) -> Completion:
        """One answer to one prompt."""
        reserved = self._meter.reserve(len(system) + len(prompt), max_tokens)
        done = Completion("", 0, 0)
        try:
            done = await self._inner.complete(system, prompt, max_tokens=max_tokens)
        finally:
            self._meter.settle(reserved, done.input_tokens, done.output_tokens)
        return done

    async def stream(
        self, system: str, prompt: str, *, max_tokens: int = 1024
    ) -> AsyncIterator[str | Completion]:
        """Pieces of the answer; the last item is the whole `Completion`."""
        reserved = self._meter.reserve(len(system) + len(prompt), max_tokens)
        used = (0, 0)
        try:
            async for piece in self._inner.stream(system, prompt, max_tokens=max_tokens):
                if isinstance(piece, Completion):
                    used = (piece.input_tokens, piece.output_tokens)
                yield piece
        finally:
            self._meter.settle(reserved, *used)

    async def extract(
        self, system: str, prompt: str, schema: type[T], *, max_tokens: int = 1024
    ) -> Extraction[T]:
        """What the prompt says, as an instance of `schema`."""
        reserved = self._meter.reserve(len(system) + len(prompt), max_tokens)
        used = (0, 0)
        try:
            found = await self._inner.extract(system, prompt, schema, max_tokens=max_tokens)
            used = (found.input_tokens, found.output_tokens)
        finally:
            self._meter.settle(reserved, *used)
        return found

    async def aclose(self) -> None:
        """The engine closes the model itself."""


def choose_model(
    model: LanguageModel | None, *, name: str = "", temperature: float | None = None
) -> LanguageModel:
    """The installation's model with what a component asks for; `Unavailable` where there is none.

    `name` is another model of the same provider: "gpt-5-mini", or "openai:gpt-5-mini".
    """
    if model is None:
        raise Unavailable("This needs a language model, and none is configured: set llm.model.")
    if not name and temperature is None:
        return model
    if not isinstance(model, TunableModel):
        return model
    return model.tuned(name=name, temperature=temperature)
