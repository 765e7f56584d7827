"""The MCP door over HTTP: both protocol eras, credentials, and what it refuses."""

from __future__ import annotations

import asyncio
import gc
import json
import socket
import tracemalloc
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx2
import pytest
import uvicorn
from starlette.applications import Starlette

from cli.serve import build_host
from engine.engine import Engine
from tests.fakes.homes import home_settings, make_member_token, this_user
from tests.mcp_server.conftest import BASE, OpenHttp

LIST = {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}
ACCEPT = {"accept": "application/json, text/event-stream"}


def call_of(name: str, **arguments: object) -> dict[str, object]:
    """A call that is right at both eras."""
    meta = {
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientInfo": {"name": "test", "version": "1"},
        "io.modelcontextprotocol/clientCapabilities": {},
    }
    params = {"name": name, "arguments": arguments, "_meta": meta}
    return {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}


def headers_of(version: str, name: str = "list_knowledge_bases") -> dict[str, str]:
    """What a client of that revision sends along with a call."""
    plain = {"content-type": "application/json", "mcp-protocol-version": version}
    if version < "2026":
        return plain
    return plain | {"mcp-method": "tools/call", "mcp-name": name}


@asynccontextmanager
async def listening(app: Starlette) -> AsyncIterator[int]:
    """The app behind a real socket, as `scrubjay serve` has it; its port."""
    server = uvicorn.Server(uvicorn.Config(app, port=0, lifespan="off", log_config=None))
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        serving = asyncio.create_task(server.serve([listener]))
        try:
            yield listener.getsockname()[1]
        finally:
            server.should_exit = True
            async with asyncio.timeout(60):
                await serving


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
    assert len(tools.tools) == 7
    assert found.structured_content["results"][0]["title"] == "Hotels"
    assert found.structured_content["results"][0]["url"].startswith(f"{BASE}/d/")
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


async def test_the_chatgpt_profile_has_the_exact_shapes(open_http: OpenHttp) -> None:
    async with open_http(path="/mcp/chatgpt") as client:
        tools = (await client.list_tools()).tools
        found = await client.call_tool("search", {"query": "lodging rate"})
        page = await client.call_tool("fetch", {"id": found.structured_content["results"][0]["id"]})
        extra = await client.call_tool("search", {"query": "x", "limit": 3})
        assert (await client.list_resources()).resources == []
    assert {tool.name: list(tool.input_schema["properties"]) for tool in tools} == {
        "search": ["query"],
        "fetch": ["id"],
    }
    assert list(found.structured_content) == ["results", "notice"]
    assert list(found.structured_content["results"][0]) == ["id", "title", "url", "confidence"]
    assert list(page.structured_content) == ["id", "title", "text", "url", "metadata"]
    for result in (found, page):
        [block] = result.content
        assert json.loads(block.text) == result.structured_content
    assert all(hit["url"].startswith("http") for hit in found.structured_content["results"])
    assert extra.is_error


@pytest.mark.parametrize(
    "given", [{"path": "/mcp?tools=search,fetch"}, {"toolsets": "search,fetch"}]
)
async def test_a_client_can_narrow_the_tools(open_http: OpenHttp, given: dict[str, str]) -> None:
    async with open_http(**given) as client:
        assert [tool.name for tool in (await client.list_tools()).tools] == ["search", "fetch"]
        hidden = await client.call_tool("ask", {"question": "x"})
    assert hidden.is_error


async def test_who_asks_too_often_is_told_when_to_come_back(engine: Engine, mcp_home: Path) -> None:
    settings = home_settings(mcp_home, mcp__requests_per_minute=6, mcp__requests_burst=2)
    call = {"jsonrpc": "2.0", "id": 1, "method": "ping"}
    app = build_host(engine, settings, keyless=this_user)
    async with app.router.lifespan_context(app):
        transport = httpx2.ASGITransport(app, client=("127.0.0.1", 40000))
        async with httpx2.AsyncClient(transport=transport, base_url=BASE, headers=ACCEPT) as http:
            answers = [await http.post("/mcp", json=call) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [200, 200, 429]
    assert answers[2].headers["retry-after"] == "10"
    assert answers[2].json()["code"] == "rate_limited"


@pytest.mark.parametrize("version", ["2025-11-25", "2026-07-28"])
async def test_a_tool_called_too_often_tells_the_model_and_the_client(
    engine: Engine, mcp_home: Path, version: str
) -> None:
    settings = home_settings(mcp_home, mcp__calls_per_minute=6, mcp__calls_burst=1)
    app = build_host(engine, settings, keyless=this_user)
    async with app.router.lifespan_context(app):
        transport = httpx2.ASGITransport(app, client=("127.0.0.1", 40000))
        async with httpx2.AsyncClient(transport=transport, base_url=BASE, headers=ACCEPT) as http:
            for _ in range(2):
                answer = await http.post(
                    "/mcp", json=call_of("list_knowledge_bases"), headers=headers_of(version)
                )
    assert answer.status_code == 200
    assert answer.headers["retry-after"] == "10"
    assert (
        "Rate limit: 6 calls of list_knowledge_bases per minute. Retry after 10 s." in answer.text
    )


BAD_MESSAGES = [
    b"",
    b"{",
    b"[]",
    b"null",
    b'"text"',
    b"{}",
    b'{"jsonrpc":"1.0","id":1,"method":"tools/list"}',
    b'{"jsonrpc":"2.0","id":1,"method":7}',
    b'{"jsonrpc":"2.0","id":{},"method":"tools/list"}',
    b'{"jsonrpc":"2.0","id":1,"method":"no/such"}',
    b'{"jsonrpc":"2.0","id":1,"method":"tools/call"}',
    b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":[]}',
    b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":7}}',
    b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"search","arguments":"x"}}',
    b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"search","arguments":[1]}}',
    b"[" * 10_000,
    b"\xff\xfe\x00",
    b'{"jsonrpc":"2.0","id":1,"method":"resources/read","params":{"uri":"kb://x/../../etc"}}',
    b'[{"jsonrpc":"2.0","id":1,"method":"tools/list"}]',
    b'{"jsonrpc":"2.0","id":' + b"9" * 5_000 + b',"method":"tools/list"}',
]


