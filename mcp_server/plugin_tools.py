"""Tools of plugins as MCP tools: what the operator turns on and the caller's organisation allows.

They are looked up at each request, so that a plugin that was read again is there at once.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from mcp_types import CallToolResult, TextContent, ToolAnnotations
from mcp_types import Tool as ListedTool

from mcp_server.arguments import given
from mcp_server.caller import McpCaller
from mcp_server.render import FETCH_BUDGET, fit
from mcp_server.tool import LONGEST_S

if TYPE_CHECKING:
    from engine.tools.plugin_manager import FoundTool

PREFIX = "plugin_"  # of their names here: no tool of ours begins with it
PLUGIN_TOOL = re.compile(rf"{PREFIX}[a-z][a-z0-9_-]{{0,59}}")
SCOPE = "kb:ask"


async def published(caller: McpCaller) -> dict[str, FoundTool]:
    """The tools that this caller may call, by their names here."""
    from engine.answers.plugin_tools import SERVER  # noqa: PLC0415 (loaded with the engine by now)
    from engine.answers.toolbox import is_allowed  # noqa: PLC0415 (the same)

    if SCOPE not in caller.principal.scopes or caller.only_asks:
        return {}
    patterns = await caller.engine.answers.allowed_tools(caller.principal)
    found = await asyncio.to_thread(caller.engine.tools.get_llm_tools) if patterns else []
    return {
        PREFIX + item.metadata.name: item
        for item in found
        if is_allowed(f"{SERVER}/{item.metadata.name}", patterns)
    }


def listed(name: str, found: FoundTool) -> ListedTool:
    """A tool as clients see it."""
    said = found.metadata
    reads = said.effect == "read"
    return ListedTool(
        name=name,
        title=said.displayName or said.name,
        description=said.description,
        input_schema=said.schema_of_arguments(),
        annotations=ToolAnnotations(
            read_only_hint=reads,
            destructive_hint=not reads,
            idempotent_hint=reads,
            open_world_hint=True,
        ),
    )


async def call(name: str, found: FoundTool, arguments: Mapping[str, Any]) -> CallToolResult:
    """What the tool says, cut to what a client reads."""
    from engine.tools.calling import call_tool  # noqa: PLC0415 (loaded with the engine by now)

    checked = given(name, arguments, list(found.metadata.parameters))
    text = await call_tool(found, checked, timeout_s=LONGEST_S)
    cut = text[: fit(text, FETCH_BUDGET)]
    return CallToolResult(content=[TextContent(type="text", text=cut)])
