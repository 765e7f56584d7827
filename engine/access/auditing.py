"""Who changed what, written in the transaction of the change; and whether anything changed since.

The rows of a tenant form a chain: each holds a digest of itself and of the row before it, so that
an edited or missing row shows (`operations/audit_log.py` verifies it). The head of each chain
grows with every change: whoever remembers what somebody may do compares `access_version` first.
`engine.access.gate` hands these names on: import them from there.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from engine import clock
from engine.db.session import upsert
from engine.db.tables import AuditEvent, AuditHead, Tenant
from engine.domain import Principal


async def audit(
    session: AsyncSession,
    principal: Principal,
    action: str,
    target: str = "",
    detail: Mapping[str, Any] | None = None,
) -> None:
    """Append who changed what, in the transaction of the change.

    `detail` names what was before and after, never a secret's value. Rows of one tenant are
    written one after another: the head stays locked until the transaction ends.
    """
    actor = principal.user_id or principal.identity_id or principal.name
    known = dict(detail or {})
    if principal.api_token_id is not None:
        known.setdefault("api_token", principal.api_token_id)
    if principal.session_id is not None:
        known.setdefault("session", principal.session_id)
    await append(session, principal.tenant_id, actor, action, target, known)


async def append(
    session: AsyncSession,
    tenant_id: str,
    actor: str,
    action: str,
    target: str = "",
    detail: Mapping[str, Any] | None = None,
) -> None:
    """Append a row in somebody's name, or as `system`."""
    head = await _locked_head(session, tenant_id)
    row = AuditEvent(
        id=clock.new_id(),
        tenant_id=tenant_id,
        actor=actor,
        action=action,
        target=target,
        detail=_plain(dict(detail or {})),
        at=clock.now(),
        number=head.number + 1,
    )
    row.digest = chained(head.digest, row)
    session.add(row)
    head.number, head.digest = row.number, row.digest
    await session.flush()


async def touch(session: AsyncSession, tenant_key: str) -> None:
    """Lock and leave a tenant's chain as it is: about as much work as `append`, without a row."""
    tenant_id = await session.scalar(select(Tenant.id).where(Tenant.key == tenant_key))
    if tenant_id is not None:
        await _locked_head(session, tenant_id)


def _plain(value: Any) -> Any:  # noqa: ANN401 (any JSON)
    """As every database returns it: 1e16 is a float here and an integer in PostgreSQL."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [
            _plain(item) for item in (value if isinstance(value, list | tuple) else sorted(value))
        ]
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value if isinstance(value, bool | int | float | None) else str(value)


def chained(before: str, row: AuditEvent) -> str:
    """The digest of a row that comes after the one with the digest `before`."""
    said = [before, row.id, row.tenant_id, row.number, row.actor, row.action, row.target]
    told = json.dumps([*said, row.at.isoformat(), row.detail], sort_keys=True, ensure_ascii=True)
    return hashlib.sha256(told.encode()).hexdigest()


async def access_version(session: AsyncSession) -> int:
    """A number that is another one after every audited change, of any process and tenant."""
    return int(await session.scalar(select(func.coalesce(func.sum(AuditHead.number), 0))) or 0)


async def _locked_head(session: AsyncSession, tenant_id: str) -> AuditHead:
    locked = (
        upsert(session, AuditHead)
        .values(tenant_id=tenant_id, number=0, digest="")
        .on_conflict_do_update(index_elements=["tenant_id"], set_={"tenant_id": tenant_id})
        .returning(AuditHead)
    )
    fresh = {"populate_existing": True}
    return (await session.scalars(locked, execution_options=fresh)).one()