@pytest.mark.parametrize("version", ["2025-11-25", "2026-07-28", "1999-01-01"])
async def test_two_hundred_malformed_messages_in_a_row_are_answered_each(
    http: httpx2.AsyncClient, version: str, caplog: pytest.LogCaptureFixture
) -> None:
    for n in range(200):
        body = BAD_MESSAGES[n % len(BAD_MESSAGES)]
        answer = await http.post("/mcp", content=body, headers=headers_of(version))
        assert 200 <= answer.status_code < 500, (body[:60], answer.status_code)
        assert "Traceback" not in answer.text
    good = await http.post("/mcp", json=LIST)
    assert '"name":"search"' in good.text


async def test_two_hundred_malformed_calls_leave_memory_as_it_was(
    http: httpx2.AsyncClient, caplog: pytest.LogCaptureFixture
) -> None:
    async def send(count: int) -> None:
        for n in range(count):
            body = BAD_MESSAGES[n % len(BAD_MESSAGES)]
            await http.post("/mcp", content=body, headers=headers_of("2025-11-25"))
            await http.post(
                "/mcp", json=call_of("search", query=f"x{n}", **{f"wrong{n}": "x" * 10_000})
            )
            caplog.clear()  # what the test itself remembers

    await send(20)  # caches fill and parts load at the first messages
    gc.collect()
    tracemalloc.start()
    try:
        await send(10)
        gc.collect()
        before, _ = tracemalloc.get_traced_memory()
        await send(100)  # of each kind
        gc.collect()
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert after - before < 300_000  # keeping what 200 calls sent would be 1 MB and more


@pytest.mark.parametrize("version", ["2025-11-25", "2026-07-28"])
async def test_who_hangs_up_ends_the_work_of_the_call(
    engine: Engine, host: Starlette, monkeypatch: pytest.MonkeyPatch, version: str
) -> None:
    """Over a real connection: the engine's work is cancelled at once, and the audit says so."""
    begun, ended = asyncio.Event(), asyncio.Event()

    async def hang(*_: object, **__: object) -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    monkeypatch.setattr(engine.knowledge_bases, "list_readable", hang)
    body = json.dumps(call_of("list_knowledge_bases")).encode()
    headers = ACCEPT | headers_of(version) | {"content-length": str(len(body))}
    async with listening(host) as port:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        head = f"POST /mcp HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\n" + "".join(
            f"{name}: {value}\r\n" for name, value in headers.items()
        )
        writer.write(head.encode() + b"\r\n" + body)
        async with asyncio.timeout(60):
            await begun.wait()
        writer.transport.abort()
        async with asyncio.timeout(60):
            await ended.wait()
    monkeypatch.undo()
    await engine.operations._call_log.flush()
    assert (await engine.operations.list_calls(await engine.people.owner()))[0].code == "cancelled"


async def test_a_body_over_four_megabytes_is_refused(http: httpx2.AsyncClient) -> None:
    headers = {"content-type": "application/json"}
    answer = await http.post("/mcp", content=b"x" * (4 * 1024 * 1024 + 1), headers=headers)
    assert answer.status_code == 413


@pytest.mark.parametrize("version", ["2025-11-25", "2026-07-28"])
@pytest.mark.parametrize("path", ["/mcp", "/mcp/", "/mcp/chatgpt", "/mcp/chatgpt/"])
async def test_a_client_that_takes_only_json_gets_json(
    http: httpx2.AsyncClient, version: str, path: str
) -> None:
    headers = headers_of(version, "search") | {"accept": "application/json"}
    answer = await http.post(path, json=call_of("search", query="lodging rate"), headers=headers)
    streamed = await http.post(
        path, json=call_of("search", query="lodging rate"), headers=headers_of(version, "search")
    )
    assert answer.status_code == streamed.status_code == 200
    assert answer.headers["content-type"].startswith("application/json")
    result = answer.json()["result"]["structuredContent"]
    assert result["results"][0]["title"] == "Hotels"
    assert '"title":"Hotels"' in streamed.text


async def test_a_client_that_says_nothing_of_what_it_takes_is_answered(
    host: Starlette,
) -> None:
    transport = httpx2.ASGITransport(host, client=("127.0.0.1", 40000))
    async with httpx2.AsyncClient(transport=transport, base_url=BASE) as http:
        request = http.build_request("POST", "/mcp", json=LIST)
        del request.headers["accept"]
        answer = await http.send(request)
    assert answer.status_code == 200
    assert '"name":"search"' in answer.text
