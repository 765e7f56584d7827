"""API tokens: made, checked, listed, revoked. Only a hash of the secret is kept."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from sqlalchemy import Select, or_, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from engine import clock
from engine.access import gate
from engine.db.session import Database
from engine.db.tables import ApiToken
from engine.domain import Principal, Role, Scope
from engine.errors import Forbidden, InvalidInput, NotFound, Unauthenticated, Unavailable
from engine.people.members import checked_name, get_membership

SECRET_PREFIX = "sj_"  # noqa: S105 (marks our tokens for secret scanners)


PREFIX_LENGTH = 10  # characters of a token that are kept in clear, to tell tokens apart


LAST_USED_STEP = timedelta(minutes=1)  # how exactly `last_used_at` is kept


_REFUSED = "This API token is wrong, expired or revoked. Create one with `scrubjay token create`."


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
    member = await get_membership(session, principal, owner_id)
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
        name=checked_name(name),
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
    """The principal this token acts for. Whatever is wrong with it, `Unauthenticated` says the same."""
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
    return replace(principal, api_token_id=token.id, assured=False)


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


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


def _tokens(principal: Principal) -> Select[ApiToken]:
    own = select(ApiToken).where(ApiToken.tenant_id == principal.tenant_id)
    if Scope.KB_ADMIN in principal.scopes:
        return own
    return own.where(ApiToken.user_id == principal.user_id)


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
