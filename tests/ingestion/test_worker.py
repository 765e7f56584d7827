"""The worker over a real database with handlers of a few lines: who runs when, and how it ends."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from datetime import timedelta

import pytest
from sqlalchemy import select, update

from engine import clock
from engine.db.session import Database, open_database
from engine.db.tables import Job
from engine.db.tables import Worker as WorkerRow
from engine.domain import JobState, Lane
from engine.errors import (
    Cancelled,
    DocumentError,
    IndexFull,
    InvalidInput,
    RateLimited,
    Unavailable,
)
from engine.jobs import claims, endings, heartbeats, leases
from engine.jobs.outbox import enqueue
from ingestion import worker as worker_module
from ingestion.broker import MemoryBroker
from ingestion.worker import JobWorker, park

KIND = "tiny"
LEASE_S = 30.0
BOUND_S = 60


class Tiny:
    """Does what it is given, and remembers what it was told."""

    def __init__(
        self, work: Callable[[leases.ClaimedJob], Awaitable[object]], *, alone=False, feeds=False
    ):
        self.alone = alone
        self.feeds = feeds
        self.work = work
        self.told: list[tuple[str, ...]] = []
        self.busy = 0
        self.most_busy = 0
        self.began: list[str] = []
        self.news = asyncio.Event()

    async def run(self, job):
        self.began.append(job.id)
        self.busy += 1
        self.most_busy = max(self.most_busy, self.busy)
        self._tell()
        try:
            await self.work(job)
            return False  # the worker ends the job
        finally:
            self.busy -= 1
            self._tell()

    async def waiting(self, session, job, reason):
        self.told.append(("waiting", reason))

    async def failed(self, session, job, error, code):
        self.told.append(("failed", code, error))

    async def cancelled(self, session, job):
        self.told.append(("cancelled",))

    def _tell(self) -> None:
        self.news.set()
        self.news = asyncio.Event()

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(BOUND_S):
            while not condition():
                await self.news.wait()


async def nothing(_: leases.ClaimedJob) -> None:
    """Done at once."""


async def forever(_: leases.ClaimedJob) -> None:
    await asyncio.Event().wait()


def raising(error: Exception) -> Callable[[leases.ClaimedJob], Awaitable[None]]:
    async def work(_: leases.ClaimedJob) -> None:
        raise error

    return work


async def queue(database: Database, count: int = 1, **wanted) -> list[str]:
    options = {"kind": KIND, "payload": {}, "lane": Lane.BULK} | wanted
    async with database.write() as session:
        return [await enqueue(session, tenant_id="acme", **options) for _ in range(count)]


async def row_of(database: Database, job_id: str) -> Job:
    async with database.read() as session:
        return await session.get_one(Job, job_id)


def build(database: Database, handler, *, slots=2, parked=2, lease_s=LEASE_S, **more) -> JobWorker:
    handlers = {KIND: handler} | more
    return JobWorker(
        database, MemoryBroker(), handlers, slots=slots, parked=parked, lease_s=lease_s
    )


async def drain(database: Database, handler, **options) -> JobWorker:
    """Work until nothing is left to do."""
    worker = build(database, handler, **options)
    async with asyncio.timeout(BOUND_S):
        await worker.run(asyncio.Event(), idle_exit_s=0)
    return worker


@asynccontextmanager
async def working(database: Database, handler, **options) -> AsyncIterator[JobWorker]:
    """A worker that works beside the test, and is stopped after it."""
    stop = asyncio.Event()
    worker = build(database, handler, **options)
    task = asyncio.create_task(worker.run(stop))
    try:
        yield worker
    finally:
        stop.set()
        async with asyncio.timeout(BOUND_S):
            await task


async def until_row(database: Database, job_id: str, condition: Callable[[Job], bool]) -> Job:
    async with asyncio.timeout(BOUND_S):
        while not condition(row := await row_of(database, job_id)):  # noqa: ASYNC110 (a row tells nobody)
            await asyncio.sleep(0.01)
    return row


async def test_everything_queued_is_done_once(database):
    handler = Tiny(nothing)
    ids = await queue(database, 30)
    await drain(database, handler)
    assert Counter(handler.began) == dict.fromkeys(ids, 1)
    assert {(await row_of(database, job)).state for job in ids} == {JobState.DONE}


async def test_no_more_work_at_once_than_there_are_slots(database):
    release = asyncio.Event()
    handler = Tiny(lambda _: release.wait())
    await queue(database, 6)
    async with working(database, handler, slots=2):
        await handler.until(lambda: handler.busy == 2)
        release.set()
        await handler.until(lambda: len(handler.began) == 6 and handler.busy == 0)
    assert handler.most_busy == 2


async def test_whoever_parks_gives_its_slot_up_to_the_cap(database):
    release = asyncio.Event()

    async def wait_parked(_: leases.ClaimedJob) -> None:
        park()
        await release.wait()

    handler = Tiny(wait_parked)
    await queue(database, 8)
    async with working(database, handler, slots=2, parked=3):
        await handler.until(lambda: handler.busy == 5)  # what fits: the slots and the parked
        release.set()
        await handler.until(lambda: len(handler.began) == 8 and handler.busy == 0)
    assert handler.most_busy == 5


async def test_parking_outside_a_job_does_nothing():
    park()


async def test_a_lease_is_renewed_while_its_job_runs(database, monkeypatch):
    monkeypatch.setattr(worker_module, "RENEW_S", 0.02)
    (job,) = await queue(database)
    handler = Tiny(forever)
    async with working(database, handler, lease_s=3):  # renewed after a second
        await handler.until(lambda: handler.busy == 1)
        first = (await row_of(database, job)).leased_until
        row = await until_row(database, job, lambda row: row.leased_until > first)
        assert (row.state, row.attempts) == (JobState.RUNNING, 1)


async def test_a_running_job_is_cancelled_within_a_second_or_so(database):
    (job,) = await queue(database)
    handler = Tiny(forever)
    async with working(database, handler):
        await handler.until(lambda: handler.busy == 1)
        async with database.write() as session:
            await endings.cancel(session, "acme", job)
        row = await until_row(database, job, lambda row: row.state != JobState.RUNNING)
    assert row.state == JobState.CANCELLED
    assert handler.told == [("cancelled",)]


async def test_a_job_that_finds_itself_pointless_ends_cancelled(database):
    (job,) = await queue(database)
    handler = Tiny(raising(Cancelled("A newer revision took its place.")))
    await drain(database, handler)
    assert (await row_of(database, job)).state == JobState.CANCELLED
    assert handler.told == [("cancelled",)]


async def test_a_job_that_was_taken_over_is_not_ended_by_its_first_worker(database, caplog):
    (job,) = await queue(database)
    release = asyncio.Event()
    handler = Tiny(lambda _: release.wait())

    async def take_over(session) -> None:
        values = {"lease_owner": "another", "attempts": 2}
        await session.execute(update(Job).where(Job.id == job).values(values))

    async with working(database, handler):
        await handler.until(lambda: handler.busy == 1)
        await database.run_write(take_over)
        release.set()
        async with asyncio.timeout(BOUND_S):
            while "no longer held" not in caplog.text:  # noqa: ASYNC110 (nor does a log)
                await asyncio.sleep(0.01)
    row = await row_of(database, job)
    assert (row.state, row.lease_owner) == (JobState.RUNNING, "another")


async def test_a_lost_lease_stops_the_work(database, monkeypatch):
    monkeypatch.setattr(worker_module, "RENEW_S", 0.02)
    (job,) = await queue(database)
    handler = Tiny(forever)

    async def take_over(session) -> None:
        values = {"lease_owner": "another", "attempts": 2}
        await session.execute(update(Job).where(Job.id == job).values(values))

    async with working(database, handler):
        await handler.until(lambda: handler.busy == 1)
        await database.run_write(take_over)
        await handler.until(lambda: handler.busy == 0)
    assert (await row_of(database, job)).lease_owner == "another"
    assert handler.told == []


@pytest.mark.parametrize(
    ("error", "retried"),
    [
        (DocumentError("The file is encrypted: remove its password.", code="encrypted"), False),
        (DocumentError("The page did not answer in time.", code="timeout", retry=True), True),
        (Unavailable("The embedding service does not answer."), True),
        (RateLimited("Too many calls.", retry_after_s=9), True),
        (InvalidInput("Splitter: overlap is larger than size.", field="size"), False),
    ],
    ids=lambda value: getattr(value, "code", str(value)),
)
async def test_only_what_may_pass_is_tried_again(database, error, retried):
    (job,) = await queue(database)
    handler = Tiny(raising(error))
    async with working(database, handler):
        row = await until_row(database, job, lambda row: row.state != JobState.QUEUED or row.error)
        row = await until_row(database, job, lambda row: row.state != JobState.RUNNING)
    if retried:
        assert (row.state, row.error) == (JobState.QUEUED, str(error))
        assert handler.told == [("waiting", str(error))]
    else:
        assert (row.state, row.error) == (JobState.FAILED, str(error))
        assert handler.told == [("failed", error.code, str(error))]


@pytest.mark.parametrize(
    "error",
    [Unavailable("Not now.", retry_after_s=333), RateLimited("Slower.", retry_after_s=333)],
    ids=["unavailable", "rate_limited"],
)
async def test_retry_after_is_obeyed(database, error):
    (job,) = await queue(database)
    before = clock.now()
    async with working(database, Tiny(raising(error))):
        row = await until_row(database, job, lambda row: row.error != "")
    wait = row.run_at - before
    assert timedelta(seconds=333) <= wait <= timedelta(seconds=333 + BOUND_S)


async def test_a_full_index_holds_what_feeds_it_and_nothing_else(database, caplog):
    (full,) = await queue(database, max_attempts=1)
    has_room = False

    async def feed(_: leases.ClaimedJob) -> None:
        if not has_room:
            raise IndexFull("It is full.", retry_after_s=3600)

    feeding, other = Tiny(feed, feeds=True), Tiny(nothing)
    async with working(database, feeding, slots=1, other=other) as worker:
        await until_row(database, full, lambda row: row.error != "")
        (late,) = await queue(database)
        (beside,) = await queue(database, kind="other")
        await other.until(lambda: other.began == [beside])
        assert late not in feeding.began  # it does not even begin
        has_room, worker._full_until = True, 0.0  # an hour passes
        async with database.write() as session:
            await session.execute(update(Job).values(run_at=clock.now()))
        for job in (full, late):
            await until_row(database, job, lambda row: row.state == JobState.DONE)
    assert feeding.told == [("waiting", "It is full.")]
    assert "what fills the index waits" in caplog.text


async def test_a_worker_tells_that_the_index_is_full(database, monkeypatch):
    monkeypatch.setattr(worker_module, "RENEW_S", 0.02)
    await queue(database)
    handler = Tiny(raising(IndexFull("It is full.", retry_after_s=60)), feeds=True)
    async with working(database, handler) as worker:
        async with asyncio.timeout(BOUND_S):
            while True:
                async with database.read() as session:
                    row = await session.get(WorkerRow, worker.id)
                if row is not None and row.state == heartbeats.INDEX_FULL:
                    break
                await asyncio.sleep(0.01)


async def test_an_unexpected_error_tells_an_incident_and_nothing_else(database, caplog):
    (job,) = await queue(database, max_attempts=1)
    handler = Tiny(raising(ZeroDivisionError("secret detail")))
    with caplog.at_level(logging.ERROR):
        await drain(database, handler)
    row = await row_of(database, job)
    assert row.state == JobState.FAILED
    assert "secret detail" not in row.error
    incident = row.error.partition("incident ")[2].partition(")")[0]
    assert len(incident) == 8
    assert incident in caplog.text
    assert "secret detail" in caplog.text  # the log has the rest
    assert handler.told == [("failed", "internal", row.error)]


async def test_a_stopped_worker_gives_its_jobs_back_unspent(database):
    ids = await queue(database, 2)
    handler = Tiny(forever)
    async with working(database, handler):
        await handler.until(lambda: handler.busy == 2)
    rows = [await row_of(database, job) for job in ids]
    assert [(row.state, row.attempts, row.lost) for row in rows] == [(JobState.QUEUED, 0, 0)] * 2
    assert handler.told == [("waiting", "The worker stopped; another one continues.")] * 2
    async with database.read() as session:
        assert list(await session.scalars(select(WorkerRow))) == []
    second = Tiny(nothing)
    await drain(database, second)
    assert sorted(second.began) == sorted(ids)


async def test_a_job_cancelled_while_its_worker_stops_ends_cancelled(database):
    (job,) = await queue(database)
    handler = Tiny(forever)
    async with working(database, handler):
        await handler.until(lambda: handler.busy == 1)

        async def ask_to_stop(session) -> None:
            await endings.cancel(session, "acme", job)

        await database.run_write(ask_to_stop)
    assert (await row_of(database, job)).state == JobState.CANCELLED
    assert handler.told == [("cancelled",)]


async def test_an_idle_worker_leaves_once_delayed_work_is_done_too(database):
    (job,) = await queue(database, run_at=clock.now() + timedelta(seconds=0.4))
    handler = Tiny(nothing)
    await drain(database, handler)
    assert handler.began == [job]


async def test_a_worker_shows_itself_while_it_lives(database):
    handler = Tiny(nothing)
    async with working(database, handler) as worker:
        async with asyncio.timeout(BOUND_S):
            while True:
                async with database.read() as session:
                    found = await heartbeats.live_workers(session, within_s=10)
                if found:
                    break
                await asyncio.sleep(0.01)
    assert [row.id for row in found] == [worker.id]


async def test_a_lost_hint_is_given_again(database, monkeypatch):
    monkeypatch.setattr("ingestion.relay.HINT_LIFE_S", 0.1)

    class Forgetful(MemoryBroker):
        lost = 0

        def enqueue(self, message, *, delay=None):
            if self.lost < 2:
                self.lost += 1
                return message
            return super().enqueue(message, delay=delay)

    handler = Tiny(nothing)
    (job,) = await queue(database)
    worker = JobWorker(database, Forgetful(), {KIND: handler}, slots=2, parked=0, lease_s=LEASE_S)
    async with asyncio.timeout(BOUND_S):
        await worker.run(asyncio.Event(), idle_exit_s=0)
    assert handler.began == [job]


async def lose(database: Database, ids: Sequence[str], times: int) -> None:
    async def mark(session) -> None:
        values = {"lost": times, "attempts": times}
        await session.execute(update(Job).where(Job.id.in_(ids)).values(values))

    await database.run_write(mark)


async def test_a_job_that_may_have_killed_its_worker_runs_alone(database):
    beside: list[int] = []

    async def look(job: leases.ClaimedJob) -> None:
        if job.is_suspect:
            beside.append(handler.busy)
        await asyncio.sleep(0)

    handler = Tiny(look)
    ids = await queue(database, 12)
    await lose(database, ids[3:6], leases.SUSPECT)
    await drain(database, handler, slots=4)
    assert sorted(handler.began) == sorted(ids)
    assert beside == [1, 1, 1]


async def test_a_kind_that_wants_to_be_alone_is(database):
    seen: list[int] = []
    ordinary = Tiny(lambda _: asyncio.sleep(0))

    async def look(_: leases.ClaimedJob) -> None:
        seen.append(ordinary.busy)

    await queue(database, 6)
    await queue(database, 2, kind="alone", lane=Lane.INTERACTIVE)
    await queue(database, 6)
    await drain(database, ordinary, slots=4, alone=Tiny(look, alone=True))
    assert (len(ordinary.began), seen) == (12, [0, 0])


class Away:
    """A database that is away for a while: what `Database` is asked raises `Unavailable`."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.is_away = False
        self.asked = 0

    def __getattr__(self, name: str):
        return getattr(self._database, name)

    async def run_read(self, use_case):
        self._check()
        return await self._database.run_read(use_case)

    async def run_write(self, use_case):
        self._check()
        return await self._database.run_write(use_case)

    def _check(self) -> None:
        if self.is_away:
            self.asked += 1
            raise Unavailable("The database is not available: the disk is full.")


