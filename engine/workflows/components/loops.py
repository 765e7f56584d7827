"""Iteration and Loop: the flow inside them for each item, or until a condition holds."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field

from engine.errors import EngineError, InvalidInput
from engine.flow.component import ComponentParam, Inputs, Output, Pause
from engine.flow.context import RunContext
from engine.flow.execution import RunResult
from engine.flow.handling import may_be_handled
from engine.flow.references import ABSENT, Path, find_references, resolve, walk
from engine.flow.run import run_subgraph
from engine.flow.store import NodeState
from engine.workflows.component import (
    ANY,
    INTEGER,
    OBJECT,
    OBJECTS,
    SOURCES,
    STRING,
    WorkflowComponent,
    WorkflowRun,
)
from engine.workflows.components.conditions import Conditions

ITEMS_MAX = 500
ROUNDS_MAX = 100


class _Body(WorkflowComponent):
    """A component with a flow inside. `inputs` are what the flow sees of the outer one."""

    literal = frozenset({"body", "next", "until"})

    @classmethod
    def subflow_of(cls, param: Any) -> Mapping[str, Any] | None:  # noqa: ANN401
        """Its body."""
        body: Mapping[str, Any] = param.body
        return body

    async def _round(
        self, context: RunContext[WorkflowRun], label: str, scope: Mapping[str, Any]
    ) -> RunResult:
        """Run the body once; what it rests on is what the whole rests on, too."""
        outer = list(self.sources)
        result = await run_subgraph(
            context, self, input={}, label=label, scope={**scope, SOURCES: outer}
        )
        for record in result.nodes.values():
            self.rest_on(record.output.get(SOURCES, ()))
        return result


def shown(output: Mapping[str, Any]) -> Any:  # noqa: ANN401 (JSON)
    """An output without what is not for reading; the one value of an output that has one."""
    found = {
        key: shown(value) if isinstance(value, Mapping) else value
        for key, value in output.items()
        if not key.startswith("_")
    }
    return next(iter(found.values())) if len(found) == 1 else found


class Iteration(_Body):
    """Runs the flow inside it once for each item of a list: `{{item}}`, `{{index}}`."""

    type = "Iteration"
    aliases = ("iteration",)
    output = {"results": {"type": "array"}, "errors": OBJECTS, "count": INTEGER}  # noqa: RUF012
    timeout_s = 3_600.0

    class Param(ComponentParam):
        list_: list[Any] | str = Field(alias="list")
        body: dict[str, Any]
        inputs: dict[str, Any] = Field(default_factory=dict)
        concurrency: int = Field(default=1, ge=1, le=8)
        on_item_error: Literal["fail", "skip", "null"] = "fail"
        max_items: int = Field(default=ITEMS_MAX, ge=1, le=5_000)

    param: Param

    @classmethod
    def roots_of(cls, param: Any) -> Mapping[str, frozenset[str] | None]:  # noqa: ANN401
        """What its body may refer to."""
        return {"item": None, "index": None, "inputs": frozenset(param.inputs)}

    async def _work(self, context: RunContext[WorkflowRun], inputs: Inputs) -> Output:
        items = self.param.list_
        if not isinstance(items, list):
            raise InvalidInput(f"component {self.id!r}: `list` is no list.", field="list")
        if len(items) > self.param.max_items:
            raise InvalidInput(
                f"component {self.id!r}: the list has {len(items):,} items, more than "
                f"{self.param.max_items:,}: raise `max_items`, or shorten it.",
                field="list",
            )
        slots = asyncio.Semaphore(self.param.concurrency)
        results: list[Any] = [None] * len(items)
        failed: dict[int, str] = {}
        pauses: dict[str, str] = {}

        async def one(index: int) -> None:
            async with slots:
                scope = {"item": items[index], "index": index, "inputs": self.param.inputs}
                try:
                    results[index] = shown((await self._round(context, str(index), scope)).output)
                except Pause as pause:
                    pauses.update(pause.inner)
                except EngineError as error:
                    if self.param.on_item_error == "fail" or not may_be_handled(error):
                        raise
                    failed[index] = str(error)

        await _all(one, len(items))
        if pauses:
            raise Pause("; ".join(pauses.values()), inner=pauses)
        kept = [
            result
            for index, result in enumerate(results)
            if index not in failed or self.param.on_item_error == "null"
        ]
        errors = [{"index": index, "error": failed[index]} for index in sorted(failed)]
        return {"results": kept, "errors": errors, "count": len(items)}


async def _all(one: Any, count: int) -> None:  # noqa: ANN401
    """Run `one` for every index; the first failure stops the others and is raised as it is."""
    try:
        async with asyncio.TaskGroup() as group:
            for index in range(count):
                group.create_task(one(index))
    except* EngineError as failures:
        error: BaseException = failures
        while isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
        raise error from None


class Loop(_Body):
    """Runs the flow inside it again until a condition holds after a round, or a number of rounds.

    The body sees the loop's variables as `{{inputs.name}}`; `next` says what each becomes, by
    references into the body.
    """

    type = "Loop"
    aliases = ("loop",)
    output = {"last": ANY, "vars": OBJECT, "rounds": INTEGER, "reason": STRING}  # noqa: RUF012
    timeout_s = 3_600.0

    class Param(ComponentParam):
        variables: dict[str, Any] = Field(default_factory=dict, alias="vars")
        body: dict[str, Any]
        next: dict[str, Any] = Field(default_factory=dict)
        until: Conditions | None = None
        max_rounds: int = Field(default=10, ge=1, le=ROUNDS_MAX)

    param: Param

    @classmethod
    def roots_of(cls, param: Any) -> Mapping[str, frozenset[str] | None]:  # noqa: ANN401
        """What its body may refer to."""
        return {"round": None, "inputs": frozenset(param.variables)}

    @classmethod
    def faults_of(cls, param: Any) -> list[str]:  # noqa: ANN401
        """`next` of no variable, and references of `next` and `until` into no body's component."""
        faults = [
            f"param `next`: there is no variable {name!r}"
            for name in sorted(param.next.keys() - param.variables.keys())
        ]
        ids = {
            item.get("id") for item in param.body.get("components", ()) if isinstance(item, dict)
        }
        after = {"next": param.next}
        if param.until is not None:
            after["until"] = param.until.model_dump(mode="json", exclude_unset=True)
        for found in find_references(after):
            known = found.paths and all(p.root in ids | {"inputs", "round"} for p in found.paths)
            if not known:
                faults.append(
                    f"param `{found.field}`: `{{{{{found.text}}}}}` names no component of the body"
                )
        return faults

    async def _work(self, context: RunContext[WorkflowRun], inputs: Inputs) -> Output:
        variables = dict(self.param.variables)
        last: Any = None
        for number in range(self.param.max_rounds):
            scope = {"round": number, "inputs": variables}
            result = await self._round(context, str(number), scope)
            last = shown(result.output)
            look_up = _after(result, scope)
            variables |= {
                name: None if (value := resolve(to, look_up)) is ABSENT else value
                for name, to in self.param.next.items()
            }
            if self.param.until is not None:
                written = self.param.until.model_dump(mode="json", exclude_unset=True)
                look_up = _after(result, {"round": number, "inputs": variables})
                if Conditions.model_validate(resolve(written, look_up)).hold():
                    return self._end(last, variables, number + 1, "until")
        return self._end(last, variables, self.param.max_rounds, "max_rounds")

    def _end(self, last: Any, variables: dict[str, Any], rounds: int, reason: str) -> Output:  # noqa: ANN401
        return {"last": last, "vars": variables, "rounds": rounds, "reason": reason}


def _after(result: RunResult, scope: Mapping[str, Any]) -> Any:  # noqa: ANN401 (a lookup)
    """What references mean once a round has ended."""

    def look_up(path: Path) -> Any:  # noqa: ANN401 (JSON)
        if path.root in scope:
            return walk(scope[path.root], path.steps)
        record = result.nodes.get(path.root)
        if record is None or record.state is not NodeState.DONE:
            return ABSENT
        return walk(dict(record.output), path.steps)

    return look_up
