"""Where a provider's endpoints are, and its keys: fetched when needed, remembered for a while.

The document must name the issuer that was configured, exactly: who could answer in its place could
sign for everybody (OpenID Connect Discovery 1.0, section 4.3).
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from engine.errors import InvalidInput, Unavailable
from engine.net.calls import JsonReply, call
from engine.people.federation.kinds import TENANT_ID, is_multi_tenant

if TYPE_CHECKING:
    import jwt

log = logging.getLogger(__name__)

DOCUMENT = "/.well-known/openid-configuration"
LAST_S = 3600.0
KEYS_LAST_S = 600.0
KEYS_AGAIN_S = 15.0  # not sooner, whatever keys tokens name
NEEDED = ("authorization_endpoint", "token_endpoint", "jwks_uri")


@dataclass(frozen=True, slots=True)
class ProviderMetadata:
    """A provider's endpoints; an empty text where it has none."""

    issuer: str
    authorization_endpoint: str
    token_endpoint: str
    jwks_uri: str = ""
    userinfo_endpoint: str = ""
    token_auth_methods: Sequence[str] = ("client_secret_basic",)
    names_issuer: bool = False  # in its answers, RFC 9207


@dataclass(slots=True)
class _Known:
    """What is remembered of one issuer."""

    metadata: ProviderMetadata | None = None
    fetched_at: float = float("-inf")
    keys: list[jwt.PyJWK] = field(default_factory=list)
    keys_at: float = float("-inf")
    tried_at: float = float("-inf")
    fetching: asyncio.Lock = field(default_factory=asyncio.Lock)


class MetadataCache:
    """Metadata and keys of all providers, by issuer."""

    def __init__(self, *, allow_private: bool, clock: Callable[[], float] = time.monotonic) -> None:
        self._allow_private = allow_private
        self._clock = clock
        self._known: dict[str, _Known] = {}

    async def metadata(self, issuer: str) -> ProviderMetadata:
        """The endpoints of an issuer.

        `InvalidInput` names what is wrong with its document; `Unavailable` where there is none now.
        """
        known = self._known.setdefault(issuer, _Known())
        async with known.fetching:
            if known.metadata is None or self._clock() - known.fetched_at > LAST_S:
                try:
                    known.metadata = await self._discover(issuer)
                    known.fetched_at = self._clock()
                except Unavailable:
                    if known.metadata is None:
                        raise
            return known.metadata

    async def keys(self, issuer: str, kid: str) -> list[jwt.PyJWK]:
        """The keys of an issuer, fetched again where none has this id."""
        found = await self.metadata(issuer)
        known = self._known[issuer]
        async with known.fetching:
            stale = self._clock() - known.keys_at > KEYS_LAST_S
            missing = not any(kid in {"", key.key_id} for key in known.keys)
            if (stale or missing) and self._clock() - known.tried_at > KEYS_AGAIN_S:
                await self._fetch_keys(known, found.jwks_uri)
            return known.keys

    async def _discover(self, issuer: str) -> ProviderMetadata:
        reply = await self._get(issuer.rstrip("/") + DOCUMENT)
        said = reply.body
        if reply.status != 200 or not isinstance(said, dict):
            raise Unavailable(
                f"{_host(issuer)} answered {reply.status} and no OpenID Connect metadata: check the"
                " issuer's address."
            )
        named = said.get("issuer")
        if not isinstance(named, str) or not _is_issuer(named, issuer):
            raise InvalidInput(
                f"The metadata names the issuer {str(named)[:200]!r} and not {issuer!r}: enter"
                " exactly the one that it names.",
                field="issuer",
            )
        for name in NEEDED:
            _endpoint(said, name, issuer)
        methods = said.get("token_endpoint_auth_methods_supported")
        return ProviderMetadata(
            issuer=named,
            authorization_endpoint=_endpoint(said, "authorization_endpoint", issuer),
            token_endpoint=_endpoint(said, "token_endpoint", issuer),
            jwks_uri=_endpoint(said, "jwks_uri", issuer),
            userinfo_endpoint=_endpoint(said, "userinfo_endpoint", issuer, needed=False),
            token_auth_methods=[str(item) for item in methods]
            if isinstance(methods, list)
            else ["client_secret_basic"],
            names_issuer=said.get("authorization_response_iss_parameter_supported") is True,
        )

    async def _fetch_keys(self, known: _Known, url: str) -> None:
        import jwt  # noqa: PLC0415 (lazy: slow to import, and few sign in)

        known.tried_at = self._clock()
        try:
            reply = await self._get(url)
            keys = jwt.PyJWKSet.from_dict(reply.body).keys if reply.status == 200 else []
        except Unavailable:
            keys = []
        except (jwt.PyJWTError, ValueError, TypeError, KeyError, AttributeError) as error:
            log.warning("a provider's keys can't be read", extra={"reason": type(error).__name__})
            keys = []
        if keys:
            known.keys, known.keys_at = list(keys), self._clock()
        elif not known.keys:
            known.tried_at = float("-inf")
            raise Unavailable(f"The keys of {_host(url)} can't be fetched: try again.")

    async def _get(self, url: str) -> JsonReply:
        return await call(url, allow_private=self._allow_private)


def _is_issuer(named: str, issuer: str) -> bool:
    """Whether a document is the issuer's: the same, but for one slash at the end."""
    if named in {issuer, issuer + "/", issuer.removesuffix("/")}:
        return True
    if not is_multi_tenant(issuer):
        return False
    head = issuer.rstrip("/").removesuffix("/v2.0").rpartition("/")[0]
    return named == f"{head}/{TENANT_ID}/v2.0"


def _endpoint(said: dict[str, Any], name: str, issuer: str, *, needed: bool = True) -> str:
    url = said.get(name)
    if url is None and not needed:
        return ""
    parts = urlsplit(url) if isinstance(url, str) else urlsplit("")
    secure = parts.scheme == "https" or (parts.scheme == "http" and issuer.startswith("http:"))
    if not secure or not parts.hostname:
        raise InvalidInput(
            f"The metadata of {_host(issuer)} has no usable {name}: it must be an address with the"
            " issuer's scheme.",
            field="issuer",
        )
    return str(url)


def _host(url: str) -> str:
    return urlsplit(url).hostname or "the provider"
