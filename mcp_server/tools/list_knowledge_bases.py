"""`list_knowledge_bases`: what there is to search."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, Field

from engine.domain import Scope
from mcp_server.call import current
from mcp_server.cursors import cursor_of, position_of
from mcp_server.render import SEARCH_BUDGET, page_within
from mcp_server.tool import KnowledgeTool

PAGE = 100
DESCRIPTION_CHARS = 500


class ListedKnowledgeBase(BaseModel):
    id: str
    name: str
    description: str
    documents: int
    updated_at: str


class KnowledgeBaseList(BaseModel):
    knowledge_bases: list[ListedKnowledgeBase]
    next_cursor: str


DESCRIPTION = (
    "List the knowledge bases you may search, with their descriptions and numbers of documents."
)


async def list_knowledge_bases(
    cursor: Annotated[str, Field(max_length=500, description="next_cursor of the last page.")] = "",
) -> KnowledgeBaseList:
    """A page of knowledge bases, by name."""
    call = current()
    caller = call.caller
    offset = int(position_of(caller, cursor, "knowledge_bases") or 0)
    listed = [
        ListedKnowledgeBase(
            id=kb.id,
            name=kb.name,
            description=kb.description[:DESCRIPTION_CHARS],
            documents=kb.document_count,
            updated_at=kb.updated_at.isoformat(timespec="seconds"),
        )
        for kb in (await caller.engine.knowledge_bases.list_readable(caller.principal))[offset:]
    ]
    shown = listed[:PAGE]
    shown = shown[: page_within([kb.model_dump() for kb in shown], SEARCH_BUDGET)]
    call.kb_ids, call.results = [kb.id for kb in shown], len(shown)
    more = len(listed) > len(shown)
    return KnowledgeBaseList(
        knowledge_bases=shown,
        next_cursor=cursor_of(caller, offset + len(shown), "knowledge_bases") if more else "",
    )


def build_list_knowledge_bases() -> KnowledgeTool:
    """The tool `list_knowledge_bases`."""
    return KnowledgeTool.of(
        list_knowledge_bases,
        scope=Scope.KB_READ,
        title="List the knowledge bases",
        description=DESCRIPTION,
    )
