"""Fixtures of the stories: an installation whose tables are there already."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.fakes.databases import SqliteDatabases
from tests.fakes.installations import Installation, open_installation, parse_inline


@pytest.fixture(scope="session")
def sqlite_databases(tmp_path_factory: pytest.TempPathFactory) -> SqliteDatabases:
    return SqliteDatabases(tmp_path_factory.mktemp("sqlite"))


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
