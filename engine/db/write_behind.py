"""Rows written behind their caller's back, in groups: an answer never waits for its log.

`search/query_log.py` and `operations/tool_call_log.py` are such logs. Rows wait while the database
is away and are written once it is back; an orderly stop writes all of them. Rows noted less than a
pause before a kill are lost, and so are the oldest where too many wait.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Generic, Protocol, TypeVar

from sqlalchemy import insert, select
from sqlalchemy.exc import IntegrityError

from engine.db.session import Database
from engine.db.tables import Base, Tenant
from engine.errors import Unavailable

log = logging.getLogger(__name__)

AGAIN_S = 2.0  # after the database was away


class OfTenant(Protocol):
    """A row that belongs to a tenant."""

    @property
    def tenant_id(self) -> str:
        """Whose row it is."""


Row = TypeVar("Row", bound=OfTenant)


class WriteBehind(Generic[Row]):
    """Rows on their way to one table.

    `values` gives the columns of a row; its second argument is whether the tenant's setting
    `keep_text` allows to store what people asked. The setting is read again after
    `settings_last_s`. Rows of a tenant that no longer exists, or
    that the table refuses, are dropped.
    """

    def __init__(
        self,
        db: Database,
        table: type[Base],
        values: Callable[[Row, bool], Mapping[str, object]],
        *,
        keep_text: str,
        waiting_max: int,
        pause_s: float,
        settings_last_s: float = 0.0,
    ) -> None:
        self._db = db
        self._table = table
        self._values = values
        self._keep_text = keep_text
        self._pause_s = pause_s
        self._settings_last_s = settings_last_s
        self._waiting: deque[Row] = deque(maxlen=waiting_max)
        self._noted = asyncio.Event()
        self._flushing = asyncio.Lock()  # two at once would write the same rows twice
        self._closing = asyncio.Event()
        self._keeps: dict[str, bool] = {}  # by tenant: whether it keeps what was asked
        self._keeps_read_at = float("-inf")

    def note(self, row: Row) -> None:
        """Remember a row; returns at once."""
        self._waiting.append(row)
        self._noted.set()

    @asynccontextmanager
    async def writing(self) -> AsyncIterator[None]:
        """Write what is noted, in groups, for as long as the context is open; all of it at its end."""
        task = asyncio.create_task(self._run())
        try:
            yield
        finally:
            self._closing.set()
            self._noted.set()
            await task
            await self.flush()

    async def _run(self) -> None:
        pause_s = self._pause_s
        while not self._closing.is_set():
            await self._noted.wait()
            with suppress(TimeoutError):
                await asyncio.wait_for(self._closing.wait(), pause_s)
            pause_s = self._pause_s if await self.flush() else AGAIN_S

    async def flush(self) -> bool:
        """Write everything noted so far, in one transaction; False where that must wait."""
        async with self._flushing:
            return await self._flush()

    async def _flush(self) -> bool:
        self._noted.clear()
        rows = list(self._waiting)
        if not rows:
            return True
        try:
            await self._write(rows)
        except Unavailable as error:
            self._noted.set()
            what = {"table": self._table.__tablename__, "rows": len(rows), "reason": str(error)}
            log.warning("rows wait for the database", extra=what)
            return False
        return True

    async def _write(self, rows: Sequence[Row]) -> None:
        try:
            await self._insert(rows)
            self._drop(rows)
        except IntegrityError:  # what a row belongs to was deleted meanwhile
            self._keeps_read_at = float("-inf")
            for row in rows:
                await self._write_alone(row)

    async def _write_alone(self, row: Row) -> None:
        try:
            await self._insert([row])
        except IntegrityError:
            log.warning("a row was dropped", extra={"table": self._table.__tablename__})
        self._drop([row])

    def _drop(self, rows: Sequence[Row]) -> None:
        for row in rows:  # those that gave way to newer ones meanwhile are gone already
            if self._waiting and self._waiting[0] is row:
                self._waiting.popleft()

    async def _insert(self, rows: Sequence[Row]) -> None:
        wanted = {row.tenant_id for row in rows}
        async with self._db.write() as session:
            now = time.monotonic()
            is_old = now - self._keeps_read_at >= self._settings_last_s
            if is_old or not wanted <= self._keeps.keys():
                known = await session.execute(
                    select(Tenant.id, Tenant.settings).where(Tenant.id.in_(wanted))
                )
                self._keeps = {id_: bool(kept.get(self._keep_text)) for id_, kept in known}
                self._keeps_read_at = now
            values = [
                self._values(row, self._keeps[row.tenant_id])
                for row in rows
                if row.tenant_id in self._keeps
            ]
            if values:
                await session.execute(insert(self._table), values)
