"""What becomes of a document, seen through the engine: added, replaced, cancelled, deleted."""

from __future__ import annotations

import pytest

from engine.documents.adding import NewDocument
from engine.errors import InvalidInput, NotFound, Unavailable
from engine.index.port import RevisionRef
from ingestion.components import embedder
from tests.fakes.installations import Installation

LEAVE = "# Leave\n\nEverybody gets thirty days of leave, and a wombat on request.\n"
LEAVE_2 = "# Leave\n\nEverybody gets forty days of leave, and a platypus on request.\n"


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Words go ahead of vectors that are held, without a second's wait."""
    monkeypatch.setattr(embedder, "WORDS_AFTER_S", 0.05)


async def indexed(notes: Installation) -> set[RevisionRef]:
    """The revisions in the index."""
    space = notes.embedder.space
    return set(await notes.engine.index.revisions(notes.owner.tenant_id, space))


async def counters(notes: Installation) -> tuple[int, int]:
    kb = await notes.engine.knowledge_bases.get(notes.owner, "notes")
    return kb.document_count, kb.chunk_count


async def test_words_answer_before_vectors_do(notes):
    notes.embedder.gate.clear()
    async with notes.working():
        added = await notes.add(LEAVE)
        assert (await notes.get(added)).state == "pending"
        early = await notes.until(added, lambda info: info.chunk_count == 1)
        assert early.vectors == "none"
        assert await notes.found("wombat") != []
        assert "being ingested" in await notes.why(added) or "waits" in await notes.why(added)
        notes.embedder.gate.set()
        ready = await notes.until(added, lambda info: info.state == "ready")
    assert (ready.vectors, ready.title, ready.progress) == ("complete", "Leave", 1.0)
    assert ready.error == ""
    assert (await notes.found("wombat", mode="semantic")) != []
    assert await notes.why(added) == "'Leave' is ready: 1 passage, keyword and semantic search."
    answer = await notes.engine.answers.answer(
        notes.owner, "How many days of leave does everybody get?"
    )
    assert "thirty days" in answer.text


async def test_a_replaced_document_answers_as_before_until_the_new_one_has_vectors(notes):
    first = await notes.add(LEAVE)
    await notes.drain()
    notes.embedder.gate.clear()
    notes.embedder.asked.clear()
    async with notes.working():
        second = await notes.add(LEAVE_2)
        assert second.document_id == first.document_id
        await notes.embedder.asked.wait()
        assert await notes.found("wombat") != []
        assert await notes.found("platypus") == []
        assert "The previous revision keeps answering." in await notes.why(second)
        notes.embedder.gate.set()
        await notes.until(second, lambda info: info.state == "ready")
        assert await notes.found("wombat") == []
        assert await notes.found("platypus") != []
    await notes.drain()
    assert await indexed(notes) == {RevisionRef(second.document_id, second.revision_id)}
    assert await counters(notes) == (1, 1)


async def test_a_failed_replacement_leaves_the_one_before_and_says_both(notes):
    first = await notes.add(LEAVE)
    await notes.drain()
    second = await notes.add(b"")
    await notes.drain()
    info = await notes.get(second)
    assert (info.state, info.error_code) == ("failed", "empty")
    assert info.chunk_count == 1
    assert await notes.found("wombat") != []
    why = await notes.why(second)
    assert "failed in component 'parser': the file is empty: add one with content. " in why
    assert why.endswith("The previous revision keeps answering.")
    assert await indexed(notes) == {RevisionRef(first.document_id, first.revision_id)}


async def test_a_deleted_document_is_gone_at_once_and_its_bytes_follow(notes):
    added = await notes.add(LEAVE)
    await notes.drain()
    await notes.engine.documents.delete(notes.owner, added.document_id)
    assert await notes.found("wombat") == []
    assert await counters(notes) == (0, 0)
    with pytest.raises(NotFound):
        await notes.get(added)
    assert await indexed(notes) != set()
    await notes.drain()
    assert await indexed(notes) == set()
    assert (await notes.engine.operations.reconcile(notes.owner, repair=False)).clean


async def test_a_deleted_document_may_come_again(notes):
    first = await notes.add(LEAVE)
    await notes.drain()
    await notes.engine.documents.delete(notes.owner, first.document_id)
    again = await notes.add(LEAVE)
    assert not again.unchanged
    await notes.drain()
    assert (await notes.get(again)).state == "ready"
    assert await notes.found("wombat") != []
    assert await indexed(notes) == {RevisionRef(again.document_id, again.revision_id)}
    assert await counters(notes) == (1, 1)


async def test_deleting_while_ingesting_leaves_nothing(notes):
    notes.embedder.gate.clear()
    async with notes.working():
        added = await notes.add(LEAVE)
        await notes.embedder.asked.wait()
        await notes.engine.documents.delete(notes.owner, added.document_id)
        assert await notes.found("wombat") == []
    await notes.drain()
    assert await indexed(notes) == set()
    assert await counters(notes) == (0, 0)


async def test_cancelled_nothing_is_found_and_a_retry_finds_it(notes):
    notes.embedder.gate.clear()
    async with notes.working():
        added = await notes.add(LEAVE)
        await notes.embedder.asked.wait()
        await notes.until(added, lambda info: info.chunk_count == 1)
        assert (await notes.engine.documents.cancel(notes.owner, added.document_id)).message
        assert await notes.found("wombat") == []
        info = await notes.until(added, lambda info: info.state == "cancelled")
        assert (info.chunk_count, info.vectors) == (0, "none")
        assert await counters(notes) == (0, 0)
        assert await notes.why(added) == ("'Leave' was cancelled; `docs retry` starts it again.")
        with pytest.raises(InvalidInput, match="nothing to cancel"):
            await notes.engine.documents.cancel(notes.owner, added.document_id)
        notes.embedder.gate.set()
        await notes.engine.documents.retry(notes.owner, added.document_id)
        await notes.until(added, lambda info: info.state == "ready")
    assert await notes.found("wombat") != []
    assert await counters(notes) == (1, 1)


