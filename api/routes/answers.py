"""`/api/v1/ask`, `/search` and `/fetch`: finding and answering."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from api.operations import returns
from api.permitted import permitted
from api.replies import AnswerReply, PageReply, SearchReply
from api.schemas import AskBody, FetchQuery, KbSearchBody, SearchBody, read_body, read_query
from api.service import Service, is_answer, last_answer, principal_of, service_of
from api.streams import MEDIA_TYPE, begun, event, failure, stream
from engine import serializers
from engine.access.gate import require
from engine.assistants.rows import AssistantInfo
from engine.domain import AnswerEvent, Principal, Scope
from engine.search.links import Links


@returns(AnswerReply)
@returns(None, media_type=MEDIA_TYPE)
async def ask(request: Request) -> Response:
    """Answer a question: JSON, or events if the caller accepts a stream."""
    service = service_of(request)
    principal = await principal_of(request)
    body = await read_body(request, AskBody)
    assistant: AssistantInfo | str = ""
    if body.assistant:  # a wrong name fails before the stream
        principal, assistant = await service.engine.assistants.admitted(principal, body.assistant)
    require(principal, Scope.KB_ASK)
    if body.kb:
        await service.engine.knowledge_bases.get(
            principal, body.kb
        )  # a wrong name fails before the stream
    if body.conversation_id:
        await service.engine.answers.get_conversation(principal, body.conversation_id)
    filters = body.filters  # a wrong one, too
    links = await service.links(request, principal)
    asked = service.engine.answers.ask(
        principal,
        service.engine.people.audience_of_asker(principal),
        body.question,
        kb=body.kb,
        conversation_id=body.conversation_id,
        filters=filters,
        assistant=assistant,
        door="http",
    )
    events = permitted(request, principal, asked, is_last=is_answer)
    if MEDIA_TYPE in request.headers.get("accept", ""):
        return stream(_as_events(service, await begun(events), links))
    with service.timed("ask"):
        answer = await last_answer(events)
    return JSONResponse(serializers.answer(answer, links.url))


async def _as_events(
    service: Service, events: AsyncIterator[AnswerEvent], links: Links
) -> AsyncIterator[str]:
    try:
        with service.timed("ask"):
            async for item in events:
                yield event(item.kind, serializers.answer_event(item, links.url))
    except Exception as error:  # noqa: BLE001 (the reader of the stream still gets a reason)
        yield failure(error)


@returns(SearchReply)
async def search(request: Request) -> Response:
    """The best documents for a query."""
    principal = await principal_of(request)
    body = await read_body(request, SearchBody)
    return await find(request, principal, body, kb=body.kb)


@returns(SearchReply)
async def search_by_query(request: Request) -> Response:
    """The same, asked for in the query string."""
    principal = await principal_of(request)
    body = read_query(request, SearchBody)
    return await find(request, principal, body, kb=body.kb)


async def find(request: Request, principal: Principal, body: KbSearchBody, *, kb: str) -> Response:
    """The hits of a search of one knowledge base, or where it is empty of all."""
    service = service_of(request)
    with service.timed("search"):
        result = await service.engine.search.find(
            principal,
            body.query,
            kb=kb,
            limit=body.limit,
            mode=body.mode,
            filters=body.filters,
            order=body.sort,
            overrides=body.overrides,
        )
    result = replace(result, hits=await service.engine.search.at_messages(principal, result.hits))
    url_of = (await service.links(request, principal)).url
    return JSONResponse(serializers.search(result, url_of, include_metadata=body.include_metadata))


@returns(PageReply)
async def fetch(request: Request) -> Response:
    """A page of text by the id or address of a hit, a citation, a document or another page."""
    service = service_of(request)
    principal = await principal_of(request)
    id_ = request.path_params.get("id") or read_query(request, FetchQuery).id
    page = await service.engine.search.fetch(principal, id_)
    links = await service.links(request, principal)
    return JSONResponse(serializers.page(page, links.url))


ROUTES = (
    Route("/api/v1/ask", ask, methods=["POST"]),
    Route("/api/v1/search", search, methods=["POST"]),
    Route("/api/v1/fetch", fetch, methods=["GET"]),
    Route("/api/v1/search", search_by_query, methods=["GET"]),
    Route("/api/v1/fetch/{id}", fetch, methods=["GET"]),
)
