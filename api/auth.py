"""Who sent a request, and whether it was meant for this server.

`RequestGate` checks Host and Origin on every route (421, 403), so that neither a rebound DNS name
nor a foreign page reaches anything. `Doorkeeper` finds the principal: a bearer token, a browser's
session, or, under `scrubjay up` and only if the local owner must be asking (`keyless.py`), that
owner without one. `/mcp` goes through the same two. Nothing here decides what a principal may do;
that is `engine.access`.
"""

from __future__ import annotations

import ipaddress
import socket
from dataclasses import dataclass
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Receive, Scope, Send

from api import cookies, cors
from api.keyless import SameUser, host_of, is_direct, is_loopback
from api.problems import HttpRefusal
from engine.domain import Principal
from engine.engine import Engine
from engine.errors import NotFound, Unauthenticated
from engine.settings import ServerSettings

WILDCARDS = {"0.0.0.0", "::", ""}  # noqa: S104 (recognised, not bound)
SIGN_IN = (
    "This needs an API token or access token, sent as `Authorization: Bearer …`."
    " Create one with `scrubjay token create`, or sign in at /sign-in."
)
SIGN_IN_ELSEWHERE = (
    "This needs an access token of {issuer}, sent as `Authorization: Bearer …`: sign in there."
)


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return False
    return True


@dataclass(frozen=True, slots=True)
class Addresses:
    """The names this server answers to.

    Loopback names always; `server.host` and `server.public_url`; and, where it listens on more
    than loopback, any plain IP address and this machine's name: an address can't be rebound.
    """

    loopback_only: bool
    public_url: str
    names: frozenset[str]
    allowed_origins: frozenset[str] = frozenset()  # of other sites' pages, named by the operator

    @classmethod
    def of(cls, server: ServerSettings) -> Addresses:
        """The addresses a configuration means."""
        names = {server.host.strip("[]").lower()} - WILDCARDS
        if server.public_url:
            names.add((urlsplit(server.public_url).hostname or "").lower())
        if server.host in WILDCARDS:
            names.add(socket.gethostname().lower())
        allowed = frozenset(server.allowed_origins.split())
        return cls(is_loopback(server.host), server.public_url, frozenset(names), allowed)

    def is_own_host(self, authority: str) -> bool:
        """Whether a `Host` header names this server."""
        host = host_of(authority)
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
        if "\0" in scope["path"]:  # which no database can look up
            raise HttpRefusal(400, "This address holds the character NUL.", code="bad_address")
        headers = Headers(scope=scope)
        authority = headers.get("host", "")
        if len(headers.getlist("host")) > 1 or not self._addresses.is_own_host(authority):
            raise HttpRefusal(
                421,
                f"This server does not answer to {authority[:100]!r}. If it should, set "
                "server.public_url to the address people use.",
                code="wrong_host",
            )
        if self._is_cross_origin(scope, headers, authority):
            if cors.is_preflight(scope, headers):
                await cors.answer_preflight(headers)(scope, receive, send)
                return
            scope["headers"] = [item for item in scope["headers"] if item[0] != b"cookie"]
        elif scope["method"] not in {"GET", "HEAD", "OPTIONS"} and is_foreign_page(headers):
            raise HttpRefusal(403, "A page of another site may not do this.", code="wrong_origin")
        await self._app(scope, receive, send)

    def _is_cross_origin(self, scope: Scope, headers: Headers, authority: str) -> bool:
        """Whether a page of another origin that the operator named calls; refuses any other."""
        origins = headers.getlist("origin")
        foreign = [o for o in origins if not self._addresses.is_own_origin(o, authority)]
        if not foreign:
            return False
        [origin] = foreign[:1]
        known = origin.lower() in self._addresses.allowed_origins and cors.is_open(scope["path"])
        if len(origins) > 1 or not known:
            raise HttpRefusal(
                403,
                f"Pages of {origin[:100]!r} may not call this server.",
                code="wrong_origin",
            )
        scope["state"]["cross_origin"] = origin
        return True


def is_foreign_page(headers: Headers) -> bool:
    """Whether a browser says that another site caused this request, and no token vouches for it."""
    if headers.get("authorization"):
        return False
    return headers.get("sec-fetch-site", "none") not in {"none", "same-origin"}


class Doorkeeper:
    """Finds out who sent a request, for each request again, because what they hold can change.

    `keyless` tells who is the user that runs this process; without it everyone needs a token.
    """

    def __init__(
        self, engine: Engine, addresses: Addresses, *, keyless: SameUser | None = None
    ) -> None:
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
            address = cookies.address_of(connection)
            return await self._engine.people.authenticate(secret.strip(), address=address)
        if signed_in := await self.signed_in(connection):
            cookies.require_own_page(
                self._engine.secrets, signed_in, connection, connection.headers.get("x-csrf-token")
            )
            return signed_in
        if not self.is_keyless(connection):
            raise Unauthenticated(SIGN_IN)
        return await self._owner.now()

    async def again(self, connection: HTTPConnection, principal: Principal) -> Principal:
        """Who sent a request that is still being answered, with what they hold now.

        Their connection may have ended meanwhile, by which the local owner was known at first.
        """
        if connection.headers.get("authorization"):
            return await self.principal(connection)
        if principal.session_id is None:
            return await self._owner.now()
        if found := await self.signed_in(connection):
            return found
        raise Unauthenticated(SIGN_IN)

    async def signed_in(self, connection: HTTPConnection) -> Principal | None:
        """Who is signed in with this browser, if its session is not over.

        For reading only: what changes something calls `cookies.require_own_page` first.
        """
        cookie = cookies.session_cookie(connection)
        if not cookie:
            return None
        try:
            return await self._engine.people.sign_in.principal_of_cookie(cookie)
        except Unauthenticated:
            return None

    @property
    def may_be_keyless(self) -> bool:
        """Whether the local owner's own programs need no token: their browser opens addresses."""
        return (
            self._keyless is not None
            and self._addresses.loopback_only
            and not self._addresses.public_url
        )

    def is_keyless(self, connection: HTTPConnection) -> bool:
        """Whether the local owner needs no token for this request: it comes straight from them."""
        if self._keyless is None or not self.may_be_keyless:
            return False
        if connection.scope.get("state", {}).get("cross_origin"):
            return False  # a page of a named origin, which the browser of the owner shows
        return is_direct(connection, self._keyless)


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
