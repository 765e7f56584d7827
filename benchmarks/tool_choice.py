"""Does a model pick the right tool? `python -m benchmarks.tool_choice [--home FOLDER]`.

60 tasks about the sample handbook with the tools that are right and arguments they need, and 15
that nothing answers. The model of the settings (`SCRUBJAY_LLM__MODEL`, its key) works on each with
our published tools alone, on a home whose sample is ingested. Counted: the first tool is right, its
arguments are, at most three calls, no id that no result gave, and "not found" said where it is so.

Without a model a script plays one: that tests this program, so nothing is written but "not measured".
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.results import write_results

TASKS = Path(__file__).parent / "data" / "tool_choice.jsonl"
CALLS_MAX = 3
STEPS_MAX = 8
# What an honest end sounds like, in the words models use.
NOT_FOUND = re.compile(
    r"\b(no|not|nothing|cannot|can't|couldn't|could not|unable|doesn't|don't|didn't|isn't)\b",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Task:
    """One task: `tools` are right as the first; `found` False where nothing answers it."""

    task: str
    tools: Sequence[str]
    arguments: dict[str, Any] = field(default_factory=dict)
    found: bool = True


@dataclass
class Trace:
    """What a model did for one task."""

    calls: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    results: str = ""
    invented: list[str] = field(default_factory=list)
    said: str = ""

    def note(self, name: str, arguments: dict[str, Any], result: str) -> None:
        """Remember a call; ids that no result before gave are invented."""
        for argument in ("id", "document_id", "job_id", "cursor"):
            value = arguments.get(argument)
            if value and str(value) not in self.results:
                self.invented.append(str(value))
        self.calls.append((name, arguments))
        self.results += result


def load_tasks(path: Path = TASKS) -> list[Task]:
    """All 75."""
    lines = path.read_text(encoding="utf-8").splitlines()
    return [Task(**json.loads(line)) for line in lines]


def judge(task: Task, trace: Trace) -> dict[str, bool]:
    """What was right; `found` only for tasks that nothing answers."""
    first = trace.calls[0] if trace.calls else ("", {})
    given = first[1]
    verdict = {
        "right_tool": first[0] in task.tools,
        "right_arguments": all(given.get(name) == value for name, value in task.arguments.items()),
        "few_calls": 1 <= len(trace.calls) <= CALLS_MAX,
        "no_invented_ids": not trace.invented,
    }
    if not task.found:
        verdict["says_not_found"] = bool(NOT_FOUND.search(trace.said))
    return verdict


def report(verdicts: Sequence[dict[str, bool]]) -> dict[str, Any]:
    """Shares of tasks that were right, by criterion."""
    names = sorted({name for verdict in verdicts for name in verdict})
    shares = {}
    for name in names:
        values = [verdict[name] for verdict in verdicts if name in verdict]
        shares[name] = round(sum(values) / len(values), 3)
    return {"tasks": len(verdicts), **shares}


async def run_tasks(model: Any, server: Any, tasks: Sequence[Task]) -> list[dict[str, bool]]:
    """Each task with a fresh agent over the server's own published tools."""
    from mcp.client import Client

    from mcp_server.server import INSTRUCTIONS

    verdicts = []
    async with Client(server) as client:
        tools = (await client.list_tools()).tools
        for task in tasks:
            trace = Trace()
            await _work(model, client, tools, INSTRUCTIONS, task, trace)
            verdicts.append(judge(task, trace))
            sys.stderr.write(f"{len(verdicts)}/{len(tasks)} {task.task[:60]}: {verdicts[-1]}\n")
    return verdicts


async def _work(
    model: Any, client: Any, tools: Sequence[Any], instructions: str, task: Task, trace: Trace
) -> None:
    from pydantic_ai import Agent, Tool
    from pydantic_ai.exceptions import UsageLimitExceeded
    from pydantic_ai.usage import UsageLimits

    def bound(name: str) -> Any:
        async def call(**arguments: Any) -> str:
            result = await client.call_tool(name, arguments)
            text: str = result.content[0].text
            trace.note(name, arguments, text)
            return text

        return call

    offered = [
        Tool.from_schema(bound(tool.name), tool.name, tool.description, tool.input_schema)
        for tool in tools
    ]
    agent = Agent(model, tools=offered, instructions=instructions)
    try:
        done = await agent.run(task.task, usage_limits=UsageLimits(request_limit=STEPS_MAX))
        trace.said = str(done.output)
    except UsageLimitExceeded:
        trace.said = ""


def scripted(tasks: Sequence[Task]) -> Any:
    """A model that does what the tasks expect, to test this program without one."""
    from pydantic_ai.messages import ModelResponse, TextPart, ToolCallPart, UserPromptPart
    from pydantic_ai.models.function import FunctionModel

    by_text = {task.task: task for task in tasks}

    def play(messages: list[Any], _: Any) -> ModelResponse:
        asked = next(part.content for part in messages[0].parts if isinstance(part, UserPromptPart))
        task = by_text[str(asked)]
        if len(messages) > 1:
            said = "Here it is." if task.found else "The documents do not say."
            return ModelResponse([TextPart(said)])
        name = task.tools[0]
        arguments = dict(task.arguments)
        if name in {"search", "ask"}:
            arguments["query" if name == "search" else "question"] = task.task
        if name == "add_document" and "url" not in arguments:
            arguments["text"] = "The canteen opens at noon."
        if name == "add_document":
            arguments.setdefault("knowledge_base", "handbook")
        return ModelResponse([ToolCallPart(name, arguments)])

    return FunctionModel(play)


async def measure(home: Path | None) -> dict[str, Any]:
    from dataclasses import replace

    from engine.config import load_settings
    from engine.runtime import build_language_model, open_engine
    from engine.search.links import Links
    from mcp_server.buckets import Buckets, Rate
    from mcp_server.caller import Door, McpCaller
    from mcp_server.server import build_server

    settings = load_settings(home)
    tasks = load_tasks()
    async with open_engine(settings) as engine:
        owner = replace(await engine.people.owner(), api_token_id="bench")

        async def caller(_: object) -> McpCaller:
            links = Links("http://127.0.0.1:7337", lambda id_: engine.search.sign_link(owner, id_))
            return McpCaller(engine, owner, links)

        plenty = Buckets(Rate(1_000_000, 100_000))
        server = build_server(Door(caller, write_tools=True, calls=plenty))
        live = build_language_model(settings)
        model = await live.load() if live is not None else scripted(tasks)
        verdicts = await run_tasks(model, server, tasks)
        if live is None:
            return {"tasks": len(verdicts), "live_model": "not measured"}
        return {"live_model": live.name, **report(verdicts)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--home", type=Path, help="a data folder with the sample ingested")
    chosen = parser.parse_args()
    results = asyncio.run(measure(chosen.home))
    sys.stderr.write(f"{json.dumps(results)}\n{write_results('tool_choice', results)}\n")


if __name__ == "__main__":
    main()
