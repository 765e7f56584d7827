"""Tenants: the first one made at the start, and those an operator adds.

Its people are in `members.py`, `groups.py` and `api_tokens.py`. Every change leaves an audit row in
its transaction.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from datetime import datetime

from sqlalchemy import or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from engine import clock
from engine.access import auditing, gate
from engine.db.session import Database, upsert
from engine.db.tables import Job, Membership, Tenant, User
from engine.domain import JobState, Lane, Principal, Role
from engine.errors import Conflict, InvalidInput, NotFound
from engine.jobs import outbox
from engine.jobs.kinds import DELETE_TENANT
from engine.people.members import MemberInfo, checked_name, member_of, select_members

_KEY = re.compile(r"[a-z0-9_]{1,40}")


@dataclass(frozen=True, slots=True)
class TenantInfo:
    """A tenant as people see it; `key` never changes."""

    id: str
    key: str
    name: str
    created_at: datetime
    suspended_at: datetime | None = None  # since when it answers nothing


async def ensure_default(db: Database) -> tuple[TenantInfo, MemberInfo]:
    """The installation's first tenant and its owner, made at the first start.

    The owner has no password: who can open the data folder acts as them.
    """
    found = await db.run_read(_first)
    if found is None:
        await db.run_write(_make_first)
        found = await db.run_read(_first)
    if found is None:
        raise NotFound("The first tenant has no active owner: restore a backup that has one.")
    return found


async def _first(session: AsyncSession) -> tuple[TenantInfo, MemberInfo] | None:
    tenant = await session.scalar(select(Tenant).where(Tenant.key == gate.FIRST_TENANT))
    if tenant is None:
        return None
    owner = (
        await session.execute(
            select_members(tenant.id)
            .where(
                Membership.role == Role.OWNER, Membership.active.is_(True), User.active.is_(True)
            )
            .order_by(Membership.created_at, User.id)
            .limit(1)
        )
    ).one_or_none()
    if owner is None:
        return None
    return _tenant_info(tenant), member_of(owner)


async def _make_first(session: AsyncSession) -> None:
    """The rows of the first start; nothing where another process has just made them."""
    new = upsert(session, Tenant).values(
        id=clock.new_id(),
        key=gate.FIRST_TENANT,
        name="Default",
        settings={},
        created_at=clock.now(),
    )
    made = await session.scalar(
        new.on_conflict_do_nothing(index_elements=["key"]).returning(Tenant.id)
    )
    if made is None:
        return
    user = User(id=clock.new_id(), name="Owner")
    session.add(user)
    await session.flush()
    session.add(Membership(tenant_id=made, user_id=user.id, role=Role.OWNER))
    await auditing.append(session, made, "system", "tenant.create", made)


async def create_tenant(
    session: AsyncSession, principal: Principal, key: str, *, name: str = ""
) -> TenantInfo:
    """A new tenant with the principal as its owner. Only the installation's owners may."""
    await gate.require_operator(session, principal)
    if not _KEY.fullmatch(key):
        raise InvalidInput(
            f"{key!r} can't be a tenant's key. Allowed: 1 to 40 of a-z, 0-9 and _.", field="key"
        )
    if await session.scalar(select(Tenant.id).where(Tenant.key == key)):
        raise Conflict(f"The tenant {key!r} exists already.")
    tenant = Tenant(id=clock.new_id(), key=key, name=checked_name(name or key))
    session.add(tenant)
    await session.flush()
    session.add(Membership(tenant_id=tenant.id, user_id=principal.user_id, role=Role.OWNER))
    await _audit_both(session, principal, "tenant.create", tenant)
    return _tenant_info(tenant)


async def list_tenants(session: AsyncSession, principal: Principal) -> list[TenantInfo]:
    """Every tenant, for who runs the installation; else those the principal's user is in. By key."""
    query = select(Tenant).where(Tenant.deleted_at.is_(None)).order_by(Tenant.key)
    if not (principal.assured and await gate.is_operator(session, principal)):
        query = query.join(Membership, Membership.tenant_id == Tenant.id).where(
            Membership.user_id == principal.user_id, Membership.active.is_(True)
        )
    rows = await session.scalars(query)
    return [_tenant_info(row) for row in rows if not _confined(principal, row.id)]


