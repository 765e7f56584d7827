"""Sessions: somebody signed in, in a browser or from a program, until they or an admin end it.

A session is a row. A browser holds a random secret of it in a cookie; a program holds a refresh
token, which is signed and changes with each use, and a short-lived access token (`access_jwt.py`).
The row is looked up at every request, so what ends it holds at the next one.
"""

from __future__ import annotations

import hashlib
import secrets as random
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Literal

from sqlalchemy import ColumnElement, Select, delete, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from engine import clock
from engine.access import auditing, gate
from engine.db.session import Database
from engine.db.tables import UserSession
from engine.domain import Principal
from engine.errors import NotFound, Unauthenticated, Unavailable
from engine.people import access_jwt
from engine.people.access_jwt import SessionClaims
from engine.secrets import Secrets

SessionKind = Literal["browser", "api", "operator"]

IDLE = timedelta(days=14)
LIFE = timedelta(days=30)  # however much it is used
STEP_UP = timedelta(minutes=10)
REPEATED = timedelta(seconds=60)  # how long the last refresh may be repeated: answers get lost
SEEN_STEP = timedelta(minutes=1)
COOKIE_PREFIX = "sj_session_"
REFRESH_PREFIX = "sj_refresh_"
ENDED = "You are signed out. Sign in again."


@dataclass(frozen=True, slots=True)
class SignInClient:
    """Where a sign-in comes from. `device` is what an earlier one left there."""

    address: str = ""
    agent: str = ""
    device: str = ""


@dataclass(frozen=True, slots=True)
class SignedIn:
    """A new session's secrets, which are shown this once."""

    session_id: str
    user_id: str
    tenant_id: str
    expires_at: datetime
    cookie: str = ""
    refresh_token: str = ""
    access_token: str = ""
    access_expires_at: datetime | None = None
    device: str = ""

    def __repr__(self) -> str:
        return f"SignedIn(session_id={self.session_id!r}, user_id={self.user_id!r})"


@dataclass(frozen=True, slots=True)
class SessionInfo:
    """A session as its owner sees it."""

    id: str
    kind: str
    address: str
    agent: str
    methods: Sequence[str]
    signed_in_at: datetime
    seen_at: datetime
    expires_at: datetime
    current: bool


async def open_session(
    session: AsyncSession,
    secrets: Secrets,
    issuer: str,
    *,
    tenant_id: str,
    user_id: str,
    kind: SessionKind,
    methods: Sequence[str],
    client: SignInClient,
) -> SignedIn:
    """A new session, in the transaction that proved who it is for."""
    now = clock.now()
    cookie = COOKIE_PREFIX + random.token_urlsafe(32) if kind == "browser" else ""
    row = UserSession(
        id=clock.new_id(),
        tenant_id=tenant_id,
        user_id=user_id,
        kind=kind,
        digest=_digest(cookie) if cookie else None,
        methods=list(methods),
        signed_in_at=now,
        seen_at=now,
        expires_at=now + (STEP_UP if kind == "operator" else LIFE),
        address=client.address[:64],
        agent=printable(client.agent)[:200],
    )
    session.add(row)
    await session.execute(
        delete(UserSession).where(UserSession.user_id == user_id, UserSession.expires_at <= now)
    )
    await auditing.append(
        session, tenant_id, user_id, "session.start", row.id, {"kind": kind, "methods": row.methods}
    )
    return _secrets_of(row, secrets, issuer, cookie)


async def refresh(
    session: AsyncSession, secrets: Secrets, issuer: str, token: str
) -> SignedIn | None:
    """The next refresh and access token; None where a used one came too late: the session is over.

    Raises `Unauthenticated` for any other. Commit in both of the first cases.
    """
    try:
        said = secrets.verify("sessions", token.removeprefix(REFRESH_PREFIX))
        kind, session_id, generation = said.split(":")
        number = int(generation)
    except (Unauthenticated, ValueError):
        raise Unauthenticated(ENDED) from None
    row = await session.scalar(
        select(UserSession).where(UserSession.id == session_id).with_for_update()
    )
    now = clock.now()
    if kind != "refresh" or row is None or is_over(row, now) or number > row.generation:
        raise Unauthenticated(ENDED)
    await gate.principal_of_user(session, row.tenant_id, row.user_id)
    if number == row.generation:
        row.generation += 1
        row.rotated_at = row.seen_at = now
    elif number < row.generation - 1 or row.rotated_at is None or now > row.rotated_at + REPEATED:
        await session.delete(row)
        await auditing.append(
            session, row.tenant_id, row.user_id, "session.reused", row.id, {"ended": True}
        )
        return None
    return _secrets_of(row, secrets, issuer)


async def step_up(
    session: AsyncSession, secrets: Secrets, issuer: str, session_id: str, method: str
) -> SignedIn:
    """Note that somebody has just proved who they are; a browser's cookie is another one then.

    A program gets an access token for admin verbs: one that was copied before is none.
    """
    row = await session.get(UserSession, session_id, with_for_update=True)
    if row is None:
        raise Unauthenticated(ENDED)
    row.stepped_up_at = clock.now()
    row.methods = sorted({*row.methods, method})
    cookie = ""
    if row.kind == "browser":
        cookie = COOKIE_PREFIX + random.token_urlsafe(32)
        row.digest = _digest(cookie)
        return _secrets_of(row, secrets, issuer, cookie)
    who = SessionClaims(row.id, row.user_id, row.tenant_id, access_jwt.ADMIN)
    token, ends_at = access_jwt.sign(secrets, issuer, who)
    shown = SignedIn(row.id, row.user_id, row.tenant_id, row.expires_at)
    return replace(shown, access_token=token, access_expires_at=ends_at)


