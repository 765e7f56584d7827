"""One execution of a graph: each node once its predecessors are settled, the others beside it.

Nothing waits in rounds: a node that ends starts whatever waited for it alone, so a slow branch
holds up only what depends on it. Called by `run.py`; what is kept and shown of it is the
reporter's business (`progress.py`).
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from types import MappingProxyType
from typing import Any, Protocol

from pydantic import ValidationError

from engine.clock import now
from engine.errors import Cancelled, EngineError, InvalidInput
from engine.flow import events
from engine.flow.component import Component, ComponentParam, Inputs, Pause
from engine.flow.context import RunContext
from engine.flow.graph import INPUT, Graph, Node, latest
from engine.flow.handling import may_be_handled
from engine.flow.outputs import normalise_output
from engine.flow.references import ABSENT, Path, resolve, walk
from engine.flow.store import SUCCEEDED, NodeRecord, NodeState, RunState

END = "END"  # the component name of the last entry of a run that succeeded


@dataclass(frozen=True, slots=True)
class RunResult:
    """How a run ended.

    `output` is that of the terminal node; where several ran, their outputs by id. `error` and
    `failed` (the component's id) are set when `state` is failed, `pauses` (reason by id) when it
    is paused. `nodes` holds what every node that ended came to.
    """

    state: RunState
    output: Mapping[str, Any] = field(default_factory=dict)
    error: Exception | None = None
    failed: str = ""
    message: str = ""
    pauses: Mapping[str, str] = field(default_factory=dict)
    nodes: Mapping[str, NodeRecord] = field(default_factory=dict)


class RunRecorder(Protocol):
    """Records what happens; `progress.Reporter` for a run."""

    def note(
        self,
        component: str,
        progress: float,
        message: str,
        *,
        kind: str = "",
        data: Mapping[str, Any] | None = None,
    ) -> None: ...

    def has_reported(self, component: str) -> bool: ...

    def settle(self, component: str) -> None: ...

    def record(self, node: NodeRecord) -> None: ...

    async def save_nodes(self) -> None: ...

    async def finish(
        self,
        state: RunState,
        *,
        message: str,
        error: str = "",
        output: Mapping[str, Any] | None = None,
    ) -> None: ...


class _Stop(Exception):
    """Ends the task group: a node failed, cancelled the run, or could not be kept."""


class Execution:
    """Runs `graph` once. `saved` are the nodes that ended in an earlier attempt.

    Both they and `reply` are by the ids of this graph's own nodes.
    """

    def __init__(
        self,
        graph: Graph,
        context: RunContext[Any],
        keeper: RunRecorder,
        *,
        saved: Mapping[str, NodeRecord],
        reply: Mapping[str, Mapping[str, Any]],
        concurrency: int,
    ) -> None:
        self._graph, self._context, self._keeper = graph, context, keeper
        self._saved, self._reply = saved, reply
        self._slots = asyncio.Semaphore(concurrency)
        self._waiting = {node: len(sources) for node, sources in graph.upstream.items()}
        self._again = _nodes_to_run(graph, saved)
        self._fired: set[tuple[str, str]] = set()
        self._variables: dict[str, Any] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._nodes: dict[str, NodeRecord] = {}
        self._outputs: dict[str, Mapping[str, Any]] = {}
        self._pauses: dict[str, str] = {}
        self._failed = ""
        self._error: Exception | None = None
        self._unkept: Exception | None = None
        self._group: asyncio.TaskGroup

    async def execute(self) -> RunResult:
        """How it ended; raises what the keeper raises."""
        start = time.perf_counter()
        loop = asyncio.get_running_loop()

        def cancel() -> None:  # from any thread
            loop.call_soon_threadsafe(self._cancel_tasks)

        forget = self._context.token.on_cancel(cancel)
        try:
            async with asyncio.TaskGroup() as self._group:
                for node_id in self._graph.order:
                    if not self._graph.upstream[node_id]:
                        self._begin(node_id)
        except* _Stop:
            pass
        finally:
            forget()
        if self._unkept is not None:
            raise self._unkept
        return await self._end(time.perf_counter() - start)

    async def _end(self, elapsed_s: float) -> RunResult:
        complete = len(self._nodes) == len(self._graph.nodes) and not self._pauses
        handled = any(n.error for n in self._nodes.values() if n.state is NodeState.DONE)
        cancelled = self._context.token.is_cancelled or isinstance(self._error, Cancelled)
        if cancelled and not complete:
            state = RunState.CANCELLED
            message = str(self._error or self._context.token.reason)
        elif self._error is not None:
            state, message = RunState.FAILED, self._nodes[self._failed].error
        elif self._pauses:
            state, message = RunState.PAUSED, "; ".join(self._pauses.values())
        else:
            state = RunState.PARTIAL if handled else RunState.DONE
            message = f"done in {elapsed_s:.2f} s"
            if not self._context.path:
                self._keeper.note(END, 1.0, message)
        failed = state is RunState.FAILED
        output = self._terminal_output() if state in SUCCEEDED else {}
        await self._keeper.finish(
            state, message=message, error=message if failed else "", output=output or None
        )
        return RunResult(
            state=state,
            output=output,
            error=self._error if failed else None,
            failed=self._failed if failed else "",
            message=message,
            pauses=self._pauses if state is RunState.PAUSED else {},
            nodes=self._nodes,
        )

    def _terminal_output(self) -> Mapping[str, Any]:
        ended = [node for node in self._graph.terminals if node in self._outputs]
        if len(ended) == 1:
            return self._outputs[ended[0]]
        return {node: self._outputs[node] for node in ended}

    def _begin(self, node_id: str) -> None:
        """Take over, skip or start a node whose predecessors are all settled."""
        upstream = self._graph.upstream[node_id]
        saved = self._saved.get(node_id)
        if saved is not None and node_id not in self._again:
            self._settle(saved, keep=False)
        elif upstream and not any((source, node_id) in self._fired for source in upstream):
            self._settle(NodeRecord(node_id, NodeState.SKIPPED))
        elif node_id not in self._again:
            # Cheap, so not checkpointed, and nobody left to read its output.
            self._settle(NodeRecord(node_id, NodeState.DONE), keep=False)
        elif self._error is None and not self._context.token.is_cancelled:
            task = self._group.create_task(self._run(self._graph.nodes[node_id]), name=node_id)
            self._tasks[node_id] = task

    def _settle(self, record: NodeRecord, *, keep: bool = True) -> None:
        """Note how a node ended, and begin those that waited for it last."""
        node_id = record.node_id
        self._nodes[node_id] = record
        self._keeper.settle(node_id)
        if keep:
            self._keeper.record(record)
        targets = self._graph.downstream[node_id]
        if record.state is NodeState.DONE:
            if record.output:
                self._outputs[node_id] = MappingProxyType(dict(record.output))
            self._assign(self._graph.nodes[node_id], record)
            fired = targets if record.fired is None else record.fired
            self._fired.update((node_id, target) for target in fired)
        for target in targets:
            self._waiting[target] -= 1
            if not self._waiting[target]:
                self._begin(target)

    def _assign(self, node: Node, record: NodeRecord) -> None:
        """Change the variable that a component sets; a resumed run does the same again."""
        assigns = node.component.assigns_of(node.param)
        if assigns is not None and not record.error:
            before = self._variables.get(assigns.name)
            self._variables[assigns.name] = assigns.apply(before, record.output.get("operand"))

    async def _run(self, node: Node) -> None:
        async with self._slots:
            started_at, start = now(), time.perf_counter()
            self._keeper.note(node.id, 0.0, "start", kind=events.NODE_STARTED)
            try:
                record = await self._attempts(node, started_at)
            except Pause as pause:
                self._pause(node.id, pause, started_at, time.perf_counter() - start)
                return
            except Cancelled as error:
                self._error = error
                raise _Stop from None
            except Exception as error:  # noqa: BLE001 (the error boundary: logged, and shown to the person)
                self._fail(node, error, started_at, time.perf_counter() - start)
                raise _Stop from None
            finally:
                self._tasks.pop(node.id, None)
            component = node.component(node.id, node.param, node.subgraph)
            at_once = component.is_saved_at_once
            keep = component.checkpoint or at_once or record.fired is not None
            data = {"elapsed_s": round(record.elapsed_s, 3)}
            said = f"done in {record.elapsed_s:.2f} s"
            self._keeper.note(node.id, 1.0, said, kind=events.NODE_FINISHED, data=data)
            if at_once:
                await self._save_now(record)
        self._settle(record, keep=keep)

    async def _save_now(self, record: NodeRecord) -> None:
        self._keeper.record(record)
        try:
            await self._keeper.save_nodes()
        except Exception as error:  # noqa: BLE001 (raised again outside the group)
            self._unkept = error
            raise _Stop from None

    async def _attempts(self, node: Node, started_at: datetime) -> NodeRecord:
        """Run a component, again where its flow says so, and handle what fails in the end."""
        attempt = 1
        while True:
            if self._context.meter is not None:
                self._context.meter.spend_node(self._context.path + node.id)
            component = node.component(node.id, node.param, node.subgraph)
            component.targets = self._graph.downstream[node.id]
            try:
                record = await self._invoke(component, started_at)
            except Exception as error:
                wait_s = node.retry.wait_before(attempt, error) if node.retry else None
                if wait_s is None:
                    if node.on_error is None or not may_be_handled(error):
                        raise
                    return self._handled(node, error, started_at)
                said = f"{self._told(node, error)} Attempt {attempt + 1} follows in {wait_s:g} s."
                data = {"attempt": attempt, "wait_s": wait_s}
                self._keeper.note(node.id, 0.0, said, kind=events.NODE_RETRY, data=data)
                await asyncio.sleep(wait_s)
                attempt += 1
            else:
                return self._without_branch(node, record)

    def _without_branch(self, node: Node, record: NodeRecord) -> NodeRecord:
        """Where a component went well, the edge to its branch for failures is not followed."""
        branch = node.on_error.branch if node.on_error is not None else None
        if branch is None or record.fired is not None:
            return record
        fired = tuple(t for t in self._graph.downstream[node.id] if t != branch)
        return replace(record, fired=fired)

    def _handled(self, node: Node, error: Exception, started_at: datetime) -> NodeRecord:
        """A failure whose flow says how to go on."""
        assert node.on_error is not None  # noqa: S101 (the caller looked)
        message = self._told(node, error)
        self._log_failure(node, error, message)
        self._keeper.note(node.id, 0.0, message, kind=events.NODE_FAILED, data={"handled": True})
        branch = node.on_error.branch
        output, _ = normalise_output(node.on_error.output(error))
        return NodeRecord(
            node.id,
            NodeState.DONE,
            output,
            fired=None if branch is None else (branch,),
            elapsed_s=(now() - started_at).total_seconds(),
            error=message,
            started_at=started_at,
        )

    async def _invoke(self, component: Component[Any], started_at: datetime) -> NodeRecord:
        inputs = self._inputs(component)
        if component.takes_references:
            component.param = self._resolved(component)
        output = await component.invoke(self._context, inputs)
        targets = self._graph.downstream[component.id]
        strangers = [t for t in component.fired or () if t not in targets]
        if strangers:
            raise InvalidInput(
                f"component {component.id!r} fired {', '.join(map(repr, strangers))}, "
                f"but no edge leads from it there"
            )
        if not self._keeper.has_reported(component.id):
            keys = ", ".join(key for key in output if not key.startswith("_"))
            self._keeper.note(
                component.id, 0.9, f"wrote {keys or 'nothing'} ({component.output_bytes:,} bytes)"
            )
        return NodeRecord(
            component.id,
            NodeState.DONE,
            output,
            fired=component.fired,
            elapsed_s=output["_elapsed_time"],
            started_at=started_at,
        )

    def _resolved(self, component: Component[Any]) -> ComponentParam:
        """The parameters with values in place of references; `InvalidInput` where they don't fit."""
        given = component.param.model_dump(mode="json", by_alias=True, exclude_unset=True)
        resolved = {
            name: value if name in component.literal else resolve(value, self._look_up)
            for name, value in given.items()
        }
        try:
            return type(component.param).model_validate(resolved)
        except ValidationError as error:
            first = error.errors(include_url=False, include_context=False, include_input=False)[0]
            field = ".".join(map(str, first["loc"]))
            raise InvalidInput(
                f"component {component.id!r} ({component.type}): what its param `{field}` refers to"
                f" does not fit: {first['msg']}",
                field=field,
            ) from None

    def _look_up(self, path: Path) -> Any:  # noqa: ANN401 (JSON)
        if path.root in self._graph.nodes:
            if path.root not in self._outputs:
                return ABSENT
            return walk(self._outputs[path.root], path.steps)
        if path.root == "var":
            return walk(self._variables, path.steps)
        if path.root not in self._context.scope:
            return ABSENT
        return walk(self._context.scope[path.root], path.steps)

    def _inputs(self, component: Component[Any]) -> Inputs:
        graph, node_id = self._graph, component.id
        merged: dict[str, Any] = {}
        for key, writers in graph.writers[node_id].items():
            wrote = [w for w in writers if key in self._outputs.get(w, ())]
            rivals = wrote if len(wrote) < 2 else latest(wrote, graph.ancestors)
            if len(rivals) == 1:
                merged[key] = self._outputs[rivals[0]][key]
            elif not rivals and key in self._context.input:
                merged[key] = self._context.input[key]
        missing = component.reads_of(component.param) - merged.keys()
        if missing and not component.reads_by_id:
            raise InvalidInput(
                f"component {node_id!r} ({component.type}) reads {', '.join(sorted(missing))}, "
                "which no component before it wrote in this run"
            )
        saved = self._saved.get(node_id)
        paused = saved is not None and saved.state is NodeState.PAUSED
        before = graph.ancestors[node_id]
        return Inputs(
            merged=merged,
            by_id={
                INPUT: self._context.input,
                **{i: output for i, output in self._outputs.items() if i in before},
            },
            upstream=tuple(s for s in graph.upstream[node_id] if (s, node_id) in self._fired),
            reply=self._reply.get(node_id),
            saved=saved.output if saved is not None and paused else None,
        )

    def _pause(self, node_id: str, pause: Pause, started_at: datetime, elapsed_s: float) -> None:
        self._pauses.update(pause.inner or {self._context.path + node_id: pause.reason})
        record = NodeRecord(
            node_id,
            NodeState.PAUSED,
            pause.saved,
            elapsed_s=elapsed_s,
            error=pause.reason,
            started_at=started_at,
            form=pause.form,
        )
        self._nodes[node_id] = record
        self._keeper.record(record)
        if not pause.inner:
            said = f"paused: {pause.reason}"
            self._keeper.note(node_id, 0.0, said, kind=events.PAUSED, data={"form": pause.form})

    def _fail(self, node: Node, error: Exception, started_at: datetime, elapsed_s: float) -> None:
        message = self._told(node, error)
        self._log_failure(node, error, message)
        if self._error is not None:  # the first failure names the run's
            return
        self._failed, self._error = node.id, error
        record = NodeRecord(
            node.id,
            NodeState.FAILED,
            elapsed_s=elapsed_s,
            error=message,
            started_at=started_at,
        )
        self._nodes[node.id] = record
        self._keeper.record(record)
        self._keeper.note(node.id, -1.0, message, kind=events.NODE_FAILED)

    def _told(self, node: Node, error: Exception) -> str:
        if isinstance(error, EngineError):
            return str(error)
        return (
            f"component {node.id!r} ({node.component.type}) failed unexpectedly "
            f"({type(error).__name__}); the server's log has the details"
        )

    def _log_failure(self, node: Node, error: Exception, message: str) -> None:
        expected = isinstance(error, EngineError)
        self._context.log.log(
            # A document that can't be read is its owner's affair, who sees the error; a fault is ours.
            logging.INFO if expected else logging.ERROR,
            "component %s of run %s failed: %s",
            self._context.path + node.id,
            self._context.ids.run_id,
            error if expected else message,
            exc_info=None if expected else error,
        )

    def _cancel_tasks(self) -> None:
        for task in self._tasks.values():
            task.cancel()


def _nodes_to_run(graph: Graph, saved: Mapping[str, NodeRecord]) -> frozenset[str]:
    """Nodes that did not end before, unless (not checkpointed) all that is behind them did."""
    ended = {i for i, n in saved.items() if n.state in {NodeState.DONE, NodeState.SKIPPED}}
    open_nodes = [node for node in graph.nodes if node not in ended]
    if not ended:
        return frozenset(open_nodes)
    needed = frozenset().union(
        *(graph.ancestors[n] for n in open_nodes if n in saved or not graph.downstream[n])
    )
    return frozenset(n for n in open_nodes if n in saved or n in needed or not graph.downstream[n])
