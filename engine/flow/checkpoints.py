"""Runs in SQL: the adapter of the `RunStore` port over `run`, `run_node` and `run_event`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Integer, String, bindparam, delete, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession

from engine.clock import new_id, now
from engine.db.session import Database
from engine.db.tables import Run, RunEvent, RunNode
from engine.flow.context import RunIds
from engine.flow.store import (
    ENDED,
    SUCCEEDED,
    FlowEvent,
    LogEntry,
    NodeRecord,
    NodeState,
    RunUpdate,
    SavedRun,
)

Also = Callable[[AsyncSession, RunIds, RunUpdate], Awaitable[None]]

_FIRED = "_fired"  # where a record's chosen targets are in the output column


class SqlRunStore:
    """Keeps runs in SQL, one short transaction a write.

    `also` runs in the same transaction, before the run is touched: ingestion sets the document's
    progress there, and raises `Cancelled` when the job's lease is gone, which stops the run.
    With `keep_outputs` off a finished run keeps its nodes but not what they wrote, which for
    pipelines is as much again as the index; running it again then starts over.
    """

    def __init__(
        self, database: Database, *, also: Also | None = None, keep_outputs: bool = True
    ) -> None:
        self._database = database
        self._also = also
        self._keep_outputs = keep_outputs

    async def load(self, ids: RunIds) -> SavedRun | None:
        """What the run left behind, None where there is nothing to continue from."""
        async with self._database.read() as session:
            run = (
                await session.execute(
                    select(Run.dsl, Run.state).where(
                        Run.id == ids.run_id, Run.tenant_id == ids.tenant_id
                    )
                )
            ).one_or_none()
            if run is None or (run.state in SUCCEEDED and not self._keep_outputs):
                return None
            nodes = await session.scalars(
                select(RunNode).where(
                    RunNode.run_id == ids.run_id, RunNode.tenant_id == ids.tenant_id
                )
            )
            return SavedRun(run.dsl, {node.node_id: _record(node) for node in nodes})

    async def write(self, ids: RunIds, change: RunUpdate) -> None:
        """Apply `change`; raises `Unavailable` when the database can't, and what `also` raises."""

        async def use_case(session: AsyncSession) -> None:
            if self._also is not None:
                await self._also(session, ids, change)
            # On the connection: a session's mapped rows would take twice as long to write.
            connection = await session.connection()
            known, before = await self._write_run(connection, ids, change)
            if known:
                await self._clear_nodes(connection, ids, change)
            if change.nodes:
                keep = self._keep_outputs or change.state not in SUCCEEDED
                rows = [_row(ids, node, with_output=keep) for node in change.nodes]
                await connection.execute(_ADD_NODES, rows)
            if change.events:
                numbered = enumerate(change.events, start=before + 1)
                rows = [event_row(ids.tenant_id, ids.run_id, seq, e) for seq, e in numbered]
                await connection.execute(_ADD_EVENTS, rows)

        await self._database.run_write(use_case)

    async def read_log(
        self, tenant_id: str, run_id: str, *, after: str = ""
    ) -> list[tuple[str, LogEntry]]:
        """The durable log behind position `after`, oldest first, each entry with its position."""
        async with self._database.read() as session:
            events = await session.scalars(
                select(RunEvent)
                .where(
                    RunEvent.tenant_id == tenant_id, RunEvent.run_id == run_id, RunEvent.id > after
                )
                .order_by(RunEvent.id)
            )
            return [(event.id, entry_of(event)) for event in events]

    async def _write_run(
        self, connection: AsyncConnection, ids: RunIds, change: RunUpdate
    ) -> tuple[bool, int]:
        """Update or create the run; whether it was there, and its last event before this write."""
        values: dict[str, Any] = {
            "state": change.state.value,
            "error": change.error,
            "dsl": change.dsl,
            "ended_at": now() if change.state in ENDED else None,
        }
        if change.output is not None:
            values["output"] = dict(change.output)
        if change.progress is not None:
            values |= {"progress": change.progress, "message": change.message}
        count = len(change.events)
        last = await connection.scalar(_CHANGE_RUN, {**_mine(ids), **values, "happened": count})
        if last is None:
            row = {
                "id": ids.run_id,
                "tenant_id": ids.tenant_id,
                "flow_id": ids.flow_id,
                "job_id": ids.job_id or None,
                "document_id": ids.document_id or None,
            }
            await connection.execute(_ADD_RUN, [row | values | {"last_seq": count}])
            return False, 0
        return True, last - count

    async def _clear_nodes(
        self, connection: AsyncConnection, ids: RunIds, change: RunUpdate
    ) -> None:
        """Make room for the nodes of `change`, and drop what need not be kept any longer."""
        names = [node.node_id for node in change.nodes]
        if change.fresh:
            await connection.execute(_DROP_NODES, _mine(ids))
        elif names:
            await connection.execute(_DROP_SOME_NODES, {**_mine(ids), "names": names})
        if change.state in SUCCEEDED and not self._keep_outputs:
            await connection.execute(_CHANGE_NODES, {**_mine(ids), "output": {}})


