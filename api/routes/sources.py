"""`/api/v1/sources` and `/api/v1/jobs`: pages by their address, channels, and how far work is."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from pydantic import AwareDatetime, Field, model_validator
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from api.operations import returns
from api.replies import AddedPageReply, ChannelsReply
from api.routes.documents import added_reply
from api.schemas import Body, read_body
from api.service import principal_of, service_of
from engine import serializers
from engine.access.gate import require
from engine.chats.coverage import Coverage
from engine.chats.sources import Receipt
from engine.documents.adding import NewDocument
from engine.documents.ingestions import Ingestion
from engine.domain import Scope
from engine.errors import NotFound
from engine.net.fetching import canonical_url
from engine.telemetry import correlation_id


class PageBody(Body):
    """`POST /api/v1/sources/pages`."""

    url: Annotated[str, Field(min_length=8, max_length=2000, pattern=r"^https?://")]
    kb: Annotated[str, Field(min_length=1, max_length=200)]


class ChannelBody(Body):
    """`POST /api/v1/sources/channels`."""

    channel: Annotated[str, Field(min_length=1, max_length=200)]
    kb: Annotated[str, Field(min_length=1, max_length=200)]
    since: AwareDatetime | None = None


class ChannelBodyChanges(Body):
    """`PATCH /api/v1/sources/channels/{channel}`; what is left out stays."""

    state: Literal["paused", "reading"] | None = None
    retention_days: Annotated[int, Field(ge=0, le=36_500)] | None = None

    @model_validator(mode="after")
    def _changes_something(self) -> ChannelBodyChanges:
        if self.state is None and self.retention_days is None:
            raise ValueError("give state or retention_days")
        return self


@returns(AddedPageReply, status=202)
async def add_page(request: Request) -> Response:
    """Add a page by its address, or fetch it again; ingestion follows."""
    engine = service_of(request).engine
    principal = await principal_of(request)
    require(principal, Scope.KB_WRITE)
    body = await read_body(request, PageBody)
    url = canonical_url(body.url)
    new = NewDocument(url=url, external_id=url)
    [added] = await engine.documents.add_many(
        principal, body.kb, [new], correlation_id=correlation_id()
    )
    return added_reply(added)


@returns(ChannelsReply)
async def channels(request: Request) -> Response:
    """The channels whose history is stored, with how far each is read."""
    principal = await principal_of(request)
    found = await service_of(request).engine.chats.history.coverage(principal)
    return JSONResponse({"channels": [serializers.plain(item) for item in found]})


@returns(Coverage, status=201)
async def add_channel(request: Request) -> Response:
    """Store a channel's history: new messages, and those back to `since`."""
    engine = service_of(request).engine
    principal = await principal_of(request)
    require(principal, Scope.KB_ADMIN)
    body = await read_body(request, ChannelBody)
    kb = await engine.knowledge_bases.get(principal, body.kb)
    since: datetime | None = body.since
    made = await engine.chats.history.add(principal, body.channel, kb.id, since=since)
    return JSONResponse(serializers.plain(made), status_code=201)


@returns(Coverage)
async def show_channel(request: Request) -> Response:
    """How much of a channel is stored and searchable, and what is missing."""
    principal = await principal_of(request)
    channel = request.path_params["channel"]
    found = await service_of(request).engine.chats.history.coverage(principal, channel)
    if not found:
        raise NotFound(f"The history of {channel!r} is not stored, or you may not see it.")
    return JSONResponse(serializers.plain(found[0]))


@returns(Coverage)
async def change_channel(request: Request) -> Response:
    """Pause or resume reading it, or change how many days its messages are kept (0: all)."""
    history = service_of(request).engine.chats.history
    principal = await principal_of(request)
    require(principal, Scope.KB_ADMIN)
    body = await read_body(request, ChannelBodyChanges)
    channel = request.path_params["channel"]
    found = None
    if body.state == "paused":
        found = await history.pause(principal, channel)
    elif body.state == "reading":
        found = await history.resume(principal, channel)
    if body.retention_days is not None:
        found = await history.set_retention(principal, channel, body.retention_days or None)
    return JSONResponse(serializers.plain(found))


@returns(Receipt)
async def remove_channel(request: Request) -> Response:
    """Delete a channel's history; no answer uses it from now on."""
    history = service_of(request).engine.chats.history
    principal = await principal_of(request)
    gone = await history.remove(principal, request.path_params["channel"])
    return JSONResponse(serializers.plain(gone))


@returns(Receipt)
async def forget_person(request: Request) -> Response:
    """Delete everything a person wrote in channels, and store nothing more of theirs."""
    history = service_of(request).engine.chats.history
    principal = await principal_of(request)
    found = await history.find_person(principal, request.path_params["person"])
    gone = await history.forget_person(principal, found.workspace_id, found.subject)
    return JSONResponse(serializers.plain(gone))


@returns(Ingestion)
async def show_job(request: Request) -> Response:
    """How far an ingestion is, by its job's id or the document's."""
    principal = await principal_of(request)
    documents = service_of(request).engine.documents
    found = await documents.get_ingestion(principal, request.path_params["job"])
    return JSONResponse(serializers.plain(found))


ROUTES = (
    Route("/api/v1/jobs/{job}", show_job, methods=["GET"]),
    Route("/api/v1/sources/channels", channels, methods=["GET"]),
    Route("/api/v1/sources/channels", add_channel, methods=["POST"]),
    Route("/api/v1/sources/channels/{channel}", show_channel, methods=["GET"]),
    Route("/api/v1/sources/channels/{channel}", change_channel, methods=["PATCH"]),
    Route("/api/v1/sources/channels/{channel}", remove_channel, methods=["DELETE"]),
    Route("/api/v1/sources/people/{person}", forget_person, methods=["DELETE"]),
    Route("/api/v1/sources/pages", add_page, methods=["POST"]),
)
