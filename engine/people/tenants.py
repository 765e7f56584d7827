"""Tenants, the people in them, and their API tokens.

The doors come here to authenticate and to manage members, groups and tokens; what these people
may then read is `engine.access`'s matter. Every change leaves an audit row in its transaction.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from sqlalchemy import Select, delete, exists, func, or_, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from engine import clock
from engine.access import gate
from engine.db.session import Database
from engine.db.tables import (
    ApiToken,
    AuditEvent,
    Membership,
    Tenant,
    User,
    UserGroup,
    UserGroupMember,
)
from engine.domain import Principal, Role, Scope
from engine.errors import Conflict, Forbidden, InvalidInput, NotFound, Unauthenticated, Unavailable

DEFAULT_KEY = "default"
SECRET_PREFIX = "sj_"  # noqa: S105 (marks our tokens for secret scanners)
PREFIX_LENGTH = 10  # characters of a token that are kept in clear, to tell tokens apart
LAST_USED_STEP = timedelta(minutes=1)  # how exactly `last_used_at` is kept

_KEY = re.compile(r"[a-z0-9_]{1,40}")
_EMAIL = re.compile(r"[^@\s]+@[^@\s]+")
_REFUSED = "This API token is wrong, expired or revoked. Create one with `scrubjay token create`."


@dataclass(frozen=True, slots=True)
class TenantInfo:
    """A tenant as people see it; `key` never changes."""

    id: str
    key: str
    name: str
    created_at: datetime


@dataclass(frozen=True, slots=True)
class MemberInfo:
    """A person in a tenant."""

    user_id: str
    name: str
    email: str | None
    role: Role


@dataclass(frozen=True, slots=True)
class GroupInfo:
    """A named set of members; `token` is what a document or a grant names it by."""

    id: str
    name: str
    token: str
    members: int


@dataclass(frozen=True, slots=True)
class TokenInfo:
    """An API token without its secret; `prefix` is how it begins."""

    id: str
    name: str
    prefix: str
    scopes: Sequence[Scope]
    user_id: str
    expires_at: datetime | None
    revoked_at: datetime | None
    last_used_at: datetime | None
    created_at: datetime


# Tenants


async def ensure_default(db: Database) -> tuple[TenantInfo, MemberInfo]:
    """The installation's first tenant and its owner, made at the first start.

    The owner has no password: who can open the data folder acts as them.
    """

    async def commit(session: AsyncSession) -> tuple[TenantInfo, MemberInfo]:
        tenant = await session.scalar(select(Tenant).where(Tenant.key == DEFAULT_KEY))
        if tenant is None:
            tenant = Tenant(id=clock.new_id(), key=DEFAULT_KEY, name="Default")
            user = User(id=clock.new_id(), name="Owner")
            session.add_all([tenant, user])
            await session.flush()
            session.add(Membership(tenant_id=tenant.id, user_id=user.id, role=Role.OWNER))
            session.add(
                AuditEvent(
                    tenant_id=tenant.id, actor="system", action="tenant.create", target=tenant.id
                )
            )
            await session.flush()
        owner = (
            await session.execute(
                _members(tenant.id)
                .where(Membership.role == Role.OWNER, User.active.is_(True))
                .order_by(Membership.created_at, User.id)
                .limit(1)
            )
        ).one()
        return _tenant_info(tenant), MemberInfo(*owner[:3], role=Role(owner[3]))

    return await db.run_write(commit)


async def create_tenant(
    session: AsyncSession, principal: Principal, key: str, *, name: str = ""
) -> TenantInfo:
    """A new tenant with the principal as its owner. Only the installation's owners may."""
    await _require_operator(session, principal)
    if not _KEY.fullmatch(key):
        raise InvalidInput(
            f"{key!r} can't be a tenant's key. Allowed: 1 to 40 of a-z, 0-9 and _.", field="key"
        )
    if await session.scalar(select(Tenant.id).where(Tenant.key == key)):
        raise Conflict(f"The tenant {key!r} exists already.")
    tenant = Tenant(id=clock.new_id(), key=key, name=_name(name or key))
    session.add(tenant)
    await session.flush()
    session.add(Membership(tenant_id=tenant.id, user_id=principal.user_id, role=Role.OWNER))
    await gate.audit(
        session, replace(principal, tenant_id=tenant.id), "tenant.create", tenant.id, {"key": key}
    )
    return _tenant_info(tenant)


