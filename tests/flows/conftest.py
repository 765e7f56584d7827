"""Fixtures of the stories: an installation whose tables are there already."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from tests.fakes.databases import PostgresDatabases, SqliteDatabases, postgres_databases
from tests.fakes.installations import Installation, open_installation, parse_inline
from tests.fakes.vespa_server import FakeVespa, running

SHAPES = ("embedded", "vespa", pytest.param("postgresql", marks=pytest.mark.postgres))


@pytest.fixture(scope="session")
def sqlite_databases(tmp_path_factory: pytest.TempPathFactory) -> SqliteDatabases:
    return SqliteDatabases(tmp_path_factory.mktemp("sqlite"))


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresDatabases]:
    with postgres_databases() as databases:
        yield databases


@pytest.fixture
def home(sqlite_databases: SqliteDatabases, tmp_path: Path) -> Path:
    """A data folder with an empty database."""
    folder = tmp_path / "home"
    folder.mkdir()
    sqlite_databases.new(folder)
    return folder


@pytest.fixture
async def notes(home: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Installation]:
    """An installation that reads files in this process."""
    parse_inline(monkeypatch)
    async with open_installation(home) as opened:
        yield opened


@pytest.fixture(params=SHAPES)
async def anywhere(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Installation]:
    """The same on either index and either database."""
    parse_inline(monkeypatch)
    async with AsyncExitStack() as stack:
        settings: dict[str, object] = {}
        folder = tmp_path / "home"
        folder.mkdir()
        if request.param == "postgresql":
            databases = request.getfixturevalue("postgres_server")
            settings["database.url"] = databases.empty()
            settings["system.secret_key"] = "s" * 32
        else:
            request.getfixturevalue("sqlite_databases").new(folder)
        if request.param == "vespa":
            address = f"http://127.0.0.1:{await stack.enter_async_context(running(FakeVespa()))}"
            settings |= {
                "search.engine": "vespa",
                "vespa.url": address,
                "vespa.config_url": address,
                "vespa.cells": "float",
            }
        yield await stack.enter_async_context(open_installation(folder, settings))
