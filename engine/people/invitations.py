"""Invitations: a secret with which one address joins a tenant, once, within a week.

Only a digest is kept. A mail server carries the secret to the address, and then using it proves
that the address is theirs; without one the inviter hands it over, which proves nothing. Whoever
accepts gets what the invitation says, as far as its inviter may still give it.
"""

from __future__ import annotations

import hashlib
import secrets as random
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, Select, or_, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from engine import clock
from engine.access import auditing, gate
from engine.db.tables import Invitation, Membership, Tenant, User, UserGroup, UserGroupMember
from engine.domain import Principal, Role, Scope
from engine.errors import Conflict, InvalidInput, LinkExpired, NotFound, Unauthenticated
from engine.mail.mail import Mail
from engine.people import factors, groups, sessions
from engine.people.members import checked_email, checked_name, require_role_grant

LIFE = timedelta(days=7)
PREFIX = "sj_invite_"
GROUPS_MAX = 50
EXPIRED = (
    "This invitation was used, taken back, replaced by a newer one, or is too old. Only the newest"
    " link works: ask for another."
)


@dataclass(frozen=True, slots=True)
class InvitationInfo:
    """An open invitation, without its secret."""

    id: str
    email: str
    name: str
    role: Role
    groups: Sequence[str]  # names
    invited_by: str
    created_at: datetime
    expires_at: datetime
    mailed: bool


@dataclass(frozen=True, slots=True)
class Invited:
    """A new invitation, and its secret where no mail server carries it: it is shown this once."""

    invitation: InvitationInfo
    secret: str = ""

    def __repr__(self) -> str:
        return f"Invited(invitation={self.invitation!r})"


async def invite(
    session: AsyncSession,
    principal: Principal,
    mail: Mail,
    *,
    email: str,
    name: str = "",
    role: Role = Role.MEMBER,
    into: Collection[str] = (),
) -> Invited:
    """Invite an address with a role, and into groups by name or id; a former invitation ends.

    Never with more than the inviter may give. `Conflict` for a member.
    """
    gate.require_verb(principal, "invitation.create")
    require_role_grant(principal, role)
    if principal.user_id is None:
        raise InvalidInput("Link this account to a member before you invite somebody.")
    email = checked_email(email)
    name = checked_name(name) if name.strip() else ""
    if len(into) > GROUPS_MAX:
        raise InvalidInput(f"Name at most {GROUPS_MAX} groups.", field="groups")
    found = [await groups.find_group(session, principal, ref) for ref in dict.fromkeys(into)]
    await _refuse_member(session, principal, email)
    now = clock.now()
    id_, secret = clock.new_id(), PREFIX + random.token_urlsafe(32)
    # The audit row first: it lets one transaction of a tenant at a time through.
    said = {"email": email, "role": role, "groups": [group.id for group in found]}
    await gate.audit(session, principal, "invitation.create", id_, said)
    await session.execute(
        update(Invitation)
        .where(*_open(principal.tenant_id), Invitation.email == email)
        .values(revoked_at=now)
    )
    row = Invitation(
        id=id_,
        tenant_id=principal.tenant_id,
        email=email,
        name=name,
        role=role,
        group_ids=[group.id for group in found],
        digest=_digest(secret),
        mailed=mail.is_set_up,
        created_by=principal.user_id,
        created_at=now,
        expires_at=now + LIFE,
    )
    session.add(row)
    await session.flush()
    await _write(session, principal, mail, row, secret)
    info = _info(row, principal.name, [group.name for group in found])
    return Invited(info, "" if mail.is_set_up else secret)


async def list_open(session: AsyncSession, principal: Principal) -> list[InvitationInfo]:
    """The tenant's invitations that can still be accepted, the newest first."""
    gate.require_verb(principal, "invitation.list")
    rows = await session.execute(
        select(Invitation, User.name)
        .join(User, User.id == Invitation.created_by)
        .where(*_open(principal.tenant_id), Invitation.expires_at > clock.now())
        .order_by(Invitation.id.desc())
    )
    found = [(row, inviter) for row, inviter in rows]
    ids = {id_ for row, _ in found for id_ in row.group_ids}
    named = await session.execute(
        select(UserGroup.id, UserGroup.name).where(
            UserGroup.tenant_id == principal.tenant_id, UserGroup.id.in_(ids)
        )
    )
    names = {row[0]: row[1] for row in named}
    return [
        _info(row, inviter, [names[id_] for id_ in row.group_ids if id_ in names])
        for row, inviter in found
    ]


