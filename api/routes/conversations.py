"""`/api/v1/conversations`: a person's own conversations; `/api/v1/ask` continues one."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from api.operations import returns
from api.replies import ConversationReply, ConversationsReply, ConversationTurnsReply, DeletedReply
from api.schemas import (
    ConversationBody,
    ConversationsQuery,
    ExportQuery,
    NewConversationBody,
    read_body,
    read_query,
)
from api.service import principal_of, service_of
from engine import serializers


@returns(ConversationsReply)
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


@returns(ConversationReply, status=201)
async def start(request: Request) -> Response:
    """A new conversation."""
    principal = await principal_of(request)
    body = await read_body(request, NewConversationBody)
    made = await service_of(request).engine.answers.start_conversation(
        principal, name=body.name, door="http", assistant=body.assistant
    )
    headers = {"Location": f"/api/v1/conversations/{made.id}"}
    return JSONResponse(serializers.conversation(made), status_code=201, headers=headers)


@returns(ConversationTurnsReply)
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


@returns(ConversationReply)
async def rename(request: Request) -> Response:
    """Another name."""
    principal = await principal_of(request)
    body = await read_body(request, ConversationBody)
    renamed = await service_of(request).engine.answers.rename_conversation(
        principal, request.path_params["id"], body.name
    )
    return JSONResponse(serializers.conversation(renamed))


@returns(None, media_type="text/markdown")
@returns(ConversationTurnsReply)
async def export(request: Request) -> Response:
    """A conversation as a file: Markdown, or with `format=json` all that is kept of it."""
    service = service_of(request)
    principal = await principal_of(request)
    chosen = read_query(request, ExportQuery).format
    answers, id_ = service.engine.answers, request.path_params["id"]
    found = await answers.get_conversation(principal, id_)
    turns = await answers.list_turns(principal, id_)
    url_of = (await service.links(request, principal)).url
    name = serializers.file_name(found.name, "conversation")
    suffix = "json" if chosen == "json" else "md"
    headers = {"Content-Disposition": f'attachment; filename="{name}.{suffix}"'}
    if chosen == "json":
        shown = {"turns": [serializers.turn(turn, url_of) for turn in turns]}
        return JSONResponse(serializers.conversation(found) | shown, headers=headers)
    text = serializers.conversation_markdown(found, turns, url_of)
    return Response(text, media_type="text/markdown; charset=utf-8", headers=headers)


@returns(DeletedReply)
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
    Route("/api/v1/conversations/{id}/export", export, methods=["GET"]),
)
