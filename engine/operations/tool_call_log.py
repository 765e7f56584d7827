"""The audit of tool calls: a row a call, written behind the caller's back in groups.

The MCP door notes calls through `Engine.note_call`; whoever opens the engine holds `writing` around
its use. What was noted less than `PAUSE_S` before a kill is lost; an orderly stop writes all of it,
and a database that is away for a while gets the rows later.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import insert, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from engine.access import gate
from engine.clock import new_id
from engine.db.session import Database
from engine.db.tables import Tenant, ToolCall
from engine.domain import Principal, Scope
from engine.errors import Unavailable

log = logging.getLogger(__name__)

KEEP_TEXT = "tool_call_text"  # the tenant setting that keeps what people asked for
WAITING_MAX = 50_000  # calls; the oldest give way when the database is away for long
PAUSE_S = 0.15  # gathers a burst of calls into one transaction; on disk within 200 ms
AGAIN_S = 2.0  # after the database was away
TEXT_MAX = 2_000
TENANTS_LAST_S = 1.0  # what tenants want kept is read again after this


@dataclass(frozen=True, slots=True)
class LoggedCall:
    """One call of a tool. `code` is that of its error; `text` is kept only where that is on."""

    tenant_id: str
    user_id: str | None
    api_token_id: str | None
    door: str
    tool: str
    kb_ids: Sequence[str]
    results: int
    code: str
    took_ms: float
    at: datetime
    text: str = ""


class ToolCallLog:
    """Calls on their way to the table `tool_call`."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._waiting: deque[LoggedCall] = deque(maxlen=WAITING_MAX)
        self._noted = asyncio.Event()
        self._flushing = asyncio.Lock()  # two at once would write the same calls twice
        self._closing = asyncio.Event()
        self._keeps: dict[str, bool] = {}  # by tenant: whether it keeps what was asked
        self._keeps_read_at = float("-inf")

    def note(self, called: LoggedCall) -> None:
        """Remember a call; returns at once."""
        self._waiting.append(called)
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
        pause_s = PAUSE_S
        while not self._closing.is_set():
            await self._noted.wait()
            with suppress(TimeoutError):
                await asyncio.wait_for(self._closing.wait(), pause_s)
            pause_s = PAUSE_S if await self.flush() else AGAIN_S

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
            log.warning("calls wait for the database", extra={"n": len(rows), "reason": str(error)})
            return False
        for row in rows:  # those that gave way to newer ones meanwhile are gone already
            if self._waiting and self._waiting[0] is row:
                self._waiting.popleft()
        return True

    async def _write(self, rows: Sequence[LoggedCall]) -> None:
        try:
            await self._insert(rows)
        except IntegrityError:  # a tenant went away since it was last read
            self._keeps_read_at = float("-inf")
            await self._insert(rows)

    async def _insert(self, rows: Sequence[LoggedCall]) -> None:
        wanted = {row.tenant_id for row in rows}
        async with self._db.write() as session:
            now = time.monotonic()
            if now - self._keeps_read_at > TENANTS_LAST_S or not wanted <= self._keeps.keys():
                known = await session.execute(
                    select(Tenant.id, Tenant.settings).where(Tenant.id.in_(wanted))
                )
                self._keeps = {id_: bool(settings.get(KEEP_TEXT)) for id_, settings in known}
                self._keeps_read_at = now
            values = [
                _values(row, self._keeps[row.tenant_id])
                for row in rows
                if row.tenant_id in self._keeps
            ]
            if values:
                await session.execute(insert(ToolCall), values)


def _values(row: LoggedCall, keep_text: bool) -> dict[str, object]:
    return {
        "id": new_id(),
        "tenant_id": row.tenant_id,
        "user_id": row.user_id,
        "api_token_id": row.api_token_id,
        "door": row.door,
        "tool": row.tool,
        "kb_ids": list(row.kb_ids),
        "results": row.results,
        "code": row.code,
        "took_ms": row.took_ms,
        "text": row.text[:TEXT_MAX].replace("\0", " ") if keep_text else "",
        "at": row.at,
    }


async def list_calls(
    session: AsyncSession, principal: Principal, *, limit: int = 100
) -> list[LoggedCall]:
    """The newest calls of the principal's tenant; needs `kb:admin`."""
    gate.require(principal, Scope.KB_ADMIN)
    rows = await session.scalars(
        select(ToolCall)
        .where(ToolCall.tenant_id == principal.tenant_id)
        .order_by(ToolCall.at.desc(), ToolCall.id.desc())
        .limit(limit)
    )
    return [
        LoggedCall(
            tenant_id=row.tenant_id,
            user_id=row.user_id,
            api_token_id=row.api_token_id,
            door=row.door,
            tool=row.tool,
            kb_ids=row.kb_ids,
            results=row.results,
            code=row.code,
            took_ms=row.took_ms,
            at=row.at,
            text=row.text,
        )
        for row in rows
    ]


async def keep_text(session: AsyncSession, principal: Principal, *, on: bool) -> None:
    """Whether the tenant keeps what its people ask tools for; an audited change, for admins."""
    gate.require(principal, Scope.KB_ADMIN)
    tenant = await session.get_one(Tenant, principal.tenant_id)
    tenant.settings = {**tenant.settings, KEEP_TEXT: on}
    await gate.audit(session, principal, "tool_call_text.set", tenant.id, {"on": on})