async def find_tenant(session: AsyncSession, key: str) -> TenantInfo:
    """A tenant by its key or id."""
    return _tenant_info(await _tenant(session, key))


async def show_tenant(session: AsyncSession, principal: Principal, key: str) -> TenantInfo:
    """A tenant by its key or id, for who runs the installation."""
    await gate.require_operator(session, principal)
    return await find_tenant(session, key)


async def suspend_tenant(
    session: AsyncSession, principal: Principal, key: str, *, on: bool
) -> TenantInfo:
    """Let a tenant answer nothing until it is resumed, or resume it; no effect where it is so.

    Its queued jobs wait; who asks gets the reason. Its own audit log and the operator's keep it.
    """
    await gate.require_operator(session, principal)
    tenant = await _other_tenant(session, key)
    if (tenant.suspended_at is not None) == on:
        return _tenant_info(tenant)
    tenant.suspended_at = clock.now() if on else None
    await _audit_both(session, principal, "tenant.suspend" if on else "tenant.resume", tenant)
    return _tenant_info(tenant)


async def delete_tenant(session: AsyncSession, principal: Principal, key: str) -> TenantInfo:
    """End a tenant at once and queue the deletion of all it has; again where that was cut short."""
    await gate.require_operator(session, principal)
    tenant = await _other_tenant(session, key, deleted=True)
    first = tenant.deleted_at is None
    tenant.deleted_at = tenant.deleted_at or clock.now()
    await outbox.enqueue(
        session,
        tenant_id=principal.tenant_id,  # of the operator: the tenant's own jobs go with it
        kind=DELETE_TENANT,
        payload={"tenant_id": tenant.id, "key": tenant.key},
        lane=Lane.INTERACTIVE,
    )
    if first:
        await gate.audit(session, principal, "tenant.delete", tenant.id, {"key": tenant.key})
    return _tenant_info(tenant)


async def deletion(session: AsyncSession, principal: Principal, tenant_id: str) -> str:
    """How far the deletion of a tenant is: running, failed, or empty once all is gone."""
    await gate.require_operator(session, principal)
    if await session.get(Tenant, tenant_id) is None:
        return ""
    jobs = select(Job.payload).where(
        Job.tenant_id == principal.tenant_id,
        Job.kind == DELETE_TENANT,
        Job.state.in_([JobState.QUEUED, JobState.RUNNING]),
    )
    at_work = {payload["tenant_id"] for payload in await session.scalars(jobs)}
    return "running" if tenant_id in at_work else "failed"


async def _tenant(session: AsyncSession, key: str, *, deleted: bool = False) -> Tenant:
    query = select(Tenant).where(or_(Tenant.key == key, Tenant.id == key))
    if not deleted:
        query = query.where(Tenant.deleted_at.is_(None))
    found = await session.scalar(query)
    if found is None:
        raise NotFound(f"No tenant {key!r}. `scrubjay tenant list` names them.")
    return found


async def _other_tenant(session: AsyncSession, key: str, *, deleted: bool = False) -> Tenant:
    tenant = await _tenant(session, key, deleted=deleted)
    if tenant.key == gate.FIRST_TENANT:
        raise Conflict("The first tenant runs the installation: it can't be suspended or deleted.")
    return tenant


async def _audit_both(
    session: AsyncSession, principal: Principal, action: str, tenant: Tenant
) -> None:
    """Note a change of a tenant in its own log and in that of who runs the installation."""
    detail = {"key": tenant.key}
    await gate.audit(session, replace(principal, tenant_id=tenant.id), action, tenant.id, detail)
    await gate.audit(session, principal, action, tenant.id, detail)


def _confined(principal: Principal, tenant_id: str) -> bool:
    """A token shows its own tenant only, whatever else its user belongs to."""
    return principal.api_token_id is not None and tenant_id != principal.tenant_id


def _tenant_info(row: Tenant) -> TenantInfo:
    return TenantInfo(row.id, row.key, row.name, row.created_at, row.suspended_at)
