"""OAuth at the MCP door: what a token must hold, what clients are told, and what is remembered."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx2
import jwt
import pytest

from cli.serve import build_host
from engine.domain import Scope
from engine.engine import Engine
from engine.errors import ConfigurationError
from engine.runtime import open_engine
from mcp_server import credentials
from mcp_server.credentials import Credentials, require_verifier
from mcp_server.oauth import email_of, scopes_of
from tests.fakes.homes import home_settings, make_token, this_user
from tests.fakes.oauth_provider import CLIENT, Provider, open_provider

URL = "https://kb.example.com"
LIST = {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}
HEADERS = {"accept": "application/json, text/event-stream", "host": "kb.example.com"}
METADATA = f"{URL}/.well-known/oauth-protected-resource/mcp"


@pytest.fixture
async def provider() -> AsyncIterator[Provider]:
    async with open_provider() as opened:
        yield opened


class Site:
    """A server with a public address that takes tokens of the provider."""

    def __init__(self, engine: Engine, http: httpx2.AsyncClient) -> None:
        self.engine = engine
        self.http = http

    async def list_tools(self, token: str, **headers: str) -> httpx2.Response:
        given = {"authorization": f"Bearer {token}"} if token else {}
        return await self.http.post("/mcp", json=LIST, headers=given | headers)


@pytest.fixture
async def settings_of(provider: Provider, tmp_path: Path) -> Any:
    def settings(**more: object) -> Any:
        return home_settings(
            tmp_path, server__public_url=URL, mcp__oauth_issuer=provider.issuer, **more
        )

    return settings


@pytest.fixture
async def site(settings_of: Any) -> AsyncIterator[Site]:
    async with _opened(settings_of()) as opened:
        yield opened


def _opened(settings: Any) -> Any:
    from contextlib import asynccontextmanager

    @asynccontextmanager
    async def opened() -> AsyncIterator[Site]:
        async with open_engine(settings) as engine:
            await engine.people.add_member(await engine.people.owner(), "ada@example.com")
            app = build_host(engine, settings, keyless=this_user)
            async with app.router.lifespan_context(app):
                transport = httpx2.ASGITransport(app, client=("203.0.113.9", 40000))
                async with httpx2.AsyncClient(
                    transport=transport, base_url=URL, headers=HEADERS
                ) as http:
                    yield Site(engine, http)

    return opened()


async def test_a_good_token_acts_for_its_member_with_its_scopes(
    site: Site, provider: Provider
) -> None:
    answer = await site.list_tools(provider.token(scope="kb:read"))
    assert answer.status_code == 200
    assert '"name":"search"' in answer.text
    assert '"name":"ask"' not in answer.text


def hours_ago(n: float) -> int:
    return int(time.time() - n * 3600)


@pytest.mark.parametrize(
    "changes",
    [
        {"aud": "https://other.example.com/mcp"},
        {"aud": None},
        {"iss": "https://evil.example.com"},
        {"exp": hours_ago(1)},
        {"exp": None},
        {"nbf": hours_ago(-1)},
        {"sub": None},
    ],
    # Not the moments themselves: every process of a run must collect the same names.
    ids=["another-aud", "no-aud", "another-iss", "over", "no-exp", "not-yet", "no-sub"],
)
async def test_a_token_that_does_not_hold_is_challenged(
    site: Site, provider: Provider, changes: dict[str, Any]
) -> None:
    answer = await site.list_tools(provider.token(**changes))
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == (
        'Bearer realm="scrubjay", error="invalid_token",'
        f' resource_metadata="{METADATA}", scope="kb:read kb:ask"'
    )


@pytest.mark.parametrize(
    ("typ", "claims", "status"),
    [
        ("at+jwt", {}, 200),
        ("application/at+jwt", {"nonce": "n"}, 200),
        ("JWT", {"typ": "Bearer", "nonce": "n"}, 200),  # Keycloak before 24
        (None, {}, 200),
        ("JWT", {"typ": "ID"}, 401),
        ("JWT", {"typ": "Refresh"}, 401),
        ("JWT", {"typ": "Logout"}, 401),
        ("JWT", {"nonce": "n"}, 401),
        ("JWT", {"at_hash": "h"}, 401),
        ("JWT", {"token_use": "id"}, 401),
        ("logout+jwt", {}, 401),
        ("secevent+jwt", {}, 401),
        ("JWT", {"events": {"http://schemas.openid.net/event/backchannel-logout": {}}}, 401),
    ],
)
async def test_a_token_of_another_kind_is_no_access_token(
    site: Site, provider: Provider, typ: str | None, claims: dict[str, Any], status: int
) -> None:
    headers = {"kid": provider.kid, "typ": typ}
    token = jwt.encode(provider.claims(**claims), provider.key, algorithm="ES256", headers=headers)
    assert (await site.list_tools(token)).status_code == status


async def test_forged_tokens_are_refused(site: Site, provider: Provider) -> None:
    public = provider.key.public_key()
    claims = provider.claims()
    stranger = Provider()
    stranger.issuer = provider.issuer
    forged = [
        jwt.encode(claims, None, algorithm="none", headers={"kid": "k1"}),
        jwt.encode(claims, "0" * 32, algorithm="HS256", headers={"kid": "k1"}),
        stranger.token(),
        provider.token()[:-4] + "AAAA",
        "a.b.c",
        "x" * 20_000,
        "é",
    ]
    assert public is not None
    for token in forged:
        answer = await site.http.post(
            "/mcp", json=LIST, headers=[(b"authorization", f"Bearer {token}".encode())]
        )
        assert answer.status_code == 401, token[:40]


async def test_somebody_who_is_no_member_is_told_to_ask_an_admin(
    site: Site, provider: Provider
) -> None:
    answer = await site.list_tools(provider.token(sub="other", email="eve@example.com"))
    unverified = await site.list_tools(provider.token(sub="third", email_verified=False))
    assert (answer.status_code, unverified.status_code) == (403, 403)
    assert "eve@example.com is not a member here" in answer.json()["detail"]
    assert "www-authenticate" not in answer.headers


async def test_without_a_token_a_client_learns_where_to_get_one(
    site: Site, provider: Provider
) -> None:
    answer = await site.list_tools("")
    assert answer.status_code == 401
    assert f'resource_metadata="{METADATA}"' in answer.headers["www-authenticate"]
    for path, resource in (
        ("/.well-known/oauth-protected-resource", "/mcp"),
        ("/.well-known/oauth-protected-resource/mcp", "/mcp"),
        ("/.well-known/oauth-protected-resource/mcp/chatgpt", "/mcp/chatgpt"),
    ):
        told = await site.http.get(path)
        assert told.json() == {
            "resource": URL + resource,
            "authorization_servers": [provider.issuer],
            "scopes_supported": ["kb:read", "kb:ask"],
            "bearer_methods_supported": ["header"],
            "resource_name": "Scrubjay",
        }


async def test_a_scope_that_a_named_tool_needs_is_asked_for(site: Site, provider: Provider) -> None:
    named = {
        "mcp-protocol-version": "2026-07-28",
        "mcp-method": "tools/call",
        "mcp-name": "ask",
    }
    answer = await site.list_tools(provider.token(scope="kb:read"), **named)
    assert answer.status_code == 403
    assert 'error="insufficient_scope"' in answer.headers["www-authenticate"]
    assert 'scope="kb:ask"' in answer.headers["www-authenticate"]


async def test_api_tokens_go_on_working(site: Site) -> None:
    secret = await make_token(site.engine, Scope.KB_READ)
    assert (await site.list_tools(secret)).status_code == 200


async def test_a_new_key_is_fetched_when_a_token_names_it(
    settings_of: Any, provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mcp_server.oauth.KEYS_AGAIN_S", 0.0)
    async with _opened(settings_of()) as site:
        assert (await site.list_tools(provider.token())).status_code == 200
        provider.rotate("k2")
        assert (await site.list_tools(provider.token())).status_code == 200
        assert provider.key_fetches == 2
        for n in range(5):
            assert (await site.list_tools(provider.token(jti=str(n)))).status_code == 200
    assert provider.key_fetches == 2


async def test_tokens_that_name_unknown_keys_do_not_flood_the_provider(
    site: Site, provider: Provider
) -> None:
    for n in range(20):
        token = jwt.encode(
            provider.claims(), provider.key, algorithm="ES256", headers={"kid": f"made-up-{n}"}
        )
        assert (await site.list_tools(token)).status_code == 401
    assert provider.key_fetches == 1


async def test_a_provider_that_is_away_is_no_fault_of_the_token(
    site: Site, provider: Provider
) -> None:
    provider.is_away = True
    answer = await site.list_tools(provider.token())
    assert answer.status_code == 503
    assert answer.headers["retry-after"] == "5"
    assert "SECRET" not in answer.text


async def test_introspection_asks_the_provider(
    settings_of: Any, provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(credentials, "REMEMBERED_S", 600.0)  # longer than three calls may take
    settings = settings_of(
        mcp__oauth_introspection_url=f"{provider.issuer}/introspect",
        mcp__oauth_client_id=CLIENT[0],
        mcp__oauth_client_secret=CLIENT[1],
    )
    async with _opened(settings) as site:
        good = provider.opaque_token("good")
        assert (await site.list_tools(good)).status_code == 200  # links the account: a change
        asked = provider.introspections
        for _ in range(3):
            assert (await site.list_tools(good)).status_code == 200
        assert provider.introspections == asked + 1
        for token in (
            "unknown",
            provider.opaque_token("old", exp=hours_ago(1)),
            provider.opaque_token("other", aud=["https://other.example.com"]),
            provider.opaque_token("untold", aud=None),
            provider.opaque_token("foreign", iss="https://evil.example.com"),
        ):
            assert (await site.list_tools(token)).status_code == 401, token


async def test_a_revoked_token_is_out_at_once_and_a_good_one_is_not_asked_for_again(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = site.engine
    now = [100.0]
    credentials = Credentials(engine, clock=lambda: now[0])
    secret = await make_token(engine, Scope.KB_READ)
    asked = []
    authenticate = engine.people.authenticate

    async def counted(given: str, *, address: str) -> Any:
        asked.append(given)
        return await authenticate(given, address=address)

    monkeypatch.setattr(engine.people, "authenticate", counted)
    first = await credentials.principal(secret)
    now[0] += 4.9
    assert await credentials.principal(secret) is first
    assert len(asked) == 1
    now[0] += 0.2
    await credentials.principal(secret)
    assert len(asked) == 2
    [token] = [
        t for t in await engine.people.list_tokens(await engine.people.owner()) if not t.revoked_at
    ]
    await engine.people.revoke_token(await engine.people.owner(), token.id)
    with pytest.raises(Exception, match="wrong, expired or revoked"):
        await credentials.principal(secret)


async def test_a_revocation_by_another_process_is_seen(site: Site, settings_of: Any) -> None:
    now = [100.0]
    credentials = Credentials(site.engine, clock=lambda: now[0])
    secret = await make_token(site.engine, Scope.KB_READ)
    await credentials.principal(secret)
    async with open_engine(settings_of()) as other:
        [token] = await other.people.list_tokens(await other.people.owner())
        await other.people.revoke_token(await other.people.owner(), token.id)
    with pytest.raises(Exception, match="wrong, expired or revoked"):
        await credentials.principal(secret)


@pytest.mark.parametrize(
    ("overrides", "loopback", "said"),
    [
        ({"mcp__api_tokens": False}, False, "nothing authenticates them"),
        ({"mcp__api_tokens": False, "server__public_url": URL}, True, "nothing authenticates them"),
        ({"mcp__oauth_issuer": "https://id.example.com/"}, True, "server.public_url is not"),
        (
            {
                "mcp__oauth_issuer": "https://id.example.com/",
                "server__public_url": URL,
                "mcp__oauth_introspection_url": "https://id.example.com/introspect",
            },
            True,
            "needs mcp.oauth_client_id",
        ),
    ],
)
def test_a_server_that_would_know_nobody_does_not_start(
    tmp_path: Path, overrides: dict[str, object], loopback: bool, said: str
) -> None:
    with pytest.raises(ConfigurationError, match=said):
        require_verifier(home_settings(tmp_path, **overrides), loopback=loopback)


@pytest.mark.parametrize(
    ("claims", "scopes"),
    [
        ({"scope": "openid kb:read"}, {Scope.KB_READ}),
        ({"scp": "kb.read kb.ask"}, {Scope.KB_READ, Scope.KB_ASK}),
        ({"scp": ["api://scrubjay/kb.read"]}, {Scope.KB_READ}),
        ({"permissions": ["kb:write"], "scope": "kb:read"}, {Scope.KB_READ, Scope.KB_WRITE}),
        ({"scope": 7, "scp": [None, 1], "permissions": {}}, set()),
        ({}, set()),
    ],
)
def test_scopes_are_read_however_a_provider_writes_them(
    claims: dict[str, Any], scopes: set[Scope]
) -> None:
    assert scopes_of(claims) == scopes


@pytest.mark.parametrize(
    ("claims", "claim", "email"),
    [
        ({"email": "A@x.org", "email_verified": True}, "email", "a@x.org"),
        ({"email": "a@x.org"}, "email", ""),
        ({"email": "a@x.org", "email_verified": False}, "email", ""),
        ({"upn": "a@x.org"}, "upn", "a@x.org"),
        ({"upn": "nobody"}, "upn", ""),
        ({"email": "a@x.org", "email_verified": True}, "", ""),
    ],
)
def test_only_a_vouched_address_counts(claims: dict[str, Any], claim: str, email: str) -> None:
    assert email_of(claims, claim) == email


@pytest.mark.parametrize(
    ("api_tokens", "told"),
    [(True, ["scrubjay token create", "sign in there"]), (False, ["sign in there"])],
)
async def test_nobody_is_told_to_make_a_token_that_is_not_taken(
    settings_of: Any, provider: Provider, *, api_tokens: bool, told: list[str]
) -> None:
    async with _opened(settings_of(mcp__api_tokens=api_tokens)) as site:
        answers = [
            await site.http.post("/mcp", json={}),
            await site.http.post("/mcp", json={}, headers={"authorization": "Basic YTpi"}),
        ]
    for answer in answers:
        said = answer.json()["detail"]
        assert answer.status_code == 401
        assert provider.issuer in said
        assert [
            words for words in ("scrubjay token create", "sign in there") if words in said
        ] == told
