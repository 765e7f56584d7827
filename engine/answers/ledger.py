"""What a loop of a model has asked for and got, so that one that is resumed asks for nothing twice.

`AgentState` is JSON: whoever runs a loop that may be interrupted keeps it after each step (`Keep`)
and hands it back. A call that ended has its result; of one that began and did not end nobody knows
whether it was carried out, so a call with an effect is not made again, and the model reads why.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from engine.models.port import Message, ModelTurn, RequestedCall, ToolResult

UNCLEAR = "Whether this call was carried out is not known: it was interrupted. Don't repeat it."


Keep = Callable[["AgentState"], Awaitable[None]]


@dataclass(slots=True)
class CallRecord:
    """A call: whether it `begun` and `ended`, with its result and the chunks it showed.

    `place` is its turn and its place there: some endpoints give every call the same id.
    """

    place: str
    name: str
    arguments: str  # JSON, with sorted keys
    begun: bool = False
    ended: bool = False
    result: str = ""
    chunks: Sequence[str] = ()
    said: str = ""  # by another server's tool

    @property
    def key(self) -> str:
        """What is asked for, whoever asks."""
        return f"{self.name} {self.arguments}"


@dataclass(slots=True)
class AgentState:
    """All that a loop needs to go on: what was said, and the ledger of its calls."""

    messages: list[Message] = field(default_factory=list)
    calls: dict[str, CallRecord] = field(default_factory=dict)  # by their place
    chunks: list[str] = field(default_factory=list)  # that were numbered before any call
    input_tokens: int = 0
    output_tokens: int = 0
    requests: int = 0
    fence: str = ""
    keep: Keep | None = None

    async def kept(self) -> None:
        """Return once whoever keeps it has it as it is now."""
        if self.keep is not None:
            await self.keep(self)

    def begin(self, place: str, call: RequestedCall) -> CallRecord:
        """The record of a call: a new one, or what is known of it."""
        if place not in self.calls:
            arguments = json.dumps(call.arguments, sort_keys=True, ensure_ascii=False)
            self.calls[place] = CallRecord(place, call.name, arguments)
        return self.calls[place]

    def same(self, record: CallRecord) -> list[CallRecord]:
        """Earlier calls for the same thing that ended."""
        return [
            other
            for other in self.calls.values()
            if other is not record and other.ended and other.key == record.key
        ]

    def to_json(self) -> dict[str, Any]:
        """As it is stored."""
        return {
            "messages": [_message_json(message) for message in self.messages],
            "calls": [asdict(record) for record in self.calls.values()],
            "chunks": list(self.chunks),
            "input_tokens": self.input_tokens,
            "output_tokens": self.output_tokens,
            "requests": self.requests,
            "fence": self.fence,
        }

    @staticmethod
    def from_json(stored: Mapping[str, Any]) -> AgentState:
        """What `to_json` gave."""
        records = [CallRecord(**record) for record in stored["calls"]]
        return AgentState(
            messages=[_message(item) for item in stored["messages"]],
            calls={record.place: record for record in records},
            chunks=list(stored["chunks"]),
            input_tokens=stored["input_tokens"],
            output_tokens=stored["output_tokens"],
            requests=stored["requests"],
            fence=stored["fence"],
        )


def _message_json(message: Message) -> dict[str, Any]:
    match message:
        case str():
            return {"kind": "user", "text": message}
        case ModelTurn():
            return {"kind": "model", **asdict(message)}
        case ToolResult():
            return {"kind": "result", **asdict(message)}


def _message(stored: Mapping[str, Any]) -> Message:
    rest = {name: value for name, value in stored.items() if name != "kind"}
    if stored["kind"] == "user":
        return str(stored["text"])
    if stored["kind"] == "result":
        return ToolResult(**rest)
    rest["calls"] = tuple(RequestedCall(**call) for call in rest["calls"])
    return ModelTurn(**rest)
