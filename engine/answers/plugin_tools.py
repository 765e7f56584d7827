"""Tools of plugins among those an answer may use, beside those of other servers."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from engine.answers.toolbox import RESULT_CHARS, ExternalTool, ExternalTools
from engine.errors import NotFound
from engine.tools.calling import call_tool
from engine.tools.plugin_manager import FoundTool, PluginManager

SERVER = "plugin"  # what stands before their names: plugin/weather


def external_of(found: FoundTool) -> ExternalTool:
    """A tool of a plugin as answers and tenants name it."""
    said = found.metadata
    return ExternalTool(SERVER, said.name, said.description, said.schema_of_arguments())


class PluginTools:
    """The tools of plugins, and of `others` where there are some."""

    def __init__(self, manager: PluginManager, others: ExternalTools | None = None) -> None:
        self._manager, self._others = manager, others

    async def list_tools(self) -> Sequence[ExternalTool]:
        """Those of plugins first; they are read again where the operator asked for it."""
        found = await asyncio.to_thread(self._manager.get_llm_tools)
        others = [] if self._others is None else await self._others.list_tools()
        return [*map(external_of, found), *others]

    async def call(self, tool: ExternalTool, arguments: Mapping[str, Any]) -> str:
        """The text of its result."""
        if tool.server != SERVER and self._others is not None:
            return await self._others.call(tool, arguments)
        found = await asyncio.to_thread(self._manager.get_llm_tool_by_name, tool.name)
        if found is None:
            raise NotFound(f"No tool {tool.key}.")
        return (await call_tool(found, arguments))[:RESULT_CHARS]
