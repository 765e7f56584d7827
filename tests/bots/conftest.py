"""Fixtures of the bots: a room in an installation with two pages, one of them secret."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from engine.commands import workflows
from tests.fakes.chat import Room
from tests.fakes.databases import SqliteDatabases
from tests.fakes.installations import Installation, open_installation, parse_inline
from tests.fakes.rooms import furnish


@pytest.fixture(autouse=True)
def _no_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody runs workflows here, so a command need not wait for one."""
    monkeypatch.setattr(workflows, "WAIT_S", 0.1)


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


@pytest.fixture
async def room(notes: Installation) -> Room:
    """A workspace: Ada and Bob are in it, Ada is its admin, Gus is a guest in #help (C1).

    The knowledge base notes is open to the workspace, board to Ada alone.
    """
    room = await Room(notes.engine, notes.owner.tenant_id).open()
    await furnish(room, notes)
    return room
