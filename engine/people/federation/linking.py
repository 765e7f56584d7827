"""Whose account here an account at a provider is: the rules, in their order.

1. It was linked before: that member, if active.
2. Somebody signed in pressed "connect": theirs.
3. An address the provider vouches for has an open invitation: the invitation is accepted.
4. A member has that address, and the tenant lets addresses link: that member. What was set before
   anybody had proved the address (password, sessions, factors) ends first.
5. Newcomers of the address's domain may join: a new member.
6. Nobody. The answer is the same whether or not somebody here has the address.

Accounts of Slack and Discord are those the bots know. One tenant's provider never reaches an
account through an address that is used in another tenant: its admins decide what it says.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import delete, select
from sqlalchemy.ext.asyncio import AsyncSession

from engine import clock
from engine.access import auditing
from engine.access.principals import ACTIVE
from engine.db.tables import (
    Identity,
    Membership,
    OidcProvider,
    User,
    UserGroup,
    UserGroupMember,
    Workspace,
)
from engine.domain import Principal
from engine.errors import Conflict
from engine.mail.mail import Mail
from engine.people import factors, invitations, one_time_links, sessions
from engine.people.federation.kinds import CHATS, ProviderProfile
from engine.people.members import checked_email

PROVIDER = "oidc:"  # what the identities of providers begin with, as in `subjects.py`
SCIM = "scim:"  # … and of accounts that a directory manages: then its groups count


@dataclass(frozen=True, slots=True)
class Arrival:
    """Who came: a member, or an account that only a chat platform's workspace knows, or nobody."""

    user_id: str = ""
    identity_id: str = ""


def identity_provider(kind: str, issuer: str) -> str:
    """How identities name a provider."""
    if kind in CHATS:
        return kind
    return PROVIDER + hashlib.sha256(issuer.encode()).hexdigest()[:32]


async def connect(
    session: AsyncSession, mail: Mail, row: OidcProvider, who: ProviderProfile, principal: Principal
) -> Arrival:
    """Link an account to the member who is signed in; `Conflict` where it is somebody else's."""
    user_id = principal.user_id or ""
    identity = await _identity(session, row, who)
    if identity is not None and identity.user_id not in {None, user_id}:
        raise Conflict("This account is connected to another member here.")
    user = await session.get_one(User, user_id)
    await _link(session, row, who, identity, user)
    await mail.notify(
        session, row.tenant_id, user, f"An account of {row.name} was connected to yours"
    )
    await _regroup(session, row, user_id, who)
    return Arrival(user_id)


async def arrive(session: AsyncSession, row: OidcProvider, who: ProviderProfile) -> Arrival:
    """Whose account it is, by the rules above; an empty one where it is nobody's."""
    identity = await _identity(session, row, who)
    if identity is not None and identity.user_id:
        user = await session.get_one(User, identity.user_id)
        membership = await session.get(Membership, (row.tenant_id, user.id))
        if membership is not None:
            if not (user.active and membership.active):
                return Arrival()
            await _follow(session, row, who, user)
            await _regroup(session, row, user.id, who)
            return Arrival(user.id)
    found = await _by_address(session, row, who) if who.email else None
    if found is not None:
        taken = identity is not None and identity.user_id not in {None, found.id}
        if taken or await _has_another(session, row, who, found.id):
            return Arrival()
        await _link(session, row, who, identity, found)
        await _regroup(session, row, found.id, who)
        return Arrival(found.id)
    if identity is not None and identity.user_id is None and row.kind in CHATS:
        return Arrival(identity_id=identity.id)
    return Arrival()


async def knows_workspace(session: AsyncSession, row: OidcProvider, teams: Sequence[str]) -> bool:
    """Whether one of these workspaces of a chat platform is the tenant's."""
    found = await session.scalar(
        select(Workspace.id).where(
            Workspace.tenant_id == row.tenant_id,
            Workspace.platform == row.kind,
            Workspace.external_id.in_(teams),
            Workspace.state == ACTIVE,
        )
    )
    return found is not None


async def _by_address(
    session: AsyncSession, row: OidcProvider, who: ProviderProfile
) -> User | None:
    """The member whom rules 3 to 5 find for a vouched address, made where they allow it."""
    email = checked_email(who.email)
    user = await session.scalar(select(User).where(User.email == email).with_for_update())
    if user is not None and not user.active:
        return None
    elsewhere = user is not None and await _is_elsewhere(session, row.tenant_id, user.id)
    membership = None if user is None else await session.get(Membership, (row.tenant_id, user.id))
    if user is not None and membership is not None:
        return await _of_member(session, row, user, membership, elsewhere=elsewhere)
    if elsewhere:
        return None
    invited = await invitations.accept_vouched(session, row.tenant_id, email, name=who.name)
    if invited is not None:
        return invited
    may_join = row.jit_role and email.rpartition("@")[2] in row.allowed_domains
    if user is not None or not may_join:
        return None
    return await _join(session, row, who, email)


async def _of_member(
    session: AsyncSession,
    row: OidcProvider,
    user: User,
    membership: Membership,
    *,
    elsewhere: bool,
) -> User | None:
    """A member by their address, if the tenant lets addresses link; rule 4."""
    if not (membership.active and row.link_by_email):
        return None
    if user.email_verified_at is None:
        if elsewhere:
            return None
        await _drop_unproved(session, user)
    return user


