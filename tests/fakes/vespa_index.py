"""A Vespa index over the fake server, as `engine/runtime.py` puts one together over a real one."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

import httpx2

from engine.db.session import Database
from engine.index.vespa import VespaIndex
from engine.index.vespa_http import VespaHttp
from engine.limits import SqlLimits
from engine.operations.placements import Policy, SqlPlaces
from tests.fakes.vespa_server import FakeVespa
from vespa_app.package import Cluster, render
from vespa_app.tenancy import Cells, Placement

URL = "http://vespa.test:8080"


def build_index(
    server: FakeVespa | str,
    db: Database,
    *,
    policy: Policy = "dedicated",
    cells: Cells = "float",
    max_dedicated: int = 1000,
    timeout_s: float = 20.0,
) -> VespaIndex:
    """An index with a client of its own, over a server in this process or at an address."""
    transport = None if isinstance(server, str) else httpx2.ASGITransport(app=server.app)

    async def deploy(placements: Sequence[Placement], *, removed: Sequence[str]) -> None:
        today = datetime.now(UTC).date()
        package = render(placements, Cluster(), removed=removed, today=today)
        if isinstance(server, FakeVespa):
            server.deploy(package.files)
            return
        async with httpx2.AsyncClient(trust_env=False, timeout=timeout_s) as client:
            path = "/application/v2/tenant/default/prepareandactivate"
            (await client.post(server + path, content=package.to_zip())).raise_for_status()

    http = VespaHttp(
        server if isinstance(server, str) else URL,
        query_timeout_s=timeout_s,
        feed_timeout_s=timeout_s,
        transport=transport,
    )
    places = SqlPlaces(
        db, SqlLimits(db), deploy, cells=cells, policy=policy, max_dedicated=max_dedicated
    )
    if isinstance(server, FakeVespa) and not server.generation:
        server.deploy(render([], Cluster()).files)
    return VespaIndex(http, places)
