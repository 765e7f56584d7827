"""What people write on Discord, and what they are answered."""

from __future__ import annotations

import pytest

from bots import replies
from bots.discord import streaming
from bots.discord.directory import Destination
from bots.platform import ReplyTarget
from engine.chats.sender_rows import Sender
from tests.fakes.discord import Fault
from tests.fakes.discord_rooms import ADA, BOB, FORUM, GUILD, GUS, HELP, LEADS, Answer, text_of
from tests.fakes.discord_world import MANAGE_THREADS, USUAL

SICK = "How many hours of advanced sick leave can I request?"


async def test_a_mention_is_answered_in_a_thread_with_sources(room):
    shown = await room.answer_to(BOB, f"{room.mention} {SICK}")
    question = room.discord.world.messages[HELP][0]
    assert shown.channel == question["thread"]["id"] == question["id"]
    assert question["thread"]["name"] == SICK
    said = shown.text
    assert "240 hours" in said
    assert "https://docs.example/leave" in said
    assert "reactions" not in question  # the first sign is gone


async def test_a_follow_up_in_its_thread_needs_no_mention(room):
    shown = await room.answer_to(BOB, f"{room.mention} {SICK}")
    more = await room.answer_to(GUS, "When does the backup of the shop run?", channel=shown.channel)
    assert more.channel == shown.channel
    assert "four in the morning" in more.text
    assert await room.say(GUS, "ah, so early", channel=shown.channel) == []


async def test_a_reply_to_the_bot_is_a_question_to_it(room):
    greeting = await room.answer_to(BOB, f"{room.mention} hello")
    assert greeting.channel == HELP  # a greeting opens no thread
    shown = await room.answer_to(BOB, SICK, reply_to=greeting.messages[0]["id"])
    assert "240 hours" in shown.text


async def test_talk_of_others_is_left_alone(room):
    assert await room.say(BOB, f"<@{ADA}> how many hours of sick leave are there?") == []
    assert await room.say(BOB, "the backup ran again") == []


async def test_a_direct_message_is_answered_from_where_its_author_is_known(room):
    shown = await room.answer_to(BOB, SICK, channel=room.discord.dm(BOB))
    assert "240 hours" in shown.text
    secret = await room.answer_to(
        BOB, "What is the salary of the chief gardener?", channel=room.discord.dm(BOB)
    )
    assert "81,000" not in secret.text
    hers = await room.answer_to(
        ADA, "What is the salary of the chief gardener?", channel=room.discord.dm(ADA)
    )
    assert "81,000" in hers.text


async def test_a_stranger_hears_why_there_is_no_answer(room):
    room.discord.world.add_user("666", "Eve")
    shown = await room.answer_to("666", SICK, channel=room.discord.dm("666"))
    assert "I don't know you from any" in shown.text


async def test_a_private_channel_is_answered_from_what_its_people_may_read(room):
    shown = await room.answer_to(BOB, f"{room.mention} {SICK}", channel=LEADS)
    assert "240 hours" in shown.text


async def test_a_post_in_a_forum_is_answered_unasked_where_that_is_set(room):
    await room.slash(ADA, "kb-admin mode", {"mode": "auto", "place": "workspace"})
    thread = room.discord.talk.post(
        FORUM, GUS, "Hours of advanced sick leave I can request", "I could not find it."
    )
    await room.settle()
    shown = Answer(room.shown())
    assert shown.channel == thread["id"]
    assert "240 hours" in shown.text
    # Someone else's post: that takes a permission the bot is not invited with.
    room.discord.talk.change_role("700", "700", permissions=USUAL | MANAGE_THREADS)
    await room.press(GUS, shown.buttons, "Ask a human")
    call = room.shown()[-1]
    await room.press(ADA, call, "Mark resolved")
    tags = room.discord.world.guilds["700"].channels[FORUM]["available_tags"]
    solved = next(tag["id"] for tag in tags if tag["name"] == "Solved")
    assert room.discord.world.guilds["700"].threads[thread["id"]]["applied_tags"] == [solved]


async def test_unasked_and_unsure_the_bot_says_nothing(room):
    await room.slash(ADA, "kb-admin mode", {"mode": "auto", "place": "workspace"})
    room.discord.talk.post(FORUM, GUS, "Where do swallows sleep in winter", "Who knows?")
    await room.settle()
    assert room.shown() == []


async def test_an_edited_question_is_answered_again_if_its_author_wants(room):
    shown = await room.answer_to(BOB, f"{room.mention} {SICK}")
    question = room.discord.world.messages[HELP][0]
    room.discord.talk.edit(HELP, question["id"], f"{room.mention} When does the backup run?")
    await room.settle()
    offer = room.shown()[-1]
    assert "Should I answer the new one?" in text_of(offer)
    refused = await room.press(GUS, offer, "Answer again")
    assert "Only the person who asked" in refused.text
    await room.press(BOB, offer, "Answer again")
    assert "four in the morning" in text_of(room.shown()[-2])
    assert not [item for item in room.shown() if item in shown.messages]


async def test_a_link_preview_is_no_edit(room):
    await room.say(BOB, f"{room.mention} {SICK}")
    question = room.discord.world.messages[HELP][0]
    before = len(room.shown())
    room.discord.talk.unfurl(HELP, question["id"], {"title": "a page"})
    await room.settle()
    assert len(room.shown()) == before


