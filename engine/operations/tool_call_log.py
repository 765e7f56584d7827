"""The audit of tool calls: one row a call, written behind the caller's back in groups.

The MCP door notes calls through `Engine.operations`; `open_engine` holds `writing` open while the
engine is in use (`engine/db/write_behind.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from engine.access import gate
from engine.clock import new_id
from engine.db.session import Database
from engine.db.tables import Tenant, ToolCall
from engine.db.write_behind import WriteBehind
from engine.domain import Principal, Scope

KEEP_TEXT = "tool_call_text"  # the tenant setting that keeps what people asked for
WAITING_MAX = 50_000  # calls; the oldest give way when the database is away for long
PAUSE_S = 0.15  # gathers a burst of calls into one transaction; on disk within 200 ms
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


class ToolCallLog(WriteBehind[LoggedCall]):
    """Calls on their way to the table `tool_call`."""

    def __init__(self, db: Database) -> None:
        super().__init__(
            db,
            ToolCall,
            _values,
            keep_text=KEEP_TEXT,
            waiting_max=WAITING_MAX,
            pause_s=PAUSE_S,
            settings_last_s=TENANTS_LAST_S,
        )


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
