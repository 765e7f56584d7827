"""What every database must keep about jobs: who gets them, when, how often, and for how long."""

from __future__ import annotations

import asyncio
from collections import Counter
from datetime import timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import delete, select

from engine import clock
from engine.db.session import Database, open_database
from engine.db.tables import Document, Event, Job
from engine.domain import JobState, Lane
from engine.errors import LeaseLost, NotFound
from engine.jobs import backlog, claims, endings, heartbeats, leases
from engine.jobs.outbox import append_event, enqueue

KIND = "ingest_document"
LEASE_S = 60


async def queue(database: Database, tenant_id: str = "acme", **wanted) -> str:
    options = {"kind": KIND, "payload": {"n": 1}, "lane": Lane.BULK} | wanted
    async with database.write() as session:
        return await enqueue(session, tenant_id=tenant_id, **options)


async def claim(database: Database, owner: str = "w1", **options) -> list[leases.ClaimedJob]:
    return await claims.claim(database, owner, **({"kinds": [KIND], "lease_s": LEASE_S} | options))


async def claim_one(database: Database, owner: str = "w1") -> leases.ClaimedJob:
    (job,) = await claim(database, owner)
    return job


async def finish(database: Database, job: leases.ClaimedJob, **outcome) -> None:
    async with database.write() as session:
        await endings.finish(session, job, **outcome)


async def state_of(database: Database, job_id: str) -> str:
    async with database.read() as session:
        return (await session.get_one(Job, job_id)).state


async def test_a_job_exists_only_when_its_cause_commits(database):
    async def add_and_fail() -> None:
        async with database.write() as session:
            await enqueue(session, tenant_id="acme", kind=KIND, payload={}, lane=Lane.LIVE)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await add_and_fail()
    assert await claim(database) == []


async def test_a_claimed_job_carries_what_was_queued(database):
    job_id = await queue(database, document_id="d1", correlation_id="c1", lane=Lane.LIVE)
    (job,) = await claim(database)
    assert (job.id, job.tenant_id, job.kind, job.payload) == (job_id, "acme", KIND, {"n": 1})
    assert (job.lane, job.document_id, job.correlation_id) == (Lane.LIVE, "d1", "c1")
    assert (job.attempt, job.max_attempts, job.owner) == (1, 5, "w1")


async def test_the_same_idempotency_key_is_the_same_job_within_a_tenant(database):
    first = await queue(database, idempotency_key="k")
    await finish(database, await claim_one(database))
    assert await queue(database, idempotency_key="k") == first
    assert await queue(database, "bolt", idempotency_key="k") != first
    assert await queue(database) != await queue(database)


async def test_two_transactions_with_one_idempotency_key_make_one_job(database):
    ids = await asyncio.gather(*(queue(database, idempotency_key="k") for _ in range(8)))
    assert len(set(ids)) == 1


async def test_claimers_never_share_a_job(database, database_url):
    queued = [await queue(database, tenant) for tenant in ("acme", "bolt") for _ in range(20)]
    claimed: list[str] = []

    async def drain(opened: Database, owner: str) -> None:
        while found := await claim(opened, owner, limit=3):
            claimed.extend(job.id for job in found)

    async with open_database(database_url) as other:  # as another process would
        await asyncio.gather(*(drain((database, other)[n % 2], f"w{n}") for n in range(6)))
    assert sorted(claimed) == sorted(queued)


async def test_claimers_of_one_hint_get_it_once(database):
    job_id = await queue(database)
    found = await asyncio.gather(*(claim(database, f"w{n}", job_id=job_id) for n in range(8)))
    assert [job.id for jobs_ in found for job in jobs_] == [job_id]


async def test_lanes_go_first_things_first(database):
    lanes = [Lane.BULK, Lane.INTERACTIVE, Lane.LIVE, Lane.BULK, Lane.LIVE]
    for lane in lanes:
        await queue(database, lane=lane)
    expected = [Lane.LIVE, Lane.LIVE, Lane.INTERACTIVE, Lane.BULK, Lane.BULK]
    assert [job.lane for job in await claim(database, limit=5)] == expected


