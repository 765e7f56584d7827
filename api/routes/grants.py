"""`/api/v1/knowledge_bases/{kb}/grants`: who may use a knowledge base, and how far."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

from pydantic import Field
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from api.operations import returns
from api.replies import GrantedReply, GrantsReply, OwnerReply, RevokedReply
from api.schemas import Body, read_body
from api.service import principal_of, service_of
from engine.access.permissions import GrantLevel


class GrantBody(Body):
    """`PUT /api/v1/knowledge_bases/{kb}/grants/{to}`."""

    level: GrantLevel = GrantLevel.WRITE


class KbOwnerBody(Body):
    """`PUT /api/v1/knowledge_bases/{kb}/owner`."""

    user: Annotated[str, Field(min_length=1, max_length=320)]


@returns(GrantsReply)
async def index(request: Request) -> Response:
    """Who a knowledge base is granted to."""
    principal = await principal_of(request)
    kbs = service_of(request).engine.knowledge_bases
    found = await kbs.list_grants(principal, request.path_params["kb"])
    return JSONResponse({"grants": [asdict(grant) for grant in found]})


@returns(GrantedReply)
async def put(request: Request) -> Response:
    """Grant it: to `everyone`, or `group:`, `user:`, `workspace:`, `channel:` and a name."""
    principal = await principal_of(request)
    body = await read_body(request, GrantBody)
    kb, to = request.path_params["kb"], request.path_params["to"]
    kbs = service_of(request).engine.knowledge_bases
    await kbs.grant(principal, kb, to, body.level)
    return JSONResponse({"granted": to, "level": body.level})


@returns(RevokedReply)
async def delete(request: Request) -> Response:
    """Take a grant back, at once."""
    principal = await principal_of(request)
    kb, to = request.path_params["kb"], request.path_params["to"]
    await service_of(request).engine.knowledge_bases.revoke(principal, kb, to)
    return JSONResponse({"revoked": to})


@returns(OwnerReply)
async def transfer(request: Request) -> Response:
    """Make another member its owner."""
    principal = await principal_of(request)
    body = await read_body(request, KbOwnerBody)
    kbs = service_of(request).engine.knowledge_bases
    await kbs.transfer(principal, request.path_params["kb"], body.user)
    return JSONResponse({"owner": body.user})


ROUTES = (
    Route("/api/v1/knowledge_bases/{kb}/grants", index, methods=["GET"]),
    Route("/api/v1/knowledge_bases/{kb}/grants/{to}", put, methods=["PUT"]),
    Route("/api/v1/knowledge_bases/{kb}/grants/{to}", delete, methods=["DELETE"]),
    Route("/api/v1/knowledge_bases/{kb}/owner", transfer, methods=["PUT"]),
)
