"""Who belongs to a tenant, and with which role. There is always an owner."""

from __future__ import annotations

import re
from dataclasses import dataclass

from sqlalchemy import Row, Select, and_, delete, or_, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from engine import clock
from engine.access import gate
from engine.db.tables import ApiToken, KbGrant, Membership, User, UserGroupMember
from engine.domain import Principal, Role, Scope
from engine.errors import Conflict, Forbidden, InvalidInput, NotFound
from engine.people import factors, sessions

_EMAIL = re.compile(r"[^@\s]+@[^@\s]+")


@dataclass(frozen=True, slots=True)
class MemberInfo:
    """A person in a tenant."""

    user_id: str
    name: str
    email: str | None
    role: Role
    active: bool = True  # in this tenant, and everywhere


async def find_member(session: AsyncSession, tenant_id: str, ref: str) -> MemberInfo:
    """A member by user id, e-mail address or, where only one has it, name."""
    rows = (
        await session.execute(
            select_members(tenant_id)
            .where(or_(User.id == ref, User.email == ref.lower(), User.name == ref))
            .limit(2)
        )
    ).all()
    if not rows:
        raise NotFound(f"No member {ref!r} in this tenant.")
    if len(rows) > 1:
        raise InvalidInput(f"Several members are {ref!r}: use an e-mail address.", field="user")
    return member_of(rows[0])


async def has_password(session: AsyncSession, user_id: str) -> bool:
    """Whether an active user has a password to sign in with."""
    found = await session.scalar(
        select(User.id).where(
            User.id == user_id, User.active.is_(True), User.password_hash.is_not(None)
        )
    )
    return found is not None


async def list_members(session: AsyncSession, principal: Principal) -> list[MemberInfo]:
    """Everyone in the tenant, by name."""
    gate.require_verb(principal, "member.list")
    rows = await session.execute(select_members(principal.tenant_id).order_by(User.name, User.id))
    return [member_of(row) for row in rows]


async def add_member(
    session: AsyncSession,
    principal: Principal,
    *,
    email: str,
    name: str = "",
    role: Role = Role.MEMBER,
) -> MemberInfo:
    """A new member; the person is known by e-mail address across tenants."""
    gate.require_verb(principal, "member.add")
    require_role_grant(principal, role)
    email = checked_email(email)
    user = await session.scalar(select(User).where(User.email == email))
    if user is None:
        user = User(
            id=clock.new_id(), email=email, name=checked_name(name or email.partition("@")[0])
        )
        session.add(user)
        await session.flush()
    elif await session.get(Membership, (principal.tenant_id, user.id)) is not None:
        raise Conflict(f"{email} is a member already.")
    session.add(Membership(tenant_id=principal.tenant_id, user_id=user.id, role=role))
    await gate.audit(session, principal, "member.add", user.id, {"role": role})
    return MemberInfo(user.id, user.name, user.email, role)


async def set_role(session: AsyncSession, principal: Principal, user_id: str, role: Role) -> None:
    """Give a member another role; it holds from their next request."""
    gate.require_verb(principal, "member.role")
    membership = await get_membership(session, principal, user_id)
    before = Role(membership.role)
    require_role_grant(principal, role)
    require_role_grant(principal, before)
    if before is Role.OWNER and role is not Role.OWNER:
        await _keep_an_owner(session, principal.tenant_id, user_id)
    membership.role = role
    await gate.audit(session, principal, "member.role", user_id, {"from": before, "to": role})


async def remove_member(session: AsyncSession, principal: Principal, user_id: str) -> None:
    """End a membership: sessions and tokens end, and groups are left, at once."""
    gate.require_verb(principal, "member.remove")
    membership = await get_membership(session, principal, user_id)
    role = Role(membership.role)
    require_role_grant(principal, role)
    if role is Role.OWNER:
        await _keep_an_owner(session, principal.tenant_id, user_id)
    await session.delete(membership)
    await session.execute(
        delete(UserGroupMember).where(
            UserGroupMember.tenant_id == principal.tenant_id, UserGroupMember.user_id == user_id
        )
    )
    await session.execute(
        delete(KbGrant).where(
            KbGrant.tenant_id == principal.tenant_id, KbGrant.token == gate.user_token(user_id)
        )
    )
    await _end_credentials(session, principal, user_id)
    await gate.audit(session, principal, "member.remove", user_id, {"role": role})


async def set_active(
    session: AsyncSession, principal: Principal, user_id: str, *, active: bool
) -> None:
    """Let a member in or keep them out; what they made stays. Sessions and tokens end at once.

    They don't come back when the member does: tokens are made anew.
    """
    gate.require_verb(principal, "member.activate" if active else "member.deactivate")
    membership = await get_membership(session, principal, user_id)
    role = Role(membership.role)
    require_role_grant(principal, role)
    if membership.active is active:
        return
    if not active:
        if role is Role.OWNER:
            await _keep_an_owner(session, principal.tenant_id, user_id)
        await _end_credentials(session, principal, user_id)
    membership.active = active
    action = "member.activate" if active else "member.deactivate"
    await gate.audit(session, principal, action, user_id, {"role": role})


