"""`/api/v1/members`: who belongs to the tenant, with which role, and who no longer does."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any

from pydantic import Field, model_validator
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from api.operations import returns
from api.replies import LinkReply, MembersReply, RemovedReply, UnlinkedReply
from api.schemas import Body, read_body
from api.service import base_url, principal_of, service_of
from engine.domain import Role
from engine.people.members import MemberInfo


class MemberBody(Body):
    """`POST /api/v1/members`."""

    email: Annotated[str, Field(min_length=3, max_length=320)]
    name: Annotated[str, Field(max_length=200)] = ""
    role: Role = Role.MEMBER


class MemberChange(Body):
    """`PATCH /api/v1/members/{member}`."""

    role: Role | None = None
    active: bool | None = None

    @model_validator(mode="after")
    def _changes_something(self) -> MemberChange:
        if self.role is None and self.active is None:
            raise ValueError("give role or active")
        return self


@returns(MembersReply)
async def index(request: Request) -> Response:
    """Everyone in the tenant, by name."""
    principal = await principal_of(request)
    found = await service_of(request).engine.people.list_members(principal)
    return JSONResponse({"members": [_shown(member) for member in found]})


@returns(MemberInfo, status=201)
async def add(request: Request) -> Response:
    """A new member, who has no password yet."""
    principal = await principal_of(request)
    body = await read_body(request, MemberBody)
    people = service_of(request).engine.people
    member = await people.add_member(principal, body.email, name=body.name, role=body.role)
    return JSONResponse(_shown(member), status_code=201)


@returns(MemberInfo)
async def change(request: Request) -> Response:
    """Another role, deactivated, or let in again: from the member's next request on."""
    principal = await principal_of(request)
    body = await read_body(request, MemberChange)
    people, member = service_of(request).engine.people, request.path_params["member"]
    changed = await people.change_member(principal, member, role=body.role, active=body.active)
    return JSONResponse(_shown(changed))


@returns(RemovedReply)
async def remove(request: Request) -> Response:
    """End a membership; sessions and tokens end with it."""
    principal = await principal_of(request)
    people = service_of(request).engine.people
    removed = await people.remove_member(principal, request.path_params["member"])
    return JSONResponse({"removed": removed.user_id})


@returns(UnlinkedReply)
async def unlink(request: Request) -> Response:
    """Forget the accounts of identity providers that a member signs in with; their sessions end."""
    principal = await principal_of(request)
    people = service_of(request).engine.people
    member, count = await people.unlink_member(principal, request.path_params["member"])
    return JSONResponse({"user_id": member.user_id, "unlinked": count})


@returns(LinkReply, status=201)
async def make_password_link(request: Request) -> Response:
    """A link with which a member sets a password, once, within an hour."""
    service = service_of(request)
    principal = await principal_of(request)
    secret = await service.engine.people.sign_in.make_password_link(
        principal, request.path_params["member"]
    )
    url = f"{base_url(service.settings, request)}/set-password#{secret}"
    return JSONResponse({"url": url, "expires_in": 3600}, status_code=201)


@returns(MemberInfo)
async def reset_factors(request: Request) -> Response:
    """Remove a member's second factors, who has lost them; their sessions end."""
    principal = await principal_of(request)
    signing = service_of(request).engine.people.sign_in
    return JSONResponse(
        _shown(await signing.reset_factors(principal, request.path_params["member"]))
    )


def _shown(member: MemberInfo) -> dict[str, Any]:
    return asdict(member)


ROUTES = (
    Route("/api/v1/members", index, methods=["GET"]),
    Route("/api/v1/members", add, methods=["POST"]),
    Route("/api/v1/members/{member}", change, methods=["PATCH"]),
    Route("/api/v1/members/{member}", remove, methods=["DELETE"]),
    Route("/api/v1/members/{member}/identities", unlink, methods=["DELETE"]),
    Route("/api/v1/members/{member}/password_link", make_password_link, methods=["POST"]),
    Route("/api/v1/members/{member}/factors", reset_factors, methods=["DELETE"]),
)