async def test_tenants_take_turns_however_much_one_of_them_queued(database):
    for _ in range(6):
        await queue(database, "acme")
    for _ in range(2):
        await queue(database, "bolt")
    await queue(database, "cobb")
    order = [(await claim_one(database)).tenant_id for _ in range(9)]
    assert order == ["acme", "bolt", "cobb", "acme", "bolt", "acme", "acme", "acme", "acme"]


async def test_a_tenant_that_comes_late_neither_waits_nor_overtakes(database):
    for _ in range(10):
        await queue(database, "acme")
    for _ in range(5):
        await finish(database, await claim_one(database))
    for _ in range(4):
        await queue(database, "bolt")
    order = [(await claim_one(database)).tenant_id[0] for _ in range(9)]
    assert "".join(order) == "abababab" + "a"


async def test_a_job_taken_back_gives_no_tenant_an_old_turn(database, fixed_clock):
    await queue(database, "acme")
    stuck = await claim_one(database)  # begun long ago, with the first turn
    for _ in range(20):
        await queue(database, "acme")
    for _ in range(10):
        await finish(database, await claim_one(database, "w2"))
    fixed_clock.advance(LEASE_S + 1)
    await leases.take_back_lapsed(database)
    for _ in range(10):
        await queue(database, "bolt")
    first, *rest = [await claim_one(database) for _ in range(9)]
    assert first.id == stuck.id
    assert "".join(job.tenant_id[0] for job in rest) in {"abababab", "babababa"}


async def test_a_delayed_job_waits_for_its_time(database, fixed_clock):
    await queue(database, run_at=clock.now() + timedelta(seconds=30))
    assert await claim(database) == []
    assert await backlog.next_due_at(database, [KIND]) == clock.now() + timedelta(seconds=30)
    fixed_clock.advance(30)
    assert len(await claim(database)) == 1


async def test_only_the_kinds_asked_for_are_claimed(database):
    await queue(database, kind="answer")
    assert await claim(database) == []
    assert len(await claim(database, kinds=["answer"])) == 1


async def test_claimable_lists_ids_in_the_order_they_are_claimed(database):
    for tenant_id in ("acme", "acme", "acme", "bolt"):
        await queue(database, tenant_id)
    await queue(database, "cobb", lane=Lane.LIVE)
    listed = await claims.claimable(database, [KIND], 4)
    assert [job.id for job in await claim(database, limit=4)] == listed
    assert len(await claims.claimable(database, [KIND], 4)) == 1


async def test_a_hint_at_a_job_that_is_taken_or_gone_finds_nothing(database):
    job_id = await queue(database)
    assert len(await claim(database, job_id=job_id)) == 1
    assert await claim(database, job_id=job_id) == []
    assert await claim(database, job_id="0" * 32) == []


async def test_a_lapsed_lease_is_taken_over_and_the_first_worker_can_not_finish(
    database, fixed_clock
):
    await queue(database)
    lost = await claim_one(database, "w1")
    fixed_clock.advance(LEASE_S + 1)
    taken = await claim_one(database, "w2")
    assert (taken.id, taken.attempt, taken.owner) == (lost.id, 2, "w2")
    assert await leases.renew(database, lost, lease_s=LEASE_S) == leases.Lease(False, False)

    async def finish_late() -> None:
        async with database.write() as session:
            await append_event(session, "acme", "document.processed", {})
            await endings.finish(session, lost)

    with pytest.raises(LeaseLost):
        await finish_late()
    async with database.read() as session:
        assert list(await session.scalars(select(Event))) == []
    await finish(database, taken)
    assert await state_of(database, taken.id) == JobState.DONE


async def test_a_worker_does_not_finish_the_attempt_it_took_over_from_itself(database, fixed_clock):
    await queue(database)
    first = await claim_one(database)
    fixed_clock.advance(LEASE_S + 1)
    second = await claim_one(database)
    with pytest.raises(LeaseLost):
        await finish(database, first)
    await finish(database, second)


async def test_a_renewed_lease_does_not_lapse(database, fixed_clock):
    await queue(database)
    job = await claim_one(database)
    for _ in range(4):
        fixed_clock.advance(LEASE_S - 1)
        assert (await leases.renew(database, job, lease_s=LEASE_S)).held
        assert await claim(database, "w2") == []


async def test_finishing_twice_is_refused(database):
    await queue(database)
    job = await claim_one(database)
    await finish(database, job)
    with pytest.raises(LeaseLost):
        await finish(database, job)


