"""Fixtures of the engine's tests: a database on each dialect, a clock that tests set."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from engine import clock
from engine.db.session import Database, open_database
from engine.db.tables import Tenant
from tests.fakes.databases import (
    DIALECTS,
    PostgresDatabases,
    SqliteDatabases,
    postgres_databases,
)

TENANTS = ("acme", "bolt", "cobb")


class Clock:
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.at = datetime(2026, 3, 1, 12, tzinfo=UTC)

    def now(self) -> datetime:
        return self.at

    def advance(self, seconds: float) -> None:
        self.at += timedelta(seconds=seconds)


@pytest.fixture
def fixed_clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    fixed = Clock()
    monkeypatch.setattr(clock, "now", fixed.now)
    return fixed


@pytest.fixture(scope="session")
def sqlite_databases(tmp_path_factory: pytest.TempPathFactory) -> SqliteDatabases:
    return SqliteDatabases(tmp_path_factory.mktemp("sqlite"))


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresDatabases]:
    with postgres_databases() as databases:
        yield databases


@pytest.fixture(params=DIALECTS)
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty, migrated database."""
    if request.param == "sqlite":
        return request.getfixturevalue("sqlite_databases").new(tmp_path)
    return request.getfixturevalue("postgres_server").empty()


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    """An open database with the tenants acme, bolt and cobb."""
    async with open_database(database_url, pool_timeout_s=60) as opened:
        async with opened.write() as session:
            session.add_all(Tenant(id=name, key=name, name=name) for name in TENANTS)
        yield opened
