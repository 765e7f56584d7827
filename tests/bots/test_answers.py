"""Stories of questions, through inbound handler and answer worker; the platform is a list."""

from __future__ import annotations

import asyncio

import pytest
from sqlalchemy import select, update

from bots import answer_worker, replies
from bots.conversation import Ask, Ignore
from bots.platform import Undelivered
from engine import clock
from engine.chats.installation_rows import NewInstallation
from engine.chats.post_rows import PostState
from engine.db.tables import Channel, Document, Feedback, Identity, Job, Post, Turn
from engine.errors import IndexDamaged, NotFound, Unavailable
from tests.fakes.chat import Room, Shown
from tests.fakes.language_models import ScriptedModel
from tests.fakes.rooms import open_channel

SICK = "@bot How many hours of advanced sick leave can I request?"
ANSWER = "You can request up to 240 hours of advanced sick leave. [1]"
SECRETS = ("81,000", "gardener", "Salaries", "salaries", "Lisbon", "board")


async def states(room: Room) -> list[str]:
    async with room.engine.db.read() as session:
        return list(await session.scalars(select(Post.state).order_by(Post.id)))


def everything(shown: list[Shown]) -> str:
    return "\n".join(repr(item) for item in shown)


async def test_a_mention_is_answered_in_its_thread_with_its_source(room):
    [shown] = await room.say(SICK, by="bob")
    assert shown.reply.text == ANSWER
    assert [source.title for source in shown.reply.sources] == ["Sick leave"]
    assert (shown.channel, shown.thread, shown.whom) == ("C1", "q1", "")
    assert [b.label for b in shown.reply.buttons] == ["More detail", "Ask a human", "Delete"]
    assert await states(room) == [PostState.ENDED]


async def test_a_message_that_comes_twice_is_answered_once(room):
    message = room.inbound(SICK)
    accepted = [await room.inbound_handler.message(message) for _ in range(3)]
    assert [found.is_new for _, found in accepted if found] == [True, False, False]
    await room.drain()
    assert room.chat.texts() == [ANSWER]


async def test_a_follow_up_in_the_thread_needs_no_mention(room):
    await room.say(SICK)
    [shown] = await room.say("when does the backup of the shop run?", thread="q1", by="bob")
    assert "four in the morning" in shown.reply.text
    assert await room.say("when does the backup of the shop run?", thread="q77") == []


async def test_an_overheard_question_is_answered_only_where_that_was_turned_on_and_it_is_sure(room):
    question = "How many hours of advanced sick leave can I request?"
    assert await room.say(question) == []
    await room.command("mode auto")
    await room.command("threshold 100")
    assert await room.say(question) == []
    assert (await states(room))[-1] == PostState.SILENT
    await room.command("threshold 5")
    [shown] = await room.say(question)
    assert shown.reply.text == ANSWER
    assert await room.say("What is the capital of the moon?") == []
    assert await room.say("Does anybody know a good dentist in Kyoto?") == []


# Who may read what


@pytest.mark.parametrize("question", ["salary of the chief gardener", "where does the office move"])
@pytest.mark.parametrize("channel", ["C1", "C2"])
async def test_a_channel_is_never_answered_from_what_some_in_it_may_not_read(
    room, question, channel
):
    shown = await room.say(f"@bot what is the {question}?", by="ada", channel=channel)
    assert [item.whom for item in shown] == [""]
    assert not [word for word in SECRETS if word in everything(shown)]


async def test_the_same_person_is_answered_from_all_they_may_read_in_private(room):
    [shown] = await room.say("What is the salary of the chief gardener?", by="ada", channel="D1")
    assert "81,000 rupees" in shown.reply.text
    await room.command("ask what is the salary of the chief gardener?", by="ada", channel="C1")
    assert "81,000 rupees" in room.chat.last.reply.text
    assert room.chat.last.whom == "ada"


async def test_a_private_channel_is_answered_from_its_own_and_nothing_leaks_from_it(room):
    [shown] = await room.say("@bot When does the office move to Lisbon?", by="bob", channel="P1")
    assert "third of May" in shown.reply.text
    await room.say("@bot When does the office move to Lisbon?", by="bob", channel="C2")
    assert "third of May" not in everything(room.chat.shown[-1:])


async def test_a_guest_is_answered_from_what_their_channels_are_open_to(room):
    [shown] = await room.say(SICK, by="gus", channel="C1")
    assert "240 hours" in shown.reply.text
    [direct] = await room.say("When does the office move to Lisbon?", by="gus", channel="D7")
    assert not [word for word in SECRETS if word in everything([direct])]


