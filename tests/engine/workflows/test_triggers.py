"""Schedules begin runs: once an instant, as a service key, and across both changes of the clocks."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select, update

from engine import clock
from engine.db.tables import ApiToken, Job, Run, Trigger
from engine.domain import Principal, Role, Scope
from engine.engine import Engine
from engine.errors import Forbidden, InvalidInput, NotFound
from engine.jobs.kinds import FIRE_TRIGGER
from engine.people.api_tokens import TokenKind
from engine.runtime import open_engine
from engine.workflows.schedules import check_schedule, next_after
from engine.workflows.triggers import NewTrigger, TriggerInfo
from ingestion.host import run_worker
from tests.fakes.flow_components import flow
from tests.fakes.homes import fill, home_settings

FLOW = flow(
    "b > find > say",
    b=("Begin", {"inputs": {"query": {"type": "string", "required": True}}}),
    find=("Retrieval", {"query": "{{b.query}}"}),
    say=("Message", {"text": "{{find.passages}}"}),
)
BERLIN = "Europe/Berlin"


def instants(cron: str, zone: str, after: str, until: str) -> list[str]:
    found, at = [], datetime.fromisoformat(after)
    while (at := next_after(cron, zone, at)) < datetime.fromisoformat(until):
        found.append(at.strftime("%m-%d %H:%M"))
    return found


def test_a_time_that_a_change_of_clocks_skips_is_due_right_after_it() -> None:
    # Berlin is an hour ahead of UTC until 29 March 2026, 01:00 UTC, and two from then on.
    found = instants("30 2 * * *", BERLIN, "2026-03-28T00:00Z", "2026-03-31T00:00Z")
    assert found == ["03-28 01:30", "03-29 01:00", "03-30 00:30"]


def test_a_time_that_comes_twice_is_due_once() -> None:
    # … and one again from 25 October 2026, 01:00 UTC: 02:30 comes at 00:30 and at 01:30 UTC.
    found = instants("30 2 * * *", BERLIN, "2026-10-24T00:00Z", "2026-10-27T00:00Z")
    assert found == ["10-24 00:30", "10-25 00:30", "10-26 01:30"]


@pytest.mark.parametrize(
    ("cron", "zone", "field"),
    [
        ("0 0 31 2 *", "UTC", "schedule"),
        ("* * * *", "UTC", "schedule"),
        ("61 * * * *", "UTC", "schedule"),
        ("* * * * * *", "UTC", "schedule"),
        ("0 9 * * 1", "Europe/Atlantis", "zone"),
        ("0 9 * * 1", "../../etc/passwd", "zone"),
    ],
)
def test_what_is_never_due_or_nowhere_is_refused(cron: str, zone: str, field: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        check_schedule(cron, zone)
    assert refused.value.field == field


def test_a_word_stands_for_its_fields() -> None:
    assert check_schedule("@daily", BERLIN) == "0 0 * * *"


@pytest.fixture
async def engine(tmp_path: Path) -> AsyncIterator[Engine]:
    settings = home_settings(tmp_path)
    await fill(settings)
    async with open_engine(settings) as opened:
        yield opened


@pytest.fixture
async def owner(engine: Engine) -> Principal:
    """The owner, once there are a published workflow and a service key for `team`."""
    owner = await engine.people.owner()
    await engine.workflows.create(owner, "digest", json.dumps(FLOW))
    await engine.workflows.publish(owner, "digest")
    team = await engine.knowledge_bases.get(owner, "team")
    await engine.people.create_token(
        owner,
        "robot",
        scopes=[Scope.KB_READ, Scope.KB_ASK],
        kind=TokenKind.SERVICE,
        kb_ids=[team.id],
    )
    return owner


async def add(
    engine: Engine, owner: Principal, query: str = "sick leave", **more: Any
) -> TriggerInfo:
    new = NewTrigger("0 9 * * *", "robot", zone=BERLIN, inputs={"query": query}, **more)
    return await engine.workflows.add_trigger(owner, "digest", new)


async def come(engine: Engine, late: timedelta = timedelta(seconds=1)) -> None:
    """Let the queued instants have come, `late` ago, and work until all is done."""
    planned = clock.now() - late
    async with engine.db.write() as session:
        for job in await session.scalars(
            select(Job).where(Job.kind == FIRE_TRIGGER, Job.state == "queued")
        ):
            job.run_at = planned
            job.payload = {**job.payload, "at": planned.isoformat()}
    await run_worker(engine, asyncio.Event(), idle_exit_s=0)


async def all_runs(engine: Engine) -> list[Run]:
    async with engine.db.read() as session:
        return list(await session.scalars(select(Run).where(Run.kind == "workflow")))


async def test_an_instant_begins_one_run_as_the_service_key(engine: Engine, owner) -> None:
    made = await add(engine, owner)
    await come(engine)
    [run] = await all_runs(engine)
    [after] = await engine.workflows.list_triggers(owner, "digest")
    assert (run.state, run.trigger, run.user_id) == ("done", "schedule", None)
    assert run.who["name"] == "robot"
    assert "240 hours" in str(run.output)
    assert made.next_at is not None
    assert made.next_at.astimezone(UTC).hour in {7, 8}  # nine in Berlin
    assert (after.last_run, after.last_error, after.key) == ("done", "", "robot")
    assert after.next_at is not None
    assert after.next_at > clock.now()


async def test_a_run_reads_what_the_key_may_and_not_what_its_maker_may(
    engine: Engine, owner
) -> None:
    await add(engine, owner, "salary of the chief gardener")
    await come(engine)
    [run] = await all_runs(engine)
    assert run.state == "done"
    assert "81,000" not in str(run.output)


async def test_the_same_instant_begins_no_second_run(engine: Engine, owner) -> None:
    await add(engine, owner)
    at = clock.now() - timedelta(seconds=5)
    for _ in range(2):  # two schedulers, or one whose first try was cut off
        async with engine.db.write() as session:
            job = await session.scalar(
                select(Job).where(Job.kind == FIRE_TRIGGER, Job.state == "queued")
            )
            assert job is not None
            job.run_at = at
            job.payload = {**job.payload, "at": at.isoformat()}
        await run_worker(engine, asyncio.Event(), idle_exit_s=0)
    assert len(await all_runs(engine)) == 1


@pytest.mark.parametrize(("catch_up", "runs"), [("skip", 0), ("once", 1)])
async def test_instants_that_were_missed_are_skipped_or_made_up_for_once(
    engine: Engine, owner, catch_up: str, runs: int
) -> None:
    await add(engine, owner, catch_up=catch_up)
    await come(engine, late=timedelta(days=3))
    assert len(await all_runs(engine)) == runs
    [after] = await engine.workflows.list_triggers(owner)
    assert after.next_at is not None
    assert after.next_at > clock.now()


@pytest.mark.parametrize("overlap", ["skip", "queue"])
async def test_an_instant_while_the_run_before_is_at_work_is_skipped_or_waits(
    engine: Engine, owner, overlap: str
) -> None:
    await add(engine, owner, overlap=overlap)
    await come(engine)
    async with engine.db.write() as session:
        await session.execute(update(Run).values(state="running"))
    await come(engine)
    held = len(await all_runs(engine))
    async with engine.db.write() as session:
        await session.execute(update(Run).values(state="done"))
        before = await session.scalar(
            select(Job.error).where(Job.kind == FIRE_TRIGGER, Job.state == "queued")
        )
    await come(engine)
    assert held == 1
    assert ("at work" in (before or "")) == (overlap == "queue")
    assert len(await all_runs(engine)) == 2


async def test_a_trigger_whose_key_was_revoked_stops_and_says_so(engine: Engine, owner) -> None:
    await add(engine, owner)
    async with engine.db.write() as session:
        await session.execute(
            update(ApiToken).where(ApiToken.name == "robot").values(revoked_at=clock.now())
        )
    await come(engine)
    [after] = await engine.workflows.list_triggers(owner)
    assert await all_runs(engine) == []
    assert (after.state, after.next_at) == ("stopped", None)
    assert "service key" in after.last_error


async def test_a_paused_trigger_begins_nothing_and_a_resumed_one_does(
    engine: Engine, owner
) -> None:
    made = await add(engine, owner)
    await engine.workflows.set_trigger(owner, made.id, active=False)
    await come(engine)
    paused = len(await all_runs(engine))
    await engine.workflows.set_trigger(owner, made.id, active=True)
    await come(engine)
    assert (paused, len(await all_runs(engine))) == (0, 1)
    await engine.workflows.remove_trigger(owner, made.id)
    await come(engine)
    assert len(await all_runs(engine)) == 1
    async with engine.db.read() as session:
        assert list(await session.scalars(select(Trigger))) == []


async def test_inputs_key_and_workflow_are_checked_before_there_is_a_trigger(
    engine: Engine, owner
) -> None:
    def new(**more: Any) -> NewTrigger:
        return NewTrigger(**({"schedule": "@daily", "key": "robot"} | more))

    for wrong, kind in (
        (new(), InvalidInput),  # query is required
        (new(inputs={"query": "x"}, key="nobody"), InvalidInput),
        (new(inputs={"query": "x"}, schedule="soon"), InvalidInput),
    ):
        with pytest.raises(kind):
            await engine.workflows.add_trigger(owner, "digest", wrong)
    with pytest.raises(NotFound):
        await engine.workflows.add_trigger(owner, "nothing", new(inputs={"query": "x"}))
    added = await engine.people.add_member(owner, email="cu@example.com", role=Role.CURATOR)
    curator = await engine.people.act_as(owner, added.user_id)
    with pytest.raises(Forbidden):
        await engine.workflows.add_trigger(curator, "digest", new(inputs={"query": "x"}))
    assert await engine.workflows.list_triggers(owner) == []
