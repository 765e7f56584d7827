"""`/api/v1/sources/connected`: sources over REST, for admins alone."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from engine.engine import Engine
from engine.runtime import open_engine
from ingestion.connectors.kinds import open_connectors
from tests.fakes.homes import home_settings

BASE = "/api/v1/sources/connected"


@pytest.fixture
async def engine(filled_home: Path, tmp_path: Path) -> AsyncIterator[Engine]:
    (tmp_path / "papers").mkdir()
    (tmp_path / "papers" / "a.md").write_text("# Apples\n\nApples are red.")
    settings = home_settings(filled_home, sources__folders=str(tmp_path))
    async with open_engine(settings, connectors=open_connectors()) as opened:
        yield opened
        owner = await opened.people.owner()
        for one in await opened.sources.list_all(owner):
            if one.state != "removing":
                await opened.sources.remove(owner, one.name)


async def test_a_source_is_connected_watched_changed_and_removed(client, engine, tmp_path):
    kinds = (await client.get("/api/v1/sources/kinds")).json()["kinds"]
    assert {"folder", "web"} <= {kind["kind"] for kind in kinds}
    kbs = (await client.get("/api/v1/knowledge_bases")).json()["knowledge_bases"]
    body = {
        "kind": "folder",
        "name": "papers",
        "kb": kbs[0]["name"],
        "settings": {"path": str(tmp_path / "papers")},
        "every_s": 0,
    }
    preview = await client.post(
        "/api/v1/sources/preview", json={"kind": "folder", "settings": body["settings"]}
    )
    assert [item["id"] for item in preview.json()["items"]] == ["a.md"]
    made = await client.post(BASE, json=body)
    assert made.status_code == 201, made.text
    assert [finding["ok"] for finding in made.json()["findings"]] == [True]
    assert (await client.post(BASE, json=body)).status_code == 409
    shown = (await client.get(f"{BASE}/papers")).json()
    assert (shown["state"], shown["has_permissions"]) == ("active", False)
    changed = await client.patch(f"{BASE}/papers", json={"every_s": 600})
    assert changed.json()["every_s"] == 600
    for verb, state in (("pause", "paused"), ("resume", "active")):
        assert (await client.post(f"{BASE}/papers/{verb}")).json()["state"] == state
    assert (await client.post(f"{BASE}/papers/check")).json()["findings"][0]["ok"]
    assert (await client.post(f"{BASE}/papers/sync", json={"whole": True})).status_code == 202
    assert (await client.post(f"{BASE}/papers/confirm")).status_code == 409
    assert (await client.get(f"{BASE}/papers/left_out")).json() == {"items": []}
    assert (await client.get(f"{BASE}/papers/syncs")).json() == {"syncs": []}
    assert [one["name"] for one in (await client.get(BASE)).json()["sources"]] == ["papers"]
    removed = await client.delete(f"{BASE}/papers")
    assert removed.json() == {"removed": "papers", "documents": 0}


async def test_what_is_wrong_is_named_and_what_is_absent_is_not_found(client, engine, tmp_path):
    for settings, field in (
        ({}, "path"),
        ({"path": str(tmp_path), "depth": 3}, "depth"),
        ({"path": "/"}, "settings"),
    ):
        body = {"kind": "folder", "name": "x", "kb": "handbook", "settings": settings}
        answer = await client.post(BASE, json=body)
        assert answer.status_code in {404, 422, 400}, answer.text
        if answer.status_code != 404:
            assert field in answer.text
    assert (await client.get(f"{BASE}/nothing")).status_code == 404
    unknown = await client.post(BASE, json={"kind": "fax", "name": "x", "settings": {}})
    assert "folder" in unknown.json()["detail"]
