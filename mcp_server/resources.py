"""Documents as resources: a mirror of `search` and `fetch` for clients that let people pick them.

Everything important is a tool; most clients don't read resources. The list shows the newest
documents, the template reads any one, and completion offers knowledge bases by name and documents
by title.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from mcp.server.mcpserver import Context, MCPServer
from mcp.shared.exceptions import MCPError
from mcp_types import (
    INVALID_PARAMS,
    Completion,
    CompletionArgument,
    CompletionContext,
    PromptReference,
    ResourceTemplateReference,
)
from mcp_types import Resource as ListedResource

from engine.errors import EngineError, InvalidInput, NotFound
from engine.telemetry import correlation_id
from mcp_server.call import current
from mcp_server.caller import Door, McpCaller
from mcp_server.errors import protocol_error
from mcp_server.render import FETCH_BUDGET, fit
from mcp_server.request import current_request

TEMPLATE = "kb://{knowledge_base}/documents/{id}"
LISTED = 50  # documents; for more, use search
OFFERED = 100  # completions, the protocol's maximum
LOOKED_THROUGH = 500  # documents whose titles are compared


def uri_of(knowledge_base: str, document_id: str) -> str:
    """The address of a document as a resource."""
    return f"kb://{quote(knowledge_base, safe='')}/documents/{document_id}"


async def listed_documents(caller: McpCaller) -> list[ListedResource]:
    """The newest documents that answer and that the caller may read."""
    names = {
        kb.id: kb.name for kb in await caller.engine.knowledge_bases.list_readable(caller.principal)
    }
    page = await caller.engine.documents.page(caller.principal, state="ready", limit=LISTED)
    return [
        ListedResource(
            uri=uri_of(names.get(document.kb_id, document.kb_id), document.id),
            name=document.title[:200] or document.id,
            title=document.title[:200] or document.id,
            mime_type="text/markdown",
        )
        for document in page.documents
    ]


def add_resources(server: MCPServer[Any], door: Door) -> None:
    """Register the template and the completion of its parts."""

    @server.resource(
        TEMPLATE,
        name="document",
        title="A document",
        description="The text of a document; of a long one, the first page.",
        mime_type="text/markdown",
    )
    async def document(knowledge_base: str, id: str, context: Context) -> str:  # noqa: A002
        uri = uri_of(knowledge_base, id)
        try:
            caller = await door.caller(context.request_context.request)
            page = await caller.engine.search.fetch(caller.principal, id)
        except (InvalidInput, NotFound):
            raise _unknown(uri) from None
        except EngineError as error:
            raise protocol_error(error, correlation_id()) from None
        if knowledge_base not in {page.kb_name, page.kb_id}:
            raise _unknown(uri)
        call = current()
        call.kb_ids, call.results = [page.kb_id], 1
        return page.text[: fit(page.text, FETCH_BUDGET)]

    @server.completion()  # type: ignore[no-untyped-call, untyped-decorator]  # untyped in the SDK
    async def complete(
        ref: PromptReference | ResourceTemplateReference,
        argument: CompletionArgument,
        context: CompletionContext | None,
    ) -> Completion | None:
        try:
            found = await _completed(door, ref, argument, context)
        except EngineError as error:
            raise protocol_error(error, correlation_id()) from None
        current().results = len(found)
        return Completion(values=found[:OFFERED], total=len(found), has_more=len(found) > OFFERED)


def _unknown(uri: str) -> MCPError:
    """Absent and forbidden look the same."""
    data = {"uri": uri, "code": NotFound.code}
    return MCPError(INVALID_PARAMS, f"Unknown resource: {uri}", data)


async def _completed(
    door: Door,
    ref: PromptReference | ResourceTemplateReference,
    argument: CompletionArgument,
    context: CompletionContext | None,
) -> list[str]:
    """What an argument can be; nothing for those that are the caller's own words."""
    caller = await door.caller(current_request())
    if argument.name == "knowledge_base":
        return await _names(caller, argument.value)
    if isinstance(ref, ResourceTemplateReference) and argument.name == "id":
        chosen = (context.arguments or {}).get("knowledge_base", "") if context else ""
        return await _ids(caller, chosen, argument.value)
    return []


async def _names(caller: McpCaller, prefix: str) -> list[str]:
    names = [kb.name for kb in await caller.engine.knowledge_bases.list_readable(caller.principal)]
    return [name for name in names if name.casefold().startswith(prefix.casefold())]


async def _ids(caller: McpCaller, knowledge_base: str, prefix: str) -> list[str]:
    """Ids of documents that start with the prefix, or whose title contains it."""
    try:
        page = await caller.engine.documents.page(
            caller.principal, knowledge_base, state="ready", limit=LOOKED_THROUGH
        )
    except NotFound:
        return []
    typed = prefix.casefold()
    return [
        document.id
        for document in page.documents
        if document.id.startswith(typed) or typed in document.title.casefold()
    ]