async def list_tenants(session: AsyncSession, principal: Principal) -> list[TenantInfo]:
    """Tenants the principal's user is a member of, by key."""
    rows = await session.scalars(
        select(Tenant)
        .join(Membership, Membership.tenant_id == Tenant.id)
        .where(Membership.user_id == principal.user_id, Tenant.deleted_at.is_(None))
        .order_by(Tenant.key)
    )
    return [_tenant_info(row) for row in rows if not _confined(principal, row.id)]


async def find_tenant(session: AsyncSession, key: str) -> TenantInfo:
    """A tenant by its key or id."""
    found = await session.scalar(
        select(Tenant).where(or_(Tenant.key == key, Tenant.id == key), Tenant.deleted_at.is_(None))
    )
    if found is None:
        raise NotFound(f"No tenant {key!r}. `scrubjay tenant list` names them.")
    return _tenant_info(found)


# People


async def find_member(session: AsyncSession, tenant_id: str, ref: str) -> MemberInfo:
    """A member by user id, e-mail address or, where only one has it, name."""
    rows = (
        await session.execute(
            _members(tenant_id)
            .where(or_(User.id == ref, User.email == ref.lower(), User.name == ref))
            .limit(2)
        )
    ).all()
    if not rows:
        raise NotFound(f"No member {ref!r} in this tenant.")
    if len(rows) > 1:
        raise InvalidInput(f"Several members are {ref!r}: use an e-mail address.", field="user")
    return MemberInfo(*rows[0][:3], role=Role(rows[0][3]))


async def list_members(session: AsyncSession, principal: Principal) -> list[MemberInfo]:
    """Everyone in the tenant, by name."""
    gate.require(principal, Scope.KB_ADMIN)
    rows = await session.execute(_members(principal.tenant_id).order_by(User.name, User.id))
    return [MemberInfo(*row[:3], role=Role(row[3])) for row in rows]


async def add_member(
    session: AsyncSession,
    principal: Principal,
    *,
    email: str,
    name: str = "",
    role: Role = Role.MEMBER,
) -> MemberInfo:
    """A new member; the person is known by e-mail address across tenants."""
    _require_role_grant(principal, role)
    email = email.strip().lower()
    if not _EMAIL.fullmatch(email) or len(email) > 320:
        raise InvalidInput(f"{email!r} is not an e-mail address.", field="email")
    user = await session.scalar(select(User).where(User.email == email))
    if user is None:
        user = User(id=clock.new_id(), email=email, name=_name(name or email.partition("@")[0]))
        session.add(user)
        await session.flush()
    elif await session.get(Membership, (principal.tenant_id, user.id)) is not None:
        raise Conflict(f"{email} is a member already.")
    session.add(Membership(tenant_id=principal.tenant_id, user_id=user.id, role=role))
    await gate.audit(session, principal, "member.add", user.id, {"role": role})
    return MemberInfo(user.id, user.name, user.email, role)


async def set_role(session: AsyncSession, principal: Principal, user_id: str, role: Role) -> None:
    """Give a member another role; it holds from their next request."""
    membership = await _membership(session, principal, user_id)
    before = Role(membership.role)
    _require_role_grant(principal, role)
    _require_role_grant(principal, before)
    if before is Role.OWNER and role is not Role.OWNER:
        await _keep_an_owner(session, principal.tenant_id, user_id)
    membership.role = role
    await gate.audit(session, principal, "member.role", user_id, {"from": before, "to": role})


async def remove_member(session: AsyncSession, principal: Principal, user_id: str) -> None:
    """End a membership: their tokens are revoked and their groups left, at once."""
    membership = await _membership(session, principal, user_id)
    role = Role(membership.role)
    _require_role_grant(principal, role)
    if role is Role.OWNER:
        await _keep_an_owner(session, principal.tenant_id, user_id)
    await session.delete(membership)
    await session.execute(
        delete(UserGroupMember).where(
            UserGroupMember.tenant_id == principal.tenant_id, UserGroupMember.user_id == user_id
        )
    )
    await session.execute(
        update(ApiToken)
        .where(
            ApiToken.tenant_id == principal.tenant_id,
            ApiToken.user_id == user_id,
            ApiToken.revoked_at.is_(None),
        )
        .values(revoked_at=clock.now())
    )
    await gate.audit(session, principal, "member.remove", user_id, {"role": role})


# Groups


