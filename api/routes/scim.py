"""`/api/v1/scim/clients`: the identity providers that provision people over SCIM."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime
from typing import Annotated, Any

from pydantic import Field
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from typing_extensions import TypedDict

from api.operations import returns
from api.schemas import Body, read_body
from api.service import principal_of, service_of
from engine.people.scim_clients import ScimClientInfo


class ScimClientsReply(TypedDict):
    """SCIM clients, newest first, without their secrets."""

    clients: list[ScimClientInfo]


class NewScimClientReply(TypedDict):
    """A new client with its secret, which is in this response alone."""

    id: str
    name: str
    prefix: str
    created_at: datetime
    last_used_at: datetime | None
    revoked_at: datetime | None
    secret: str


class ScimClientBody(Body):
    """`POST /api/v1/scim/clients`."""

    name: Annotated[str, Field(min_length=1, max_length=200)]


@returns(ScimClientsReply)
async def index(request: Request) -> Response:
    """The organisation's SCIM clients."""
    principal = await principal_of(request)
    found = await service_of(request).engine.people.scim.list_all(principal)
    return JSONResponse({"clients": [_shown(client) for client in found]})


@returns(NewScimClientReply, status=201)
async def add(request: Request) -> Response:
    """A new client; its secret is in this response alone."""
    principal = await principal_of(request)
    body = await read_body(request, ScimClientBody)
    secret, made = await service_of(request).engine.people.scim.create(principal, body.name)
    return JSONResponse(_shown(made) | {"secret": secret}, status_code=201)


@returns(ScimClientInfo)
async def revoke(request: Request) -> Response:
    """End a client at once; whom it provisioned stays."""
    principal = await principal_of(request)
    scim = service_of(request).engine.people.scim
    return JSONResponse(_shown(await scim.revoke(principal, request.path_params["scim_client"])))


def _shown(client: ScimClientInfo) -> dict[str, Any]:
    return {
        name: value.isoformat() if isinstance(value, datetime) else value
        for name, value in asdict(client).items()
    }


ROUTES = (
    Route("/api/v1/scim/clients", index, methods=["GET"]),
    Route("/api/v1/scim/clients", add, methods=["POST"]),
    Route("/api/v1/scim/clients/{scim_client}", revoke, methods=["DELETE"]),
)
