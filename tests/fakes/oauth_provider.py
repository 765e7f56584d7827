"""An OpenID Connect provider on loopback: metadata, keys, signed access tokens, introspection.

It signs what a test asks for, and does what real ones do: `kid` in headers, key rotation, Basic
authentication at the introspection endpoint.
"""

from __future__ import annotations

import asyncio
import base64
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import jwt
import uvicorn
from cryptography.hazmat.primitives.asymmetric import ec
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

CLIENT = ("scrubjay", "introspection-secret")


class Provider:
    """The provider; `issuer` is its address once it listens."""

    def __init__(self) -> None:
        self.issuer = ""
        self.key_fetches = 0
        self.introspections = 0
        self.is_away = False
        self.opaque: dict[str, dict[str, Any]] = {}
        self.rotate("k1")

    def rotate(self, kid: str) -> None:
        """Sign with a new key from now on, and publish that alone."""
        self.kid = kid
        self.key = ec.generate_private_key(ec.SECP256R1())

    def claims(self, **changes: Any) -> dict[str, Any]:
        """What a good token says; a change to None leaves the claim out."""
        now = int(time.time())
        good = {
            "iss": self.issuer,
            "sub": "subject-1",
            "aud": "https://kb.example.com/mcp",
            "iat": now,
            "exp": now + 300,
            "scope": "openid kb:read kb:ask",
            "email": "ada@example.com",
            "email_verified": True,
        }
        return {name: value for name, value in (good | changes).items() if value is not None}

    def token(self, **changes: Any) -> str:
        """A signed access token."""
        return jwt.encode(
            self.claims(**changes), self.key, algorithm="ES256", headers={"kid": self.kid}
        )

    def opaque_token(self, name: str, **changes: Any) -> str:
        """A token only introspection explains."""
        self.opaque[name] = self.claims(**changes) | {"active": True}
        return name

    def app(self) -> Starlette:
        """The endpoints."""
        return Starlette(
            routes=[
                Route("/.well-known/openid-configuration", self._metadata),
                Route("/keys", self._keys),
                Route("/introspect", self._introspect, methods=["POST"]),
            ]
        )

    async def _metadata(self, _: Request) -> Response:
        if self.is_away:
            return Response("SECRET UPSTREAM TEXT", 500)
        return JSONResponse({"issuer": self.issuer, "jwks_uri": f"{self.issuer}/keys"})

    async def _keys(self, _: Request) -> Response:
        self.key_fetches += 1
        if self.is_away:
            return Response("SECRET UPSTREAM TEXT", 500)
        shown = json.loads(jwt.algorithms.ECAlgorithm.to_jwk(self.key.public_key()))
        return JSONResponse({"keys": [shown | {"kid": self.kid, "use": "sig", "alg": "ES256"}]})

    async def _introspect(self, request: Request) -> Response:
        self.introspections += 1
        given = request.headers.get("authorization", "").removeprefix("Basic ")
        if base64.b64decode(given).decode() != ":".join(CLIENT):
            return Response(status_code=401)
        form = await request.form()
        return JSONResponse(self.opaque.get(str(form["token"]), {"active": False}))


@asynccontextmanager
async def open_provider() -> AsyncIterator[Provider]:
    """A provider that listens, for as long as the context is open."""
    provider = Provider()
    config = uvicorn.Config(
        provider.app(), host="127.0.0.1", port=0, log_config=None, lifespan="off", loop="none"
    )
    server = uvicorn.Server(config)
    server.install_signal_handlers = lambda: None  # type: ignore[attr-defined]  # the test's own
    serving = asyncio.create_task(server.serve())
    async with asyncio.timeout(60):
        while not server.started:  # noqa: ASYNC110 (uvicorn offers no event)
            await asyncio.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    provider.issuer = f"http://127.0.0.1:{port}"
    try:
        yield provider
    finally:
        server.should_exit = True
        await serving
