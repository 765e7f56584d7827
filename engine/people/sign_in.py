"""Signing in with a password, staying signed in, signing out. `Engine.people.sign_in` is a `SignIn`.

Whatever is wrong with a sign-in, the answer and the time it takes are the same: an unknown address,
a wrong password, a member who was deactivated, one who was invited and has no password yet. Guesses
are limited by account and by address of the network, never locked for good: a device on which
somebody has signed in before has an allowance of its own.
"""

from __future__ import annotations

import hashlib
import logging
import secrets as random
from dataclasses import replace
from datetime import timedelta

from sqlalchemy import ColumnElement, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from engine import clock
from engine.access import auditing, gate
from engine.db.session import Database
from engine.db.tables import Membership, Tenant, User
from engine.domain import Principal, Role
from engine.errors import (
    CodeRequired,
    Conflict,
    Forbidden,
    InvalidInput,
    NotFound,
    RateLimited,
    StepUpRequired,
    Unauthenticated,
)
from engine.limits import Limits
from engine.mail.mail import Mail
from engine.people import factors, members, one_time_links, passwords, sessions
from engine.people.members import MemberInfo, checked_email, checked_name
from engine.people.sessions import SessionInfo, SessionKind, SignedIn, SignInClient
from engine.secrets import Secrets

log = logging.getLogger(__name__)

WRONG_CODE = "This code is not the present one of your app, nor an unused recovery code."
WRONG = "This e-mail address and password don't match an active account."
TOO_MANY = "Too many attempts to sign in: wait a little."
EMAIL_MAX = 320
# Guesses: an account may be tried ten times at once, then once a minute; so may a known device.
ACCOUNT_BURST, ACCOUNT_PER_S = 10, 1 / 60
ADDRESS_BURST, ADDRESS_PER_S = 30, 1 / 6  # of a network: an office may be behind one
DEVICE_LIFE = timedelta(days=180)
REFUSAL_NOTED_S = 60.0  # failed sign-ins leave one audit row a minute and account


