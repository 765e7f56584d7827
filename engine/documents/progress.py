"""Following documents on their way into the index: state, progress by component, time left, log.

`Engine.watch` hands it to the doors. It reads SQL alone, so it works from any process; a run's log
is there with its bursts thinned out, at most half a second late.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import anyio
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from engine.access import gate
from engine.db.session import Database
from engine.db.tables import Document, Run, RunEvent
from engine.documents.document_status import explain, time_left_s
from engine.domain import Principal, Scope
from engine.flow.checkpoints import entry_of
from engine.flow.store import LogEntry

LOOK_UP = 500  # ids a statement
EXPLAINED = 5  # documents whose waiting is explained in a sentence, which takes some statements
LOGGED = 50  # runs under way whose log is shown; of the others, only their progress
QUIET_S = 15.0  # how long nothing need be said to who watches


@dataclass(frozen=True, slots=True)
class DocumentProgress:
    """A document at one moment, and what its run's log said since the last one.

    `components` is how far each one of the run is (0 to 1, -1 failed), as far as it was heard of.
    `left_s` is None where it is unknown.
    """

    id: str
    title: str
    state: str
    vectors: str
    progress: float
    message: str
    chunk_count: int
    error: str
    components: Mapping[str, float] = field(default_factory=dict)
    left_s: float | None = None
    entries: Sequence[LogEntry] = ()

    @property
    def has_ended(self) -> bool:
        """Whether nothing more happens to it by itself."""
        return self.state not in {"pending", "running"}


async def watch(
    db: Database,
    principal: Principal,
    document_ids: Sequence[str],
    *,
    every_s: float = 0.5,
) -> AsyncIterator[list[DocumentProgress]]:
    """What changed of the documents, again and again, until each has ended.

    The first list holds all that are visible; an empty one says, every `QUIET_S`, that nothing
    changed.
    """
    gate.require(principal, Scope.KB_READ)
    eyes = _Eyes(principal)
    reported: dict[str, DocumentProgress] = {}
    spoke_at = time.monotonic()
    while True:
        async with db.read() as session:
            seen = await eyes.look(session, document_ids)
        changed = [item for item in seen if item.entries or reported.get(item.id) != item]
        reported |= {item.id: replace(item, entries=()) for item in seen}
        if changed or time.monotonic() - spoke_at >= QUIET_S:
            spoke_at = time.monotonic()
            yield changed
        if all(item.has_ended for item in seen):
            return
        await anyio.sleep(every_s)


async def in_work(session: AsyncSession, principal: Principal, kb_id: str = "") -> list[str]:
    """The visible documents that are pending or running, oldest first."""
    gate.require(principal, Scope.KB_READ)
    query = gate.select_documents(principal).where(Document.state.in_(["pending", "running"]))
    if kb_id:
        query = query.where(Document.kb_id == kb_id)
    return [row.id for row in await session.scalars(query.order_by(Document.id))]


class _Eyes:
    """Looks, and remembers how far it has read each run's log."""

    def __init__(self, principal: Principal) -> None:
        self._principal = principal
        self._read: dict[str, str] = {}  # by run under way: the last entry
        self._ended: set[str] = set()  # runs whose log is read to its end
        self._components: dict[str, dict[str, float]] = {}  # by run

    async def look(
        self, session: AsyncSession, document_ids: Sequence[str]
    ) -> list[DocumentProgress]:
        found: list[DocumentProgress] = []
        for start in range(0, len(document_ids), LOOK_UP):
            some = document_ids[start : start + LOOK_UP]
            rows = list(
                await session.scalars(
                    gate.select_documents(self._principal).where(Document.id.in_(some))
                )
            )
            runs = await self._last_runs(session, [row.id for row in rows])
            for row in rows:
                run = runs.get(row.id)
                message = row.message
                if row.state == "pending":
                    few = len(document_ids) <= EXPLAINED
                    message = await explain(session, row) if few else message or "waits"
                found.append(await self._watched(session, row, run, message))
        return found

    async def _last_runs(
        self, session: AsyncSession, document_ids: Sequence[str]
    ) -> dict[str, Run]:
        last = (
            select(func.max(Run.id))
            .where(Run.document_id.in_(document_ids))
            .group_by(Run.document_id)
        )
        rows = await session.scalars(select(Run).where(Run.id.in_(last)))
        return {row.document_id: row for row in rows if row.document_id is not None}

    async def _watched(
        self, session: AsyncSession, row: Document, run: Run | None, message: str
    ) -> DocumentProgress:
        entries: list[LogEntry] = []
        # A run of an earlier attempt or revision says nothing of what is waiting now.
        if run is not None and row.state != "pending":
            entries = await self._log(session, run)
        left_s = None
        if row.state == "running" and run is not None:
            left_s = time_left_s(run.started_at, row.progress)
        return DocumentProgress(
            id=row.id,
            title=row.title,
            state=row.state,
            vectors=row.vectors,
            progress=row.progress,
            message=message,
            chunk_count=row.chunk_count,
            error=row.error,
            components=dict(self._components.get(run.id, {})) if run is not None else {},
            left_s=None if left_s is None else float(round(left_s)),  # a moment is no news
            entries=entries,
        )

    async def _log(self, session: AsyncSession, run: Run) -> list[LogEntry]:
        if run.id in self._ended or (run.id not in self._read and len(self._read) >= LOGGED):
            return []
        rows = list(
            await session.scalars(
                select(RunEvent)
                .where(
                    RunEvent.tenant_id == self._principal.tenant_id,
                    RunEvent.run_id == run.id,
                    RunEvent.id > self._read.get(run.id, ""),
                )
                .order_by(RunEvent.id)
            )
        )
        self._read.setdefault(run.id, "")
        if rows:
            self._read[run.id] = rows[-1].id
        elif run.ended_at is not None:
            self._ended.add(run.id)
            del self._read[run.id]  # its place is another's
        known = self._components.setdefault(run.id, {})
        known |= {row.component: row.progress for row in rows}
        return [entry_of(row) for row in rows]
