"""`/api/v1/assistants` and `/api/v1/search_apps`: how answers and searches are made for a purpose."""

from __future__ import annotations

from dataclasses import replace

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from api.operations import returns
from api.replies import (
    AssistantReply,
    AssistantsReply,
    DeletedReply,
    SearchAppReply,
    SearchAppsReply,
    SearchReply,
)
from api.schemas import (
    FilterBody,
    Limit,
    Query,
    SortedBy,
    read_body,
)
from api.service import principal_of, service_of
from engine import serializers
from engine.assistants.assistants import Profiles
from engine.assistants.changes import AssistantChanges, SearchAppChanges
from engine.assistants.profiles import AssistantProfile, SearchProfile
from engine.assistants.rows import AssistantInfo
from engine.domain import Principal
from engine.errors import InvalidInput


class AssistantBody(AssistantProfile):
    """`POST /api/v1/assistants`."""


class SearchAppBody(SearchProfile):
    """`POST /api/v1/search_apps`."""


class AppSearchBody(FilterBody):
    """`POST /api/v1/search_apps/{app}/search`; the search app's settings say the rest."""

    query: Query
    limit: Limit | None = None
    sort: SortedBy = "relevance"
    include_metadata: bool = True


def _version(request: Request) -> int | None:
    given = request.headers.get("if-match", "").strip().strip('"')
    if not given or given == "*":
        return None
    if not given.isdecimal() or len(given) > 9:
        raise InvalidInput("If-Match: give the ETag that a read returned.", field="If-Match")
    return int(given)


def _assistants(request: Request) -> Profiles:
    return service_of(request).engine.assistants


def _apps(request: Request) -> Profiles:
    return service_of(request).engine.search_apps


def _named(request: Request) -> str:
    ways = request.path_params
    return str(ways.get("assistant") or ways["app"])


def _shown(info: AssistantInfo, status: int = 200) -> Response:
    headers = {"ETag": f'"{info.version}"'}
    if status == 201:
        headers["Location"] = f"/api/v1/{info.kind}s/{info.slug}"
    return JSONResponse(serializers.assistant(info), status_code=status, headers=headers)


async def _list(request: Request, profiles: Profiles) -> Response:
    found = await profiles.list_all(await principal_of(request))
    return JSONResponse({f"{profiles.kind}s": [serializers.assistant(item) for item in found]})


async def _show(request: Request, profiles: Profiles) -> Response:
    return _shown(await profiles.get(await principal_of(request), _named(request)))


async def _update(
    request: Request, profiles: Profiles, principal: Principal, changes: SearchAppChanges
) -> Response:
    given = changes.model_dump(exclude_unset=True)
    ref, version = _named(request), _version(request)
    return _shown(await profiles.update(principal, ref, given, version=version))


async def _delete(request: Request, profiles: Profiles) -> Response:
    gone = await profiles.remove(await principal_of(request), _named(request))
    return JSONResponse({"deleted": True, "id": gone.id})


@returns(AssistantsReply)
async def index(request: Request) -> Response:
    """The assistants that the caller may use, by name."""
    return await _list(request, _assistants(request))


@returns(AssistantReply, status=201)
async def create(request: Request) -> Response:
    """A new assistant, which its creator owns."""
    principal = await principal_of(request)
    body = await read_body(request, AssistantBody)
    return _shown(await _assistants(request).create(principal, body.model_dump()), 201)


@returns(AssistantReply)
async def show(request: Request) -> Response:
    """One assistant, by slug or id; the ETag is its version."""
    return await _show(request, _assistants(request))


@returns(AssistantReply)
async def update(request: Request) -> Response:
    """Change what is given; it holds from the next question on.

    With `If-Match`: 409 where somebody changed the assistant meanwhile.
    """
    principal = await principal_of(request)
    body = await read_body(request, AssistantChanges)
    return await _update(request, _assistants(request), principal, body)


@returns(DeletedReply)
async def delete(request: Request) -> Response:
    """Delete an assistant; its conversations can be read and are not continued."""
    return await _delete(request, _assistants(request))


@returns(SearchAppsReply)
async def apps(request: Request) -> Response:
    """The search apps that the caller may use, by name."""
    return await _list(request, _apps(request))


@returns(SearchAppReply, status=201)
async def create_app(request: Request) -> Response:
    """A new search app, which its creator owns."""
    principal = await principal_of(request)
    body = await read_body(request, SearchAppBody)
    return _shown(await _apps(request).create(principal, body.model_dump()), 201)


@returns(SearchAppReply)
async def show_app(request: Request) -> Response:
    """One search app, by slug or id; the ETag is its version."""
    return await _show(request, _apps(request))


@returns(SearchAppReply)
async def update_app(request: Request) -> Response:
    """Change what is given; with `If-Match`: 409 where somebody changed it meanwhile."""
    principal = await principal_of(request)
    body = await read_body(request, SearchAppChanges)
    return await _update(request, _apps(request), principal, body)


@returns(DeletedReply)
async def delete_app(request: Request) -> Response:
    """Delete a search app."""
    return await _delete(request, _apps(request))


@returns(SearchReply)
async def search(request: Request) -> Response:
    """The best documents for a query, as the search app's settings say."""
    service = service_of(request)
    principal = await principal_of(request)
    body = await read_body(request, AppSearchBody)
    with service.timed("search"):
        result = await service.engine.search_apps.find(
            principal,
            request.path_params["app"],
            body.query,
            limit=body.limit,
            filters=body.filters,
            order=body.sort,
        )
    result = replace(result, hits=await service.engine.search.at_messages(principal, result.hits))
    url_of = (await service.links(request, principal)).url
    return JSONResponse(serializers.search(result, url_of, include_metadata=body.include_metadata))


ROUTES = (
    Route("/api/v1/assistants", index, methods=["GET"]),
    Route("/api/v1/assistants", create, methods=["POST"]),
    Route("/api/v1/assistants/{assistant}", show, methods=["GET"]),
    Route("/api/v1/assistants/{assistant}", update, methods=["PATCH"]),
    Route("/api/v1/assistants/{assistant}", delete, methods=["DELETE"]),
    Route("/api/v1/search_apps", apps, methods=["GET"]),
    Route("/api/v1/search_apps", create_app, methods=["POST"]),
    Route("/api/v1/search_apps/{app}", show_app, methods=["GET"]),
    Route("/api/v1/search_apps/{app}", update_app, methods=["PATCH"]),
    Route("/api/v1/search_apps/{app}", delete_app, methods=["DELETE"]),
    Route("/api/v1/search_apps/{app}/search", search, methods=["POST"]),
)
