"""Runs as rows: started, listed, read, followed, answered and cancelled. `running.py` executes them.

A run belongs to who started it: for everyone else it is not there, except that whom it asks
something sees the question. An event of a run has a number, and whoever reads on gives the last one
seen. What a run wrote is shown without what is not for reading (keys that begin with "_").
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import insert, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from engine.access import gate
from engine.clock import new_id, now
from engine.db.tables import Flow, FlowVersion, Job, Run, RunEvent, RunNode, RunPause
from engine.domain import Audience, JobState, Lane, Principal, Scope
from engine.errors import Conflict, NotFound
from engine.flow import events
from engine.flow.store import ENDED, NodeState, RunState
from engine.jobs import endings, outbox
from engine.jobs.kinds import RUN_WORKFLOW
from engine.workflows.budget import RunBudget
from engine.workflows.definitions import WORKFLOW, PinnedText

LIST_MAX = 200
_OPEN = (RunState.QUEUED, RunState.RUNNING, RunState.PAUSED)


@dataclass(frozen=True, slots=True)
class NodeInfo:
    """How far a component came; `output` is what it wrote."""

    path: str
    state: str
    elapsed_s: float
    error: str
    started_at: datetime
    output: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class PauseInfo:
    """A question that a run waits for."""

    id: str
    run_id: str
    path: str
    workflow: str
    message: str
    form: Mapping[str, Any]
    state: str
    answered_by: str
    deadline_at: datetime | None
    created_at: datetime


@dataclass(frozen=True, slots=True)
class RunInfo:
    """A run as its owner sees it; `text` is what it said."""

    id: str
    workflow: str
    version: int
    state: str
    trigger: str
    progress: float
    message: str
    error: str
    input: Mapping[str, Any]
    output: Mapping[str, Any]
    text: str
    usage: Mapping[str, Any]
    started_at: datetime
    ended_at: datetime | None
    nodes: Sequence[NodeInfo] = ()
    pauses: Sequence[PauseInfo] = ()
    last_seq: int = 0

    @property
    def is_over(self) -> bool:
        """Whether nothing more will happen."""
        return self.state in ENDED


@dataclass(frozen=True, slots=True)
class EventInfo:
    """One thing that happened in a run."""

    seq: int
    kind: str
    path: str
    message: str
    progress: float
    data: Mapping[str, Any]
    at: datetime


async def start(
    session: AsyncSession,
    principal: Principal,
    audience: Audience,
    what: PinnedText,
    dsl: str,
    *,
    given: Mapping[str, Any],
    trigger: str,
    key: str = "",
    budget: RunBudget | None = None,
    parent: tuple[str, str] | None = None,
    simulates: bool = False,
) -> str:
    """The id of a new run, queued. A second one under the same `key` is the first.

    `dsl` is the text that runs, completed; `given` its checked inputs. One that `simulates` notes
    what it would change outside, and changes nothing.
    """
    gate.require(principal, Scope.KB_ASK)
    if key:
        known = await session.scalar(
            select(Run).where(
                Run.tenant_id == principal.tenant_id,
                Run.flow_id == what.flow_id,
                Run.idempotency_key == key,
            )
        )
        if known is not None:
            if not _is_own(known, principal):
                raise Conflict("This Idempotency-Key was used by somebody else.")
            if known.input != dict(given):
                raise Conflict("This Idempotency-Key was used with other inputs.")
            return known.id
    run_id = new_id()
    session.add(
        Run(
            id=run_id,
            tenant_id=principal.tenant_id,
            flow_id=what.flow_id,
            flow_version_id=what.version_id,
            kind=WORKFLOW,
            trigger=trigger,
            user_id=principal.user_id,
            who=_who(principal),
            audience={
                "key": audience.key,
                "label": audience.label,
                "tokens": sorted(audience.tokens),
            },
            parent_run_id=parent[0] if parent else None,
            parent_path=parent[1] if parent else "",
            simulates=simulates,
            input=dict(given),
            budget=(budget or RunBudget()).to_json(),
            idempotency_key=key or None,
            state=RunState.QUEUED,
            dsl=dsl,
            message="queued",
        )
    )
    await session.flush()
    run = await session.get_one(Run, run_id)
    await add_event(session, run, events.RUN_STARTED, "started", {"workflow": what.name})
    await enqueue(session, run)
    return run_id


def _who(principal: Principal) -> dict[str, Any]:
    """Who a run works for. The tokens bound what it may read; what is held is computed anew."""
    return {
        "user_id": principal.user_id,
        "identity_id": principal.identity_id,
        "api_token_id": principal.api_token_id,
        "session_id": principal.session_id,
        "name": principal.name,
        "scopes": sorted(principal.scopes),
        "tokens": sorted(principal.tokens),
    }


async def enqueue(session: AsyncSession, run: Run) -> None:
    """Queue an attempt of a run."""
    run.job_id = await outbox.enqueue(
        session,
        tenant_id=run.tenant_id,
        kind=RUN_WORKFLOW,
        payload={"run_id": run.id},
        lane=Lane.INTERACTIVE,
    )


async def add_event(
    session: AsyncSession,
    run: Run,
    kind: str,
    message: str,
    data: Mapping[str, Any] | None = None,
    *,
    path: str = "",
) -> None:
    """Append an event to a run whose row this transaction holds."""
    run.last_seq += 1
    await session.execute(
        insert(RunEvent).values(
            id=new_id(),
            tenant_id=run.tenant_id,
            run_id=run.id,
            seq=run.last_seq,
            kind=kind,
            data=dict(data or {}),
            component=path,
            progress=run.progress,
            message=message,
            at=now(),
        )
    )
    await session.flush()


async def list_runs(
    session: AsyncSession,
    principal: Principal,
    *,
    flow_id: str = "",
    state: str = "",
    before: str = "",
    limit: int = 50,
) -> list[RunInfo]:
    """The principal's own runs, newest first; `before` is the id of the last one seen."""
    gate.require(principal, Scope.KB_ASK)
    query = _own(principal)
    if flow_id:
        query = query.where(Run.flow_id == flow_id)
    if state:
        query = query.where(Run.state == state)
    if before:
        query = query.where(Run.id < before)
    rows = await session.scalars(query.order_by(Run.id.desc()).limit(min(limit, LIST_MAX)))
    runs = list(rows)
    names = await _names(session, runs)
    return [_run(row, names.get(row.id, ("", 0))) for row in runs]


