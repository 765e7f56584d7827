"""Hiding a document or one passage of it: from that instant, for everyone, and until it is shown again."""

from __future__ import annotations

from email.message import EmailMessage

import pytest
from sqlalchemy import delete, select

from engine.access.cited import all_readable
from engine.db.tables import AuditEvent, Job
from engine.domain import Role
from engine.errors import Forbidden, InvalidInput, NotFound
from engine.index.port import FieldUpdate, RevisionRef
from engine.operations.reconcile import Drift
from tests.fakes.installations import Installation

FERRY = "# Ferry\n\nThe ferry leaves at nine from the north quay.\n"
SHOP = (
    "# Shop\n\n## Hours\n\nThe shop opens at ten and closes at six on weekdays. "
    + "It keeps to these hours in winter as in summer. " * 4
    + "\n\n## Prices\n\nA ferry ticket costs eleven crowns, and a wombat rides for nothing. "
    + "Whoever pays by card pays the same. " * 4
)
CLEAN = Drift(missing=0, orphaned=0, stranded=0, miscounted=0, repaired=False)


async def drift_of(notes: Installation) -> Drift:
    return await notes.engine.operations.reconcile(notes.owner, repair=False)


async def counted(notes: Installation) -> tuple[int, int]:
    kb = await notes.engine.knowledge_bases.get(notes.owner, "notes")
    return kb.document_count, kb.chunk_count


async def passage(notes: Installation, query: str) -> str:
    found = await notes.engine.search.find(notes.owner, query, mode="keyword")
    return found.hits[0].id


async def in_two(notes: Installation) -> None:
    """Two short sections become two passages."""
    await notes.engine.knowledge_bases.update(notes.owner, "notes", chunking={"size": 80})


async def test_a_hidden_document_is_found_by_nobody_before_any_worker_ran(anywhere):
    notes = anywhere
    hidden = await notes.add(FERRY, "ferry.md")
    await notes.add("# Quay\n\nThe north quay has a café.\n", "quay.md")
    await notes.drain()
    await notes.engine.documents.hide(notes.owner, hidden.document_id)
    assert await counted(notes) == (1, 1)
    for mode in ("keyword", "hybrid", "semantic"):
        assert not any("ferry" in text for text in await notes.found("ferry quay", mode=mode))
    with pytest.raises(NotFound):
        await notes.engine.search.fetch(notes.owner, hidden.document_id)
    with pytest.raises(NotFound):
        await notes.engine.search.fetch(notes.owner, f"{hidden.revision_id}.0")
    assert (await notes.get(hidden)).hidden
    assert (await drift_of(notes)).outdated == 1  # its job waits
    await notes.drain()
    assert await drift_of(notes) == CLEAN
    await notes.engine.documents.hide(notes.owner, hidden.document_id, hidden=False)
    await notes.drain()
    assert any("ferry" in text for text in await notes.found("ferry"))
    assert await drift_of(notes) == CLEAN
    assert await counted(notes) == (2, 2)


async def test_a_hidden_passage_is_never_shown_and_its_neighbours_still_are(anywhere):
    notes = anywhere
    await in_two(notes)
    added = await notes.add(SHOP, "shop.md")
    await notes.drain()
    texts = notes.embedder.texts
    assert (await notes.get(added)).chunk_count >= 2, (await notes.get(added)).error
    priced = await passage(notes, "wombat")
    await notes.engine.documents.hide(notes.owner, priced)
    before = await notes.found("wombat shop ferry")
    assert before
    assert not any("wombat" in text for text in before)
    with pytest.raises(NotFound):
        await notes.engine.search.fetch(notes.owner, priced)
    page = await notes.engine.search.fetch(notes.owner, added.document_id)
    assert "wombat" not in page.text
    assert "opens at ten" in page.text
    assert (await drift_of(notes)).missing == 1
    await notes.drain()
    assert await drift_of(notes) == CLEAN
    assert await notes.found("wombat") == []
    assert await notes.found("opens at ten") != []
    [known] = await notes.engine.documents.hidden_chunks(notes.owner, added.document_id)
    assert known.id == priced
    await notes.engine.documents.hide(notes.owner, priced, hidden=False)
    await notes.drain()
    assert await notes.found("wombat") != []
    assert await drift_of(notes) == CLEAN
    assert notes.embedder.texts == texts  # shown again without embedding again


async def test_what_is_hidden_stays_hidden_when_its_document_is_read_again(notes):
    await in_two(notes)
    await notes.add(SHOP, "shop.md")
    await notes.drain()
    await notes.engine.documents.hide(notes.owner, await passage(notes, "wombat"))
    [reindexed] = await notes.engine.knowledge_bases.reindex(notes.owner, "notes")
    await notes.drain()
    assert (await notes.engine.documents.get(notes.owner, reindexed)).state == "ready"
    assert await notes.found("wombat") == []
    again = await notes.add(SHOP.replace("at ten", "at nine"), "shop.md")
    await notes.drain()
    assert (await notes.get(again)).state == "ready", (await notes.get(again)).error
    assert await notes.found("wombat") == []
    assert await notes.found("opens at nine") != []
    assert await drift_of(notes) == CLEAN
    kb = await notes.engine.knowledge_bases.get(notes.owner, "notes")
    assert kb.chunk_count == (await notes.get(again)).chunk_count


