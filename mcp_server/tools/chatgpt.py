"""`search` and `fetch` as ChatGPT's connectors require them: one argument and what each must have.

The profile `chatgpt` publishes these two and nothing else; they call the same functions.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, Field

from engine.domain import Scope
from mcp_server.call import current
from mcp_server.tool import KnowledgeTool
from mcp_server.tools import fetch as reading
from mcp_server.tools import search as finding

LIMIT = 10


class Link(BaseModel):
    id: str
    title: str
    url: str
    confidence: float


class LinkList(BaseModel):
    results: list[Link]
    notice: str


async def search(
    query: Annotated[str, Field(min_length=1, max_length=2000, description="Words or a question.")],
) -> LinkList:
    """The best documents, as links."""
    caller = current().caller
    found = await finding.find(caller, query, "", LIMIT)
    return LinkList(
        results=[
            Link(
                id=hit.id,
                title=hit.title,
                url=caller.links.url(hit.url, hit.id),
                confidence=round(hit.confidence, 3),
            )
            for hit in found.hits
        ],
        notice=found.notice,
    )


def build_chatgpt_search() -> KnowledgeTool:
    """The tool `search` for ChatGPT."""
    return KnowledgeTool.of(
        search,
        scope=Scope.KB_READ,
        title="Search the knowledge bases",
        description="Search the team's documents and chats. Returns the best, each with an id for"
        " fetch, a url to cite and a confidence from 0 to 1.",
    )


def build_chatgpt_fetch() -> KnowledgeTool:
    """The tool `fetch`, which has one argument anyway."""
    return reading.build_fetch()
