"""The tools, one module each, in the order they are published."""

from __future__ import annotations

from mcp_server.caller import Profile
from mcp_server.tool import KnowledgeTool
from mcp_server.tools.add_document import build_add_document
from mcp_server.tools.ask import build_ask
from mcp_server.tools.chatgpt import build_chatgpt_fetch, build_chatgpt_search
from mcp_server.tools.delete_document import build_delete_document
from mcp_server.tools.fetch import build_fetch
from mcp_server.tools.get_ingestion import build_get_ingestion
from mcp_server.tools.get_statistics import build_get_statistics
from mcp_server.tools.list_documents import build_list_documents
from mcp_server.tools.list_knowledge_bases import build_list_knowledge_bases
from mcp_server.tools.run_workflow import build_run_workflow
from mcp_server.tools.search import build_search

READING = (
    build_search,
    build_fetch,
    build_ask,
    build_list_knowledge_bases,
    build_list_documents,
    build_get_ingestion,
    build_run_workflow,
)
WRITING = (
    build_add_document,
    build_delete_document,
)
INSIGHT = (build_get_statistics,)
CHATGPT = (
    build_chatgpt_search,
    build_chatgpt_fetch,
)


def build_tools(
    profile: Profile = "full", *, write_tools: bool = False, statistics: bool = False
) -> list[KnowledgeTool]:
    """The tools of a profile.

    Tools that change something only if `write_tools` is set, numbers only if `statistics` is.
    """
    if profile == "chatgpt":
        return [build() for build in CHATGPT]
    builds = (*READING, *(WRITING if write_tools else ()), *(INSIGHT if statistics else ()))
    return [build() for build in builds]