class SignIn:
    """The verbs of signing in and of passwords."""

    def __init__(
        self, db: Database, secrets: Secrets, limits: Limits, mail: Mail, *, issuer: str
    ) -> None:
        self._db = db
        self._mail = mail
        self._secrets = secrets
        self._limits = limits
        self._issuer = issuer

    # In

    async def with_password(
        self,
        email: str,
        password: str,
        *,
        kind: SessionKind,
        client: SignInClient,
        tenant: str = "",
        code: str = "",
    ) -> SignedIn:
        """A new session; `Unauthenticated` for anything wrong, `RateLimited` after many guesses.

        `tenant` chooses by key among the tenants somebody belongs to; else it is their first.
        `code` is one of their authenticator app, or a recovery code: `CodeRequired` where a right
        password came without one.
        """
        email = email.strip().lower()[:EMAIL_MAX]

        async def find(session: AsyncSession) -> tuple[User, Membership | None] | None:
            return await account_of(session, User.email == email, tenant)

        user, membership = await self._db.run_read(find) or (None, None)
        await self.take_guess(email, client, user.id if user else "")
        is_right = await passwords.verify(user.password_hash if user else None, password)
        if user is None or membership is None or not is_right:
            await self._note_refusal(email, user, membership, client)
            raise Unauthenticated(WRONG)
        kept = user.password_hash or ""
        renewed = ""
        if await passwords.is_outdated(kept):
            renewed = await passwords.hash_password(password)
        tenant_id, user_id = membership.tenant_id, user.id

        async def commit(session: AsyncSession) -> SignedIn:
            # Changed or deactivated since it was read: as if it had been so before.
            row = await session.get(User, user_id, with_for_update=True)
            if row is None or row.password_hash != kept:
                raise Unauthenticated(WRONG)
            if renewed:
                row.password_hash = renewed
            methods = ["pwd"]
            if await factors.is_enrolled(session, user_id):
                if not code:
                    raise CodeRequired("Enter the code of your authenticator app as well.")
                method = await factors.take_code(session, self._secrets, user_id, code)
                if not method:
                    raise Unauthenticated(WRONG_CODE)
                methods.append(method)
            return await self.open(session, tenant_id, user_id, kind, methods, client)

        signed_in = await self._db.run_write(commit)
        return replace(signed_in, device=self.device_of(user_id, client))

    async def refresh(self, refresh_token: str) -> SignedIn:
        """The next access and refresh token of a session.

        The last refresh may be repeated for a minute, because answers get lost. An older token
        was copied: then the session ends for whoever holds it.
        """

        async def commit(session: AsyncSession) -> SignedIn | None:
            return await sessions.refresh(session, self._secrets, self._issuer, refresh_token)

        renewed = await self._db.run_write(commit)
        if renewed is None:
            log.warning("a used refresh token came back: its session was ended")
            raise Unauthenticated(sessions.ENDED)
        return renewed

    async def principal_of_cookie(self, cookie: str) -> Principal:
        """The principal of a browser's session, with all they hold now."""
        return await sessions.principal_of_cookie(self._db, cookie)

    async def principal_of_access_token(self, token: str) -> Principal:
        """The principal of a program's session, with all they hold now."""
        return await sessions.principal_of_access_token(
            self._db, self._secrets, self._issuer, token
        )

    # The operator

    async def as_operator(
        self, email: str, password: str, *, client: SignInClient, code: str = ""
    ) -> SignedIn:
        """Ten minutes as who runs the installation: an owner of its first tenant.

        Refused and limited as any other sign-in is.
        """
        return await self.with_password(
            email, password, kind="operator", client=client, tenant=gate.FIRST_TENANT, code=code
        )

    async def open_operator(self, principal: Principal) -> SignedIn:
        """The same without a password, for whoever acts from the command line on the server."""

        async def commit(session: AsyncSession) -> SignedIn:
            await gate.require_operator(session, principal)
            if principal.session_id is not None or principal.api_token_id is not None:
                raise Forbidden("Only the command line on the server needs no password.")
            return await self.open(
                session,
                principal.tenant_id,
                user_of(principal),
                "operator",
                ["cli"],
                SignInClient(),
            )

        return await self._db.run_write(commit)

    async def principal_of_operator(self, token: str) -> Principal:
        """The principal of such a sign-in, with all they may do now."""
        return await sessions.principal_of_operator(self._db, self._secrets, self._issuer, token)

    async def step_up(
        self, principal: Principal, *, password: str = "", code: str = "", client: SignInClient
    ) -> SignedIn:
        """Confirm who is signed in, for ten minutes of admin verbs.

        That takes a code of their authenticator app, if they have one, else their password.
        """
        if principal.session_id is None:
            raise StepUpRequired("Sign in to confirm who you are: a token can't.")
        user_id, session_id = user_of(principal), principal.session_id

        async def find(session: AsyncSession) -> tuple[User, bool]:
            user = await session.get_one(User, user_id)
            return user, await factors.is_enrolled(session, user_id)

        user, has_app = await self._db.run_read(find)
        await self.take_guess(user.email or user_id, client, user_id)
        if not has_app and not await passwords.verify(user.password_hash, password):
            raise Unauthenticated("This is not your present password.")

        async def commit(session: AsyncSession) -> SignedIn:
            method = "pwd"
            if has_app:
                method = await factors.take_code(session, self._secrets, user_id, code)
                if not method:
                    raise Unauthenticated(WRONG_CODE)
            await gate.audit(session, principal, "session.step_up", session_id, {"method": method})
            return await sessions.step_up(session, self._secrets, self._issuer, session_id, method)

        return await self._db.run_write(commit)

    # Second factors

    async def has_app(self, principal: Principal) -> bool:
        """Whether the principal has an authenticator app."""
        user_id = user_of(principal)
        return await self._db.run_read(lambda session: factors.is_enrolled(session, user_id))

    async def begin_app(self, principal: Principal) -> tuple[str, str]:
        """The secret of a new authenticator app, and the address for its QR code."""
        _require_confirmed(principal, "set up an authenticator app")
        user_id = user_of(principal)

        async def commit(session: AsyncSession) -> tuple[str, str]:
            user = await session.get_one(User, user_id)
            return await factors.begin(
                session, self._secrets, user_id, account=user.email or user.name
            )

        return await self._db.run_write(commit)

    async def confirm_app(self, principal: Principal, code: str) -> list[str]:
        """Take the new app's first code: it is asked for from now on. The recovery codes."""
        _require_confirmed(principal, "set up an authenticator app")
        user_id = user_of(principal)

        async def commit(session: AsyncSession) -> list[str]:
            codes = await factors.confirm(session, self._secrets, user_id, code)
            await gate.audit(session, principal, "factor.add", user_id, {"after": "totp"})
            await self._tell(session, principal, user_id, "An authenticator app was added")
            await sessions.end_all(session, principal, user_id, but=principal.session_id)
            return codes

        return await self._db.run_write(commit)

    async def remove_app(self, principal: Principal) -> None:
        """Forget the authenticator app; every other session ends."""
        _require_confirmed(principal, "remove an authenticator app")
        user_id = user_of(principal)

        async def commit(session: AsyncSession) -> None:
            if await factors.remove(session, user_id):
                await gate.audit(session, principal, "factor.remove", user_id, {"before": "totp"})
                await self._tell(session, principal, user_id, "Your authenticator app was removed")
                await sessions.end_all(session, principal, user_id, but=principal.session_id)

        await self._db.run_write(commit)

    async def reset_factors(self, principal: Principal, member: str) -> MemberInfo:
        """Remove a member's second factors, who has lost them; their sessions end.

        An admin can't for an owner. Of somebody who belongs to other tenants, too, only the owners
        of the installation can.
        """

        async def commit(session: AsyncSession) -> MemberInfo:
            gate.require_verb(principal, "member.reset_factors")
            found = await members.find_member(session, principal.tenant_id, member)
            if await members.reset_factors(session, principal, found.user_id):
                what = "An admin removed your second factors"
                await self._tell(session, principal, found.user_id, what)
            return found

        return await self._db.run_write(commit)

    # Out

    async def list_sessions(self, principal: Principal) -> list[SessionInfo]:
        """The principal's own sessions, the last used first."""
        return await self._db.run_read(lambda session: sessions.list_sessions(session, principal))

    async def sign_out(self, principal: Principal, session_id: str = "") -> None:
        """End the session that the principal came by, or another one of theirs."""
        chosen = session_id or principal.session_id
        if not chosen:
            raise InvalidInput("This call has no session to end: name one.", field="session_id")
        await self._db.run_write(lambda session: sessions.end_session(session, principal, chosen))

    async def sign_out_everywhere(self, principal: Principal) -> int:
        """End all of the principal's sessions, this one too; how many."""
        user_id = user_of(principal)
        return await self._db.run_write(
            lambda session: sessions.end_all(session, principal, user_id)
        )

    # Passwords

    async def change_password(
        self, principal: Principal, current: str, new: str, client: SignInClient
    ) -> int:
        """Set another password; every other session of the account ends. How many did."""
        if principal.session_id is None:
            raise Forbidden("Sign in to change your password: a token can't.")
        user_id = user_of(principal)
        user = await self._db.run_read(lambda session: session.get_one(User, user_id))
        await self.take_guess(user.email or user.id, client, user_id)
        if not await passwords.verify(user.password_hash, current):
            raise Unauthenticated("This is not your present password.")
        kept = await self.checked(user, new)

        async def commit(session: AsyncSession) -> int:
            return await self._set(session, principal, user_id, kept, but=principal.session_id)

        return await self._db.run_write(commit)

    async def make_password_link(self, principal: Principal, member: str) -> str:
        """A one-time secret with which a member sets a password; admins hand it over."""

        async def commit(session: AsyncSession) -> str:
            gate.require_verb(principal, "member.password")
            found = await members.find_member(session, principal.tenant_id, member)
            user = await members.check_password_link(session, principal, found.user_id)
            await gate.audit(session, principal, "password.link", user.id, {})
            return await one_time_links.make_link(session, principal.tenant_id, user, "reset")

        return await self._db.run_write(commit)

    async def make_owner_link(self, principal: Principal) -> str:
        """A one-time secret with which the first owner sets an address and a password.

        `Conflict` where they have a password: then `make_password_link` is meant.
        """
        if principal.role is not Role.OWNER or principal.api_token_id is not None:
            raise Forbidden("Only the owner at the command line may do this.")

        async def commit(session: AsyncSession) -> str:
            user = await session.get_one(User, user_of(principal))
            if user.password_hash:
                raise Conflict(
                    f"{user.email or user.name} has a password. A new one:"
                    " `scrubjay member password`."
                )
            await gate.audit(session, principal, "owner.link", user.id, {})
            return await one_time_links.make_link(session, principal.tenant_id, user, "owner")

        return await self._db.run_write(commit)

    async def needs_owner(self) -> bool:
        """Whether nobody can sign in with a password yet."""
        known = select(User.id).where(User.password_hash.is_not(None)).limit(1)
        return await self._db.run_read(lambda session: session.scalar(known)) is None

    async def claim_owner(
        self, link: str, *, email: str, name: str, password: str, client: SignInClient
    ) -> SignedIn:
        """Become the owner a link was made for, and be signed in."""
        email = checked_email(email)
        kept = await self.checked(User(name=name, email=email), password)

        async def commit(session: AsyncSession) -> SignedIn:
            found, user = await one_time_links.redeem_link(session, link, "owner")
            taken = select(User.id).where(User.email == email, User.id != user.id)
            if await session.scalar(taken) is not None:
                raise Conflict("Another account has this e-mail address: choose another one.")
            before = {"email": user.email, "name": user.name}
            user.email = email
            user.name = checked_name(name) if name.strip() else user.name
            user.password_hash = kept
            await auditing.append(
                session,
                found.tenant_id,
                user.id,
                "owner.claim",
                user.id,
                {"before": before, "after": {"email": email, "name": user.name}},
            )
            return await self.open(session, found.tenant_id, user.id, "browser", ["pwd"], client)

        signed_in = await self._db.run_write(commit)
        return replace(signed_in, device=self.device_of(signed_in.user_id, client))

    async def set_password(self, link: str, password: str) -> str:
        """Set a password by a one-time link: all sessions of the account end. Returns its address."""
        known = await self._db.run_read(lambda session: one_time_links.find_link(session, link))
        of = User(name="", email=known.email if known else "")
        kept = await self.checked(of, password)

        async def commit(session: AsyncSession) -> str:
            found, user = await one_time_links.redeem_link(session, link, "reset")
            who = await gate.principal_of_user(session, found.tenant_id, user.id)
            if found.mailed and user.email_verified_at is None:
                user.email_verified_at = clock.now()
            await self._set(session, who, user.id, kept)
            return user.email or ""

        return await self._db.run_write(commit)

    # Parts

    async def open(
        self,
        session: AsyncSession,
        tenant_id: str,
        user_id: str,
        kind: SessionKind,
        methods: list[str],
        client: SignInClient,
    ) -> SignedIn:
        """A new session, in the transaction that proved who it is for."""
        try:
            who = await gate.principal_of_user(session, tenant_id, user_id)
        except Unauthenticated:
            raise Unauthenticated(WRONG) from None
        if kind == "operator" and not await gate.is_operator(session, who):
            raise Unauthenticated(WRONG)
        return await sessions.open_session(
            session,
            self._secrets,
            self._issuer,
            tenant_id=tenant_id,
            user_id=user_id,
            kind=kind,
            methods=methods,
            client=client,
        )

    async def _set(
        self,
        session: AsyncSession,
        principal: Principal,
        user_id: str,
        kept: str,
        *,
        but: str | None = None,
    ) -> int:
        await session.execute(update(User).where(User.id == user_id).values(password_hash=kept))
        await one_time_links.end_links(session, user_id, "reset", "owner")
        await gate.audit(session, principal, "password.set", user_id, {"after": "set"})
        await self._tell(session, principal, user_id, "Your password was changed")
        return await sessions.end_all(session, principal, user_id, but=but)

    async def _tell(
        self, session: AsyncSession, principal: Principal, user_id: str, what: str
    ) -> None:
        user = await session.get_one(User, user_id)
        await self._mail.notify(session, principal.tenant_id, user, what)

    async def checked(self, user: User, password: str) -> str:
        """What to keep of a new password; `InvalidInput` for one that is easy to guess."""
        accepted = passwords.check_new(password, email=user.email or "", names=(user.name,))
        return await passwords.hash_password(accepted)

    async def take_guess(self, account: str, client: SignInClient, user_id: str) -> None:
        """Use up one guess; `RateLimited` where there is none left. Equal for any address."""
        device = self._known_device(client, user_id)
        of = device or f"account:{hashlib.sha256(account.encode()).hexdigest()}"
        wait_s = await self._limits.take(
            f"sign-in:{of}", rate_per_s=ACCOUNT_PER_S, burst=ACCOUNT_BURST
        )
        if not wait_s and not device and client.address:
            wait_s = await self._take_of_address(client)
        if wait_s:
            raise RateLimited(TOO_MANY, retry_after_s=wait_s)

    async def take_attempt(self, client: SignInClient) -> None:
        """Use up one attempt of a network, where no account is named yet; or `RateLimited`."""
        if client.address and (wait_s := await self._take_of_address(client)):
            raise RateLimited(TOO_MANY, retry_after_s=wait_s)

    async def _take_of_address(self, client: SignInClient) -> float:
        return await self._limits.take(
            f"sign-in:address:{client.address}", rate_per_s=ADDRESS_PER_S, burst=ADDRESS_BURST
        )

    def _known_device(self, client: SignInClient, user_id: str) -> str:
        """What is signed in a device's cookie, if that account has signed in there before."""
        try:
            said = self._secrets.verify("sessions", client.device)
        except Unauthenticated:
            return ""
        return said if user_id and said.startswith(f"device:{user_id}:") else ""

    def device_of(self, user_id: str, client: SignInClient) -> str:
        """What a browser keeps to be known by; the same again where it is known already."""
        said = self._known_device(client, user_id)
        said = said or f"device:{user_id}:{random.token_urlsafe(12)}"
        return self._secrets.sign("sessions", said, expires_at=clock.now() + DEVICE_LIFE)

    async def _note_refusal(
        self, email: str, user: User | None, membership: Membership | None, client: SignInClient
    ) -> None:
        """One audit row a minute and account; an unknown account costs the same time."""
        log.info("a sign-in was refused", extra={"address": client.address})
        key = f"sign-in:noted:{hashlib.sha256(email.encode()).hexdigest()}"
        first = await self._limits.acquire(key, random.token_hex(8), lease_s=REFUSAL_NOTED_S)
        if not first:
            return

        async def commit(session: AsyncSession) -> None:
            if user is None or membership is None:  # the same work, about nobody
                await auditing.touch(session, gate.FIRST_TENANT)
                return
            tenant_id, user_id, detail = membership.tenant_id, user.id, {"address": client.address}
            await auditing.append(session, tenant_id, user_id, "session.refused", user_id, detail)

        await self._db.run_write(commit)


async def account_of(
    session: AsyncSession, which: ColumnElement[bool], tenant: str
) -> tuple[User, Membership | None] | None:
    """A user with the membership that counts: active, of the tenant named or the first."""
    query = (
        select(User, Membership)
        .outerjoin(
            Membership,
            (Membership.user_id == User.id)
            & Membership.active.is_(True)
            & User.active.is_(True)
            & Membership.tenant_id.in_(
                select(Tenant.id).where(
                    Tenant.deleted_at.is_(None), *([Tenant.key == tenant] if tenant else [])
                )
            ),
        )
        .where(which)
        .order_by(Membership.created_at, Membership.tenant_id)
        .limit(1)
    )
    row = (await session.execute(query)).one_or_none()
    return None if row is None else (row[0], row[1])


def _require_confirmed(principal: Principal, what: str) -> None:
    if principal.session_id is None:
        raise StepUpRequired(f"Sign in to {what}.")
    gate.require_assured(principal, what)


def user_of(principal: Principal) -> str:
    """The id of the member behind a principal; `NotFound` where there is none."""
    if principal.user_id is None:
        raise NotFound("This account is not linked to a member.")
    return principal.user_id
