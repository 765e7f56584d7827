"""Web pages of other origins: only those an operator named, with a token, and never as the owner."""

from __future__ import annotations

import httpx2
import pytest

from engine.config import load_settings
from engine.engine import Engine
from engine.errors import ConfigurationError
from tests.api.conftest import OpenClient
from tests.fakes.homes import make_token

APP = "https://app.example.com"
LIST = {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}
ACCEPT = {"accept": "application/json, text/event-stream"}


def preflight(origin: str, method: str = "POST", wanted: str = "") -> dict[str, str]:
    asked = {"access-control-request-headers": wanted} if wanted else {}
    return {"origin": origin, "access-control-request-method": method} | asked


async def test_a_named_origin_may_ask_before_it_calls(open_client: OpenClient) -> None:
    wanted = "authorization,content-type,mcp-protocol-version"
    async with open_client(allowed_origins=f"{APP}, http://localhost:5173") as client:
        answers = [
            await client.options(path, headers=preflight(origin, wanted=wanted))
            for path in ("/mcp", "/mcp/chatgpt", "/api/v1/ask")
            for origin in (APP, "http://localhost:5173")
        ]
    for answer in answers:
        allowed = answer.headers["access-control-allow-methods"].split(", ")
        assert answer.status_code == 204
        assert answer.headers["access-control-allow-origin"] in {APP, "http://localhost:5173"}
        assert answer.headers["access-control-allow-headers"] == wanted
        assert {"GET", "POST", "PATCH", "DELETE"} <= set(allowed)
        assert "Origin" in answer.headers["vary"]
        assert "access-control-allow-credentials" not in answer.headers


async def test_a_named_origin_reads_answers_and_refusals(
    open_client: OpenClient, engine: Engine
) -> None:
    page = {"origin": APP, "sec-fetch-site": "cross-site"}
    token = {"authorization": f"Bearer {await make_token(engine)}"}
    async with open_client(allowed_origins=APP) as client:
        found = await client.post(
            "/api/v1/search", json={"query": "lodging rate"}, headers=page | token
        )
        listed = await client.post("/mcp", json=LIST, headers=page | token | ACCEPT)
        absent = await client.get(f"/api/v1/documents/{'0' * 32}", headers=page | token)
        keyless = await client.post("/mcp", json=LIST, headers=page | ACCEPT)
    answers = (found, listed, absent, keyless)
    assert [answer.status_code for answer in answers] == [200, 200, 404, 401]
    assert {answer.headers["access-control-allow-origin"] for answer in answers} == {APP}
    assert "WWW-Authenticate" in keyless.headers["access-control-expose-headers"]
    assert keyless.headers["www-authenticate"].startswith("Bearer")


async def test_a_named_origin_is_never_the_owner(open_client: OpenClient) -> None:
    async with open_client(allowed_origins=APP) as client:
        assert (await client.get("/api/v1/status")).status_code == 200
        for path in ("/api/v1/status", "/api/v1/documents"):
            answer = await client.get(path, headers={"origin": APP, "cookie": "session=x"})
            assert answer.status_code == 401


@pytest.mark.parametrize(
    "origin",
    [
        "https://app.example.com.evil.example",
        "https://evil.example",
        "http://app.example.com",
        "https://app.example.com:8443",
        "https://sub.app.example.com",
        "null",
        "*",
    ],
)
async def test_any_other_origin_is_refused_at_once(open_client: OpenClient, origin: str) -> None:
    async with open_client(allowed_origins=APP) as client:
        asked = await client.options("/mcp", headers=preflight(origin))
        called = await client.post("/mcp", json=LIST, headers={"origin": origin} | ACCEPT)
    for answer in (asked, called):
        assert answer.status_code == 403
        assert "access-control-allow-origin" not in answer.headers


@pytest.mark.parametrize("path", ["/", "/v/x", "/metrics", "/state", "/apiary", "/mcpx"])
async def test_a_named_origin_reaches_nothing_else(open_client: OpenClient, path: str) -> None:
    async with open_client(allowed_origins=APP) as client:
        assert (await client.get(path, headers={"origin": APP})).status_code == 403
        assert (await client.options(path, headers=preflight(APP, "GET"))).status_code == 403


async def test_without_the_setting_nothing_is_said_to_other_origins(
    client: httpx2.AsyncClient,
) -> None:
    own = await client.get("/api/v1/status", headers={"origin": "http://127.0.0.1:7337"})
    asked = await client.options("/mcp", headers=preflight(APP))
    assert own.status_code == 200
    assert asked.status_code == 403
    assert "access-control-allow-origin" not in own.headers


@pytest.mark.parametrize(
    "value", ["*", "app.example.com", "https://app.example.com/", "https://a.example/x", "null"]
)
def test_what_is_no_origin_is_refused_at_the_start(tmp_path, value: str) -> None:
    with pytest.raises(ConfigurationError, match=r"server.allowed_origins.*no path, no \*"):
        load_settings(tmp_path, None, {"server.allowed_origins": value})
