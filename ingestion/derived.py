"""What a language model derives of a document: summary, outline, keywords, questions, named fields.

Extractor calls `derive` with the document's text. Long texts are read in parts, at most
`max_calls` of them, and what the parts gave is joined. What a model writes is untrusted: it is
bounded, kept on its own lines, and holds only addresses that occur in the text.
"""

from __future__ import annotations

import itertools
import secrets
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, Field, create_model

from engine.answers.prompts import load_prompt
from engine.markup.links import sanitise
from engine.models.port import LanguageModel

Mode = Literal["fields", "keywords", "questions", "summary", "text", "toc"]
T = TypeVar("T", bound=BaseModel)

PART_CHARS = 24_000  # about 6,000 tokens of English: small models take it, and read all of it
VALUE_MAX = 4_000  # characters of one value
ITEMS_MAX = 200

_TASKS: dict[Mode, str] = {
    "fields": "Fill in the fields from the document.",
    "keywords": "Name the {count} words or short phrases that tell best what the document is about.",
    "questions": "Write {count} questions that a reader would ask and this document answers.",
    "summary": "Summarise the document in at most five sentences.",
    "toc": "List the headings of the document, in order, each with its level from 1.",
}
_JOIN = "These are summaries of the parts of one document. Summarise the whole in at most five sentences."


class Items(BaseModel):
    """A list of short texts."""

    items: list[str] = Field(max_length=ITEMS_MAX)


class Entry(BaseModel):
    """One heading."""

    title: str
    level: int = Field(default=1, ge=1, le=6)


class Entries(BaseModel):
    """The headings of a document."""

    entries: list[Entry] = Field(max_length=ITEMS_MAX)


@dataclass(frozen=True, slots=True)
class DerivationRequest:
    """What to derive: `fields` (name to what it holds) for `fields`, `prompt` for `text`."""

    mode: Mode
    fields: Mapping[str, str] = field(default_factory=dict)
    prompt: str = ""
    count: int = 5
    max_tokens: int = 512
    max_calls: int = 8


@dataclass(slots=True)
class DerivationUsage:
    """What it cost, and whether all of the text was read."""

    calls: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    read_chars: int = 0


async def derive(
    model: LanguageModel,
    text: str,
    wanted: DerivationRequest,
    *,
    report: Callable[[float, str], None],
) -> tuple[Any, DerivationUsage]:
    """The value, as JSON, and what it cost. Raises `Unavailable` as the model does."""
    parts = parts_of(text)[: wanted.max_calls]
    usage = DerivationUsage(read_chars=sum(map(len, parts)))
    asker = _DerivationCalls(model, wanted, usage)
    found: list[Any] = []
    for number, part in enumerate(parts, start=1):
        found.append(await _ASKS[wanted.mode](asker, part))
        report(number / len(parts), f"part {number} of {len(parts)}")
    return _clean(await _JOINS[wanted.mode](asker, found), text), usage


