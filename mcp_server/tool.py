"""A tool as this server publishes it: flat schemas, all hints, errors to act on.

The SDK drops arguments it does not know, tells of wrong ones in pydantic's words and prefixes every
failure. A model gets further with the names that are allowed, so `run` is ours.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from mcp.server.mcpserver import Context
from mcp.server.mcpserver.tools import Tool
from mcp.shared.exceptions import MCPError
from mcp_types import CallToolResult, ToolAnnotations
from pydantic import ValidationError

from engine.errors import EngineError, InvalidInput
from engine.telemetry import correlated, correlation_id
from mcp_server.errors import code_of, error_text
from mcp_server.render import failure, result

log = logging.getLogger(__name__)

READ_ONLY = ToolAnnotations(
    read_only_hint=True, destructive_hint=False, idempotent_hint=True, open_world_hint=False
)


class KnowledgeTool(Tool):
    """A read-only tool that returns an object."""

    @classmethod
    def reading(
        cls, function: Callable[..., Any], *, title: str, description: str
    ) -> KnowledgeTool:
        """The tool of a function; its name is the tool's."""
        tool = cls.from_function(
            function, title=title, description=description, annotations=READ_ONLY
        )
        tool.parameters = slim(tool.parameters) | {"additionalProperties": False}
        metadata = tool.fn_metadata
        if metadata.output_schema is not None:
            metadata.output_schema = slim(metadata.output_schema)
        assert isinstance(tool, KnowledgeTool)  # noqa: S101 (from_function builds a `cls`)
        return tool

    async def run(
        self,
        arguments: dict[str, Any],
        context: Context[Any, Any],
        convert_result: bool = False,
    ) -> CallToolResult:
        """Call the function; every failure is a result the model can read."""
        del convert_result  # the result is built here, in either case
        names = list(self.parameters["properties"])
        with correlated(correlation_id()) as incident:
            try:
                value = await self._called(arguments, context, names)
            except MCPError:
                raise
            except Exception as error:
                if not isinstance(error, EngineError | ValidationError):
                    log.exception("a tool failed", extra={"tool": self.name})
                text = error_text(error, arguments=names, tool=self.name, incident=incident)
                return failure(text, code=code_of(error), incident=incident)
        return result(value)

    async def _called(
        self, arguments: dict[str, Any], context: Context[Any, Any], names: list[str]
    ) -> dict[str, Any]:
        unknown = sorted(set(arguments) - set(names))
        if unknown:
            raise InvalidInput(
                f"Unknown argument {', '.join(name[:40] for name in unknown)}."
                f" {self.name} takes: {', '.join(sorted(names))}.",
                field=unknown[0],
            )
        checked = self.fn_metadata.validate_arguments(arguments)
        assert self.context_kwarg is not None  # noqa: S101 (every tool of ours needs its caller)
        value = await self.fn(**checked, **{self.context_kwarg: context})
        dumped: dict[str, Any] = value.model_dump(mode="json")
        return dumped


def slim(schema: dict[str, Any]) -> dict[str, Any]:
    """A schema without titles, and with its definitions where they are used.

    Some clients refuse references, and a model reads every byte.
    """
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
            if key not in {"title", "$defs"}
        }

    slimmed: dict[str, Any] = cleaned(schema)
    return slimmed
