"""Groups of members: a token of access for many people at once."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import delete, func, or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from engine import clock
from engine.access import gate
from engine.db.tables import KbGrant, User, UserGroup, UserGroupMember
from engine.domain import Principal
from engine.errors import Conflict, NotFound
from engine.people.members import checked_name, get_membership


@dataclass(frozen=True, slots=True)
class GroupInfo:
    """A named set of members; `token` is what a document or a grant names it by."""

    id: str
    name: str
    token: str
    members: int


async def create_group(session: AsyncSession, principal: Principal, name: str) -> GroupInfo:
    """A new, empty group."""
    gate.require_verb(principal, "group.create")
    name = checked_name(name)
    taken = select(UserGroup.id).where(
        UserGroup.tenant_id == principal.tenant_id, UserGroup.name == name
    )
    if await session.scalar(taken):
        raise Conflict(f"The group {name!r} exists already.")
    group = UserGroup(id=clock.new_id(), tenant_id=principal.tenant_id, name=name)
    session.add(group)
    await gate.audit(session, principal, "group.create", group.id, {"name": name})
    return GroupInfo(group.id, name, gate.group_token(group.id), 0)


async def delete_group(session: AsyncSession, principal: Principal, group_id: str) -> None:
    """Remove a group; documents and grants that name it then name nobody."""
    gate.require_verb(principal, "group.delete")
    group = await _group(session, principal, group_id)
    await session.delete(group)
    await session.execute(
        delete(KbGrant).where(
            KbGrant.tenant_id == principal.tenant_id, KbGrant.token == gate.group_token(group_id)
        )
    )
    await gate.audit(session, principal, "group.delete", group_id, {"name": group.name})


async def list_groups(session: AsyncSession, principal: Principal) -> list[GroupInfo]:
    """The tenant's groups, by name."""
    gate.require_verb(principal, "group.list")
    rows = await session.execute(
        select(UserGroup.id, UserGroup.name, func.count(UserGroupMember.user_id))
        .outerjoin(UserGroupMember, UserGroupMember.group_id == UserGroup.id)
        .where(UserGroup.tenant_id == principal.tenant_id)
        .group_by(UserGroup.id, UserGroup.name)
        .order_by(UserGroup.name)
    )
    return [GroupInfo(id_, name, gate.group_token(id_), n) for id_, name, n in rows]


async def add_to_group(
    session: AsyncSession, principal: Principal, group_id: str, user_id: str
) -> None:
    """Put a member into a group; no effect where they are in it."""
    gate.require_verb(principal, "group.add")
    group = await _group(session, principal, group_id)
    await get_membership(session, principal, user_id)
    if await session.get(UserGroupMember, (group.id, user_id)) is None:
        session.add(
            UserGroupMember(group_id=group.id, user_id=user_id, tenant_id=principal.tenant_id)
        )
        await gate.audit(session, principal, "group.add", group.id, {"user": user_id})


async def remove_from_group(
    session: AsyncSession, principal: Principal, group_id: str, user_id: str
) -> None:
    """Take someone out of a group; no effect where they are not in it."""
    gate.require_verb(principal, "group.remove")
    group = await _group(session, principal, group_id)
    member = await session.get(UserGroupMember, (group.id, user_id))
    if member is not None:
        await session.delete(member)
        await gate.audit(session, principal, "group.remove", group.id, {"user": user_id})


async def list_group_members(
    session: AsyncSession, principal: Principal, ref: str
) -> list[tuple[str, str]]:
    """Id and name of everyone in a group, by name."""
    gate.require_verb(principal, "group.list")
    group = await find_group(session, principal, ref)
    rows = await session.execute(
        select(User.id, User.name)
        .join(UserGroupMember, UserGroupMember.user_id == User.id)
        .where(
            UserGroupMember.group_id == group.id,
            UserGroupMember.tenant_id == principal.tenant_id,
        )
        .order_by(User.name, User.id)
    )
    return [(user_id, name) for user_id, name in rows]


async def find_group(session: AsyncSession, principal: Principal, ref: str) -> UserGroup:
    """A group of the tenant by name or id."""
    found = await session.scalar(
        select(UserGroup).where(
            UserGroup.tenant_id == principal.tenant_id,
            or_(UserGroup.id == ref, UserGroup.name == ref),
        )
    )
    if found is None:
        raise NotFound(f"No group {ref!r} in this tenant.")
    return found


async def _group(session: AsyncSession, principal: Principal, group_id: str) -> UserGroup:
    found = await session.scalar(
        select(UserGroup).where(
            UserGroup.id == group_id, UserGroup.tenant_id == principal.tenant_id
        )
    )
    if found is None:
        raise NotFound(f"No group {group_id!r} in this tenant.")
    return found