async def create_group(session: AsyncSession, principal: Principal, name: str) -> GroupInfo:
    """A new, empty group."""
    gate.require(principal, Scope.KB_ADMIN)
    name = _name(name)
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
    gate.require(principal, Scope.KB_ADMIN)
    group = await _group(session, principal, group_id)
    await session.delete(group)
    await gate.audit(session, principal, "group.delete", group_id, {"name": group.name})


async def list_groups(session: AsyncSession, principal: Principal) -> list[GroupInfo]:
    """The tenant's groups, by name."""
    gate.require(principal, Scope.KB_ADMIN)
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
    gate.require(principal, Scope.KB_ADMIN)
    group = await _group(session, principal, group_id)
    await _membership(session, principal, user_id)
    if await session.get(UserGroupMember, (group.id, user_id)) is None:
        session.add(
            UserGroupMember(group_id=group.id, user_id=user_id, tenant_id=principal.tenant_id)
        )
        await gate.audit(session, principal, "group.add", group.id, {"user": user_id})


async def remove_from_group(
    session: AsyncSession, principal: Principal, group_id: str, user_id: str
) -> None:
    """Take someone out of a group; no effect where they are not in it."""
    gate.require(principal, Scope.KB_ADMIN)
    group = await _group(session, principal, group_id)
    member = await session.get(UserGroupMember, (group.id, user_id))
    if member is not None:
        await session.delete(member)
        await gate.audit(session, principal, "group.remove", group.id, {"user": user_id})


# API tokens


async def create_token(
    session: AsyncSession,
    principal: Principal,
    name: str,
    *,
    scopes: Collection[Scope],
    expires_in: timedelta | None = None,
    expires_at: datetime | None = None,
    user_id: str | None = None,
) -> tuple[str, TokenInfo]:
    """A new token's secret, which is shown this once, and its description.

    Never more scopes than the principal has. An owner may make one for another member (it reads
    what they read). Without `kb:admin`, a token makes no tokens: a stolen one can't renew itself.
    """
    owner_id = user_id or principal.user_id
    if owner_id is None:
        raise Forbidden("A token belongs to a member: link this account to one first.")
    if principal.api_token_id is not None and Scope.KB_ADMIN not in principal.scopes:
        raise Forbidden("This token may not create tokens: that needs the scope kb:admin.")
    if owner_id != principal.user_id:
        if principal.role is not Role.OWNER:
            raise Forbidden("Only an owner may create a token for someone else.")
        gate.require(principal, Scope.KB_ADMIN)
    wanted = set(scopes)
    member = await _membership(session, principal, owner_id)
    if not wanted:
        raise InvalidInput(f"Name at least one of: {', '.join(Scope)}.", field="scopes")
    if not gate.can_grant(principal, wanted) or wanted - gate.ROLE_SCOPES[Role(member.role)]:
        allowed = principal.scopes & gate.ROLE_SCOPES[Role(member.role)]
        raise Forbidden(
            "A token can't have more scopes than its creator and its user."
            f" Allowed: {', '.join(sorted(allowed)) or 'none'}."
        )
    now = clock.now()
    if expires_in is not None:
        expires_at = now + expires_in
    if expires_at is not None and expires_at <= now:
        raise InvalidInput("The token would already be expired.", field="expires_at")
    secret = SECRET_PREFIX + secrets.token_urlsafe(32)
    row = ApiToken(
        id=clock.new_id(),
        tenant_id=principal.tenant_id,
        user_id=owner_id,
        name=_name(name),
        digest=_digest(secret),
        prefix=secret[:PREFIX_LENGTH],
        scopes=sorted(wanted),
        expires_at=expires_at,
        created_at=now,
    )
    session.add(row)
    await gate.audit(
        session, principal, "token.create", row.id, {"user": owner_id, "scopes": row.scopes}
    )
    return secret, _token_info(row)


async def authenticate(db: Database, secret: str, *, now: datetime | None = None) -> Principal:
    """Who this token stands for. Whatever is wrong with it, `Unauthenticated` says the same."""
    now = now or clock.now()
    async with db.read() as session:
        # Looked up by its digest: how long that takes tells nothing about the secret.
        token = await session.scalar(select(ApiToken).where(ApiToken.digest == _digest(secret)))
        if (
            token is None
            or token.revoked_at is not None
            or (token.expires_at is not None and token.expires_at <= now)
        ):
            raise Unauthenticated(_REFUSED)
        try:
            principal = await gate.principal_of_user(
                session,
                token.tenant_id,
                token.user_id,
                scopes=[scope for scope in Scope if scope in token.scopes],
                now=now,
            )
        except Unauthenticated:
            raise Unauthenticated(_REFUSED) from None
    if token.last_used_at is None or now - token.last_used_at >= LAST_USED_STEP:
        with suppress(Unavailable):  # a busy writer is no reason to turn someone away
            async with db.write() as session:
                await session.execute(
                    update(ApiToken).where(ApiToken.id == token.id).values(last_used_at=now)
                )
    return replace(principal, api_token_id=token.id)