async def test_a_conversation_in_private_does_not_enter_the_channel_and_back(room):
    await room.say("What is the salary of the chief gardener?", by="ada", channel="D1")
    await room.command("ask what is the salary of the chief gardener?", channel="C1")
    shown = await room.say("@bot and what is it in dollars?", by="ada", channel="C1")
    assert not [word for word in SECRETS if word in everything(list(shown))]


async def test_an_answer_whose_source_is_closed_meanwhile_is_not_shown(room, notes, monkeypatch):
    original = room.engine.chats.ask

    async def closing(*args):
        async for event in original(*args):
            for document in (await notes.engine.documents.page(notes.owner)).documents:
                if document.title == "Sick leave":
                    await notes.engine.documents.delete(notes.owner, document.id)
            yield event

    monkeypatch.setattr(room.engine.chats, "ask", closing)
    [shown] = await room.say(SICK)
    assert "240 hours" not in everything([shown])


async def test_where_membership_is_stale_only_the_channels_own_is_used_and_that_is_said(room):
    async with room.engine.db.write() as session:
        await session.execute(
            update(Channel).where(Channel.external_id == "C2").values(members_synced_at=None)
        )
    [shown] = await room.say(SICK, channel="C2")
    assert "240 hours" not in everything([shown])
    assert shown.reply.note == replies.UNKNOWN_AUDIENCE


# Buttons


async def test_more_detail_shows_the_passages(room):
    await room.say(SICK)
    [shown] = await room.press("More detail")
    assert "> You can request up to 240 hours of advanced sick leave." in shown.reply.text


def use_model(room: Room, *replies_: str | Exception) -> ScriptedModel:
    model = ScriptedModel(*replies_)
    room.engine.answers._asker._model = model
    return model


LONG = (
    "You can request up to 240 hours of advanced sick leave [1]. "
    "The moon is made of cheese and of nothing else. "
    "That is advanced sick leave of up to 240 hours [1]."
)


async def test_more_detail_is_written_by_a_model_from_the_same_sources(room):
    [first] = await room.say(SICK)
    model = use_model(room, LONG)
    [shown] = await room.press("More detail")
    assert "".join(shown.grown).startswith("You can request up to 240 hours")
    assert shown.reply.text.count("240 hours") == 2
    assert [source.title for source in shown.reply.sources] == ["Sick leave"]
    assert "More detail" not in [button.label for button in shown.reply.buttons]
    assert (shown.thread, shown.channel) == (first.thread, first.channel)
    assert "cheese" not in shown.reply.text + "".join(shown.grown)  # no source carries it
    [prompt] = model.prompts
    assert "240 hours" in prompt
    async with room.engine.db.read() as session:
        turns = list(await session.scalars(select(Turn).order_by(Turn.id)))
    assert [turn.question for turn in turns] == [turns[0].question] * 2
    assert turns[1].model == "test:scripted"
    assert turns[1].conversation_id == turns[0].conversation_id
    assert set(turns[0].sources) == set(turns[1].sources)


async def test_more_detail_is_written_once_however_often_it_is_pressed(room):
    [first] = await room.say(SICK)
    use_model(room, LONG)
    await room.press("More detail", on=first)
    [already] = await room.press("More detail", on=first, by="bob")
    assert already.whom == "bob"
    assert already.reply.text.startswith("More detail was already requested")


@pytest.mark.parametrize("reply", ["NO ANSWER", Unavailable("away"), "The moon is made of cheese."])
async def test_where_a_model_has_nothing_to_add_the_passages_are_shown(room, reply):
    await room.say(SICK)
    use_model(room, reply)
    [shown] = await room.press("More detail")
    assert "> You can request up to 240 hours of advanced sick leave." in shown.reply.text


async def test_more_detail_is_not_written_from_what_was_closed_since(room):
    await room.say(SICK)
    model = use_model(room, LONG)
    async with room.engine.db.write() as session:
        await session.execute(update(Document).values(deleted_at=clock.now()))
    [shown] = await room.press("More detail")
    assert "240" not in shown.reply.text
    assert model.prompts == []


async def test_an_opinion_is_kept_and_reported_to_admins(room):
    await room.say(SICK, by="bob")
    answer = room.chat.last
    [asked] = await room.press("rate_down", by="bob")
    assert [b.label for b in asked.reply.buttons] == ["Wrong", "Outdated", "Missing", "Not for me"]
    await room.press("Outdated", by="bob", text="it changed in May")
    await room.press("rate_up", by="ada", on=answer)
    async with room.engine.db.read() as session:
        kept = [(f.rating, f.reason, f.text) for f in await session.scalars(select(Feedback))]
    assert sorted(kept) == [(-1, "outdated", "it changed in May"), (1, "", "")]
    assert "Helpful: 1. Not helpful: 1." in await room.command("feedback report", by="ada")


