"""The port's suite over a real Vespa cluster, where SCRUBJAY_VESPA_URL names one.

`make vespa-smoke` starts one in a container and runs this. The cluster must be empty: a deploy that
would remove somebody's schema is refused. Its config server is looked for on port 19071 of the same
host. Each test deploys, so the suite takes a while.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from pathlib import Path

import httpx2
import pytest

from engine.config import load_settings
from engine.db.session import Database, open_database
from engine.db.tables import Tenant
from engine.index.vespa import VespaIndex
from engine.operations.vespa_cluster import build_index, build_places
from tests.contracts.search_index import SearchIndexContract
from tests.fakes.databases import SqliteDatabases

URL = os.environ.get("SCRUBJAY_VESPA_URL", "")


@pytest.fixture
async def tenants(sqlite_databases: SqliteDatabases, tmp_path: Path) -> AsyncIterator[Database]:
    async with open_database(sqlite_databases.new(tmp_path)) as db:
        async with db.write() as session:
            session.add_all(Tenant(id=name, key=name, name=name) for name in ("t1", "t2"))
        yield db


@pytest.mark.vespa
@pytest.mark.timeout(3600)
@pytest.mark.skipif(not URL, reason="SCRUBJAY_VESPA_URL names no Vespa cluster")
class TestVespaCluster(SearchIndexContract):
    rarity_counts = "parts"

    def build(self, tmp_path: Path, db: Database) -> VespaIndex:
        config_url = str(httpx2.URL(URL).copy_with(port=19071))
        settings = load_settings(
            tmp_path,
            overrides={
                "search.engine": "vespa",
                "vespa.url": URL,
                "vespa.config_url": config_url,
                "vespa.cells": "float",
                "vespa.query_timeout_s": 20,
            },
            environ={},
        )
        self.places = build_places(settings, db)
        return build_index(settings, db)

    @pytest.fixture
    async def index(self, tmp_path: Path, tenants: Database) -> AsyncIterator[VespaIndex]:  # type: ignore[override]
        index = self.build(tmp_path, tenants)
        await self.places.deploy()
        yield index
        for tenant in ("t1", "t2"):
            await index.drop_tenant(tenant)
        await index.aclose()

    @pytest.fixture
    async def reader(self, tmp_path: Path, tenants: Database) -> AsyncIterator[VespaIndex]:  # type: ignore[override]
        reader = self.build(tmp_path, tenants)
        yield reader
        await reader.aclose()
