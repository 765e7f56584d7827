"""Tool: calls a tool that a plugin brings."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from typing import Any

from pydantic import Field

from engine.answers.plugin_tools import SERVER
from engine.answers.toolbox import allowed, is_allowed
from engine.errors import Forbidden, NotFound, Unavailable
from engine.flow.component import ComponentParam, Inputs, Output
from engine.flow.context import RunContext
from engine.tools.calling import call_tool, check_arguments
from engine.tools.plugin_manager import FoundTool
from engine.workflows.component import (
    ANY,
    STRING,
    WorkflowComponent,
    WorkflowRun,
)
from engine.workflows.effects import EffectCall, MaybeDone
from engine.workflows.recipients import OUTSIDE, is_recipient, require_recipient

TEXT_MAX = 50_000  # characters of a result that a run keeps


class CallTool(WorkflowComponent):
    """Calls a tool of a plugin that the organisation allows, with arguments that fit it.

    A tool that only reads is called again after a lost worker; any other is called once, and a
    person is asked where nobody knows whether it was. `json` is the text read as JSON, where it is.
    """

    type = "Tool"
    aliases = ("tool", "ToolCall")
    effect = "write"
    literal = frozenset({"tool", "recipient"})
    output = {"text": STRING, "json": ANY, "outcome": STRING}  # noqa: RUF012 (a ClassVar of the base)
    timeout_s = 120.0

    class Param(ComponentParam):
        tool: str = Field(min_length=1, max_length=100)
        arguments: dict[str, Any] = Field(default_factory=dict, max_length=30)
        recipient: str = OUTSIDE
        call_timeout_s: float = Field(default=30.0, gt=0, le=100)

    param: Param

    @classmethod
    def faults_of(cls, param: Any) -> list[str]:  # noqa: ANN401
        """An unknown recipient."""
        if is_recipient(param.recipient):
            return []
        return ["param `recipient`: write outside, tenant or kb:<name>"]

    async def _work(self, context: RunContext[WorkflowRun], inputs: Inputs) -> Output:
        run, arguments = context.services, self.param.arguments
        found = await self._found(run)
        check_arguments(found, arguments)
        await require_recipient(run, list(self.sources), self.param.recipient)
        if found.metadata.effect == "read":
            text = await call_tool(found, arguments, timeout_s=self.param.call_timeout_s)
            return {**_read(text), "outcome": "done"}
        name = found.metadata.name
        call = EffectCall(
            path=context.path + self.id,
            kind="tool",
            target=name,
            summary=f"a call of {name}",
            repeatable=False,
        )

        async def do(_: str) -> Mapping[str, Any]:
            try:
                said = await call_tool(found, arguments, timeout_s=self.param.call_timeout_s)
            except Unavailable as error:  # it had begun
                raise MaybeDone(str(error)) from None
            return _read(said)

        ended = await run.effects.once(call, do, inputs.reply)
        return {"text": "", "json": None, **ended.result, "outcome": ended.how}

    async def _found(self, run: WorkflowRun) -> FoundTool:
        """The tool, where there is one that the organisation allows."""
        name = self.param.tool.removeprefix(f"{SERVER}/")
        async with run.services.db.read() as session:
            patterns = await allowed(session, run.principal)
        if not is_allowed(f"{SERVER}/{name}", patterns):
            raise Forbidden(
                f"component {self.id!r}: your organisation does not allow the tool {name!r}: an admin"
                f" allows {SERVER}/{name}."
            )
        manager, found = run.services.tools, None
        if manager is not None:
            found = await asyncio.to_thread(manager.get_llm_tool_by_name, name)
        if found is None:
            raise NotFound(f"component {self.id!r}: there is no tool {name!r}: install its plugin.")
        return found


def _read(text: str) -> dict[str, Any]:
    """A result as this component writes it."""
    text = text[:TEXT_MAX]
    try:
        value = json.loads(text) if text[:1] in "{[" else None
    except ValueError:
        value = None
    return {"text": text, "json": value}
