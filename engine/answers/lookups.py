"""What a model may look up while it answers: search again, read on, list documents, other servers' tools.

`Desk` offers them, carries a model's calls out, and numbers what they show. Both ways of calling,
native and as a line of text, meet here as `RequestedCall`. What comes back is data between fences.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from engine.answers.ledger import UNCLEAR, AgentState, CallRecord
from engine.answers.packing import head, pack
from engine.answers.support import CitableSource
from engine.answers.toolbox import ExternalTool, Toolbox, Wanted, as_hit
from engine.domain import Hit, Passage
from engine.errors import EngineError, Unavailable
from engine.models.port import RequestedCall, ToolSpec

AT_ONCE = 4  # look-ups of one turn that run side by side
LISTED = 20  # documents
AGAIN = "You asked for this already: what it showed is above."
NOTHING = "Nothing new was found."
CLOSED = "No further look-up is possible: answer from these passages, or NO ANSWER."

SEARCH = ToolSpec(
    "search",
    "Search the team's documents and chats for passages.",
    {
        "type": "object",
        "properties": {"query": {"type": "string", "description": "A few words to look for."}},
        "required": ["query"],
        "additionalProperties": False,
    },
)
READ_ON = ToolSpec(
    "read_on",
    "Read what follows a passage in its document.",
    {
        "type": "object",
        "properties": {"passage": {"type": "integer", "description": "The passage's number."}},
        "required": ["passage"],
        "additionalProperties": False,
    },
)
LIST_DOCUMENTS = ToolSpec(
    "list_documents",
    "List the titles of documents about something.",
    {
        "type": "object",
        "properties": {"about": {"type": "string", "description": "A few words."}},
        "required": ["about"],
        "additionalProperties": False,
    },
)
OWN = (SEARCH, READ_ON, LIST_DOCUMENTS)


@dataclass(frozen=True, slots=True)
class Lookups:
    """What may be looked up for the people who will see the answer; each checks what they may read.

    `read_on` takes a source and gives what follows it; `recall` gives chunks by their ids.
    """

    search: Callable[[str], Awaitable[Sequence[Hit]]]
    read_on: Callable[[CitableSource], Awaitable[Sequence[Hit]]]
    list_documents: Callable[[str], Awaitable[Sequence[Hit]]]
    recall: Callable[[Sequence[str]], Awaitable[Sequence[Hit]]]


@dataclass(slots=True)
class Desk:
    """The tools of one answer, and the passages its model has seen, by their numbers."""

    lookups: Lookups | None
    toolbox: Toolbox | None
    fence: str
    passage_chars: int
    sources: list[CitableSource] = field(default_factory=list)
    used: list[Hit] = field(default_factory=list)  # what other servers' tools returned

    def see(self, hits: Sequence[Hit]) -> list[CitableSource]:
        """Number what `hits` add, as far as there is room."""
        room = self.passage_chars - sum(len(source.passage.text) for source in self.sources)
        added = pack(self.sources, hits, room)
        self.sources.extend(added)
        return added

    def tools(self, *, lookups: bool, external: bool) -> list[ToolSpec]:
        """What a model is offered now."""
        own = list(OWN) if lookups and self.lookups is not None else []
        return own + [self._spec(tool) for tool in self._external() if external]

    def is_external(self, name: str) -> bool:
        """Whether a call by that name leaves this installation."""
        return any(tool_name(tool) == name for tool in self._external())

    def describe(self, call: RequestedCall) -> str:
        """What a call looks for, for the people who wait."""
        for value in (call.arguments or {}).values():
            if isinstance(value, str) and call.name in {SEARCH.name, LIST_DOCUMENTS.name}:
                return value
        external = next((t for t in self._external() if tool_name(t) == call.name), None)
        if external is not None:
            return external.key
        source = self._source(call)
        return source.hit.title if source else call.name

    async def carry_out(
        self, state: AgentState, calls: Sequence[tuple[str, RequestedCall]], own: int, external: int
    ) -> list[str]:
        """The results of the calls of one turn, in order; what ended before is not done again.

        At most so many look-ups of our `own` and calls of `external` tools are made. Look-ups run
        side by side; calls of other servers one after the other, each approved.
        """
        records = [(state.begin(place, call), call) for place, call in calls]
        found: dict[int, Sequence[Hit] | str] = {}
        gate = asyncio.Semaphore(AT_ONCE)

        async def look(at: int, call: RequestedCall) -> None:
            async with gate:
                found[at] = await self._look_up(call)

        async with asyncio.TaskGroup() as tasks:
            for at, (record, call) in enumerate(records):
                if record.ended or self.is_external(call.name):
                    continue
                own -= 1
                if own < 0:
                    found[at] = CLOSED
                elif state.same(record) or any(
                    other.key == record.key for other, _ in records[:at]
                ):
                    found[at] = AGAIN
                else:
                    tasks.create_task(look(at, call))
        for at, (record, call) in enumerate(records):
            if not record.ended and self.is_external(call.name):
                external -= 1
                found[at] = await self._use(state, record, call) if external >= 0 else CLOSED
            record.begun = True
        return [
            record.result if record.ended else self._end(record, found[at])
            for at, (record, _) in enumerate(records)
        ]

    def _end(self, record: CallRecord, found: Sequence[Hit] | str) -> str:
        if isinstance(found, str):
            record.result = found
        else:
            added = self.see(found)
            record.chunks = [part.id for source in added for part in source.parts]
            shown = "\n\n".join(self.show(source) for source in added)
            if record.name == LIST_DOCUMENTS.name:
                titles = dict.fromkeys(hit.title for hit in found)
                shown = "\n".join([*(f"- {title}" for title in titles), "", shown]).strip()
            record.result = shown or NOTHING
        record.ended = True
        return record.result

    def show(self, source: CitableSource) -> str:
        """A passage between fences nobody can guess, under its number and headings."""
        fence = self.fence
        return f"<<<{fence} passage {source.n}: {head(source)}\n{source.passage.text}\n{fence}>>>"

    # One call

    async def _look_up(self, call: RequestedCall) -> Sequence[Hit] | str:
        spec = next((tool for tool in OWN if tool.name == call.name), None)
        if spec is None or self.lookups is None:
            names = ", ".join(tool.name for tool in self.tools(lookups=True, external=True))
            return f"There is no tool {call.name[:60]!r}. There are: {names}."
        if fault := invalid(spec.schema, call.arguments):
            return fault
        arguments = call.arguments or {}
        source = self._source(call)
        if spec is READ_ON and source is None:
            return f"There is no passage {arguments['passage']}."
        try:
            if source is not None:
                return await self.lookups.read_on(source)
            look = self.lookups.search if spec is SEARCH else self.lookups.list_documents
            return await look(str(arguments["query" if spec is SEARCH else "about"])[:300])
        except EngineError as error:
            return f"{error} Go on without it."

    async def _use(self, state: AgentState, record: CallRecord, call: RequestedCall) -> str:
        """What another server's tool said; a failure is something the model can continue from."""
        tool = next(tool for tool in self._external() if tool_name(tool) == call.name)
        if record.begun:  # it began before the loop was interrupted
            return UNCLEAR
        if state.same(record):
            return AGAIN
        if fault := invalid(tool.schema, call.arguments):
            return fault
        record.begun = True
        await state.kept()
        try:
            said = await self._approved(tool, call)
        except Unavailable as error:
            said = f"{error} Go on without it."
        record.said = said
        return self._take(tool.key, said)

    def _take(self, key: str, said: str) -> str:
        self.used.append(as_hit(len(self.used), key, said))
        added = self.see(self.used[-1:])
        return "\n\n".join(map(self.show, added)) or said

    async def restore(self, state: AgentState) -> bool:
        """Number again what an interrupted loop had seen; False where not all of it may be read now."""
        wanted = list(state.chunks)
        for record in state.calls.values():
            wanted += [chunk for chunk in record.chunks if not chunk.startswith("tool:")]
        hits = await self.lookups.recall(wanted) if self.lookups is not None and wanted else ()
        by_chunk = {passage.id: (hit, passage) for hit in hits for passage in hit.passages}
        if any(chunk not in by_chunk for chunk in wanted):
            return False
        self.sources = []
        self._number(state.chunks, by_chunk)
        keys = {tool_name(tool): tool.key for tool in self._external()}
        for record in state.calls.values():
            if record.said and record.name in keys:
                self._take(keys[record.name], record.said)
            else:
                self._number(record.chunks, by_chunk)
        return True

    def _number(self, chunks: Sequence[str], by_chunk: Mapping[str, tuple[Hit, Passage]]) -> None:
        """Give the same chunks the same numbers again: each block of them is one source."""
        grouped: dict[str, list[Passage]] = {}
        owners: dict[str, Hit] = {}
        for chunk in chunks:
            hit, passage = by_chunk[chunk]
            owners[hit.revision_id] = hit
            grouped.setdefault(hit.revision_id, []).append(passage)
        self.see([replace(owners[key], passages=tuple(found)) for key, found in grouped.items()])

    async def _approved(self, tool: ExternalTool, call: RequestedCall) -> str:
        if self.toolbox is None:
            raise Unavailable("No tools are connected.")
        return await self.toolbox.use(Wanted(tool.key, call.arguments))

    def _source(self, call: RequestedCall) -> CitableSource | None:
        number = (call.arguments or {}).get("passage")
        return next((source for source in self.sources if source.n == number), None)

    def _external(self) -> Sequence[ExternalTool]:
        return self.toolbox.tools if self.toolbox is not None else ()

    @staticmethod
    def _spec(tool: ExternalTool) -> ToolSpec:
        said = " ".join(tool.description.split())[:300]
        schema = dict(tool.schema) or {"type": "object", "properties": {}}
        return ToolSpec(tool_name(tool), said, schema)