async def principal_of_cookie(db: Database, cookie: str) -> Principal:
    """The principal of a browser's session; `Unauthenticated` where it is over or was never one."""
    if not cookie.startswith(COOKIE_PREFIX) or len(cookie) > 200:
        raise Unauthenticated(ENDED)
    return await _principal(db, UserSession.digest == _digest(cookie))


async def principal_of_access_token(
    db: Database, secrets: Secrets, issuer: str, token: str
) -> Principal:
    """The principal of a program's session, by its access token."""
    who = access_jwt.verify(secrets, issuer, token)
    found = await _principal(db, UserSession.id == who.session_id)
    if (found.user_id, found.tenant_id) != (who.user_id, who.tenant_id):
        raise Unauthenticated(ENDED)
    return found if who.admin else replace(found, assured=False)


async def principal_of_operator(
    db: Database, secrets: Secrets, issuer: str, token: str
) -> Principal:
    """The principal of who has just signed in to run the installation."""
    who = access_jwt.verify(secrets, issuer, token, audiences=[access_jwt.OPERATOR])
    found = await _principal(db, UserSession.id == who.session_id)
    if (found.user_id, found.tenant_id) != (who.user_id, who.tenant_id):
        raise Unauthenticated(ENDED)
    return replace(found, assured=True)  # the session is as old as a step-up lasts


async def list_sessions(session: AsyncSession, principal: Principal) -> list[SessionInfo]:
    """The principal's own sessions in this tenant, the last used first."""
    now = clock.now()
    rows = await session.scalars(_own(principal).order_by(UserSession.seen_at.desc()))
    return [
        SessionInfo(
            id=row.id,
            kind=row.kind,
            address=row.address,
            agent=row.agent,
            methods=row.methods,
            signed_in_at=row.signed_in_at,
            seen_at=row.seen_at,
            expires_at=min(row.expires_at, row.seen_at + IDLE),
            current=row.id == principal.session_id,
        )
        for row in rows
        if not is_over(row, now)
    ]


async def end_session(session: AsyncSession, principal: Principal, session_id: str) -> None:
    """End one of the principal's own sessions, at once."""
    row = await session.scalar(_own(principal).where(UserSession.id == session_id))
    if row is None:
        raise NotFound(f"No session {session_id!r} of yours.")
    await session.delete(row)
    await gate.audit(session, principal, "session.end", session_id)


async def end_all(
    session: AsyncSession,
    principal: Principal,
    user_id: str,
    *,
    but: str | None = None,
    tenant_id: str | None = None,
) -> int:
    """End every session of a user, of all tenants or one, but the one named; how many."""
    doomed = delete(UserSession).where(UserSession.user_id == user_id)
    if but is not None:
        doomed = doomed.where(UserSession.id != but)
    if tenant_id is not None:
        doomed = doomed.where(UserSession.tenant_id == tenant_id)
    ended = len(list(await session.scalars(doomed.returning(UserSession.id))))
    if ended:
        await gate.audit(session, principal, "session.end_all", user_id, {"sessions": ended})
    return ended


async def end_everything(session: AsyncSession, user_id: str) -> None:
    """End every session of an account that turns out to be somebody else's; the caller audits."""
    await session.execute(delete(UserSession).where(UserSession.user_id == user_id))


def is_over(row: UserSession, now: datetime) -> bool:
    """Whether a session has lasted, or lain idle, too long."""
    return row.expires_at <= now or row.seen_at + IDLE <= now


def printable(text: str) -> str:
    return "".join(char for char in text if char.isprintable())


async def _principal(db: Database, which: ColumnElement[bool]) -> Principal:
    now = clock.now()
    async with db.read() as session:
        row = await session.scalar(select(UserSession).where(which))
        if row is None or is_over(row, now):
            raise Unauthenticated(ENDED)
        try:
            found = await gate.principal_of_user(session, row.tenant_id, row.user_id, now=now)
        except Unauthenticated:
            raise Unauthenticated(ENDED) from None
    if now - row.seen_at >= SEEN_STEP:
        with suppress(Unavailable):  # a busy writer is no reason to turn someone away
            async with db.write() as session:
                await session.execute(
                    update(UserSession).where(UserSession.id == row.id).values(seen_at=now)
                )
    stepped_up_at = row.stepped_up_at
    confirmed = stepped_up_at is not None and now < stepped_up_at + STEP_UP
    return replace(found, session_id=row.id, assured=confirmed)


def _secrets_of(row: UserSession, secrets: Secrets, issuer: str, cookie: str = "") -> SignedIn:
    shown = SignedIn(row.id, row.user_id, row.tenant_id, row.expires_at, cookie=cookie)
    if row.kind == "browser":
        return shown
    audience = access_jwt.OPERATOR if row.kind == "operator" else access_jwt.AUDIENCE
    who = SessionClaims(row.id, row.user_id, row.tenant_id, audience)
    access_token, ends_at = access_jwt.sign(secrets, issuer, who)
    shown = replace(shown, access_token=access_token, access_expires_at=ends_at)
    if row.kind == "operator":
        return shown  # it can't be renewed: they sign in again
    said = f"refresh:{row.id}:{row.generation}"
    return replace(
        shown,
        refresh_token=REFRESH_PREFIX + secrets.sign("sessions", said, expires_at=row.expires_at),
    )


def _own(principal: Principal) -> Select[UserSession]:
    return select(UserSession).where(
        UserSession.tenant_id == principal.tenant_id, UserSession.user_id == principal.user_id
    )


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
