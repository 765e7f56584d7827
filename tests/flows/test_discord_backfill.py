"""Ten thousand messages of a Discord server read back, through 429s and kill -9: all, and once."""

from __future__ import annotations

import asyncio
import sys
from collections import Counter
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import select

from engine.chats import places, source_jobs
from engine.chats.places import NewWorkspace
from engine.db.session import open_database
from engine.db.tables import Document, Message, Tenant
from tests.fakes.chats import ChatWorld
from tests.fakes.discord import PRIVATE_THREAD, FakeDiscord, Fault, open_discord
from tests.fakes.discord_world import CONNECT, MEDIA, NEWS, STAGE, USUAL, VOICE

ROOT = Path(__file__).resolve().parents[2]
GUILD = "700"
KINDS = {"7100": 0, "7200": NEWS, "7300": VOICE, "7400": STAGE}
NAMES = {"7100": "talk", "7200": "news", "7300": "voice", "7400": "stage"}
FORUMS = {"7500": "help", "7600": "media"}
POSTS, SAYS, IN_TALK = 40, 30, 8_500
KILLS = (5, 30, 31, 60, 100)  # after so many calls in all
HIDDEN = "This was said between two."


def fill(discord: FakeDiscord) -> set[str]:
    """Channels of every kind, threads and posts active and archived; the ids of what was said."""
    talk, guild = discord.talk, discord.add_guild(GUILD)
    guild.roles[GUILD]["permissions"] = str(USUAL | CONNECT)
    for one, name in (("11", "Ada"), ("12", "Brook")):
        discord.add_person(guild, one, name)
    for id_, kind in KINDS.items():
        discord.add_channel(guild, id_, NAMES[id_], kind)
    for id_, name in FORUMS.items():
        discord.add_forum(guild, id_, name, type_=MEDIA if name == "media" else 15)
    begin = discord.world.now() - timedelta(days=60)
    for number in range(IN_TALK):
        said = talk.say(
            "7100", "11", f"message number {number}", at=begin + timedelta(minutes=10 * number)
        )
        if number % 1000 == 0:  # a thread grows from it
            thread = talk.start_thread("7100", "12", f"About {number}", message_id=said["id"])
            talk.say(thread["id"], "12", f"a reply to {number}", at=begin + timedelta(days=1))
    for id_ in ("7200", "7300", "7400"):
        for number in range(100):
            talk.say(
                id_,
                "12",
                f"This was said in {NAMES[id_]}: {number}",
                at=begin + timedelta(hours=number),
            )
    for forum in FORUMS:
        for post in range(POSTS // 2):
            at = begin + timedelta(hours=post)
            thread = talk.post(
                forum, "11", f"Question {post}?", "How is it done in this place?", at=at
            )
            for number in range(1, SAYS):
                talk.say(thread["id"], "12", f"say {number}", at=at + timedelta(minutes=number))
            if post % 2:
                talk.change_thread(thread["id"], archived=True)
                discord.world.advance(1)
    hidden = talk.start_thread("7100", "11", "between us", PRIVATE_THREAD)["id"]
    talk.add_to_thread(hidden, discord.bot_id)
    secret = talk.say(hidden, "11", HIDDEN)["id"]
    here = (row for rows in discord.world.messages.values() for row in rows)
    return {item["id"] for item in here if item["type"] != 21} - {secret}


@pytest.mark.slow
async def test_a_server_that_is_read_through_429s_and_kills_is_kept_whole(
    sqlite_databases, tmp_path
):
    url = sqlite_databases.new(tmp_path)
    async with open_database(url) as db, open_discord() as discord:
        async with db.write() as session:
            session.add(Tenant(id="acme", key="acme", name="acme"))
        world = await ChatWorld.create(db, tmp_path / "blobs", imported=False)
        async with db.write() as session:
            place = await places.put_workspace(
                session, "acme", NewWorkspace("discord", GUILD, "Radio")
            )
            await source_jobs.queue_sync(session, "acme", place.workspace_id)
        said = fill(discord)
        assert len(said) >= 10_000
        discord.routes.archived_page = 5
        assert await played(url, tmp_path, discord, kill_after=None) == 0
        owner = await ChatWorld._owner(db, "acme")
        for name in (*NAMES.values(), *FORUMS.values()):
            await world.history.add(owner, name, world.kb_id)
        before, killed = len(discord.rest.calls), 0
        storm = [Fault(429, retry_after_s=0.2), None, None, Fault(502), None, None, None, None]
        discord.rest.faults.extend(storm * 12)
        for after in KILLS:
            killed += await played(url, tmp_path, discord, kill_after=before + after)
        assert killed == len(KILLS)
        assert await played(url, tmp_path, discord, kill_after=None) == 0
        assert discord.rest.refused_calls >= 10

        async with db.read() as session:
            rows = (await session.execute(select(Message.external_id, Message.text))).all()
            assert Counter(id_ for id_, _ in rows) == Counter(said)
            assert HIDDEN not in {text for _, text in rows}
            held = list(await session.scalars(select(Message.document_id)))
            standing = Counter(
                await session.scalars(
                    select(Document.external_id).where(Document.deleted_at.is_(None))
                )
            )
        assert None not in held
        assert set(standing.values()) == {1}
        assert sum(item.startswith("thread:") for item in standing) == POSTS + IN_TALK // 1000 + 1
        reports = await world.history.coverage(owner)
        assert {report.state for report in reports} == {"current"}
        assert {report.waiting for report in reports} == {0}
        assert sum(report.messages for report in reports) == len(said)


async def played(url: str, folder: Path, discord: FakeDiscord, *, kill_after: int | None) -> int:
    """Run the process until it ends, or kill it after so many calls; says whether it was killed."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.fakes.killable_backfill",
        url,
        str(folder / "blobs"),
        discord.api_base_url,
        "discord",
        cwd=ROOT,
    )
    ended = asyncio.ensure_future(process.wait())
    while not ended.done():
        if kill_after is not None and len(discord.rest.calls) >= kill_after:
            process.kill()
            await ended
            return 1
        await asyncio.sleep(0.002)
    assert ended.result() == 0
    return 0