@pytest.mark.parametrize("purge", [False, True])
async def test_the_answer_to_a_deleted_question_goes(room, purge):
    shown = await room.answer_to(BOB, f"{room.mention} {SICK}")
    question = room.discord.world.messages[HELP][0]
    if purge:
        room.discord.talk.delete_many(HELP, [question["id"]])
    else:
        room.discord.talk.delete(HELP, question["id"])
    await room.settle()
    assert not [item for item in room.shown() if item in shown.messages]


async def test_an_answer_grows_by_edits_and_ends_whole(room, monkeypatch):
    monkeypatch.setattr(streaming, "EDIT_S", 0.0)
    room.write(
        "You can request up to 240 hours of advanced sick leave [1]. Advanced sick leave is up to 240"
        " hours [1]."
    )
    shown = await room.answer_to(BOB, f"{room.mention} {SICK}")
    path = f"/channels/{shown.channel}/messages/{shown.messages[0]['id']}"
    edits = [call.body.get("content") for call in room.discord.rest.called("PATCH", path)]
    assert len(edits) > 1
    assert all(text.endswith(" …") for text in edits[:-1])
    assert "240 hours" in shown.text


async def test_where_no_thread_may_be_made_the_answer_is_a_reply(room):
    path = f"/channels/{HELP}/messages/*/threads"
    room.discord.rest.fail("POST", path, Fault(403, code=50013), times=9)
    shown = await room.answer_to(BOB, f"{room.mention} {SICK}")
    question = room.discord.world.messages[HELP][0]
    assert shown.channel == HELP
    assert shown.messages[0]["message_reference"]["message_id"] == question["id"]


async def test_where_the_bot_may_not_write_the_person_who_asked_gets_the_reason(room):
    room.discord.rest.fail("POST", "/channels/*/messages", Fault(403, code=50013), times=1)
    await room.say(BOB, f"{room.mention} {SICK}")
    [direct] = room.discord.shown(room.discord.dm(BOB))
    assert "I don't have permission to answer in" in text_of(direct)


async def test_nothing_generated_notifies_anyone(room):
    room.write("@everyone <@101> <@&901> the backup runs at four in the morning [1].")
    shown = await room.answer_to(BOB, f"{room.mention} When does the backup of the shop run?")
    assert [message["mentions"] for message in shown.messages] == [[], []]
    assert not any(message["mention_everyone"] for message in shown.messages)


async def test_what_is_said_in_a_kept_channel_answers_with_a_link_to_it(room):
    await room.say(ADA, f"{room.mention} hello")
    await room.slash(ADA, "kb-admin bind", {"channel": HELP, "kb": "notes"})
    kept = await room.slash(ADA, "kb-admin ingest add", {"channel": HELP})
    assert "are now stored" in kept.text
    assert "I store this channel's messages" in text_of(room.shown()[-1])
    said = room.discord.talk.say(HELP, BOB, "The coffee machine is reset by holding both keys.")
    await room.settle()
    await room.notes.drain()
    question = f"{room.mention} how do I reset the coffee machine?"
    shown = await room.answer_to(GUS, question)
    assert "holding both keys" in shown.text
    assert f"https://discord.com/channels/{GUILD}/{HELP}/{said['id']}" in shown.text
    room.discord.talk.delete(HELP, said["id"])
    await room.settle()
    again = await room.answer_to(GUS, f"{question}?")
    assert "holding both keys" not in again.text


async def test_who_loses_a_role_loses_the_answers_of_its_channel(room):
    await room.say(ADA, f"{room.mention} hello", channel=LEADS)
    await room.slash(ADA, "kb-admin bind", {"channel": LEADS, "kb": "notes"}, channel=LEADS)
    await room.slash(ADA, "kb-admin ingest add", {"channel": LEADS}, channel=LEADS)
    room.discord.talk.say(LEADS, ADA, "The office moves to Lisbon on the third of May.")
    await room.settle()
    await room.notes.drain()
    question = "When does the office move to Lisbon?"
    assert (
        "third of May"
        in (await room.answer_to(BOB, f"{room.mention} {question}", channel=LEADS)).text
    )
    assert (
        "third of May" in (await room.slash(BOB, "ask", {"question": question}, channel=LEADS)).text
    )
    assert "third of May" not in (await room.slash(GUS, "ask", {"question": question})).text
    room.discord.talk.change_member(GUILD, BOB, roles=[])
    await room.settle()
    assert "third of May" not in (await room.slash(BOB, "ask", {"question": question})).text


@pytest.mark.parametrize("words", [1, 700, 1_500, 9_000])
async def test_a_reply_of_any_length_is_shown_and_taken_away_whole(room, words):
    """The fake refuses what is over Discord's limits."""
    platform = room.bot.platform
    button = replies.Button(replies.MORE, "More detail", "1")
    reply = replies.Reply("word " * words, note="That is all.", buttons=[button])
    first = await platform.delivery.post(Destination(HELP), reply)
    shown = room.discord.shown(HELP)
    assert shown[0]["id"] == first
    assert 1 <= len(shown) <= 6
    sender = Sender("", "", "", None)
    await platform.remove(ReplyTarget("discord", GUILD, HELP, BOB, sender), first)
    assert room.discord.shown(HELP) == []
    await room.settle()
