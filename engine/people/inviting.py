"""What needs mail: invitations, forgotten passwords, addresses to confirm. Parts of `engine.people`.

A forgotten password is looked up by a job, so that the request takes the same time for any address
and its answer says nothing about who has an account.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection
from dataclasses import replace

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from engine import clock
from engine.access import auditing, gate
from engine.db.session import Database
from engine.db.tables import Membership, Tenant, User
from engine.domain import Lane, Principal, Role
from engine.errors import Conflict, InvalidInput, LinkExpired, RateLimited
from engine.jobs import endings
from engine.jobs.kinds import RESET
from engine.jobs.leases import ClaimedJob
from engine.jobs.outbox import enqueue
from engine.limits import Limits
from engine.mail import mail as mails
from engine.mail.letters import Template
from engine.mail.mail import Mail
from engine.people import invitations, one_time_links
from engine.people.invitations import EXPIRED, InvitationInfo, Invited
from engine.people.sessions import SessionKind, SignedIn, SignInClient
from engine.people.sign_in import SignIn
from engine.secrets import Secrets

NO_MAIL = "This installation sends no mail: ask an admin for a link."
TOO_MANY = "Too many messages were asked for: wait a little, and look for the last one."
# An address gets three messages at once, then one in ten minutes: nobody's mailbox is filled.
MAILS_BURST, MAILS_PER_S = 3, 1 / 600
ADDRESS_BURST, ADDRESS_PER_S = 30, 1 / 10  # of a network


class Inviting:
    """Invitations: made, listed, taken back, accepted. `engine.people.invitations` is one."""

    def __init__(self, db: Database, mail: Mail, sign_in: SignIn) -> None:
        self._db = db
        self._mail = mail
        self._sign_in = sign_in

    async def invite(
        self,
        principal: Principal,
        email: str,
        *,
        name: str = "",
        role: Role = Role.MEMBER,
        groups: Collection[str] = (),
    ) -> Invited:
        """Invite an address; the secret of the link only where no mail server carries it."""
        return await self._db.run_write(
            lambda session: invitations.invite(
                session, principal, self._mail, email=email, name=name, role=role, into=groups
            )
        )

    async def list_open(self, principal: Principal) -> list[InvitationInfo]:
        """Invitations that can still be accepted, the newest first."""
        return await self._db.run_read(lambda session: invitations.list_open(session, principal))

    async def revoke(self, principal: Principal, ref: str) -> str:
        """Take an open invitation back, by id or address; the address."""
        return await self._db.run_write(lambda session: invitations.revoke(session, principal, ref))

    async def accept(
        self,
        link: str,
        *,
        who: Principal | None,
        name: str,
        password: str,
        kind: SessionKind,
        client: SignInClient,
    ) -> SignedIn:
        """Join the tenant of an invitation and be signed in there, with a new session.

        Somebody signed in joins with that account; else `password` is the new account's.
        """
        if who is not None and who.session_id is None:
            raise Conflict("A token accepts no invitation: open the link with a browser.")
        kept = ""
        if who is None:
            known = await self._db.run_read(lambda session: invitations.look(session, link))
            if known is None:  # said before a password is refused, and without its cost
                raise LinkExpired(EXPIRED)
            of = User(name=name.strip() or known.name, email=known.email)
            kept = await self._sign_in.checked(of, password)
        methods = ["pwd"] if who is None else ["link"]

        async def commit(session: AsyncSession) -> SignedIn:
            row, user = await invitations.accept(session, link, who=who, name=name, kept=kept)
            return await self._sign_in.open(session, row.tenant_id, user.id, kind, methods, client)

        signed_in = await self._db.run_write(commit)
        return replace(signed_in, device=self._sign_in.device_of(signed_in.user_id, client))


class MailedLinks:
    """Forgotten passwords and addresses to confirm. `engine.people.mailed_links` is one."""

    def __init__(self, db: Database, secrets: Secrets, limits: Limits, mail: Mail) -> None:
        self._db = db
        self._secrets = secrets
        self._limits = limits
        self._mail = mail

    @property
    def can_send(self) -> bool:
        """Whether a forgotten password can be mended by mail."""
        return self._mail.is_set_up

    async def request_reset(self, email: str, client: SignInClient) -> None:
        """Send a link to set a password, if an active account has this address. Says never which.

        The same work for any address: a job looks it up. `RateLimited` after a few.
        """
        self._require_mail()
        email = email.strip().lower()[:320]
        if "@" not in email or not email.isprintable():
            raise InvalidInput("Enter an e-mail address.", field="email")
        await self.take(email, client)
        sealed = self._secrets.encrypt("mail", json.dumps({"email": email}))

        async def commit(session: AsyncSession) -> None:
            first = select(Tenant.id).where(Tenant.key == gate.FIRST_TENANT)
            await enqueue(
                session,
                tenant_id=str(await session.scalar(first)),
                kind=RESET,
                payload={"sealed": sealed},
                lane=Lane.LIVE,
            )

        await self._db.run_write(commit)

    async def send_reset(self, job: ClaimedJob) -> None:
        """Queue the message of `request_reset` where the address has an active account; end the job."""
        email = str(self._mail.opened(job)["email"])

        async def commit(session: AsyncSession) -> None:
            found = (
                await session.execute(
                    select(User, Membership.tenant_id)
                    .join(Membership, Membership.user_id == User.id)
                    .join(Tenant, Tenant.id == Membership.tenant_id)
                    .where(
                        User.email == email,
                        User.active.is_(True),
                        Membership.active.is_(True),
                        Tenant.deleted_at.is_(None),
                    )
                    .order_by(Membership.created_at, Membership.tenant_id)
                    .limit(1)
                )
            ).one_or_none()
            if found is not None:
                await self._write_link(session, found[1], found[0], "reset", "set-password")
            await endings.finish(session, job)
            await mails.forget(session, job)

        await self._db.run_write(commit)

    async def unconfirmed(self, principal: Principal) -> str:
        """The principal's address, if nobody has confirmed it; else empty."""
        user_id = principal.user_id or ""
        user = await self._db.run_read(lambda session: session.get(User, user_id))
        return user.email or "" if user is not None and user.email_verified_at is None else ""

    async def request_verification(self, principal: Principal, client: SignInClient) -> str:
        """Send a link that confirms the principal's address; the address."""
        self._require_mail()
        user_id = principal.user_id or ""
        user = await self._db.run_read(lambda session: session.get_one(User, user_id))
        if not user.email:
            raise InvalidInput("This account has no e-mail address.", field="email")
        if user.email_verified_at is not None:
            raise Conflict(f"{user.email} is confirmed already.")
        await self.take(user.email, client)

        async def commit(session: AsyncSession) -> None:
            row = await session.get_one(User, user_id)
            await self._write_link(session, principal.tenant_id, row, "verify", "confirm-address")

        await self._db.run_write(commit)
        return user.email

    async def confirm_address(self, link: str) -> str:
        """Take a link of `request_verification`: the address is its account's. Returns it."""

        async def commit(session: AsyncSession) -> str:
            found, user = await one_time_links.redeem_link(session, link, "verify")
            user.email_verified_at = clock.now()
            await auditing.append(
                session, found.tenant_id, user.id, "email.verify", user.id, {"email": user.email}
            )
            return user.email or ""

        return await self._db.run_write(commit)

    async def _write_link(
        self,
        session: AsyncSession,
        tenant_id: str,
        user: User,
        purpose: one_time_links.LinkPurpose,
        page: str,
    ) -> None:
        secret = await one_time_links.make_link(session, tenant_id, user, purpose, mailed=True)
        until = clock.now() + one_time_links.LIFE[purpose]
        template: Template = "reset" if purpose == "reset" else "verify"
        url = self._mail.link(page, secret)
        await self._mail.queue(session, tenant_id, user.email or "", template, until=until, url=url)

    async def take(self, email: str, client: SignInClient) -> None:
        """Count a message to an address; `Conflict` where none can be sent, `RateLimited` after a few."""
        self._require_mail()
        of = hashlib.sha256(email.encode("utf-8", "surrogateescape")).hexdigest()
        wait_s = await self._limits.take(f"mail:{of}", rate_per_s=MAILS_PER_S, burst=MAILS_BURST)
        if not wait_s and client.address:
            wait_s = await self._limits.take(
                f"mail:address:{client.address}", rate_per_s=ADDRESS_PER_S, burst=ADDRESS_BURST
            )
        if wait_s:
            raise RateLimited(TOO_MANY, retry_after_s=wait_s)

    def _require_mail(self) -> None:
        if not self._mail.is_set_up:
            raise Conflict(NO_MAIL)
