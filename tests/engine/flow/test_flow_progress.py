"""How a run is watched: live entries, durable state at a bounded rate, and a log that may fail."""

from __future__ import annotations

import asyncio
import threading
from datetime import datetime

import anyio.to_thread

from engine.errors import Cancelled, Unavailable
from engine.flow.component import Component, Inputs, Output
from engine.flow.context import CancelToken, RunContext
from engine.flow.dsl import parse_flow
from engine.flow.progress import Reporter, RingLog
from engine.flow.registry import Registry
from engine.flow.store import LogEntry, RunState
from tests.engine.flow.conftest import Run
from tests.fakes.flow_components import IDS, Desk, flow
from tests.fakes.run_store import MemoryRunStore


def entry(message: str) -> LogEntry:
    return LogEntry(component="c", progress=0.5, message=message, datetime="", timestamp=0.0)


async def test_every_component_starts_progresses_and_is_done_and_the_run_ends(run: Run) -> None:
    log = RingLog()

    await run(flow("a > b", a="Note", b="Note"), log=log)

    entries, _ = log.read("flow1-run1-logs")
    assert [(e["component"], e["progress"]) for e in entries] == [
        ("a", 0.0), ("a", 0.9), ("a", 1.0),
        ("b", 0.0), ("b", 0.9), ("b", 1.0),
        ("END", 1.0),
    ]  # fmt: skip
    for e in entries:
        assert set(e) == {"component", "progress", "message", "datetime", "timestamp"}
        at = datetime.fromisoformat(e["datetime"])
        assert abs(at.timestamp() - e["timestamp"]) < 0.001


async def test_the_live_log_can_be_followed_while_the_run_waits(run: Run, desk: Desk) -> None:
    log = RingLog()
    running = asyncio.ensure_future(run(flow(m=("Meet", {"waits_for": ["reader"]})), log=log))

    entries, position = await asyncio.wait_for(log.wait(IDS.log_key), 60)
    assert [e["message"] for e in entries] == ["start"]
    desk.event("reader").set()
    await running

    rest, _ = log.read(IDS.log_key, after=position)
    assert rest[-1]["component"] == "END"


async def test_a_component_may_report_from_a_thread(run: Run) -> None:
    class Threaded(Component[Desk]):
        type = "Threaded"

        async def _invoke(self, context: RunContext[Desk], inputs: Inputs) -> Output:
            def work() -> None:
                context.progress(self.id, 7.0, f"in {threading.current_thread().name}")

            await anyio.to_thread.run_sync(work)
            return None

    log = RingLog()
    await run(parse_flow(flow(t="Threaded"), Registry([Threaded])), log=log)

    said = [e for e in log.read(IDS.log_key)[0] if e["message"].startswith("in ")]
    assert [e["progress"] for e in said] == [1.0]
    assert "MainThread" not in said[0]["message"]


async def test_losing_the_live_log_loses_no_state(run: Run) -> None:
    class Broken:
        def append(self, ids: object, entry: LogEntry) -> None:
            raise ConnectionError("the stream is gone")

    store = MemoryRunStore()
    result = await run(flow(a="Note"), log=Broken(), store=store)

    assert result.state is RunState.DONE
    assert (store.state("run1"), store.progress["run1"]) == (RunState.DONE, 1.0)
    assert [e.entry["component"] for e in store.events["run1"]] == ["a", "a", "a", "END"]


async def test_the_ring_keeps_the_newest_entries_and_positions_stay_true() -> None:
    log = RingLog(entries_per_run=3, runs=2)
    for i in range(5):
        log.append(IDS, entry(str(i)))

    entries, position = log.read(IDS.log_key, after=1)
    assert ([e["message"] for e in entries], position) == (["2", "3", "4"], 5)
    assert log.read(IDS.log_key, after=4)[0] == [entry("4")]
    assert log.read(IDS.log_key, after=5) == ([], 5)
    assert log.read("nothing", after=3) == ([], 3)


def reporter(store: MemoryRunStore, token: CancelToken | None = None) -> Reporter:
    return Reporter(
        IDS,
        "dsl",
        {"c": 1.0, "d": 3.0},
        log=None,
        store=store,
        token=token or CancelToken(),
        interval_s=0.001,
    )


async def test_many_reports_between_two_writes_become_one() -> None:
    store = MemoryRunStore()
    kept = reporter(store)
    for i in range(1000):
        kept.report("c", i / 1000, f"page {i}")
    kept.note("c", 1.0, "done")

    await kept.finish(RunState.DONE, message="done")

    assert store.writes == 1
    assert [e.entry["message"] for e in store.events["run1"]] == ["page 999", "done"]


async def test_progress_weighs_components_and_never_goes_back() -> None:
    kept = reporter(MemoryRunStore())
    kept.report("d", 0.5, "")
    assert kept.progress == 0.375
    kept.report("d", 0.1, "")
    assert kept.progress == 0.375


async def test_a_write_that_fails_on_the_way_is_made_up_by_the_next() -> None:
    store = MemoryRunStore()
    store.failing = Unavailable("busy")
    kept = reporter(store)
    kept.start(resumed=False)
    kept.note("c", 0.0, "start")
    await asyncio.wait_for(store.tried.wait(), 60)
    store.failing = None

    await asyncio.wait_for(store.wrote.wait(), 60)

    await kept.finish(RunState.DONE, message="done")
    assert [e.entry["message"] for e in store.events["run1"]] == ["start"]


async def test_a_run_that_was_taken_over_is_stopped() -> None:
    store, token = MemoryRunStore(), CancelToken()
    store.failing = Cancelled("another worker took over")
    kept = reporter(store, token)
    kept.start(resumed=False)
    kept.note("c", 0.0, "start")

    stopped = asyncio.Event()
    token.on_cancel(stopped.set)
    await asyncio.wait_for(stopped.wait(), 60)

    assert token.reason == "another worker took over"
    await kept.stop()
