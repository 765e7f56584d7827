"""Accounts of providers that speak OAuth 2 alone: who an access token is for, as claims.

GitHub and Discord have no ID token. What stands in for one is asked of their API with the token
that the code was exchanged for, at once and over TLS; it is then as good as the provider's answer.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from engine.errors import Unauthenticated, Unavailable
from engine.net.calls import call
from engine.people.federation.kinds import GROUPS_MAX, REFUSED, Kind
from engine.people.federation.metadata import ProviderMetadata

GITHUB = "https://github.com"
PAGE = 100  # organisations a request: the most GitHub gives


def endpoints(kind: Kind, issuer: str) -> ProviderMetadata:
    """Where a provider without metadata has its endpoints."""
    base = issuer.rstrip("/")
    if kind == "github":
        return ProviderMetadata(
            issuer=issuer,
            authorization_endpoint=f"{base}/login/oauth/authorize",
            token_endpoint=f"{base}/login/oauth/access_token",
            token_auth_methods=["client_secret_post"],
        )
    return ProviderMetadata(
        issuer=issuer,
        authorization_endpoint=f"{base}/oauth2/authorize",
        token_endpoint=f"{base}/api/oauth2/token",
        token_auth_methods=["client_secret_basic"],
    )


async def claims_of(
    kind: Kind, issuer: str, api_url: str, token: str, *, wants_groups: bool, allow_private: bool
) -> dict[str, Any]:
    """The account behind an access token, with claims named as OpenID Connect names them."""

    async def get(path: str) -> Any:  # noqa: ANN401 (JSON)
        reply = await call(
            f"{_api(kind, issuer, api_url)}{path}",
            headers={"Authorization": f"Bearer {token}"},
            allow_private=allow_private,
        )
        if reply.status >= 500:
            raise Unavailable("The identity provider does not answer: try again.")
        if reply.status != 200:
            raise Unauthenticated(REFUSED)
        return reply.body

    if kind == "discord":
        found = _object(await get("/users/@me"))
        name = found.get("global_name") or found.get("username")
        verified = found.get("verified") is True
        email = found.get("email")
        return {
            "sub": str(found.get("id") or ""),
            "email": email,
            "email_verified": verified,
            "name": name,
        }
    account = _object(await get("/user"))
    number = account.get("id")
    if type(number) is not int:
        raise Unauthenticated(REFUSED)
    claims: dict[str, Any] = {"sub": str(number), "name": account.get("name") or account["login"]}
    emails = await get("/user/emails?per_page=100")
    for item in emails if isinstance(emails, list) else []:
        if isinstance(item, dict) and item.get("primary") is True and item.get("verified") is True:
            claims |= {"email": item.get("email"), "email_verified": True}
    if wants_groups:
        claims |= await _organisations(get)
    return claims


async def _organisations(get: Callable[[str], Awaitable[Any]]) -> dict[str, Any]:
    """The claim of GitHub's organisations; one that says so where there are more than we look at."""
    names: list[str] = []
    for number in range(1, GROUPS_MAX // PAGE + 1):
        page = await get(f"/user/orgs?per_page={PAGE}&page={number}")
        found = page if isinstance(page, list) else []
        logins = [org.get("login") for org in found if isinstance(org, dict)]
        names += [login for login in logins if isinstance(login, str)]
        if len(found) < PAGE:
            return {"groups": names}
    return {"groups": names, "_claim_names": {"groups": "github"}}


def _api(kind: Kind, issuer: str, api_url: str) -> str:
    if api_url:
        return api_url
    if kind == "discord":
        return f"{issuer.rstrip('/')}/api/v10"
    return (
        "https://api.github.com" if issuer.rstrip("/") == GITHUB else f"{issuer.rstrip('/')}/api/v3"
    )


def _object(found: object) -> Mapping[str, Any]:
    if not isinstance(found, dict):
        raise Unauthenticated(REFUSED)
    return found