async def test_a_human_is_called_once_and_says_when_it_is_done(room):
    await room.command("escalate-to <!subteam^S7>")
    [shown] = await room.say("@bot why is the moon made of cheese?", by="bob")
    [called] = await room.press("Ask a human", by="bob", on=shown)
    assert called.reply.calls == ["<!subteam^S7>"]
    assert "moon made of cheese" in called.reply.text
    assert (await room.press("Ask a human", on=shown))[0].reply.text.startswith(
        "Someone has already been asked"
    )
    [done] = await room.press("Mark resolved", by="ada", on=called)
    assert done.reply.text == "Resolved by Owner. ✅"


async def test_only_who_asked_or_an_admin_deletes_an_answer(room):
    await room.say(SICK, by="bob")
    answer = room.chat.last
    [refused] = await room.press("Delete", by="gus", on=answer)
    assert (refused.whom, room.chat.removed) == ("gus", [])
    await room.press("Delete", by="bob", on=answer)
    assert room.chat.removed == [answer.id]


async def test_a_deleted_question_takes_its_answer_along(room):
    question = room.inbound(SICK)
    await room.inbound_handler.message(question)
    await room.drain()
    answer = room.chat.last
    await room.say("", message_id=question.message_id, kind="deleted")
    assert room.chat.removed == [answer.id]


async def test_an_edited_question_is_answered_again_when_that_is_wanted(room):
    question = room.inbound(SICK)
    await room.inbound_handler.message(question)
    await room.drain()
    old = room.chat.last
    edit = "@bot when does the backup of the shop run?"
    [offer] = await room.say(edit, message_id=question.message_id, kind="edited")
    assert offer.whom == "ada"
    [second] = await room.press("Answer again", on=offer)
    assert "four in the morning" in second.reply.text
    assert room.chat.removed == [old.id]


async def test_buttons_of_another_workspace_lead_nowhere(room, notes):
    await room.say(SICK)
    other = await Room(notes.engine, notes.owner.tenant_id, team="T2").open()
    await other.person("eve")
    await open_channel(other, "C9", "x", public=True, members=["eve"])
    [shown] = await other.press("More detail", by="eve", on=room.chat.last)
    assert shown.reply.text == "This answer no longer exists."


# Trouble


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (Unavailable("the pool is empty at 10.0.0.7"), "can't reach something I need"),
        (IndexDamaged("segment 7 of /srv/index"), "search index is damaged"),
        (RuntimeError("secret stack trace"), "something went wrong and I couldn't answer"),
        (KeyError("x"), "something went wrong and I couldn't answer"),
    ],
)
async def test_who_asks_gets_an_apology_with_a_reason_and_no_internals(
    room, monkeypatch, error, says
):
    async def broken(*args, **more):
        raise error
        yield

    monkeypatch.setattr(room.engine.answers, "ask", broken)
    [shown] = await room.say(SICK)
    assert says in shown.reply.text
    assert not [w for w in ("10.0.0.7", "/srv", "stack trace", "KeyError") if w in repr(shown)]
    assert await states(room) == [PostState.FAILED]
    await room.command("mode auto")
    assert await room.say("How many hours of advanced sick leave can I request?") == []


async def test_an_answer_that_could_not_be_delivered_is_shown_later_and_not_asked_again(
    room, monkeypatch
):
    room.chat.trouble = [Undelivered("429", retry_in_s=0.0)]
    asked = []
    original = room.engine.answers.ask
    monkeypatch.setattr(
        room.engine.answers, "ask", lambda *a, **k: asked.append(1) or original(*a, **k)
    )
    [shown] = await room.say(SICK)
    assert shown.reply.text == ANSWER
    assert asked == [1]


async def test_what_a_job_leaves_while_the_worker_looks_for_more_is_done_before_it_rests(
    room, monkeypatch
):
    claim, ask = answer_worker.claims.claim, room.engine.answers.ask
    looks, looked = [], asyncio.Event()

    async def long_look(*args, **more):
        found = await claim(*args, **more)
        looks.append(found)
        if len(looks) == 3:  # after the first one, for answers and for interactions
            looked.set()
            while room.answer_worker._slots.running:  # noqa: ASYNC110 (the worker tells nobody)
                await asyncio.sleep(0.01)
        return found

    async def answer(*args, **more):
        await looked.wait()
        async for event in ask(*args, **more):
            yield event

    monkeypatch.setattr(answer_worker.claims, "claim", long_look)
    monkeypatch.setattr(room.engine.answers, "ask", answer)
    room.chat.trouble = [Undelivered("429", retry_in_s=0.0)]
    [shown] = await room.say(SICK)
    assert shown.reply.text == ANSWER