async def test_a_cancelled_replacement_leaves_the_one_before(notes):
    await notes.add(LEAVE)
    await notes.drain()
    second = await notes.add(LEAVE_2)
    await notes.engine.documents.cancel(notes.owner, second.document_id)
    await notes.drain()
    assert (await notes.get(second)).state == "cancelled"
    assert await notes.found("wombat") != []
    assert "The previous revision keeps answering." in await notes.why(second)


async def test_the_same_bytes_again_are_nothing_new(notes):
    first = await notes.add(LEAVE)
    await notes.drain()
    texts = notes.embedder.texts
    again = await notes.add(LEAVE)
    assert (again.unchanged, again.revision_id) == (True, first.revision_id)
    assert await notes.engine.operations.next_job_due_at() is None
    assert notes.embedder.texts == texts


async def test_the_same_bytes_for_other_readers_are_taken_at_once(notes):
    await notes.add(LEAVE)
    await notes.drain()
    texts = notes.embedder.texts
    again = await notes.add(LEAVE, acl=["u:somebody-else"])
    assert not again.unchanged
    assert await notes.found("wombat") == []  # from this instant, not from the next indexing on
    await notes.drain()
    assert await notes.found("wombat") == []
    assert notes.embedder.texts == texts  # text that did not change is not embedded again


async def test_a_newer_revision_stops_the_older_run(notes):
    notes.embedder.gate.clear()
    async with notes.working():
        first = await notes.add(LEAVE)
        await notes.embedder.asked.wait()
        second = await notes.add(LEAVE_2)
        notes.embedder.gate.set()
        info = await notes.until(second, lambda info: info.state == "ready")
    await notes.drain()
    assert info.title == "Leave"
    assert await notes.found("platypus") != []
    assert await notes.found("wombat") == []
    assert first.revision_id != second.revision_id
    assert await indexed(notes) == {RevisionRef(second.document_id, second.revision_id)}
    assert await counters(notes) == (1, 1)


async def test_an_embedder_that_is_away_delays_and_says_so(notes):
    notes.embedder.broken = Unavailable("The embedding service does not answer.")
    async with notes.working():
        added = await notes.add(LEAVE)
        info = await notes.until(added, lambda info: "does not answer" in info.message)
        assert info.state == "pending"
        why = await notes.why(added)
        assert "will be retried in" in why
        assert "The embedding service does not answer." in why
        assert why.endswith("It is already searchable by keywords.")
        assert await notes.found("wombat") != []
        notes.embedder.broken = None
        await notes.until(added, lambda info: info.state == "ready")


async def test_a_replacement_that_goes_on_behind_the_parser_keeps_what_it_found(notes):
    await notes.add(LEAVE)
    await notes.drain()
    notes.embedder.gate.clear()
    notes.embedder.asked.clear()
    async with notes.working():
        second = await notes.add(LEAVE_2.replace("# Leave", "# Holidays"))
        await notes.embedder.asked.wait()
        await notes.until(second, lambda info: info.progress > 0)  # its checkpoints are written
    assert (await notes.get(second)).state == "pending"
    await notes.drain()
    info = await notes.get(second)
    assert (info.state, info.title) == ("ready", "Holidays")
    hits = (await notes.engine.search.find(notes.owner, "platypus", mode="keyword")).hits
    assert [hit.title for hit in hits] == ["Holidays"]
    assert (await notes.engine.search.find(notes.owner, "holidays", mode="keyword")).hits != ()


async def test_a_deleted_knowledge_base_takes_its_documents_along(notes):
    await notes.add(LEAVE)
    await notes.drain()
    await notes.engine.knowledge_bases.delete(notes.owner, "notes")
    assert await notes.found("wombat") == []
    await notes.drain()
    assert await indexed(notes) == set()
    assert (await notes.engine.operations.reconcile(notes.owner, repair=False)).clean


async def test_front_matter_alone_is_ready_with_nothing_to_find(notes):
    added = await notes.add("---\ntitle: Plans\nauthor: Ada\n---\n", "plans.md")
    await notes.drain()
    info = await notes.get(added)
    assert (info.state, info.chunk_count, info.title) == ("ready", 0, "Plans")
    assert "nothing to index" in info.message


async def test_one_bad_document_does_not_hold_up_the_others(notes):
    new = [
        NewDocument(data=b"", filename="empty.md"),
        NewDocument(data=b"MZ\x00\x01\x02\x03" * 400, filename="program.exe"),
        NewDocument(data=LEAVE.encode(), filename="leave.md"),
    ]
    added = await notes.engine.documents.add_many(notes.owner, "notes", new)
    await notes.drain()
    states = [(await notes.get(item)).state for item in added]
    assert states == ["failed", "failed", "ready"]
    status = await notes.engine.operations.status(notes.owner)
    assert status.knowledge_bases[0].states == {"failed": 2, "ready": 1}
    assert status.waiting == 0


async def test_every_step_of_a_long_queue_has_a_reason(notes):
    first, second = await notes.add(LEAVE, "a.md"), await notes.add(LEAVE_2, "b.md")
    assert "next in line" in await notes.why(first)
    assert "behind 1 other" in await notes.why(second)
    await notes.drain()
    assert (await notes.engine.operations.status(notes.owner)).waiting == 0
