"""The whole way of a document with Vespa as the index: deploy, ingest, find, forbid, forget."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from engine.config import load_settings
from engine.documents.adding import NewDocument
from engine.index import vespa_http
from engine.runtime import open_engine
from engine.settings import Settings
from ingestion.host import run_worker
from tests.fakes.vespa_server import FakeVespa, running

TEXT = b"# Parking\n\nThe garage opens at 06:30 and closes at 22:00 on weekdays.\n"


def settings_for(home: Path, port: int) -> Settings:
    return load_settings(
        home,
        overrides={
            "search.engine": "vespa",
            "vespa.url": f"http://127.0.0.1:{port}",
            "vespa.config_url": f"http://127.0.0.1:{port}",
            "vespa.cells": "float",
            "vespa.deploy_timeout_s": 20,
            "embedding.model": "hashing",
        },
        environ={},
    )


async def test_a_document_is_deployed_for_ingested_found_and_forgotten(tmp_path: Path) -> None:
    server = FakeVespa()
    async with running(server) as port:
        settings = settings_for(tmp_path, port)
        async with open_engine(settings) as engine:
            assert (
                "can't be reached" in (await engine.operations.health())["index"]
                or server.generation == 0
            )
            owner = await engine.people.owner()
            kb = await engine.knowledge_bases.create(owner, "office")
            owner = await engine.people.owner()
            new = NewDocument(data=TEXT, filename="parking.md", external_id="parking.md")
            added = await engine.documents.add(owner, kb.id, new)
            await run_worker(engine, asyncio.Event(), idle_exit_s=0)

            document = await engine.documents.get(owner, added.document_id)
            assert (document.state, document.vectors) == ("ready", "complete")
            assert (await engine.operations.health())["index"] == ""
            assert {name for name in server.schemas if name.startswith("t_")} == {
                f"t_default_{engine.embedder.space.name}"
            }
            found = await engine.search.find(owner, "When does the garage open?")
            assert [hit.title for hit in found.hits] == ["Parking"]
            assert found.hits[0].scores.coverage > 0.3
            assert found.searched_documents == 1
            answer = await engine.answers.answer(owner, "When does the garage open?")
            assert "06:30" in answer.text
            assert answer.citations
            assert (await engine.operations.reconcile(owner, repair=False)).clean
            status = await engine.operations.status(owner)
            assert status.knowledge_bases[0].index_size_bytes > 0

            await engine.documents.delete(owner, added.document_id)
            assert not (await engine.search.find(owner, "garage")).hits
            await run_worker(engine, asyncio.Event(), idle_exit_s=0)
            assert await engine.index.revisions(owner.tenant_id, engine.embedder.space) == {}
    async with open_engine(settings) as engine:
        assert "can't be reached" in (await engine.operations.health())["index"]


async def test_a_full_vespa_keeps_documents_waiting_and_then_takes_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vespa_http, "BLOCKED_S", 0.05)
    monkeypatch.setattr(vespa_http, "FULL_RETRY_S", 0.05)
    refused = 0

    async def full(request: Request) -> Response | None:
        nonlocal refused
        writes = request.method in {"POST", "PUT"} and request.url.path.startswith("/document")
        if not writes:
            return None
        refused += 1
        if refused >= 7:  # more often than a job has attempts
            server.faults.clear()
        return JSONResponse({}, status_code=507)

    server = FakeVespa()
    async with running(server) as port, open_engine(settings_for(tmp_path, port)) as engine:
        owner = await engine.people.owner()
        kb = await engine.knowledge_bases.create(owner, "office")
        owner = await engine.people.owner()
        server.faults.append(full)
        added = [
            await engine.documents.add(
                owner, kb.id, NewDocument(data=TEXT + name.encode(), filename=f"{name}.md")
            )
            for name in ("parking", "bicycles")
        ]
        async with asyncio.timeout(60):
            await run_worker(engine, asyncio.Event(), idle_exit_s=0)
        for item in added:
            assert (await engine.documents.get(owner, item.document_id)).state == "ready"
        assert refused == 7
