"""The host application on a filled data folder, called in process.

Every response is held to the description of the API.
"""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import httpx2
import pytest

from cli.serve import build_host
from engine.engine import Engine
from engine.runtime import open_engine
from tests.api.described import check
from tests.fakes.homes import fill, home_settings, this_user

OpenClient = Callable[..., AbstractAsyncContextManager[httpx2.AsyncClient]]


@pytest.fixture(scope="session")
def first_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("api-first-home")
    asyncio.run(fill(home_settings(home)))
    return home


@pytest.fixture(scope="module")
def filled_home(first_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy for each file of tests: what one leaves behind is not there for the next."""
    home = tmp_path_factory.mktemp("api") / "home"
    shutil.copytree(first_home, home)
    return home


@pytest.fixture
async def engine(filled_home: Path) -> AsyncIterator[Engine]:
    async with open_engine(home_settings(filled_home)) as opened:
        yield opened


@pytest.fixture
def open_client(engine: Engine) -> OpenClient:
    """Opens a client of a host with other server settings, from another address."""

    @asynccontextmanager
    async def opened(
        *, peer: str = "127.0.0.1", base_url: str = "http://127.0.0.1:7337", **server: object
    ) -> AsyncIterator[httpx2.AsyncClient]:
        settings = home_settings(
            engine.settings.home, **{f"server__{name}": value for name, value in server.items()}
        )
        app = build_host(engine, settings, keyless=this_user)
        transport = httpx2.ASGITransport(app, client=(peer, 40000), raise_app_exceptions=False)
        async with (
            app.router.lifespan_context(app),
            httpx2.AsyncClient(
                transport=transport, base_url=base_url, event_hooks={"response": [check]}
            ) as client,
        ):
            yield client

    return opened


@pytest.fixture
async def client(open_client: OpenClient) -> AsyncIterator[httpx2.AsyncClient]:
    async with open_client() as opened:
        yield opened
