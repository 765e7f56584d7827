"""The one place where a call of a language model is counted: a model that tells a meter of its calls.

`MeteredModel` is a `LanguageModel` around another. Before each call it reserves what the call may
cost at most, after it settles what was used; a call that failed before anything came settles
nothing, one that was cut short what had been counted by then.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Sequence
from typing import Protocol

import anyio

from engine.errors import ConfigurationError, EngineError, ToolsRefused
from engine.models.port import (
    Completion,
    Extraction,
    LanguageModel,
    Message,
    ModelTurn,
    T,
    ToolLanguageModel,
    ToolResult,
    ToolSpec,
    TunableModel,
)

CHARS_A_TOKEN = 3  # a guess that is rarely too low: English has about four
OVERHEAD_TOKENS = 20  # of a request, besides its texts
EXTRACTIONS = 2  # an extraction may be asked for a second time


class CallMeter(Protocol):
    """What counts the calls of one tenant's model."""

    async def reserve(self, model: str, input_tokens: int, output_tokens: int) -> str:
        """The id of a call that may use so much; raises where there is no credit or quota left."""

    async def settle(self, call: str, model: str, input_tokens: int, output_tokens: int) -> None:
        """What the call used; a second settlement of the same call changes nothing."""


class MeteredModel:
    """A `LanguageModel` whose calls are counted."""

    def __init__(self, inner: LanguageModel, meter: CallMeter) -> None:
        self.name = inner.name
        self._inner = inner
        self._meter = meter

    def __repr__(self) -> str:
        return f"MeteredModel({self.name})"

    @property
    def inner(self) -> LanguageModel:
        """The model that is called."""
        return self._inner

    async def complete(self, system: str, prompt: str, *, max_tokens: int = 1024) -> Completion:
        """One answer to one prompt."""
        asked = count_tokens(system, prompt)
        call = await self._meter.reserve(self.name, asked, max_tokens)
        used = (asked, 0)  # of a call that is cut short
        try:
            done = await self._inner.complete(system, prompt, max_tokens=max_tokens)
            used = (done.input_tokens, done.output_tokens)
        except EngineError:
            used = (0, 0)
            raise
        finally:
            await self._settle(call, *used)
        return done

    async def stream(
        self, system: str, prompt: str, *, max_tokens: int = 1024
    ) -> AsyncIterator[str | Completion]:
        """Pieces of the answer as they come; the last item is the whole `Completion`."""
        asked = count_tokens(system, prompt)
        call = await self._meter.reserve(self.name, asked, max_tokens)
        written = 0
        done: Completion | None = None
        failed = False
        try:
            async for piece in self._inner.stream(system, prompt, max_tokens=max_tokens):
                if isinstance(piece, Completion):
                    done = piece
                else:
                    written += len(piece)
                yield piece
        except EngineError:
            failed = True
            raise
        finally:
            if done is not None:
                used = (done.input_tokens, done.output_tokens)
            elif failed and not written:
                used = (0, 0)
            else:
                used = (asked, -(-written // CHARS_A_TOKEN))
            await self._settle(call, *used)

    async def extract(
        self, system: str, prompt: str, schema: type[T], *, max_tokens: int = 1024
    ) -> Extraction[T]:
        """What the prompt says, as an instance of `schema`."""
        asked = count_tokens(system, prompt)
        call = await self._meter.reserve(self.name, EXTRACTIONS * asked, EXTRACTIONS * max_tokens)
        used = (asked, 0)
        try:
            done = await self._inner.extract(system, prompt, schema, max_tokens=max_tokens)
            used = (done.input_tokens, done.output_tokens)
        except EngineError:
            used = (0, 0)
            raise
        finally:
            await self._settle(call, *used)
        return done

    @property
    def takes_tools(self) -> bool:
        """Whether the model called takes tools natively."""
        return isinstance(self._inner, ToolLanguageModel) and self._inner.takes_tools

    async def converse(
        self,
        system: str,
        messages: Sequence[Message],
        tools: Sequence[ToolSpec],
        *,
        max_tokens: int = 1024,
    ) -> AsyncIterator[str | ModelTurn]:
        """Pieces of the next turn; see `ToolLanguageModel`. Only where it `takes_tools`."""
        if not isinstance(self._inner, ToolLanguageModel):
            raise ToolsRefused(f"The model {self.name} takes no tools.")
        offered = (f"{tool.name} {tool.description} {json.dumps(tool.schema)}" for tool in tools)
        asked = count_tokens(system, *map(_said, messages), *offered)
        call = await self._meter.reserve(self.name, asked, max_tokens)
        written = 0
        turn: ModelTurn | None = None
        failed = False
        try:
            async for piece in self._inner.converse(system, messages, tools, max_tokens=max_tokens):
                if isinstance(piece, ModelTurn):
                    turn = piece
                else:
                    written += len(piece)
                yield piece
        except EngineError:
            failed = True
            raise
        finally:
            if turn is not None:
                used = (turn.input_tokens, turn.output_tokens)
            elif failed and not written:
                used = (0, 0)
            else:
                used = (asked, -(-written // CHARS_A_TOKEN))
            await self._settle(call, *used)

    def tuned(self, *, name: str = "", temperature: float | None = None) -> MeteredModel:
        """The same provider's model, counted as this one is; this one where it has no others."""
        if not isinstance(self._inner, TunableModel):
            return self
        return MeteredModel(self._inner.tuned(name=name, temperature=temperature), self._meter)

    async def aclose(self) -> None:
        """Nothing: whoever opened the model closes it."""

    async def _settle(self, call: str, input_tokens: int, output_tokens: int) -> None:
        with anyio.CancelScope(shield=True):  # a call that is cut short has cost something as well
            await self._meter.settle(call, self.name, input_tokens, output_tokens)


def _said(message: Message) -> str:
    if isinstance(message, ModelTurn):
        called = (f"{call.name} {json.dumps(call.arguments)}" for call in message.calls)
        return " ".join((message.text, *called))
    return message.text if isinstance(message, ToolResult) else message


def count_tokens(*texts: str) -> int:
    """About how many tokens texts have, rather a little too many."""
    return OVERHEAD_TOKENS + sum(-(-len(text) // CHARS_A_TOKEN) for text in texts)


def require_chat(capabilities: tuple[str, ...], name: str) -> None:
    """Raise where a model is known not to write."""
    if "chat" not in capabilities:
        raise ConfigurationError(f"The model {name} writes no answers: choose another.")
