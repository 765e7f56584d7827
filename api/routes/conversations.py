"""`/api/v1/conversations`: a person's own conversations; `/api/v1/ask` continues one."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from api.schemas import ConversationBody, ConversationsQuery, read_body, read_query
from api.service import principal_of, service_of
from engine import serializers


async def index(request: Request) -> Response:
    """The caller's conversations, newest first."""
    principal = await principal_of(request)
    query = read_query(request, ConversationsQuery)
    listed = await service_of(request).engine.answers.list_conversations(
        principal, limit=query.limit + 1, before=query.cursor
    )
    shown = listed[: query.limit]
    return JSONResponse(
        {
            "conversations": [serializers.conversation(item) for item in shown],
            "next_cursor": shown[-1].id if len(listed) > query.limit else "",
        }
    )


async def start(request: Request) -> Response:
    """A new conversation."""
    principal = await principal_of(request)
    body = await read_body(request, ConversationBody)
    made = await service_of(request).engine.answers.start_conversation(
        principal, name=body.name, door="http"
    )
    headers = {"Location": f"/api/v1/conversations/{made.id}"}
    return JSONResponse(serializers.conversation(made), status_code=201, headers=headers)


async def show(request: Request) -> Response:
    """One conversation with its turns, oldest first."""
    service = service_of(request)
    principal = await principal_of(request)
    answers, id_ = service.engine.answers, request.path_params["id"]
    found = await answers.get_conversation(principal, id_)
    turns = await answers.list_turns(principal, id_)
    url_of = (await service.links(request, principal)).url
    shown = {"turns": [serializers.turn(turn, url_of) for turn in turns]}
    return JSONResponse(serializers.conversation(found) | shown)


async def rename(request: Request) -> Response:
    """Another name."""
    principal = await principal_of(request)
    body = await read_body(request, ConversationBody)
    renamed = await service_of(request).engine.answers.rename_conversation(
        principal, request.path_params["id"], body.name
    )
    return JSONResponse(serializers.conversation(renamed))


async def delete(request: Request) -> Response:
    """Delete a conversation with its turns."""
    principal = await principal_of(request)
    gone = await service_of(request).engine.answers.delete_conversation(
        principal, request.path_params["id"]
    )
    return JSONResponse({"deleted": True, "id": gone.id})


ROUTES = (
    Route("/api/v1/conversations", index, methods=["GET"]),
    Route("/api/v1/conversations", start, methods=["POST"]),
    Route("/api/v1/conversations/{id}", show, methods=["GET"]),
    Route("/api/v1/conversations/{id}", rename, methods=["PATCH"]),
    Route("/api/v1/conversations/{id}", delete, methods=["DELETE"]),
)
