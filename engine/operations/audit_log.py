"""What was changed, by whom: the rows that `gate.audit` wrote, for the admins of a tenant."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from engine.access import gate
from engine.db.tables import AuditEvent, Identity, User
from engine.domain import Principal, Scope


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
    gate.require(principal, Scope.KB_ADMIN)
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
