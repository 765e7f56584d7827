"""Drift between SQL and the index: found, counted by its kind, and mended without any source."""

from __future__ import annotations

import shutil

import pytest
from sqlalchemy import delete, update

from engine.access import gate
from engine.db.tables import Document, Job, KnowledgeBase
from engine.documents.adding import NewDocument
from engine.domain import Principal
from engine.errors import NotFound, Unavailable
from engine.index.port import IndexChunk, IndexDocument, RevisionRef
from engine.operations.reconcile import Drift
from engine.runtime import open_engine
from tests.fakes.installations import Installation

LEAVE = "# Leave\n\nEverybody gets thirty days of leave, and a wombat on request.\n"
CLEAN = Drift(missing=0, orphaned=0, stranded=0, miscounted=0, repaired=False)


async def drift_of(notes: Installation) -> Drift:
    return await notes.engine.operations.reconcile(notes.owner, repair=False)


async def assert_mended(notes: Installation) -> None:
    """Repairing and working leaves nothing to repair, and everything to be found."""
    assert (await notes.engine.operations.reconcile(notes.owner)).repaired
    await notes.drain()
    assert await drift_of(notes) == CLEAN
    assert await notes.found("wombat") != []


async def test_a_revision_that_the_index_lost_is_fed_again(notes):
    added = await notes.add(LEAVE)
    await notes.drain()
    texts = notes.embedder.texts
    ref = RevisionRef(added.document_id, added.revision_id)
    async with notes.engine.open_index_writer() as index:
        await index.remove(notes.owner.tenant_id, notes.embedder.space, [ref])
    assert (await drift_of(notes)).missing == 1
    await assert_mended(notes)
    assert notes.embedder.texts == texts


async def test_a_revision_that_sql_does_not_know_is_removed(notes):
    await notes.add(LEAVE)
    await notes.drain()
    stranger = IndexDocument(
        document_id="d" * 32,
        revision_id="e" * 32,
        part=0,
        kb_id="f" * 32,
        acl=["tenant"],
        title="Stranger",
        chunks=[IndexChunk(0, "Nobody knows it.")],
    )
    async with notes.engine.open_index_writer() as index:
        await index.feed(notes.owner.tenant_id, notes.embedder.space, [stranger])
    assert (await drift_of(notes)).orphaned == 1
    await assert_mended(notes)


async def test_a_document_that_waits_for_no_job_is_queued(notes):
    added = await notes.add(LEAVE)
    async with notes.engine.db.write() as session:
        await session.execute(delete(Job))
    assert "`scrubjay reconcile` queues it again" in await notes.why(added)
    assert (await drift_of(notes)).stranded == 1
    await assert_mended(notes)
    assert (await notes.get(added)).state == "ready"


async def test_counters_are_set_right(notes):
    await notes.add(LEAVE)
    await notes.drain()
    async with notes.engine.db.write() as session:
        await session.execute(update(KnowledgeBase).values(document_count=7, chunk_count=0))
    assert (await drift_of(notes)).miscounted == 1
    await assert_mended(notes)
    kb = await notes.engine.knowledge_bases.get(notes.owner, "notes")
    assert (kb.document_count, kb.chunk_count) == (1, 1)


@pytest.mark.parametrize("clean_up", ["never ran", "ran"])
async def test_what_a_deletion_left_is_cleared(notes, clean_up):
    added = await notes.add(LEAVE)
    kept = await notes.add(LEAVE.replace("Leave", "Holidays"), "kept.md")
    await notes.drain()
    await notes.engine.documents.delete(notes.owner, added.document_id)
    if clean_up == "never ran":
        async with notes.engine.db.write() as session:
            await session.execute(delete(Job))
    else:
        await notes.drain()
    assert (await drift_of(notes)).orphaned == (clean_up == "never ran")
    await assert_mended(notes)
    space = notes.embedder.space
    stored = await notes.engine.index.revisions(notes.owner.tenant_id, space)
    assert set(stored) == {RevisionRef(kept.document_id, kept.revision_id)}
    async with notes.engine.db.read() as session:
        tombstone = await session.get_one(Document, added.document_id)
    assert tombstone.deleted_at is not None


async def second_tenant(notes: Installation) -> Principal:
    """The owner in another tenant, whose only document was lost from the index."""
    engine = notes.engine
    made = await engine.people.create_tenant(notes.owner, "lab")

    async def owner_there() -> Principal:
        async with engine.db.read() as session:
            return await gate.principal_of_user(session, made.id, notes.owner.user_id)

    await engine.knowledge_bases.create(await owner_there(), "notes")
    there = await owner_there()
    added = await engine.documents.add(
        there, "notes", NewDocument(data=LEAVE.encode(), filename="a.md")
    )
    await notes.drain()
    ref = RevisionRef(added.document_id, added.revision_id)
    async with engine.open_index_writer() as index:
        await index.remove(there.tenant_id, notes.embedder.space, [ref])
    return there


