"""Stored flows, kept outputs, reindexing and watching in SQL, on each dialect."""

from __future__ import annotations

import asyncio
from itertools import count
from pathlib import Path

import pytest
from sqlalchemy import select, update

from engine.access import gate
from engine.blobs.folder import FolderBlobs
from engine.clock import now
from engine.db.session import Database
from engine.db.tables import (
    Channel,
    Document,
    Job,
    Message,
    MessageSpan,
    Revision,
    Run,
    RunEvent,
    Workspace,
)
from engine.documents import component_outputs, pipelines, progress, reindexing
from engine.documents import knowledge_bases as kbs
from engine.documents.adding import NewDocument
from engine.documents.documents import Documents
from engine.domain import Principal
from engine.errors import Conflict, NotFound
from engine.index.port import Space
from engine.people import tenants

SPACE = Space("hashing", 64)
DSL = '{"components": [{"id": "p", "type": "Parser"}]}'


def sound(_dsl: str) -> None:
    pass


@pytest.fixture
async def owner(database: Database) -> Principal:
    """The local owner, who holds the knowledge base docs."""
    tenant, person = await tenants.ensure_default(database)
    async with database.read() as session:
        alone = await gate.principal_of_user(session, tenant.id, person.user_id)
    async with database.write() as session:
        await kbs.create_kb(session, alone, "docs", space=SPACE)
    async with database.read() as session:
        return await gate.principal_of_user(session, tenant.id, person.user_id)


@pytest.fixture
async def kb_id(database: Database, owner: Principal) -> str:
    async with database.read() as session:
        return (await kbs.get_kb(session, owner, "docs")).id


@pytest.fixture
async def added(database: Database, owner: Principal, kb_id: str, tmp_path: Path) -> list[str]:
    """Three documents: ready, failed, pending."""
    blobs = FolderBlobs(tmp_path / "blobs")
    rooms = kbs.KnowledgeBases(database, SPACE)
    verbs = Documents(database, blobs, rooms, max_file_size_bytes=1000)
    new = [NewDocument(data=f"page {n}".encode(), filename=f"{n}.md") for n in range(3)]
    ids = [item.document_id for item in await verbs.add_many(owner, kb_id, new)]
    async with database.write() as session:
        for id_, state in zip(ids, ("ready", "failed", "pending"), strict=True):
            await session.execute(
                update(Document)
                .where(Document.id == id_)
                .values(state=state, chunk_count=2, token_count=30)
            )
        await session.execute(update(Job).values(state="done"))
    return ids


async def test_a_flow_is_stored_named_and_forgotten(database, owner) -> None:
    async with database.write() as session:
        await pipelines.save_flow(session, owner, "mine", DSL, check=sound)
        await kbs.update_kb(session, owner, "docs", pipeline="mine")
    async with database.read() as session:
        assert (await pipelines.get_flow(session, owner, "mine")).knowledge_bases == ["docs"]
        assert await pipelines.load_text(session, owner.tenant_id, "mine") == DSL
        with pytest.raises(NotFound):  # another tenant has none of that name
            await pipelines.load_text(session, "bolt", "mine")
    async with database.write() as session:
        with pytest.raises(Conflict):
            await pipelines.delete_flow(session, owner, "mine")
        await kbs.update_kb(session, owner, "docs", pipeline="general")
        await pipelines.delete_flow(session, owner, "mine")
        with pytest.raises(NotFound):
            await pipelines.get_flow(session, owner, "mine")


async def test_an_output_is_kept_once_and_goes_with_a_document_of_its_content(
    database, owner, added
) -> None:
    async with database.read() as session:
        source = await session.scalar(
            select(Revision.blob_hash).where(Revision.document_id == added[0])
        )
    key = component_outputs.key_of("Parser", name="0.md")
    made = component_outputs.pack(source, key, "Parser", b"read")
    async with database.write() as session:
        await component_outputs.put(session, owner.tenant_id, made)
        await component_outputs.put(session, owner.tenant_id, made)
    async with database.read() as session:
        assert await component_outputs.get(session, owner.tenant_id, source, key) == b"read"
        assert await component_outputs.get(session, "bolt", source, key) is None
    async with database.write() as session:
        await component_outputs.forget(session, added[1])
        assert await component_outputs.get(session, owner.tenant_id, source, key) == b"read"
        await component_outputs.forget(session, added[0])
        assert await component_outputs.get(session, owner.tenant_id, source, key) is None


def test_an_output_too_large_is_not_kept(monkeypatch) -> None:
    monkeypatch.setattr(component_outputs, "BODY_MAX", 10)
    assert component_outputs.pack("0" * 64, b"k", "Parser", bytes(range(200))) is None