async def test_a_failed_attempt_is_tried_again_later_and_later_until_none_is_left(
    database, fixed_clock
):
    job_id = await queue(database, max_attempts=3)
    delays = []
    for attempt in (1, 2, 3):
        job = await claim_one(database)
        assert job.attempt == attempt
        async with database.write() as session:
            state = await endings.fail(session, job, "The service is down.")
        if attempt < 3:
            due = await backlog.next_due_at(database, [KIND])
            delays.append((due - clock.now()).total_seconds())
            fixed_clock.advance(delays[-1])
    assert state == JobState.FAILED
    assert 1 <= delays[0] <= 2 <= delays[1] <= 4
    async with database.read() as session:
        row = await session.get_one(Job, job_id)
    assert (row.state, row.error, row.attempts) == ("failed", "The service is down.", 3)


async def test_retry_after_is_obeyed(database, fixed_clock):
    await queue(database)
    job = await claim_one(database)
    async with database.write() as session:
        await endings.fail(session, job, "Too many requests.", retry_in_s=333)
    assert await backlog.next_due_at(database, [KIND]) == clock.now() + timedelta(seconds=333)


async def test_a_fault_that_will_not_pass_is_not_retried(database):
    await queue(database)
    job = await claim_one(database)
    async with database.write() as session:
        assert await endings.fail(session, job, "Encrypted.", retry=False) == JobState.FAILED


async def test_a_released_job_keeps_its_attempts_and_is_next(database):
    for _ in range(3):
        await queue(database)
    job = await claim_one(database)
    async with database.write() as session:
        await endings.release(session, job)
    again = await claim_one(database, "w2")
    assert (again.id, again.attempt) == (job.id, 1)


async def test_a_held_job_waits_however_often(database, fixed_clock):
    await queue(database, max_attempts=1)
    for attempt in (1, 2, 3):
        job = await claim_one(database)
        assert job.attempt == attempt  # so that it resumes what it began
        async with database.write() as session:
            assert await endings.hold(session, job, "Full.", retry_in_s=60) == JobState.QUEUED
        assert await claim(database) == []
        fixed_clock.advance(61)
    job = await claim_one(database)
    async with database.write() as session:  # an error of its own still ends it
        assert await endings.fail(session, job, "Broken.") == JobState.FAILED


async def test_a_held_job_that_was_cancelled_ends(database):
    job_id = await queue(database)
    job = await claim_one(database)
    async with database.write() as session:
        await endings.cancel(session, "acme", job_id)
    async with database.write() as session:
        assert await endings.hold(session, job, "Full.") == JobState.CANCELLED


async def test_cancelling_a_waiting_job_ends_it(database):
    job_id = await queue(database)
    async with database.write() as session:
        assert await endings.cancel(session, "acme", job_id) == JobState.CANCELLED
    assert await claim(database) == []


async def test_cancelling_a_running_job_asks_its_worker(database):
    job_id = await queue(database)
    job = await claim_one(database)
    async with database.write() as session:
        assert await endings.cancel(session, "acme", job_id) == JobState.RUNNING
    assert await leases.renew(database, job, lease_s=LEASE_S) == leases.Lease(True, True)
    async with database.write() as session:
        assert await endings.fail(session, job, "Stopped.") == JobState.CANCELLED


@pytest.mark.parametrize("way", ["release", "lapse"])
async def test_a_cancelled_job_never_runs_again(database, fixed_clock, way):
    job_id = await queue(database)
    job = await claim_one(database)
    async with database.write() as session:
        await endings.cancel(session, "acme", job_id)
    if way == "release":
        async with database.write() as session:
            await endings.release(session, job)
    fixed_clock.advance(LEASE_S + 1)
    assert await claim(database) == []
    assert await state_of(database, job_id) == JobState.CANCELLED


async def test_jobs_of_another_tenant_are_absent(database):
    job_id = await queue(database, "acme")
    for verb in (endings.cancel, endings.retry):
        with pytest.raises(NotFound):
            async with database.write() as session:
                await verb(session, "bolt", job_id)


