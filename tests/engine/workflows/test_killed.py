"""A run that is killed again and again ends as one that is not, and pays for nothing twice."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from engine.flow.checkpoints import SqlRunStore
from engine.flow.store import RunState
from engine.jobs import claims, leases
from engine.jobs.kinds import RUN_WORKFLOW
from engine.models.port import Completion, Extraction, T
from engine.workflows.runs import RunInfo
from tests.engine.workflows.conftest import Desk
from tests.fakes.flow_components import flow

KILLS = 9
ROUND = flow(grow=("Model", {"prompt": "grow {{inputs.text}} in round {{round}}"}))
# A branch, two parallel branches, a loop that pays in every round, and a person.
WHOLE = flow(
    "begin > kind",
    "kind > left > loop",
    "kind > other",
    "kind > right > loop",
    "loop > ask > say",
    "other > say",
    begin="Begin",
    kind=(
        "Switch",
        {
            "cases": [
                {
                    "when": [{"ref": "{{begin.query}}", "op": "contains", "value": "x"}],
                    "to": "other",
                }
            ],
            "else": "both",
        },
    ),
    left=("Model", {"prompt": "left {{begin.query}}"}),
    right=("Model", {"prompt": "right {{begin.query}}"}),
    other=("Message", {"text": "never"}),
    loop=(
        "Loop",
        {
            "vars": {"text": "{{left.text}}+{{right.text}}"},
            "next": {"text": "{{grow.text}}"},
            "body": ROUND,
            "max_rounds": 15,
        },
    ),
    ask=("Ask", {"message": "Post {{loop.rounds}}?", "fields": {"ok": {"type": "boolean"}}}),
    say=("Message", {"text": "{{other.message|loop.last}} {{ask.ok}}"}),
)
WHOLE["components"].insert(
    2, {"id": "both", "type": "Aggregate", "param": {"groups": {"q": ["{{begin.query}}"]}}}
)
WHOLE["edges"] = [
    edge
    for edge in WHOLE["edges"]
    if not (edge["source"] == "kind" and edge["target"] in {"left", "right"})
] + [
    {"source": "kind", "target": "both"},
    {"source": "both", "target": "left"},
    {"source": "both", "target": "right"},
]


class EchoModel:
    """Writes what depends on the prompt alone, and counts what was asked."""

    name = "test:echo"

    def __init__(self) -> None:
        self.prompts: list[str] = []

    async def complete(self, system: str, prompt: str, *, max_tokens: int = 1024) -> Completion:
        self.prompts.append(prompt)
        return Completion(f"<{len(prompt)}>", 3, 1)

    async def stream(
        self, system: str, prompt: str, *, max_tokens: int = 1024
    ) -> AsyncIterator[str | Completion]:
        done = await self.complete(system, prompt)
        yield done.text
        yield done

    async def extract(
        self, system: str, prompt: str, schema: type[T], *, max_tokens: int = 1024
    ) -> Extraction[T]:
        raise NotImplementedError

    async def aclose(self) -> None:
        """Nothing is open."""


async def attempt(desk: Desk) -> None:
    """One worker takes the run on, until it ends or pauses."""
    [job] = await claims.claim(desk.engine.db, "w", kinds=[RUN_WORKFLOW], lease_s=60)
    await desk.engine.workflows.execute(job)


async def killed_attempt(desk: Desk, monkeypatch: pytest.MonkeyPatch, after: int) -> bool:
    """The same, by a worker that is gone after so many writes; whether that came to pass."""
    died = asyncio.Event()
    left = [after]
    real = SqlRunStore.write

    async def write(self: SqlRunStore, *arguments: Any) -> None:
        if left[0] == 0:
            died.set()
            await asyncio.Event().wait()  # nothing more reaches the database
        left[0] -= 1
        await real(self, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(SqlRunStore, "write", write)
        working = asyncio.create_task(attempt(desk))
        dying = asyncio.create_task(died.wait())
        await asyncio.wait({working, dying}, return_when=asyncio.FIRST_COMPLETED)
        working.cancel()
        dying.cancel()
        await asyncio.gather(working, dying, return_exceptions=True)
    await leases.take_over_all(desk.engine.db, kinds=[RUN_WORKFLOW])
    return died.is_set()


async def whole_run(desk: Desk, monkeypatch: pytest.MonkeyPatch, kills: int) -> tuple[RunInfo, int]:
    """A run from its start over its question to its end, and how often it was killed."""
    workflows = desk.engine.workflows
    run_id = await workflows.start(desk.owner, "whole", {"query": "tea"})
    killed = 0
    while True:
        run = await workflows.get_run(desk.owner, run_id)
        if run.is_over:
            return run, killed
        if run.state == RunState.PAUSED:
            await workflows.reply(desk.owner, run_id, fields={"ok": True})
        elif killed < kills and await killed_attempt(desk, monkeypatch, after=killed % 2 + 1):
            killed += 1
        elif (await workflows.get_run(desk.owner, run_id)).state in {"queued", "running"}:
            await attempt(desk)


async def test_a_run_killed_nine_times_ends_as_if_it_was_not(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Only what the run itself writes counts: on a slow machine regular writes come between, and one
    # that never ends would hold the run's own end up.
    monkeypatch.setattr("engine.workflows.running.WRITE_INTERVAL_S", 3600.0)
    model = EchoModel()
    desk.set_model(model)
    await desk.engine.workflows.create(desk.owner, "whole", json.dumps(WHOLE))
    await desk.engine.workflows.publish(desk.owner, "whole")
    undisturbed, _ = await whole_run(desk, monkeypatch, 0)
    asked = sorted(model.prompts)
    model.prompts.clear()

    run, killed = await whole_run(desk, monkeypatch, KILLS)

    assert (undisturbed.state, run.state) == ("done", "done")
    assert killed == KILLS
    assert (run.text, run.output) == (undisturbed.text, undisturbed.output)
    paths = [(node.path, node.state) for node in run.nodes]
    assert sorted(paths) == sorted((node.path, node.state) for node in undisturbed.nodes)
    # Killed while the answer was not yet kept, a request is sent again; what was kept, never is.
    repeated = len(model.prompts) - len(asked)
    assert sorted(set(model.prompts)) == sorted(set(asked))
    assert repeated <= killed
    events = [e async for e in desk.engine.workflows.follow(desk.owner, run.id) if e]
    assert [e.seq for e in events] == list(range(1, len(events) + 1))
    assert [e.kind for e in events].count("run_finished") == 1
