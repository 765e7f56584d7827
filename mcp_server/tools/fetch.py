"""`fetch`: a page of a document's text."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from pydantic import BaseModel, Field

from engine.domain import Scope
from mcp_server.call import current
from mcp_server.caller import McpCaller
from mcp_server.render import ENVELOPE, FETCH_BUDGET, fit
from mcp_server.tokens import count_tokens
from mcp_server.tool import KnowledgeTool

if TYPE_CHECKING:
    from engine.search.pages import Page

CHANGED = "This passage has changed since it was found; this is the present document."


class PageMetadata(BaseModel):
    document_id: str
    knowledge_base: str
    updated_at: str
    next_id: str
    prev_id: str
    notice: str


class FetchedPage(BaseModel):
    id: str
    title: str
    text: str
    url: str
    metadata: PageMetadata


DESCRIPTION = (
    "Read a document's text, from the passage an id or url names. Long documents come in pages:"
    " fetch metadata.next_id for the one after this, prev_id for the one before."
)

Id = Annotated[
    str,
    Field(
        min_length=1,
        max_length=4000,
        description="Id or url of a search result, citation or document; a next_id or prev_id.",
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
    url = caller.links.url(page.url, page.id)
    text = page.text[: fit(page.text, FETCH_BUDGET - ENVELOPE - count_tokens(url + page.title))]
    cut = len(text) < len(page.text)
    return FetchedPage(
        id=page.id,
        title=page.title,
        text=text,
        url=url,
        metadata=PageMetadata(
            document_id=page.document_id,
            knowledge_base=page.kb_name,
            updated_at=page.updated_at.isoformat(timespec="seconds") if page.updated_at else "",
            next_id=f"{page.document_id}~{page.start + len(text)}" if cut else page.next_id,
            prev_id=page.prev_id,
            notice=CHANGED if page.changed else "",
        ),
    )


def build_fetch() -> KnowledgeTool:
    """The tool `fetch`."""
    return KnowledgeTool.of(
        fetch, scope=Scope.KB_READ, title="Read a document", description=DESCRIPTION
    )
