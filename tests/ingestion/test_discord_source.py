"""Discord read over a fake of its REST interface: channels, forums, threads, and who may read."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select

from engine import clock
from engine.access import gate
from engine.chats import channels, membership, places, source_jobs, source_reading
from engine.chats.places import NewWorkspace
from engine.db.session import open_database
from engine.db.tables import Message, Tenant, Thread
from engine.jobs import leases
from engine.jobs.kinds import BACKFILL
from engine.limits import SqlLimits
from ingestion.channel_jobs import channel_handlers
from ingestion.sources.discord import FORBIDDEN_MAX, DiscordReader
from ingestion.sources.discord_rest import DiscordAccess
from ingestion.sources.reader import Wait
from tests.fakes.chats import START, ChatWorld
from tests.fakes.discord import PRIVATE_THREAD, TOKEN, FakeDiscord, Fault, open_discord
from tests.fakes.discord_world import HISTORY, VIEW
from tests.ingestion.test_slack_source import Clock, Rig

GUILD = "700"
READS = VIEW | HISTORY


class DiscordRig(Rig):
    """The same, for a server."""

    def __post_init__(self) -> None:
        reader = DiscordReader(self._access, SqlLimits(self.world.db))
        self.handlers = channel_handlers(self.world.db, self.world.blobs, {"discord": reader})

    async def _access(self, _: Any) -> DiscordAccess:
        return DiscordAccess(TOKEN, self.slack.api_base_url, timeout_s=60)


@pytest.fixture
def time(monkeypatch) -> Clock:
    fixed = Clock()
    monkeypatch.setattr(clock, "now", fixed.now)
    return fixed


@pytest.fixture
async def rig(sqlite_databases, tmp_path, time) -> AsyncIterator[DiscordRig]:
    async with (
        open_database(sqlite_databases.new(tmp_path)) as db,
        open_discord(time.at) as discord,
    ):
        async with db.write() as session:
            session.add(Tenant(id="acme", key="acme", name="acme"))
        world = await ChatWorld.create(db, tmp_path / "blobs", imported=False)
        async with db.write() as session:
            world.place = await places.put_workspace(
                session, "acme", NewWorkspace("discord", GUILD, "Radio")
            )
        guild = discord.add_guild(GUILD)
        discord.add_role(guild, "50", "crew")
        discord.add_person(guild, "11", "Ada", "50")
        discord.add_person(guild, "12", "Brook")
        discord.add_channel(guild, "100", "talk")
        discord.add_forum(guild, "200", "help", "build")
        bot = {discord.bot_id: READS}
        discord.add_channel(guild, "300", "staff", deny={GUILD: VIEW}, allow={"50": READS} | bot)
        rig = DiscordRig(world, discord, time)  # type: ignore[arg-type]
        await rig.sync()
        yield rig


def fill(discord: FakeDiscord) -> int:
    """A channel of 250 messages, a forum of eight posts with thirty each; says how many in all."""
    for number in range(250):
        at = START + timedelta(minutes=number)
        discord.talk.say("100", "11", f"message number {number}", at=at)
    for post in range(8):
        begun = START + timedelta(days=post % 3, seconds=post)
        thread = discord.talk.post("200", "11", f"How do I build {post}?", "say 0", at=begun)
        for number in range(1, 30):
            at = begun + timedelta(minutes=number)
            discord.talk.say(thread["id"], "12", f"say {number} of {post}", at=at)
        if post < 5:
            at = f"2026-03-0{post + 1}T00:00:00+00:00"
            discord.talk.change_thread(thread["id"], archived=True, archive_timestamp=at)
    discord.routes.archived_page = 3
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
    told = [Fault(429, retry_after_s=3), None, Fault(502), None, None, Fault(429, retry_after_s=1)]
    rig.slack.rest.faults.extend(told * 4)
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
        name: {key for key, id_ in ids.items() if gate.channel_token(id_) in who.tokens}
        for name, who in (("ada", ada), ("brook", brook))
    }
    assert held == {"ada": {"100", "200", "300"}, "brook": {"100", "200"}}


async def test_a_channel_that_is_denied_to_some_is_not_public(rig):
    rig.slack.add_channel(rig.slack.world.guilds[GUILD], "400", "muted", deny={"50": VIEW})
    await rig.sync()
    async with rig.world.db.read() as session:
        [muted] = [
            channel
            for channel in await channels.list_channels(session, rig.world.owner)
            if channel.name == "muted"
        ]
    assert not muted.is_public
    brook, ada = await rig.world.principal("12"), await rig.world.principal("11")
    assert gate.channel_token(muted.id) in brook.tokens
    assert gate.channel_token(muted.id) not in ada.tokens


async def test_a_forbidden_channel_stops_and_is_hidden(rig):
    rig.slack.talk.overwrite("100", deny={rig.slack.bot_id: VIEW})
    await rig.add("talk")
    await rig.work(BACKFILL)
    report = await rig.coverage("talk")
    assert report.state == "failed"
    assert "View Channel" in report.error
    assert report.members_synced_at is None


async def test_without_the_content_intent_nothing_is_kept_and_it_is_said(rig):
    fill(rig.slack)
    rig.slack.allow_intents(content=False)
    await rig.add("talk")
    await rig.work(BACKFILL)
    assert "Message Content Intent" in (await rig.coverage("talk")).error
    assert await rig.stored() == []


async def test_private_threads_are_left_out(rig):
    thread = rig.slack.talk.start_thread("100", "11", "secret", PRIVATE_THREAD)
    rig.slack.talk.add_to_thread(thread["id"], rig.slack.bot_id)
    rig.slack.talk.say(thread["id"], "11", "The secret plan is to move to Lisbon.", at=START)
    rig.slack.talk.say("100", "11", "Hello everybody out there.", at=START)
    await rig.add("talk")
    await rig.work(BACKFILL)
    assert [text for _, text in await rig.stored()] == ["Hello everybody out there."]


async def test_repair_finds_edits_deletes_and_new_replies(rig):
    talk, at = rig.slack.talk, rig.time.at
    first = talk.say("100", "12", "What is the limit?", at=at - timedelta(hours=9, minutes=5))
    kept = talk.say("100", "11", "This stays as it is.", at=at - timedelta(hours=9))["id"]
    gone = talk.say("100", "11", "This goes away.", at=at - timedelta(hours=8))["id"]
    thread = talk.start_thread("100", "12", "The limit", message_id=first["id"])["id"]
    talk.say(thread, "12", "Use a filter.", at=at - timedelta(hours=7))
    await rig.add("talk")
    await rig.work(BACKFILL)
    assert {text for _, text in await rig.stored()} >= {"This goes away.", "Use a filter."}
    talk.delete("100", gone)
    talk.edit("100", kept, "This was edited.")
    late = talk.say(thread, "11", "That worked.", at=at)["id"]
    rig.time.at += timedelta(hours=1)
    await rig.sync()
    await rig.work(BACKFILL)
    stored = dict(await rig.stored())
    assert stored[kept] == "This was edited."
    assert gone not in stored
    assert stored[late] == "That worked."
    async with rig.world.db.read() as session:
        threads = await session.execute(select(Message.external_id, Message.thread))
        assert dict(row for row in threads)[late] == thread


async def test_a_killed_page_is_read_again(rig):

    fill(rig.slack)
    await rig.add("talk")
    await rig.run(await rig.claim(BACKFILL))
    lost = await rig.claim(BACKFILL)
    async with rig.world.db.read() as session:
        reading = await source_reading.open_reading(session, lost.payload["source_id"])
    await rig.handlers[BACKFILL]._readers["discord"].read_page(reading)
    rig.time.at += timedelta(seconds=120)
    await leases.take_back_lapsed(rig.world.db)
    await rig.work(BACKFILL)
    ids = [id_ for id_, _ in await rig.stored()]
    assert len(ids) == len(set(ids)) == 250


async def test_without_the_members_intent_nobody_counts_and_reading_says_so(rig):
    async with rig.world.db.read() as session:
        [before] = {
            channel.members_synced_at
            for channel in await channels.list_channels(session, rig.world.owner)
        }
    rig.slack.allow_intents(members=False)
    rig.time.at += timedelta(hours=20)
    await rig.sync()
    async with rig.world.db.read() as session:
        found = await channels.list_channels(session, rig.world.owner)
    assert len(found) == 3
    # What was known stays until it is stale; nothing fresh was learned.
    assert {item.members_synced_at for item in found} == {before}


async def test_a_few_threads_that_may_not_be_read_stop_the_channel(rig):
    fill(rig.slack)
    threads = list(rig.slack.world.guilds[GUILD].threads)
    for thread in threads:
        rig.slack.rest.fail("GET", f"/channels/{thread}/messages", Fault(403, code=50001), times=99)
    await rig.add("help")
    await rig.work(BACKFILL)
    report = await rig.coverage("help")
    assert (report.state, report.members_synced_at) == ("failed", None)
    assert rig.slack.rest.refused_calls == FORBIDDEN_MAX < len(threads)


async def test_a_deleted_thread_is_passed_over(rig):
    fill(rig.slack)
    threads = list(rig.slack.world.guilds[GUILD].threads)
    for thread in threads[:6]:
        rig.slack.rest.fail("GET", f"/channels/{thread}/messages", Fault(404, code=10003), times=99)
    await rig.add("help")
    await rig.work(BACKFILL)
    report = await rig.coverage("help")
    assert (report.state, report.messages) == ("current", 60)


async def test_too_many_refusals_let_every_worker_rest(rig, monkeypatch):
    monkeypatch.setattr("ingestion.sources.discord_rest.REFUSALS", 3)
    fill(rig.slack)
    rig.slack.rest.faults.extend([Fault(429, retry_after_s=1)] * 4)
    await rig.add("talk")
    for _ in range(5):
        job = await rig.claim(BACKFILL)
        await rig.handlers[BACKFILL].run(job)
        rig.time.at += timedelta(seconds=2)
    report = await rig.coverage("talk")
    assert report.next_try_at - rig.time.at > timedelta(minutes=9)
    calls = len(rig.slack.rest.calls)
    other = DiscordReader(rig._access, SqlLimits(rig.world.db))
    with pytest.raises(Wait):
        await other.read_channels(rig.world.place)  # another process, another purpose
    assert len(rig.slack.rest.calls) == calls
    await rig.work(BACKFILL)
    assert (await rig.coverage("talk")).messages == 250


async def test_cloudflares_429_and_a_global_one_hold_for_every_server(rig):
    for fault in (Fault(429, via=False, retry_after_s=30), Fault(429, 30.0, is_global=True)):
        rig.slack.rest.faults.append(fault)
        reader = rig.handlers[BACKFILL]._readers["discord"]
        elsewhere = replace(rig.world.place, external_id="701", workspace_id="other")
        with pytest.raises(Wait):
            await reader.read_people(rig.world.place)
        with pytest.raises(Wait, match="asked to wait"):
            await reader.read_people(elsewhere)
        rig.time.at += timedelta(seconds=31)
    await reader.read_people(rig.world.place)


async def test_a_history_that_is_shown_no_more_is_no_empty_channel(rig):
    fill(rig.slack)
    await rig.add("talk")
    await rig.work(BACKFILL)
    rig.slack.talk.overwrite("100", deny={rig.slack.bot_id: HISTORY})
    rig.time.at += timedelta(hours=1)
    async with rig.world.db.write() as session:
        await source_jobs.ask_for_repair(session, rig.world.place.workspace_id)
        await membership.forget_every_membership(session, rig.world.place)
    await rig.work(BACKFILL)
    report = await rig.coverage("talk")
    assert (report.state, report.messages) == ("failed", 250)
    assert "Read Message History" in report.error


async def test_bots_are_nobodys_readers_and_tags_have_names(rig):
    reader = rig.handlers[BACKFILL]._readers["discord"]
    roster = await reader.read_members(rig.world.place, "100")
    assert set(roster.subjects) == {"11", "12"}
    rig.slack.talk.post("200", "11", "How?", "How is this built?", tags=["build"])
    await rig.add("help")
    await rig.work(BACKFILL)
    async with rig.world.db.read() as session:
        [details] = await session.scalars(select(Thread.details))
    assert details["tags"] == ["build"]
