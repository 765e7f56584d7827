"""Who a subject of an identity provider is: the member an access token acts for.

The MCP door has checked the token by then (issuer, audience, times); here it meets the people. A
subject that was seen before is known by itself. A new one is matched by e-mail address, which the
provider must have verified, to somebody who is a member already, and remembered: later changes of
the address at the provider lead nowhere else, and a second subject with the same address takes
nothing over: addresses are given to other people, subjects are not. Nobody becomes a member by
signing in.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from dataclasses import dataclass, replace

from sqlalchemy import delete, select
from sqlalchemy.ext.asyncio import AsyncSession

from engine.access import gate
from engine.db.session import Database
from engine.db.tables import Identity, Membership, User
from engine.domain import Principal, Role, Scope
from engine.errors import Forbidden, InvalidInput, NotFound, Unauthenticated
from engine.people import members, tenants
from engine.people.members import MemberInfo

PROVIDER = "oidc:"  # what the providers of such identities begin with
SUBJECT_MAX = 200  # characters, the column's width


@dataclass(frozen=True, slots=True)
class Subject:
    """A person as a provider names them; `email` only where the provider vouches for it."""

    issuer: str
    subject: str
    email: str = ""
    scopes: Collection[Scope] = ()

    @property
    def provider(self) -> str:
        """The issuer as identities keep it, whose column is narrower than some issuers."""
        return PROVIDER + hashlib.sha256(self.issuer.encode()).hexdigest()[:32]


async def principal_of_subject(db: Database, tenant_key: str, who: Subject) -> Principal:
    """The member behind a subject with all they hold now, narrowed to the token's scopes.

    Raises `Forbidden` where it is nobody's, which a new token would not change.
    """
    if not who.subject or len(who.subject) > SUBJECT_MAX:
        raise Unauthenticated("This access token has no usable subject.")
    async with db.read() as session:
        tenant = await tenants.find_tenant(session, tenant_key)
        known = await session.scalar(
            select(Identity.user_id).where(
                Identity.tenant_id == tenant.id,
                Identity.provider == who.provider,
                Identity.subject == who.subject,
            )
        )
        user_id = known
        if user_id is None and who.email:
            try:
                found = await members.find_member(session, tenant.id, who.email.lower())
            except (InvalidInput, NotFound):
                found = None
            named = found is not None and found.email == who.email.lower()
            user_id = found.user_id if found is not None and named else None
    if user_id is None:
        raise Forbidden(_not_a_member(who))
    if known is None:
        await _remember(db, tenant.id, user_id, who)
    try:
        async with db.read() as session:
            principal = await gate.principal_of_user(
                session, tenant.id, user_id, scopes=frozenset(who.scopes)
            )
            return replace(principal, assured=False)
    except Unauthenticated:
        raise Forbidden(_not_a_member(who)) from None


async def _remember(db: Database, tenant_id: str, user_id: str, who: Subject) -> None:
    async with db.write() as session:
        same = select(Identity).where(
            Identity.tenant_id == tenant_id,
            Identity.provider == who.provider,
            Identity.subject == who.subject,
        )
        found = await session.scalar(same)
        if found is not None and found.user_id is not None:
            return
        other = await session.scalar(
            select(Identity.id).where(
                Identity.tenant_id == tenant_id,
                Identity.provider == who.provider,
                Identity.user_id == user_id,
                Identity.subject != who.subject,
            )
        )
        if other is not None:
            raise Forbidden(
                f"The member with the address {who.email} is linked to another account of this"
                " identity provider. If it is the same person, an admin can remove that link with"
                f" `scrubjay member unlink {who.email}`; the next sign-in makes a new one."
            )
        if found is not None:
            found.user_id = user_id
            return
        session.add(
            Identity(
                tenant_id=tenant_id,
                user_id=user_id,
                provider=who.provider,
                subject=who.subject,
                name=who.email[:200],
            )
        )
        member = await session.scalar(
            select(Membership.role).where(
                Membership.tenant_id == tenant_id, Membership.user_id == user_id
            )
        )
        name = await session.scalar(select(User.name).where(User.id == user_id))
        acting = Principal(
            tenant_id=tenant_id,
            user_id=user_id,
            name=name or "",
            role=Role(member or Role.GUEST),
            tokens=frozenset(),
            scopes=frozenset(),
        )
        await gate.audit(session, acting, "identity.link", user_id, {"provider": who.issuer})


async def unlink(session: AsyncSession, principal: Principal, user: str) -> tuple[MemberInfo, int]:
    """Forget which accounts of identity providers a member signs in with; how many there were.

    The next sign-in with a verified address links a new one. Accounts of chat platforms stay linked.
    """
    gate.require_verb(principal, "member.unlink")
    member = await members.find_member(session, principal.tenant_id, user)
    gone = list(
        await session.scalars(
            delete(Identity)
            .where(
                Identity.tenant_id == principal.tenant_id,
                Identity.user_id == member.user_id,
                Identity.provider.startswith(PROVIDER),
            )
            .returning(Identity.id)
        )
    )
    await gate.audit(session, principal, "identity.unlink", member.user_id, {"accounts": len(gone)})
    return member, len(gone)


def _not_a_member(who: Subject) -> str:
    named = who.email or "This account"
    return (
        f"{named} is not a member here: ask an admin to add the account's verified e-mail address."
    )
