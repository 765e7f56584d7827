"""Nothing that one person alone has seen reaches a channel unless they saw it so, and said yes."""

from __future__ import annotations

import pytest

from bots import replies
from bots.platform import Undelivered
from bots.publishing import fingerprint
from bots.replies import Reply, SourceLine
from tests.fakes.chat import Room, Shown
from tests.fakes.installations import Installation

SICK = "ask how many hours of advanced sick leave can I request?"
SALARY = "ask what is the salary of the chief gardener?"


def public(room: Room) -> list[Shown]:
    """What everyone in a channel has seen."""
    return [item for item in room.chat.shown if not item.whom]


async def drop_leave(notes: Installation) -> None:
    """The source of the answer goes."""
    for document in (await notes.engine.documents.page(notes.owner)).documents:
        if document.title == "Sick leave":
            await notes.engine.documents.delete(notes.owner, document.id)


async def test_what_is_posted_is_what_was_previewed(room):
    await room.command(SICK)
    [preview] = await room.press("Share with channel")
    assert preview.whom == "ada"
    [shared] = await room.press("Post it")
    assert preview.reply.text.endswith(
        f"this is what everyone in #help will see:\n\n{shared.reply.text}"
    )
    assert shared.reply.text.startswith("> how many hours of advanced sick leave can I request?")
    assert preview.reply.sources == shared.reply.sources
    assert preview.reply.note.startswith(shared.reply.note)
    assert (shared.whom, shared.reply.note) == ("", "Shared by Owner.")


async def test_a_refused_share_shows_a_channel_nothing_not_even_the_question(room):
    await room.command(SALARY)
    [refused] = await room.press("Share with channel")
    assert (refused.whom, refused.reply.kind) == ("ada", "trouble")
    assert "not everyone in #help may read" in refused.reply.text
    assert public(room) == []


async def test_what_changed_after_the_preview_is_not_posted(room, notes):
    await room.command(SICK)
    [preview] = await room.press("Share with channel")
    await drop_leave(notes)
    [refused] = await room.press("Post it", on=preview)
    assert refused.whom == "ada"
    assert "not everyone in #help may read" in refused.reply.text
    assert public(room) == []


async def test_what_changes_between_the_yes_and_the_posting_is_not_posted(room, notes, monkeypatch):
    await room.command(SICK)
    [preview] = await room.press("Share with channel")
    learn = room.chat.learn

    async def closing(target):
        await drop_leave(notes)
        await learn(target)

    monkeypatch.setattr(room.chat, "learn", closing)
    [refused] = await room.press("Post it", on=preview)
    assert refused.whom == "ada"
    assert "240" not in refused.reply.text
    assert public(room) == []


async def test_nobody_but_its_asker_shares_or_escalates_a_private_answer(room):
    await room.command(SICK, by="bob")
    answer = room.chat.last
    for label in ("Share with channel", "Ask a human"):
        [refused] = await room.press(label, by="gus", on=answer)
        assert (refused.whom, refused.reply.text) == ("gus", "This answer no longer exists.")
        [preview] = await room.press(label, by="bob", on=answer)
        [refused] = await room.press("Post it", by="gus", on=preview)
        assert (refused.whom, refused.reply.text) == ("gus", "This answer no longer exists.")
    assert public(room) == []


async def test_a_yes_without_its_preview_posts_nothing(room):
    await room.command(SICK)
    answer = room.chat.last
    for label in ("Share with channel", "Ask a human"):
        [preview] = await room.press(label, on=answer)
        [yes, _] = preview.reply.buttons
        forged = replies.Button(yes.action, "Post it", f"{answer.reply.rated}:0123456789ab")
        shown = await room.press(
            "Post it", on=Shown(answer.channel, answer.thread, Reply("", buttons=[forged]))
        )
        assert [item.whom for item in shown] == ["ada"]
    assert public(room) == []


async def test_a_no_posts_nothing_and_says_so(room):
    await room.command(SALARY)
    [preview] = await room.press("Ask a human")
    [declined] = await room.press("Don't post", on=preview)
    assert (declined.whom, declined.reply.text) == ("ada", "OK, I did nothing.")
    assert public(room) == []


async def test_a_question_that_was_deleted_is_neither_shared_nor_escalated(room):
    await room.command("private on")
    question = room.inbound("@bot how many hours of advanced sick leave can I request?")
    await room.inbound_handler.message(question)
    await room.drain()
    answer = room.chat.last
    [preview] = await room.press("Share with channel")
    await room.say("", message_id=question.message_id, kind="deleted")
    for label, on in (
        ("Share with channel", answer),
        ("Ask a human", answer),
        ("More detail", answer),
        ("Post it", preview),
    ):
        [refused] = await room.press(label, on=on)
        assert (refused.whom, refused.reply.text) == ("ada", "This answer no longer exists.")
    assert public(room) == []


async def test_a_question_that_is_deleted_takes_what_was_shared_of_it_along(room):
    await room.command("private on")
    question = room.inbound("@bot how many hours of advanced sick leave can I request?")
    await room.inbound_handler.message(question)
    await room.drain()
    await room.press("Share with channel")
    [shared] = await room.press("Post it")
    await room.say("", message_id=question.message_id, kind="deleted")
    assert room.chat.removed == [shared.id]


async def test_a_call_for_help_that_was_not_posted_may_be_posted_later(room):
    await room.command(SICK)
    [preview] = await room.press("Ask a human")
    room.chat.trouble = [Undelivered("the bot is not in the channel")]
    [refused] = await room.press("Post it", on=preview)
    assert (refused.whom, "invite me" in refused.reply.text) == ("ada", True)
    [called] = await room.press("Post it", on=preview)
    assert called.whom == ""
    assert "how many hours" in called.reply.text


async def test_a_share_into_a_channel_without_the_bot_says_so_and_may_be_tried_again(room):
    await room.command(SICK)
    [preview] = await room.press("Share with channel")
    room.chat.trouble = [Undelivered("the bot is not in the channel")]
    [refused] = await room.press("Post it", on=preview)
    assert (refused.whom, "invite me" in refused.reply.text) == ("ada", True)
    [shared] = await room.press("Post it", on=preview, key="again")
    assert "240 hours" in shared.reply.text


async def test_an_unasked_answer_where_answers_are_private_is_for_its_asker_alone(room):
    for line in ("mode auto", "threshold 5", "private on"):
        await room.command(line)
    [shown] = await room.say("When does the office move to Lisbon?", by="bob")
    assert "third of May" in shown.reply.text
    assert shown.whom == "bob"
    assert public(room) == []


@pytest.mark.parametrize(
    "change",
    [
        {"text": "b"},
        {"note": "b"},
        {"sources": [SourceLine(1, "other")]},
        {"calls": ["<@U2>"]},
    ],
)
def test_a_fingerprint_tells_other_words_sources_people_and_places_apart(change):
    values = {"text": "a", "sources": [SourceLine(1, "title", "https://a.example", "today")]}
    seen = fingerprint(Reply(**values), "help")
    assert fingerprint(Reply(**values), "help") == seen
    assert fingerprint(Reply(**values | change), "help") != seen
    assert fingerprint(Reply(**values), "team") != seen