async def _join(session: AsyncSession, row: OidcProvider, who: ProviderProfile, email: str) -> User:
    user = User(
        id=clock.new_id(),
        email=email,
        name=who.name or email.partition("@")[0],
        email_verified_at=clock.now(),
    )
    session.add(user)
    await session.flush()
    session.add(Membership(tenant_id=row.tenant_id, user_id=user.id, role=row.jit_role))
    said = {"provider": row.key, "role": row.jit_role}
    await auditing.append(session, row.tenant_id, user.id, "member.join", user.id, said)
    return user


async def _drop_unproved(session: AsyncSession, user: User) -> None:
    """End what was set for an address that nobody had proved to be theirs."""
    user.password_hash = None
    user.email_verified_at = clock.now()
    await factors.remove(session, user.id)
    await factors.forget_passkeys(session, user.id)
    await sessions.end_everything(session, user.id)
    await one_time_links.end_links(session, user.id, "owner", "reset", "verify", "change")


async def _link(
    session: AsyncSession,
    row: OidcProvider,
    who: ProviderProfile,
    identity: Identity | None,
    user: User,
) -> None:
    if identity is not None and identity.user_id == user.id:
        return
    if identity is None:
        session.add(
            Identity(
                tenant_id=row.tenant_id,
                user_id=user.id,
                provider=identity_provider(row.kind, who.issuer),
                subject=who.subject,
                name=(who.name or who.email)[:200],
            )
        )
    else:
        identity.user_id = user.id
    await session.flush()
    said = {"provider": row.key, "issuer": who.issuer}
    await auditing.append(session, row.tenant_id, user.id, "identity.link", user.id, said)


async def _follow(
    session: AsyncSession, row: OidcProvider, who: ProviderProfile, user: User
) -> None:
    """Take on a changed name and a vouched, free address, of an account of this tenant alone."""
    if await _is_elsewhere(session, row.tenant_id, user.id):
        return
    if who.name and who.name != user.name:
        user.name = who.name
    if not who.email or who.email == user.email:
        return
    email = checked_email(who.email)
    if await session.scalar(select(User.id).where(User.email == email)) is not None:
        return
    before, user.email, user.email_verified_at = user.email, email, clock.now()
    said = {"before": before, "after": email, "provider": row.key}
    await auditing.append(session, row.tenant_id, user.id, "email.follow", user.id, said)


async def _regroup(
    session: AsyncSession, row: OidcProvider, user_id: str, who: ProviderProfile
) -> None:
    """Put a member into the groups that the provider's rules name for them, and out of the others.

    Only groups in the rules; nothing where the provider says nothing, or a directory manages them.
    Where it leaves some out, because they are too many, memberships stay and admins find it in the
    audit log.
    """
    said = who.groups
    if not row.group_rules or (said is None and not who.leaves_groups_out):
        return
    managed = select(Identity.id).where(
        Identity.tenant_id == row.tenant_id,
        Identity.user_id == user_id,
        Identity.provider.startswith(SCIM),
    )
    if await session.scalar(managed.limit(1)) is not None:
        return
    if said is None:
        why = {"provider": row.key, "reason": "the provider leaves groups out: too many"}
        await auditing.append(session, row.tenant_id, user_id, "group.kept", user_id, why)
        return
    owned = set(row.group_rules.values())
    there = set(
        await session.scalars(
            select(UserGroup.id).where(
                UserGroup.tenant_id == row.tenant_id, UserGroup.id.in_(owned)
            )
        )
    )
    wanted = {row.group_rules[value] for value in said if value in row.group_rules} & there
    has = set(
        await session.scalars(
            select(UserGroupMember.group_id).where(
                UserGroupMember.user_id == user_id, UserGroupMember.group_id.in_(there)
            )
        )
    )
    if wanted == has:
        return
    session.add_all(
        UserGroupMember(group_id=id_, user_id=user_id, tenant_id=row.tenant_id)
        for id_ in wanted - has
    )
    await session.execute(
        delete(UserGroupMember).where(
            UserGroupMember.user_id == user_id, UserGroupMember.group_id.in_(has - wanted)
        )
    )
    detail = {"provider": row.key, "added": sorted(wanted - has), "removed": sorted(has - wanted)}
    await auditing.append(session, row.tenant_id, user_id, "group.follow", user_id, detail)


async def _identity(
    session: AsyncSession, row: OidcProvider, who: ProviderProfile
) -> Identity | None:
    return await session.scalar(
        select(Identity)
        .where(
            Identity.tenant_id == row.tenant_id,
            Identity.provider == identity_provider(row.kind, who.issuer),
            Identity.subject == who.subject,
        )
        .with_for_update()
    )


async def _has_another(
    session: AsyncSession, row: OidcProvider, who: ProviderProfile, user_id: str
) -> bool:
    """Whether a member signs in with another account of this provider: addresses change hands."""
    found = await session.scalar(
        select(Identity.id).where(
            Identity.tenant_id == row.tenant_id,
            Identity.provider == identity_provider(row.kind, who.issuer),
            Identity.user_id == user_id,
            Identity.subject != who.subject,
        )
    )
    return found is not None


async def _is_elsewhere(session: AsyncSession, tenant_id: str, user_id: str) -> bool:
    found = select(Membership.tenant_id).where(
        Membership.user_id == user_id, Membership.tenant_id != tenant_id
    )
    return await session.scalar(found.limit(1)) is not None
