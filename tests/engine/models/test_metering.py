"""What a counted model can do is what the model inside can do, and every call of it is counted."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

import pytest

from engine.errors import ToolsRefused, Unavailable
from engine.models.metering import MeteredModel
from engine.models.port import (
    LanguageModel,
    Message,
    ModelTurn,
    RequestedCall,
    ToolLanguageModel,
    ToolResult,
    ToolSpec,
    TunableModel,
)
from tests.fakes.language_models import ScriptedModel

LOOK_UP = ToolSpec("look_up", "Looks something up.", {"type": "object"})
TALK: Sequence[Message] = (
    "How often?",
    ModelTurn("", (RequestedCall("1", "look_up", {"q": "how often"}),)),
    ToolResult("1", "look_up", "Every third day."),
)


class CountingMeter:
    """Keeps what it is told, in order."""

    def __init__(self) -> None:
        self.reserved: list[tuple[str, int, int]] = []
        self.settled: list[tuple[str, int, int]] = []

    async def reserve(self, model: str, input_tokens: int, output_tokens: int) -> str:
        self.reserved.append((model, input_tokens, output_tokens))
        return str(len(self.reserved))

    async def settle(self, call: str, model: str, input_tokens: int, output_tokens: int) -> None:
        del call
        self.settled.append((model, input_tokens, output_tokens))


class ToolModel(ScriptedModel):
    """Takes tools, and has others of its provider; fails after a piece where it is told to."""

    def __init__(self, *, name: str = "test:tools", fails: bool = False) -> None:
        super().__init__()
        self.name = name
        self.takes_tools = True
        self._fails = fails

    async def converse(
        self,
        system: str,
        messages: Sequence[Message],
        tools: Sequence[ToolSpec],
        *,
        max_tokens: int = 1024,
    ) -> AsyncIterator[str | ModelTurn]:
        del system, messages, tools, max_tokens
        yield "Every "
        if self._fails:
            raise Unavailable("The model is away.")
        yield ModelTurn("Every third day.", (), 40, 5)

    def tuned(self, *, name: str = "", temperature: float | None = None) -> LanguageModel:
        del temperature
        return ToolModel(name=name or self.name)


async def test_a_turn_with_tools_is_reserved_before_and_settled_after() -> None:
    meter = CountingMeter()
    model = MeteredModel(ToolModel(), meter)
    assert isinstance(model, ToolLanguageModel)
    assert model.takes_tools
    said = [piece async for piece in model.converse("Be brief.", TALK, [LOOK_UP], max_tokens=9)]
    assert said[-1] == ModelTurn("Every third day.", (), 40, 5)
    [(name, asked, most)] = meter.reserved
    assert (name, most) == ("test:tools", 9)
    assert asked > 20
    assert meter.settled == [("test:tools", 40, 5)]


async def test_a_turn_that_breaks_off_costs_what_came() -> None:
    meter = CountingMeter()
    model = MeteredModel(ToolModel(fails=True), meter)
    with pytest.raises(Unavailable):
        [piece async for piece in model.converse("Be brief.", TALK, [LOOK_UP])]
    [(_, asked, written)] = meter.settled
    assert (asked, written) == (meter.reserved[0][1], 2)


async def test_a_model_without_tools_or_others_has_none_when_it_is_counted() -> None:
    meter = CountingMeter()
    model = MeteredModel(ScriptedModel(), meter)
    assert not model.takes_tools
    with pytest.raises(ToolsRefused):
        [piece async for piece in model.converse("Be brief.", TALK, [LOOK_UP])]
    assert meter.reserved == []
    assert model.tuned(name="other") is model


async def test_another_model_of_the_provider_is_counted_by_its_name() -> None:
    meter = CountingMeter()
    model: LanguageModel = MeteredModel(ToolModel(), meter)
    assert isinstance(model, TunableModel)
    other = model.tuned(name="test:other", temperature=0.0)
    assert isinstance(other, ToolLanguageModel)
    [piece async for piece in other.converse("Be brief.", TALK, [LOOK_UP])]
    assert meter.settled == [("test:other", 40, 5)]
