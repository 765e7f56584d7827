"""Who sent a request, and whether it was meant for this server.

`RequestGate` checks Host and Origin on every route (421, 403), so that neither a rebound DNS name
nor a foreign page reaches anything. `Doorkeeper` finds the principal: a bearer token, or, only
if only this machine can be asking, the local owner without one. `/mcp` goes through the
same two. Nothing here decides what a principal may do; that is `engine.access`.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Receive, Scope, Send

from api.problems import HttpRefusal
from engine.domain import Principal
from engine.engine import Engine
from engine.errors import NotFound, Unauthenticated
from engine.settings import ServerSettings

# A request with one of these came through a proxy: the client behind it can be anywhere.
FORWARDING = (
    "cf-connecting-ip",
    "fly-client-ip",
    "forwarded",
    "forwarded-for",
    "proxy-connection",
    "true-client-ip",
    "via",
    "x-azure-clientip",
    "x-client-ip",
    "x-cluster-client-ip",
    "x-real-ip",
)
FORWARDING_PREFIXES = ("cf-", "tailscale-", "x-envoy-", "x-forwarded", "x-original-")
WILDCARDS = {"0.0.0.0", "::", ""}  # noqa: S104 (recognised, not bound)
SIGN_IN = (
    "This needs an API token, sent as `Authorization: Bearer …`."
    " Create one with `scrubjay token create`."
)


def is_loopback(host: str) -> bool:
    """Whether a host name or address means this machine and nothing else."""
    name = host.strip("[]").rstrip(".").lower()
    if name == "localhost":
        return True
    try:
        address = ipaddress.ip_address(name)
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return bool((mapped or address).is_loopback)


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return False
    return True


def _host_of(authority: str) -> str:
    """The host of `host:port`, lower case, without brackets; empty where it is malformed."""
    try:
        parts = urlsplit(f"//{authority}")
        port = parts.port
    except ValueError:
        return ""
    if parts.path or parts.query or parts.fragment or parts.username is not None or port == 0:
        return ""
    return (parts.hostname or "").rstrip(".")


@dataclass(frozen=True, slots=True)
class Addresses:
    """The names this server answers to.

    Loopback names always; `server.host` and `server.public_url`; and, where it listens on more
    than loopback, any plain IP address and this machine's name: an address can't be rebound.
    """

    loopback_only: bool
    public_url: str
    names: frozenset[str]

    @classmethod
    def of(cls, server: ServerSettings) -> Addresses:
        """The addresses a configuration means."""
        names = {server.host.strip("[]").lower()} - WILDCARDS
        if server.public_url:
            names.add((urlsplit(server.public_url).hostname or "").lower())
        if server.host in WILDCARDS:
            names.add(socket.gethostname().lower())
        return cls(is_loopback(server.host), server.public_url, frozenset(names))

    def is_own_host(self, authority: str) -> bool:
        """Whether a `Host` header names this server."""
        host = _host_of(authority)
        if not host:
            return False
        if host in self.names or is_loopback(host):
            return True
        return not self.loopback_only and _is_address(host)

    def is_own_origin(self, origin: str, authority: str) -> bool:
        """Whether an `Origin` header is that of a page this server served under `authority`."""
        try:
            parts = urlsplit(origin)
        except ValueError:
            return False
        if parts.scheme not in {"http", "https"} or not parts.netloc:
            return False
        if self.public_url and origin.rstrip("/").lower() == _origin_of(self.public_url):
            return True
        return parts.netloc.lower() == authority.lower()


def _origin_of(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}".lower()


class RequestGate:
    """ASGI middleware that lets through what was sent to this server, from nowhere foreign."""

    def __init__(self, app: ASGIApp, addresses: Addresses) -> None:
        self._app = app
        self._addresses = addresses

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Check one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        authority = headers.get("host", "")
        if len(headers.getlist("host")) > 1 or not self._addresses.is_own_host(authority):
            raise HttpRefusal(
                421,
                f"This server does not answer to {authority[:100]!r}. If it should, set "
                "server.public_url to the address people use.",
                code="wrong_host",
            )
        for origin in headers.getlist("origin"):
            if not self._addresses.is_own_origin(origin, authority):
                raise HttpRefusal(
                    403,
                    f"Pages of {origin[:100]!r} may not call this server.",
                    code="wrong_origin",
                )
        if scope["method"] not in {"GET", "HEAD", "OPTIONS"} and is_foreign_page(headers):
            raise HttpRefusal(403, "A page of another site may not do this.", code="wrong_origin")
        await self._app(scope, receive, send)


def is_foreign_page(headers: Headers) -> bool:
    """Whether a browser says that another site caused this request, and no token vouches for it."""
    if headers.get("authorization"):
        return False
    return headers.get("sec-fetch-site", "none") not in {"none", "same-origin"}


class Doorkeeper:
    """Finds out who sent a request, for each request again, because what they hold can change."""

    def __init__(self, engine: Engine, addresses: Addresses, *, keyless: bool = True) -> None:
        self._engine = engine
        self._addresses = addresses
        self._keyless = keyless
        self._owner = LocalOwner(engine)

    async def principal(self, connection: HTTPConnection) -> Principal:
        """The token's owner, or the local owner where no token is needed."""
        header = connection.headers.get("authorization", "")
        if header:
            scheme, _, secret = header.partition(" ")
            if scheme.lower() != "bearer" or not secret.strip():
                raise Unauthenticated(SIGN_IN)
            return await self._engine.people.authenticate(secret.strip())
        if not self.is_keyless(connection):
            raise Unauthenticated(SIGN_IN)
        return await self._owner.now()

    def is_keyless(self, connection: HTTPConnection) -> bool:
        """Whether only this machine can be asking: bind, peer and Host are loopback, no proxy."""
        if not self._keyless or not self._addresses.loopback_only or self._addresses.public_url:
            return False
        client = connection.client
        if client is None or not is_loopback(client.host):
            return False
        if not is_loopback(_host_of(connection.headers.get("host", ""))):
            return False
        return not is_forwarded(connection.headers.keys())


def is_forwarded(names: Iterable[str]) -> bool:
    """Whether the names of a request's headers show that a proxy passed it on."""
    plain = [name.lower().replace("_", "-") for name in names]  # some proxies write underscores
    return any(name in FORWARDING or name.startswith(FORWARDING_PREFIXES) for name in plain)


class LocalOwner:
    """The local owner with what they hold now, without writing to the database each time."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._known: Principal | None = None

    async def now(self) -> Principal:
        """The owner, computed again."""
        known = self._known
        if known is not None and known.user_id is not None:
            try:
                return await self._engine.people.act_as(known, known.user_id)
            except (NotFound, Unauthenticated):
                pass  # no longer a member: take the present owner
        self._known = await self._engine.people.owner()
        return self._known
