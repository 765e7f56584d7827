"""Messages on Discord are stored as they are now, and so is who may read them."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from engine import clock
from engine.chats import accounts, membership
from engine.chats.sender_rows import Person, SenderRef
from tests.fakes.discord import PRIVATE_THREAD, FakeDiscord
from tests.fakes.discord_scene import GUILD, READS, Scene, open_scene
from tests.fakes.discord_world import HISTORY, USUAL, VIEW
from tests.fakes.installations import parse_inline

TALK, CREW, HELP = "7100", "7300", "7200"
ADA, BROOK, CLEO = "11", "12", "13"
ROLE = "50"
TOLD = "Hold both keys of the coffee machine for ten seconds to reset it."


@pytest.fixture
async def scene(home, monkeypatch, discord: FakeDiscord) -> AsyncIterator[Scene]:
    """Ada and Brook on a server with #talk, #crew for a role that Ada has, and the forum #help."""
    parse_inline(monkeypatch)
    guild = discord.add_guild(GUILD)
    discord.add_role(guild, ROLE, "crew")
    discord.add_person(guild, ADA, "Ada", ROLE)
    discord.add_person(guild, BROOK, "Brook")
    discord.add_person(guild, "99", "Other bot", bot=True)
    discord.add_channel(guild, TALK, "talk")
    allowed = {ROLE: READS, discord.bot_id: READS}
    discord.add_channel(guild, CREW, "crew", deny={GUILD: VIEW}, allow=allowed)
    discord.add_forum(guild, HELP, "help", "build", "Solved")
    async with open_scene(home, discord) as made:
        await made.settle()
        await made.link_owner(ADA)
        yield made


# Messages


async def test_messages_are_kept_of_channels_an_admin_added_and_no_others(scene):
    scene.talk.say(TALK, ADA, "Said before anybody asked.")
    await scene.settle()
    assert await scene.stored() == {}
    await scene.keep("talk")
    scene.talk.say(TALK, BROOK, TOLD)
    scene.talk.say(CREW, ADA, "Not for the record.")
    scene.talk.say(TALK, scene.discord.bot_id, "An answer of the bot's.")
    await scene.settle()
    assert list((await scene.stored()).values()) == ["Said before anybody asked.", TOLD]
    assert TOLD in await scene.texts("coffee machine reset")


async def test_edits_and_deletes_of_messages_not_in_memory_reach_what_is_found(scene):
    old = scene.talk.say(TALK, BROOK, "The password of the coffee machine is tulip.")
    spam = [scene.talk.say(TALK, BROOK, f"buy cheap umbrellas {n}")["id"] for n in range(3)]
    await scene.keep("talk")
    scene.reconnect()  # a new process, which has cached nothing
    await scene.settle()
    assert "tulip" in await scene.texts("coffee password")
    scene.talk.edit(TALK, old["id"], "The password of the coffee machine is in the safe.")
    scene.talk.delete_many(TALK, spam)
    await scene.deliver()
    assert "umbrellas" not in await scene.texts("cheap umbrellas")  # at once
    await scene.settle()
    assert "tulip" not in await scene.texts("coffee password")
    assert "in the safe" in await scene.texts("coffee password")
    scene.talk.delete(TALK, old["id"])
    await scene.deliver()
    assert await scene.texts("coffee password") == ""
    assert await scene.stored() == {}


async def test_an_update_that_leaves_something_out_blanks_nothing(scene):
    said = scene.talk.say(TALK, BROOK, TOLD, attachments=[])
    await scene.keep("talk")
    partial = {"id": said["id"], "channel_id": TALK, "guild_id": GUILD}
    embed = {"type": "link", "url": "https://example.test"}
    await scene.listener.on_event("MESSAGE_UPDATE", {**partial, "embeds": [embed]})
    await scene.listener.on_event("MESSAGE_UPDATE", {**partial, "pinned": True})
    scene.talk.unfurl(TALK, said["id"], embed)
    await scene.deliver()
    assert await scene.stored() == {said["id"]: TOLD}
    scene.reconnect(GUILD_WITHOUT_CONTENT)  # every text comes empty then
    scene.talk.edit(TALK, said["id"], "Something that isn't told to the bot.")
    await scene.deliver()
    assert await scene.stored() == {said["id"]: TOLD}


GUILD_WITHOUT_CONTENT = 1 << 0 | 1 << 1 | 1 << 9