async def test_a_document_whose_passages_are_all_hidden_is_no_lack_of_the_index(notes):
    await notes.add(FERRY, "ferry.md")
    await notes.add("# Quay\n\nThe north quay has a café.\n", "quay.md")
    await notes.drain()
    await notes.engine.documents.hide(notes.owner, await passage(notes, "ferry"))
    await notes.drain()
    found = await notes.engine.search.find(notes.owner, "quay", mode="keyword")
    assert ([hit.title for hit in found.hits], found.notice) == (["Quay"], "")


async def test_attached_files_are_hidden_with_their_message(notes):
    message = EmailMessage()
    message["Subject"] = "Report"
    message.set_content("See the report, which is attached to this message.")
    message.add_attachment(FERRY.encode(), "text", "markdown", filename="ferry.md")
    mail = await notes.add(message.as_bytes(), "mail.eml")
    await notes.drain()
    await notes.engine.documents.hide(notes.owner, mail.document_id)
    assert await notes.found("ferry") == []
    assert await counted(notes) == (0, 0)
    await notes.engine.documents.hide(notes.owner, mail.document_id, hidden=False)
    assert await notes.found("ferry") != []


async def test_an_answer_that_rests_on_something_hidden_is_not_given_again(notes):
    await notes.add(FERRY, "ferry.md")
    await notes.drain()
    answer = await notes.engine.answers.answer(notes.owner, "When does the ferry leave?")
    sources = [citation.id for citation in answer.citations]
    assert sources

    async def readable() -> bool:
        async with notes.engine.db.read() as session:
            return await all_readable(session, notes.owner.tenant_id, notes.owner.tokens, sources)

    assert await readable()
    await notes.engine.documents.hide(notes.owner, sources[0])
    assert not await readable()
    await notes.engine.documents.hide(notes.owner, sources[0], hidden=False)
    await notes.engine.documents.hide(notes.owner, answer.citations[0].document_id)
    assert not await readable()


async def test_reconcile_finds_and_mends_what_the_index_has_wrong(anywhere):
    notes = anywhere
    added = await notes.add(FERRY, "ferry.md")
    await notes.drain()
    ref = RevisionRef(added.document_id, added.revision_id)
    async with notes.engine.open_index_writer() as index:
        await index.update_fields(
            notes.owner.tenant_id,
            notes.embedder.space,
            [FieldUpdate(ref.document_id, ref.revision_id, hidden=True, acl=["tenant"])],
        )
    assert (await drift_of(notes)).outdated == 1
    await notes.engine.operations.reconcile(notes.owner)
    await notes.drain()
    assert await drift_of(notes) == CLEAN
    assert await notes.found("ferry") != []


async def test_hiding_while_a_document_is_read_reaches_the_index(notes):
    first = await notes.add(FERRY, "ferry.md")
    await notes.drain()
    notes.embedder.gate.clear()
    await notes.add(FERRY.replace("nine", "noon"), "ferry.md")
    async with notes.working():
        await notes.embedder.asked.wait()
        await notes.engine.documents.hide(notes.owner, first.document_id)
        notes.embedder.gate.set()
        await notes.until(first, lambda info: info.state == "ready")
    await notes.drain()
    assert await drift_of(notes) == CLEAN


async def test_hiding_is_for_those_who_may_write_and_leaves_an_audit_row(notes):
    added = await notes.add(FERRY, "ferry.md")
    await notes.drain()
    await notes.engine.people.add_member(notes.owner, "grace@example.org", role=Role.MEMBER)
    grace = await notes.engine.people.act_as(notes.owner, "grace@example.org")
    with pytest.raises(Forbidden):
        await notes.engine.documents.hide(grace, added.document_id)
    for _ in range(2):
        await notes.engine.documents.hide(notes.owner, added.document_id)
    with pytest.raises(NotFound):
        await notes.engine.documents.hide(notes.owner, "f" * 32)
    async with notes.engine.db.read() as session:
        rows = await session.scalars(
            select(AuditEvent.action).where(AuditEvent.target == added.document_id)
        )
        assert list(rows) == ["document.hide"]


async def test_a_passage_that_changed_since_can_not_be_hidden(notes):
    first = await notes.add(FERRY, "ferry.md")
    await notes.drain()
    await notes.add(FERRY.replace("nine", "noon"), "ferry.md")
    await notes.drain()
    with pytest.raises(InvalidInput, match="has changed since"):
        await notes.engine.documents.hide(notes.owner, f"{first.revision_id}.0")


async def test_a_document_added_again_after_its_deletion_is_no_longer_hidden(notes):
    added = await notes.add(FERRY, "ferry.md")
    await notes.drain()
    await notes.engine.documents.hide(notes.owner, added.document_id)
    await notes.engine.documents.delete(notes.owner, added.document_id)
    assert await counted(notes) == (0, 0)
    await notes.add(FERRY, "ferry.md")
    await notes.drain()
    assert await notes.found("ferry") != []
    assert await counted(notes) == (1, 1)


async def test_counters_stay_right_however_late_the_jobs_are(notes):
    await in_two(notes)
    added = await notes.add(SHOP, "shop.md")
    await notes.drain()
    await notes.engine.documents.hide(notes.owner, await passage(notes, "wombat"))
    await notes.engine.documents.hide(notes.owner, added.document_id)
    async with notes.engine.db.write() as session:
        await session.execute(delete(Job))
    drift = await drift_of(notes)
    assert drift.miscounted == 0
    await notes.engine.operations.reconcile(notes.owner)
    await notes.drain()
    assert await drift_of(notes) == CLEAN
