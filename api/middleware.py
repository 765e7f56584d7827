"""Request middleware: what happens around every request, once.

One pure ASGI middleware gives the request its correlation id, times and logs it, sets the headers
that protect pages, and turns every exception into a response. `Drain` lets the server stop
without waiting for streams that would never end.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

import anyio
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.cors import response_headers
from api.metrics import MetricsRegistry
from api.problems import Problem, problem_of
from engine.errors import EngineError
from engine.telemetry import correlated

log = logging.getLogger(__name__)

# Scripts and styles come from our own files only, nothing is loaded from elsewhere, no one can
# frame a page, and forms are sent only to us.
CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self';"
    " form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
SECURITY_HEADERS = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
# Polled by machines and by our own page.
QUIET = {"/health", "/metrics", "/ready", "/state", "/static/{name}"}

RenderProblem = Callable[[Request, Problem], Response]


class RequestMiddleware:
    """Correlation, log, metrics, headers and the broad catch, around the whole application."""

    def __init__(self, app: ASGIApp, metrics: MetricsRegistry, render: RenderProblem) -> None:
        self._app = app
        self._metrics = metrics
        self._render = render

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        # RFC 9110 5.5: white space around a field's value is not part of it; not every HTTP parser
        # removes it, and MCP compares values.
        scope["headers"] = [(name, value.strip(b" \t")) for name, value in scope["headers"]]
        scope.setdefault("state", {})
        with correlated(Headers(scope=scope).get("x-request-id", "")) as correlation_id:
            await self._serve(scope, receive, send, correlation_id)

    async def _serve(self, scope: Scope, receive: Receive, send: Send, correlation_id: str) -> None:
        started = time.perf_counter()
        status = 0

        async def stamped(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                for name, value in SECURITY_HEADERS.items():
                    headers.setdefault(name, value)
                if "frame-ancestors 'none'" not in headers["Content-Security-Policy"]:
                    del headers["X-Frame-Options"]  # it can name no other site
                headers.setdefault("Cache-Control", "no-store")
                headers["X-Request-Id"] = correlation_id
                headers.update(scope["state"].get("response_headers", {}))
                if origin := scope["state"].get("cross_origin"):
                    headers.update(response_headers(origin))
                    headers.add_vary_header("Origin")
            await send(message)

        try:
            await self._app(scope, receive, stamped)
        except Exception as error:
            problem = problem_of(error)
            if problem.status >= 500 and not isinstance(error, EngineError):
                log.exception("a request failed", extra={"path": _route(scope)})
            if status:
                raise  # half a response is out: only closing the connection shows the failure
            await self._render(Request(scope), problem)(scope, receive, stamped)
        finally:
            took_s = time.perf_counter() - started
            route, method = _route(scope), scope["method"]
            self._metrics.count(
                "scrubjay_http_requests_total", method=method, route=route, status=str(status)
            )
            self._metrics.observe("scrubjay_http_request_duration_seconds", took_s, route=route)
            log.log(
                logging.DEBUG if route in QUIET else logging.INFO,
                "request",
                extra={
                    "method": method,
                    "route": route,
                    "status": status,
                    "took_ms": round(took_s * 1000, 1),
                },
            )


def _route(scope: Scope) -> str:
    """The pattern that matched, never what the caller wrote: it may hold a signed link."""
    route = scope.get("route")
    return getattr(route, "path", "") or "other"


class Drain:
    """Counts requests in progress, and ends those that are left when the server stops."""

    def __init__(self) -> None:
        self.stopping = False
        self._scopes: set[anyio.CancelScope] = set()
        self._idle = anyio.Event()

    async def run(self, app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request inside a scope that `close` can cancel."""
        started = finished = False

        async def watched(message: Message) -> None:
            nonlocal started, finished
            await send(message)
            started = started or message["type"] == "http.response.start"
            if message["type"] == "http.response.body":
                finished = not message.get("more_body", False)

        with anyio.CancelScope() as cancel:
            self._scopes.add(cancel)
            try:
                await app(scope, receive, watched)
            finally:
                self._scopes.discard(cancel)
                if not self._scopes:
                    self._idle.set()
        if cancel.cancelled_caught and not finished:
            if not started:
                await send({"type": "http.response.start", "status": 503, "headers": []})
            await send({"type": "http.response.body", "body": b""})

    async def close(self, grace_s: float) -> None:
        """Wait `grace_s` for requests in progress, then cancel what is left."""
        self.stopping = True
        if self._scopes:
            self._idle = anyio.Event()
            with anyio.move_on_after(grace_s):
                await self._idle.wait()
        for scope in list(self._scopes):
            scope.cancel()


class Draining:
    """ASGI middleware around `Drain`."""

    def __init__(self, app: ASGIApp, drain: Drain) -> None:
        self._app = app
        self._drain = drain

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        await self._drain.run(self._app, scope, receive, send)
