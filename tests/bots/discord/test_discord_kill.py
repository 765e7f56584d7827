"""A Discord bot that is killed while it shows an answer: another continues in the same message."""

from __future__ import annotations

import asyncio
import signal
import sys
from pathlib import Path

import pytest
from sqlalchemy import select

from engine.db.tables import Job, Post
from engine.jobs import leases
from tests.fakes.discord import FakeDiscord, text_of
from tests.fakes.discord_rooms import BOB, HELP

ROOT = Path(__file__).parents[3]
SICK = "How many hours of advanced sick leave can I request?"


async def run_bot(home: Path, discord: FakeDiscord, call: str = "") -> int:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.fakes.killable_discord_bot",
        str(home),
        discord.api_base_url,
        discord.gateway_url,
        call,
        cwd=ROOT,
    )
    async with asyncio.timeout(240):
        return await process.wait()


@pytest.mark.slow
@pytest.mark.parametrize("forgets", [False, True], ids=["", "and-discord-forgets-the-nonce"])
@pytest.mark.parametrize(
    "call",
    [
        r"POST channels/\d+/messages/\d+/threads 1",
        r"POST channels/\d+/messages 1",
        r"POST channels/\d+/messages 2",
        r"PATCH channels/\d+/messages/\d+ 1",
    ],
    ids=["thread", "first-message", "sources", "edit"],
)
async def test_killed_at_any_moment_an_answer_is_shown_once_and_whole(room, home, call, forgets):
    discord = room.discord
    question = discord.talk.say(HELP, BOB, f"{room.mention} {SICK}")
    await discord.until(lambda: room.bot.gateway.state.events >= room.sent_events())
    await room.bot.app.aclose()
    assert await run_bot(home, discord, call) == -signal.SIGKILL
    if forgets:
        discord.routes._nonces.clear()
    await leases.take_over_all(room.notes.engine.db)  # its lease is over
    assert await run_bot(home, discord) == 0
    text, details = room.shown()
    assert text["channel_id"] == details["channel_id"] == question["id"]
    assert "240 hours" in text_of(text)
    assert not text["content"].endswith("…")
    assert "docs.example/leave" in text_of(details)
    async with room.notes.engine.db.read() as session:
        assert await session.scalar(select(Post.state)) == "ended"
        answers = await session.execute(
            select(Job.kind, Job.state).where(Job.kind.like("answer:%"))
        )
        assert [tuple(row) for row in answers] == [("answer:discord", "done")]
    assert await run_bot(home, discord) == 0
    assert len(room.shown()) == 2
