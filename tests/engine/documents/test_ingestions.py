"""How far an ingestion is, by the handle the adding call returned."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from engine.documents.adding import NewDocument
from engine.domain import Scope
from engine.engine import Engine
from engine.errors import Forbidden, NotFound
from engine.runtime import open_engine
from ingestion.host import run_worker
from tests.fakes.homes import home_settings


@pytest.fixture
async def engine(tmp_path: Path) -> AsyncIterator[Engine]:
    async with open_engine(home_settings(tmp_path)) as opened:
        await opened.knowledge_bases.create(await opened.people.owner(), "team")
        yield opened


async def add(engine: Engine, text: str, name: str = "a.md") -> str:
    new = NewDocument(data=text.encode(), filename=name, external_id=name)
    return (await engine.documents.add(await engine.people.owner(), "team", new)).job_id


async def test_an_ingestion_is_followed_to_its_end(engine: Engine) -> None:
    job_id = await add(engine, "# Fine\n\nA wombat.\n")
    before = await engine.documents.get_ingestion(await engine.people.owner(), job_id)
    await run_worker(engine, asyncio.Event(), idle_exit_s=0)
    after = await engine.documents.get_ingestion(await engine.people.owner(), job_id)
    by_document = await engine.documents.get_ingestion(
        await engine.people.owner(), after.document_id
    )
    assert (before.state, before.progress) == ("pending", 0.0)
    assert (after.state, after.progress, after.error) == ("ready", 1.0, "")
    assert by_document == after


async def test_a_failure_says_what_to_do(engine: Engine) -> None:
    job_id = await add(engine, "", "empty.md")
    await run_worker(engine, asyncio.Event(), idle_exit_s=0)
    found = await engine.documents.get_ingestion(await engine.people.owner(), job_id)
    assert (found.state, found.progress) == ("failed", -1.0)
    assert found.error


async def test_a_newer_revision_does_not_speak_for_the_older_job(engine: Engine) -> None:
    first = await add(engine, "# One\n\nA wombat.\n")
    second = await add(engine, "# Two\n\nA wombat.\n")
    owner = await engine.people.owner()
    assert (await engine.documents.get_ingestion(owner, first)).state == "cancelled"
    assert (await engine.documents.get_ingestion(owner, second)).state == "pending"


async def test_absent_and_forbidden_ingestions_read_the_same(engine: Engine) -> None:
    job_id = await add(engine, "# Fine\n\nA wombat.\n")
    owner = await engine.people.owner()
    stranger = replace(owner, tokens=frozenset({"tenant"}))
    told = []
    for principal, ref in ((stranger, job_id), (owner, "0" * 32)):
        with pytest.raises(NotFound) as refused:
            await engine.documents.get_ingestion(principal, ref)
        told.append(str(refused.value).replace(ref, "REF"))
    assert told[0] == told[1]
    with pytest.raises(Forbidden):
        await engine.documents.get_ingestion(
            replace(owner, scopes=frozenset({Scope.KB_READ})), job_id
        )
