"""MCP clients of a filled data folder: in memory, and over HTTP at both protocol eras."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest
from mcp.client import Client
from mcp.client.streamable_http import streamable_http_client
from mcp_types import CallToolResult, ListToolsResult
from starlette.applications import Starlette

from cli.serve import build_host
from engine.domain import Principal
from engine.engine import Engine
from engine.runtime import open_engine
from engine.search.links import Links
from mcp_server.buckets import Buckets, Rate
from mcp_server.caller import Door, McpCaller, Profile
from mcp_server.server import build_server
from tests.fakes.homes import fill, home_settings, this_user

OpenHttp = Callable[..., AbstractAsyncContextManager[Client]]
BASE = "http://127.0.0.1:7337"


@pytest.fixture(scope="session")
def mcp_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("mcp-home")
    asyncio.run(fill(home_settings(home)))
    return home


@pytest.fixture
async def engine(mcp_home: Path) -> AsyncIterator[Engine]:
    async with open_engine(home_settings(mcp_home)) as opened:
        yield opened


@pytest.fixture
async def host(engine: Engine) -> AsyncIterator[Starlette]:
    app = build_host(engine, engine.settings, keyless=this_user)
    async with app.router.lifespan_context(app):
        yield app


@pytest.fixture
def open_http(host: Starlette) -> OpenHttp:
    """Opens a client over HTTP, of an era, with a token or without."""

    @asynccontextmanager
    async def opened(
        *, mode: str = "auto", token: str = "", path: str = "/mcp", toolsets: str = ""
    ) -> AsyncIterator[Client]:
        headers = {"authorization": f"Bearer {token}"} if token else {}
        headers |= {"x-toolsets": toolsets} if toolsets else {}
        transport = httpx2.ASGITransport(host, client=("127.0.0.1", 40000))
        async with httpx2.AsyncClient(transport=transport, headers=headers) as http:
            wire = streamable_http_client(f"{BASE}{path}", http_client=http)
            async with Client(wire, mode=mode) as client:
                yield client

    return opened


class Assistant:
    """Calls tools in memory for a principal. Each call connects anew, as a stateless server allows:

    a connection must close in the task that opened it, and fixtures end in another.
    """

    def __init__(
        self, engine: Engine, principal: Principal, *, profile: Profile = "full", **door: Any
    ) -> None:
        async def caller(_: object) -> McpCaller:
            return McpCaller(engine, principal, Links(BASE))

        async def reader(_: object) -> Principal:
            return principal

        door = {"calls": Buckets(Rate(60_000, 10_000))} | door
        self._server = build_server(Door(caller, reader=reader, **door), profile=profile)

    async def call_tool(self, name: str, arguments: dict[str, object]) -> CallToolResult:
        async with Client(self._server) as client:
            return await client.call_tool(name, arguments)

    async def list_tools(self) -> ListToolsResult:
        async with Client(self._server) as client:
            return await client.list_tools()


@pytest.fixture
async def client(engine: Engine) -> Assistant:
    return Assistant(engine, await engine.people.owner())
