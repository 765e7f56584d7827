"""The connection to Discord: who holds it, what Discord refuses, and what was said meanwhile."""

from __future__ import annotations

import asyncio

import pytest

from bots.discord import client
from bots.discord.bot import open_discord_bot
from engine.errors import ConfigurationError
from tests.fakes.discord import text_of
from tests.fakes.discord_rooms import ADA, BOB, HELP, open_discord_room, settings_of
from tests.fakes.discord_world import CONTENT, DM_MESSAGES, GUILD_MESSAGES, GUILDS, MEMBERS
from tests.fakes.installations import open_installation, parse_inline

SICK = "How many hours of advanced sick leave can I request?"


async def test_no_intent_is_asked_for_that_nothing_needs(room):
    [identified] = room.discord.gateway.identified
    assert identified["intents"] == GUILDS | GUILD_MESSAGES | DM_MESSAGES | CONTENT | MEMBERS


@pytest.mark.parametrize("content", [True, False])
@pytest.mark.parametrize("members", [True, False])
async def test_what_discord_refuses_is_off_and_named(home, discord, monkeypatch, content, members):
    parse_inline(monkeypatch)
    discord.allow_intents(content=content, members=members)
    async with open_discord_room(home, discord) as room:
        health = (await room.slash(ADA, "kb-admin health")).text
        assert ("message content intent" in health) is not content
        assert ("server members intent" in health) is not members
        shown = await room.answer_to(BOB, f"{room.mention} {SICK}")
        assert "240 hours" in shown.text


async def test_a_token_that_discord_refuses_is_named(home, discord):
    settings = settings_of(discord) | {"discord.bot_token": "wrong"}
    async with open_installation(home, settings) as notes, open_discord_bot(notes.engine) as bot:
        with pytest.raises(ConfigurationError, match=r"discord\.bot_token"):
            await bot.introduce()


async def test_one_process_holds_the_gateway_and_another_takes_over(room, monkeypatch):
    monkeypatch.setattr(client, "LOOK_S", 0.05)
    stop = asyncio.Event()
    async with open_discord_bot(room.notes.engine) as other:
        waiting = asyncio.create_task(other.gateway.run(stop))
        await other.gateway._acquire()
        assert not other.gateway.connected.is_set()
        assert len(room.discord.gateway.identified) == 1
        state = await other.gateway.shared_state()
        assert state is None or state.connected_at
        await room.disconnect()
        await room.discord.until(other.gateway.connected.is_set)
        assert len(room.discord.gateway.identified) == 2
        stop.set()
        await waiting


async def test_a_holder_that_died_is_replaced_once_its_time_is_over(room, monkeypatch):
    monkeypatch.setattr(client, "LOOK_S", 0.05)
    dead = room.bot.gateway
    async with open_discord_bot(room.notes.engine) as other:
        await room.disconnect()
        monkeypatch.setattr(client, "LEASE_S", 0.3)
        assert await dead._acquire()  # and never again
        stop = asyncio.Event()
        waiting = asyncio.create_task(other.gateway.run(stop))
        await room.discord.until(other.gateway.connected.is_set)
        stop.set()
        await waiting


async def test_a_dropped_connection_is_resumed_and_loses_nothing(room):
    await room.discord.gateway.drop()
    room.discord.talk.say(HELP, BOB, f"{room.mention} {SICK}")
    await room.discord.until(lambda: room.bot.gateway.state.resumed)
    await room.settle()
    assert "240 hours" in text_of(room.shown()[0])
    assert len(room.shown()) == 2


async def test_what_was_said_while_a_session_was_lost_is_read_up(room):
    await room.say(BOB, f"{room.mention} hello")
    await room.bot.catching_up.note()
    before = len(room.shown())
    await room.disconnect()
    room.discord.gateway.forget_sessions()
    room.discord.talk.say(HELP, BOB, f"{room.mention} {SICK}")
    room.discord.talk.say(HELP, BOB, "and thanks to all")
    await room.connect()
    assert "240 hours" in text_of(room.shown()[before])
    assert len(room.shown()) == before + 2
    await room.disconnect()
    await room.connect()  # a message that was received is not answered again
    assert len(room.shown()) == before + 2


async def test_several_shards_are_held_at_once(home, discord, monkeypatch):
    parse_inline(monkeypatch)
    discord.gateway.shards = 2
    async with open_discord_room(home, discord) as room:
        assert len(discord.gateway.connected) == 2
        shown = await room.answer_to(BOB, f"{room.mention} {SICK}")
        assert "240 hours" in shown.text