def parts_of(text: str, size: int = PART_CHARS) -> list[str]:
    """The text in parts of at most `size` characters, cut at an empty line where there is one."""
    parts: list[str] = []
    start = 0
    while start < len(text):
        end = min(len(text), start + size)
        if end < len(text):
            cut = text.rfind("\n\n", start + size // 2, end)
            end = cut + 2 if cut >= 0 else end
        parts.append(text[start:end])
        start = end
    return parts or [""]


class _DerivationCalls:
    """Puts one task to the model and counts what it costs."""

    def __init__(
        self, model: LanguageModel, wanted: DerivationRequest, usage: DerivationUsage
    ) -> None:
        self.wanted = wanted
        self._model = model
        self._usage = usage
        self._system = load_prompt("extract")

    async def text(self, task: str, part: str) -> str:
        done = await self._model.complete(
            self._system, _prompt(task, part), max_tokens=self.wanted.max_tokens
        )
        self._count(done.input_tokens, done.output_tokens)
        return done.text.strip()

    async def value(self, task: str, part: str, schema: type[T]) -> T:
        done = await self._model.extract(
            self._system, _prompt(task, part), schema, max_tokens=self.wanted.max_tokens
        )
        self._count(done.input_tokens, done.output_tokens)
        return done.value

    def _count(self, input_tokens: int, output_tokens: int) -> None:
        self._usage.calls += 1
        self._usage.input_tokens += input_tokens
        self._usage.output_tokens += output_tokens


def _prompt(task: str, part: str) -> str:
    fence = secrets.token_hex(6)
    return f"Task: {task}\n\n<<<{fence} document\n{part}\n{fence}>>>"


# One part


async def _ask_text(asker: _DerivationCalls, part: str) -> str:
    wanted = asker.wanted
    return await asker.text(wanted.prompt or _TASKS[wanted.mode], part)


async def _ask_items(asker: _DerivationCalls, part: str) -> list[str]:
    wanted = asker.wanted
    task = _TASKS[wanted.mode].format(count=wanted.count)
    return (await asker.value(task, part, Items)).items


async def _ask_entries(asker: _DerivationCalls, part: str) -> list[dict[str, Any]]:
    found = await asker.value(_TASKS["toc"], part, Entries)
    return [entry.model_dump() for entry in found.entries]


async def _ask_fields(asker: _DerivationCalls, part: str) -> dict[str, str]:
    members: dict[str, Any] = {
        name: (str, Field(default="", description=says))
        for name, says in asker.wanted.fields.items()
    }
    schema: type[BaseModel] = create_model("Fields", **members)
    return (await asker.value(_TASKS["fields"], part, schema)).model_dump()


# What the parts gave, joined


async def _join_text(asker: _DerivationCalls, found: Sequence[str]) -> str:
    texts = [text for text in found if text]
    if len(texts) < 2:
        return "".join(texts)
    if asker.wanted.mode == "summary":
        return await asker.text(_JOIN, "\n\n".join(texts))
    return "\n".join(texts)


async def _join_items(asker: _DerivationCalls, found: Sequence[Sequence[str]]) -> list[str]:
    """The items most parts name first, then one from each part in turn."""
    turns = [item for row in itertools.zip_longest(*found) for item in row if item]
    named = Counter(item.strip().casefold() for item in turns)
    ranked = sorted(turns, key=lambda item: -named[item.strip().casefold()])
    return list(_unique(ranked))[: asker.wanted.count]


async def _join_entries(
    _: _DerivationCalls, found: Sequence[Sequence[dict[str, Any]]]
) -> list[Any]:
    return list(itertools.chain.from_iterable(found))[:ITEMS_MAX]


async def _join_fields(
    asker: _DerivationCalls, found: Sequence[Mapping[str, str]]
) -> dict[str, str]:
    return {
        name: next((part[name] for part in found if part[name].strip()), "")
        for name in asker.wanted.fields
    }


_ASKS: dict[Mode, Callable[[_DerivationCalls, str], Awaitable[Any]]] = {
    "fields": _ask_fields,
    "keywords": _ask_items,
    "questions": _ask_items,
    "summary": _ask_text,
    "text": _ask_text,
    "toc": _ask_entries,
}
_JOINS: dict[Mode, Callable[[_DerivationCalls, Sequence[Any]], Awaitable[Any]]] = {
    "fields": _join_fields,
    "keywords": _join_items,
    "questions": _join_items,
    "summary": _join_text,
    "text": _join_text,
    "toc": _join_entries,
}


def _unique(items: Iterable[str]) -> Iterable[str]:
    seen = set()
    for item in items:
        key = item.strip().casefold()
        if key and key not in seen:
            seen.add(key)
            yield item.strip()


def _clean(value: Any, source: str) -> Any:  # noqa: ANN401 (JSON)
    """The value without addresses that its source does not hold, each text bounded."""
    if isinstance(value, str):
        return sanitise(value, sources=[source])[:VALUE_MAX].strip()
    if isinstance(value, list):
        return [_clean(item, source) for item in value]
    if isinstance(value, dict):
        return {key: _clean(item, source) for key, item in value.items()}
    return value
