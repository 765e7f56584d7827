"""`/api/v1/gaps`: what people asked and did not find, and what is done about it."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from api.operations import returns
from api.replies import GapsReply
from api.schemas import Body, read_body, read_query
from api.service import principal_of, service_of
from engine import serializers
from engine.insight.gap_room import GapDetails
from engine.insight.gaps import MarkState, QuestionGap

Days = Annotated[int, Field(ge=1, le=365)]


class GapsQuery(Body):
    """Questions of the last days, with today."""

    days: Days = 90


class GapBody(Body):
    """`PATCH /api/v1/gaps/{gap}`; `assignee` is a member's address or id, for `assigned` alone."""

    state: MarkState
    assignee: Annotated[str, Field(max_length=320)] = ""


@returns(GapsReply)
async def index(request: Request) -> Response:
    """Questions that were not or badly answered, gathered by what they mean; the weightiest first.

    Only your own, and those asked in channels you may read.
    """
    principal = await principal_of(request)
    days = read_query(request, GapsQuery).days
    found = await service_of(request).engine.gaps.list_all(principal, days=days)
    return JSONResponse({"gaps": [serializers.plain(gap) for gap in found]})


@returns(GapDetails)
async def show(request: Request) -> Response:
    """One of them, with the documents that come closest to an answer."""
    principal = await principal_of(request)
    days = read_query(request, GapsQuery).days
    found = await service_of(request).engine.gaps.get(
        principal, request.path_params["gap"], days=days
    )
    return JSONResponse(serializers.plain(found))


@returns(QuestionGap)
async def change(request: Request) -> Response:
    """Assign, close, reopen it, or set it aside as out of scope."""
    principal = await principal_of(request)
    body = await read_body(request, GapBody)
    found = await service_of(request).engine.gaps.mark(
        principal, request.path_params["gap"], body.state, assignee=body.assignee
    )
    return JSONResponse(serializers.plain(found))


ROUTES = (
    Route("/api/v1/gaps", index, methods=["GET"], name="gaps"),
    Route("/api/v1/gaps/{gap}", show, methods=["GET"]),
    Route("/api/v1/gaps/{gap}", change, methods=["PATCH"]),
)
