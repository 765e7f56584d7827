"""The tool-choice benchmark's own plumbing: its tasks, its judge, and a scripted model through it."""

from __future__ import annotations

from benchmarks.tool_choice import Task, Trace, judge, load_tasks, report, run_tasks, scripted
from engine.engine import Engine
from mcp_server.tools import build_tools
from tests.mcp_server.conftest import Assistant


def test_there_are_sixty_tasks_and_fifteen_that_nothing_answers() -> None:
    tasks = load_tasks()
    names = {tool.name for tool in build_tools(write_tools=True)}
    assert len({task.task for task in tasks}) == 75
    assert sum(task.found for task in tasks) == 60
    assert all(set(task.tools) <= names for task in tasks)


def test_the_judge_tells_right_from_wrong() -> None:
    task = Task("x", ["search"], {"limit": 3})
    good, wrong, invented = Trace(), Trace(), Trace()
    good.note("search", {"query": "x", "limit": 3}, '{"id":"abc"}')
    good.note("fetch", {"id": "abc"}, "text")
    for _ in range(4):
        wrong.note("ask", {"question": "x"}, "")
    invented.note("search", {"query": "x", "limit": 3}, "")
    invented.note("fetch", {"id": "made-up"}, "")
    assert all(judge(task, good).values())
    assert judge(task, wrong) == {
        "right_tool": False,
        "right_arguments": False,
        "few_calls": False,
        "no_invented_ids": True,
    }
    assert judge(task, invented)["no_invented_ids"] is False
    assert judge(task, Trace())["few_calls"] is False
    absent = Task("x", ["ask"], found=False)
    claims = Trace(said="It is 12 weeks.")
    honest = Trace(said="The documents do not say.")
    assert judge(absent, claims)["says_not_found"] is False
    assert judge(absent, honest)["says_not_found"] is True


async def test_a_scripted_model_goes_through_all_of_it(engine: Engine) -> None:
    tasks = [task for task in load_tasks() if task.tools[0] != "add_document"][::8]
    server = Assistant(engine, await engine.people.owner())._server
    verdicts = await run_tasks(scripted(tasks), server, tasks)
    found = report(verdicts)
    assert found["tasks"] == len(tasks)
    assert {found[name] for name in ("right_tool", "right_arguments", "few_calls")} == {1.0}
