"""Calls from web pages of other origins that the operator named: preflights and headers.

`RequestGate` asks before it refuses a foreign origin. Such a page can call `/mcp`, `/api` and `/v1` with a
token, and nothing else: it is never the local owner, and a cookie it sends along is dropped.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import Scope

PATHS = ("/api/", "/v1/", "/mcp", "/.well-known/oauth-protected-resource")
METHODS = "GET, POST, PATCH, PUT, DELETE"
EXPOSED = (
    "Location, Mcp-Session-Id, RateLimit, RateLimit-Policy, Retry-After, WWW-Authenticate,"
    " X-Request-Id"
)
PREFLIGHT_LASTS_S = 600
_NAMES = re.compile(r"[A-Za-z0-9-]{1,100}( *, *[A-Za-z0-9-]{1,100}){0,50}")


def is_open(path: str) -> bool:
    """Whether pages of named origins can call this path."""
    return path.startswith(PATHS[:2]) or any(
        path == prefix or path.startswith(f"{prefix}/") for prefix in PATHS[2:]
    )


def is_preflight(scope: Scope, headers: Headers) -> bool:
    """Whether a browser asks what a page may do, before it does it."""
    return scope["method"] == "OPTIONS" and "access-control-request-method" in headers


def answer_preflight(headers: Headers) -> Response:
    """What a page of a named origin may do: any method of ours, with the headers it asks for."""
    wanted = headers.get("access-control-request-headers", "")
    said = {
        "Access-Control-Allow-Methods": METHODS,
        "Access-Control-Max-Age": str(PREFLIGHT_LASTS_S),
        "Vary": "Origin, Access-Control-Request-Headers",
    }
    if _NAMES.fullmatch(wanted.strip()):
        said["Access-Control-Allow-Headers"] = wanted.strip()
    if headers.get("access-control-request-private-network") == "true":
        said["Access-Control-Allow-Private-Network"] = "true"
    return Response(status_code=204, headers=said)


def response_headers(origin: str) -> Mapping[str, str]:
    """What lets a page of `origin` read a response. No credentials: a token is in the request."""
    return {
        "Access-Control-Allow-Origin": origin,
        "Access-Control-Expose-Headers": EXPOSED,
    }
