"""`add_document`: a text or a web page into a knowledge base; ingestion follows as a job."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from engine.domain import Scope
from engine.errors import InvalidInput
from engine.telemetry import correlation_id
from mcp_server.call import current
from mcp_server.tool import ADDING, KnowledgeTool
from mcp_server.tools.get_ingestion import IngestionState

if TYPE_CHECKING:
    from engine.documents.adding import NewDocument

TEXT_MAX = 1_000_000  # characters; a body has at most 4 MiB

DESCRIPTION = (
    "Add a document to a knowledge base: a title and its text (Markdown), or the url of a page "
    "to fetch. Returns at once; follow it with get_ingestion. Adding the same text again does "
    "nothing."
)


async def add_document(
    knowledge_base: Annotated[str, Field(min_length=1, max_length=200, description="Name or id.")],
    title: Annotated[
        str, Field(max_length=300, description="Needed with text; a page has a title.")
    ] = "",
    text: Annotated[str, Field(max_length=TEXT_MAX, description="Markdown; or give a url.")] = "",
    url: Annotated[
        str, Field(max_length=2000, description="A page to fetch; or give a text.")
    ] = "",
) -> IngestionState:
    """The handle of an accepted document."""
    call = current()
    caller = call.caller
    added = await caller.engine.documents.add_many(
        caller.principal,
        knowledge_base,
        [_new_document(title, text, url)],
        correlation_id=correlation_id(),
    )
    call.results = 1
    found = await caller.engine.documents.get_ingestion(caller.principal, added[0].document_id)
    call.kb_ids = [(await caller.engine.documents.get(caller.principal, found.document_id)).kb_id]
    return IngestionState(
        job_id=found.job_id,
        document_id=found.document_id,
        status=found.state,
        progress=round(max(found.progress, 0.0), 3),
        error=found.error,
    )


def _new_document(title: str, text: str, url: str) -> NewDocument:
    from engine.documents.adding import NewDocument  # noqa: PLC0415 (loaded with the engine by now)
    from engine.net.fetching import check_url  # noqa: PLC0415

    if bool(text.strip()) == bool(url.strip()):
        raise InvalidInput("Give either text or url: one of them, not both.", field="text")
    if url:
        return NewDocument(url=check_url(url), title=title.strip())
    if not title.strip():
        raise InvalidInput("A text needs a title.", field="title")
    name = re.sub(r"[^\w .()-]", "_", title.strip())[:100].strip(" .") or "document"
    return NewDocument(data=text.encode(), filename=f"{name}.md", title=title.strip())


def build_add_document() -> KnowledgeTool:
    """The tool `add_document`."""
    return KnowledgeTool.of(
        add_document,
        scope=Scope.KB_WRITE,
        title="Add a document",
        description=DESCRIPTION,
        hints=ADDING,
    )
