"""What was changed, by whom: the rows that `gate.audit` wrote, for the admins of a tenant.

They can be exported, and the chain of their digests verified: an edited, missing or added row shows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from engine.access import gate
from engine.access.auditing import chained
from engine.db.tables import AuditEvent, AuditHead, Identity, User
from engine.domain import Principal


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """One change. `actor` is a name, or an id where the user or the account is gone."""

    at: datetime
    actor: str
    action: str
    detail: Mapping[str, Any]


async def list_audit(
    session: AsyncSession, principal: Principal, *, limit: int
) -> list[AuditEntry]:
    """The newest changes of the tenant, newest first."""
    gate.require_verb(principal, "audit.list")
    rows = list(
        await session.scalars(
            select(AuditEvent)
            .where(AuditEvent.tenant_id == principal.tenant_id)
            .order_by(AuditEvent.id.desc())
            .limit(limit)
        )
    )
    actors = {row.actor for row in rows}
    users = await session.execute(select(User.id, User.name).where(User.id.in_(actors)))
    accounts = await session.execute(
        select(Identity.id, Identity.name).where(
            Identity.id.in_(actors), Identity.tenant_id == principal.tenant_id
        )
    )
    names: dict[str, str] = {row[0]: row[1] for row in [*users, *accounts]}
    return [
        AuditEntry(row.at, names.get(row.actor, row.actor), row.action, row.detail) for row in rows
    ]


EXPORTED = 1000  # rows read at once


@dataclass(frozen=True, slots=True)
class ChainReport:
    """What a look at the chain of a tenant's audit rows found; `faults` is empty when it holds."""

    rows: int
    faults: Sequence[str]


async def verify_chain(session: AsyncSession, principal: Principal) -> ChainReport:
    """Whether every audit row is as it was written, and none is missing."""
    gate.require_verb(principal, "audit.export")
    faults: list[str] = []
    number, digest = 0, ""
    while rows := await _after(session, principal.tenant_id, number):
        for row in rows:
            if row.number != number + 1:
                faults.append(f"row {number + 1} is missing")
            elif row.digest != chained(digest, row):
                faults.append(f"row {row.number} ({row.id}) was changed")
            number, digest = row.number, row.digest
        session.expunge_all()
    head = await session.get(AuditHead, principal.tenant_id)
    if head is not None and (head.number, head.digest) != (number, digest):
        faults.append(f"rows after {number} are missing")
    return ChainReport(number, faults)


async def export_audit(
    session: AsyncSession, principal: Principal, *, after: int = 0
) -> list[dict[str, Any]]:
    """The next rows as JSON, in order, at most `EXPORTED`; begin again after the last `number`.

    Rows of before the chain began have no number, and are not among them.
    """
    gate.require_verb(principal, "audit.export")
    return [
        {
            "number": row.number,
            "id": row.id,
            "at": row.at.isoformat(),
            "actor": row.actor,
            "action": row.action,
            "target": row.target,
            "detail": row.detail,
            "digest": row.digest,
        }
        for row in await _after(session, principal.tenant_id, after)
    ]


async def _after(session: AsyncSession, tenant_id: str, number: int) -> list[AuditEvent]:
    rows = await session.scalars(
        select(AuditEvent)
        .where(AuditEvent.tenant_id == tenant_id, AuditEvent.number > number)
        .order_by(AuditEvent.number, AuditEvent.id)
        .limit(EXPORTED)
    )
    return list(rows)
