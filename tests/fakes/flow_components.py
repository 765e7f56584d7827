"""Small components for tests of the flow engine, and a short way to write a DSL."""

from __future__ import annotations

import asyncio
from itertools import pairwise
from typing import Any

from pydantic import Field

from engine.flow.component import (
    Assigns,
    Component,
    ComponentParam,
    Fired,
    Inputs,
    Output,
    Pause,
)
from engine.flow.context import RunContext, RunIds
from engine.flow.run import run_subgraph


class Desk:
    """The services of these tests: which components ran, and events they wait for and set."""

    def __init__(self) -> None:
        self.ran: list[str] = []
        self.begun: dict[str, asyncio.Event] = {}
        self.broken: set[str] = set()
        self.failures: list[Exception] = []
        self.contexts: list[RunContext[Desk]] = []

    def event(self, name: str) -> asyncio.Event:
        return self.begun.setdefault(name, asyncio.Event())


class Note(Component[Desk]):
    """Remembers that it ran and lists whose output it sees."""

    type = "Note"
    writes = frozenset({"seen"})

    async def _invoke(self, context: RunContext[Desk], inputs: Inputs) -> Output:
        context.services.ran.append(self.id)
        context.services.contexts.append(context)
        return {"seen": sorted(i for i in inputs.by_id if i != "$input")}


class Cheap(Note):
    type = "Cheap"
    checkpoint = False


class Precious(Note):
    type = "Precious"
    checkpoint_now = True


class Write(Component[Desk]):
    """Writes `value` under `key`."""

    type = "Write"

    class Param(ComponentParam):
        key: str = "text"
        value: Any = None

    param: Param

    @classmethod
    def writes_of(cls, param: Any) -> frozenset[str]:
        return frozenset({param.key})

    async def _invoke(self, context: RunContext[Desk], inputs: Inputs) -> Output:
        context.services.ran.append(self.id)
        self.set_output(self.param.key, self.param.value)
        return None


class Upper(Component[Desk]):
    """Reads a text and writes it in capitals, in place."""

    type = "Upper"
    reads = frozenset({"text"})
    optional = frozenset({"title"})
    writes = frozenset({"text"})

    class Param(ComponentParam):
        suffix: str = Field(default="", max_length=3)
        token: str = ""

    param: Param

    async def _invoke(self, context: RunContext[Desk], inputs: Inputs) -> Output:
        context.services.ran.append(self.id)
        return {"text": inputs["text"].upper() + self.param.suffix}


class ById(Component[Desk]):
    type = "ById"
    reads = frozenset({"text"})
    reads_by_id = True
    writes = frozenset({"texts"})

    async def _invoke(self, context: RunContext[Desk], inputs: Inputs) -> Output:
        return {"texts": {i: inputs.by_id[i]["text"] for i in inputs.upstream}}


class Meet(Component[Desk]):
    """Says that it has begun and waits for the others named."""

    type = "Meet"
    writes = frozenset({"met"})

    class Param(ComponentParam):
        waits_for: tuple[str, ...] = ()

    param: Param

    async def _invoke(self, context: RunContext[Desk], inputs: Inputs) -> Output:
        context.services.ran.append(self.id)
        context.services.event(self.id).set()
        for name in self.param.waits_for:
            await asyncio.wait_for(context.services.event(name).wait(), 60)
        return {"met": list(self.param.waits_for)}


class Stuck(Component[Desk]):
    type = "Stuck"

    async def _invoke(self, context: RunContext[Desk], inputs: Inputs) -> Output:
        context.services.event(self.id).set()
        await asyncio.Event().wait()
        return None


class Fragile(Note):
    """Fails while its id is in `services.broken`."""

    type = "Fragile"

    class Param(ComponentParam):
        error: str = "RuntimeError"

    async def _invoke(self, context: RunContext[Desk], inputs: Inputs) -> Output:
        if self.id in context.services.broken:
            context.progress(self.id, 0.4, "so far so good")
            raise RuntimeError("secret detail")
        return await super()._invoke(context, inputs)


class Switch(Component[Desk]):
    type = "Switch"
    writes = frozenset({"chose"})

    class Param(ComponentParam):
        to: tuple[str, ...] = ()

    param: Param

    async def _invoke(self, context: RunContext[Desk], inputs: Inputs) -> Output:
        context.services.ran.append(self.id)
        return Fired({"chose": list(self.param.to)}, targets=self.param.to)


class AskPerson(Component[Desk]):
    type = "AskPerson"
    writes = frozenset({"answer", "asked"})

    async def _invoke(self, context: RunContext[Desk], inputs: Inputs) -> Output:
        context.services.ran.append(self.id)
        if inputs.reply is None:
            raise Pause("Which year?", saved={"asked": 1})
        return {"answer": inputs.reply["text"], "asked": (inputs.saved or {})["asked"]}


