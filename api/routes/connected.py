"""`/api/v1/sources/connected`: where documents come from: connect, sync, pause, confirm, remove."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from api.json_replies import json_reply
from api.operations import returns
from api.replies import (
    ConnectedReply,
    FindingsReply,
    LeftOutReply,
    PreviewReply,
    RemovedSourceReply,
    SourceKindsReply,
    SourcesReply,
    SyncsReply,
)
from api.schemas import Body, Name, read_body, read_query
from api.service import principal_of, service_of
from engine.sources.reports import SourceInfo
from engine.sources.sources import NewSource, Sources

Domains = Annotated[list[Name], Field(max_length=100)]
Every = Annotated[int, Field(ge=0, le=30 * 86_400)]
Named = Annotated[str, Field(max_length=100)]  # of a credential; empty: none


class ConnectBody(Body):
    """`POST /api/v1/sources/connected`. `every_s` null: as often as the kind is usually synced; 0: by hand."""

    kind: Annotated[str, Field(min_length=1, max_length=40)]
    name: Annotated[str, Field(min_length=1, max_length=100)]
    kb: Name = "default"
    settings: dict[str, Any] = Field(default_factory=dict)
    every_s: Every | None = None
    domains: Domains = Field(default_factory=list)
    credential: Named = ""


class SourcePreviewBody(Body):
    """`POST /api/v1/sources/preview`."""

    kind: Annotated[str, Field(min_length=1, max_length=40)]
    settings: dict[str, Any] = Field(default_factory=dict)
    credential: Named = ""


class SourceChanges(Body):
    """`PATCH /api/v1/sources/connected/{source}`; what is left out stays."""

    settings: dict[str, Any] | None = None
    every_s: Every | None = None
    domains: Domains | None = None
    credential: Named | None = None


class SyncBody(Body):
    """`POST /api/v1/sources/connected/{source}/sync`; `whole` lists all of it again."""

    whole: bool = False


class ManyQuery(Body):
    """The query of lists of a source."""

    limit: Annotated[int, Field(ge=1, le=1000)] = 200


def _sources(request: Request) -> Sources:
    return service_of(request).engine.sources


def _named(request: Request) -> str:
    return str(request.path_params["source"])


@returns(SourceKindsReply)
async def kinds(request: Request) -> Response:
    """The kinds of sources that can be connected, with the settings each takes."""
    await principal_of(request)
    return json_reply({"kinds": _sources(request).kinds()})


@returns(SourcesReply)
async def index(request: Request) -> Response:
    """The tenant's sources, by name."""
    principal = await principal_of(request)
    return json_reply({"sources": await _sources(request).list_all(principal)})


@returns(ConnectedReply, status=201)
async def add(request: Request) -> Response:
    """Connect a source: it is checked, saved and synced."""
    principal = await principal_of(request)
    body = await read_body(request, ConnectBody)
    new = NewSource(
        body.kind,
        body.name,
        body.kb,
        body.settings,
        every_s=body.every_s,
        domains=body.domains,
        credential=body.credential,
    )
    info, findings = await _sources(request).add(principal, new)
    return json_reply({"source": info, "findings": findings}, 201)


@returns(PreviewReply)
async def preview(request: Request) -> Response:
    """What a sync with these settings would take first; nothing is stored."""
    principal = await principal_of(request)
    body = await read_body(request, SourcePreviewBody)
    found = await _sources(request).preview(
        principal, body.kind, body.settings, credential=body.credential
    )
    return json_reply({"items": found})


@returns(SourceInfo)
async def show(request: Request) -> Response:
    """A source: settings, parts, last sync, what is missing."""
    principal = await principal_of(request)
    return json_reply(await _sources(request).get(principal, _named(request)))


@returns(SourceInfo)
async def change(request: Request) -> Response:
    """Change a source; then it is synced."""
    principal = await principal_of(request)
    body = await read_body(request, SourceChanges)
    info = await _sources(request).update(
        principal,
        _named(request),
        settings=body.settings,
        every_s=body.every_s,
        domains=body.domains,
        credential=body.credential,
    )
    return json_reply(info)


@returns(RemovedSourceReply)
async def remove(request: Request) -> Response:
    """Remove a source with all its documents, at once."""
    principal = await principal_of(request)
    count = await _sources(request).remove(principal, _named(request))
    return json_reply({"removed": _named(request), "documents": count})


@returns(FindingsReply)
async def check(request: Request) -> Response:
    """Whether a source can be read now."""
    principal = await principal_of(request)
    return json_reply({"findings": await _sources(request).check(principal, _named(request))})


@returns(SourceInfo, status=202)
async def sync(request: Request) -> Response:
    """Sync a source now."""
    principal = await principal_of(request)
    body = await read_body(request, SyncBody)
    info = await _sources(request).sync(principal, _named(request), whole=body.whole)
    return json_reply(info, 202)


@returns(SourceInfo)
async def pause(request: Request) -> Response:
    """Read a source no more; what is stored keeps answering."""
    principal = await principal_of(request)
    return json_reply(await _sources(request).pause(principal, _named(request)))


@returns(SourceInfo)
async def resume(request: Request) -> Response:
    """Go on with a source."""
    principal = await principal_of(request)
    return json_reply(await _sources(request).resume(principal, _named(request)))


@returns(SourceInfo)
async def confirm(request: Request) -> Response:
    """Say yes to the deletions that were withheld."""
    principal = await principal_of(request)
    return json_reply(await _sources(request).confirm(principal, _named(request)))


@returns(LeftOutReply)
async def left_out(request: Request) -> Response:
    """What a source has and no answer uses, with the reasons."""
    principal = await principal_of(request)
    query = read_query(request, ManyQuery)
    found = await _sources(request).why(principal, _named(request), limit=query.limit)
    return json_reply({"items": found})


@returns(SyncsReply)
async def runs(request: Request) -> Response:
    """The last syncs of a source, the newest first."""
    principal = await principal_of(request)
    query = read_query(request, ManyQuery)
    found = await _sources(request).runs(principal, _named(request), limit=query.limit)
    return json_reply({"syncs": found})


_ONE = "/api/v1/sources/connected/{source}"
ROUTES = (
    Route("/api/v1/sources/kinds", kinds, methods=["GET"]),
    Route("/api/v1/sources/connected", index, methods=["GET"]),
    Route("/api/v1/sources/connected", add, methods=["POST"]),
    Route("/api/v1/sources/preview", preview, methods=["POST"]),
    Route(_ONE, show, methods=["GET"]),
    Route(_ONE, change, methods=["PATCH"]),
    Route(_ONE, remove, methods=["DELETE"]),
    Route(f"{_ONE}/check", check, methods=["POST"]),
    Route(f"{_ONE}/confirm", confirm, methods=["POST"]),
    Route(f"{_ONE}/left_out", left_out, methods=["GET"]),
    Route(f"{_ONE}/pause", pause, methods=["POST"]),
    Route(f"{_ONE}/resume", resume, methods=["POST"]),
    Route(f"{_ONE}/sync", sync, methods=["POST"]),
    Route(f"{_ONE}/syncs", runs, methods=["GET"]),
)
