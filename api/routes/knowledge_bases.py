"""`/api/v1/knowledge_bases/{kb}/search`: how a knowledge base is searched, and which files it takes."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from api.schemas import KbChanges, SearchSettingsChanges, read_body
from api.service import principal_of, service_of
from engine import serializers
from engine.access.gate import require
from engine.domain import Scope


async def show_search(request: Request) -> Response:
    """What the knowledge base sets itself; the rest is as the installation says."""
    principal = await principal_of(request)
    require(principal, Scope.KB_READ)
    found = await service_of(request).engine.knowledge_bases.get(
        principal, request.path_params["kb"]
    )
    return JSONResponse({"id": found.id, "search": dict(found.search)})


async def change_search(request: Request) -> Response:
    """Change some of it from the next search on; a setting of null is unset again."""
    principal = await principal_of(request)
    require(principal, Scope.KB_ADMIN)
    body = await read_body(request, SearchSettingsChanges)
    given = body.model_dump(exclude_unset=True)
    changed = await service_of(request).engine.knowledge_bases.set_search(
        principal,
        request.path_params["kb"],
        {name: value for name, value in given.items() if value is not None},
        reset=[name for name, value in given.items() if value is None],
    )
    return JSONResponse({"id": changed.id, "search": dict(changed.search)})


async def reset_search(request: Request) -> Response:
    """Leave everything, or the settings named, to the installation again."""
    principal = await principal_of(request)
    require(principal, Scope.KB_ADMIN)
    named = [*request.query_params.getlist("setting")]
    changed = await service_of(request).engine.knowledge_bases.set_search(
        principal, request.path_params["kb"], reset=named or ["all"]
    )
    return JSONResponse({"id": changed.id, "search": dict(changed.search)})


async def change(request: Request) -> Response:
    """Rename or describe a knowledge base, or change which files it takes."""
    principal = await principal_of(request)
    require(principal, Scope.KB_ADMIN)
    body = await read_body(request, KbChanges)
    changed = await service_of(request).engine.knowledge_bases.update(
        principal,
        request.path_params["kb"],
        name=body.name,
        description=body.description,
        formats=body.supported_formats,
    )
    return JSONResponse(serializers.knowledge_base(changed))


ROUTES = (
    Route("/api/v1/knowledge_bases/{kb}", change, methods=["PATCH"]),
    Route("/api/v1/knowledge_bases/{kb}/search", show_search, methods=["GET"]),
    Route("/api/v1/knowledge_bases/{kb}/search", change_search, methods=["PATCH"]),
    Route("/api/v1/knowledge_bases/{kb}/search", reset_search, methods=["DELETE"]),
)
