"""`/api/v1/widgets`: assistants on pages of other sites."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from api.operations import returns
from api.replies import DeletedReply, WidgetReply, WidgetsReply
from api.schemas import Body, read_body
from api.service import base_url, principal_of, service_of
from engine import serializers
from engine.assistants.widgets import ORIGIN_MAX, ORIGINS_MAX

Origin = Annotated[str, Field(min_length=1, max_length=ORIGIN_MAX)]


class WidgetBody(Body):
    """`POST /api/v1/widgets`: without a `key` it answers members alone, as themselves."""

    assistant: Annotated[str, Field(min_length=1, max_length=100)]
    origins: Annotated[list[Origin], Field(min_length=1, max_length=ORIGINS_MAX)]
    key: Annotated[str, Field(max_length=200)] = ""


@returns(WidgetsReply)
async def index(request: Request) -> Response:
    """The organisation's widgets, oldest first."""
    service = service_of(request)
    found = await service.engine.widgets.list_all(await principal_of(request))
    base = base_url(service.settings, request)
    return JSONResponse({"widgets": [serializers.widget(item, base) for item in found]})


@returns(WidgetReply, status=201)
async def create(request: Request) -> Response:
    """Let pages of other sites show an assistant; `tag` is what they carry."""
    service = service_of(request)
    principal = await principal_of(request)
    body = await read_body(request, WidgetBody)
    made = await service.engine.widgets.add(principal, body.assistant, body.origins, key=body.key)
    shown = serializers.widget(made, base_url(service.settings, request))
    return JSONResponse(shown, status_code=201)


@returns(DeletedReply)
async def delete(request: Request) -> Response:
    """Take a widget away: pages that show it answer nothing more."""
    principal = await principal_of(request)
    gone = await service_of(request).engine.widgets.remove(principal, request.path_params["widget"])
    return JSONResponse({"deleted": True, "id": gone})


ROUTES = (
    Route("/api/v1/widgets", index, methods=["GET"]),
    Route("/api/v1/widgets", create, methods=["POST"]),
    Route("/api/v1/widgets/{widget}", delete, methods=["DELETE"]),
)
