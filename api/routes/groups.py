"""`/api/v1/groups`: groups of members, which knowledge bases can be granted to."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

from pydantic import Field
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from api.operations import returns
from api.replies import (
    AddedMemberReply,
    DeletedGroupReply,
    GroupMembersReply,
    GroupsReply,
    RemovedReply,
)
from api.schemas import Body, read_body
from api.service import principal_of, service_of
from engine.people.groups import GroupInfo


class GroupBody(Body):
    """`POST /api/v1/groups`."""

    name: Annotated[str, Field(min_length=1, max_length=200)]


@returns(GroupsReply)
async def index(request: Request) -> Response:
    """The tenant's groups, by name."""
    principal = await principal_of(request)
    found = await service_of(request).engine.people.list_groups(principal)
    return JSONResponse({"groups": [asdict(group) for group in found]})


@returns(GroupInfo, status=201)
async def add(request: Request) -> Response:
    """A new, empty group."""
    principal = await principal_of(request)
    body = await read_body(request, GroupBody)
    made = await service_of(request).engine.people.create_group(principal, body.name)
    return JSONResponse(asdict(made), status_code=201)


@returns(DeletedGroupReply)
async def delete(request: Request) -> Response:
    """Remove a group and the grants that name it."""
    principal = await principal_of(request)
    group = request.path_params["group"]
    name = await service_of(request).engine.people.delete_group(principal, group)
    return JSONResponse({"deleted": name})


@returns(GroupMembersReply)
async def members(request: Request) -> Response:
    """Everyone in a group."""
    principal = await principal_of(request)
    people = service_of(request).engine.people
    found = await people.list_group_members(principal, request.path_params["group"])
    return JSONResponse({"members": [{"user_id": id_, "name": name} for id_, name in found]})


@returns(AddedMemberReply)
async def add_member(request: Request) -> Response:
    """Put a member into a group."""
    principal = await principal_of(request)
    people, where = service_of(request).engine.people, request.path_params
    await people.add_to_group(principal, where["group"], where["member"])
    return JSONResponse({"added": where["member"]})


@returns(RemovedReply)
async def remove_member(request: Request) -> Response:
    """Take a member out of a group."""
    principal = await principal_of(request)
    people, where = service_of(request).engine.people, request.path_params
    await people.remove_from_group(principal, where["group"], where["member"])
    return JSONResponse({"removed": where["member"]})


ROUTES = (
    Route("/api/v1/groups", index, methods=["GET"]),
    Route("/api/v1/groups", add, methods=["POST"]),
    Route("/api/v1/groups/{group}", delete, methods=["DELETE"]),
    Route("/api/v1/groups/{group}/members", members, methods=["GET"]),
    Route("/api/v1/groups/{group}/members/{member}", add_member, methods=["PUT"]),
    Route("/api/v1/groups/{group}/members/{member}", remove_member, methods=["DELETE"]),
)
