"""The `/mcp` endpoints of the host: who may call, how often, and the OAuth metadata.

Everything that needs no MCP library happens here, before a message is read: the credential, its
rate, the scope a named tool needs, the metadata. The library takes about a second and 60 MB to
load, so it is loaded when the first assistant comes, in a thread; its session managers then live in
a task of the host's lifespan.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import re
from collections.abc import AsyncIterator, Callable, Collection
from functools import partial
from typing import TYPE_CHECKING

import anyio.to_thread
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from api.auth import SIGN_IN, SIGN_IN_ELSEWHERE
from api.cookies import address_of
from api.keyless import is_loopback
from api.permitted import require_same
from api.problems import HttpRefusal
from api.service import Service, links_of
from engine.domain import Principal
from engine.errors import NotFound, RateLimited, Unauthenticated
from mcp_server import metadata
from mcp_server.buckets import Buckets, Rate
from mcp_server.credentials import build_credentials, require_verifier

if TYPE_CHECKING:
    from engine.engine import Engine
    from engine.settings import Settings
    from mcp_server.http import HttpDoor, LinksOf

log = logging.getLogger(__name__)

# The scope a tool needs, for clients that name the tool in a header (2026-07-28): they get a
# challenge they can answer with a better token. A test compares it with the tools themselves.
SCOPES = {
    "add_document": "kb:write",
    "ask": "kb:ask",
    "delete_document": "kb:admin",
    "fetch": "kb:read",
    "get_ingestion": "kb:write",
    "get_statistics": "kb:manage",
    "list_documents": "kb:read",
    "list_knowledge_bases": "kb:read",
    "run_workflow": "kb:ask",
    "search": "kb:read",
}


class McpDoor:
    """The endpoints: let known callers in, and load the library when the first one comes."""

    def __init__(
        self,
        engine: Engine,
        settings: Settings,
        *,
        load: Callable[[], Callable[[Engine, Settings, LinksOf], HttpDoor]] | None = None,
        methods: Collection[str] = ("POST",),
    ) -> None:
        require_verifier(settings, loopback=is_loopback(settings.server.host))
        self._engine = engine
        self._settings = settings
        self._load = load or _load_mcp
        self._methods = methods
        self._credentials = build_credentials(engine, settings)
        self._requests = Buckets(
            Rate(settings.mcp.requests_per_minute, settings.mcp.requests_burst)
        )
        self._wanted = asyncio.Event()
        self._app: asyncio.Future[ASGIApp] | None = None

    def routes(self) -> list[BaseRoute]:
        """The endpoints and the metadata about them."""
        return [
            *(self._endpoint(path) for path in metadata.ENDPOINTS),
            *(Route(path, endpoint=self._metadata, methods=["GET"]) for path in metadata.paths()),
        ]

    def _endpoint(self, path: str) -> Route:
        """The route of an endpoint, also with a slash at its end.

        A redirect would lose the body, and name the Host that the caller chose.
        """
        route = Route(path, endpoint=self)
        route.path_regex = re.compile(f"^{re.escape(path)}/?$")
        return route

    @contextlib.asynccontextmanager
    async def lifespan(self) -> AsyncIterator[None]:
        """Hold the door's task for as long as the host runs."""
        task = asyncio.create_task(self._hold())
        try:
            yield
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    async def _hold(self) -> None:
        await self._wanted.wait()
        assert self._app is not None  # noqa: S101 (set before the event)
        try:
            build_http_door = await anyio.to_thread.run_sync(self._load)
            door = build_http_door(self._engine, self._settings, links_of)
            # A session manager's task group must end in the task that began it: this one.
            async with door.running() as app:
                self._app.set_result(app)
                await asyncio.Event().wait()
        except Exception as error:
            log.exception("the MCP server could not be opened")
            if not self._app.done():
                self._app.set_exception(error)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one MCP message, if the caller may send it."""
        request = Request(scope)
        if request.method not in self._methods:
            # Without sessions there is no stream to get and nothing to delete.
            refusal = HttpRefusal(405, "Send MCP messages by POST.", code="method_not_allowed")
            refusal.headers = {"Allow": ", ".join(self._methods)}
            raise refusal
        service: Service = scope["app"].state.service
        principal = await self._principal(request, service)
        self._admit(request, principal)
        scope["state"]["principal"] = principal
        scope["state"]["again"] = partial(self._again, request, service, principal)
        scope["state"]["metrics"] = service.metrics
        if self._app is None:
            self._app = asyncio.get_running_loop().create_future()
            self._wanted.set()
        app = self._app.result() if self._app.done() else await asyncio.shield(self._app)
        await app(scope, receive, send)

    async def _principal(self, request: Request, service: Service) -> Principal:
        """The token's owner, or the local owner where no token is needed."""
        header = request.headers.get("authorization", "")
        if not header and service.doorkeeper.is_keyless(request):
            return await service.doorkeeper.principal(request)
        scheme, _, token = header.partition(" ")
        fault = "invalid_token" if header else ""
        if scheme.lower() != "bearer" or not token.strip():
            raise self._challenged(401, self._sign_in(), request, error=fault)
        try:
            address = address_of(request)
            return await self._credentials.principal(token.strip(), address=address)
        except Unauthenticated as error:
            raise self._challenged(401, str(error), request, error=fault) from None

    async def _again(self, request: Request, service: Service, principal: Principal) -> None:
        """Raise where the caller may by now read less than when their request came."""
        token = request.headers.get("authorization", "").partition(" ")[2].strip()
        if token:
            present = await self._credentials.principal(token, address=address_of(request))
        else:
            present = await service.doorkeeper.again(request, principal)
        require_same(principal, present)

    def _sign_in(self) -> str:
        """How to get a token that this door takes: not everyone who comes here can run commands."""
        chosen = self._settings.mcp
        elsewhere = SIGN_IN_ELSEWHERE.format(issuer=chosen.oauth_issuer)
        if not chosen.api_tokens and chosen.oauth_issuer:
            return elsewhere
        return f"{SIGN_IN} Or: {elsewhere}" if chosen.oauth_issuer else SIGN_IN

    def _admit(self, request: Request, principal: Principal) -> None:
        who = principal.api_token_id or f"{principal.tenant_id}:{principal.user_id}"
        if wait_s := self._requests.take(who):
            raise RateLimited(
                f"Rate limit: {self._requests.rate.per_minute} requests per minute.",
                retry_after_s=math.ceil(wait_s),
            )
        if request.headers.get("mcp-method") != "tools/call":
            return
        name = request.headers.get("mcp-name", "")
        scope = SCOPES.get(name, "")
        if scope and scope not in principal.scopes:
            raise self._challenged(
                403,
                f"{name} needs the scope {scope}, which this credential does not have.",
                request,
                error="insufficient_scope",
                scopes=[scope],
            )

    def _challenged(
        self,
        status: int,
        detail: str,
        request: Request,
        *,
        error: str,
        scopes: list[str] | None = None,
    ) -> HttpRefusal:
        code = "unauthenticated" if status == 401 else "forbidden"
        refusal = HttpRefusal(status, detail, code=code)
        endpoint = request.url.path.rstrip("/")
        wanted = scopes or [str(scope) for scope in metadata.ASKED_FOR]
        value = metadata.challenge(self._settings, endpoint, error=error, scopes=wanted)
        refusal.headers = {"WWW-Authenticate": value}
        return refusal

    async def _metadata(self, request: Request) -> Response:
        found = metadata.document(self._settings, request.url.path)
        if found is None:
            raise NotFound("This server has no OAuth provider; use an API token.")
        # Web clients read it from other origins; nothing in it is secret.
        headers = {"Access-Control-Allow-Origin": "*", "Cache-Control": "public, max-age=300"}
        return JSONResponse(found, headers=headers)


def _load_mcp() -> Callable[[Engine, Settings, LinksOf], HttpDoor]:
    from mcp_server.http import build_http_door

    return build_http_door