async def _end_credentials(session: AsyncSession, principal: Principal, user_id: str) -> None:
    mine = (
        ApiToken.tenant_id == principal.tenant_id,
        ApiToken.user_id == user_id,
        ApiToken.revoked_at.is_(None),
    )
    personal = ApiToken.kind == "personal"
    await session.execute(update(ApiToken).where(*mine, personal).values(revoked_at=clock.now()))
    await _pass_on_keys(session, principal, user_id, select(ApiToken).where(*mine, ~personal))
    await sessions.end_all(session, principal, user_id, tenant_id=principal.tenant_id)


async def _pass_on_keys(
    session: AsyncSession, principal: Principal, user_id: str, made: Select[ApiToken]
) -> None:
    """Service keys are the tenant's: they live on, in the name of its longest-serving owner."""
    heir = await session.scalar(
        select(Membership.user_id)
        .where(
            Membership.tenant_id == principal.tenant_id,
            Membership.role == Role.OWNER,
            Membership.active.is_(True),
            Membership.user_id != user_id,
        )
        .order_by(Membership.created_at, Membership.user_id)
        .limit(1)
    )
    for key in list(await session.scalars(made)):
        key.user_id = heir or user_id
        detail = {"before": user_id, "after": heir, "name": key.name}
        await gate.audit(session, principal, "token.pass", key.id, detail)


def select_members(tenant_id: str) -> Select[str, str, str | None, str, bool]:
    active = and_(User.active, Membership.active)
    return (
        select(User.id, User.name, User.email, Membership.role, active)
        .join(Membership, Membership.user_id == User.id)
        .where(Membership.tenant_id == tenant_id)
    )


def member_of(row: Row[str, str, str | None, str, bool]) -> MemberInfo:
    """A row of `select_members`."""
    user_id, name, email, role, active = row
    return MemberInfo(user_id, name, email, Role(role), bool(active))


def require_role_grant(principal: Principal, role: Role) -> None:
    gate.require(principal, Scope.KB_ADMIN)
    if not gate.can_grant_role(principal, role):
        raise Forbidden(f"Only an owner can grant or remove the role {role}.")


async def _keep_an_owner(session: AsyncSession, tenant_id: str, user_id: str) -> None:
    """Refuse where no other owner would be left; two owners can't remove each other at once."""
    owners = (
        select(Membership.user_id)
        .join(User, User.id == Membership.user_id)
        .where(
            Membership.tenant_id == tenant_id,
            Membership.role == Role.OWNER,
            Membership.active.is_(True),
            User.active.is_(True),
        )
        .order_by(Membership.user_id)
        .with_for_update(of=Membership)
    )
    if not set(await session.scalars(owners)) - {user_id}:
        raise Conflict("A tenant needs at least one owner: make someone else an owner first.")


async def get_membership(session: AsyncSession, principal: Principal, user_id: str) -> Membership:
    found = await session.get(Membership, (principal.tenant_id, user_id))
    if found is None:
        raise NotFound(f"No member {user_id!r} in this tenant.")
    return found


async def check_password_link(session: AsyncSession, principal: Principal, user_id: str) -> User:
    """The account for which the principal may make a password link.

    Whoever uses it reads like that member, so it takes the right to give their role.
    """
    gate.require_verb(principal, "member.password")
    membership = await get_membership(session, principal, user_id)
    if user_id != principal.user_id:
        require_role_grant(principal, Role(membership.role))
    await require_whole_account(session, principal, user_id)
    user = await session.get_one(User, user_id)
    if not user.email:
        raise InvalidInput(f"{user.name} has no e-mail address to sign in with.", field="member")
    return user


async def reset_factors(session: AsyncSession, principal: Principal, user_id: str) -> bool:
    """Remove a member's second factors and end their sessions; whether there were any.

    Of somebody who belongs to other tenants, too, only the installation's owners can.
    """
    gate.require_verb(principal, "member.reset_factors")
    membership = await get_membership(session, principal, user_id)
    require_role_grant(principal, Role(membership.role))
    if not await gate.is_operator(session, principal):
        await require_whole_account(session, principal, user_id)
    had_app = await factors.remove(session, user_id)
    keys = await factors.forget_passkeys(session, user_id)
    said = {"before": "totp" if had_app else "", "passkeys": keys}
    await gate.audit(session, principal, "factor.reset", user_id, said)
    await sessions.end_all(session, principal, user_id)
    return had_app or keys > 0


async def require_whole_account(session: AsyncSession, principal: Principal, user_id: str) -> None:
    """Refuse what would reach into another tenant: an account of several is its person's alone."""
    elsewhere = select(Membership.tenant_id).where(
        Membership.user_id == user_id, Membership.tenant_id != principal.tenant_id
    )
    if user_id != principal.user_id and await session.scalar(elsewhere.limit(1)) is not None:
        raise Forbidden(
            "This account is used outside this tenant, too: its person sets the password, by"
            " “Forgot your password?” on the sign-in page, or an owner of the installation helps."
        )


def checked_email(email: str) -> str:
    """An e-mail address in lower case; whether anybody reads it is not looked up."""
    email = email.strip().lower()
    if not _EMAIL.fullmatch(email) or len(email) > 320 or not email.isprintable():
        raise InvalidInput(f"{email[:80]!r} is not an e-mail address.", field="email")
    return email


def checked_name(name: str) -> str:
    name = name.strip()
    if not name or len(name) > 200 or not name.isprintable():
        raise InvalidInput("A name has 1 to 200 printable characters.", field="name")
    return name
