"""Passkeys: signing in without a password, and confirming who is there. `engine.people.passkeys`.

A browser asks for a challenge, lets its person choose a passkey, and sends what that signed. A
challenge is a row: it is for one purpose and, but to sign in, one session, lasts five minutes and is
taken once, before anything is checked. Every passkey verifies its person (by a finger or a PIN), so
it is two factors by itself, and no code is asked for besides.
"""

from __future__ import annotations

import hashlib
import secrets as random
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Literal

from sqlalchemy import Select, delete, func, select
from sqlalchemy.ext.asyncio import AsyncSession

from engine import clock
from engine.access import gate
from engine.db.session import Database
from engine.db.tables import Passkey, PasskeyChallenge, User
from engine.domain import Principal
from engine.errors import Conflict, NotFound, StepUpRequired, Unauthenticated
from engine.mail.mail import Mail
from engine.people import sessions, webauthn_checks
from engine.people.members import checked_name
from engine.people.sessions import SessionKind, SignedIn, SignInClient
from engine.people.sign_in import SignIn, account_of, user_of
from engine.people.webauthn_checks import WRONG, RelyingParty
from engine.secrets import Secrets

PasskeyPurpose = Literal["add", "sign-in", "confirm"]

LIFE = timedelta(minutes=5)  # of a challenge: people look for their phone
CHALLENGE_BYTES = 32
PASSKEYS_MAX = 50  # of an account
METHOD = "pop"  # RFC 8176: proof of possession of a key


@dataclass(frozen=True, slots=True)
class PasskeyInfo:
    """A passkey as its owner sees it."""

    id: str
    name: str
    is_synced: bool
    created_at: datetime
    last_used_at: datetime | None


