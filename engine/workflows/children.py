"""Runs that other runs start: found again, bounded in depth, and within their parent's budget.

A parent pauses while its child works, so it holds no worker; the child's end wakes it. `WorkflowChildren`
is what the component `Workflow` asks.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid5

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from engine.db.session import Database
from engine.db.tables import Run, RunNode
from engine.errors import InvalidInput
from engine.flow.graph import Graph
from engine.flow.store import ENDED
from engine.workflows import definitions, runs, stored_secrets
from engine.workflows.budget import RunBudget, RunUsage
from engine.workflows.component import SOURCES, WorkflowRun
from engine.workflows.components.begin import all_fields, check_fields
from engine.workflows.loading import begin_of
from engine.workflows.run_secrets import secrets_of

DEPTH_MAX = 5


@dataclass(frozen=True, slots=True)
class ChildRun:
    """A run that another waits for, as far as it came; `sources` are what it rests on."""

    id: str
    state: str
    output: Mapping[str, Any]
    text: str
    error: str
    budget: RunBudget
    usage: RunUsage
    sources: Sequence[str]


@dataclass(frozen=True, slots=True)
class WorkflowChildren:
    """Starts and finds the children of runs; `load` checks a text."""

    db: Database
    load: Callable[[str], Graph]

    async def find(self, run: WorkflowRun, path: str) -> ChildRun | None:
        """The child that a component at this path has started before."""
        return await self.db.run_read(lambda session: _found(session, run, path))

    async def start(
        self,
        run: WorkflowRun,
        path: str,
        ref: str,
        inputs: Mapping[str, Any],
        *,
        share: float,
    ) -> ChildRun:
        """A new child, queued: the same person, the same audience, a share of the budget."""
        what = await self.db.run_read(lambda s: definitions.runnable(s, run.principal, ref))
        graph = self.load(what.dsl)
        given = check_fields(all_fields(begin_of(graph).inputs), inputs)
        names = secrets_of(graph)
        budget = run.meter.lend(share)

        async def write(session: AsyncSession) -> ChildRun:
            if await _depth(session, run.run_id) >= DEPTH_MAX:
                raise InvalidInput(
                    f"Workflows may be {DEPTH_MAX} deep: {ref!r} would be one deeper.",
                    field="workflow",
                )
            missing = await stored_secrets.missing_secrets(session, run.principal.tenant_id, names)
            stored_secrets.require_all(missing)
            await runs.start(
                session,
                run.principal,
                run.audience,
                what,
                graph.text,
                given=given,
                trigger="flow",
                key=str(uuid5(UUID(run.run_id), f"{path}\nchild")),
                budget=budget,
                parent=(run.run_id, path),
                simulates=run.effects.simulates,
            )
            found = await _found(session, run, path)
            assert found is not None  # noqa: S101 (just started)
            return found

        return await self.db.run_write(write)


async def _found(session: AsyncSession, run: WorkflowRun, path: str) -> ChildRun | None:
    row = await session.scalar(
        select(Run).where(
            Run.tenant_id == run.principal.tenant_id,
            Run.parent_run_id == run.run_id,
            Run.parent_path == path,
        )
    )
    if row is None:
        return None
    nodes = await session.scalars(
        select(RunNode).where(RunNode.run_id == row.id).order_by(RunNode.started_at)
    )
    kept = list(nodes)
    sources = {id_: None for node in kept for id_ in node.output.get(SOURCES, ())}
    output = runs.for_reading(row.output)
    return ChildRun(
        id=row.id,
        state=row.state,
        output=output,
        text=runs.text_of([runs.node_info(node) for node in kept], output),
        error=row.error or row.message,
        budget=RunBudget.of(row.budget),
        usage=RunUsage.of(row.usage),
        sources=tuple(sources),
    )


async def _depth(session: AsyncSession, run_id: str) -> int:
    """How many runs there are from the first to this one."""
    depth, above = 0, run_id
    while above and depth <= DEPTH_MAX:
        depth += 1
        above = await session.scalar(select(Run.parent_run_id).where(Run.id == above)) or ""
    return depth


async def open_budgets(session: AsyncSession, run_id: str) -> dict[str, RunBudget]:
    """What the children of a run that are under way may still spend, by their paths."""
    rows = await session.execute(
        select(Run.parent_path, Run.budget).where(
            Run.parent_run_id == run_id, Run.state.not_in([str(state) for state in ENDED])
        )
    )
    return {path: RunBudget.of(budget) for path, budget in rows}


async def any_ended(session: AsyncSession, run_ids: Sequence[str]) -> bool:
    """Whether one of these runs is over."""
    if not run_ids:
        return False
    found = await session.scalar(
        select(Run.id).where(Run.id.in_(run_ids), Run.state.in_([str(s) for s in ENDED])).limit(1)
    )
    return found is not None
