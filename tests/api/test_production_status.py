"""The production status: its parts equal what each of them says alone, and a fault is named."""

from __future__ import annotations

import httpx2
import pytest

from engine.domain import Scope
from engine.engine import Engine
from engine.operations.integration_probes import HealthProbe, IntegrationProbes
from tests.fakes.homes import make_token

PATH = "/api/v1/production_status"


async def test_it_combines_what_each_part_says(client: httpx2.AsyncClient, engine: Engine) -> None:
    await client.post("/api/v1/search", json={"query": "sick leave"})
    log = engine._query_log
    assert log is not None
    await log.flush()
    found = (await client.get(PATH, params={"days": 2})).json()
    assert (found["state"], found["reasons"]) == ("well", [])
    stats = (await client.get("/api/v1/knowledge_bases/team/stats")).json()
    [team] = [kb for kb in found["knowledge_bases"] if kb["name"] == "team"]
    for name in ("document_count", "chunk_count", "index_size"):
        assert team[name] == stats[name]
    assert found["health"] == (await client.get("/api/v1/health")).json()["parts"]
    total = (await client.get("/api/v1/statistics", params={"days": 2})).json()["total"]
    assert found["metrics"]["queries_processed"] == total["searches"]["searches"] >= 1
    assert found["metrics"]["query_p95_ms"] == total["searches"]["p95_ms"]
    assert found["workflows"] == []


async def test_a_part_that_fails_is_named(
    client: httpx2.AsyncClient, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def health() -> dict[str, str]:
        return {"database": "", "index": "start Vespa"}

    monkeypatch.setattr(engine.operations, "health", health)
    found = (await client.get(PATH)).json()
    assert (found["state"], found["reasons"]) == ("ailing", ["index: start Vespa"])


async def test_it_is_for_admins(client: httpx2.AsyncClient, engine: Engine) -> None:
    token = await make_token(engine, Scope.KB_READ, Scope.KB_MANAGE)
    refused = await client.get(PATH, headers={"authorization": f"Bearer {token}"})
    assert refused.status_code == 403


class Crm(HealthProbe):
    name = "crm"

    def check(self) -> str:
        return "Call the vendor."


async def test_a_probe_of_an_integration_is_shown_and_takes_no_requests_away(
    client: httpx2.AsyncClient, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine.operations, "integration_probes", IntegrationProbes([Crm()]))
    parts = (await client.get("/api/v1/health")).json()["parts"]
    assert parts["crm"] == "Call the vendor."
    assert 'scrubjay_integration_up{integration="crm"} 0' in (await client.get("/metrics")).text
    assert (await client.get(PATH)).json()["state"] == "ailing"
    assert (await client.get("/ready")).status_code == 200
