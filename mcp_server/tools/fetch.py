"""`fetch`: a page of a document's text."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from pydantic import BaseModel, Field

from engine.domain import Scope
from mcp_server.call import current
from mcp_server.caller import McpCaller
from mcp_server.render import FETCH_BUDGET, fit
from mcp_server.tool import KnowledgeTool

if TYPE_CHECKING:
    from engine.search.pages import Page

CHANGED = "This passage has changed since it was found; this is the present document."


class PageMetadata(BaseModel):
    document_id: str
    knowledge_base: str
    updated_at: str
    next_id: str
    notice: str


class FetchedPage(BaseModel):
    id: str
    title: str
    text: str
    url: str
    metadata: PageMetadata


DESCRIPTION = (
    "Read a document's text, from the passage an id names. Long documents come in pages: fetch"
    " metadata.next_id for the one after this."
)

Id = Annotated[
    str,
    Field(
        min_length=1,
        max_length=200,
        description="Id of a search result, citation or document, or a next_id.",
    ),
]


async def fetch(id: Id) -> FetchedPage:  # noqa: A002 (the field's word, and ChatGPT's)
    """The page an id leads to, within its budget."""
    call = current()
    call.doing = "Reading"
    page = await call.caller.engine.search.fetch(call.caller.principal, id)
    call.kb_ids, call.results = [page.kb_id], 1
    return _fetched(call.caller, page)


def _fetched(caller: McpCaller, page: Page) -> FetchedPage:
    text = page.text[: fit(page.text, FETCH_BUDGET)]
    cut = len(text) < len(page.text)
    return FetchedPage(
        id=page.id,
        title=page.title,
        text=text,
        url=caller.links.url(page.url, page.id),
        metadata=PageMetadata(
            document_id=page.document_id,
            knowledge_base=page.kb_name,
            updated_at=page.updated_at.isoformat(timespec="seconds") if page.updated_at else "",
            next_id=f"{page.document_id}~{page.start + len(text)}" if cut else page.next_id,
            notice=CHANGED if page.changed else "",
        ),
    )


def build_fetch() -> KnowledgeTool:
    """The tool `fetch`."""
    return KnowledgeTool.of(
        fetch, scope=Scope.KB_READ, title="Read a document", description=DESCRIPTION
    )
