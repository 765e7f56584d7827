"""Runs a flow: the call that ingestion's actor and the answer workflows make.

`run_flow` returns how the run ended. It raises only when the run could not be kept (`Unavailable`
from the store, or `Cancelled` where the store says that another worker took it over) or when the
calling task is itself cancelled: then the run stays `running`, and the next worker continues
from its checkpoints. The order of things is `execution.py`'s.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from engine.errors import Cancelled
from engine.flow.component import Component, Pause
from engine.flow.context import CancelToken, ProgressSink, RunContext, RunIds, Services
from engine.flow.execution import Execution, RunResult
from engine.flow.graph import Graph
from engine.flow.progress import Reporter, RunLog
from engine.flow.store import NodeRecord, RunState, RunStore

CONCURRENCY = 8  # components of one run at a time


async def run_flow(
    graph: Graph,
    ids: RunIds,
    services: Services,
    *,
    input: Mapping[str, Any] | None = None,  # noqa: A002 (the field's word)
    reply: Mapping[str, Mapping[str, Any]] | None = None,
    token: CancelToken | None = None,
    log: RunLog | None = None,
    store: RunStore | None = None,
    resume: bool = True,
    concurrency: int = CONCURRENCY,
) -> RunResult:
    """Run `graph` to its end, or on from where `ids.run_id` stopped.

    `reply` answers paused components by id. With a `store`, nodes that it holds as done are not
    run again, as long as the flow's text is still the same. `resume` False does not look: for
    the first attempt of a job, or to start over.
    """
    saved = await store.load(ids) if store is not None and resume else None
    if saved is not None and saved.dsl != graph.text:
        saved = None  # the flow was edited in between: its old outputs may mean something else
    weights = {node.id: node.component.weight for node in graph.nodes.values()}
    token = token or CancelToken()
    reporter = Reporter(ids, graph.text, weights, log=log, store=store, token=token)
    context = RunContext(
        ids=ids,
        services=services,
        input=dict(input or {}),
        token=token,
        reporter=reporter,
    )
    execution = Execution(
        graph,
        context,
        reporter,
        saved=saved.nodes if saved else {},
        reply=reply or {},
        concurrency=concurrency,
    )
    reporter.start(resumed=saved is not None)
    try:
        return await execution.execute()
    finally:
        await reporter.stop()


async def run_subgraph(
    context: RunContext[Services],
    component: Component[Services],
    *,
    input: Mapping[str, Any],  # noqa: A002 (the field's word)
    label: str = "",
    concurrency: int = CONCURRENCY,
) -> Mapping[str, Any]:
    """Run the flow inside `component` once, as part of the same run; its terminal output.

    Its entries are in the run's log as `<component id>[label]/<id>`. It has no checkpoints of
    its own: its owner's node is the boundary. What stops it is raised here: its component's
    error, `Pause`, `Cancelled`.
    """
    graph = component.subgraph
    if not isinstance(graph, Graph):
        raise TypeError(f"component {component.id!r} has no flow inside")
    inner = replace(context, input=input, path=f"{context.path}{component.id}[{label}]/")
    nested = _Nested(context.reporter, inner.path)
    result = await Execution(
        graph, inner, nested, saved={}, reply={}, concurrency=concurrency
    ).execute()
    if result.state is RunState.CANCELLED:
        raise Cancelled(result.message)
    if result.state is RunState.PAUSED:
        raise Pause(result.message)
    if result.error is not None:
        raise result.error
    return result.output


class _Nested:
    """Hands a subgraph's notes to the run's reporter, and keeps nothing."""

    def __init__(self, outer: ProgressSink, path: str) -> None:
        self._outer, self._path = outer, path

    def note(self, component: str, progress: float, message: str) -> None:
        self._outer.note(self._path + component, progress, message)

    def has_reported(self, component: str) -> bool:
        return self._outer.has_reported(self._path + component)

    def settle(self, component: str) -> None:
        pass

    def record(self, node: NodeRecord) -> None:
        pass

    async def save_nodes(self) -> None:
        pass

    async def finish(self, state: RunState, *, message: str, error: str = "") -> None:
        pass
