"""Access tokens of an OAuth or OpenID Connect provider: signatures, claims, introspection.

This server is a resource server only: it verifies tokens meant for it (issuer, audience, times) and
hands the subject to `Engine.principal_of_subject`. Keys are fetched when first needed, cached for a
while, and fetched again for an unknown key id. A provider's responses are passed on to no one.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

import httpx2
import jwt

from engine.domain import Scope
from engine.errors import Unauthenticated, Unavailable
from engine.people.subjects import Subject
from mcp_server.metadata import ENDPOINTS

if TYPE_CHECKING:
    from engine.domain import Principal
    from engine.engine import Engine
    from engine.settings import Settings

log = logging.getLogger(__name__)

# Signatures only: a shared secret would let the verifier sign, too.
ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "EdDSA")
LEEWAY_S = 30  # between two machines' clocks
KEYS_LAST_S = 600.0
KEYS_AGAIN_S = 15.0  # not sooner, whatever keys tokens name
TIMEOUT_S = 5.0
BODY_MAX = 1_000_000  # bytes of a provider's answer
TYPES = frozenset({"jwt", "at+jwt"})  # of a signed token's header
KINDS = frozenset({"bearer", "dpop", "access", "access_token", "at+jwt", "jwt"})  # the claim `typ`
# OpenID Connect Core 1.0, 2 and 3.1.3.6; back-channel logout's and security events' `events`.
ONLY_IN_ID_TOKENS = frozenset({"nonce", "at_hash", "c_hash", "s_hash", "events"})
REFUSED = "This access token is wrong, expired, or not for this server."
DISCOVERY = ("/.well-known/openid-configuration", "/.well-known/oauth-authorization-server")


@dataclass(frozen=True, slots=True)
class Provider:
    """The provider, from the settings. `audiences`: a token must name one of them."""

    issuer: str
    audiences: Collection[str]
    jwks_url: str = ""
    introspection_url: str = ""
    client_id: str = ""
    client_secret: str = ""
    email_claim: str = "email"
    scopes: frozenset[Scope] = frozenset()
    tenant: str = "default"


def build_oauth(engine: Engine, settings: Settings) -> OAuth:
    """For an open engine, as the settings say."""
    chosen = settings.mcp
    own = [settings.server.public_url + endpoint for endpoint in ENDPOINTS]
    return OAuth(
        engine,
        Provider(
            issuer=chosen.oauth_issuer,
            audiences=frozenset([chosen.oauth_audience] if chosen.oauth_audience else own),
            jwks_url=chosen.oauth_jwks_url,
            introspection_url=chosen.oauth_introspection_url,
            client_id=chosen.oauth_client_id,
            client_secret=chosen.oauth_client_secret.get_secret_value(),
            email_claim=chosen.oauth_email_claim,
            scopes=frozenset(Scope(scope) for scope in chosen.oauth_scopes.split()),
            tenant=chosen.oauth_tenant,
        ),
    )


class OAuth:
    """Verifies access tokens of one provider."""

    def __init__(
        self, engine: Engine, provider: Provider, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._engine = engine
        self._provider = provider
        self._clock = clock
        self._keys: dict[str, jwt.PyJWK] = {}
        self._jwks_url = provider.jwks_url
        self._fetched_at = float("-inf")
        self._tried_at = float("-inf")
        self._fetching = asyncio.Lock()

    async def principal(self, token: str) -> tuple[Principal, float | None]:
        """Who the token acts for, and when it ends.

        `Unauthenticated` if it is not valid, `Unavailable` if the provider can't be reached.
        """
        if self._provider.introspection_url:
            claims = await self._introspected(token)
        else:
            claims = await self._verified(token)
        who = Subject(
            issuer=self._provider.issuer,
            subject=str(claims.get("sub") or ""),
            email=email_of(claims, self._provider.email_claim),
            scopes=scopes_of(claims) | self._provider.scopes,
        )
        principal = await self._engine.people.principal_of_subject(self._provider.tenant, who)
        ends_at = claims.get("exp")
        return principal, float(ends_at) if isinstance(ends_at, int | float) else None

    async def check(self) -> None:
        """Ask the provider as a token would have it asked; raises `Unavailable` where it is away."""
        if not self._provider.introspection_url:
            await self._fetch_keys()
            return
        with contextlib.suppress(Unauthenticated):  # it said so: it knows us, and no such token
            await self._introspected("scrubjay-doctor")

    # Signed tokens

    async def _verified(self, token: str) -> Mapping[str, Any]:
        try:
            header = jwt.get_unverified_header(token)
        except jwt.PyJWTError:
            raise Unauthenticated(REFUSED) from None
        key = await self._key(str(header.get("kid") or ""))
        if header.get("alg") not in ALGORITHMS or key is None:
            raise Unauthenticated(REFUSED)
        try:
            claims: dict[str, Any] = jwt.decode(
                token,
                key,
                algorithms=list(ALGORITHMS),
                audience=list(self._provider.audiences),
                issuer=[self._provider.issuer, self._provider.issuer.rstrip("/")],
                leeway=LEEWAY_S,
                options={"require": ["exp", "iss", "aud", "sub"]},
            )
        except (jwt.PyJWTError, ValueError, TypeError) as error:
            log.info("an access token was refused", extra={"reason": type(error).__name__})
            raise Unauthenticated(REFUSED) from None
        if not is_access_token(header, claims):
            log.info("an access token was refused", extra={"reason": "another kind of token"})
            raise Unauthenticated(REFUSED)
        return claims

    async def _key(self, kid: str) -> jwt.PyJWK | None:
        """The provider's key of this id; without one, its only key."""
        if self._clock() - self._fetched_at > KEYS_LAST_S or self._named(kid) is None:
            async with self._fetching:
                stale = self._clock() - self._fetched_at > KEYS_LAST_S
                rested = self._clock() - self._tried_at > KEYS_AGAIN_S
                if (stale or self._named(kid) is None) and rested:
                    await self._fetch_keys()
        return self._named(kid)

    def _named(self, kid: str) -> jwt.PyJWK | None:
        if kid:
            return self._keys.get(kid)
        return next(iter(self._keys.values())) if len(self._keys) == 1 else None

    async def _fetch_keys(self) -> None:
        self._tried_at = self._clock()
        try:
            async with _client() as client:
                url = self._jwks_url or await self._discover(client)
                found = await _json(await client.get(url))
            keys = jwt.PyJWKSet.from_dict(found).keys
        except (httpx2.HTTPError, jwt.PyJWTError, ValueError, TypeError, KeyError) as error:
            log.warning(
                "the provider's keys can't be fetched", extra={"reason": type(error).__name__}
            )
            if not self._keys:
                self._tried_at = float("-inf")
                raise _away() from None
            return  # the known keys stay valid
        self._jwks_url = url
        self._keys = {key.key_id or "": key for key in keys}
        self._fetched_at = self._clock()

    async def _discover(self, client: httpx2.AsyncClient) -> str:
        for path in DISCOVERY:
            answer = await client.get(self._provider.issuer.rstrip("/") + path)
            if answer.status_code != httpx2.codes.OK:
                continue
            found = await _json(answer)
            url = str(found.get("jwks_uri", ""))
            same = _is_same(found.get("issuer"), self._provider.issuer)
            if same and urlsplit(url).scheme in {"http", "https"}:
                return url
        raise ValueError("no metadata of this issuer")

    # Introspection

    async def _introspected(self, token: str) -> Mapping[str, Any]:
        who = (quote(self._provider.client_id), quote(self._provider.client_secret))
        form = {"token": token, "token_type_hint": "access_token"}
        try:
            async with _client() as client:
                answer = await client.post(self._provider.introspection_url, data=form, auth=who)
                claims = await _json(answer)
        except (httpx2.HTTPError, ValueError, TypeError) as error:
            log.warning("the provider can't be reached", extra={"reason": type(error).__name__})
            raise _away() from None
        named = claims.get("aud")
        audiences = {str(item) for item in named} if isinstance(named, list) else {str(named)}
        issuer = claims.get("iss")
        ends_at, begins_at = claims.get("exp"), claims.get("nbf")
        now = time.time()
        if (
            claims.get("active") is not True
            or not is_access_token({}, claims)
            or not audiences & set(self._provider.audiences)
            or (issuer is not None and not _is_same(issuer, self._provider.issuer))
            or (isinstance(ends_at, int | float) and ends_at <= now - LEEWAY_S)
            or (isinstance(begins_at, int | float) and begins_at > now + LEEWAY_S)
        ):
            raise Unauthenticated(REFUSED)
        return claims


