"""Running: order, branches, choices, failures, limits, cancelling, pausing, resuming."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import anyio.to_thread
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import DocumentError, InvalidInput, OverTime, TooLarge, Unavailable
from engine.flow.component import Component, Inputs, Output
from engine.flow.context import CancelToken, RunContext
from engine.flow.dsl import parse_flow
from engine.flow.graph import ancestors_of
from engine.flow.progress import RingLog
from engine.flow.registry import Registry
from engine.flow.run import run_flow
from engine.flow.store import NodeState, RunState
from tests.engine.flow.conftest import Run
from tests.fakes.flow_components import COMPONENTS, IDS, Desk, flow
from tests.fakes.run_store import MemoryRunStore


@st.composite
def dags(draw: st.DrawFn) -> dict[str, Any]:
    """A random acyclic flow, its components written in random order."""
    count = draw(st.integers(1, 9))
    pairs = [(a, b) for b in range(count) for a in range(b)]
    chosen = draw(st.lists(st.sampled_from(pairs), unique=True)) if pairs else []
    kinds = draw(st.lists(st.sampled_from(["Note", "Cheap"]), min_size=count, max_size=count))
    numbers = draw(st.permutations(range(count)))
    return {
        "components": [{"id": f"n{i}", "type": kinds[i]} for i in numbers],
        "edges": [{"source": f"n{a}", "target": f"n{b}"} for a, b in chosen],
    }


@given(dags())
async def test_no_node_runs_before_its_predecessors_and_sees_all_of_them(dsl: Any) -> None:
    desk = Desk()
    graph = parse_flow(dsl, Registry(COMPONENTS))

    result = await run_flow(graph, IDS, desk, concurrency=3)

    assert result.state is RunState.DONE
    assert sorted(desk.ran) == sorted(graph.nodes)
    for edge in graph.edges:
        assert desk.ran.index(edge.source) < desk.ran.index(edge.target)
    before = ancestors_of(graph.order, graph.upstream)
    for node, record in result.nodes.items():
        assert record.output["seen"] == sorted(before[node])


@given(dags(), st.data())
async def test_any_prefix_of_checkpoints_leads_to_the_same_end(
    dsl: Any, data: st.DataObject
) -> None:
    graph = parse_flow(dsl, Registry(COMPONENTS))
    whole = MemoryRunStore()
    first = await run_flow(graph, IDS, Desk(), store=whole)
    # The run is broken off after any prefix of its order.
    reached = graph.order[: data.draw(st.integers(0, len(graph.order)))]
    store = MemoryRunStore()
    store.states[IDS.run_id] = whole.states[IDS.run_id]
    saved = {i: r for i, r in whole.nodes[IDS.run_id].items() if i in reached}
    store.nodes[IDS.run_id] = dict(saved)
    desk = Desk()

    again = await run_flow(graph, IDS, desk, store=store)

    assert again.state is RunState.DONE
    assert strip(again.output) == strip(first.output)
    assert not set(desk.ran) & set(saved), "what was done is not run again"


def strip(output: Any) -> Any:
    """An output without the times, which differ from run to run."""
    if not isinstance(output, Mapping):
        return output
    return {key: strip(value) for key, value in output.items() if not key.startswith("_")}


async def test_the_merged_view_shows_the_nearest_writer_and_earlier_keys_survive(run: Run) -> None:
    dsl = flow(
        "title > text > up > last",
        title=("Write", {"key": "title", "value": "T"}),
        text=("Write", {"value": "words"}),
        up=("Upper", {"suffix": "!"}),
        last=("Upper", {"suffix": "?"}),
    )

    result = await run(dsl)

    assert strip(result.output) == {"text": "WORDS!?"}
    assert strip(result.nodes["title"].output) == {"title": "T"}


async def test_input_of_the_run_is_read_like_an_output(run: Run) -> None:
    result = await run(flow(u="Upper"), input={"text": "hello"})

    assert strip(result.output) == {"text": "HELLO"}


async def test_branches_of_a_diamond_run_at_the_same_time_and_both_are_seen(run: Run) -> None:
    # Each branch waits until the other has begun: one after the other would never end.
    dsl = flow(
        "a > left > end",
        "a > right > end",
        a="Meet",
        left=("Meet", {"waits_for": ["right"]}),
        right=("Meet", {"waits_for": ["left"]}),
        end="Note",
    )

    result = await run(dsl)

    assert result.output["seen"] == ["a", "left", "right"]


async def test_a_slow_branch_does_not_hold_up_another(run: Run) -> None:
    # `slow` ends only after the whole quick branch has.
    dsl = flow(
        "a > slow",
        "a > q1 > q2 > q3",
        a="Meet",
        slow=("Meet", {"waits_for": ["q3"]}),
        q1="Meet",
        q2="Meet",
        q3="Meet",
    )

    assert (await run(dsl)).state is RunState.DONE


async def test_no_more_components_run_at_once_than_allowed(run: Run) -> None:
    running = peak = 0

    class Busy(Component[Desk]):
        type = "Busy"

        async def _invoke(self, context: RunContext[Desk], inputs: Inputs) -> Output:
            nonlocal running, peak
            running += 1
            peak = max(peak, running)
            for _ in range(5):  # gives all the others their turn
                await asyncio.sleep(0)
            running -= 1
            return None

    graph = parse_flow(flow(**{f"n{i}": "Busy" for i in range(6)}), Registry([Busy]))

    assert (await run(graph, concurrency=2)).state is RunState.DONE
    assert peak == 2


async def test_outputs_of_several_ends_are_keyed_by_id(run: Run) -> None:
    result = await run(flow("a > b", "a > c", a="Note", b="Note", c="Note"))

    assert strip(result.output) == {"b": {"seen": ["a"]}, "c": {"seen": ["a"]}}


async def test_unfired_nodes_are_skipped_and_so_is_what_hangs_on_them_alone(
    run: Run, desk: Desk
) -> None:
    dsl = flow(
        "s > yes > join",
        "s > no > after > join",
        s=("Switch", {"to": ["yes"]}),
        yes="Note",
        no="Note",
        after="Note",
        join="Note",
    )

    result = await run(dsl)

    assert desk.ran == ["s", "yes", "join"]
    assert result.nodes["no"].state is result.nodes["after"].state is NodeState.SKIPPED
    assert result.output["seen"] == ["s", "yes"]


async def test_firing_no_edge_skips_all_that_follows(run: Run, desk: Desk) -> None:
    result = await run(flow("s > a > b", s="Switch", a="Note", b="Note"))

    assert (result.state, desk.ran) == (RunState.DONE, ["s"])


async def test_firing_a_stranger_fails_the_run(run: Run) -> None:
    result = await run(flow("s > a", "b", s=("Switch", {"to": ["b"]}), a="Note", b="Note"))

    assert result.state is RunState.FAILED
    assert result.failed == "s"
    assert "fired 'b', but no edge leads from it there" in result.message


async def test_a_failing_middle_node_stops_everything_behind_it(run: Run, desk: Desk) -> None:
    desk.broken = {"bad"}
    store, log = MemoryRunStore(), RingLog()

    result = await run(
        flow("a > bad > after", a="Note", bad="Fragile", after="Note"), store=store, log=log
    )

    assert (result.state, result.failed, desk.ran) == (RunState.FAILED, "bad", ["a"])
    assert isinstance(result.error, RuntimeError)
    assert "'bad' (Fragile) failed unexpectedly (RuntimeError)" in result.message
    assert "secret" not in result.message
    live = [(e["component"], e["progress"]) for e in log.read(IDS.log_key)[0]]
    assert live == [("a", 0.0), ("a", 0.9), ("a", 1.0), ("bad", 0.0), ("bad", 0.4), ("bad", -1.0)]
    durable = [(e.entry["component"], e.entry["progress"]) for e in store.events["run1"]]
    assert durable == live
    assert store.state("run1") is RunState.FAILED
    assert store.progress["run1"] == -1.0
    assert store.states["run1"].error == result.message
    assert store.nodes["run1"]["bad"].state is NodeState.FAILED


async def test_a_failure_cancels_the_branches_beside_it(run: Run, desk: Desk) -> None:
    class Late(Component[Desk]):
        type = "Late"

        async def _invoke(self, context: RunContext[Desk], inputs: Inputs) -> Output:
            await context.services.event("stuck").wait()
            raise DocumentError("this file is encrypted: remove its password", code="encrypted")

    graph = parse_flow(flow(stuck="Stuck", late="Late"), Registry([*COMPONENTS, Late]))

    result = await run(graph)

    assert (result.state, result.failed) == (RunState.FAILED, "late")
    assert result.message == "this file is encrypted: remove its password"
    assert isinstance(result.error, DocumentError)


async def test_a_failed_run_goes_on_behind_what_was_done(run: Run, desk: Desk) -> None:
    dsl = flow("a > bad > after", a="Note", bad="Fragile", after="Note")
    store = MemoryRunStore()
    desk.broken = {"bad"}
    await run(dsl, store=store)
    desk.broken, desk.ran = set(), []

    result = await run(dsl, store=store)

    assert (result.state, desk.ran) == (RunState.DONE, ["bad", "after"])
    assert result.output["seen"] == ["a", "bad"]


async def test_a_cheap_component_runs_again_only_for_who_still_needs_it(
    run: Run, desk: Desk
) -> None:
    store = MemoryRunStore()
    dsl = flow("cheap > a", "other > b", cheap="Cheap", a="Note", other="Cheap", b="Fragile")
    desk.broken = {"b"}
    await run(dsl, store=store, concurrency=1)
    assert sorted(desk.ran) == ["a", "cheap", "other"]
    desk.broken, desk.ran = set(), []

    result = await run(dsl, store=store)

    assert desk.ran == ["other", "b"]
    assert strip(result.output) == {"a": {"seen": ["cheap"]}, "b": {"seen": ["other"]}}


async def test_an_edited_flow_starts_over(run: Run, desk: Desk) -> None:
    store = MemoryRunStore()
    await run(flow("a > b", a="Note", b="Note"), store=store)
    desk.ran = []

    await run(flow("a > c", a="Note", c="Note"), store=store)

    assert desk.ran == ["a", "c"]
    assert set(store.nodes["run1"]) == {"a", "c"}


async def test_a_run_started_over_forgets_what_was_done(run: Run, desk: Desk) -> None:
    store = MemoryRunStore()
    dsl = flow("a > b", a="Note", b="Note")
    await run(dsl, store=store)

    await run(dsl, store=store, resume=False)

    assert desk.ran == ["a", "b"] * 2


async def test_a_component_over_its_time_limit_fails_by_name(run: Run) -> None:
    result = await run(flow("s > n", s=("Stuck", {"timeout_s": 0.01}), n="Note"))

    assert (result.state, result.failed) == (RunState.FAILED, "s")
    assert isinstance(result.error, OverTime)
    assert result.message == (
        "component 's' (Stuck) took longer than 0.01 s: reduce its work, or raise its `timeout_s`"
    )


async def test_a_thread_over_the_time_limit_is_left_behind(run: Run) -> None:
    release = threading.Event()

    class Blocked(Component[Desk]):
        type = "Blocked"
        timeout_s = 0.01

        async def _invoke(self, context: RunContext[Desk], inputs: Inputs) -> Output:
            await anyio.to_thread.run_sync(release.wait, 5)
            return None

    try:
        result = await run(parse_flow(flow(b="Blocked"), Registry([Blocked])))
        assert isinstance(result.error, OverTime)
        assert not release.is_set()
    finally:
        release.set()


async def test_a_timeout_inside_a_component_is_its_own_failure(run: Run) -> None:
    class Inner(Component[Desk]):
        type = "Inner"

        async def _invoke(self, context: RunContext[Desk], inputs: Inputs) -> Output:
            raise TimeoutError

    result = await run(parse_flow(flow(i="Inner"), Registry([Inner])))

    assert isinstance(result.error, TimeoutError)


async def test_cancelling_ends_in_cancelled_and_runs_nothing_more(run: Run, desk: Desk) -> None:
    token, store, log = CancelToken(), MemoryRunStore(), RingLog()
    dsl = flow("a > stuck > after", a="Note", stuck="Stuck", after="Note")
    running = asyncio.ensure_future(run(dsl, token=token, store=store, log=log))
    await asyncio.wait_for(desk.event("stuck").wait(), 60)

    thread = threading.Thread(target=token.cancel, args=("a newer revision came in",))
    thread.start()
    result = await running
    thread.join(5)

    assert (result.state, result.message) == (RunState.CANCELLED, "a newer revision came in")
    assert desk.ran == ["a"]
    assert store.state("run1") is RunState.CANCELLED
    assert "END" not in [e["component"] for e in log.read(IDS.log_key)[0]]


async def test_a_run_cancelled_before_it_starts_runs_nothing(run: Run, desk: Desk) -> None:
    token = CancelToken()
    token.cancel("no more")

    result = await run(flow(a="Note"), token=token)

    assert (result.state, desk.ran) == (RunState.CANCELLED, [])


async def test_nothing_follows_a_component_that_ignores_being_cancelled(
    run: Run, desk: Desk
) -> None:
    class Stubborn(Component[Desk]):
        type = "Stubborn"

        async def _invoke(self, context: RunContext[Desk], inputs: Inputs) -> Output:
            context.token.cancel("stop")
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.Event().wait()
            return None

    graph = parse_flow(flow("s > n", s="Stubborn", n="Note"), Registry([*COMPONENTS, Stubborn]))

    result = await run(graph)

    assert (result.state, desk.ran) == (RunState.CANCELLED, [])


async def test_check_cancelled_ends_the_run_as_cancelled(run: Run) -> None:
    class Careful(Component[Desk]):
        type = "Careful"

        async def _invoke(self, context: RunContext[Desk], inputs: Inputs) -> Output:
            context.token.cancel("stop")
            context.check_cancelled()
            return None

    result = await run(parse_flow(flow("c > d", c="Careful", d="Careful"), Registry([Careful])))

    assert (result.state, result.message) == (RunState.CANCELLED, "stop")
    assert result.error is None


async def test_a_worker_that_is_stopped_leaves_the_run_running(run: Run, desk: Desk) -> None:
    store = MemoryRunStore()
    running = asyncio.ensure_future(
        run(flow("p > stuck", p="Precious", stuck="Stuck"), store=store)
    )
    await asyncio.wait_for(desk.event("stuck").wait(), 60)

    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running

    assert store.state("run1") is RunState.RUNNING
    assert store.nodes["run1"]["p"].state is NodeState.DONE


async def test_a_run_pauses_and_goes_on_with_the_reply(run: Run, desk: Desk) -> None:
    dsl = flow("a > ask > after", "a > beside", a="Note", ask="AskPerson", after="Note",
               beside="Note")  # fmt: skip
    store = MemoryRunStore()

    paused = await run(dsl, store=store)
    assert (paused.state, paused.pauses) == (RunState.PAUSED, {"ask": "Which year?"})
    assert desk.ran == ["a", "ask", "beside"], "what does not depend on the answer goes on"
    assert store.state("run1") is RunState.PAUSED

    desk.ran = []
    result = await run(dsl, store=store, reply={"ask": {"text": "2024"}})
    assert result.state is RunState.DONE
    assert desk.ran == ["ask", "after"]
    assert strip(result.nodes["ask"].output) == {"answer": "2024", "asked": 1}


async def test_a_loop_runs_its_subgraph_and_shows_where_it_is(run: Run) -> None:
    log = RingLog()
    body = flow("up > again", up="Upper", again=("Upper", {"suffix": "!"}))
    dsl = flow("w > l", w=("Write", {"key": "items", "value": ["a", "b"]}),
               l=("Loop", {"body": body}))  # fmt: skip

    result = await run(dsl, log=log)

    assert strip(result.output) == {"results": ["A!", "B!"]}
    components = [e["component"] for e in log.read(IDS.log_key)[0]]
    assert "l[1]/again" in components
    assert components.count("END") == 1


async def test_a_failure_inside_a_loop_is_the_loops(run: Run, desk: Desk) -> None:
    desk.broken = {"f"}
    body = flow("f > up", f="Fragile", up="Upper")
    dsl = flow("w > l", w=("Write", {"key": "items", "value": ["a"]}), l=("Loop", {"body": body}))

    result = await run(dsl)

    assert (result.state, result.failed) == (RunState.FAILED, "l")


@pytest.mark.parametrize(
    ("value", "error", "says"),
    [
        (float("nan"), InvalidInput, "not JSON"),
        (b"bytes", InvalidInput, "bytes can't be written as JSON"),
        ("x" * 1_000_001, TooLarge, "put what is big into a blob"),
    ],
)
async def test_an_output_that_can_not_be_kept_fails_its_component(
    run: Run, value: object, error: type[Exception], says: str
) -> None:
    class Bad(Component[Desk]):
        type = "Bad"
        writes = frozenset({"x"})

        async def _invoke(self, context: RunContext[Desk], inputs: Inputs) -> Output:
            return {"x": value}

    result = await run(parse_flow(flow(b="Bad"), Registry([Bad])))

    assert isinstance(result.error, error)
    assert says in result.message


async def test_writing_an_undeclared_key_fails_its_component(run: Run) -> None:
    class Sly(Component[Desk]):
        type = "Sly"

        async def _invoke(self, context: RunContext[Desk], inputs: Inputs) -> Output:
            return {"loot": 1}

    result = await run(parse_flow(flow(s="Sly"), Registry([Sly])))

    assert "component 's' (Sly) wrote loot, which its `writes` does not declare" in result.message


async def test_a_writer_that_was_skipped_is_named_by_who_needs_it(run: Run) -> None:
    dsl = flow("s > w > u", "s > other > u", s=("Switch", {"to": ["other"]}), w="Write",
               other="Note", u="Upper")  # fmt: skip

    result = await run(dsl)

    assert (result.state, result.failed) == (RunState.FAILED, "u")
    assert "reads text, which no component before it wrote in this run" in result.message


async def test_ids_reach_every_component_and_every_log_line(
    run: Run, desk: Desk, caplog: pytest.LogCaptureFixture
) -> None:
    desk.broken = {"bad"}
    with caplog.at_level(logging.ERROR, logger="scrubjay.flow"):
        await run(flow("a > bad", a="Note", bad="Fragile"))

    assert [context.ids for context in desk.contexts] == [IDS]
    (record,) = caplog.records
    for name in ("tenant_id", "flow_id", "run_id", "kb_id", "document_id", "correlation_id"):
        assert getattr(record, name) == getattr(IDS, name)


async def test_start_and_elapsed_time_stand_in_the_output(run: Run) -> None:
    result = await run(flow(a="Note"))

    assert result.output["_created_time"] > 0
    assert 0 <= result.output["_elapsed_time"] < 60


async def test_a_store_that_is_down_at_the_end_is_not_a_failure_of_the_flow(run: Run) -> None:
    store = MemoryRunStore()
    store.failing = Unavailable("the disk is full")

    with pytest.raises(Unavailable, match="disk is full"):
        await run(flow("a > b", a="Note", b="Note"), store=store)

    store.failing = None
    assert (await run(flow("a > b", a="Note", b="Note"), store=store)).state is RunState.DONE


async def test_a_checkpoint_that_must_hold_holds_before_anything_follows(
    run: Run, desk: Desk
) -> None:
    store = MemoryRunStore()
    store.failing = Unavailable("the database is gone")

    with pytest.raises(Unavailable):
        await run(flow("p > after", p="Precious", after="Note"), store=store)

    assert desk.ran == ["p"]


async def test_runs_of_the_same_graph_keep_apart(run: Run, registry: Registry) -> None:
    graph = parse_flow(flow("a > b", a="Note", b="Note"), registry)

    results = await asyncio.gather(*(run(graph, replace(IDS, run_id=f"r{i}")) for i in range(5)))

    assert [strip(r.output) for r in results] == [{"seen": ["a"]}] * 5
