"""A bot that is killed while it shows an answer: another continues in the same message."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from pathlib import Path

import pytest
from sqlalchemy import select

from engine.db.tables import Job, Post
from engine.jobs import leases
from tests.fakes.slack_rooms import said

ROOT = Path(__file__).parents[3]
SICK = "How many hours of advanced sick leave can I request?"


async def run_bot(home: Path, base_url: str, method: str = "") -> int:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.fakes.killable_bot", str(home), base_url, method, cwd=ROOT
    )
    async with asyncio.timeout(240):
        return await process.wait()


@pytest.mark.slow
@pytest.mark.parametrize(
    "method", ["chat.startStream", "chat.appendStream", "chat.stopStream", "chat.update"]
)
async def test_killed_at_any_moment_an_answer_is_shown_once_and_whole(place, home, method):
    slack = place.slack
    event = slack.write(place.team, "C1", "UBOB", f"{place.mention} {SICK}")
    assert (await place.event(event)).status == 200
    assert await run_bot(home, slack.base_url, method) == -signal.SIGKILL
    await leases.take_over_all(place.notes.engine.db)  # its lease is over
    assert await run_bot(home, slack.base_url) == 0
    [shown] = slack.shown(place.team, "C1")
    assert shown["thread_ts"] == event["ts"]
    assert "240 hours" in said(shown)
    assert "streaming_until" not in shown
    assert [block["type"] for block in shown["blocks"]][-1] == "context_actions"
    async with place.notes.engine.db.read() as session:
        assert await session.scalar(select(Post.state)) == "ended"
        answers = await session.execute(
            select(Job.kind, Job.state).where(Job.kind.like("answer:%"))
        )
        assert [tuple(row) for row in answers] == [("answer:slack", "done")]
    assert await run_bot(home, slack.base_url) == 0
    assert len(slack.shown(place.team, "C1")) == 1
    assert json.dumps(slack.calls).count("chat.startStream") <= 2
