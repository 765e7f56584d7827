"""`/api/v1/invitations`: ask people to join the tenant, and join one."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any

from pydantic import Field, SecretStr
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from api.cookies import client_of
from api.operations import returns
from api.replies import InvitationReply, InvitationsReply, SignedInReply, UninvitedReply
from api.routes.user import Link, tokens_of
from api.schemas import Body, read_body
from api.service import base_url, principal_of, service_of
from engine.domain import Role
from engine.people.invitations import LIFE, InvitationInfo

Name = Annotated[str, Field(max_length=200)]


class InvitationBody(Body):
    """`POST /api/v1/invitations`."""

    email: Annotated[str, Field(min_length=3, max_length=320)]
    name: Name = ""
    role: Role = Role.MEMBER
    groups: Annotated[tuple[Name, ...], Field(max_length=50)] = ()


class AcceptBody(Body):
    """`POST /api/v1/invitations/accept`."""

    link: Link
    name: Name = ""
    password: Annotated[SecretStr, Field(max_length=1024)] = SecretStr("")


@returns(InvitationsReply)
async def index(request: Request) -> Response:
    """Invitations that can still be accepted, the newest first."""
    principal = await principal_of(request)
    found = await service_of(request).engine.people.invitations.list_open(principal)
    return JSONResponse({"invitations": [_shown(item) for item in found]})


@returns(InvitationReply, status=201)
async def add(request: Request) -> Response:
    """Invite an address: by mail, or with a link to hand over where no mail server is set."""
    service, principal = service_of(request), await principal_of(request)
    body = await read_body(request, InvitationBody)
    made = await service.engine.people.invitations.invite(
        principal, body.email, name=body.name, role=body.role, groups=body.groups
    )
    shown = _shown(made.invitation)
    if made.secret:
        shown["url"] = f"{base_url(service.settings, request)}/invitation#{made.secret}"
        shown["expires_in"] = int(LIFE.total_seconds())
    return JSONResponse(shown, status_code=201)


@returns(UninvitedReply)
async def revoke(request: Request) -> Response:
    """Take an invitation back, by id or address."""
    principal = await principal_of(request)
    people = service_of(request).engine.people
    email = await people.invitations.revoke(principal, request.path_params["invitation"])
    return JSONResponse({"revoked": email})


@returns(SignedInReply)
async def accept(request: Request) -> Response:
    """Join with an invitation's link: with a new password, or as who is signed in."""
    body = await read_body(request, AcceptBody)
    service = service_of(request)
    given = request.headers.get("authorization")
    who = await service.doorkeeper.principal(request) if given else None
    signed_in = await service.engine.people.invitations.accept(
        body.link.get_secret_value(),
        who=who,
        name=body.name,
        password=body.password.get_secret_value(),
        kind="api",
        client=client_of(request),
    )
    return tokens_of(signed_in)


def _shown(item: InvitationInfo) -> dict[str, Any]:
    times = {name: getattr(item, name).isoformat() for name in ("created_at", "expires_at")}
    return asdict(item) | times


ROUTES = (
    Route("/api/v1/invitations", index, methods=["GET"]),
    Route("/api/v1/invitations", add, methods=["POST"]),
    Route("/api/v1/invitations/accept", accept, methods=["POST"]),
    Route("/api/v1/invitations/{invitation}", revoke, methods=["DELETE"]),
)
