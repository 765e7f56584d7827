"""Streamable HTTP: the MCP door for a host that has already let the caller in.

Stateless on purpose: no session survives a request, so a restart of the server goes unnoticed. The
answers are event streams, which keep progress, keep-alive and cancellation when the client leaves.
Host, Origin and the credential have been checked by the host's gate, which knows more addresses
than the SDK's lists can name; its own check is therefore off.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from mcp.server.mcpserver import Context
from mcp.server.transport_security import TransportSecuritySettings
from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from engine.domain import Principal
from engine.engine import Engine
from engine.links import Links
from engine.settings import Settings
from mcp_server.caller import Caller, Door
from mcp_server.server import build_server

BaseUrl = Callable[[Settings, Request], str]


class HttpDoor:
    """The MCP server behind an ASGI application."""

    def __init__(self, door: Door) -> None:
        server = build_server(door)
        server.streamable_http_app(
            stateless_http=True,
            json_response=False,
            transport_security=TransportSecuritySettings(enable_dns_rebinding_protection=False),
        )
        self._sessions = server.session_manager

    @asynccontextmanager
    async def running(self) -> AsyncIterator[ASGIApp]:
        """The application, for as long as the context is open; once only."""
        async with self._sessions.run():
            yield self._serve

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._sessions.handle_request(scope, receive, send)


def build_http_door(engine: Engine, settings: Settings, base_url: BaseUrl) -> HttpDoor:
    """The door for an open engine; the host leaves who calls in `scope["state"]["principal"]`."""

    async def caller(context: Context) -> Caller:
        request = context.request_context.request
        assert isinstance(request, Request)  # noqa: S101 (only HTTP comes here)
        principal = request.state.principal
        assert isinstance(principal, Principal)  # noqa: S101 (the host has set it)
        links = Links(base_url(settings, request), lambda id_: engine.sign_link(principal, id_))
        return Caller(engine, principal, links)

    return HttpDoor(Door(caller))