async def get_run(session: AsyncSession, principal: Principal, run_id: str) -> RunInfo:
    """One of the principal's own, with its components and open questions; else `NotFound`."""
    gate.require(principal, Scope.KB_ASK)
    row = await _own_run(session, principal, run_id)
    names = await _names(session, [row])
    name = names.get(row.id, ("", 0))
    nodes = await session.scalars(
        select(RunNode)
        .where(RunNode.run_id == row.id, RunNode.tenant_id == row.tenant_id)
        .order_by(RunNode.started_at, RunNode.node_id)
    )
    pauses = await session.scalars(
        select(RunPause)
        .where(RunPause.run_id.in_(await family(session, row.id)))
        .order_by(RunPause.id)
    )
    lost = await _lost(session, row)
    return _run(
        row,
        name,
        nodes=[node_info(node) for node in nodes],
        pauses=[pause_info(pause, name[0]) for pause in pauses],
        lost=lost,
    )


async def text_that_runs(
    session: AsyncSession, principal: Principal, run_id: str
) -> tuple[str, str]:
    """The id of the workflow of one of the principal's own runs, and the text it pinned."""
    gate.require(principal, Scope.KB_ASK)
    row = await _own_run(session, principal, run_id)
    return row.flow_id, row.dsl


async def _lost(session: AsyncSession, row: Run) -> str:
    """Why a run will not go on though its row says that it does: its job was given up."""
    if row.state not in {RunState.QUEUED, RunState.RUNNING} or row.job_id is None:
        return ""
    job = await session.get(Job, row.job_id)
    return job.error if job is not None and job.state == JobState.FAILED else ""


