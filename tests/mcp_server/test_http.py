"""The MCP door over HTTP: both protocol eras, credentials, and what it refuses."""

from __future__ import annotations

import json

import httpx2
import pytest
from starlette.applications import Starlette

from engine.engine import Engine
from tests.fakes.homes import make_member_token
from tests.mcp_server.conftest import BASE, OpenHttp

pytestmark = pytest.mark.timeout(60)

LIST = {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}
ACCEPT = {"accept": "application/json, text/event-stream"}


@pytest.fixture
def http(host: Starlette) -> httpx2.AsyncClient:
    transport = httpx2.ASGITransport(host, client=("127.0.0.1", 40000))
    return httpx2.AsyncClient(transport=transport, base_url=BASE, headers=ACCEPT)


@pytest.mark.parametrize("mode", ["legacy", "auto", "2026-07-28"])
async def test_search_and_ask_work_at_every_era(open_http: OpenHttp, mode: str) -> None:
    async with open_http(mode=mode) as client:
        tools = await client.list_tools()
        found = await client.call_tool("search", {"query": "lodging rate"})
        asked = await client.call_tool("ask", {"question": "How many hours of sick leave?"})
    assert len(tools.tools) == 4
    assert found.structured_content["results"][0]["title"] == "Hotels"
    assert found.structured_content["results"][0]["url"].startswith(f"{BASE}/v/")
    assert not asked.is_error


async def test_calls_are_made_by_the_tokens_owner(open_http: OpenHttp, engine: Engine) -> None:
    names = []
    for token in ("", await make_member_token(engine)):
        async with open_http(token=token) as client:
            listed = await client.call_tool("list_knowledge_bases", {})
            names.append([kb["name"] for kb in listed.structured_content["knowledge_bases"]])
    assert names == [["board", "team"], ["team"]]


async def test_a_wrong_token_is_challenged(http: httpx2.AsyncClient) -> None:
    headers = {"authorization": "Bearer sj_wrong"}
    answer = await http.post("/mcp", json=LIST, headers=headers)
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"].startswith("Bearer")


@pytest.mark.parametrize("method", ["GET", "DELETE", "PUT"])
async def test_only_post_is_allowed(http: httpx2.AsyncClient, method: str) -> None:
    answer = await http.request(method, "/mcp")
    assert answer.status_code == 405
    assert answer.headers["allow"] == "POST"


async def test_a_foreign_page_or_name_gets_nothing(http: httpx2.AsyncClient) -> None:
    named = await http.post("/mcp", json=LIST, headers={"host": "evil.example"})
    paged = await http.post("/mcp", json=LIST, headers={"origin": "http://evil.example"})
    assert (named.status_code, paged.status_code) == (421, 403)


async def test_blanks_around_header_values_are_no_part_of_them(http: httpx2.AsyncClient) -> None:
    headers = {"mcp-protocol-version": "2025-11-25 \t", "content-type": "application/json "}
    answer = await http.post("/mcp", content=json.dumps(LIST), headers=headers)
    assert answer.status_code == 200
    assert '"name":"search"' in answer.text


async def test_a_body_over_four_megabytes_is_refused(http: httpx2.AsyncClient) -> None:
    headers = {"content-type": "application/json"}
    answer = await http.post("/mcp", content=b"x" * (4 * 1024 * 1024 + 1), headers=headers)
    assert answer.status_code == 413
