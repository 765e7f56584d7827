"""What comes from Discord's gateway and is not what Discord documents: passed over, never a fault."""

from __future__ import annotations

import logging
from random import Random
from typing import Any

import pytest

from bots.discord import app, intake
from tests.fakes.discord_rooms import ADA, BOB, GUS, HELP, LEADS, TEAM, DiscordRoom
from tests.fakes.payload_mutations import mutated
from tests.fakes.stored_text import unstorable

SICK = "How many hours of advanced sick leave can I request?"
ROUNDS = 600

Json = dict[str, Any]


def faults(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Records with a traceback, or worse than a warning.

    A worker that stops cancels what it is doing; the pool tells of a connection it had then.
    """
    return [
        record.getMessage()
        for record in caplog.records
        if (record.exc_info or record.levelno >= logging.ERROR)
        and not record.name.startswith("sqlalchemy.pool")
    ]


async def recorded(room: DiscordRoom) -> list[tuple[str, Json]]:
    """Events that a day on the server makes, as the gateway sent them."""
    talk = room.discord.talk
    answer = await room.answer_to(BOB, f"{room.mention} {SICK}")
    await room.press(BOB, answer.buttons, "👍")
    await room.slash(BOB, "ask", {"question": SICK})
    await room.slash(ADA, "kb help")
    written = talk.say(HELP, GUS, "a word")
    talk.edit(HELP, written["id"], "another word")
    talk.delete(HELP, written["id"])
    talk.say(room.discord.dm(BOB), BOB, SICK)
    talk.overwrite(LEADS, allow={GUS: 1 << 10})
    await room.settle()
    return [
        (str(event["t"]), event["d"])
        for session in room.discord.gateway.connected
        for event in session.log
        if event["t"] != "RESUMED"
    ]


HAND_MADE: tuple[tuple[str, Json], ...] = (
    ("GUILD_MEMBER_UPDATE", {"guild_id": "700", "user": {"id": GUS}, "roles": ["902"], "nick": None}),
    ("GUILD_MEMBER_REMOVE", {"guild_id": "700", "user": {"id": "999"}}),
    ("GUILD_ROLE_UPDATE", {"guild_id": "700", "role": {"id": "902", "permissions": "1024"}}),
    ("GUILD_ROLE_DELETE", {"guild_id": "700", "role_id": "903"}),
    ("MESSAGE_DELETE_BULK", {"guild_id": "700", "channel_id": TEAM, "ids": ["1", "2"]}),
    ("MESSAGE_REACTION_ADD", {"guild_id": "700", "channel_id": HELP, "message_id": "5", "user_id": GUS}
     | {"emoji": {"id": None, "name": "x"}}),
    ("THREAD_CREATE", {"id": "888", "guild_id": "700", "parent_id": HELP, "type": 11, "name": "t"}),
    ("THREAD_DELETE", {"id": "888", "guild_id": "700", "parent_id": HELP, "type": 11}),
    ("THREAD_LIST_SYNC", {"guild_id": "700", "threads": [{"id": "887", "type": 12, "parent_id": HELP}]}),
    ("THREAD_MEMBERS_UPDATE", {"id": "887", "guild_id": "700", "removed_member_ids": ["5"]}),
    ("CHANNEL_DELETE", {"id": "899", "guild_id": "700", "type": 0}),
    ("TYPING_START", {"channel_id": HELP}),
)  # fmt: skip


@pytest.mark.parametrize("data", [None, [], "x", 5, {}, {"id": None}, {"id": "1", "user": 5}])
def test_an_event_without_what_it_needs_is_none(data):
    for name, needed in intake.NEEDED.items():
        read = intake.read_event(name, data)
        assert read is None or all(field in read for field in needed), name


def test_a_list_of_servers_that_is_damaged_says_of_none_that_the_bot_left_it():
    whole = {"user": {"id": "1"}, "guilds": [{"id": "700"}, {"id": "701"}]}
    assert intake.read_event("READY", whole) is not None
    for guilds in ([{"id": "700"}, {"id": None}], [{"id": "700"}, 5], None, "700"):
        assert intake.read_event("READY", whole | {"guilds": guilds}) is None


@pytest.mark.slow
@pytest.mark.parametrize("seed", [21, 22])
async def test_no_mutation_of_an_event_is_a_fault_and_good_ones_behind_it_are_answered(
    room: DiscordRoom, caplog, monkeypatch, seed
):
    monkeypatch.setattr(app, "FORM_S", 3600.0)  # however slow the machine is
    events = [*await recorded(room), *HAND_MADE]
    names = {name for name, _ in events}
    assert {"GUILD_CREATE", "INTERACTION_CREATE", "MESSAGE_CREATE", "READY"} <= names
    random = Random(seed)
    for number in range(ROUNDS):
        name, data = random.choice(events)
        wrapped = mutated({"d": data}, random)
        if name == "READY" and (ready := intake.read_event(name, wrapped.get("d"))):
            # One that can be read says which servers the bot has left: that is believed.
            assert all("id" in guild for guild in ready["guilds"])
            continue
        room.bot.gateway._on_event(name, wrapped.get("d"))
        if number % 100 == 0:
            await room.bot.app.aclose()
            assert faults(caplog) == [], (name, wrapped)
    await room.settle()
    assert faults(caplog) == []
    assert await unstorable(room.notes.engine.db) == []
    # What the server is like comes anew, as it does with a new session.
    for name, data in events:
        if name == "GUILD_CREATE":
            room.bot.gateway._on_event(name, data)
    answer = await room.answer_to(ADA, f"{room.mention} {SICK}")
    assert "240 hours" in answer.text
