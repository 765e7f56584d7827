"""Slack read over a fake of its Web API: all of it, once, whatever happens on the way."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import func, select

from engine import clock
from engine.access import gate
from engine.chats import channels, coverage, source_jobs, source_reading
from engine.chats.messages import Stored
from engine.db.tables import Channel, ChannelMember, Identity, Job, Message, Source
from engine.domain import JobState
from engine.jobs import endings, leases
from engine.jobs.claims import claim
from engine.jobs.kinds import BACKFILL, SYNC_CHANNEL, SYNC_WORKSPACE
from engine.jobs.leases import ClaimedJob
from engine.limits import SqlLimits
from ingestion.channel_jobs import channel_handlers
from ingestion.sources.slack import SlackAccess, SlackReader
from tests.fakes.chats import START, ChatWorld, ts
from tests.fakes.slack_web import TOKEN, FakeSlack, Fault, open_slack

KINDS = (BACKFILL, SYNC_CHANNEL, SYNC_WORKSPACE)


class Clock:
    def __init__(self) -> None:
        self.at = START + timedelta(days=10)

    def now(self):
        return self.at


@pytest.fixture
def time(monkeypatch) -> Clock:
    fixed = Clock()
    monkeypatch.setattr(clock, "now", fixed.now)
    return fixed


@dataclass
class Rig:
    """A live workspace, the fake it stands for, and a worker that takes one job at a time."""

    world: ChatWorld
    slack: FakeSlack
    time: Clock
    reading: str = "index"
    ran: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        reader = SlackReader(self._access, SqlLimits(self.world.db))
        self.handlers = channel_handlers(self.world.db, self.world.blobs, {"slack": reader})

    async def _access(self, _: Any) -> SlackAccess:
        return SlackAccess(TOKEN, self.slack.url, self.reading, timeout_s=60)

    async def add(self, channel: str) -> coverage.Coverage:
        return await self.world.history.add(self.world.owner, channel, self.world.kb_id)

    async def sync(self) -> None:
        async with self.world.db.write() as session:
            place = self.world.place
            await source_jobs.queue_sync(session, place.tenant_id, place.workspace_id)
        await self.work(SYNC_WORKSPACE, SYNC_CHANNEL)
        self.world.owner = await ChatWorld._owner(self.world.db, "acme")

    async def claim(self, *kinds: str) -> ClaimedJob | None:
        found = await claim(self.world.db, "worker", kinds=kinds or KINDS, lease_s=60)
        return found[0] if found else None

    async def work(self, *kinds: str, longest: timedelta = timedelta(hours=10)) -> int:
        """Run jobs until none is left that is due before long; the clock goes to the next."""
        ran, until = 0, self.time.at + longest
        while ran < 5000:
            job = await self.claim(*kinds)
            if job is None:
                due = await self._next_due(kinds or KINDS)
                if due is None or due > until:
                    return ran
                self.time.at = max(due, self.time.at + timedelta(milliseconds=10))
                continue
            await self.run(job)
            ran += 1
        raise AssertionError("the jobs never end")

    async def run(self, job: ClaimedJob) -> None:
        from engine.errors import Unavailable

        self.ran.append(job.kind)
        try:
            finished = await self.handlers[job.kind].run(job)
        except Unavailable as error:
            async with self.world.db.write() as session:
                state = await endings.fail(session, job, str(error), retry=True)
                handler = self.handlers[job.kind]
                if state is JobState.QUEUED:
                    await handler.waiting(session, job, str(error))
                else:
                    await handler.failed(session, job, str(error), "unavailable")
            return
        if not finished:
            async with self.world.db.write() as session:
                await endings.finish(session, job)

    async def _next_due(self, kinds):
        async with self.world.db.read() as session:
            return await session.scalar(
                select(func.min(Job.run_at)).where(
                    Job.state == JobState.QUEUED, Job.kind.in_(kinds)
                )
            )

    async def coverage(self, channel: str) -> coverage.Coverage:
        [one] = await self.world.history.coverage(self.world.owner, channel)
        return one

    async def stored(self) -> list[tuple[str, str]]:
        async with self.world.db.read() as session:
            rows = await session.execute(
                select(Message.external_id, Message.text)
                .where(Message.deleted_at.is_(None))
                .order_by(Message.position)
            )
            return [(row.external_id, row.text) for row in rows]


@pytest.fixture
async def rig(sqlite_databases, tmp_path, time) -> AsyncIterator[Rig]:
    from engine.db.session import open_database
    from engine.db.tables import Tenant

    async with (
        open_database(sqlite_databases.new(tmp_path)) as db,
        open_slack(lambda: time.now().timestamp()) as slack,
    ):
        async with db.write() as session:
            session.add(Tenant(id="acme", key="acme", name="acme"))
        world = await ChatWorld.create(db, tmp_path / "blobs", imported=False)
        slack.person("U1", "Ada")
        slack.person("U2", "Brook")
        slack.person("U9", "Gus", is_restricted=True)
        slack.channel("C1", "general", members=["U1", "U2", "U9"])
        slack.channel("C2", "staff", private=True, members=["U1"])
        rig = Rig(world, slack, time)
        await rig.sync()
        yield rig


def fill(slack: FakeSlack, count: int, *, every: int = 10, replies: int = 2) -> None:
    """Messages five minutes apart, every tenth a thread; kept in order without sorting each time."""
    here = slack.messages["C1"]
    for number in range(count):
        at = ts(number * 5 - count * 5)
        message = {"type": "message", "ts": at, "user": "U1", "text": f"message number {number}"}
        here.append(message)
        if number % every == 0 and replies:
            own = [
                {
                    "type": "message",
                    "ts": f"{at[:-1]}{reply + 1}",
                    "thread_ts": at,
                    "user": "U2",
                    "text": f"reply {reply} to {number}",
                }
                for reply in range(replies)
            ]
            message |= {"thread_ts": at, "reply_count": replies, "latest_reply": own[-1]["ts"]}
            here.extend(own)


async def test_a_channel_is_read_newest_first_to_its_beginning(rig):
    fill(rig.slack, 1200)
    report = await rig.add("general")
    assert (report.state, report.messages) == ("reading", 0)
    await rig.run(await rig.claim())
    first = await rig.coverage("general")
    assert first.messages == 500
    assert first.newest is not None
    assert first.newest - first.oldest < timedelta(minutes=5 * 501)
    assert [gap.reason for gap in first.gaps] == ["not read yet"]
    assert first.eta_s is not None
    await rig.work()
    report = await rig.coverage("general")
    assert (report.state, report.messages, report.threads) == ("current", 1440, 120)
    assert report.gaps == []
    assert len(await rig.stored()) == len(rig.slack.messages["C1"])


async def test_ten_thousand_messages_amid_storms_of_429_come_once_each(rig):
    fill(rig.slack, 10_000, every=100)
    storm = [Fault(429, retry_after_s=7), None, Fault(503), None, None, Fault(0), None]
    rig.slack.faults["conversations.history"].extend(storm * 6)
    rig.slack.faults["conversations.replies"].extend(storm * 6)
    await rig.add("general")
    await rig.work()
    report = await rig.coverage("general")
    assert (report.state, report.error, report.messages) == ("current", "", 10_200)
    ids = [id_ for id_, _ in await rig.stored()]
    assert ids == sorted({str(message["ts"]) for message in rig.slack.messages["C1"]})
    # Within the budget Slack itself never had to refuse: only the storm did.
    assert rig.slack.calls["conversations.history"] <= 21 + 3 * 6


async def test_a_killed_worker_repeats_one_page_and_nothing_else(rig):
    fill(rig.slack, 1600, replies=0)
    await rig.add("general")
    await rig.run(await rig.claim())
    lost = await rig.claim()  # its worker dies with the page read and not yet kept
    async with rig.world.db.read() as session:
        reading = await source_reading.open_reading(session, lost.payload["source_id"])
    reader = rig.handlers[BACKFILL]._readers["slack"]
    await reader.read_page(reading)
    rig.time.at += timedelta(seconds=120)  # the lease lapses

    assert await leases.take_back_lapsed(rig.world.db) == 1
    await rig.work()
    report = await rig.coverage("general")
    assert (report.state, report.messages) == ("current", 1600)
    assert rig.slack.calls["conversations.history"] == 5


async def test_two_workers_on_one_page_keep_it_once(rig):
    from engine.errors import LeaseLost

    fill(rig.slack, 600, replies=0)
    await rig.add("general")
    lost = await rig.claim()
    rig.time.at += timedelta(seconds=120)

    await leases.take_back_lapsed(rig.world.db)
    await rig.run(await rig.claim())
    with pytest.raises(LeaseLost):
        await rig.handlers[BACKFILL].run(lost)  # the first one wakes up again
    await rig.work()
    assert (await rig.coverage("general")).messages == 600


async def test_a_throttled_app_is_noticed_and_stopped(rig):
    rig.slack.app_class = "distributed"
    fill(rig.slack, 100)
    await rig.add("general")
    await rig.work()
    report = await rig.coverage("general")
    assert report.state == "failed"
    assert "15 messages a minute" in report.error
    assert rig.slack.calls["conversations.history"] == 1
    assert await rig.stored() == []


async def test_a_long_retry_after_on_history_says_the_same(rig):
    fill(rig.slack, 10)
    rig.slack.faults["conversations.history"].append(Fault(429, retry_after_s=60))
    await rig.add("general")
    await rig.work()
    assert "15 messages a minute" in (await rig.coverage("general")).error


async def test_a_workspace_that_may_only_be_searched_live_is_never_read(rig):
    rig.reading = "live"
    fill(rig.slack, 10)
    await rig.add("general")
    await rig.work()
    assert (await rig.coverage("general")).state == "failed"
    assert rig.slack.calls["conversations.history"] == 0


@pytest.mark.parametrize(
    ("error", "said"),
    [
        ("not_in_channel", "invite it"),
        ("channel_not_found", "invite it"),
        ("missing_scope", "channels:history"),
        ("token_revoked", "install the app again"),
        ("brand_new_error", "brand_new_error"),
    ],
)
async def test_a_refusal_stops_reading_and_says_what_to_do(rig, error, said):
    fault = Fault(error=error, more={"needed": "channels:history"})
    rig.slack.faults["conversations.history"].append(fault)
    await rig.add("general")
    await rig.work()
    report = await rig.coverage("general")
    assert report.state == "failed"
    assert said in report.error
    fill(rig.slack, 3)
    await rig.world.history.resume(rig.world.owner, "general")
    await rig.work()
    assert (await rig.coverage("general")).state == "current"


async def test_losing_a_channel_hides_it_at_once(rig):
    rig.slack.say("C1", ts(1), "U1", "The budget is 40 million this year.")
    await rig.add("general")
    await rig.work()
    await rig.world.derive()
    before = await rig.world.principal("U2")
    assert gate.channel_token(await channel_id(rig, "C1")) in before.tokens
    rig.slack.channels["C1"]["is_member"] = False
    await rig.sync()
    after = await rig.world.principal("U2")
    assert gate.channel_token(await channel_id(rig, "C1")) not in after.tokens


async def channel_id(rig: Rig, external_id: str) -> str:
    async with rig.world.db.read() as session:
        return await channels.channel_id_of(session, rig.world.place, external_id)


async def test_repair_finds_late_replies_edits_and_missed_deletes(rig):
    slack = rig.slack
    slack.say("C1", ts(0), "U1", "How do I raise the limit?")
    slack.say("C1", ts(3), "U1", "This goes away soon enough.")
    slack.say("C1", ts(4), "U1", "This stays where it is now.")
    slack.say("C1", ts(5), "U2", "Edit the header.", thread_ts=ts(0))
    slack.say("C1", ts(6), "U2", "And this reply goes.", thread_ts=ts(0))
    await rig.add("general")
    await rig.work(BACKFILL)
    assert len(await rig.stored()) == 5

    rig.time.at += timedelta(hours=30)  # nobody listened
    late = f"{(rig.time.at - timedelta(hours=2)).timestamp():.6f}"
    slack.say("C1", late, "U1", "It worked!", thread_ts=ts(0))
    slack.edit("C1", ts(4), "This was edited by its author.", f"{rig.time.at.timestamp():.6f}")
    slack.delete("C1", ts(3))
    slack.delete("C1", ts(6))
    await rig.sync()
    await rig.work(BACKFILL)
    assert dict(await rig.stored()) == {
        ts(0): "How do I raise the limit?",
        ts(4): "This was edited by its author.",
        ts(5): "Edit the header.",
        late: "It worked!",
    }
    assert (await rig.coverage("general")).state == "current"


async def test_a_repair_that_finds_nothing_new_changes_nothing(rig):
    fill(rig.slack, 40)
    await rig.add("general")
    await rig.work(BACKFILL)
    before = await rig.stored()
    await rig.world.derive()
    await rig.sync()
    await rig.work(BACKFILL)
    assert await rig.stored() == before
    assert await rig.world.derive() == 0


async def test_a_deleted_root_with_replies_leaves_them_readable(rig):
    slack = rig.slack
    slack.say("C1", ts(0), "U1", "A question that is taken back")
    slack.say("C1", ts(1), "U2", "An answer that stays for everyone.", thread_ts=ts(0))
    slack.delete("C1", ts(0))
    await rig.add("general")
    await rig.work(BACKFILL)
    assert [text for _, text in await rig.stored()] == ["An answer that stays for everyone."]


async def test_a_thread_that_vanished_does_not_stop_the_rest(rig):
    slack = rig.slack
    fill(slack, 30)
    slack.faults["conversations.replies"].append(Fault(error="thread_not_found"))
    await rig.add("general")
    await rig.work(BACKFILL)
    assert (await rig.coverage("general")).state == "current"


async def test_since_bounds_how_far_back_is_read(rig):
    fill(rig.slack, 100, replies=0)
    await rig.world.history.add(
        rig.world.owner, "general", rig.world.kb_id, since=START - timedelta(minutes=52)
    )
    await rig.work(BACKFILL)
    assert len(await rig.stored()) == 10


async def test_pausing_stops_reading_and_resuming_goes_on_where_it_was(rig):
    fill(rig.slack, 1200, replies=0)
    await rig.add("general")
    await rig.run(await rig.claim())
    await rig.world.history.pause(rig.world.owner, "general")
    await rig.work()
    report = await rig.coverage("general")
    assert (report.state, report.messages) == ("paused", 500)
    assert [gap.reason for gap in report.gaps] == ["reading is paused"]
    await rig.world.history.resume(rig.world.owner, "general")
    await rig.world.history.resume(rig.world.owner, "general")  # twice is as good as once
    await rig.work()
    assert (await rig.coverage("general")).messages == 1200
    assert rig.slack.calls["conversations.history"] == 3


async def test_members_are_synced_whole_and_strangers_count_as_guests(rig):
    rig.slack.members["C1"] = ["U1", "U2", "U9", "UX"]  # UX is of another organisation
    await rig.sync()
    async with rig.world.db.read() as session:
        rows = await session.execute(
            select(Identity.subject, Identity.is_full_member)
            .join(ChannelMember, ChannelMember.identity_id == Identity.id)
            .join(Channel, Channel.id == ChannelMember.channel_id)
            .where(Channel.external_id == "C1")
        )
        assert {row.subject: row.is_full_member for row in rows} == {
            "U1": True,
            "U2": True,
            "U9": False,
            "UX": False,
        }


async def test_members_come_in_pages_and_survive_429(rig):
    rig.slack.members["C2"] = [f"U{number}" for number in range(2500)]
    rig.slack.faults["conversations.members"].extend([None, None, Fault(429, retry_after_s=3)])
    await rig.sync()
    async with rig.world.db.read() as session:
        count = await session.scalar(
            select(func.count())
            .select_from(ChannelMember)
            .join(Channel, Channel.id == ChannelMember.channel_id)
            .where(Channel.external_id == "C2")
        )
    assert count == 2500


async def test_a_failed_member_sync_makes_the_audience_unknown(rig):
    rig.slack.faults["conversations.members"].extend([Fault(error="fetch_members_failed")] * 2)
    await rig.sync()
    async with rig.world.db.read() as session:
        synced = await session.scalars(select(Channel.members_synced_at))
        assert list(synced) == [None, None]


async def test_the_next_sync_is_due_before_membership_is_stale(rig):
    async with rig.world.db.read() as session:
        due = await session.scalar(
            select(Job.run_at).where(Job.kind == SYNC_WORKSPACE, Job.state == JobState.QUEUED)
        )
    assert rig.time.at < due < rig.time.at + gate.FRESH


async def test_a_revoked_token_hides_every_channel(rig):
    rig.slack.revoked = True
    await rig.sync()
    async with rig.world.db.read() as session:
        assert set(await session.scalars(select(Channel.members_synced_at))) == {None}


async def test_a_private_channel_is_added_only_by_who_is_in_it(rig):
    from engine.errors import Forbidden

    with pytest.raises(Forbidden, match="only a member of the channel"):
        await rig.add("staff")


async def test_removing_a_channel_hides_it_at_once_and_clears_it(rig):
    fill(rig.slack, 60)
    await rig.add("general")
    await rig.work(BACKFILL)
    await rig.world.derive()
    await rig.world.ingest()
    assert await rig.world.answering()
    receipt = await rig.world.history.remove(rig.world.owner, "general")
    assert receipt.messages == 72
    assert await rig.world.answering() == set()
    stored = await rig.world.history.store(rig.world.place, "C1", [])
    assert stored == Stored()
    job = await rig.claim("purge_channel")
    await rig.run(job)
    async with rig.world.db.read() as session:
        assert await session.scalar(select(func.count()).select_from(Message)) == 0
        assert set(await session.scalars(select(Source.channel_id))) == {None}
    await rig.add("general")  # it may be added again
    await rig.work(BACKFILL)
    assert (await rig.coverage("general")).messages == 72


async def test_no_error_of_slack_reaches_a_person_in_its_own_words(rig):
    rig.slack.faults["conversations.history"].extend([Fault(500)] * 50)
    await rig.add("general")
    await rig.work(longest=timedelta(days=30))
    report = await rig.coverage("general")
    assert report.state == "failed"
    assert "SECRET" not in report.error
