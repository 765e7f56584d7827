"""Who gets in: Host, Origin, forwarding headers, tokens and scopes, on every route."""

from __future__ import annotations

import pytest

from api.auth import Addresses
from api.keyless import is_forwarded, is_loopback
from engine.domain import Scope
from engine.engine import Engine
from engine.settings import ServerSettings
from tests.api.conftest import OpenClient
from tests.fakes.homes import make_token


@pytest.mark.parametrize(
    "path", ["/", "/health", "/metrics", "/v/x", "/api/v1/status", "/mcp", "/static/app.css", "/no"]
)
async def test_a_foreign_host_or_origin_is_refused_everywhere(client, path: str) -> None:
    for_other = await client.get(path, headers={"host": "evil.example:7337"})
    from_page = await client.get(path, headers={"origin": "http://evil.example"})
    from_port = await client.get(path, headers={"origin": "http://127.0.0.1:9"})
    from_null = await client.get(path, headers={"origin": "null"})
    statuses = [answer.status_code for answer in (for_other, from_page, from_port, from_null)]
    assert statuses == [421, 403, 403, 403]
    assert for_other.json()["code"] == "wrong_host"


@pytest.mark.parametrize(
    "header",
    ["Forwarded", "Via", "X-Forwarded-For", "X-Forwarded-Proto", "X-Real-IP", "CF-Connecting-IP"],
)
async def test_a_forwarded_request_needs_a_token(client, header: str) -> None:
    answer = await client.get("/api/v1/status", headers={header: "1.2.3.4"})
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == 'Bearer realm="scrubjay"'


async def test_the_owner_needs_no_token_on_loopback(client) -> None:
    answer = await client.get("/api/v1/status")
    assert answer.status_code == 200
    assert [kb["name"] for kb in answer.json()["knowledge_bases"]] == ["board", "team"]


@pytest.mark.parametrize(
    ("peer", "base_url", "server"),
    [
        ("10.0.0.7", "http://127.0.0.1:7337", {}),
        ("127.0.0.1", "http://10.0.0.1:7337", {"host": "0.0.0.0"}),
        ("127.0.0.1", "http://127.0.0.1:7337", {"host": "0.0.0.0"}),
        ("127.0.0.1", "http://127.0.0.1:7337", {"public_url": "https://kb.example.com"}),
        ("127.0.0.1", "https://kb.example.com", {"public_url": "https://kb.example.com"}),
    ],
)
async def test_beyond_loopback_every_door_needs_a_token(
    open_client: OpenClient, engine: Engine, peer: str, base_url: str, server: dict[str, str]
) -> None:
    token = await make_token(engine)
    async with open_client(peer=peer, base_url=base_url, **server) as client:
        message = {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}
        keyless = [
            (await client.get("/")).status_code,
            (await client.get("/api/v1/status")).status_code,
            (await client.post("/api/v1/ask", json={"question": "x"})).status_code,
            (await client.post("/mcp", json=message)).status_code,
            (await client.get("/metrics")).status_code,
        ]
        assert keyless == [401] * 5
        keyed = await client.get("/api/v1/status", headers={"authorization": f"Bearer {token}"})
        assert keyed.status_code == 200
        assert (await client.get("/health")).json() == {"status": "ok"}


async def test_a_wrong_token_is_refused_even_on_loopback(client) -> None:
    for header in ("Bearer sj_wrong", "Bearer", "Basic YTpi"):
        answer = await client.get("/api/v1/status", headers={"authorization": header})
        assert answer.status_code == 401, header


async def test_a_token_without_the_scope_is_told_which_it_needs(client, engine: Engine) -> None:
    token = await make_token(engine, Scope.KB_READ)
    headers = {"authorization": f"Bearer {token}"}
    asked = await client.post("/api/v1/ask", json={"question": "Hotels?"}, headers=headers)
    scraped = await client.get("/metrics", headers=headers)
    assert (asked.status_code, scraped.status_code) == (403, 403)
    assert 'scope="kb:ask"' in asked.headers["www-authenticate"]
    assert 'scope="ops:read"' in scraped.headers["www-authenticate"]


async def test_another_sites_page_can_neither_change_nor_ask(client) -> None:
    headers = {"sec-fetch-site": "cross-site"}
    posted = await client.post("/api/v1/ask", json={"question": "Hotels?"}, headers=headers)
    linked = await client.get("/", params={"q": "hotels lodging"}, headers=headers)
    own = await client.get("/", params={"q": "hotels lodging"})
    assert posted.status_code == 403
    assert linked.status_code == 200
    assert 'value="hotels lodging"' in linked.text
    assert '<article class="answer' not in linked.text
    assert '<article class="answer' in own.text


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("localhost", True),
        ("127.0.0.1", True),
        ("127.9.9.9", True),
        ("[::1]", True),
        ("::ffff:127.0.0.1", True),
        ("0.0.0.0", False),
        ("10.0.0.1", False),
        ("localhost.evil.example", False),
        ("127.0.0.1.nip.io", False),
        ("", False),
    ],
)
def test_only_this_machine_is_loopback(host: str, expected: bool) -> None:
    assert is_loopback(host) is expected


def test_the_server_answers_to_the_names_it_is_known_by() -> None:
    local = Addresses.of(ServerSettings())
    public = Addresses.of(ServerSettings(host="0.0.0.0", public_url="https://kb.example.com"))
    hosts = [
        "127.0.0.1:7337",
        "localhost",
        "[::1]:80",
        "10.1.2.3:7337",
        "kb.example.com",
        "a@b",
        "x/y",
    ]
    assert [local.is_own_host(host) for host in hosts] == [True, True, True, *[False] * 4]
    assert [public.is_own_host(host) for host in hosts] == [*[True] * 5, False, False]
    assert public.is_own_origin("https://kb.example.com", "10.1.2.3:7337")
    assert not public.is_own_origin("https://kb.example.com.evil.example", "10.1.2.3:7337")


def test_forwarding_headers_are_known_in_any_case() -> None:
    assert is_forwarded(["host", "x-FORWARDED-anything"])
    assert not is_forwarded(["host", "accept", "x-request-id"])
