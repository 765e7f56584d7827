"""The url of what tools return: short and the same each time, or bound to the caller's token."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx2
import pytest
from mcp.client import Client
from mcp.client.streamable_http import streamable_http_client

from cli.serve import build_host
from engine.domain import Scope
from engine.engine import Engine
from engine.search.links import id_of, path_of
from tests.fakes.homes import home_settings
from tests.mcp_server.conftest import BASE

FAR = "https://kb.example"
SICK = "How many hours of sick leave?"
# Characters: random letters and digits are at least 1.4 to a token in o200k_base and cl100k_base,
# so an address costs about 20 tokens after the server's own, and a link about 60.
ADDRESS_MAX, LINK_MAX = 28, 84


@pytest.fixture
async def far(engine: Engine) -> AsyncIterator[httpx2.ASGITransport]:
    """A server that others reach, where nobody is let in without a key."""
    app = build_host(engine, home_settings(engine.settings.home, server__public_url=FAR))
    async with app.router.lifespan_context(app):
        yield httpx2.ASGITransport(app, client=("203.0.113.5", 40000))


async def urls(transport: httpx2.ASGITransport, secret: str, *, path: str = "/mcp") -> list[str]:
    """The urls that search, ask and fetch return to a token."""
    headers = {"authorization": f"Bearer {secret}"}
    async with httpx2.AsyncClient(transport=transport, headers=headers) as http:
        wire = streamable_http_client(f"{FAR}{path}", http_client=http)
        async with Client(wire) as client:
            found = (await client.call_tool("search", {"query": SICK})).structured_content
            first = found["results"][0]
            read = (await client.call_tool("fetch", {"id": first["id"]})).structured_content
            if path != "/mcp":
                return [first["url"], read["url"]]
            asked = (await client.call_tool("ask", {"question": SICK})).structured_content
            by_url = (await client.call_tool("fetch", {"id": read["url"]})).structured_content
            if "/d/" in read["url"]:
                assert by_url["text"] == read["text"]
    return [first["url"], read["url"], asked["citations"][0]["url"]]


async def test_the_local_owner_gets_addresses_that_cost_little_and_stay_the_same(client) -> None:
    for _ in range(2):
        found = (await client.call_tool("search", {"query": SICK})).structured_content
        first = found["results"][0]
        assert first["url"] == f"{BASE}{path_of(first['id'])}"
        assert id_of(first["url"]) == first["id"]
        assert len(first["url"]) <= len(BASE) + ADDRESS_MAX
        by_url = (await client.call_tool("fetch", {"id": first["url"]})).structured_content
        by_id = (await client.call_tool("fetch", {"id": first["id"]})).structured_content
        assert by_url["text"] == by_id["text"]


@pytest.mark.parametrize("path", ["/mcp", "/mcp/chatgpt"])
async def test_a_token_of_someone_who_cannot_sign_in_gets_links_that_end_with_it(
    far, engine: Engine, path: str
) -> None:
    owner = await engine.people.owner()
    scopes = [Scope.KB_READ, Scope.KB_ASK]
    secret, info = await engine.people.create_token(owner, "links", scopes=scopes)
    other, _ = await engine.people.create_token(owner, "others", scopes=scopes)
    found = await urls(far, secret, path=path)
    assert found == await urls(far, secret, path=path)
    assert set(found).isdisjoint(await urls(far, other, path=path))
    for url in found:
        assert url.startswith(f"{FAR}/v/t")
        assert len(url) <= len(FAR) + LINK_MAX
    async with httpx2.AsyncClient(transport=far, base_url=FAR) as browser:
        assert [(await browser.get(url)).status_code for url in found] == [200] * len(found)
        await engine.people.revoke_token(owner, info.id)
        assert [(await browser.get(url)).status_code for url in found] == [410] * len(found)