async def test_a_thread_and_a_post_go_with_what_was_said_in_them(scene):
    await scene.keep("talk", "help")
    root = scene.talk.say(TALK, ADA, "How do I reset the coffee machine?")
    thread = scene.talk.start_thread(TALK, ADA, "Coffee", message_id=root["id"])
    scene.talk.say(thread["id"], BROOK, TOLD)
    post = scene.talk.post(HELP, ADA, "Where is the ladder?", "I can't find the ladder.")
    scene.talk.say(post["id"], BROOK, "The ladder stands behind the boiler.")
    await scene.settle()
    assert len(await scene.stored()) == 4
    assert "behind the boiler" in await scene.texts("where ladder")
    scene.talk.delete_thread(thread["id"])
    scene.talk.delete_thread(post["id"])
    await scene.settle()
    assert list((await scene.stored()).values()) == ["How do I reset the coffee machine?"]
    assert "boiler" not in await scene.texts("where ladder")


async def test_tags_reactions_and_titles_follow_what_discord_says(scene):
    await scene.keep("help")
    post = scene.talk.post(HELP, ADA, "Where is the ladder?", "Lost it.", tags=["build"])
    answer = scene.talk.say(post["id"], BROOK, "The ladder stands behind the boiler.")
    await scene.settle()
    [document] = (await scene.engine.documents.page(scene.notes.owner)).documents
    assert (document.title, document.details["tags"]) == ("Where is the ladder?", ["build"])
    assert not document.details["solved"]
    scene.talk.react(post["id"], answer["id"], ADA, "✅")
    await scene.settle()
    assert (await solved(scene))["solved"]
    scene.talk.unreact(post["id"], answer["id"], ADA, "✅")
    await scene.settle()
    assert not (await solved(scene))["solved"]
    tags = [channel["id"] for channel in scene.guild.channels[HELP]["available_tags"]]
    scene.talk.change_thread(post["id"], applied_tags=tags, name="Ladder")
    await scene.settle()
    assert (await solved(scene))["solved"]
    assert (await solved(scene))["tags"] == ["build", "Solved"]


async def solved(scene: Scene) -> dict:
    [document] = (await scene.engine.documents.page(scene.notes.owner)).documents
    return dict(document.details)


async def test_an_answer_to_a_question_of_yesterday_is_grouped_with_it(scene):
    await scene.keep("talk")
    asked = scene.talk.say(TALK, ADA, "Does anybody know where the ladder of the boiler room is?")
    scene.discord.world.advance(86_400)
    scene.talk.say(TALK, BROOK, "Lunch is ready, everybody, come to the kitchen please.")
    scene.talk.say(TALK, BROOK, "In the attic, behind the door.", reply_to=asked["id"])
    await scene.settle()
    text = await scene.texts("ladder boiler room")
    assert "In the attic" in text
    assert "Lunch" not in text


# Who may read


async def agrees(scene: Scene) -> None:
    """Everybody holds what Discord shows them, and nothing else."""
    known = [TALK, CREW, HELP, *scene.guild.threads]
    for person, member in scene.guild.members.items():
        if not member["user"]["bot"]:
            shown = {item for item in known if item in ids(scene) and scene.reads(person, item)}
            assert await scene.held(person) == shown, person


def ids(scene: Scene) -> set[str]:
    private = {k for k, v in scene.guild.threads.items() if v["type"] == PRIVATE_THREAD}
    return set(scene.guild.channels) | private


async def test_roles_given_and_taken_hold_from_the_event_on(scene):
    await agrees(scene)
    scene.talk.change_member(GUILD, BROOK, roles=[ROLE])
    await scene.deliver()  # no one was asked
    assert await scene.held(BROOK) == {TALK, CREW, HELP}
    scene.talk.change_member(GUILD, BROOK, roles=[])
    await scene.deliver()
    assert await scene.held(BROOK) == {TALK, HELP}
    assert await scene.is_known(CREW)


async def test_who_joins_or_leaves_reads_accordingly_from_the_event_on(scene):
    scene.discord.world.add_user(CLEO, "Cleo")
    scene.talk.join(GUILD, CLEO, ROLE)
    await scene.deliver()
    assert await scene.held(CLEO) == {TALK, CREW, HELP}
    scene.talk.leave(GUILD, CLEO)
    await scene.deliver()
    assert await scene.held(CLEO) == set()
    assert not any(token.startswith("w:") for token in (await scene.principal(CLEO)).tokens)


