"""A tool as this server publishes it: a scope, flat schemas, all four hints, plain results.

The SDK drops arguments it does not know, and dumps results indented. `run` here checks names,
bounds the time and builds the result; `server.py` turns exceptions into text, in one place.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection
from typing import TYPE_CHECKING, Any

from mcp.server.mcpserver import Context
from mcp.server.mcpserver.tools import Tool
from mcp_types import CallToolResult, ToolAnnotations

from mcp_server.apps import shown_with
from mcp_server.arguments import given
from mcp_server.call import current
from mcp_server.errors import CallTimedOut
from mcp_server.progress import reported
from mcp_server.render import result

if TYPE_CHECKING:
    from engine.domain import Scope

LONGEST_S = 25.0  # several clients give up a call after 30 or 60 s; longer work is a job

READ_ONLY = ToolAnnotations(
    read_only_hint=True, destructive_hint=False, idempotent_hint=True, open_world_hint=False
)
ADDING = ToolAnnotations(
    read_only_hint=False, destructive_hint=False, idempotent_hint=True, open_world_hint=True
)
DELETING = ToolAnnotations(
    read_only_hint=False, destructive_hint=True, idempotent_hint=True, open_world_hint=False
)


class KnowledgeTool(Tool):
    """A tool that returns an object. `scope` is what a credential needs to see and call it.

    `asks`: it asks an assistant, so a key that is bound to assistants has it, and no other.
    """

    scope: str
    asks: bool = False
    late: str = (
        "Try again; if it happens again, ask for less at once."  # what to do after a time-out
    )

    @classmethod
    def of(
        cls,
        function: Callable[..., Any],
        *,
        scope: Scope,
        title: str,
        description: str,
        hints: ToolAnnotations = READ_ONLY,
        late: str = "",
        card: str = "",
        asks: bool = False,
    ) -> KnowledgeTool:
        """The tool of a function; its name is the tool's. `card` shows its result where hosts can."""
        plain = Tool.from_function(
            function,
            title=title,
            description=description,
            annotations=hints,
            meta=shown_with(card) if card else None,
        )
        plain.parameters = slim(plain.parameters) | {"additionalProperties": False}
        metadata = plain.fn_metadata
        if metadata.output_schema is not None:
            metadata.output_schema = slim(metadata.output_schema, without=("required",))
        values: dict[str, Any] = {name: getattr(plain, name) for name in Tool.model_fields}
        if late:
            values["late"] = late
        return cls(**values, scope=str(scope), asks=asks)

    async def run(
        self,
        arguments: dict[str, Any],
        context: Context[Any, Any],
        convert_result: bool = False,
    ) -> CallToolResult:
        """Call the function within its time. The server reports its exceptions."""
        del convert_result  # the result is built here, in either case
        checked = self.fn_metadata.validate_arguments(
            given(self.name, arguments, list(self.parameters["properties"]))
        )
        call = current()
        call.text = next((v for v in checked.values() if isinstance(v, str)), "")
        try:
            async with asyncio.timeout(LONGEST_S), reported(context, lambda: call.doing):
                value = await self.fn(**checked)
        except TimeoutError:
            late = "Try again." if call.caller.only_asks else self.late
            raise CallTimedOut(
                f"{self.name} took longer than {LONGEST_S:.0f} s and was stopped. {late}"
            ) from None
        return result(value.model_dump(mode="json"))


def slim(schema: dict[str, Any], *, without: Collection[str] = ()) -> dict[str, Any]:
    """A schema without titles, with its definitions inlined; `without` names more to leave out.

    Some clients refuse references, and a model reads every byte. What results require is left out:
    every field is always there.
    """
    dropped = {"title", "$defs", *without}
    definitions = schema.get("$defs", {})

    def cleaned(node: Any) -> Any:  # noqa: ANN401 (JSON)
        if isinstance(node, list):
            return [cleaned(item) for item in node]
        if not isinstance(node, dict):
            return node
        if "$ref" in node:
            return cleaned(definitions[node["$ref"].rpartition("/")[2]])
        return {
            key: {name: cleaned(item) for name, item in value.items()}
            if key == "properties"
            else cleaned(value)
            for key, value in node.items()
            if key not in dropped
        }

    slimmed: dict[str, Any] = cleaned(schema)
    return slimmed