# Built once, because each run of a small document writes most of them: putting a statement together
# takes longer than the database does. An update sets the columns that its parameters name.
_OF_NODES = (
    RunNode.run_id == bindparam("run", type_=String),
    RunNode.tenant_id == bindparam("tenant", type_=String),
)
_CHANGE_RUN = (
    update(Run)
    .where(
        Run.id == bindparam("run", type_=String), Run.tenant_id == bindparam("tenant", type_=String)
    )
    .values(last_seq=Run.last_seq + bindparam("happened", type_=Integer))
    .returning(Run.last_seq)
)
_ADD_RUN, _ADD_NODES, _ADD_EVENTS = insert(Run), insert(RunNode), insert(RunEvent)
_CHANGE_NODES = update(RunNode).where(*_OF_NODES)
_DROP_NODES = delete(RunNode).where(*_OF_NODES)
_DROP_SOME_NODES = _DROP_NODES.where(RunNode.node_id.in_(bindparam("names", expanding=True)))


def _mine(ids: RunIds) -> dict[str, str]:
    return {"run": ids.run_id, "tenant": ids.tenant_id}


def _row(ids: RunIds, node: NodeRecord, *, with_output: bool) -> dict[str, Any]:
    output: dict[str, Any] = dict(node.output) if with_output else {}
    if node.fired is not None:
        output[_FIRED] = list(node.fired)
    return {
        "run_id": ids.run_id,
        "node_id": node.node_id,
        "tenant_id": ids.tenant_id,
        "state": node.state.value,
        "output": output,
        "elapsed_s": node.elapsed_s,
        "error": node.error,
        "started_at": node.started_at,
    }


def _record(row: RunNode) -> NodeRecord:
    output = dict(row.output)
    fired = output.pop(_FIRED, None)
    return NodeRecord(
        row.node_id,
        NodeState(row.state),
        output,
        fired=None if fired is None else tuple(fired),
        elapsed_s=row.elapsed_s,
        error=row.error,
        started_at=row.started_at,
    )


def event_row(tenant_id: str, run_id: str, seq: int, event: FlowEvent) -> dict[str, Any]:
    """A row of `run_event`."""
    entry = event.entry
    return {
        "id": new_id(),
        "tenant_id": tenant_id,
        "run_id": run_id,
        "seq": seq,
        "kind": event.kind,
        "data": dict(event.data),
        "component": entry["component"][:300],  # run_event.component; paths of loops grow
        "progress": entry["progress"],
        "message": entry["message"],
        "at": datetime.fromtimestamp(entry["timestamp"], UTC),
    }


def entry_of(event: RunEvent) -> LogEntry:
    """A stored line of a run's log."""
    return LogEntry(
        component=event.component,
        progress=event.progress,
        message=event.message,
        datetime=event.at.isoformat(timespec="milliseconds"),
        timestamp=event.at.timestamp(),
    )