class Passkeys:
    """The verbs of passkeys."""

    def __init__(
        self,
        db: Database,
        secrets: Secrets,
        mail: Mail,
        sign_in: SignIn,
        *,
        public_url: str,
        issuer: str,
    ) -> None:
        self._db = db
        self._secrets = secrets
        self._mail = mail
        self._sign_in = sign_in
        self._public_url = public_url
        self._issuer = issuer

    def is_usable(self, asked: str) -> bool:
        """Whether a page at this base URL can use passkeys: the extra is there, and a name."""
        try:
            webauthn_checks.relying_party(self._public_url, asked)
        except Conflict:
            return False
        return webauthn_checks.is_installed()

    # One's own

    async def list_own(self, principal: Principal) -> list[PasskeyInfo]:
        """The principal's passkeys, the oldest first."""
        mine = select(Passkey).where(Passkey.user_id == user_of(principal)).order_by(Passkey.id)
        return await self._db.run_read(lambda session: _infos(session, mine))

    async def begin_adding(self, principal: Principal, asked: str) -> dict[str, Any]:
        """What `navigator.credentials.create` takes, for whoever has just confirmed who they are."""
        _require_confirmed(principal, "add a passkey")
        party = webauthn_checks.relying_party(self._public_url, asked)
        user_id = user_of(principal)

        async def commit(session: AsyncSession) -> dict[str, Any]:
            user = await session.get_one(User, user_id)
            known = await _credentials(session, user_id, party)
            return webauthn_checks.creation_options(
                party,
                await _challenge(session, "add", principal.session_id),
                user_id=user_id,
                account=user.email or user.name,
                name=user.name,
                known=known,
            )

        return await self._db.run_write(commit)

    async def add(
        self, principal: Principal, asked: str, said: str | Mapping[str, Any], *, name: str = ""
    ) -> PasskeyInfo:
        """Keep a passkey that the browser has made; the account's other sessions end."""
        _require_confirmed(principal, "add a passkey")
        party = webauthn_checks.relying_party(self._public_url, asked)
        user_id, credential = user_of(principal), webauthn_checks.parse(said)
        named = checked_name(name or "Passkey")
        challenge = await self._taken("add", principal.session_id, credential)
        made = await webauthn_checks.check_new(party, challenge, credential)

        async def commit(session: AsyncSession) -> PasskeyInfo:
            digest = _digest(made.credential_id)
            known = select(Passkey.id).where(Passkey.credential_digest == digest)
            mine = select(func.count(Passkey.id)).where(Passkey.user_id == user_id)
            if await session.scalar(known) is not None:
                raise Conflict("This passkey is known already.")
            if int(await session.scalar(mine) or 0) >= PASSKEYS_MAX:
                raise Conflict(f"An account has {PASSKEYS_MAX} passkeys at most: delete one first.")
            row = Passkey(
                id=clock.new_id(),
                user_id=user_id,
                name=named,
                credential_digest=digest,
                credential_id=webauthn_checks.encoded(made.credential_id),
                public_key=webauthn_checks.encoded(made.public_key),
                sign_count=made.sign_count,
                relying_party=party.id,
                is_synced=made.is_synced,
                created_at=clock.now(),
            )
            session.add(row)
            detail = {"after": {"kind": "passkey", "name": named}}
            await gate.audit(session, principal, "factor.add", row.id, detail)
            await self._changed(session, principal, f"The passkey “{named}” was added")
            return _info(row)

        return await self._db.run_write(commit)

    async def rename(self, principal: Principal, id: str, name: str) -> PasskeyInfo:  # noqa: A002
        """Give a passkey of the principal another name."""
        _require_signed_in(principal, "rename a passkey")
        named = checked_name(name)

        async def commit(session: AsyncSession) -> PasskeyInfo:
            row = await _own(session, principal, id)
            detail = {"before": {"name": row.name}, "after": {"name": named}}
            await gate.audit(session, principal, "factor.rename", row.id, detail)
            row.name = named
            return _info(row)

        return await self._db.run_write(commit)

    async def delete(self, principal: Principal, id: str) -> PasskeyInfo:  # noqa: A002
        """Forget a passkey of the principal; the account's other sessions end."""
        _require_confirmed(principal, "delete a passkey")

        async def commit(session: AsyncSession) -> PasskeyInfo:
            row = await _own(session, principal, id)
            gone = _info(row)
            await session.delete(row)
            detail = {"before": {"kind": "passkey", "name": row.name}}
            await gate.audit(session, principal, "factor.remove", row.id, detail)
            await self._changed(session, principal, f"The passkey “{gone.name}” was deleted")
            return gone

        return await self._db.run_write(commit)

    # In

    async def begin_sign_in(self, asked: str, client: SignInClient) -> dict[str, Any]:
        """What `navigator.credentials.get` takes to sign in: says nothing about any account."""
        party = webauthn_checks.relying_party(self._public_url, asked)
        await self._sign_in.take_attempt(client)
        return await self._options(party, "sign-in")

    async def sign_in(
        self,
        asked: str,
        said: str | Mapping[str, Any],
        *,
        kind: SessionKind,
        client: SignInClient,
        tenant: str = "",
    ) -> SignedIn:
        """A new session by a passkey; `Unauthenticated` for anything that is wrong with it."""
        party = webauthn_checks.relying_party(self._public_url, asked)
        credential = webauthn_checks.parse(said)
        challenge = await self._taken("sign-in", None, credential)
        found = await self._checked(party, challenge, credential)

        async def commit(session: AsyncSession) -> SignedIn:
            await _used(session, found)
            known = await account_of(session, User.id == found.user_id, tenant)
            if known is None or known[1] is None:
                raise Unauthenticated(WRONG)
            return await self._sign_in.open(
                session, known[1].tenant_id, found.user_id, kind, [METHOD], client
            )

        signed_in = await self._db.run_write(commit)
        return replace(signed_in, device=self._sign_in.device_of(found.user_id, client))

    async def begin_confirming(self, principal: Principal, asked: str) -> dict[str, Any]:
        """What `navigator.credentials.get` takes to confirm who is signed in."""
        _require_signed_in(principal, "confirm who you are")
        party = webauthn_checks.relying_party(self._public_url, asked)
        return await self._options(party, "confirm", principal)

    async def confirm(
        self, principal: Principal, asked: str, said: str | Mapping[str, Any]
    ) -> SignedIn:
        """Ten minutes of admin verbs by a passkey of the principal."""
        _require_signed_in(principal, "confirm who you are")
        party = webauthn_checks.relying_party(self._public_url, asked)
        user_id, credential = user_of(principal), webauthn_checks.parse(said)
        challenge = await self._taken("confirm", principal.session_id, credential)
        found = await self._checked(party, challenge, credential)
        if found.user_id != user_id:
            raise Unauthenticated(WRONG)
        session_id = principal.session_id or ""

        async def commit(session: AsyncSession) -> SignedIn:
            await _used(session, found)
            detail = {"method": METHOD, "passkey": found.id}
            await gate.audit(session, principal, "session.step_up", session_id, detail)
            return await sessions.step_up(session, self._secrets, self._issuer, session_id, METHOD)

        return await self._db.run_write(commit)

    # Parts

    async def _options(
        self, party: RelyingParty, purpose: PasskeyPurpose, principal: Principal | None = None
    ) -> dict[str, Any]:
        async def commit(session: AsyncSession) -> dict[str, Any]:
            allowed = []
            if principal is not None:
                allowed = await _credentials(session, user_of(principal), party)
            of = principal.session_id if principal is not None else None
            challenge = await _challenge(session, purpose, of)
            return webauthn_checks.request_options(party, challenge, allowed)

        return await self._db.run_write(commit)

    async def _taken(
        self, purpose: PasskeyPurpose, session_id: str | None, credential: Mapping[str, Any]
    ) -> bytes:
        """The challenge that a credential answers, which is none from now on."""
        challenge = webauthn_checks.challenge_in(credential)

        async def take(session: AsyncSession) -> PasskeyChallenge | None:
            taken = (
                delete(PasskeyChallenge)
                .where(
                    PasskeyChallenge.digest == _digest(challenge),
                    PasskeyChallenge.purpose == purpose,
                    PasskeyChallenge.session_id.is_(None)
                    if session_id is None
                    else PasskeyChallenge.session_id == session_id,
                )
                .returning(PasskeyChallenge)
            )
            return (await session.scalars(taken)).one_or_none()

        row = await self._db.run_write(take)
        if row is None or row.expires_at <= clock.now():
            raise Unauthenticated(WRONG)
        return challenge

    async def _checked(
        self, party: RelyingParty, challenge: bytes, credential: Mapping[str, Any]
    ) -> _UsedKey:
        """The passkey that signed the challenge."""
        digest = _digest(webauthn_checks.id_in(credential))
        row = await self._db.run_read(
            lambda session: session.scalar(
                select(Passkey).where(Passkey.credential_digest == digest)
            )
        )
        if row is None or row.relying_party != party.id:
            raise Unauthenticated(WRONG)
        if (owner := webauthn_checks.owner_in(credential)) and owner != row.user_id:
            raise Unauthenticated(WRONG)
        counted = await webauthn_checks.check_answer(
            party,
            challenge,
            credential,
            public_key=webauthn_checks.decoded(row.public_key),
            sign_count=row.sign_count,
        )
        return _UsedKey(row.id, row.user_id, row.sign_count, counted)

    async def _changed(self, session: AsyncSession, principal: Principal, what: str) -> None:
        """Tell the account's person, and end its other sessions."""
        user_id = user_of(principal)
        user = await session.get_one(User, user_id)
        await self._mail.notify(session, principal.tenant_id, user, what)
        await sessions.end_all(session, principal, user_id, but=principal.session_id)


