"""An OpenID Connect provider on loopback that signs people in, and lies as a test tells it to.

`approve` stands for the person's browser at the provider: it takes the address Scrubjay sent it to
and returns the one the provider sends it back to. The token endpoint checks client, redirect
address, PKCE and that a code comes once, as real ones do.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit

import jwt
import uvicorn
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

CLIENT = ("scrubjay", "p@ss:w/rd+%")
PERSON = {
    "sub": "person-1",
    "email": "ada@example.com",
    "email_verified": True,
    "name": "Ada Lovelace",
}
Sign = Callable[[dict[str, Any]], str]


class IdentityProvider:
    """The provider; `issuer` is its address once it listens."""

    def __init__(self) -> None:
        self.issuer = ""
        self.key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        self.stranger = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        self.codes: dict[str, dict[str, Any]] = {}
        self.metadata: dict[str, Any] = {}  # changes: None leaves one out
        self.userinfo: dict[str, Any] = {}
        self.calls: list[str] = []

    def approve(
        self,
        asked: str,
        *,
        sign: Sign | None = None,
        header: dict[str, Any] | None = None,
        answer: dict[str, str] | None = None,
        **changes: Any,
    ) -> str:
        """The address that the browser is sent back to, for whoever `changes` describe.

        A change to None leaves a claim out; `sign` makes the token in another way.
        """
        said = dict(parse_qsl(urlsplit(asked).query))
        now = int(time.time())
        claims = {"iss": self.issuer, "aud": said["client_id"], "iat": now, "exp": now + 300}
        claims |= PERSON | {"nonce": said.get("nonce"), "auth_time": now} | changes
        claims = {name: value for name, value in claims.items() if value is not None}
        token = sign(claims) if sign else self.sign(claims, header)
        code = f"code-{len(self.codes)}"
        self.codes[code] = said | {"id_token": token}
        back = {"code": code, "state": said["state"]} | (answer or {})
        return f"{said['redirect_uri']}?{urlencode(back)}"

    def sign(self, claims: dict[str, Any], header: dict[str, Any] | None = None) -> str:
        """Claims as the provider signs them."""
        return jwt.encode(
            claims, self.pem(self.key), algorithm="RS256", headers={"kid": "k1"} | (header or {})
        )

    @staticmethod
    def pem(key: rsa.RSAPrivateKey) -> bytes:
        """A private key as a text."""
        return key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )

    def public_pem(self) -> bytes:
        """The public key as a text, which everybody can read."""
        return self.key.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )

    def app(self) -> Starlette:
        """The endpoints."""
        return Starlette(
            routes=[
                Route("/.well-known/openid-configuration", self._metadata),
                Route("/keys", self._keys),
                Route("/token", self._token, methods=["POST"]),
                Route("/userinfo", self._userinfo),
                Route("/trap", self._trap),
            ]
        )

    async def _metadata(self, _: Request) -> Response:
        self.calls.append("metadata")
        said: dict[str, Any] = {
            "issuer": self.issuer,
            "authorization_endpoint": f"{self.issuer}/authorize",
            "token_endpoint": f"{self.issuer}/token",
            "userinfo_endpoint": f"{self.issuer}/userinfo",
            "jwks_uri": f"{self.issuer}/keys",
            "token_endpoint_auth_methods_supported": ["client_secret_basic"],
        } | self.metadata
        return JSONResponse({name: value for name, value in said.items() if value is not None})

    async def _keys(self, _: Request) -> Response:
        self.calls.append("keys")
        shown = json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(self.key.public_key()))
        return JSONResponse({"keys": [shown | {"kid": "k1", "use": "sig", "alg": "RS256"}]})

    async def _trap(self, _: Request) -> Response:
        self.calls.append("trap")
        return Response()

    async def _token(self, request: Request) -> Response:
        given = request.headers.get("authorization", "").removeprefix("Basic ")
        name, _, secret = base64.b64decode(given).decode().partition(":")
        if (unquote(name), unquote(secret)) != CLIENT:
            return JSONResponse({"error": "invalid_client"}, 401)
        form = {name: str(value) for name, value in (await request.form()).items()}
        said = self.codes.pop(form.get("code", ""), None)
        digest = hashlib.sha256(form.get("code_verifier", "").encode()).digest()
        challenge = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
        if (
            said is None
            or said["code_challenge"] != challenge
            or said["code_challenge_method"] != "S256"
            or said["redirect_uri"] != form.get("redirect_uri")
        ):
            return JSONResponse({"error": "invalid_grant"}, 400)
        return JSONResponse(
            {"access_token": "opaque", "token_type": "Bearer", "id_token": said["id_token"]}
        )

    async def _userinfo(self, request: Request) -> Response:
        self.calls.append("userinfo")
        if request.headers.get("authorization") != "Bearer opaque":
            return Response(status_code=401)
        return JSONResponse(self.userinfo)


@asynccontextmanager
async def open_identity_provider() -> AsyncIterator[IdentityProvider]:
    """A provider that listens, for as long as the context is open."""
    provider = IdentityProvider()
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
