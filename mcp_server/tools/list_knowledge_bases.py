"""`list_knowledge_bases`: what there is to search."""

from __future__ import annotations

from typing import Annotated

from mcp.server.mcpserver import Context
from pydantic import BaseModel, Field

from mcp_server.caller import Door
from mcp_server.cursors import cursor_of, offset_of
from mcp_server.render import SEARCH_BUDGET, page_within
from mcp_server.tool import KnowledgeTool

PAGE = 100
DESCRIPTION_CHARS = 500


class KnowledgeBase(BaseModel):
    id: str
    name: str
    description: str
    documents: int
    updated_at: str


class KnowledgeBases(BaseModel):
    knowledge_bases: list[KnowledgeBase]
    next_cursor: str


DESCRIPTION = (
    "List the knowledge bases you may search, with what each is about and how many documents answer"
    " in it."
)


def build_list_knowledge_bases(door: Door) -> KnowledgeTool:
    """The tool behind `door`."""

    async def list_knowledge_bases(
        context: Context,
        cursor: Annotated[
            str, Field(max_length=500, description="next_cursor of the page before.")
        ] = "",
    ) -> KnowledgeBases:
        caller = await door.caller(context)
        offset = offset_of(caller.engine.secrets, cursor, "knowledge_bases")
        listed = [
            KnowledgeBase(
                id=kb.id,
                name=kb.name,
                description=kb.description[:DESCRIPTION_CHARS],
                documents=kb.document_count,
                updated_at=kb.updated_at.isoformat(timespec="seconds"),
            )
            for kb in (await caller.engine.list_kbs(caller.principal))[offset:]
        ]
        shown = listed[:PAGE]
        shown = shown[: page_within([kb.model_dump() for kb in shown], SEARCH_BUDGET)]
        more = len(listed) > len(shown)
        return KnowledgeBases(
            knowledge_bases=shown,
            next_cursor=cursor_of(caller.engine.secrets, offset + len(shown), "knowledge_bases")
            if more
            else "",
        )

    return KnowledgeTool.reading(
        list_knowledge_bases, title="List the knowledge bases", description=DESCRIPTION
    )