async def revoke(session: AsyncSession, principal: Principal, ref: str) -> str:
    """Take an open invitation back, by its id or address; the address."""
    gate.require_verb(principal, "invitation.revoke")
    row = await session.scalar(
        select(Invitation)
        .where(
            *_open(principal.tenant_id),
            or_(Invitation.id == ref, Invitation.email == ref.strip().lower()),
        )
        .with_for_update()
    )
    if row is None:
        raise NotFound(f"No open invitation {ref[:80]!r}.")
    require_role_grant(principal, Role(row.role))
    row.revoked_at = clock.now()
    await gate.audit(session, principal, "invitation.revoke", row.id, {"email": row.email})
    return row.email


async def look(session: AsyncSession, secret: str) -> Invitation | None:
    """An invitation that can be accepted now, left as it is."""
    return await session.scalar(_acceptable(secret))


async def accept(
    session: AsyncSession,
    secret: str,
    *,
    who: Principal | None,
    name: str = "",
    kept: str = "",
) -> tuple[Invitation, User]:
    """Use an invitation up and make the membership, in one transaction.

    `who` is signed in, and accepts with that account if the address is theirs. Else it is a new
    account, or one nobody has signed in to: `kept` is its password's hash. `LinkExpired` for an
    invitation that is no good, `Conflict` where somebody else is signed in or must sign in first;
    it then stays open.
    """
    now = clock.now()
    used = (
        update(Invitation)
        .where(Invitation.id.in_(_acceptable(secret).with_only_columns(Invitation.id)))
        .where(Invitation.accepted_at.is_(None), Invitation.revoked_at.is_(None))
        .values(accepted_at=now)
        .returning(Invitation)
    )
    row = (await session.scalars(used)).one_or_none()
    if row is None or not await _may_still_give(session, row):
        raise LinkExpired(EXPIRED)
    user = await session.scalar(select(User).where(User.email == row.email).with_for_update())
    if who is not None and (user is None or who.user_id != user.id):
        raise Conflict(
            f"This invitation is for {row.email}, and you are signed in with another account. Sign"
            " out, then open the link again."
        )
    if user is None:
        user = User(
            id=clock.new_id(),
            email=row.email,
            name=(name.strip() and checked_name(name)) or row.name or row.email.partition("@")[0],
            password_hash=kept or None,
        )
        session.add(user)
        await session.flush()
    elif not user.active:
        raise LinkExpired(EXPIRED)
    elif who is None:
        await _take_over(session, row, user, kept)
    if row.mailed and user.email_verified_at is None:
        user.email_verified_at = now
    row.accepted_by = user.id
    await _join(session, row, user)
    return row, user


async def accept_vouched(
    session: AsyncSession, tenant_id: str, email: str, *, name: str
) -> User | None:
    """Accept an open invitation for an address that an identity provider vouches for; its member.

    None where there is none. The caller has made sure that nobody has the address elsewhere.
    """
    now = clock.now()
    used = (
        update(Invitation)
        .where(*_open(tenant_id), Invitation.email == email, Invitation.expires_at > now)
        .values(accepted_at=now)
        .returning(Invitation)
    )
    row = (await session.scalars(used)).one_or_none()
    if row is None or not await _may_still_give(session, row):
        return None
    user = await session.scalar(select(User).where(User.email == email))
    if user is None:
        given = name or row.name or email.partition("@")[0]
        user = User(id=clock.new_id(), email=email, name=given)
        session.add(user)
        await session.flush()
    elif user.email_verified_at is None:
        user.password_hash = None
        await factors.remove(session, user.id)
        await sessions.end_everything(session, user.id)
    user.email_verified_at = user.email_verified_at or now
    row.accepted_by = user.id
    await _join(session, row, user)
    return user


