"""Failures that a flow handles, and pauses and checkpoints in flows inside components."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from engine.errors import BudgetSpent, FlowError, InvalidInput, RateLimited, Unavailable
from engine.flow.dsl import parse_flow
from engine.flow.registry import Registry
from engine.flow.store import RunState
from tests.engine.flow.conftest import Run
from tests.fakes.flow_components import Desk, flow
from tests.fakes.run_store import MemoryRunStore


def handling(dsl: dict[str, Any], node: str, **keys: Any) -> dict[str, Any]:
    [component] = [c for c in dsl["components"] if c["id"] == node]
    component.update(keys)
    return dsl


async def test_what_may_pass_is_tried_again(run: Run, desk: Desk) -> None:
    desk.failures = [Unavailable("away"), RateLimited("slow down", retry_after_s=0)]
    store = MemoryRunStore()
    dsl = handling(flow(a="Flaky"), "a", retry={"times": 2, "wait_s": 0})

    result = await run(dsl, store=store)

    assert (result.state, result.output["text"]) == (RunState.DONE, "fine")
    assert desk.ran == ["a", "a", "a"]
    retries = [e for e in store.events["run1"] if e.kind == "node_retry"]
    assert [e.data for e in retries] == [
        {"attempt": 1, "wait_s": 0.0},
        {"attempt": 2, "wait_s": 0.0},
    ]


async def test_what_will_not_pass_is_not_tried_again(run: Run, desk: Desk) -> None:
    desk.failures = [InvalidInput("wrong")]
    dsl = handling(flow(a="Flaky"), "a", retry={"times": 5, "wait_s": 0})

    assert (await run(dsl)).state is RunState.FAILED
    assert desk.ran == ["a"]


async def test_a_default_stands_in_and_the_run_is_partial(run: Run, desk: Desk) -> None:
    desk.failures = [InvalidInput("wrong")]
    dsl = flow("a > b", a="Flaky", b=("Say", {"text": "{{a.text}}: {{a.error}}"}))
    dsl = handling(dsl, "a", on_error={"default": {"text": "nothing"}})

    result = await run(dsl)

    assert (result.state, result.output["text"]) == (RunState.PARTIAL, "nothing: wrong")


@pytest.mark.parametrize("fails", [True, False])
async def test_a_branch_is_followed_only_after_a_failure(
    run: Run, desk: Desk, *, fails: bool
) -> None:
    desk.failures = [InvalidInput("wrong")] if fails else []
    dsl = flow("a > b", "a > sorry", a="Flaky", b="Note", sorry="Note")

    result = await run(handling(dsl, "a", on_error={"branch": "sorry"}))

    assert result.state is (RunState.PARTIAL if fails else RunState.DONE)
    assert desk.ran == ["a", "sorry" if fails else "b"]


async def test_an_unexpected_failure_shows_none_of_its_words(run: Run, desk: Desk) -> None:
    desk.broken.add("a")
    dsl = flow("a > b", a="Fragile", b=("Say", {"text": "{{a.error}}"}))

    result = await run(handling(dsl, "a", on_error={"default": {}}))

    assert result.output["text"] == "It failed unexpectedly."


async def test_a_spent_budget_is_not_handled(run: Run, desk: Desk) -> None:
    desk.failures = [BudgetSpent("spent", budget="nodes")]

    result = await run(handling(flow(a="Flaky"), "a", on_error={"default": {}}))

    assert result.state is RunState.FAILED


async def test_no_more_components_start_than_the_run_may(run: Run, desk: Desk) -> None:
    class Two:
        left = 2

        def spend_node(self, path: str) -> None:
            if not self.left:
                raise BudgetSpent(f"no more: {path}", budget="nodes")
            self.left -= 1

    result = await run(flow("a > b > c", a="Note", b="Note", c="Note"), meter=Two())

    assert (result.state, result.failed, desk.ran) == (RunState.FAILED, "c", ["a", "b"])


def test_wrong_handling_is_told(registry: Registry) -> None:
    dsl = handling(flow(a="Note"), "a", retry={"times": 9}, on_error={"branch": "x", "default": {}})

    with pytest.raises(FlowError) as refused:
        parse_flow(dsl, registry)

    assert refused.value.faults == [
        "component 'a': `retry.times`: Input should be less than or equal to 5",
        (
            "component 'a': `on_error`: Value error, give either `default` (an output) or `branch` "
            "(a component's id)"
        ),
    ]
    dsl = handling(flow(a="Note"), "a", on_error={"branch": "x"})
    with pytest.raises(FlowError, match="goes to 'x', but no edge leads there"):
        parse_flow(dsl, registry)


ASKING = flow("pay > ask", pay="Paid", ask="AskPerson")


async def test_a_person_is_asked_in_each_round_and_what_was_paid_is_not_paid_again(
    run: Run, desk: Desk
) -> None:
    store = MemoryRunStore()
    dsl = flow(each=("Each", {"items": [1, 2], "body": ASKING}))

    first = await run(dsl, store=store)
    assert first.pauses == {"each[0]/ask": "Which year?"}
    second = await run(dsl, store=store, reply={"each[0]/ask": {"text": "2025"}})
    assert second.pauses == {"each[1]/ask": "Which year?"}
    last = await run(dsl, store=store, reply={"each[1]/ask": {"text": "2026"}})

    assert last.state is RunState.DONE
    assert [result["answer"] for result in last.output["results"]] == ["2025", "2026"]
    assert [name for name in desk.ran if "pay" in name] == ["each[0]/pay", "each[1]/pay"]


async def test_a_reply_inside_an_inner_loop_reaches_the_person_asked(run: Run, desk: Desk) -> None:
    store = MemoryRunStore()
    inner = flow(inner=("Each", {"items": ["x"], "body": ASKING}))
    dsl = flow(outer=("Each", {"items": [1], "body": inner}))

    first = await run(dsl, store=store)
    assert list(first.pauses) == ["outer[0]/inner[0]/ask"]
    last = await run(dsl, store=store, reply={"outer[0]/inner[0]/ask": {"text": "2025"}})

    assert last.state is RunState.DONE
    assert desk.ran.count("outer[0]/inner[0]/pay") == 1


async def test_a_loop_killed_late_does_not_repeat_the_rounds_before(run: Run, desk: Desk) -> None:
    store = MemoryRunStore()
    body = flow("pay > f", pay="Paid", f="Fragile")
    dsl = flow(each=("Each", {"items": list(range(5)), "body": body}))
    desk.broken.add("f")
    seen = asyncio.Event()

    for _ in range(3):  # each attempt ends in another round
        result = await run(dsl, store=store)
        assert result.state is RunState.FAILED
        seen.set()
    desk.broken.clear()
    result = await run(dsl, store=store)

    assert result.state is RunState.DONE
    assert [name for name in desk.ran if "pay" in name] == [f"each[{n}]/pay" for n in range(5)]


async def test_events_are_numbered_without_gaps_over_attempts(
    run: Run, desk: Desk, database
) -> None:
    from sqlalchemy import select

    from engine.db.tables import RunEvent
    from engine.flow.checkpoints import SqlRunStore

    store = SqlRunStore(database)
    dsl = flow("a > f > b", a="Paid", f="Fragile", b="Note")
    desk.broken.add("f")
    await run(dsl, store=store, tells_end=True)
    desk.broken.clear()
    await run(dsl, store=store, tells_end=True)

    async with database.read() as session:
        rows = list(await session.scalars(select(RunEvent).order_by(RunEvent.seq)))
    assert [row.seq for row in rows] == list(range(1, len(rows) + 1))
    ends = [(row.kind, row.data) for row in rows if row.kind == "run_finished"]
    assert ends == [("run_finished", {"state": "failed"}), ("run_finished", {"state": "done"})]