def tool_name(tool: ExternalTool) -> str:
    """A tool's key as models may name it: letters, digits, _ and -."""
    return re.sub(r"[^A-Za-z0-9_-]", "_", f"{tool.server}__{tool.name}")[:64]


_TYPES: Mapping[str, tuple[type, ...]] = {
    "string": (str,), "integer": (int,), "number": (int, float), "boolean": (bool,),
    "array": (list,), "object": (dict,),
}  # fmt: skip


def invalid(schema: Mapping[str, Any], arguments: Mapping[str, Any] | None) -> str:
    """What is wrong with a call's arguments, for the model to mend; empty where nothing is."""
    if arguments is None:
        return "The arguments were not a JSON object."
    known = schema.get("properties", {})
    missing = [name for name in schema.get("required", []) if name not in arguments]
    if missing:
        return f"The arguments lack {', '.join(missing)}."
    if schema.get("additionalProperties") is False and (extra := arguments.keys() - known.keys()):
        return f"Unknown arguments: {', '.join(sorted(extra))}."
    for name, value in arguments.items():
        wanted = known.get(name, {}).get("type") if isinstance(known.get(name), Mapping) else None
        kinds = _TYPES.get(wanted, ()) if isinstance(wanted, str) else ()
        wrong_bool = isinstance(value, bool) and wanted in {"integer", "number"}
        if kinds and (wrong_bool or not isinstance(value, kinds)):
            return f"{name} must be of type {wanted}; it was {json.dumps(value)[:60]}."
    return ""