async def read_events(
    session: AsyncSession, principal: Principal, run_id: str, *, after: int = 0, limit: int = 500
) -> list[EventInfo]:
    """What happened in one of the principal's own runs behind event `after`, in order."""
    gate.require(principal, Scope.KB_ASK)
    row = await _own_run(session, principal, run_id)
    rows = await session.scalars(
        select(RunEvent)
        .where(RunEvent.run_id == row.id, RunEvent.seq > after)
        .order_by(RunEvent.seq)
        .limit(limit)
    )
    return [
        EventInfo(e.seq, e.kind, e.component, e.message, e.progress, e.data, e.at) for e in rows
    ]


async def cancel_run(session: AsyncSession, principal: Principal, run_id: str) -> str:
    """Stop one of the principal's own runs; the state it then has."""
    gate.require(principal, Scope.KB_ASK)
    row = await _own_run(session, principal, run_id, lock=True)
    if row.state in ENDED:
        return row.state
    await gate.audit(session, principal, "workflow.cancel", row.id)
    for started in await session.scalars(select(Run.id).where(Run.parent_run_id == row.id)):
        await cancel_run(session, principal, started)
    if row.job_id is not None and row.state != RunState.PAUSED:
        state = await endings.cancel(session, row.tenant_id, row.job_id)
        if state is JobState.RUNNING:
            return row.state  # its worker is told, and ends it
    await end_now(session, row, RunState.CANCELLED, "Cancelled.")
    return row.state


async def end_now(session: AsyncSession, row: Run, state: RunState, message: str) -> None:
    """End a run that no worker is at."""
    row.state, row.message, row.ended_at = state, message, now()
    if state is RunState.FAILED:
        row.error = message
    await close_pauses(session, row.id)
    await add_event(session, row, events.RUN_FINISHED, message, {"state": str(state)})
    await wake_parent(session, row)


async def wake_parent(session: AsyncSession, row: Run) -> None:
    """Queue the run that waits for this one, which is over.

    One that still works finds it when it pauses.
    """
    if row.parent_run_id is None:
        return
    await session.flush()
    parent = await session.scalar(select(Run).where(Run.id == row.parent_run_id).with_for_update())
    if parent is not None and parent.state == RunState.PAUSED:
        parent.state, parent.message = RunState.QUEUED, "queued"
        await enqueue(session, parent)


async def family(session: AsyncSession, run_id: str) -> list[str]:
    """This run, those it started, and those they started."""
    found, level = [run_id], [run_id]
    while level:
        rows = await session.scalars(select(Run.id).where(Run.parent_run_id.in_(level)))
        level = [id_ for id_ in rows if id_ not in found]
        found += level
    return found


async def close_pauses(session: AsyncSession, run_id: str) -> None:
    """Nobody need reply any more."""
    await session.execute(
        update(RunPause)
        .where(RunPause.run_id == run_id, RunPause.state == "open")
        .values(state="cancelled")
    )


async def _own_run(
    session: AsyncSession, principal: Principal, run_id: str, *, lock: bool = False
) -> Run:
    query = _own(principal).where(Run.id == run_id)
    row: Run | None = await session.scalar(query.with_for_update() if lock else query)
    if row is None:
        raise NotFound(f"No run {run_id!r} of yours.")
    return row


def _own(principal: Principal) -> Any:  # noqa: ANN401 (a Select)
    query = select(Run).where(Run.tenant_id == principal.tenant_id, Run.kind == WORKFLOW)
    if principal.user_id is not None:
        return query.where(Run.user_id == principal.user_id)
    name = "api_token_id" if principal.identity_id is None else "identity_id"
    own = getattr(principal, name) or "-"
    return query.where(Run.user_id.is_(None), Run.who[name].as_string() == own)