async def test_reindexing_takes_what_ended_and_leaves_what_waits(
    database, owner, kb_id, added
) -> None:
    async with database.read() as session:
        found = await reindexing.preview(session, owner, kb_id)
    assert (found.documents, found.failed, found.pending) == (2, 1, 1)
    assert (found.chunks, found.tokens, found.parsed, found.took_s) == (4, 60, 0, None)
    assert found.read_bytes == 2 * len("page 0")
    async with database.write() as session:
        queued, after = await reindexing.start(session, owner, kb_id)
    assert (queued, after) == (added[:2], "")
    async with database.read() as session:
        numbers = dict(
            iter(
                await session.execute(
                    select(Revision.document_id, Revision.number).order_by(Revision.number)
                )
            )
        )
        states = set(await session.scalars(select(Document.state)))
        jobs = list(await session.scalars(select(Job).where(Job.state == "queued")))
    assert [numbers[id_] for id_ in added] == [2, 2, 1]
    assert states == {"pending"}
    assert sorted(job.document_id for job in jobs) == sorted(added[:2])
    assert {job.lane for job in jobs} == {"bulk"}


async def test_reindexing_goes_on_where_it_stopped(
    database, owner, kb_id, added, monkeypatch
) -> None:
    monkeypatch.setattr(reindexing, "BATCH", 1)
    seen, after = [], ""
    while True:
        async with database.write() as session:
            some, after = await reindexing.start(session, owner, kb_id, after=after)
        seen += some
        if not after:
            break
    assert seen == added[:2]


async def test_watching_tells_each_line_of_a_run_once(database, owner, added) -> None:
    numbers = count(1)

    async def say(message: str, component: str, progress: float) -> None:
        async with database.write() as session:
            session.add(
                RunEvent(
                    tenant_id=owner.tenant_id,
                    run_id="r1",
                    seq=next(numbers),
                    component=component,
                    progress=progress,
                    message=message,
                )
            )

    async with database.write() as session:
        session.add(
            Run(id="r1", tenant_id=owner.tenant_id, flow_id="general", document_id=added[2])
        )
        await session.execute(
            update(Document).where(Document.id == added[2]).values(state="running", progress=0.5)
        )
    await say("page 1", "parser", 0.5)
    said = []
    async with asyncio.timeout(60):
        async for changed in progress.watch(database, owner, [added[2]], every_s=0.01):
            for one in changed:
                said += [entry["message"] for entry in one.entries]
                assert one.components["parser"] >= 0.5
            if said == ["page 1"]:
                await say("page 2", "parser", 1.0)
            elif said == ["page 1", "page 2"]:
                async with database.write() as session:
                    await session.execute(update(Run).values(state="done", ended_at=now()))
                    await session.execute(
                        update(Document).where(Document.id == added[2]).values(state="ready")
                    )
    assert said == ["page 1", "page 2"]
    async with database.read() as session:
        assert await progress.in_work(session, owner) == []


async def test_a_conversation_ingested_anew_keeps_the_places_of_its_messages(
    database, owner, kb_id, added
) -> None:
    async with database.write() as session:
        workspace = Workspace(
            tenant_id=owner.tenant_id, platform="slack", external_id="T1", name="w"
        )
        session.add(workspace)
        await session.flush()
        channel = Channel(
            tenant_id=owner.tenant_id, workspace_id=workspace.id, external_id="C1", name="c"
        )
        session.add(channel)
        await session.flush()
        message = Message(
            tenant_id=owner.tenant_id,
            channel_id=channel.id,
            external_id="1.0",
            position=1,
            posted_at=now(),
        )
        session.add(message)
        await session.flush()
        before = await session.scalar(select(Revision.id).where(Revision.document_id == added[0]))
        session.add(
            MessageSpan(
                revision_id=before,
                start=2,
                end=6,
                message_id=message.id,
                tenant_id=owner.tenant_id,
            )
        )
        message_id = message.id
    async with database.write() as session:
        await reindexing.start(session, owner, kb_id)
    async with database.read() as session:
        after = await session.scalar(
            select(Revision.id).where(Revision.document_id == added[0], Revision.number == 2)
        )
        spans = list(
            await session.execute(
                select(MessageSpan.start, MessageSpan.end, MessageSpan.message_id).where(
                    MessageSpan.revision_id == after
                )
            )
        )
    assert spans == [(2, 6, message_id)]


async def test_what_was_read_out_of_a_document_goes_when_it_is_forgotten(
    database, owner, added
) -> None:
    async with database.write() as session:
        document = await session.get(Document, added[0])
        document.details = {"author": "Ada", "extracted": {"summary": "Secret."}}
    async with database.write() as session:
        await component_outputs.forget(session, added[0])
    async with database.read() as session:
        assert (await session.get(Document, added[0])).details == {"author": "Ada"}
