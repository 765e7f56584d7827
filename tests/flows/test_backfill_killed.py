"""kill -9 amid reading a channel back: nothing is missing, nothing is there twice."""

from __future__ import annotations

import asyncio
import sys
import time
from collections import Counter
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import select

from engine.chats import source_jobs
from engine.db.session import open_database
from engine.db.tables import Document, Message, Tenant
from tests.fakes.chats import ChatWorld
from tests.fakes.slack_web import FakeSlack, open_slack

ROOT = Path(__file__).resolve().parents[2]
KILLS = (2, 3, 5, 9)  # after so many calls in all


def fill(slack: FakeSlack) -> None:
    """Two thousand messages with eight threads, up to an hour ago."""
    begin = time.time() - 3600 - 2000 * 300
    for number in range(2000):
        at = f"{begin + number * 300:.6f}"
        message = {"type": "message", "ts": at, "user": "U1", "text": f"message number {number}"}
        slack.messages["C1"].append(message)
        if number % 250 == 0:
            reply = f"{begin + number * 300 + 1:.6f}"
            message |= {"thread_ts": at, "reply_count": 1, "latest_reply": reply}
            slack.messages["C1"].append(
                {"type": "message", "ts": reply, "thread_ts": at, "user": "U2", "text": "A reply."}
            )


@pytest.mark.slow
async def test_a_backfill_that_is_killed_again_and_again_ends_whole(
    sqlite_databases, tmp_path
) -> None:
    url = sqlite_databases.new(tmp_path)
    async with open_database(url) as db, open_slack(time.time) as slack:
        async with db.write() as session:
            session.add(Tenant(id="acme", key="acme", name="acme"))
        world = await ChatWorld.create(db, tmp_path / "blobs", imported=False)
        slack.throttle = False
        slack.person("U1", "Ada")
        slack.person("U2", "Brook")
        slack.channel("C1", "general", members=["U1", "U2"])
        fill(slack)
        async with db.write() as session:
            place = world.place
            await source_jobs.queue_sync(session, place.tenant_id, place.workspace_id)
        await played(url, tmp_path, slack, kill_after=None)  # people, channels, members
        owner = await ChatWorld._owner(db, "acme")
        await world.history.add(owner, "general", world.kb_id)
        before = slack.calls.total()
        killed = 0
        for after in KILLS:
            killed += await played(url, tmp_path, slack, kill_after=before + after)
        assert killed == len(KILLS)
        assert await played(url, tmp_path, slack, kill_after=None) == 0

        [report] = await world.history.coverage(owner, "general")
        assert (report.state, report.messages, report.waiting) == ("current", 2008, 0)
        async with db.read() as session:
            ids = list(await session.scalars(select(Message.external_id)))
            assert Counter(ids) == Counter(str(message["ts"]) for message in slack.messages["C1"])
            standing = list(
                await session.scalars(
                    select(Document.external_id).where(Document.deleted_at.is_(None))
                )
            )
            held = list(await session.scalars(select(Message.document_id)))
        assert len(standing) == len(set(standing))
        assert None not in held
        assert sum(item.startswith("thread:") for item in standing) == 8
        # Windows of talk without a pause hold two hours each.
        assert report.newest - report.oldest > timedelta(days=6)


async def played(url: str, folder: Path, slack: FakeSlack, *, kill_after: int | None) -> int:
    """Run the process until it ends, or kill it after so many calls; says whether it was killed."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.fakes.killable_backfill",
        url,
        str(folder / "blobs"),
        slack.url,
        cwd=ROOT,
    )
    ended = asyncio.ensure_future(process.wait())
    while not ended.done():
        if kill_after is not None and slack.calls.total() >= kill_after:
            process.kill()
            await ended
            return 1
        await asyncio.sleep(0.002)
    assert ended.result() == 0
    return 0