async def test_a_channel_whose_overwrites_change_is_unknown_until_it_was_asked_about(scene):
    scene.talk.overwrite(TALK, deny={GUILD: VIEW}, allow={scene.discord.bot_id: READS})
    await scene.deliver()
    assert not await scene.is_known(TALK)
    assert await scene.held(BROOK) == {HELP}
    assert await scene.shared(CREW) == {CREW, HELP}
    await scene.settle()
    await agrees(scene)
    scene.talk.change_channel(TALK, name="chatter", topic="renamed")
    scene.talk.overwrite(TALK)
    await scene.settle()
    await agrees(scene)
    scene.talk.change_channel(TALK, name="chat")
    await scene.deliver()
    assert await scene.is_known(TALK)  # a name decides nothing


async def test_roles_that_change_make_everything_unknown_but_colours_do_not(scene):
    scene.talk.change_role(GUILD, ROLE, color=255)
    await scene.deliver()
    assert await scene.is_known(CREW)
    scene.talk.change_role(GUILD, GUILD, permissions=USUAL & ~HISTORY)
    await scene.deliver()
    assert not await scene.is_known(TALK)
    assert await scene.held(BROOK) == set()
    scene.talk.change_role(GUILD, GUILD, permissions=USUAL)
    scene.talk.delete_role(GUILD, ROLE)
    await scene.settle()
    await agrees(scene)


async def test_what_a_sync_read_before_an_event_does_not_undo_it(scene):
    keep = await snapshot(scene, CREW)
    scene.talk.change_member(GUILD, ADA, roles=[])
    await scene.deliver()
    await keep()  # Ada was in it when it was read
    assert await scene.held(ADA) == {TALK, HELP}
    keep = await snapshot(scene, TALK)
    scene.talk.overwrite(TALK, deny={BROOK: VIEW})
    await scene.deliver()
    await keep()
    assert not await scene.is_known(TALK)
    await scene.notes.drain()
    assert BROOK not in scene.readers(TALK)
    await agrees(scene)


async def test_what_was_asked_for_an_answer_before_an_event_does_not_undo_it(scene):
    asked_at = clock.now()
    seen = SenderRef("discord", GUILD, ADA, TALK)
    sender = await scene.engine.chats.senders.meet(seen)
    scene.talk.overwrite(TALK, deny={BROOK: VIEW})
    await scene.deliver()
    facts = {"name": "talk", "is_public": True, "members": [ADA, BROOK]}
    people = {item: Person(item, is_full_member=True) for item in (ADA, BROOK)}
    await scene.engine.chats.senders.learn_channel(
        sender, **facts, people=people, asked_at=asked_at
    )
    assert not await scene.is_known(TALK)
    assert TALK not in await scene.held(BROOK)
    await scene.engine.chats.senders.learn_channel(
        sender, **facts, people=people, asked_at=clock.now()
    )
    assert await scene.is_known(TALK)


async def snapshot(scene: Scene, channel: str):
    """Read who is in a channel now; what comes back keeps that, later."""
    from engine.chats import channels
    from ingestion.sources.connected import open_readers

    reader = open_readers(scene.engine)["discord"]
    roster = await reader.read_members(scene.place, channel)

    async def keep() -> None:
        async with scene.engine.db.write() as session:
            id_ = await channels.channel_id_of(session, scene.place, channel)
            known = await accounts.identity_ids_of(session, scene.place, roster.subjects)
            await membership.set_members(session, scene.place, id_, known.values(), at=roster.at)

    return keep


