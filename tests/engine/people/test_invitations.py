"""Invitations: for one address, once, within a week, and never with more than the inviter has."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from datetime import timedelta

import pytest
from sqlalchemy import func, select, update

from engine import clock
from engine.db.tables import AuditEvent, Invitation, Membership, User
from engine.domain import Principal, Role
from engine.errors import (
    Conflict,
    Forbidden,
    LinkExpired,
    NotFound,
    StepUpRequired,
    Unauthenticated,
)
from engine.mail.mail import Mail
from engine.people import factors, groups, invitations, members, tenants
from engine.people.inviting import Inviting
from engine.settings import MailSettings
from tests.engine.people.conftest import HOME, PASSWORD, Site
from tests.fakes.smtp_server import no_mail

NEW = "seven grey lanterns sing"


@dataclass
class Door:
    """Invitations with and without a mail server; the secret is read before it is sealed."""

    site: Site
    shown: Inviting
    mailed: Inviting

    async def invite(self, who: Principal | None = None, email="new@x.org", **more) -> str:
        made = await self.shown.invite(who or self.site.owner, email, **more)
        return made.secret

    async def mail(self, email="new@x.org", who: Principal | None = None, **more) -> str:
        """A mailed invitation's secret, which nobody is shown: put another digest in its place."""
        made = await self.mailed.invite(who or self.site.owner, email, **more)
        assert made.secret == ""
        secret = invitations.PREFIX + clock.new_id()
        async with self.site.db.write() as session:
            await session.execute(
                update(Invitation)
                .where(Invitation.id == made.invitation.id)
                .values(digest=invitations._digest(secret))
            )
        return secret

    async def accept(self, secret: str, *, who: Principal | None = None, **more) -> Principal:
        given = {"name": "Newcomer", "password": NEW, "kind": "browser", "client": HOME} | more
        signed_in = await self.shown.accept(secret, who=who, **given)
        return await self.site.sign_in.principal_of_cookie(signed_in.cookie)


@pytest.fixture
def door(site: Site) -> Door:
    mail = Mail(
        site.db,
        site.secrets,
        MailSettings(host="mail.x.org", sender="kb@x.org"),
        public_url="https://ask.x.org",
    )
    quiet = Inviting(site.db, no_mail(), site.sign_in)
    return Door(site, quiet, Inviting(site.db, mail, site.sign_in))


async def row_of(site: Site, email: str) -> User:
    async with site.db.read() as session:
        return (await session.scalars(select(User).where(User.email == email))).one()


async def admin_of(site: Site, name="boss", role=Role.ADMIN) -> Principal:
    return await site.who(await site.join(name, role))


async def test_who_accepts_is_signed_in_with_the_role_and_the_groups(door: Door, site: Site):
    async with site.db.write() as session:
        group = await groups.create_group(session, site.owner, "support")
    secret = await door.invite(email="New@X.org", role=Role.CURATOR, groups=["support"])
    [listed] = await door.shown.list_open(site.owner)
    assert (listed.email, listed.role, listed.groups) == ("new@x.org", Role.CURATOR, ["support"])

    who = await door.accept(secret)
    assert (who.role, who.name) == (Role.CURATOR, "Newcomer")
    assert group.token in who.tokens
    assert await site.enter("new", NEW)
    assert await door.shown.list_open(site.owner) == []
    async with site.db.read() as session:
        actions = list(await session.scalars(select(AuditEvent.action)))
        kept = (await session.scalars(select(Invitation))).one()
    assert {"invitation.create", "invitation.accept"} <= set(actions)
    assert secret not in repr(vars(kept))


async def test_one_of_two_who_accept_at_once_gets_in(door: Door, site: Site):
    secret = await door.invite()
    outcomes = await asyncio.gather(
        door.accept(secret), door.accept(secret, name="Other"), return_exceptions=True
    )
    assert sorted(type(item).__name__ for item in outcomes) == ["LinkExpired", "Principal"]
    async with site.db.read() as session:
        assert await session.scalar(select(func.count()).where(User.email == "new@x.org")) == 1


async def test_a_link_ends_by_time_by_being_taken_back_and_by_a_newer_one(door: Door, site: Site):
    first = await door.invite()
    second = await door.invite()
    with pytest.raises(LinkExpired):
        await door.accept(first)
    assert await door.shown.revoke(site.owner, "new@x.org") == "new@x.org"
    with pytest.raises(LinkExpired):
        await door.accept(second)
    with pytest.raises(NotFound):
        await door.shown.revoke(site.owner, "new@x.org")
    third = await door.invite()
    async with site.db.write() as session:
        past = clock.now() - timedelta(seconds=1)
        await session.execute(update(Invitation).values(expires_at=past))
    with pytest.raises(LinkExpired):
        await door.accept(third)
    for junk in ("", "x", "sj_invite_" + "a" * 43):
        with pytest.raises(LinkExpired):
            await door.accept(junk)


async def test_who_is_signed_in_as_somebody_else_is_refused_and_the_link_stays(
    door: Door, site: Site
):
    secret = await door.invite()
    other = replace(await site.who(await site.join("ada")), session_id="s")
    with pytest.raises(Conflict, match=r"new@x\.org"):
        await door.accept(secret, who=other)
    assert await door.accept(secret)


