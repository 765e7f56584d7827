"""What of a run is kept: one suite for the store in SQL and the one the other tests use."""

from __future__ import annotations

from dataclasses import replace

import pytest
from sqlalchemy import select

from engine.clock import now
from engine.db.session import Database
from engine.db.tables import Run as RunRow
from engine.db.tables import RunNode
from engine.errors import Cancelled
from engine.flow.checkpoints import SqlRunStore
from engine.flow.context import RunIds
from engine.flow.progress import RingLog
from engine.flow.store import (
    NodeRecord,
    NodeState,
    RunState,
    RunStore,
    RunUpdate,
    SavedRun,
)
from tests.engine.flow.conftest import Run
from tests.fakes.flow_components import IDS, Desk, flow
from tests.fakes.run_store import MemoryRunStore


@pytest.fixture(params=["memory", "sql"])
def store(request: pytest.FixtureRequest, database: Database) -> RunStore:
    return MemoryRunStore() if request.param == "memory" else SqlRunStore(database)


DONE = NodeRecord(
    "a",
    NodeState.DONE,
    {"text": "ä", "blob": {"$blob": "0" * 64}},
    fired=("b",),
    elapsed_s=1.5,
    started_at=now(),
)
PAUSED = NodeRecord("b", NodeState.PAUSED, {"asked": 1}, error="Which year?", started_at=now())


async def test_a_run_unknown_has_nothing(store: RunStore) -> None:
    assert await store.load(IDS) is None


async def test_nodes_come_back_as_they_were(store: RunStore) -> None:
    await store.write(IDS, RunUpdate("dsl", fresh=True, nodes=[DONE]))
    await store.write(IDS, RunUpdate("dsl", RunState.PAUSED, nodes=[PAUSED]))

    assert await store.load(IDS) == SavedRun("dsl", {"a": DONE, "b": PAUSED})


async def test_a_node_written_again_is_replaced(store: RunStore) -> None:
    await store.write(IDS, RunUpdate("dsl", fresh=True, nodes=[DONE, PAUSED]))
    answered = replace(DONE, node_id="b", fired=None)
    await store.write(IDS, RunUpdate("dsl", nodes=[answered]))

    assert await store.load(IDS) == SavedRun("dsl", {"a": DONE, "b": answered})


async def test_a_fresh_start_forgets_the_attempt_before(store: RunStore) -> None:
    await store.write(IDS, RunUpdate("old", fresh=True, nodes=[DONE]))
    await store.write(IDS, RunUpdate("new", fresh=True, nodes=[PAUSED]))

    assert await store.load(IDS) == SavedRun("new", {"b": PAUSED})


async def test_runs_keep_apart(store: RunStore) -> None:
    await store.write(IDS, RunUpdate("dsl", fresh=True, nodes=[DONE]))

    assert await store.load(replace(IDS, run_id="other")) is None


async def test_a_run_of_another_tenant_is_not_there(database: Database) -> None:
    store = SqlRunStore(database)
    await store.write(IDS, RunUpdate("dsl", fresh=True, nodes=[DONE]))

    assert await store.load(replace(IDS, tenant_id="t2")) is None
    assert await store.read_log("t2", IDS.run_id) == []


async def test_state_progress_and_end_stand_in_the_run_row(database: Database) -> None:
    store = SqlRunStore(database)
    await store.write(IDS, RunUpdate("dsl", progress=0.5, message="parse: page 3", fresh=True))
    await store.write(IDS, RunUpdate("dsl", nodes=[DONE]))

    async with database.read() as session:
        row = (await session.scalars(select(RunRow))).one()
    assert (row.state, row.progress, row.message) == ("running", 0.5, "parse: page 3")
    assert (row.job_id, row.document_id, row.flow_id) == ("job1", "doc1", "flow1")
    assert row.ended_at is None

    await store.write(IDS, RunUpdate("dsl", RunState.FAILED, -1.0, "bad file", "bad file"))

    async with database.read() as session:
        row = (await session.scalars(select(RunRow))).one()
    assert (row.state, row.progress, row.error) == ("failed", -1.0, "bad file")
    assert row.ended_at is not None


async def test_the_durable_log_reads_like_the_live_one(run: Run, database: Database) -> None:
    store, log = SqlRunStore(database), RingLog()

    await run(flow("a > b", a="Note", b="Note"), store=store, log=log)

    durable = await store.read_log("t1", "run1")
    assert [entry for _, entry in durable] == log.read(IDS.log_key)[0]
    position, _ = durable[4]
    assert await store.read_log("t1", "run1", after=position) == durable[5:]


async def test_a_short_run_costs_one_transaction(run: Run, database: Database) -> None:
    commits = 0

    async def count(session: object, ids: RunIds, change: RunUpdate) -> None:
        nonlocal commits
        commits += 1

    store = SqlRunStore(database, also=count)
    nodes = {f"n{i}": "Note" for i in range(6)}
    result = await run(flow(" > ".join(nodes), **nodes), store=store)

    assert (result.state, commits) == (RunState.DONE, 1)
    saved = await store.load(IDS)
    assert saved is not None
    assert {i: n.state for i, n in saved.nodes.items()} == dict.fromkeys(nodes, NodeState.DONE)


async def test_what_the_host_does_beside_stands_and_falls_with_the_write(
    database: Database,
) -> None:
    async def also(session: object, ids: RunIds, change: RunUpdate) -> None:
        raise Cancelled("the lease was taken over")

    with pytest.raises(Cancelled):
        await SqlRunStore(database, also=also).write(IDS, RunUpdate("dsl", nodes=[DONE]))

    assert await SqlRunStore(database).load(IDS) is None


async def test_a_pipeline_that_ended_keeps_its_nodes_but_not_their_outputs(
    run: Run, desk: Desk, database: Database
) -> None:
    store = SqlRunStore(database, keep_outputs=False)
    dsl = flow("a > p > b", a="Note", p="Precious", b="Note")

    await run(dsl, store=store)

    async with database.read() as session:
        nodes = (await session.scalars(select(RunNode))).all()
    assert {node.node_id: node.output for node in nodes} == {"a": {}, "p": {}, "b": {}}
    desk.ran = []
    assert (await run(dsl, store=store)).output["seen"] == ["a", "p"]
    assert desk.ran == ["a", "p", "b"]


async def test_a_run_resumes_from_sql(run: Run, desk: Desk, database: Database) -> None:
    store = SqlRunStore(database, keep_outputs=False)
    dsl = flow("c > a > bad > b", c="Cheap", a="Note", bad="Fragile", b="Note")
    desk.broken = {"bad"}
    assert (await run(dsl, store=store)).state is RunState.FAILED
    desk.broken, desk.ran = set(), []

    result = await run(dsl, store=store)

    assert desk.ran == ["c", "bad", "b"], "what is not checkpointed runs again, what is does not"
    assert result.output["seen"] == ["a", "bad", "c"]