@dataclass(frozen=True, slots=True)
class _UsedKey:
    id: str
    user_id: str
    before: int
    after: int


async def _used(session: AsyncSession, found: _UsedKey) -> None:
    """Keep the counter of a passkey; of two answers at once with one counter, one is a copy's."""
    row = await session.get(Passkey, found.id, with_for_update=True)
    if row is None or row.sign_count != found.before:
        raise Unauthenticated(WRONG)
    row.sign_count, row.last_used_at = found.after, clock.now()


async def _challenge(
    session: AsyncSession, purpose: PasskeyPurpose, session_id: str | None
) -> bytes:
    challenge, now = random.token_bytes(CHALLENGE_BYTES), clock.now()
    await session.execute(delete(PasskeyChallenge).where(PasskeyChallenge.expires_at <= now))
    session.add(
        PasskeyChallenge(
            digest=_digest(challenge),
            purpose=purpose,
            session_id=session_id,
            expires_at=now + LIFE,
        )
    )
    return challenge


async def _credentials(session: AsyncSession, user_id: str, party: RelyingParty) -> list[bytes]:
    known = select(Passkey.credential_id).where(
        Passkey.user_id == user_id, Passkey.relying_party == party.id
    )
    return [webauthn_checks.decoded(item) for item in await session.scalars(known)]


async def _infos(session: AsyncSession, query: Select[Passkey]) -> list[PasskeyInfo]:
    return [_info(row) for row in await session.scalars(query)]


async def _own(session: AsyncSession, principal: Principal, id_: str) -> Passkey:
    row = await session.scalar(
        select(Passkey).where(Passkey.id == id_, Passkey.user_id == user_of(principal))
    )
    if row is None:
        raise NotFound(f"No passkey {id_[:80]!r} of yours.")
    return row


def _info(row: Passkey) -> PasskeyInfo:
    return PasskeyInfo(row.id, row.name, row.is_synced, row.created_at, row.last_used_at)


def _require_signed_in(principal: Principal, what: str) -> None:
    if principal.session_id is None:
        raise StepUpRequired(f"Sign in to {what}: a token can't.")


def _require_confirmed(principal: Principal, what: str) -> None:
    _require_signed_in(principal, what)
    gate.require_assured(principal, what)


def _digest(secret: bytes) -> str:
    return hashlib.sha256(secret).hexdigest()
