"""`/api/v1/credentials`: what sources sign in with, over REST; no answer repeats a secret."""

from __future__ import annotations

from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import pytest

from engine.engine import Engine
from engine.runtime import open_engine
from engine.sources.removing import remove_some
from ingestion.connectors.kinds import open_connectors
from tests.fakes.git_server import open_git
from tests.fakes.homes import home_settings

BASE = "/api/v1/credentials"
TOKEN = "ghp_a_token_nobody_may_see"


@pytest.fixture
async def engine(filled_home: Path) -> AsyncIterator[Engine]:
    settings = home_settings(filled_home, processing__allow_private_urls=True)
    async with open_engine(settings, connectors=open_connectors()) as opened:
        yield opened
        owner = await opened.people.owner()
        for one in await opened.sources.list_all(owner):  # other tests share the installation
            while await opened.db.run_write(partial(remove_some, source_id=one.id)):
                pass


async def test_a_credential_is_kept_tried_used_and_deleted(client, engine, tmp_path):
    body = {"kind": "git", "name": "forge", "secret": {"token": TOKEN}}
    made = await client.post(BASE, json=body)
    assert made.status_code == 201, made.text
    assert (made.json()["method"], made.json()["state"]) == ("token", "ok")
    assert (await client.post(BASE, json=body)).status_code == 409
    assert (await client.post(f"{BASE}/forge/test", json={})).status_code == 422
    async with open_git(tmp_path) as server:
        server.password = TOKEN
        server.commit(a_md="# Apples")
        settings = {"url": server.url}
        tried = await client.post(f"{BASE}/forge/test", json={"settings": settings})
        assert [one["ok"] for one in tried.json()["findings"]] == [True]
        kbs = (await client.get("/api/v1/knowledge_bases")).json()["knowledge_bases"]
        kb = kbs[0]["name"]
        source = {"kind": "git", "name": "code", "kb": kb, "settings": settings}
        refused = await client.post("/api/v1/sources/connected", json=source)
        assert "credential" in refused.json()["detail"]
        asked = {"kind": "git", "settings": settings, "credential": "forge"}
        seen = await client.post("/api/v1/sources/preview", json=asked)
        assert [item["id"] for item in seen.json()["items"]] == ["a.md"]
        source |= {"every_s": 0, "credential": "forge"}
        connected = await client.post("/api/v1/sources/connected", json=source)
        assert connected.json()["source"]["credential"] == "forge", connected.text
        replaced = await client.put(f"{BASE}/forge", json={"secret": {"token": "another"}})
        assert replaced.status_code == 200
    listed = await client.get(BASE)
    assert [(one["name"], one["sources"]) for one in listed.json()["credentials"]] == [
        ("forge", ["code"])
    ]
    in_use = await client.delete(f"{BASE}/forge")
    assert in_use.status_code == 409
    assert "code" in in_use.json()["detail"]
    assert (await client.delete("/api/v1/sources/connected/code")).status_code == 200
    removed = await client.delete(f"{BASE}/forge")
    assert removed.status_code == 200, removed.text
    for answer in (made, tried, seen, connected, replaced, listed, removed):
        assert TOKEN not in answer.text


async def test_wrong_fields_are_named_without_their_values(client, engine):
    for secret in ({"tokn": TOKEN}, {}, {"token": TOKEN, "more": TOKEN}):
        answer = await client.post(BASE, json={"kind": "git", "name": "x", "secret": secret})
        assert answer.status_code == 422, answer.text
        assert TOKEN not in answer.text
    body = {"kind": "web", "name": "x", "secret": {"token": TOKEN}}
    answer = await client.post(BASE, json=body)
    assert (answer.status_code, "no sign-in" in answer.text) == (422, True)
    assert (await client.delete(f"{BASE}/nothing")).status_code == 404
