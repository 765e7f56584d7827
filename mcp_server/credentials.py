"""The principal of a bearer token: one of our API tokens, or an access token of the OAuth provider.

The host asks before a message is read. Results are remembered for a few seconds, because a client
sends the same token with every message. Any change of access (a role, a grant, a group, a session
or token that ends) drops them all at the next message, whichever process made it. Nothing here
imports the MCP library.
"""

from __future__ import annotations

import hashlib
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from engine.errors import ConfigurationError, Unauthenticated

if TYPE_CHECKING:
    from engine.domain import Principal
    from engine.engine import Engine
    from engine.settings import Settings

REMEMBERED_S = 5.0
REMEMBERED_MAX = 5_000
TOKEN_MAX = 16_384  # characters; access tokens with many groups are long


class AccessTokens(Protocol):
    """Verifies access tokens of a provider."""

    async def principal(self, token: str) -> tuple[Principal, float | None]:
        """The principal, and the expiry in seconds since the epoch if there is one."""


@dataclass(frozen=True, slots=True)
class _RememberedToken:
    principal: Principal
    until: float  # monotonic


class Credentials:
    """Principals by bearer token, remembered for a short time."""

    def __init__(
        self,
        engine: Engine,
        *,
        api_tokens: bool = True,
        access_tokens: AccessTokens | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._engine = engine
        self._api_tokens = api_tokens
        self._access_tokens = access_tokens
        self._clock = clock
        self._known: OrderedDict[bytes, _RememberedToken] = OrderedDict()
        self._version: int | None = None

    async def principal(self, token: str, *, address: str = "") -> Principal:
        """The token's principal, if it may be used from `address`.

        `Unauthenticated` says the same for every fault.
        """
        if len(token) > TOKEN_MAX:
            raise Unauthenticated(_REFUSED)
        await self._drop_outdated()
        said = f"{address}\0{token}"
        digest = hashlib.sha256(said.encode("utf-8", "surrogateescape")).digest()
        known = self._known.get(digest)
        if known is not None and known.until > self._clock():
            return known.principal
        principal, lasts_s = await self._verify(token, address)
        self._known[digest] = _RememberedToken(
            principal, self._clock() + min(lasts_s, REMEMBERED_S)
        )
        self._known.move_to_end(digest)
        if len(self._known) > REMEMBERED_MAX:
            self._known.popitem(last=False)
        return principal

    async def _verify(self, token: str, address: str) -> tuple[Principal, float]:
        """The principal and for how long the token surely lasts."""
        is_ours = self._engine.people.issued(token)
        if is_ours and self._api_tokens:
            principal = await self._engine.people.authenticate(token, address=address)
            return principal, REMEMBERED_S
        if is_ours or self._access_tokens is None:
            raise Unauthenticated(_REFUSED)
        principal, ends_at = await self._access_tokens.principal(token)
        return principal, REMEMBERED_S if ends_at is None else max(0.0, ends_at - time.time())

    async def _drop_outdated(self) -> None:
        version = await self._engine.people.access_version()
        if version != self._version:
            self._version = version
            self._known.clear()


_REFUSED = "This token is wrong, expired or revoked."


def build_credentials(engine: Engine, settings: Settings) -> Credentials:
    """As the settings say: API tokens, an OAuth provider, or both."""
    return Credentials(
        engine,
        api_tokens=settings.mcp.api_tokens,
        access_tokens=_access_tokens(engine, settings),
    )


def _access_tokens(engine: Engine, settings: Settings) -> AccessTokens | None:
    if not settings.mcp.oauth_issuer:
        return None
    from mcp_server.oauth import build_oauth  # noqa: PLC0415 (loads pyjwt only where it is used)

    return build_oauth(engine, settings)


def require_verifier(settings: Settings, *, loopback: bool) -> None:
    """Raise `ConfigurationError` if a server that others can reach authenticates no one.

    Also if the OAuth settings can't work together.
    """
    chosen = settings.mcp
    if chosen.oauth_issuer and not settings.server.public_url:
        raise ConfigurationError(
            "mcp.oauth_issuer is set, but server.public_url is not: set it to the URL that "
            "people use, because their tokens must be issued for it."
        )
    if chosen.oauth_introspection_url and not chosen.oauth_client_id:
        raise ConfigurationError(
            "mcp.oauth_introspection_url needs mcp.oauth_client_id and mcp.oauth_client_secret: "
            "providers only answer known clients."
        )
    open_to_others = not loopback or bool(settings.server.public_url)
    if open_to_others and not chosen.api_tokens and not chosen.oauth_issuer:
        raise ConfigurationError(
            "Others can reach this server (server.host, server.public_url), but nothing "
            "authenticates them: set mcp.api_tokens to true, or set mcp.oauth_issuer."
        )
