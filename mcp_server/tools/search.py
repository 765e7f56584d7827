"""`search`: the matching documents, each with its best passage."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from pydantic import BaseModel, Field

from engine.domain import Hit, Scope, SearchResult
from engine.search.filters import parse_filter_line
from engine.search.query_steps import describe_steps
from mcp_server.call import current
from mcp_server.caller import McpCaller
from mcp_server.cursors import cursor_of, position_of
from mcp_server.render import SEARCH_BUDGET, page_within, snippet
from mcp_server.tool import KnowledgeTool

if TYPE_CHECKING:
    from engine.search.origins import Origin

DEEPEST = 200  # hits; beyond that, another query helps more than another page


class FoundPassage(BaseModel):
    id: str
    title: str
    url: str
    where: str
    author: str
    posted_at: str
    snippet: str
    score: float
    confidence: float
    knowledge_base: str


class SearchResults(BaseModel):
    results: list[FoundPassage]
    next_cursor: str
    notice: str


DESCRIPTION = (
    "Search the team's documents and chats. Returns passages, best first, each with an id"
    " for fetch and a url to cite. score only orders; confidence (0 to 1) says how likely it"
    " answers. Use it to find sources; use ask for a finished answer."
)


FILTER = "since:2026-05 until:yesterday author: channel: source: tag: language: document: meta:F=V"


async def search(
    query: Annotated[str, Field(min_length=1, max_length=2000, description="Words or a question.")],
    knowledge_base: Annotated[
        str, Field(max_length=200, description="Name or id; empty: all.")
    ] = "",
    limit: Annotated[int, Field(ge=1, le=50, description="Maximum results per page.")] = 10,
    cursor: Annotated[str, Field(max_length=500, description="next_cursor of the last page.")] = "",
    filter: Annotated[str, Field(max_length=500, description=FILTER)] = "",  # noqa: A002 (its name)
) -> SearchResults:
    """A page of results, within its budget."""
    caller = current().caller
    offset = int(position_of(caller, cursor, query, knowledge_base, filter) or 0)
    deep = min(offset + limit + 1, DEEPEST)
    found = await find(caller, query, knowledge_base, deep, filter_line=filter)
    hits = found.hits[offset : offset + limit + 1]
    said = await caller.engine.search.origins(caller.principal, hits)
    rest = [_found(caller, hit, origin) for hit, origin in zip(hits, said, strict=True)]
    shown = rest[:limit]
    shown = shown[: page_within([item.model_dump() for item in shown], SEARCH_BUDGET)]
    current().results = len(shown)
    more = len(rest) > len(shown)
    notice = f"{describe_steps(found.steps)} {found.notice}".strip()
    if not rest and offset:
        notice = "No more results. Try another query."
    elif more and len(shown) < limit:
        notice = f"{notice} The page was cut to its size limit; next_cursor continues.".strip()
    next_cursor = (
        cursor_of(caller, offset + len(shown), query, knowledge_base, filter) if more else ""
    )
    return SearchResults(
        results=shown,
        next_cursor=next_cursor,
        notice=notice,
    )


async def find(
    caller: McpCaller, query: str, knowledge_base: str, limit: int, *, filter_line: str = ""
) -> SearchResult:
    """The engine's search, noted in the call."""
    call = current()
    call.doing = "Searching"
    filters, order = parse_filter_line(filter_line)
    found = await caller.engine.search.find(
        caller.principal, query, kb=knowledge_base, limit=limit, filters=filters, order=order
    )
    call.kb_ids = sorted({hit.kb_id for hit in found.hits})
    call.results = len(found.hits)
    return found


def _found(caller: McpCaller, hit: Hit, origin: Origin | None) -> FoundPassage:
    """A hit; for a chat its `url` leads to the message, as a citation's does."""
    url = (origin.url if origin else "") or hit.url
    return FoundPassage(
        id=hit.id,
        title=hit.title,
        url=caller.links.url(url, hit.id),
        where=hit.passages[0].where,
        author=origin.author if origin else "",
        posted_at=origin.posted_at.isoformat() if origin else "",
        snippet=snippet(hit.text),
        score=round(hit.score, 4),
        confidence=round(hit.confidence, 3),
        knowledge_base=hit.kb_name,
    )


def build_search() -> KnowledgeTool:
    """The tool `search`."""
    return KnowledgeTool.of(
        search, scope=Scope.KB_READ, title="Search the knowledge bases", description=DESCRIPTION
    )