async def test_private_threads_are_their_members_and_moderators_alone(scene):
    thread = scene.talk.start_thread(TALK, ADA, "between us", PRIVATE_THREAD)["id"]
    scene.talk.say(thread, ADA, "The surprise party is on Friday.")
    await scene.settle()
    assert thread not in await scene.held(ADA)  # the bot was not let in
    scene.talk.add_to_thread(thread, scene.discord.bot_id)
    await scene.settle()
    await agrees(scene)
    assert thread in await scene.held(ADA)
    await scene.keep("talk")
    assert "surprise" not in await scene.texts("surprise party friday")
    await scene.keep("between us")
    assert "surprise" in await scene.texts("surprise party friday")
    scene.talk.add_to_thread(thread, BROOK)
    await scene.settle()
    await agrees(scene)
    scene.talk.remove_from_thread(thread, ADA)
    await scene.deliver()
    assert thread not in await scene.held(ADA)
    await scene.settle()
    await agrees(scene)
    assert await scene.texts("surprise party friday") == ""
    scene.talk.change_role(GUILD, ROLE, permissions=1 << 34)
    await scene.settle()
    assert thread in await scene.held(ADA)  # who manages threads sees them all
    scene.talk.change_member(GUILD, ADA, roles=[])
    await scene.deliver()
    assert thread not in await scene.held(ADA)
    await scene.settle()
    await agrees(scene)


async def test_a_channel_the_bot_can_see_no_more_is_hidden_until_it_can(scene):
    scene.talk.say(TALK, BROOK, TOLD)
    await scene.keep("talk")
    scene.talk.overwrite(TALK, deny={scene.discord.bot_id: HISTORY})
    await scene.settle()
    assert TALK not in await scene.held(ADA)
    assert await scene.texts("coffee machine") == ""
    assert len(await scene.stored()) == 1  # an empty answer of Discord's deletes nothing
    scene.talk.overwrite(TALK)
    await scene.settle()
    assert TOLD in await scene.texts("coffee machine")
    await agrees(scene)


async def test_what_happened_while_the_bot_was_offline_is_caught_up_with(scene):
    first = scene.talk.say(TALK, BROOK, "The old text about the ladder in the attic.")
    gone = scene.talk.say(TALK, BROOK, "The secret about the umbrella in the cellar.")
    await scene.keep("talk")
    scene.discord.gateway.sessions.clear()
    scene.talk.edit(TALK, first["id"], "The new text about the ladder in the attic.")
    scene.talk.delete(TALK, gone["id"])
    late = scene.talk.say(TALK, BROOK, "Said while nobody listened to the ladder.")
    scene.talk.leave(GUILD, BROOK)
    scene.reconnect()
    await scene.deliver()
    assert await scene.held(BROOK) == set()
    await scene.settle()
    stored = await scene.stored()
    assert stored[first["id"]] == "The new text about the ladder in the attic."
    assert gone["id"] not in stored
    assert late["id"] in stored
    assert await scene.held(BROOK) == set()
    await agrees(scene)


async def test_without_the_bot_on_the_server_no_one_reads_anything_of_it(scene):
    scene.talk.say(TALK, BROOK, TOLD)
    await scene.keep("talk")
    scene.talk.remove_bot(GUILD)
    await scene.deliver()
    assert await scene.held(ADA) == set()
    scene.talk.invite(GUILD, "Radio")
    await scene.settle()
    await agrees(scene)


async def test_an_unconnected_server_and_an_unknown_channel_are_ignored(scene):
    other = scene.discord.add_guild("800", "Elsewhere")
    scene.discord.add_person(other, CLEO, "Cleo")
    scene.discord.add_channel(other, "8100", "talk")
    scene.discord.gateway.open_guild(other)
    scene.talk.say("8100", CLEO, "Nobody asked for this.")
    scene.talk.change_member("800", CLEO, nick="C")
    await scene.settle()
    assert await scene.stored() == {}
    unknown = {"channel_id": "1", "guild_id": GUILD, "id": "2"}
    for name in ("MESSAGE_DELETE", "THREAD_DELETE", "CHANNEL_DELETE", "THREAD_MEMBERS_UPDATE"):
        await scene.listener.on_event(name, unknown)
    await agrees(scene)


async def test_what_could_not_be_kept_is_tried_again(scene, monkeypatch):
    from engine.errors import Unavailable

    history, placed = scene.engine.chats.history, []

    async def fails_twice(place, person, reads):
        placed.append(person.subject)
        if len(placed) < 3:
            raise Unavailable("The database is busy.")
        await type(history).placed(history, place, person, reads)

    monkeypatch.setattr("bots.discord.history.AGAIN_S", (0.001, 0.002))
    monkeypatch.setattr(history, "placed", fails_twice)
    scene.talk.change_member(GUILD, BROOK, roles=[ROLE])
    scene.talk.change_member(GUILD, BROOK, roles=[])
    await scene.deliver()
    assert placed == [BROOK] * 4
    assert await scene.held(BROOK) == {TALK, HELP}