async def test_nobody_invites_above_themselves_and_a_demoted_inviter_not_at_all(
    door: Door, site: Site
):
    admin = await admin_of(site)
    with pytest.raises(Forbidden):
        await door.invite(admin, role=Role.OWNER)
    with pytest.raises(StepUpRequired):
        await door.invite(replace(admin, assured=False, session_id="s"))
    for role in (Role.CURATOR, Role.MEMBER, Role.GUEST):
        with pytest.raises(Forbidden):
            await door.invite(await admin_of(site, role, role))
    secret = await door.invite(admin, role=Role.ADMIN)
    async with site.db.write() as session:
        await members.set_role(session, site.owner, admin.user_id, Role.MEMBER)
    with pytest.raises(LinkExpired):
        await door.accept(secret)
    owners = await door.invite(email="chief@x.org", role=Role.OWNER)
    with pytest.raises(NotFound):  # another tenant's, for all they can tell
        await door.shown.revoke(replace(site.owner, tenant_id="0" * 32), "chief@x.org")
    assert (await door.accept(owners)).role is Role.OWNER


async def test_members_and_deactivated_ones_are_not_invited(door: Door, site: Site):
    ada = await site.join("ada")
    with pytest.raises(Conflict, match="member already"):
        await door.invite(email="ada@x.org")
    async with site.db.write() as session:
        await members.set_active(session, site.owner, ada, active=False)
    with pytest.raises(Conflict, match="deactivated"):
        await door.invite(email="ada@x.org")


async def test_a_link_handed_over_opens_no_account_that_is_used_elsewhere(door: Door, site: Site):
    """An admin of one tenant holds the link themselves: it must not be a way into another."""
    ada = await site.join("ada")
    async with site.db.write() as session:
        other = await tenants.create_tenant(session, site.owner, "beta")
    beta = replace(site.owner, tenant_id=other.id)
    secret = await door.invite(beta, email="ada@x.org")
    with pytest.raises(Conflict, match="sign in"):
        await door.accept(secret)
    async with site.db.write() as session:  # even without a password, as who came by a provider
        await session.execute(update(User).where(User.id == ada).values(password_hash=None))
    with pytest.raises(Conflict, match="sign in"):
        await door.accept(secret)
    signed_in = replace(await site.who(ada), session_id="s")
    there = await door.accept(secret, who=signed_in)
    assert (there.user_id, there.tenant_id) == (ada, other.id)


async def test_a_mailed_link_proves_the_address_and_ends_what_was_set_before(
    door: Door, site: Site
):
    """Somebody registered the address before its person ever proved it: theirs is over."""
    squatter = await site.join("ada")
    planted = await site.enter("ada", kind="browser")
    async with site.db.write() as session:
        other = await tenants.create_tenant(session, site.owner, "beta")
        factors_of, _ = await factors.begin(session, site.secrets, squatter, account="x")
        del factors_of
    secret = await door.mail("ada@x.org", replace(site.owner, tenant_id=other.id))
    await door.accept(secret)
    with pytest.raises(Unauthenticated):
        await site.sign_in.principal_of_cookie(planted.cookie)
    with pytest.raises(Unauthenticated):
        await site.enter("ada", PASSWORD)
    assert await site.enter("ada", NEW)
    assert (await row_of(site, "ada@x.org")).email_verified_at is not None


async def test_a_mailed_link_leaves_a_confirmed_account_its_password(door: Door, site: Site):
    ada = await site.join("ada")
    async with site.db.write() as session:
        await session.execute(
            update(User).where(User.id == ada).values(email_verified_at=clock.now())
        )
        other = await tenants.create_tenant(session, site.owner, "beta")
    secret = await door.mail("ada@x.org", replace(site.owner, tenant_id=other.id))
    with pytest.raises(Conflict, match="sign in"):
        await door.accept(secret)
    assert await site.enter("ada", PASSWORD)


async def test_a_mailed_account_is_confirmed_and_one_handed_over_is_not(door: Door, site: Site):
    await door.accept(await door.mail("a@x.org"))
    await door.accept(await door.invite(email="b@x.org"))
    assert (await row_of(site, "a@x.org")).email_verified_at is not None
    assert (await row_of(site, "b@x.org")).email_verified_at is None


async def test_a_weak_password_leaves_the_invitation_open(door: Door, site: Site):
    secret = await door.invite()
    for weak in ("short", "passwordpassword", "Football20262026", "new@x.org new"):
        with pytest.raises(Exception, match="password"):
            await door.accept(secret, password=weak)
    assert await door.accept(secret)


async def test_an_admin_helps_who_lost_their_app_and_no_owner(door: Door, site: Site):
    ada, admin = await site.join("ada"), await admin_of(site)
    for user_id in (ada, site.owner.user_id):
        async with site.db.write() as session:
            await factors.begin(session, site.secrets, user_id, account="x")
            factor = await factors._factor(session, user_id)
            factor.confirmed_at = clock.now()
    signed_in = None
    with pytest.raises(Unauthenticated):
        signed_in = await site.enter("ada")
    assert signed_in is None
    with pytest.raises(Forbidden):
        await site.sign_in.reset_factors(admin, site.owner.user_id)
    with pytest.raises(StepUpRequired):
        await site.sign_in.reset_factors(replace(admin, assured=False, session_id="s"), ada)
    await site.sign_in.reset_factors(admin, ada)
    assert await site.enter("ada")
    async with site.db.read() as session:
        row = await session.scalar(select(AuditEvent).where(AuditEvent.action == "factor.reset"))
    assert (row.actor, row.target, row.detail["before"]) == (admin.user_id, ada, "totp")


async def test_a_tenants_admin_strips_no_factor_that_guards_another_tenant(door: Door, site: Site):
    ada, admin = await site.join("ada"), await admin_of(site)
    async with site.db.write() as session:
        other = await tenants.create_tenant(session, site.owner, "beta")
        session.add(Membership(tenant_id=other.id, user_id=ada, role=Role.MEMBER))
    with pytest.raises(Forbidden, match="outside this tenant"):
        await site.sign_in.reset_factors(admin, ada)
    await site.sign_in.reset_factors(site.owner, ada)
