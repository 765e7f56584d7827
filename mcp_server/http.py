"""Streamable HTTP: the MCP server for a host that has already authenticated the caller.

Stateless on purpose: no session survives a request, so clients don't notice a restart. Responses
are event streams, which keep progress, keep-alive and cancellation when the client leaves; a client
that takes only JSON gets that. Host,
Origin and the credential have been checked by the host's `RequestGate`, which knows more addresses
than the SDK's lists can name; its own check is therefore off.
"""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager

from mcp.server.streamable_http import check_accept_headers
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
from mcp.server.transport_security import TransportSecuritySettings
from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from engine.domain import Principal
from engine.engine import Engine
from engine.search.links import Links
from engine.settings import Settings
from mcp_server.buckets import Buckets, Rate
from mcp_server.caller import Door, McpCaller
from mcp_server.server import KnowledgeServer, build_server

LinksOf = Callable[[Request, Principal], Awaitable[Links]]
TOOLSETS = b"x-toolsets"  # a header, as `?tools=` is a parameter: tools a client wants to see


class HttpDoor:
    """MCP servers behind one ASGI application: the full one, and the profile for ChatGPT.

    `stateless` and `announces` are for code that adds tools which ask the client back or announce
    changes; ours do neither.
    """

    def __init__(self, door: Door, *, stateless: bool = True, announces: bool = False) -> None:
        self.full = build_server(door, announces=announces)
        self.chatgpt = build_server(door, profile="chatgpt")
        self._streaming: dict[str, StreamableHTTPSessionManager] = {}
        self._plain: dict[str, StreamableHTTPSessionManager] = {}
        for path, server in (("/mcp", self.full), ("/mcp/chatgpt", self.chatgpt)):
            if stateless:
                self._plain[path] = _sessions(server, stateless=True, plain=True)
            self._streaming[path] = _sessions(server, stateless=stateless)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[ASGIApp]:
        """The application, for as long as the context is open; once only."""
        async with AsyncExitStack() as stack:
            for sessions in (*self._plain.values(), *self._streaming.values()):
                await stack.enter_async_context(sessions.run())
            yield self._serve

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope["path"].rstrip("/")
        if not any(name == b"accept" for name, _ in scope["headers"]):
            scope["headers"] = [*scope["headers"], (b"accept", b"*/*")]  # RFC 9110, 12.5.1
        takes_json, takes_streams = check_accept_headers(Request(scope))
        sessions = self._streaming[path]
        if takes_json and not takes_streams:
            sessions = self._plain.get(path, sessions)
        await sessions.handle_request(scope, receive, _patient(scope, send))


def _sessions(
    server: KnowledgeServer, *, stateless: bool, plain: bool = False
) -> StreamableHTTPSessionManager:
    """Sessions that answer with event streams; `plain` ones with one JSON object."""
    server.streamable_http_app(
        stateless_http=stateless,
        json_response=plain,
        transport_security=TransportSecuritySettings(enable_dns_rebinding_protection=False),
    )
    return server.session_manager


def _patient(scope: Scope, send: Send) -> Send:
    """Hold the head back until the first byte of the body, to add `Retry-After` if needed."""
    head: Message | None = None

    async def patient(message: Message) -> None:
        nonlocal head
        if message["type"] == "http.response.start":
            head = message
            return
        if head is not None:
            if wait_s := scope["state"].get("retry_after_s"):
                MutableHeaders(scope=head)["Retry-After"] = str(math.ceil(wait_s))
            await send(head)
            head = None
        await send(message)

    return patient


def build_door(engine: Engine, settings: Settings, links_of: LinksOf) -> Door:
    """The door for an open engine; the host sets `principal` and `again` in `scope["state"]`."""

    async def caller(request: Request | None) -> McpCaller:
        assert request is not None  # noqa: S101 (only HTTP comes here)
        principal = _principal(request)
        return McpCaller(engine, principal, await links_of(request, principal))

    async def reader(request: Request | None) -> Principal | None:
        return None if request is None else _principal(request)

    async def again(request: Request | None) -> None:
        if request is not None:
            await request.state.again()

    return Door(
        caller,
        reader=reader,
        again=again,
        chosen_tools=chosen_tools,
        write_tools=settings.mcp.write_tools,
        statistics=settings.mcp.statistics,
        plugin_tools=settings.mcp.plugin_tools,
        calls=Buckets(Rate(settings.mcp.calls_per_minute, settings.mcp.calls_burst)),
    )


def chosen_tools(request: Request | None) -> frozenset[str] | None:
    """The tools named by `?tools=` or the header, separated by commas; None without either."""
    if request is None:
        return None
    given = ""
    if request.scope["query_string"]:  # read in every call, and rarely there
        given = request.query_params.get("tools", "")
    for name, value in () if given else request.scope["headers"]:
        if name == TOOLSETS:
            given = value.decode("latin-1")
    return frozenset(name.strip() for name in given.split(",") if name.strip()) or None


def _principal(request: Request) -> Principal:
    principal = request.state.principal
    assert isinstance(principal, Principal)  # noqa: S101 (the host has set it)
    return principal


def build_http_door(engine: Engine, settings: Settings, links_of: LinksOf) -> HttpDoor:
    """The HTTP door for an open engine."""
    return HttpDoor(build_door(engine, settings, links_of))
