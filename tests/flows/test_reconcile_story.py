"""Drift between SQL and the index: found, counted by its kind, and mended without any source."""

from __future__ import annotations

import pytest
from sqlalchemy import delete, update

from engine.db.tables import Document, Job, KnowledgeBase
from engine.index.port import IndexChunk, IndexDocument, RevisionRef
from engine.operations.reconcile import Drift
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