async def test_a_newer_revision_stops_the_older_jobs_of_its_document(database):
    running = await queue(database, document_id="d1")
    await claim(database, job_id=running)
    waiting = await queue(database, document_id="d1")
    newest = await queue(database, document_id="d1")
    async with database.write() as session:
        stopped = await endings.cancel_document(session, "acme", "d1", except_job_id=newest)
    assert stopped == 2
    assert await state_of(database, waiting) == JobState.CANCELLED
    assert await state_of(database, newest) == JobState.QUEUED
    async with database.read() as session:
        assert (await session.get_one(Job, running)).cancel_requested


async def test_a_failed_job_is_retried_with_all_its_attempts(database):
    job_id = await queue(database, max_attempts=1)
    job = await claim_one(database)
    async with database.write() as session:
        await endings.fail(session, job, "No.")
    async with database.write() as session:
        assert await endings.retry(session, "acme", job_id) == JobState.QUEUED
    assert (await claim_one(database)).attempt == 1


async def test_a_job_that_kills_its_workers_fails_with_its_document(
    database, fixed_clock, document
):
    job_id = await queue(database, document_id=document, max_attempts=2)
    for lost in range(leases.MAX_LOST):
        job = await claim_one(database)
        assert (job.lost, job.is_suspect) == (lost, lost >= leases.SUSPECT)
        fixed_clock.advance(LEASE_S + 1)
    assert await claim(database) == []
    async with database.read() as session:
        job, row = await session.get_one(Job, job_id), await session.get_one(Document, document)
    assert (job.state, row.state, row.error_code) == ("failed", "failed", "worker_lost")
    assert job.error == row.error == leases.WORKER_LOST.format(lost=leases.MAX_LOST)
    assert row.progress == -1


async def test_a_lost_worker_spends_no_attempt(database, fixed_clock):
    await queue(database, max_attempts=2)
    for _ in range(3):
        await claim_one(database)
        fixed_clock.advance(LEASE_S + 1)
    job = await claim_one(database)
    async with database.write() as session:
        assert await endings.fail(session, job, "The service is down.") == JobState.QUEUED


async def test_a_suspect_waits_behind_its_tenants_other_jobs(database, fixed_clock):
    suspect = await queue(database)
    for _ in range(leases.SUSPECT):
        assert (await claim_one(database)).id == suspect
        fixed_clock.advance(LEASE_S + 1)
    other = await queue(database)
    await leases.take_back_lapsed(database)
    assert [(await claim_one(database)).id for _ in range(2)] == [other, suspect]


async def test_a_worker_renews_only_the_leases_it_still_knows(database, fixed_clock):
    await queue(database)
    await queue(database)
    forgotten, kept = await claim_one(database), await claim_one(database)
    for _ in range(2):
        fixed_clock.advance(LEASE_S - 1)
        assert await leases.renew_all(database, [kept], lease_s=LEASE_S) == set()
    assert (await claim_one(database, "w2")).id == forgotten.id


async def test_a_job_given_up_leaves_the_document_to_a_newer_job(database, fixed_clock, document):
    await queue(database, document_id=document)
    for _ in range(leases.MAX_LOST):
        await claim_one(database)
        fixed_clock.advance(LEASE_S + 1)
    await queue(database, document_id=document)
    await leases.take_back_lapsed(database)
    async with database.read() as session:
        assert (await session.get_one(Document, document)).state == "pending"


async def test_counts_and_due_times_say_what_is_left(database, fixed_clock):
    assert await backlog.next_due_at(database, [KIND]) is None
    await queue(database)
    await queue(database, "bolt", lane=Lane.LIVE)
    await claim(database)
    async with database.read() as session:
        every = await backlog.pending_counts(session)
        acme = await backlog.pending_counts(session, "acme")
    assert every == {(Lane.BULK, JobState.QUEUED): 1, (Lane.LIVE, JobState.RUNNING): 1}
    assert acme == {(Lane.BULK, JobState.QUEUED): 1}


async def test_ended_jobs_are_forgotten_and_others_kept(database, fixed_clock):
    done, waiting = await queue(database), await queue(database)
    await finish(database, await claim_one(database))
    fixed_clock.advance(10)
    assert await backlog.forget_ended(database, before=clock.now()) == 1
    async with database.read() as session:
        assert list(await session.scalars(select(Job.id))) == [waiting]
    assert done != waiting


