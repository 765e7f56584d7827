"""How the installation is doing, and the logs of changes and of tool calls.

`Engine.operations` is an `Operations`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from datetime import datetime
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

import anyio

from engine import threads
from engine.access import gate
from engine.blobs.port import BlobStore
from engine.db.session import Database
from engine.domain import Principal, Scope
from engine.errors import Blocked, Conflict
from engine.index.port import SearchIndex
from engine.jobs import backlog
from engine.jobs.kinds import JOB_KINDS
from engine.limits import Limits
from engine.operations import audit_log, probes, reconcile, status, tenant_export, tool_call_log
from engine.operations.audit_log import AuditEntry, ChainReport
from engine.operations.index_home import IndexHome
from engine.operations.integration_probes import IntegrationProbes
from engine.operations.probes import Probe, Probed
from engine.operations.process_usage import ProcessUsage, process_figures, read_processes
from engine.operations.reconcile import Drift
from engine.operations.resources import Resources, read_resources
from engine.operations.status import Status
from engine.operations.tool_call_log import LoggedCall, ToolCallLog

PROBE_THREADS = 2


class Operations:
    """The verbs of the people who run Scrubjay."""

    def __init__(
        self,
        db: Database,
        index: SearchIndex,
        blobs: BlobStore,
        limits: Limits,
        *,
        call_log: ToolCallLog,
        check_model: Callable[[], str],
        index_home: IndexHome | None = None,
        probe_db: Database | None = None,
        model_probes: Mapping[str, Probe] = MappingProxyType({}),
        data_folder: Path | None = None,
        integrations: IntegrationProbes | None = None,
    ) -> None:
        self._db = db
        self._index = index
        self._blobs = blobs
        self._limits = limits
        self._call_log = call_log
        self._check_model = check_model
        self._index_home = index_home
        self._probe_db = probe_db or db
        self._probe_threads: anyio.CapacityLimiter | None = None  # made in the loop that uses it
        self._model_probes = model_probes
        self._data_folder = data_folder
        self.integration_probes = integrations or IntegrationProbes()

    async def status(self, principal: Principal) -> Status:
        """Counts of what the principal may read, and of the work in progress."""
        return await status.read_status(self._db, self._index, principal)

    async def resources(self, principal: Principal) -> Resources:
        """What the tenant takes up, for its admins."""
        return await read_resources(self._db, self._index, principal)

    async def processes(self, principal: Principal) -> list[ProcessUsage]:
        """What this process and the workers take of their machines; with `ops:read`."""
        return await read_processes(self._db, principal, self.process_figures())

    def process_figures(self) -> dict[str, float]:
        """What this process takes of its machine, for monitoring."""
        return process_figures(self._data_folder)

    async def health(self) -> dict[str, str]:
        """Each dependency: an empty text when it is well, else what to do.

        Waits for no thread and no connection that other work has taken.
        """
        if self._probe_threads is None:
            self._probe_threads = anyio.CapacityLimiter(PROBE_THREADS)
        with threads.of_limiter(self._probe_threads):
            return await status.read_health(
                self._probe_db,
                self._index,
                self._blobs,
                self._limits,
                self._check_model,
                index_home=self._index_home,
            )

    async def integrations(self) -> dict[str, str]:
        """What the operator and plugins watch besides: an empty text where it is well.

        `integration_probes` says how often each is asked.
        """
        return await self.integration_probes.faults()

    async def all_health(self) -> dict[str, str]:
        """The parts of `health`, and the integrations."""
        return await self.integrations() | await self.health()

    async def probe_models(self) -> list[Probed]:
        """Each model that another server runs, asked once: a call may cost, and take seconds."""
        return await probes.run_probes(self._model_probes)

    async def reconcile(
        self, principal: Principal, *, tenant: str = "", repair: bool = True
    ) -> Drift:
        """Compare the index with SQL; with `repair`, queue the jobs that repair it.

        Of every tenant, or of the one named, for the person who runs the installation; else of the
        principal's own.
        """
        return await reconcile.reconcile(
            self._db, self._index, principal, tenant=tenant, repair=repair
        )

    async def check_index_home(self) -> None:
        """Raises `Blocked` where the index of the database is in another data folder."""
        if self._index_home is not None and (fault := await self._index_home.fault()):
            raise Blocked(fault)

    async def adopt_index(self, principal: Principal) -> None:
        """Keep the index in this data folder from now on; `reconcile` then rebuilds it here.

        `Conflict` where the index is not in a data folder at all.
        """
        gate.require(principal, Scope.KB_ADMIN)
        if self._index_home is None:
            raise Conflict("The index is in Vespa (search.engine), which no data folder holds.")
        await self._index_home.adopt()

    async def resume_rebuild(self, index: SearchIndex) -> int:
        """Queue the rebuild of what the index lost as a whole; how many spaces. For workers."""
        return await reconcile.resume(self._db, index)

    async def next_job_due_at(self) -> datetime | None:
        """When a worker has something to do; None while nothing waits or runs."""
        return await backlog.next_due_at(self._db, JOB_KINDS)

    async def list_audit(self, principal: Principal, *, limit: int = 10) -> list[AuditEntry]:
        """The newest changes of the tenant, for its admins."""
        return await self._db.run_read(
            lambda session: audit_log.list_audit(session, principal, limit=limit)
        )

    async def verify_audit(self, principal: Principal) -> ChainReport:
        """Whether the tenant's audit rows are all there and as they were written."""
        return await self._db.run_read(lambda session: audit_log.verify_chain(session, principal))

    async def export_audit(self, principal: Principal) -> AsyncIterator[dict[str, Any]]:
        """The tenant's audit rows in order, as JSON objects."""
        after = 0
        while rows := await self._db.run_read(
            partial(audit_log.export_audit, principal=principal, after=after)
        ):
            for row in rows:
                yield row
            after = rows[-1]["number"]

    async def export_tenant(self, principal: Principal, key: str, path: Path) -> dict[str, int]:
        """Write everything of a tenant but secrets into a zip; how much of what is in it."""
        return await tenant_export.export_tenant(self._db, self._blobs, principal, key, path)

    # Calls of tools

    def note_call(self, called: LoggedCall) -> None:
        """Keep a row of a tool call; it is on disk within 200 ms."""
        self._call_log.note(called)

    async def list_calls(self, principal: Principal, *, limit: int = 100) -> list[LoggedCall]:
        """The newest calls of the tenant, for its admins."""
        return await self._db.run_read(
            lambda session: tool_call_log.list_calls(session, principal, limit=limit)
        )

    async def keep_call_text(self, principal: Principal, *, on: bool) -> None:
        """Whether what people ask tools for is kept with their calls."""
        await self._db.run_write(lambda session: tool_call_log.keep_text(session, principal, on=on))
