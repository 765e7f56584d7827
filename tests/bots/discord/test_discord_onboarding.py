"""How a server is connected, what an unconnected one hears, and what leaving means."""

from __future__ import annotations

import pytest
from sqlalchemy import func, select

from engine.db.tables import Channel, Identity, Job, Workspace
from engine.jobs.kinds import SYNC_WORKSPACE
from tests.fakes.discord import text_of
from tests.fakes.discord_rooms import BOB, GUILD, HELP
from tests.fakes.discord_world import MANAGE_SERVER

SICK = "How many hours of advanced sick leave can I request?"
OTHER, THERE, MALLORY, TRENT = "7100", "8101", "201", "202"


@pytest.fixture
async def other(room):
    """Another server: Trent manages it, Mallory is on it."""
    guild = room.discord.world.add_guild(OTHER, "Elsewhere")
    room.discord.add_role(guild, "9101", "managers", MANAGE_SERVER)
    room.discord.add_person(guild, TRENT, "Trent", "9101")
    room.discord.add_person(guild, MALLORY, "Mallory")
    room.discord.add_channel(guild, THERE, "lobby")
    room.discord.talk.invite(OTHER, "Elsewhere")
    await room.settle()
    return guild


async def count(room, table):
    async with room.notes.engine.db.read() as session:
        return await session.scalar(select(func.count()).select_from(table))


async def test_a_new_server_gets_one_explanation_and_nothing_of_it_is_stored(room, other):
    before = [await count(room, table) for table in (Workspace, Channel, Identity)]
    [explained] = room.shown()
    assert explained["channel_id"] == THERE
    assert "not connected" in text_of(explained)
    [again] = await room.say(MALLORY, f"{room.mention} {SICK}", channel=THERE)
    assert "not connected" in text_of(again)
    for _ in range(3):  # not to everyone who tries
        await room.say(MALLORY, f"{room.mention} {SICK}", channel=THERE)
    assert len(room.shown()) <= 3
    assert await room.say(MALLORY, "what is this?", channel=THERE) == []
    used = await room.slash(MALLORY, "ask", {"question": SICK}, channel=THERE)
    assert "not connected" in used.text
    assert before == [await count(room, table) for table in (Workspace, Channel, Identity)]


async def test_a_key_connects_one_server_by_who_manages_it(room, other):
    key = room.notes.engine.chats.installations.sign_key(room.notes.owner)
    refused = await room.slash(MALLORY, "kb register", {"key": key}, channel=THERE)
    assert "Manage Server" in refused.text
    bad = await room.slash(TRENT, "kb register", {"key": "nonsense"}, channel=THERE)
    assert "not valid" in bad.text
    done = await room.slash(TRENT, "kb register", {"key": key}, channel=THERE)
    assert "**Elsewhere** is connected" in done.text
    async with room.notes.engine.db.read() as session:  # its channels are asked for
        theirs = select(Workspace.id).where(Workspace.external_id == OTHER)
        workspace_id = await session.scalar(theirs)
        queued = await session.scalars(select(Job).where(Job.kind == SYNC_WORKSPACE))
        assert [job.payload["workspace_id"] for job in queued].count(workspace_id) == 1
    hello = room.shown()[-1]
    assert hello["channel_id"] == THERE
    assert "Mention me with a question" in text_of(hello)
    again = await room.slash(TRENT, "kb register", {"key": key}, channel=THERE)
    assert "is connected" in again.text  # said twice, done once
    shown = await room.slash(TRENT, "kb-admin roles show", channel=THERE)
    assert "Trent" in shown.text
    form = room.discord.interactions.press(TRENT, hello, "Bind this channel")
    await room.settle()
    assert form.modal is not None
    room.discord.interactions.submit(form, kb=["notes"], mode=["mention"])
    await room.settle()
    from_here = await room.slash(TRENT, "kb-admin show", {"channel": THERE}, channel=THERE)
    assert "notes" in from_here.text


async def test_a_key_is_good_for_one_server(room, other):
    chat = room.notes.engine.chats
    key = chat.installations.sign_key(room.notes.owner)
    await chat.installations.redeem_key(key, "12345")
    used = await room.slash(TRENT, "kb register", {"key": key}, channel=THERE)
    assert "has been used" in used.text


async def test_a_server_that_throws_the_bot_out_pauses_and_needs_a_new_key(room):
    room.discord.talk.remove_bot(GUILD)
    await room.settle()
    [installed] = await room.notes.engine.chats.installations.list_all()
    assert installed.state == "paused"
    room.discord.talk.invite(GUILD, "Radio")
    await room.settle()
    [explained] = await room.say(BOB, f"{room.mention} {SICK}")
    assert "not connected" in text_of(explained)


async def test_an_outage_is_no_leaving(room):
    room.discord.talk.outage(GUILD)
    await room.settle()
    [installed] = await room.notes.engine.chats.installations.list_all()
    assert installed.state == "active"


async def test_a_server_that_threw_the_bot_out_while_it_was_down_pauses(room):
    await room.disconnect()
    room.discord.gateway.forget_sessions()
    room.discord.talk.remove_bot(GUILD)
    await room.connect()
    [installed] = await room.notes.engine.chats.installations.list_all()
    assert installed.state == "paused"


async def test_an_admin_of_one_server_is_none_of_another(room, other):
    """The same account on both: what it may do here says nothing of there."""
    key = room.notes.engine.chats.installations.sign_key(room.notes.owner)
    await room.slash(TRENT, "kb register", {"key": key}, channel=THERE)
    room.discord.add_person(room.guild, TRENT, "Trent")
    for command in room.discord.interactions.commands[""]:
        command.pop("default_member_permissions", None)
    refused = await room.slash(TRENT, "kb-admin health", channel=HELP)
    assert "for admins" in refused.text