def _is_own(row: Run, principal: Principal) -> bool:
    if principal.user_id is not None:
        return row.user_id == principal.user_id
    return row.user_id is None and is_asker(row.who, principal)


def is_asker(who: Mapping[str, Any], principal: Principal) -> bool:
    """Whether a run that works for no member works for this account or service key."""
    if principal.identity_id is None:
        return principal.api_token_id is not None and (
            who.get("identity_id") is None and who.get("api_token_id") == principal.api_token_id
        )
    return who.get("identity_id") == principal.identity_id


async def _names(session: AsyncSession, rows: Sequence[Run]) -> dict[str, tuple[str, int]]:
    """Name and version of each run's workflow; a deleted one has no name."""
    flows = {row.flow_id for row in rows}
    versions = {row.flow_version_id for row in rows if row.flow_version_id}
    found = await session.execute(select(Flow.id, Flow.name).where(Flow.id.in_(flows)))
    names: dict[str, str] = {row.id: row.name for row in found}
    numbered = await session.execute(
        select(FlowVersion.id, FlowVersion.number).where(FlowVersion.id.in_(versions))
    )
    numbers: dict[str, int] = {row.id: row.number for row in numbered}
    return {
        row.id: (
            names.get(row.flow_id, row.flow_id.removeprefix("template:")),
            numbers.get(row.flow_version_id or "", 0),
        )
        for row in rows
    }


def for_reading(value: Any) -> Any:  # noqa: ANN401 (JSON)
    """A value without the keys that are not for reading."""
    if isinstance(value, Mapping):
        return {k: for_reading(v) for k, v in value.items() if not str(k).startswith("_")}
    if isinstance(value, list):
        return [for_reading(item) for item in value]
    return value


def text_of(nodes: Sequence[NodeInfo], output: Mapping[str, Any]) -> str:
    """What a run said: its messages in order, else its answer or text."""
    said = [
        str(node.output["message"])
        for node in nodes
        if set(node.output) == {"message"} and node.state == NodeState.DONE and "/" not in node.path
    ]
    if said:
        return "\n\n".join(said)
    for key in ("answer", "text", "message"):
        if isinstance(output.get(key), str):
            return str(output[key])
    return ""


def node_info(row: RunNode) -> NodeInfo:
    """How far a component came, without what is not for reading."""
    return NodeInfo(
        path=row.node_id,
        state=row.state,
        elapsed_s=row.elapsed_s,
        error=row.error,
        started_at=row.started_at,
        output=for_reading(row.output) if row.state != NodeState.PAUSED else {},
    )


def pause_info(row: RunPause, workflow: str) -> PauseInfo:
    """A question as the one who is asked sees it."""
    shown = {key: value for key, value in row.form.items() if key not in {"sources", "fields"}}
    return PauseInfo(
        id=row.id,
        run_id=row.run_id,
        path=row.path,
        workflow=workflow,
        message=row.message,
        form=shown,
        state=row.state,
        answered_by=row.answered_by,
        deadline_at=row.deadline_at,
        created_at=row.created_at,
    )


def _run(
    row: Run,
    name: tuple[str, int],
    *,
    nodes: Sequence[NodeInfo] = (),
    pauses: Sequence[PauseInfo] = (),
    lost: str = "",
) -> RunInfo:
    output = for_reading(row.output)
    return RunInfo(
        id=row.id,
        workflow=name[0],
        version=name[1],
        state=RunState.FAILED if lost else row.state,
        trigger=row.trigger,
        progress=row.progress,
        message=lost or row.message,
        error=lost or row.error,
        input=for_reading(row.input),
        output=output,
        text=text_of(nodes, output),
        usage=row.usage,
        started_at=row.started_at,
        ended_at=row.ended_at,
        nodes=nodes,
        pauses=pauses,
        last_seq=row.last_seq,
    )