class Loop(Component[Desk]):
    """Runs the flow inside it once per item."""

    type = "Loop"
    reads = frozenset({"items"})
    writes = frozenset({"results"})
    subflow_inputs = frozenset({"text"})

    class Param(ComponentParam):
        body: dict[str, Any]

    @classmethod
    def subflow_of(cls, param: Any) -> dict[str, Any]:
        body: dict[str, Any] = param.body
        return body

    async def _invoke(self, context: RunContext[Desk], inputs: Inputs) -> Output:
        results = [
            await run_subgraph(context, self, input={"text": item}, label=str(n))
            for n, item in enumerate(inputs["items"])
        ]
        return {"results": [result.output["text"] for result in results]}


class Say(Component[Desk]):
    """Writes what its parameters hold once their references are resolved."""

    type = "Say"
    takes_references = True
    literal = frozenset({"source"})
    secret = frozenset({"auth"})
    writes = frozenset({"text", "number"})

    class Param(ComponentParam):
        text: Any = None
        number: int | str = 0
        source: str = ""
        auth: str = ""

    param: Param

    async def _invoke(self, context: RunContext[Desk], inputs: Inputs) -> Output:
        context.services.ran.append(context.path + self.id)
        return {"text": self.param.text, "number": self.param.number}


class Flaky(Component[Desk]):
    """Fails as often as `services.failures` says, with that error each time."""

    type = "Flaky"
    writes = frozenset({"text"})

    async def _invoke(self, context: RunContext[Desk], inputs: Inputs) -> Output:
        context.services.ran.append(context.path + self.id)
        if context.services.failures:
            raise context.services.failures.pop(0)
        return {"text": "fine"}


class Paid(Component[Desk]):
    """Costs money: what it wrote is kept at once."""

    type = "Paid"
    effect = "paid"
    writes = frozenset({"bought"})

    async def _invoke(self, context: RunContext[Desk], inputs: Inputs) -> Output:
        context.services.ran.append(context.path + self.id)
        return {"bought": len(context.services.ran)}


class Choose(Component[Desk]):
    """Goes to one of the components it may go to."""

    type = "Choose"
    takes_references = True
    writes = frozenset({"chose"})

    class Param(ComponentParam):
        to: str
        others: tuple[str, ...] = ()

    param: Param

    @classmethod
    def fires_of(cls, param: Any) -> frozenset[str]:
        return frozenset({param.to, *param.others})

    async def _invoke(self, context: RunContext[Desk], inputs: Inputs) -> Output:
        return Fired({"chose": self.param.to}, targets=(self.param.to,))


class Keep(Component[Desk]):
    """Sets or increments a variable of the run."""

    type = "Keep"
    takes_references = True
    writes = frozenset({"operand"})

    class Param(ComponentParam):
        name: str
        add: bool = False
        value: Any = 1

    param: Param

    @classmethod
    def assigns_of(cls, param: Any) -> Assigns:
        def apply(before: Any, operand: Any) -> Any:
            return (before or 0) + operand if param.add else operand

        return Assigns(param.name, apply, commutes=param.add)

    async def _invoke(self, context: RunContext[Desk], inputs: Inputs) -> Output:
        return {"operand": self.param.value}


class Each(Component[Desk]):
    """Runs the flow inside it once per item, which its references know as `item`."""

    type = "Each"
    takes_references = True
    literal = frozenset({"body"})
    writes = frozenset({"results"})

    class Param(ComponentParam):
        items: Any
        body: dict[str, Any]

    param: Param

    @classmethod
    def subflow_of(cls, param: Any) -> dict[str, Any]:
        body: dict[str, Any] = param.body
        return body

    @classmethod
    def roots_of(cls, param: Any) -> dict[str, None]:
        return {"item": None}

    async def _invoke(self, context: RunContext[Desk], inputs: Inputs) -> Output:
        results = []
        for n, item in enumerate(self.param.items):
            result = await run_subgraph(context, self, input={}, label=str(n), scope={"item": item})
            results.append(dict(result.output))
        return {"results": results}


COMPONENTS = (
    AskPerson,
    ById,
    Cheap,
    Choose,
    Each,
    Flaky,
    Fragile,
    Keep,
    Loop,
    Meet,
    Note,
    Paid,
    Precious,
    Say,
    Stuck,
    Switch,
    Upper,
    Write,
)

IDS = RunIds(
    tenant_id="t1",
    flow_id="flow1",
    run_id="run1",
    kb_id="kb1",
    document_id="doc1",
    job_id="job1",
    correlation_id="corr1",
)


def flow(*lines: str, **nodes: Any) -> dict[str, Any]:
    """A DSL: nodes as id=Type or id=(Type, param), edges as "a > b > c"."""
    components = []
    for node_id, spec in nodes.items():
        type_name, param = spec if isinstance(spec, tuple) else (spec, {})
        components.append({"id": node_id, "type": type_name, "param": param})
    edges = []
    for line in lines:
        names = [name.strip() for name in line.split(">")]
        edges += [{"source": a, "target": b} for a, b in pairwise(names)]
    return {"components": components, "edges": edges}
