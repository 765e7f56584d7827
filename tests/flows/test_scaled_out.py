"""The other shape: rows in PostgreSQL, hints through Redis. The story is the same."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from engine.config import load_settings
from engine.documents.adding import NewDocument
from engine.runtime import open_engine
from ingestion.host import run_worker
from tests.fakes.databases import postgres_databases, redis_url


@pytest.fixture
def postgres_url() -> Iterator[str]:
    with postgres_databases() as databases:
        yield databases.url


@pytest.mark.postgres
@pytest.mark.redis
async def test_a_document_is_answered_from_on_postgresql_and_redis(
    tmp_path: Path, postgres_url: str
) -> None:
    settings = load_settings(
        tmp_path,
        overrides={
            "database.url": postgres_url,
            "jobs.broker": redis_url(),
            "system.secret_key": "a-key-for-tests-with-enough-characters",
            "embedding.model": "hashing",
        },
        environ={},
    )
    text = b"# Parking\n\nThe garage opens at 06:30 and closes at 22:00 on weekdays.\n"
    async with open_engine(settings) as engine:
        owner = await engine.people.owner()
        kb = await engine.knowledge_bases.create(owner, "office")
        owner = await engine.people.owner()
        added = await engine.documents.add(
            owner, kb.id, NewDocument(data=text, filename="parking.md", external_id="parking.md")
        )
        await run_worker(engine, asyncio.Event(), idle_exit_s=0)

        document = await engine.documents.get(owner, added.document_id)
        assert (document.state, document.vectors) == ("ready", "complete")
        hits = (await engine.search.find(owner, "When does the garage open?")).hits
        assert [hit.title for hit in hits] == ["Parking"]
        assert (await engine.operations.reconcile(owner, repair=False)).clean

        await engine.documents.delete(owner, added.document_id)
        assert not (await engine.search.find(owner, "garage")).hits
        await run_worker(engine, asyncio.Event(), idle_exit_s=0)
        assert await engine.index.revisions(owner.tenant_id, engine.embedder.space) == {}
