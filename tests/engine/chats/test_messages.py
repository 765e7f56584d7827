"""The raw store: whatever order events come in, the rows and the documents end the same."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import func, select

from engine import clock
from engine.access import gate
from engine.chats.messages import Stored, position_of, posted_at
from engine.db.tables import Chunk, Embedding, Job, Message, RevisionText
from engine.errors import InvalidInput
from engine.jobs.kinds import INGEST
from engine.markup.credentials import REMOVED
from engine.search.origins import origins
from tests.fakes.chats import START, ChatWorld, say, ts


@pytest.fixture
async def world(database, tmp_path, fixed_clock) -> ChatWorld:
    fixed_clock.at = START + timedelta(days=1)
    return await ChatWorld.create(database, tmp_path / "blobs")


async def settle(world: ChatWorld, fixed_clock) -> None:
    """Derive until nothing more happens, however long that takes."""
    ran = 1
    while ran:
        fixed_clock.advance(5)
        ran = await world.derive()
    await world.ingest()


QUESTION = say(0, "How do I raise the limit of neighbours?")
ANSWER = say(5, "Change MAX_NEIGHBOURS and build it.", "U2", thread=0)
LATE = say(3000, "It works for me now.", "U1", thread=0)
TALK = [say(100 + n, f"word {n} of some talk outside threads") for n in range(3)]


def test_ids_order_messages_and_say_when():
    assert position_of("1434078388.000002") == 1434078388000002
    assert position_of("1434078388.2") == 1434078388200000
    assert posted_at("1434078388.000002").isoformat() == "2015-06-12T03:06:28.000002+00:00"
    assert posted_at("1467229984284088776").isoformat() == "2026-01-31T18:48:08.068000+00:00"
    for bad in ("", "x", "1.2.3", "-1", "9" * 20, "\uff11\uff12"):
        with pytest.raises(InvalidInput):
            position_of(bad)


async def test_threads_and_talk_become_documents_that_answer(world, fixed_clock):
    stored = await world.history.store(world.place, "C1", [QUESTION, ANSWER, *TALK])
    assert stored == Stored(added=5)
    await settle(world, fixed_clock)
    assert await world.answering() == {f"thread:{ts(0)}", f"window:{ts(100)}"}
    texts = await world.texts()
    assert "Brook" in texts[f"thread:{ts(0)}"]


async def test_a_credential_is_kept_nowhere(world, fixed_clock):
    """Neither of a message that comes nor of one that is edited."""
    secret = "glpat-" + "a1B2c3D4" * 3
    leak = replace(ANSWER, text=f"Use {secret} for the limit of neighbours.")
    edited = replace(
        leak, text=f"Or https://bob:{secret}@git.example/x", edited_at=START + timedelta(minutes=9)
    )
    for version in (leak, edited):
        await world.history.store(world.place, "C1", [QUESTION, version])
        await settle(world, fixed_clock)
        async with world.db.read() as session:
            rows = list(await session.scalars(select(Message)))
            chunks = list(await session.scalars(select(Chunk.text)))
        assert not any(secret in repr([row.text, row.raw, row.files]) for row in rows)
        assert any(REMOVED in chunk for chunk in chunks)
        assert not any(secret in chunk for chunk in chunks)
        assert await world.history.store(world.place, "C1", [version]) == Stored(unchanged=1)
    assert "https://bob:[credential removed]@git.example/x" in rows[1].text


async def test_the_same_again_changes_nothing(world, fixed_clock):
    await world.history.store(world.place, "C1", [QUESTION, ANSWER])
    await settle(world, fixed_clock)
    again = await world.history.store(world.place, "C1", [QUESTION, ANSWER])
    assert again == Stored(unchanged=2)
    assert await world.derive() == 0


async def test_a_late_reply_derives_its_thread_and_nothing_else(world, fixed_clock):
    await world.history.store(world.place, "C1", [QUESTION, ANSWER, *TALK])
    await settle(world, fixed_clock)
    await world.history.store(world.place, "C1", [LATE])
    await settle(world, fixed_clock)
    assert await world.revisions() == {f"thread:{ts(0)}": 2, f"window:{ts(100)}": 1}
    assert "works for me" in (await world.texts())[f"thread:{ts(0)}"]


async def test_a_thread_is_derived_at_once_and_then_at_most_every_three_seconds(world, fixed_clock):
    await world.history.store(world.place, "C1", [QUESTION, ANSWER])
    await world.derive()
    for number in range(10):
        await world.history.store(world.place, "C1", [say(6 + number, f"more {number}", thread=0)])
        await world.derive()
        fixed_clock.advance(0.2)
    assert await world.revisions() == {f"thread:{ts(0)}": 1}
    fixed_clock.advance(1.5)
    await world.derive()
    assert await world.revisions() == {f"thread:{ts(0)}": 2}
    assert "more 9" in (await world.texts())[f"thread:{ts(0)}"]


async def test_an_edit_replaces_and_an_older_version_never_does(world, fixed_clock):
    edited = replace(ANSWER, text="Build it yourself.", edited_at=START + timedelta(minutes=9))
    await world.history.store(world.place, "C1", [QUESTION, edited])
    await world.history.store(world.place, "C1", [ANSWER])
    await settle(world, fixed_clock)
    text = (await world.texts())[f"thread:{ts(0)}"]
    assert "Build it yourself." in text
    assert "MAX_NEIGHBOURS" not in text


async def test_a_deleted_message_is_out_of_the_next_answer_and_its_text_is_gone(
    world, database, fixed_clock
):
    await world.history.store(world.place, "C1", [QUESTION, ANSWER, LATE])
    await settle(world, fixed_clock)
    assert await world.history.delete(world.place, "C1", [ANSWER.external_id]) == 1
    assert await world.answering() == set()  # before any job has run
    async with database.read() as session:
        for table, column in ((Chunk, Chunk.text), (RevisionText, RevisionText.revision_id)):
            assert list(await session.scalars(select(column).select_from(table))) == []
        assert await session.scalar(select(func.count()).select_from(Embedding)) == 0
        rows = await session.scalars(select(Message.text).where(Message.text.like("%MAX_NEIGHB%")))
        assert list(rows) == []
    await settle(world, fixed_clock)
    assert await world.answering() == {f"thread:{ts(0)}"}
    text = (await world.texts())[f"thread:{ts(0)}"]
    assert "MAX_NEIGHBOURS" not in text
    assert "works for me" in text


async def test_a_deleted_message_stays_deleted_when_it_is_sent_again(world, fixed_clock):
    await world.history.delete(world.place, "C1", [ANSWER.external_id])  # before it ever came
    await world.history.store(world.place, "C1", [QUESTION, ANSWER])
    edited = replace(ANSWER, text="Again", edited_at=START + timedelta(minutes=99))
    await world.history.store(world.place, "C1", [edited])
    await settle(world, fixed_clock)
    [text] = (await world.texts()).values()
    assert "Change" not in text
    assert "Again" not in text


async def test_a_message_that_was_only_missed_comes_back_when_it_is_read(world, fixed_clock):
    await world.history.store(world.place, "C1", [QUESTION, ANSWER])
    await world.history.delete(world.place, "C1", [ANSWER.external_id], missed=True)
    await settle(world, fixed_clock)
    await world.history.store(world.place, "C1", [ANSWER])
    await settle(world, fixed_clock)
    assert "MAX_NEIGHBOURS" in (await world.texts())[f"thread:{ts(0)}"]


async def test_an_ingestion_under_way_can_not_bring_a_deleted_message_back(
    world, database, fixed_clock
):
    from engine.documents import revisions
    from engine.domain import Vectors
    from engine.errors import Cancelled

    await world.history.store(world.place, "C1", [QUESTION, ANSWER])
    await world.derive()
    async with database.read() as session:
        job = await session.scalar(select(Job).where(Job.kind == INGEST))
        payload = job.payload
        work = await revisions.begin(session, payload["document_id"], payload["revision_id"])
    await world.history.delete(world.place, "C1", [ANSWER.external_id])
    with pytest.raises(Cancelled):
        async with database.write() as session:
            await revisions.make_live(session, work, Vectors.COMPLETE, ready="ready")
    assert await world.answering() == set()


async def test_a_thread_whose_messages_are_all_deleted_is_gone(world, fixed_clock):
    await world.history.store(world.place, "C1", [QUESTION, ANSWER])
    await settle(world, fixed_clock)
    ids = [QUESTION.external_id, ANSWER.external_id]
    await world.history.delete(world.place, "C1", ids)
    await settle(world, fixed_clock)
    assert await world.texts() == {}


async def test_a_message_that_gets_its_first_reply_leaves_the_talk_around_it(world, fixed_clock):
    await world.history.store(world.place, "C1", [say(0, "Does anybody know Arrow?"), *TALK])
    await world.history.store(world.place, "C1", [say(1, "something else entirely")])
    await settle(world, fixed_clock)
    assert "Arrow" in (await world.texts())[f"window:{ts(0)}"]
    await world.history.store(world.place, "C1", [say(500, "Use Kleisli.", "U2", thread=0)])
    await settle(world, fixed_clock)
    texts = await world.texts()
    assert "Arrow" in texts[f"thread:{ts(0)}"]
    assert not any("Arrow" in text for key, text in texts.items() if key.startswith("window"))


async def test_a_person_with_a_new_name_has_it_in_every_document(world, fixed_clock):
    from engine.chats.accounts import NewPerson

    await world.history.store(world.place, "C1", [QUESTION, ANSWER, say(9, "ask <@U2> again")])
    await settle(world, fixed_clock)
    await world.history.put_people(world.place, [NewPerson("U2", "Brooklyn", is_full_member=True)])
    await settle(world, fixed_clock)
    texts = await world.texts()
    assert "#### Brooklyn" in texts[f"thread:{ts(0)}"]


async def test_bots_and_joins_are_kept_but_not_found(world, fixed_clock):
    await world.history.store(
        world.place,
        "C1",
        [
            say(0, "U9 has joined the channel", kind="system"),
            say(1, "Deployed version 7 to production", kind="bot"),
        ],
    )
    await settle(world, fixed_clock)
    assert await world.texts() == {}


async def test_nothing_is_kept_of_a_channel_that_nobody_added(world):
    from engine.chats.channels import NewChannel

    await world.history.put_channels(world.place, [NewChannel("C5", "random", is_public=True)])
    assert await world.history.store(world.place, "C5", [QUESTION]) == Stored()


async def test_the_workspace_of_a_channel_is_found_only_where_its_history_is_kept(
    database, tmp_path
):
    from engine.chats.channels import NewChannel

    world = await ChatWorld.create(database, tmp_path / "blobs", imported=False)
    await world.keep("C1", "general", is_public=True, members=["U1"])
    await world.history.put_channels(world.place, [NewChannel("C5", "random", is_public=True)])
    asked = [("T-acme", "C1"), ("T-acme", "C5"), ("T-acme", "C6"), ("T-other", "C1")]
    found = [await world.history.kept_place("slack", *item) for item in asked]
    assert found == [world.place, None, None, None]


async def test_a_citation_leads_to_the_message_it_quotes(world, database, fixed_clock):
    await world.history.store(world.place, "C1", [QUESTION, ANSWER])
    await settle(world, fixed_clock)
    spans = await world.spans(f"thread:{ts(0)}")
    async with database.read() as session:
        [answer, nothing] = await origins(
            session,
            "acme",
            [(spans[1].revision_id, spans[1].start + 3, spans[1].end), ("unknown", 0, 5)],
        )
    assert nothing is None
    assert (answer.author, answer.external_id, answer.channel) == ("Brook", ts(5), "general")
    assert answer.url == (
        f"https://acme.slack.com/archives/C1/p{ts(5).replace('.', '')}?thread_ts={ts(0)}&cid=C1"
    )


@pytest.mark.parametrize("seed", range(6))
async def test_any_order_with_repeats_ends_in_the_same_documents(
    world, database, tmp_path, fixed_clock, seed
):
    edited = replace(TALK[1], text="word changed later", edited_at=START + timedelta(hours=4))
    events = [("store", item) for item in (QUESTION, ANSWER, LATE, *TALK, edited)]
    events += [("delete", TALK[2].external_id), ("store", say(160, "much later talk indeed"))]
    for event in events:
        await play(world, event)
    await settle(world, fixed_clock)
    expected = await world.texts()
    assert "word changed later" in expected[f"window:{ts(100)}"]

    other = await ChatWorld.create(database, tmp_path / "other", tenant_id="bolt")
    shuffled = events + events[::2]
    random.Random(seed).shuffle(shuffled)
    for number, event in enumerate(shuffled):
        await play(other, event)
        if number % 3 == 0:
            await other.derive()
            await other.ingest()
            fixed_clock.advance(1)
    await settle(other, fixed_clock)
    assert await other.texts() == expected
    assert await other.answering() == set(expected)


async def play(world: ChatWorld, event: tuple[str, object]) -> None:
    kind, what = event
    if kind == "store":
        await world.history.store(world.place, "C1", [what])
    else:
        await world.history.delete(world.place, "C1", [what])


async def test_only_members_find_messages_of_a_private_channel(world, database, fixed_clock):
    await world.history.store(world.place, "C2", [say(0, "The secret budget is 40 million.")])
    await settle(world, fixed_clock)
    found = {}
    for subject in ("U1", "U2", "U9"):
        reader = await world.principal(subject)
        async with database.read() as session:
            rows = await session.scalars(gate.select_documents(reader))
            found[subject] = len(list(rows))
    async with database.read() as session:
        owner = len(list(await session.scalars(gate.select_documents(world.owner))))
    assert found == {"U1": 1, "U2": 0, "U9": 0}
    assert owner == 0  # no role implies a token; the importer reads the public channels


async def test_a_derivation_that_was_lost_is_queued_again(world, fixed_clock):
    await world.history.store(world.place, "C1", [QUESTION])
    await world.forget_queue()  # as if its worker had given up
    fixed_clock.advance(200)
    await world.history.store(world.place, "C1", [ANSWER])
    assert await world.derive() == 1
    assert clock.now() == fixed_clock.now()
