"""The tools, one module each, in the order they are published."""

from __future__ import annotations

from mcp_server.caller import Door
from mcp_server.tool import KnowledgeTool
from mcp_server.tools.ask import build_ask
from mcp_server.tools.fetch import build_fetch
from mcp_server.tools.list_knowledge_bases import build_list_knowledge_bases
from mcp_server.tools.search import build_search

BUILDERS = (
    build_search,
    build_fetch,
    build_ask,
    build_list_knowledge_bases,
)


def build_tools(door: Door) -> list[KnowledgeTool]:
    """Every tool of this server."""
    return [build(door) for build in BUILDERS]
