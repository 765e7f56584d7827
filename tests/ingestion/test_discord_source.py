"""Discord read over a fake of its REST interface: channels, forums, threads, and who may read."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select

from engine import access, channels, clock, sources
from engine.channels import NewWorkspace
from engine.db.session import open_database
from engine.db.tables import Message, Tenant, Thread
from engine.limits import SqlLimits
from engine.sources import BACKFILL
from ingestion.channel_jobs import channel_handlers
from ingestion.sources.discord import DiscordAccess, DiscordReader
from tests.fakes.chats import START, ChatWorld
from tests.fakes.discord_rest import GUILD, TOKEN, FakeDiscord, open_discord
from tests.ingestion.test_slack_source import Clock, Rig


class DiscordRig(Rig):
    """The same, for a server."""

    def __post_init__(self) -> None:
        reader = DiscordReader(self._access, SqlLimits(self.world.db))
        self.handlers = channel_handlers(self.world.db, self.world.blobs, {"discord": reader})

    async def _access(self, _: Any) -> DiscordAccess:
        return DiscordAccess(TOKEN, self.slack.url, timeout_s=5)


@pytest.fixture
def time(monkeypatch) -> Clock:
    fixed = Clock()
    monkeypatch.setattr(clock, "now", fixed.now)
    return fixed


@pytest.fixture
async def rig(sqlite_databases, tmp_path, time) -> AsyncIterator[DiscordRig]:
    async with open_database(sqlite_databases.new(tmp_path)) as db, open_discord() as discord:
        async with db.write() as session:
            session.add(Tenant(id="acme", key="acme", name="acme"))
        world = await ChatWorld.create(db, tmp_path / "blobs", imported=False)
        async with db.write() as session:
            world.place = await channels.put_workspace(
                session, "acme", NewWorkspace("discord", GUILD, "Radio")
            )
        discord.person("11", "Ada", "50")
        discord.person("12", "Brook")
        discord.person("13", "Bot", bot=True)
        discord.roles.append({"id": "50", "permissions": "0"})
        discord.channel("100", "talk")
        discord.channel("200", "help", 15)
        discord.channel("300", "staff", **{f"x{GUILD}": "deny", "x50": "allow"})
        rig = DiscordRig(world, discord, time)  # type: ignore[arg-type]
        await rig.sync()
        yield rig


def fill(discord: FakeDiscord) -> int:
    """A channel of 250 messages, a forum of eight posts with thirty each; says how many in all."""
    for number in range(250):
        discord.say("100", START + timedelta(minutes=number), "11", f"message number {number}")
    for post in range(8):
        id_ = str(9_000_000_000_000_000 + post)
        archived = f"2026-03-0{post + 1}T00:00:00+00:00" if post < 5 else ""
        discord.thread(id_, "200", f"How do I build {post}?", archived=archived)
        for number in range(30):
            at = START + timedelta(days=post % 3, minutes=number, seconds=post)
            discord.say(id_, at, "12" if number else "11", f"say {number} of {post}")
    return 250 + 8 * 30


async def test_channels_and_forums_are_read_with_all_their_threads(rig):
    fill(rig.slack)
    await rig.add("talk")
    await rig.add("help")
    await rig.work(BACKFILL)
    talk, help_ = await rig.coverage("talk"), await rig.coverage("help")
    assert (talk.state, talk.messages, talk.threads) == ("current", 250, 0)
    assert (help_.state, help_.messages, help_.threads) == ("current", 240, 8)
    async with rig.world.db.read() as session:
        titles = set(await session.scalars(select(Thread.title)))
    assert titles == {f"How do I build {post}?" for post in range(8)}
    await rig.world.derive()
    texts = await rig.world.texts()
    assert sum(key.startswith("thread:") for key in texts) == 8


async def test_storms_of_429_and_faults_lose_nothing(rig):
    fill(rig.slack)
    rig.slack.faults.extend([(429, 3.0), None, (502, 0.0), None, None, (429, 0.5)] * 4)
    await rig.add("talk")
    await rig.add("help")
    await rig.work(BACKFILL)
    assert (await rig.coverage("talk")).messages == 250
    assert (await rig.coverage("help")).messages == 240


async def test_who_may_read_follows_roles_and_overwrites(rig):
    ada, brook = await rig.world.principal("11"), await rig.world.principal("12")
    ids = {}
    async with rig.world.db.read() as session:
        for external_id in ("100", "200", "300"):
            ids[external_id] = await channels.channel_id_of(session, rig.world.place, external_id)
    held = {
        name: {key for key, id_ in ids.items() if access.channel_token(id_) in who.tokens}
        for name, who in (("ada", ada), ("brook", brook))
    }
    assert held == {"ada": {"100", "200", "300"}, "brook": {"100", "200"}}


async def test_a_channel_that_is_denied_to_some_is_not_public(rig):
    rig.slack.channel("400", "muted", x50="deny")
    await rig.sync()
    async with rig.world.db.read() as session:
        [muted] = [
            one
            for one in await channels.list_channels(session, rig.world.owner)
            if one.name == "muted"
        ]
    assert not muted.is_public
    brook, ada = await rig.world.principal("12"), await rig.world.principal("11")
    assert access.channel_token(muted.id) in brook.tokens
    assert access.channel_token(muted.id) not in ada.tokens


async def test_a_forbidden_channel_stops_and_is_hidden(rig):
    rig.slack.forbidden.add("100")
    await rig.add("talk")
    await rig.work(BACKFILL)
    report = await rig.coverage("talk")
    assert report.state == "failed"
    assert "View Channel" in report.error
    assert report.members_synced_at is None


async def test_without_the_content_intent_nothing_is_kept_and_it_is_said(rig):
    fill(rig.slack)
    rig.slack.content_intent = False
    await rig.add("talk")
    await rig.work(BACKFILL)
    assert "Message Content Intent" in (await rig.coverage("talk")).error
    assert await rig.stored() == []


async def test_private_threads_are_left_out(rig):
    rig.slack.thread("9000000000000000", "100", "secret", type_=12)
    rig.slack.say("9000000000000000", START, "11", "The secret plan is to move to Lisbon.")
    rig.slack.say("100", START, "11", "Hello everybody out there.")
    await rig.add("talk")
    await rig.work(BACKFILL)
    assert [text for _, text in await rig.stored()] == ["Hello everybody out there."]


async def test_repair_finds_edits_deletes_and_new_replies(rig):
    discord = rig.slack
    discord.thread("9000000000000000", "100", "The limit")
    kept = discord.say("100", rig.time.at - timedelta(hours=9), "11", "This stays as it is.")
    gone = discord.say("100", rig.time.at - timedelta(hours=8), "11", "This goes away.")
    discord.say("9000000000000000", rig.time.at - timedelta(hours=7), "12", "Use a filter.")
    await rig.add("talk")
    await rig.work(BACKFILL)
    assert len(await rig.stored()) == 3
    discord.messages["100"] = [one for one in discord.messages["100"] if one["id"] != gone]
    discord.messages["100"][0] |= {
        "content": "This was edited.",
        "edited_timestamp": rig.time.at.isoformat(),
    }
    late = discord.say("9000000000000000", rig.time.at, "11", "That worked.")
    rig.time.at += timedelta(hours=1)
    await rig.sync()
    await rig.work(BACKFILL)
    stored = dict(await rig.stored())
    assert stored[kept] == "This was edited."
    assert gone not in stored
    assert stored[late] == "That worked."
    async with rig.world.db.read() as session:
        threads = await session.execute(select(Message.external_id, Message.thread))
        assert dict(row for row in threads)[late] == "9000000000000000"


async def test_a_killed_page_is_read_again(rig):
    from engine import jobs

    fill(rig.slack)
    await rig.add("talk")
    await rig.run(await rig.claim(BACKFILL))
    lost = await rig.claim(BACKFILL)
    async with rig.world.db.read() as session:
        reading = await sources.open_reading(session, lost.payload["source_id"])
    await rig.handlers[BACKFILL]._readers["discord"].read_page(reading)
    rig.time.at += timedelta(seconds=120)
    await jobs.take_back_lapsed(rig.world.db)
    await rig.work(BACKFILL)
    ids = [id_ for id_, _ in await rig.stored()]
    assert len(ids) == len(set(ids)) == 250


async def test_without_the_members_intent_nobody_counts_and_reading_says_so(rig):
    async with rig.world.db.read() as session:
        [before] = {
            one.members_synced_at for one in await channels.list_channels(session, rig.world.owner)
        }
    rig.slack.members_intent = False
    rig.time.at += timedelta(hours=20)
    await rig.sync()
    async with rig.world.db.read() as session:
        found = await channels.list_channels(session, rig.world.owner)
    assert len(found) == 3
    # What was known stays until it is stale; nothing fresh was learned.
    assert {one.members_synced_at for one in found} == {before}
