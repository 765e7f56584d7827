"""A channel that may be told less than its team says who narrows it and what helps."""

from __future__ import annotations

from bots.narrowed import NarrowedChannel, why_narrowed
from engine.chats.audiences import Narrowing
from engine.db.tables import Channel
from engine.documents import knowledge_bases
from tests.fakes.rooms import channel_token, open_channel

SICK = "@bot How many hours of advanced sick leave can I request?"
MOON = "@bot why is the moon made of cheese?"


async def close_help(room, notes) -> None:
    """Take back what #help was given for itself."""
    async with notes.engine.db.write() as session:
        token = await channel_token(room, "C1")
        await knowledge_bases.revoke_kb(session, notes.owner, "notes", token)


async def test_a_channel_with_a_guest_says_that_the_guest_narrows_it(room, notes):
    await close_help(room, notes)
    [shown] = await room.say(SICK, by="bob")
    assert shown.whom == ""
    assert "No knowledge base is open to everyone in #help" in shown.reply.text
    assert "there is 1 guest (Gus)." in shown.reply.text
    assert "`/kb grant <knowledge base> #help`" in shown.reply.text
    assert "scrubjay add" not in shown.reply.text
    assert "You have no access" not in shown.reply.text
    [private] = await room.press("Answer me privately", by="bob", on=shown)
    assert (private.whom, "240 hours" in private.reply.text) == ("bob", True)
    [guest] = await room.press("Answer me privately", by="gus", on=shown)
    assert (guest.whom, "240 hours" in guest.reply.text) == ("gus", False)


async def test_what_is_said_of_the_channel_is_the_same_whatever_the_asker_may_read(room, notes):
    await close_help(room, notes)
    [of_bob] = await room.say(SICK, by="bob")
    [of_gus] = await room.say(SICK, by="gus")
    assert of_bob.reply.text == of_gus.reply.text


async def test_a_question_without_an_answer_says_so_and_who_narrows_what_was_searched(room):
    [shown] = await room.say(MOON, by="bob")
    assert "notes" in shown.reply.text
    assert "1 guest (Gus)" in shown.reply.text


async def test_a_channel_of_members_alone_has_no_one_to_blame(room):
    [shown] = await room.say(MOON, by="bob", channel="C2")
    assert "guest" not in shown.reply.text
    assert [b.label for b in shown.reply.buttons] == ["Ask a human", "Delete"]


async def test_an_answer_is_not_followed_by_reasons(room):
    [shown] = await room.say(SICK, by="bob")
    assert "guest" not in shown.reply.text


async def test_where_people_are_not_named_guests_are_counted(room, notes):
    await close_help(room, notes)
    await room.command("anonymous on")
    [shown] = await room.say(SICK, by="bob")
    assert "1 guest." in shown.reply.text
    assert "Gus" not in shown.reply.text


async def test_a_channel_nothing_is_known_of_says_that(room, notes):
    await open_channel(room, "C9", "news", public=True, members=["ada"])
    async with room.engine.db.write() as session:
        sender = await room.engine.chats.senders.meet(room_ref(room, "C9"))
        (await session.get_one(Channel, sender.channel_id)).members_synced_at = None
    [shown] = await room.say(MOON, channel="C9")
    assert "can't check right now who can see this channel" in shown.reply.text
    assert shown.reply.buttons[0].label == "Answer me privately"


def room_ref(room, channel: str):
    from engine.chats.sender_rows import SenderRef

    return SenderRef("fake", room.team, "ada", channel)


async def test_a_channel_bound_to_what_not_all_may_read_refuses_in_private(room):
    await room.command("bind #help board")
    [refused] = await room.say("@bot what is the salary of the chief gardener?", by="ada")
    assert refused.whom == "ada"
    assert "not everyone there may read" in refused.reply.text
    assert "1 guest (Gus)" in refused.reply.text
    [private] = await room.press("Answer me privately", by="ada", on=refused)
    assert (private.whom, "81,000" in private.reply.text) == ("ada", True)


def test_the_reasons_count_and_name_who_may_read_less():
    place = NarrowedChannel(
        Narrowing("help", guests=["A", "B", "C", "D"], external=["Eve"], shared=["external"]),
        "/kb",
    )
    assert why_narrowed(place) == (
        "In #help I use only what everyone there may read. Not all do that the team may read: there"
        " are 4 guests (A, B, C, 1 more); 1 person of another organisation (Eve); people to come,"
        " since it is shared with another organisation."
    )
