"""Changing one's own e-mail address: `engine.people.addresses` is an `AddressChange`.

The new address proves itself by a link, then the old one is told. What was sent to the old one
(links to reset, to confirm, to change) is worthless from then on, and the account's other sessions
end. Whether somebody else has the new address is said to nobody but who opens the link there.
"""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from engine import clock
from engine.access import auditing, gate
from engine.db.session import Database
from engine.db.tables import User, UserSession
from engine.domain import Principal
from engine.errors import Conflict, StepUpRequired
from engine.mail.mail import Mail
from engine.people import one_time_links, sessions
from engine.people.inviting import MailedLinks
from engine.people.members import checked_email
from engine.people.sessions import SignInClient
from engine.people.sign_in import user_of


class AddressChange:
    """The verbs of one's own address."""

    def __init__(self, db: Database, mail: Mail, links: MailedLinks) -> None:
        self._db = db
        self._mail = mail
        self._links = links

    async def current(self, principal: Principal) -> str:
        """The address that the principal signs in with; empty where they have none."""
        user = await self._db.run_read(lambda session: session.get(User, user_of(principal)))
        return "" if user is None else user.email or ""

    async def request(self, principal: Principal, email: str, client: SignInClient) -> str:
        """Send a link to an address that is to become the principal's; that address.

        For whoever has just confirmed who they are. A newer request ends the former's link.
        """
        if principal.session_id is None:
            raise StepUpRequired("Sign in to change your address: a token can't.")
        gate.require_assured(principal, "change your address")
        user_id, new = user_of(principal), checked_email(email)
        await self._links.take(new, client)

        async def commit(session: AsyncSession) -> str:
            user = await session.get_one(User, user_id)
            if user.email == new:
                raise Conflict(f"{new} is your address already.")
            secret = await one_time_links.make_link(
                session, principal.tenant_id, user, "change", mailed=True, new_email=new
            )
            until = clock.now() + one_time_links.LIFE["change"]
            url = self._mail.link("change-address", secret)
            await self._mail.queue(
                session, principal.tenant_id, new, "change", until=until, url=url, name=user.name
            )
            return new

        return await self._db.run_write(commit)

    async def confirm(self, link: str, who: Principal | None = None) -> str:
        """Take a link of `request`: its address is the account's now. Returns it.

        `Conflict` where another account has it by then. Every session of the account ends, but the
        one of `who` opens the link.
        """

        async def commit(session: AsyncSession) -> str:
            found, user = await one_time_links.redeem_link(session, link, "change")
            new, before = found.new_email, user.email
            taken = select(User.id).where(User.email == new, User.id != user.id)
            if await session.scalar(taken) is not None:
                raise Conflict(f"Another account has the address {new}.")
            await self._mail.notify(
                session, found.tenant_id, user, f"Your e-mail address was changed to {new}"
            )
            user.email, user.email_verified_at = new, clock.now()
            await one_time_links.end_links(session, user.id, "owner", "reset", "verify", "change")
            detail = {"before": before, "after": new}
            await auditing.append(
                session, found.tenant_id, user.id, "email.change", user.id, detail
            )
            principal = await gate.principal_of_user(session, found.tenant_id, user.id)
            await sessions.end_all(session, principal, user.id, but=await _kept(session, who, user))
            return new

        return await self._db.run_write(commit)


async def _kept(session: AsyncSession, who: Principal | None, user: User) -> str | None:
    if who is None or who.user_id != user.id or who.session_id is None:
        return None
    row = await session.get(UserSession, who.session_id)
    return None if row is None else row.id