async def test_a_database_that_is_away_is_waited_for(database, monkeypatch):
    monkeypatch.setattr("ingestion.relay.OUTAGE_PAUSE_S", 0.02)
    monkeypatch.setattr(worker_module, "OUTAGE_PAUSE_S", 0.02)
    monkeypatch.setattr(worker_module, "RENEW_S", 0.02)
    away = Away(database)
    handler = Tiny(nothing)
    async with working(away, handler):
        away.is_away = True
        (job,) = await queue(database)
        async with asyncio.timeout(BOUND_S):
            while away.asked < 5:  # noqa: ASYNC110 (nor does a counter)
                await asyncio.sleep(0.01)
        assert handler.began == []
        away.is_away = False
        await until_row(database, job, lambda row: row.state == JobState.DONE)


async def test_a_job_whose_end_could_not_be_written_is_not_done_twice(database, monkeypatch):
    monkeypatch.setattr("ingestion.relay.OUTAGE_PAUSE_S", 0.02)
    monkeypatch.setattr(worker_module, "OUTAGE_PAUSE_S", 0.02)
    monkeypatch.setattr(worker_module, "RENEW_S", 0.02)
    away = Away(database)

    async def work(_: leases.ClaimedJob) -> None:
        away.is_away = True

    handler = Tiny(work)
    (job,) = await queue(database)
    async with working(away, handler):
        await handler.until(lambda: len(handler.began) == 1 and handler.busy == 0)
        async with asyncio.timeout(BOUND_S):
            while away.asked < 5:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        away.is_away = False
        row = await until_row(database, job, lambda row: row.state == JobState.DONE)
    assert (handler.began, row.attempts, row.lost) == ([job], 1, 0)


