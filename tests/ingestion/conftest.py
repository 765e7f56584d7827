"""Fixtures of the ingestion's tests: a database with one tenant, and workers over it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from engine.db.session import Database, open_database
from engine.db.tables import Tenant
from tests.fakes.databases import SqliteDatabases


@pytest.fixture(scope="session")
def sqlite_databases(tmp_path_factory: pytest.TempPathFactory) -> SqliteDatabases:
    return SqliteDatabases(tmp_path_factory.mktemp("sqlite"))


@pytest.fixture
async def database(sqlite_databases: SqliteDatabases, tmp_path: Path) -> AsyncIterator[Database]:
    """An open database with the tenant acme."""
    async with open_database(sqlite_databases.new(tmp_path), pool_timeout_s=60) as opened:
        async with opened.write() as session:
            session.add(Tenant(id="acme", key="acme", name="acme"))
        yield opened