async def test_whoever_runs_the_installation_repairs_every_tenant(notes):
    there = await second_tenant(notes)
    with pytest.raises(Unavailable, match="index is missing"):
        await notes.engine.search.find(there, "wombat", mode="keyword")
    assert (await drift_of(notes)).missing == 1
    await notes.engine.operations.reconcile(notes.owner)
    await notes.drain()
    assert await drift_of(notes) == CLEAN
    assert len((await notes.engine.search.find(there, "wombat", mode="keyword")).hits) == 1


async def test_a_tenant_can_be_named_and_others_repair_their_own(notes):
    there = await second_tenant(notes)
    reconcile = notes.engine.operations.reconcile
    assert (await reconcile(notes.owner, tenant="default", repair=False)).missing == 0
    assert (await reconcile(notes.owner, tenant="lab", repair=False)).missing == 1
    assert (await reconcile(there, repair=False)).missing == 1
    with pytest.raises(NotFound, match="No tenant"):
        await reconcile(there, tenant="default", repair=False)


async def test_a_knowledge_base_whose_deletion_stopped_is_deleted_to_the_end(notes):
    await notes.add(LEAVE)
    await notes.drain()
    await notes.engine.knowledge_bases.delete(notes.owner, "notes")
    assert (await drift_of(notes)).unfinished == 0  # its job is on the way
    async with notes.engine.db.write() as session:
        await session.execute(update(Job).values(state="failed"))
    assert (await drift_of(notes)).unfinished == 1
    await notes.engine.operations.reconcile(notes.owner)
    await notes.drain()
    assert await drift_of(notes) == CLEAN
    space = notes.embedder.space
    assert await notes.engine.index.revisions(notes.owner.tenant_id, space) == {}


async def test_a_deleted_document_whose_texts_remain_is_drift(notes):
    added = await notes.add(LEAVE)
    await notes.drain()
    await notes.engine.documents.delete(notes.owner, added.document_id)
    async with notes.engine.db.write() as session:
        await session.execute(update(Job).values(state="failed"))
    assert (await drift_of(notes)).unfinished == 1
    await notes.engine.operations.reconcile(notes.owner)
    await notes.drain()
    assert await drift_of(notes) == CLEAN


async def test_a_search_says_that_the_index_is_missing_rather_than_that_nothing_is_found(notes):
    await notes.add(LEAVE)
    await notes.drain()
    shutil.rmtree(notes.engine.settings.home / "index")
    async with open_engine(notes.engine.settings) as again:
        with pytest.raises(Unavailable, match="index is missing"):
            await again.search.find(notes.owner, "wombat", mode="keyword")
        lacking = "The index holds 0 of 1 documents: run `scrubjay reconcile` to rebuild it."
        assert (await again.operations.health())["index"] == lacking
        await again.operations.reconcile(notes.owner)
        rebuilding = "The index is being rebuilt: 0 of 1 documents (0 %)."
        assert (await again.operations.health())["index"] == rebuilding
    await notes.drain()
    async with open_engine(notes.engine.settings) as again:
        assert (await again.operations.health())["index"] == ""
        found = await again.search.find(notes.owner, "wombat", mode="keyword")
    assert len(found.hits) == 1


async def test_hits_say_that_the_index_is_not_whole(notes):
    lost = await notes.add(LEAVE)
    await notes.add(LEAVE.replace("Leave", "Holidays"), "kept.md")
    await notes.drain()
    ref = RevisionRef(lost.document_id, lost.revision_id)
    async with notes.engine.open_index_writer() as index:
        await index.remove(notes.owner.tenant_id, notes.embedder.space, [ref])
    found = await notes.engine.search.find(notes.owner, "wombat", mode="keyword")
    assert (len(found.hits), found.notice) == (
        1,
        "The search index is being rebuilt: 50 % of the documents can be found so far.",
    )


async def test_a_document_without_text_is_not_missed(notes):
    await notes.add(LEAVE)
    await notes.drain()
    async with notes.engine.db.write() as session:
        await session.execute(update(KnowledgeBase).values(document_count=2))
    found = await notes.engine.search.find(notes.owner, "wombat", mode="keyword")
    assert (len(found.hits), found.notice) == (1, "")


async def test_a_worker_rebuilds_an_index_that_was_lost_without_being_asked(notes):
    await notes.add(LEAVE)
    await notes.drain()
    shutil.rmtree(notes.engine.settings.home / "index")
    await notes.drain()
    async with open_engine(notes.engine.settings) as again:
        found = await again.search.find(notes.owner, "wombat", mode="keyword")
        assert (len(found.hits), found.notice) == (1, "")
        assert (await again.operations.health())["index"] == ""