async def test_a_worker_is_live_while_its_heart_beats(database, fixed_clock):
    await heartbeats.beat(database, "w1", host="h", pid=1)
    fixed_clock.advance(20)
    await heartbeats.beat(database, "w2", host="h", pid=2)
    await heartbeats.beat(database, "w2", host="h", pid=2, state="stopping")

    async def live(within_s: float) -> list[tuple[str, str]]:
        async with database.read() as session:
            found = await heartbeats.live_workers(session, within_s=within_s)
        return [(worker.id, worker.state) for worker in found]

    assert await live(30) == [("w1", "running"), ("w2", "stopping")]
    assert await live(10) == [("w2", "stopping")]
    await heartbeats.forget_worker(database, "w2")
    assert await live(10) == []


@given(
    steps=st.lists(
        st.tuples(
            st.sampled_from(["queue", "claim", "finish", "fail", "release", "lapse"]),
            st.sampled_from(["acme", "bolt", "cobb"]),
            st.sampled_from(list(Lane)),
        ),
        min_size=5,
        max_size=40,
    )
)
@settings(
    max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None
)
async def test_whatever_happens_every_job_is_held_by_one_or_waits_or_has_ended(
    database, fixed_clock, steps
):
    async with database.write() as session:
        await session.execute(delete(Job))
    held: dict[str, leases.ClaimedJob] = {}
    finished: Counter[str] = Counter()
    queued = 0
    for step, tenant_id, lane in steps:
        if step == "queue":
            await queue(database, tenant_id, lane=lane, max_attempts=100)
            queued += 1
        elif step == "claim":
            for job in await claim(database, limit=2):
                assert job.id not in held
                held[job.id] = job
        elif step == "lapse":
            fixed_clock.advance(LEASE_S + 1)
            held.clear()
        elif held:
            _, job = held.popitem()
            async with database.write() as session:
                if step == "finish":
                    await endings.finish(session, job)
                    finished[job.id] += 1
                elif step == "fail":
                    await endings.fail(session, job, "Again.", retry_in_s=0)
                else:
                    await endings.release(session, job)
    fixed_clock.advance(LEASE_S + 1)
    while claimed := await claim(database, limit=10):
        for job in claimed:
            await finish(database, job)
            finished[job.id] += 1
    assert len(finished) == queued
    assert set(finished.values()) <= {1}


async def test_a_worker_renews_its_leases_together_and_learns_which_to_stop(database, fixed_clock):
    for _ in range(5):
        await queue(database)
    kept, cancelled, ended, done, other = [await claim_one(database, owner) for owner in "mmmmo"]
    assert await leases.renew_all(database, [], lease_s=LEASE_S) == set()
    async with database.write() as session:
        await endings.cancel(session, "acme", cancelled.id)
        await endings.finish(session, ended, state=JobState.FAILED)
        await endings.finish(session, done)  # its worker has yet to notice: it is not to stop
    fixed_clock.advance(LEASE_S - 1)
    mine = [kept, cancelled, ended, done]
    assert await leases.renew_all(database, mine, lease_s=LEASE_S) == {cancelled.id, ended.id}
    fixed_clock.advance(2)
    assert [job.id for job in await claim(database, "n", limit=9)] == [other.id]


async def test_a_lease_lost_to_another_is_not_renewed_with_the_rest(database, fixed_clock):
    await queue(database)
    lost = await claim_one(database, "m")
    fixed_clock.advance(LEASE_S + 1)
    taken = await claim_one(database, "n")
    assert await leases.renew_all(database, [lost], lease_s=900) == {lost.id}
    fixed_clock.advance(LEASE_S + 1)
    assert (await claim_one(database, "p")).id == taken.id


async def test_whoever_holds_the_folder_takes_over_every_lease_at_once(database, fixed_clock):
    await queue(database), await queue(database)
    dead, mine = await claim_one(database, "dead"), await claim_one(database, "me")
    assert await leases.take_over_all(database, except_owner="me") == 1
    assert [job.id for job in await claim(database, "me", limit=9)] == [dead.id]
    assert (await leases.renew(database, mine, lease_s=LEASE_S)).held


async def test_a_worker_that_takes_over_leaves_what_bots_are_doing(database, fixed_clock):
    await queue(database)
    held = await claim_one(database, "bot")
    assert await leases.take_over_all(database, kinds=["another"]) == 0
    assert (await leases.renew(database, held, lease_s=LEASE_S)).held