async def list_tokens(session: AsyncSession, principal: Principal) -> list[TokenInfo]:
    """The principal's own tokens; with `kb:admin` all of the tenant. Newest first."""
    rows = await session.scalars(_tokens(principal).order_by(ApiToken.id.desc()))
    return [_token_info(row) for row in rows]


async def revoke_token(session: AsyncSession, principal: Principal, ref: str) -> TokenInfo:
    """End a token, named by id or prefix, at once; no effect where it is revoked."""
    found = list(
        await session.scalars(
            _tokens(principal).where(or_(ApiToken.id == ref, ApiToken.prefix == ref)).limit(2)
        )
    )
    if len(found) != 1:
        raise NotFound(f"No token {ref!r} of yours. `scrubjay token list` names them.")
    [token] = found
    if token.revoked_at is None:
        token.revoked_at = clock.now()
        await gate.audit(session, principal, "token.revoke", token.id, {"user": token.user_id})
    return _token_info(token)


async def newest_revocation(session: AsyncSession) -> datetime | None:
    """When a token of any tenant was last revoked: a mark for whoever remembers principals."""
    newest: datetime | None = await session.scalar(select(func.max(ApiToken.revoked_at)))
    return newest


# Small matters


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


def _name(name: str) -> str:
    name = name.strip()
    if not name or len(name) > 200 or not name.isprintable():
        raise InvalidInput("A name has 1 to 200 printable characters.", field="name")
    return name


def _members(tenant_id: str) -> Select[str, str, str | None, str]:
    return (
        select(User.id, User.name, User.email, Membership.role)
        .join(Membership, Membership.user_id == User.id)
        .where(Membership.tenant_id == tenant_id)
    )


def _tokens(principal: Principal) -> Select[ApiToken]:
    own = select(ApiToken).where(ApiToken.tenant_id == principal.tenant_id)
    if Scope.KB_ADMIN in principal.scopes:
        return own
    return own.where(ApiToken.user_id == principal.user_id)


def _confined(principal: Principal, tenant_id: str) -> bool:
    """A token shows its own tenant only, whatever else its user belongs to."""
    return principal.api_token_id is not None and tenant_id != principal.tenant_id


async def _require_operator(session: AsyncSession, principal: Principal) -> None:
    gate.require(principal, Scope.KB_ADMIN)
    operates = select(exists().where(Tenant.key == DEFAULT_KEY, Tenant.id == principal.tenant_id))
    if principal.role is not Role.OWNER or not await session.scalar(operates):
        raise Forbidden("Only an owner of the installation's first tenant may do this.")


def _require_role_grant(principal: Principal, role: Role) -> None:
    gate.require(principal, Scope.KB_ADMIN)
    if not gate.can_grant_role(principal, role):
        raise Forbidden(f"Only an owner can grant or remove the role {role}.")


async def _keep_an_owner(session: AsyncSession, tenant_id: str, user_id: str) -> None:
    other = select(Membership.user_id).join(User, User.id == Membership.user_id)
    if not await session.scalar(
        other.where(
            Membership.tenant_id == tenant_id,
            Membership.role == Role.OWNER,
            Membership.user_id != user_id,
            User.active.is_(True),
        ).limit(1)
    ):
        raise Conflict("A tenant needs at least one owner: make someone else an owner first.")


async def _membership(session: AsyncSession, principal: Principal, user_id: str) -> Membership:
    found = await session.get(Membership, (principal.tenant_id, user_id))
    if found is None:
        raise NotFound(f"No member {user_id!r} in this tenant.")
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


def _tenant_info(row: Tenant) -> TenantInfo:
    return TenantInfo(row.id, row.key, row.name, row.created_at)


def _token_info(row: ApiToken) -> TokenInfo:
    return TokenInfo(
        id=row.id,
        name=row.name,
        prefix=row.prefix,
        scopes=[scope for scope in Scope if scope in row.scopes],
        user_id=row.user_id,
        expires_at=row.expires_at,
        revoked_at=row.revoked_at,
        last_used_at=row.last_used_at,
        created_at=row.created_at,
    )