async def test_a_worker_whose_loop_stands_still_loses_no_lease(database, monkeypatch):
    """Another worker takes over what lapsed; this one's thread has renewed it meanwhile."""
    monkeypatch.setattr(worker_module, "RENEW_S", 0.02)
    (job,) = await queue(database)
    taken: list[int] = []
    real_now, passed = clock.now, timedelta()
    monkeypatch.setattr(clock, "now", lambda: real_now() + passed)

    async def elsewhere() -> None:
        nonlocal passed
        url = database.url.render_as_string(hide_password=False)
        async with open_database(url) as other:
            for _ in range(3):
                before = (await row_of(other, job)).leased_until
                passed += timedelta(seconds=LEASE_S / 2)  # a renewal is due after a third
                await until_row(other, job, lambda row, old=before: row.leased_until > old)
                taken.append(await leases.take_back_lapsed(other))

    async def work(_: leases.ClaimedJob) -> None:
        with ThreadPoolExecutor(1) as pool:  # the loop stands still for longer than a lease
            pool.submit(asyncio.run, elsewhere()).result()

    handler = Tiny(work)
    await drain(database, handler, lease_s=LEASE_S)
    row = await row_of(database, job)
    assert (handler.began, row.state, row.attempts, row.lost) == ([job], JobState.DONE, 1, 0)
    assert sum(taken) == 0


async def test_a_worker_never_takes_back_what_it_works_on_itself(database):
    (job,) = await queue(database)
    release = asyncio.Event()
    handler = Tiny(lambda _: release.wait())

    async def lapse(session) -> None:
        await session.execute(update(Job).values(leased_until=clock.now() - timedelta(seconds=9)))

    async with working(database, handler, lease_s=3600.0) as worker:
        await handler.until(lambda: handler.busy == 1)
        await database.run_write(lapse)
        assert await claims.claimable(database, [KIND], 1, held=worker._running.keys()) == []
        (second,) = await queue(database)  # the relay looks around, and hands on only this one
        await handler.until(lambda: second in handler.began)
        release.set()
        await until_row(database, job, lambda row: row.state == JobState.DONE)
    assert sorted(handler.began) == sorted([job, second])
