"""Every count and every hint is true: what answers, what waits, and what its reader can do about it."""

from __future__ import annotations

from bots.replies import explain, found
from engine.errors import InvalidInput
from engine.markup.plain import without_commands
from tests.fakes.installations import Installation

FERRY = "# Ferry\n\nThe ferry leaves at nine.\n"
QUAY = "# Quay\n\nThe quay has a café.\n"


async def words_only(notes: Installation) -> int:
    [kb] = (await notes.engine.operations.status(notes.owner)).knowledge_bases
    return kb.without_vectors


async def test_what_waits_is_not_counted_as_found_by_words(notes):
    await notes.add(FERRY, "ferry.md")
    await notes.add(QUAY, "quay.md")
    assert await words_only(notes) == 0
    notes.embedder.gate.clear()
    async with notes.working():
        await notes.embedder.asked.wait()
        live = await notes.add(FERRY, "ferry.md")
        await notes.until(live, lambda info: info.chunk_count > 0)
        assert await words_only(notes) >= 1
    await notes.drain()
    assert await words_only(notes) == 0


async def test_who_finds_nothing_is_told_that_documents_are_still_being_read(notes):
    empty = await notes.engine.search.find(notes.owner, "ferry")
    assert empty.notice == "notes has no documents yet."
    await notes.add(FERRY, "ferry.md")
    one = await notes.engine.search.find(notes.owner, "ferry")
    assert one.notice == "One document of notes is still being read. Ask again in a moment."
    await notes.add(QUAY, "quay.md")
    two = await notes.engine.search.find(notes.owner, "ferry")
    assert two.notice == "2 documents of notes are still being read. Ask again in a moment."
    answer = await notes.engine.answers.answer(notes.owner, "When does the ferry leave?")
    assert answer.text == two.notice
    assert "scrubjay" not in found(two).text
    await notes.drain()
    assert await notes.found("ferry") != []


async def test_what_is_found_while_other_documents_are_read_says_that_they_were_not_searched(notes):
    await notes.add(FERRY, "ferry.md")
    await notes.drain()
    await notes.add(QUAY, "quay.md")
    waits = "One document is still being read and was not searched."
    assert (await notes.engine.search.find(notes.owner, "ferry")).notice == waits

    answer = await notes.engine.answers.answer(notes.owner, "When does the ferry leave?")
    assert answer.text == f"The ferry leaves at nine. [1]\n\n({waits})"
    unknown = await notes.engine.answers.answer(notes.owner, "Who won the chess championship?")
    assert unknown.text.endswith(f"(1 document searched). {waits} Ask again in a moment.")

    await notes.drain()
    await notes.engine.knowledge_bases.reindex(notes.owner, "notes")
    again = await notes.engine.answers.answer(notes.owner, "When does the ferry leave?")
    assert again.text == "The ferry leaves at nine. [1]"  # as it was, while it is read again


async def test_hidden_and_filtered_documents_are_not_called_missing(notes):
    added = await notes.add(FERRY, "ferry.md")
    await notes.drain()
    await notes.engine.documents.hide(notes.owner, added.document_id)
    nothing = await notes.engine.search.find(notes.owner, "ferry")
    assert nothing.notice == "notes has no documents yet."
    status = await notes.engine.operations.status(notes.owner)
    assert (status.knowledge_bases[0].documents, status.knowledge_bases[0].chunks) == (0, 0)


def test_people_in_a_chat_are_told_no_commands_of_the_command_line() -> None:
    hint = "The index is damaged. Run `scrubjay reconcile` to rebuild it. Nothing is lost."
    assert without_commands(hint) == (
        "The index is damaged. Nothing is lost. The person who runs me can help."
    )
    assert without_commands("Say `/kb help`. All is well.") == "Say `/kb help`. All is well."
    assert "scrubjay" not in explain(InvalidInput(hint), "i1", "/kb")
