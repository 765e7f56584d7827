from dataclasses import replace

import pytest

from engine.answers.conversations import admissible_turns, open_conversation, store_turn
from engine.db.session import Database
from engine.domain import Answer, Audience, chunk_id
from engine.errors import NotFound
from tests.fakes.library import Library

ANSWER = Answer("Yes.", grounded=True, confidence=0.9, citations=(), searched_kbs=("handbook",))


@pytest.fixture
async def library(database: Database, tmp_path):
    made = await Library.create(database, tmp_path)
    yield made
    await made.index.aclose()


async def keep(library, principal, audience, conversation_id, sources, question="Q?"):
    async with library.db.write() as session:
        await store_turn(
            session, principal, audience, conversation_id, question, ANSWER,
            sources=sources, took_ms=1.0,
        )  # fmt: skip


async def recalled(library, principal, audience, conversation_id):
    async with library.db.read() as session:
        turns = await admissible_turns(session, principal, audience, conversation_id)
    return [turn.question for turn in turns]


async def test_a_door_finds_its_conversation_again(library):
    principal, _ = library.reader()
    async with library.db.write() as session:
        first = await open_conversation(session, principal, door="slack", external_id="C1.1")
        again = await open_conversation(session, principal, door="slack", external_id="C1.1")
        other = await open_conversation(session, principal, door="discord", external_id="C1.1")
    assert first == again != other


async def test_a_turn_without_sources_stays_with_its_audience(library):
    kb = await library.add_kb("handbook")
    principal, audience = library.reader(kb)
    async with library.db.write() as session:
        conversation = await open_conversation(session, principal)
    await keep(library, principal, audience, conversation, [])
    assert await recalled(library, principal, audience, conversation) == ["Q?"]
    channel = Audience("ch:1", "#general", audience.tokens)
    assert await recalled(library, principal, channel, conversation) == []


async def test_an_unknown_source_keeps_a_turn_out(library):
    kb = await library.add_kb("handbook")
    principal, audience = library.reader(kb)
    async with library.db.write() as session:
        conversation = await open_conversation(session, principal)
    await keep(library, principal, audience, conversation, [chunk_id("f" * 32, 0)])
    await keep(library, principal, audience, conversation, ["not a chunk"])
    assert await recalled(library, principal, audience, conversation) == []


async def test_turns_come_oldest_first_and_only_the_last_ones(library):
    principal, audience = library.reader()
    async with library.db.write() as session:
        conversation = await open_conversation(session, principal)
    for number in range(8):
        await keep(library, principal, audience, conversation, [], question=f"Q{number}?")
    assert await recalled(library, principal, audience, conversation) == [
        f"Q{number}?" for number in range(2, 8)
    ]


async def test_another_tenant_does_not_find_the_conversation(library):
    principal, audience = library.reader()
    async with library.db.write() as session:
        conversation = await open_conversation(session, principal)
    stranger = replace(principal, tenant_id="acme")
    with pytest.raises(NotFound):
        await recalled(library, stranger, audience, conversation)