async def _take_over(session: AsyncSession, row: Invitation, user: User, kept: str) -> None:
    """Give an account that exists a password, where the invitation shows whose it is.

    One that somebody has signed in to is theirs: they sign in. A mailed invitation proves the
    address, so what was set before anybody had proved it ends. One handed over proves nothing, and
    must not open what the person has elsewhere.
    """
    elsewhere = select(Membership.tenant_id).where(
        Membership.user_id == user.id, Membership.tenant_id != row.tenant_id
    )
    if row.mailed and user.email_verified_at is None:
        await factors.remove(session, user.id)
        await sessions.end_everything(session, user.id)
    elif user.password_hash is not None or (
        not row.mailed and await session.scalar(elsewhere.limit(1)) is not None
    ):
        raise Conflict(f"{row.email} has an account: sign in with it, then open the link again.")
    user.password_hash = kept or None


async def _join(session: AsyncSession, row: Invitation, user: User) -> None:
    if await session.get(Membership, (row.tenant_id, user.id)) is not None:
        raise Conflict(f"{row.email} is a member already: sign in.")
    session.add(Membership(tenant_id=row.tenant_id, user_id=user.id, role=row.role))
    await session.flush()
    there = await session.scalars(
        select(UserGroup.id).where(
            UserGroup.tenant_id == row.tenant_id, UserGroup.id.in_(row.group_ids)
        )
    )
    session.add_all(
        UserGroupMember(group_id=id_, user_id=user.id, tenant_id=row.tenant_id) for id_ in there
    )
    said = {"user": user.id, "role": row.role, "groups": row.group_ids}
    await auditing.append(session, row.tenant_id, user.id, "invitation.accept", row.id, said)


async def _may_still_give(session: AsyncSession, row: Invitation) -> bool:
    """Whether the inviter could invite with this role now: a demoted one's invitations end."""
    try:
        inviter = await gate.principal_of_user(session, row.tenant_id, row.created_by)
    except Unauthenticated:
        return False
    return Scope.KB_ADMIN in inviter.scopes and gate.can_grant_role(inviter, Role(row.role))


async def _refuse_member(session: AsyncSession, principal: Principal, email: str) -> None:
    known = await session.scalar(
        select(Membership.active)
        .join(User, User.id == Membership.user_id)
        .where(Membership.tenant_id == principal.tenant_id, User.email == email)
    )
    if known is not None:
        what = "a member already" if known else "a deactivated member: let them in again"
        raise Conflict(f"{email} is {what}.")


async def _write(
    session: AsyncSession, principal: Principal, mail: Mail, row: Invitation, secret: str
) -> None:
    tenant = await session.get_one(Tenant, row.tenant_id)
    await mail.queue(
        session,
        row.tenant_id,
        row.email,
        "invitation",
        until=row.expires_at,
        url=mail.link("invitation", secret),
        inviter=principal.name,
        organisation=tenant.name,
        role=row.role,
        until_text=f"{row.expires_at:%Y-%m-%d %H:%M} UTC",
    )


def _open(tenant_id: str) -> tuple[ColumnElement[bool], ...]:
    return (
        Invitation.tenant_id == tenant_id,
        Invitation.accepted_at.is_(None),
        Invitation.revoked_at.is_(None),
    )


def _acceptable(secret: str) -> Select[Invitation]:
    return (
        select(Invitation)
        .join(Tenant, Tenant.id == Invitation.tenant_id)
        .where(
            Invitation.digest == _digest(secret.strip()),
            Invitation.accepted_at.is_(None),
            Invitation.revoked_at.is_(None),
            Invitation.expires_at > clock.now(),
            Tenant.deleted_at.is_(None),
        )
    )


def _info(row: Invitation, inviter: str, names: Sequence[str]) -> InvitationInfo:
    return InvitationInfo(
        id=row.id,
        email=row.email,
        name=row.name,
        role=Role(row.role),
        groups=names,
        invited_by=inviter,
        created_at=row.created_at,
        expires_at=row.expires_at,
        mailed=row.mailed,
    )


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode("utf-8", "surrogateescape")).hexdigest()
