"""`list_documents`: the documents of a knowledge base, with their status."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, Field

from engine.domain import Scope
from mcp_server.call import current
from mcp_server.cursors import cursor_of, position_of
from mcp_server.render import SEARCH_BUDGET, page_within
from mcp_server.tool import KnowledgeTool

PAGE = 50
Status = Literal["any", "pending", "running", "ready", "failed", "cancelled"]


class ListedDocument(BaseModel):
    id: str
    title: str
    url: str
    status: str
    updated_at: str
    error: str


class DocumentList(BaseModel):
    documents: list[ListedDocument]
    next_cursor: str
    notice: str


DESCRIPTION = (
    "List documents, newest first, with their status; fetch takes the id of a ready one. To "
    "search by content, use search."
)


async def list_documents(
    knowledge_base: Annotated[
        str, Field(max_length=200, description="Name or id; empty: all.")
    ] = "",
    status: Annotated[Status, Field(description="Only documents in this state.")] = "any",
    cursor: Annotated[str, Field(max_length=500, description="next_cursor of the last page.")] = "",
) -> DocumentList:
    """A page of documents, within its budget."""
    call = current()
    caller = call.caller
    after = position_of(caller, cursor, "documents", knowledge_base, status)
    page = await caller.engine.documents.page(
        caller.principal,
        knowledge_base,
        state="" if status == "any" else status,
        hidden=False,  # fetch would not find them
        limit=PAGE,
        cursor=after,
    )
    listed = [
        ListedDocument(
            id=document.id,
            title=document.title,
            url=caller.links.url(document.url, document.id),
            status=document.state,
            updated_at=(document.source_updated_at or document.updated_at).isoformat(
                timespec="seconds"
            ),
            error=document.error,
        )
        for document in page.documents
    ]
    shown = listed[: page_within([item.model_dump() for item in listed], SEARCH_BUDGET)]
    call.kb_ids = sorted({document.kb_id for document in page.documents})
    call.results = len(shown)
    more = bool(page.next_cursor) or len(shown) < len(listed)
    following = cursor_of(caller, shown[-1].id, "documents", knowledge_base, status) if more else ""
    notice = "" if shown else _nothing(knowledge_base, status, more=bool(after))
    return DocumentList(documents=shown, next_cursor=following, notice=notice)


def _nothing(knowledge_base: str, status: str, *, more: bool) -> str:
    if more:
        return "No more documents."
    where = "this knowledge base" if knowledge_base else "what you may read"
    which = "No document" if status == "any" else f"No {status} document"
    return f"{which} in {where}. list_knowledge_bases shows what is available."


def build_list_documents() -> KnowledgeTool:
    """The tool `list_documents`."""
    return KnowledgeTool.of(
        list_documents, scope=Scope.KB_READ, title="List documents", description=DESCRIPTION
    )