async def test_a_limit_is_shown_to_the_person_who_reached_it_with_its_end(room):
    await room.command("limits set user 1")
    await room.say(SICK, by="bob")
    [shown] = await room.say("@bot when does the backup run?", by="bob")
    assert shown.whom == "bob"
    assert shown.reply.text == (
        "You have asked 1 question in five minutes, which is the limit. Ask again in 5 minutes."
    )
    [other] = await room.say(SICK, by="ada")
    assert other.reply.text == ANSWER


async def test_a_bound_knowledge_base_that_is_not_open_to_the_asker_is_said_so(room):
    await room.command("bind <#C1> board", by="ada")
    [shown] = await room.say(SICK, by="bob")
    assert shown.whom == "bob"
    assert "a knowledge base that not everyone there may read" in shown.reply.text
    [private] = await room.press("Answer me privately", by="bob", on=shown)
    assert (private.whom, private.reply.text) == ("bob", replies.KB_NOT_YOURS)


async def test_twenty_questions_at_once_are_all_answered(room):
    for n in range(20):
        await room.inbound_handler.message(room.inbound(SICK, by="bob", message_id=f"b{n}"))
    await room.command("limits set user 0")
    await room.drain()
    assert sorted(await states(room)) == sorted([PostState.ENDED] * 20)


async def test_an_answer_worker_that_stops_releases_its_jobs(room, monkeypatch):
    begun = asyncio.Event()

    async def slow(*args, **more):
        begun.set()
        await asyncio.Event().wait()
        yield

    with monkeypatch.context() as patch:
        patch.setattr(room.engine.answers, "ask", slow)
        await room.inbound_handler.message(room.inbound(SICK))
        stop = asyncio.Event()
        running = asyncio.create_task(room.answer_worker.run(stop))
        async with asyncio.timeout(60):
            await begun.wait()
            stop.set()
            await running
    async with room.engine.db.read() as session:
        kinds = [(j.kind, j.state) for j in await session.scalars(select(Job)) if "fake" in j.kind]
    assert kinds == [("answer:fake", "queued")]
    await room.drain()
    assert room.chat.texts() == [ANSWER]


async def test_decisions_are_returned_to_the_caller(room):
    decision, accepted = await room.inbound_handler.message(room.inbound(SICK))
    assert isinstance(decision, Ask)
    assert accepted is not None
    decision, accepted = await room.inbound_handler.message(room.inbound("nothing to see"))
    assert isinstance(decision, Ignore)
    assert accepted is None


async def test_who_says_nothing_to_the_bot_is_not_written_down(room):
    for text in ("the build is green", "what is for lunch?"):
        assert await room.say(text, by="zoe", channel="C8") == []
    async with room.engine.db.read() as session:
        assert await session.scalar(select(Identity.id).where(Identity.subject == "zoe")) is None
        assert await session.scalar(select(Channel.id).where(Channel.external_id == "C8")) is None
    await room.say("@bot hello", by="zoe", channel="C8")
    async with room.engine.db.read() as session:
        assert await session.scalar(select(Identity.id).where(Identity.subject == "zoe"))


async def test_an_organisations_installation_speaks_in_each_of_its_teams(room, notes):
    new = NewInstallation("fake", "", "xoxb-org", enterprise_id="E1", name="Org")
    await notes.engine.chats.installations.install(notes.owner.tenant_id, new)
    grid = Room(notes.engine, notes.owner.tenant_id, team="T77")
    [shown] = await grid.say("hello", by="wanda", channel="D5", enterprise="E1")
    assert "Ask me anything" in shown.reply.text
    found = await notes.engine.chats.installations.find("fake", team_id="T77", enterprise_id="E1")
    assert found.token == "xoxb-org"
    with pytest.raises(NotFound):
        await grid.say("hello", by="wanda", channel="D5", enterprise="E2", workspace="T78")
    paused = await notes.engine.chats.installations.pause("fake", team_id="T1", enterprise_id="E1")
    assert len(paused) == 1
    with pytest.raises(NotFound):
        await grid.say("hello again", by="wanda", channel="D5", enterprise="E1")


async def test_an_unclear_question_gets_buttons_and_a_pressed_one_is_answered(room):
    [asked] = await room.say("@bot it doesn't work")
    choices = [button for button in asked.reply.buttons if button.action == replies.CHOOSE]
    assert 1 <= len(choices) <= 3
    assert not any(secret in everything([asked]) for secret in SECRETS)
    [told] = await room.press(choices[0].label)
    assert (told.thread, told.channel) == (asked.thread, asked.channel)
    assert not any(button.action == replies.CHOOSE for button in told.reply.buttons)


async def test_a_choice_is_answered_once_however_often_it_is_pressed(room):
    [asked] = await room.say("@bot it doesn't work")
    label = next(b.label for b in asked.reply.buttons if b.action == replies.CHOOSE)
    assert len(await room.press(label, on=asked)) == 1
    assert await room.press(label, on=asked, by="bob") == []
