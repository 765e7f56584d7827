"""The port's suite over the Vespa adapter: agreement on the port, against a fake server.

The fake takes our package, documents and queries and computes as Vespa's sources say; it is no
measure of retrieval quality. With SCRUBJAY_VESPA_URL the same suite runs on a real cluster
(`make vespa-smoke`).
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from engine.db.session import Database, open_database
from engine.db.tables import Tenant
from engine.index.vespa import VespaIndex
from tests.contracts.search_index import SearchIndexContract
from tests.fakes.databases import SqliteDatabases
from tests.fakes.vespa_index import build_index
from tests.fakes.vespa_server import FakeVespa


@pytest.fixture
async def tenants(sqlite_databases: SqliteDatabases, tmp_path: Path) -> AsyncIterator[Database]:
    """A database with the tenants of the contract."""
    async with open_database(sqlite_databases.new(tmp_path)) as db:
        async with db.write() as session:
            session.add_all(Tenant(id=name, key=name, name=name) for name in ("t1", "t2"))
        yield db


@pytest.fixture
def server() -> FakeVespa:
    return FakeVespa()


class TestVespaIndex(SearchIndexContract):
    rarity_counts = "parts"
    policy = "dedicated"

    @pytest.fixture
    async def index(self, server: FakeVespa, tenants: Database) -> AsyncIterator[VespaIndex]:  # type: ignore[override]
        index = build_index(server, tenants, policy=self.policy)
        yield index
        await index.aclose()

    @pytest.fixture
    async def reader(self, server: FakeVespa, tenants: Database) -> AsyncIterator[VespaIndex]:  # type: ignore[override]
        reader = build_index(server, tenants, policy=self.policy)
        yield reader
        await reader.aclose()


class TestPooledVespaIndex(TestVespaIndex):
    policy = "pooled"