def is_access_token(header: Mapping[str, Any], claims: Mapping[str, Any]) -> bool:
    """Whether a token is meant for an API: no ID token, refresh token, logout token or event.

    RFC 9068 names the type in the header. Providers that don't say so in a claim (Keycloak's `typ`,
    Cognito's `token_use`), or by nothing; then what only an ID token has tells it apart.
    """
    media_type = str(header.get("typ") or "JWT").lower().removeprefix("application/")
    kind = str(claims.get("typ") or "").lower()
    use = str(claims.get("token_use") or "access").lower()
    if media_type not in TYPES or (kind and kind not in KINDS) or use != "access":
        return False
    if media_type == "at+jwt" or kind:
        return True
    return not ONLY_IN_ID_TOKENS & claims.keys()


def scopes_of(claims: Mapping[str, Any]) -> frozenset[Scope]:
    """Our scopes among those a token has, however its provider writes them.

    `scope` or `scp` as a text with spaces, `scp` or `permissions` as a list; `kb.read` and
    `api://scrubjay/kb.read` mean `kb:read`, where a provider allows no colon.
    """
    named: list[str] = []
    for claim in ("scope", "scp", "permissions"):
        value = claims.get(claim)
        if isinstance(value, str):
            named += value.split()
        elif isinstance(value, list):
            named += [item for item in value if isinstance(item, str)]
    plain = {name.rpartition("/")[2].replace(".", ":") for name in named}
    return frozenset(scope for scope in Scope if scope in plain)


def email_of(claims: Mapping[str, Any], claim: str) -> str:
    """The address a provider vouches for; empty if it does not."""
    value = claims.get(claim) if claim else None
    if not isinstance(value, str) or "@" not in value or len(value) > 320:
        return ""
    if claim == "email" and claims.get("email_verified") not in {True, "true"}:
        return ""
    return value.strip().lower()


def _is_same(named: object, issuer: str) -> bool:
    return str(named or "").rstrip("/") == issuer.rstrip("/")


def _client() -> httpx2.AsyncClient:
    return httpx2.AsyncClient(timeout=TIMEOUT_S, follow_redirects=False, trust_env=False)


async def _json(answer: httpx2.Response) -> dict[str, Any]:
    if answer.status_code != httpx2.codes.OK or len(answer.content) > BODY_MAX:
        raise ValueError("no answer to use")
    found = answer.json()
    if not isinstance(found, dict):
        raise TypeError("no object")
    return found


def _away() -> Unavailable:
    return Unavailable("The sign-in provider can't be reached: try again.", retry_after_s=5)
