"""Runs a flow: the call that ingestion's actor and the answer workflows make.

`run_flow` returns how the run ended. It raises only when the run could not be kept (`Unavailable`
from the store, or `Cancelled` where the store says that another worker took it over) or when the
calling task is itself cancelled: then the run stays `running`, and the next worker continues
from its checkpoints. The order of things is `execution.py`'s.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, TypeVar

from engine.errors import Cancelled
from engine.flow.component import Component, Pause
from engine.flow.context import CancelToken, Meter, ProgressSink, RunContext, RunIds, Services
from engine.flow.execution import Execution, RunResult
from engine.flow.graph import Graph
from engine.flow.progress import WRITE_INTERVAL_S, Reporter, RunLog
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
    scope: Mapping[str, Any] | None = None,
    meter: Meter | None = None,
    interval_s: float = WRITE_INTERVAL_S,
    tells_end: bool = False,
) -> RunResult:
    """Run `graph` to its end, or on from where `ids.run_id` stopped.

    `reply` answers paused components by path (`loop[0]/ask` is inside `loop`). `scope` is what
    references may begin with besides components, `meter` what the run may spend. `tells_end` stores
    an event when it ends, however it does. With a `store`, nodes that it holds as done are not
    run again, as long as the flow's text is still the same. `resume` False does not look: for
    the first attempt of a job, or to start over.
    """
    saved = await store.load(ids) if store is not None and resume else None
    if saved is not None and saved.dsl != graph.text:
        saved = None  # the flow was edited in between: its old outputs may mean something else
    weights = {node.id: node.component.weight for node in graph.nodes.values()}
    token = token or CancelToken()
    reporter = Reporter(
        ids,
        graph.text,
        weights,
        log=log,
        store=store,
        token=token,
        interval_s=interval_s,
        tells_end=tells_end,
    )
    kept = saved.nodes if saved else {}
    context = RunContext(
        ids=ids,
        services=services,
        input=dict(input or {}),
        token=token,
        reporter=reporter,
        scope=scope or {},
        saved=kept,
        reply=reply or {},
        meter=meter,
    )
    execution = Execution(
        graph,
        context,
        reporter,
        saved=_under(kept, ""),
        reply=_under(context.reply, ""),
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
    scope: Mapping[str, Any] | None = None,
) -> RunResult:
    """Run the flow inside `component` once, as part of the same run, or on from where it stopped.

    Its components have the path `<component id>[label]/<id>`, in the log, for checkpoints and for
    replies; `scope` is what their references may begin with. What stops it is raised here: its
    component's error, `Pause`, `Cancelled`.
    """
    graph = component.subgraph
    if not isinstance(graph, Graph):
        raise TypeError(f"component {component.id!r} has no flow inside")
    path = f"{context.path}{component.id}[{label}]/"
    kept = {root: context.scope[root] for root in ("sys", "secret") if root in context.scope}
    inner = replace(context, input=input, path=path, scope={**kept, **(scope or {})})
    nested = _Nested(context.reporter, path)
    result = await Execution(
        graph,
        inner,
        nested,
        saved={
            name: replace(record, node_id=name)
            for name, record in _under(context.saved, path).items()
        },
        reply=_under(context.reply, path),
        concurrency=concurrency,
    ).execute()
    if result.state is RunState.CANCELLED:
        raise Cancelled(result.message)
    if result.state is RunState.PAUSED:
        raise Pause(result.message, inner=result.pauses)
    if result.error is not None:
        raise result.error
    return result


Kept = TypeVar("Kept")


def _under(kept: Mapping[str, Kept], path: str) -> dict[str, Kept]:
    """What is kept of the components directly under a path, by their own ids."""
    return {
        name[len(path) :]: value
        for name, value in kept.items()
        if name.startswith(path) and "/" not in name[len(path) :]
    }


class _Nested:
    """Hands a subgraph's notes and checkpoints to the run's reporter, under its path."""

    def __init__(self, outer: ProgressSink, path: str) -> None:
        self._outer, self._path = outer, path

    def note(
        self,
        component: str,
        progress: float,
        message: str,
        *,
        kind: str = "",
        data: Mapping[str, Any] | None = None,
    ) -> None:
        self._outer.note(self._path + component, progress, message, kind=kind, data=data)

    def has_reported(self, component: str) -> bool:
        return self._outer.has_reported(self._path + component)

    def settle(self, component: str) -> None:
        pass

    def record(self, node: NodeRecord) -> None:
        self._outer.record(replace(node, node_id=self._path + node.node_id))

    async def save_nodes(self) -> None:
        await self._outer.save_nodes()

    async def finish(
        self,
        state: RunState,
        *,
        message: str,
        error: str = "",
        output: Mapping[str, Any] | None = None,
    ) -> None:
        pass
