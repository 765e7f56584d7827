"""API tokens: made, checked, listed, revoked. Only a hash of the secret is kept."""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
import zlib
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
# "p", 43 random characters and a CRC-32 in base 62: scanners tell a token from what looks like one.
_WITH_CHECKSUM = re.compile(r"sj_p([A-Za-z0-9_-]{43})([0-9A-Za-z]{6})")
_BASE62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
# What a token that reaches some knowledge bases only is not for: these reach beyond any of them.
_BEYOND = frozenset({Scope.KB_ADMIN, Scope.KB_MANAGE, Scope.OPS_READ})


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
    kb_ids: Sequence[str] | None = None  # the only knowledge bases it reaches; None: all


async def create_token(
    session: AsyncSession,
    principal: Principal,
    name: str,
    *,
    scopes: Collection[Scope],
    expires_in: timedelta | None = None,
    expires_at: datetime | None = None,
    user_id: str | None = None,
    kb_ids: Collection[str] | None = None,
) -> tuple[str, TokenInfo]:
    """A new token's secret, which is shown this once, and its description.

    With `kb_ids` it reaches only what inherits from these knowledge bases, as far as its user does.

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
    if kb_ids is not None:
        await _check_kbs(session, principal, kb_ids)
        if wanted & _BEYOND:
            beyond = ", ".join(sorted(wanted & _BEYOND))
            raise InvalidInput(
                f"A token for some knowledge bases can't have {beyond}.", field="scopes"
            )
    now = clock.now()
    if expires_in is not None:
        expires_at = now + expires_in
    if expires_at is not None and expires_at <= now:
        raise InvalidInput("The token would already be expired.", field="expires_at")
    secret = new_secret()
    row = ApiToken(
        id=clock.new_id(),
        tenant_id=principal.tenant_id,
        user_id=owner_id,
        name=checked_name(name),
        digest=_digest(secret),
        prefix=secret[:PREFIX_LENGTH],
        scopes=sorted(wanted),
        kb_ids=None if kb_ids is None else sorted(set(kb_ids)),
        expires_at=expires_at,
        created_at=now,
    )
    session.add(row)
    await gate.audit(
        session,
        principal,
        "token.create",
        row.id,
        {"user": owner_id, "scopes": row.scopes, "knowledge_bases": row.kb_ids},
    )
    return secret, _token_info(row)


async def authenticate(db: Database, secret: str, *, now: datetime | None = None) -> Principal:
    """The principal this token acts for. Whatever is wrong with it, `Unauthenticated` says the same."""
    now = now or clock.now()
    if not is_well_formed(secret):
        raise Unauthenticated(_REFUSED)
    async with db.read() as session:
        # Looked up by its digest: how long that takes tells nothing about the secret.
        token = await session.scalar(select(ApiToken).where(ApiToken.digest == _digest(secret)))
        principal = await _principal(session, token, now)
        assert token is not None  # noqa: S101 (it has a principal)
    if token.last_used_at is None or now - token.last_used_at >= LAST_USED_STEP:
        with suppress(Unavailable):  # a busy writer is no reason to turn someone away
            async with db.write() as session:
                await session.execute(
                    update(ApiToken).where(ApiToken.id == token.id).values(last_used_at=now)
                )
    return principal


async def principal_of_token(session: AsyncSession, token_id: str) -> Principal:
    """The principal of a token that is not over, by its id: for links that live as long as it."""
    return await _principal(session, await session.get(ApiToken, token_id), clock.now())


async def _principal(session: AsyncSession, token: ApiToken | None, now: datetime) -> Principal:
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
    principal = replace(principal, api_token_id=token.id, assured=False)
    return principal if token.kb_ids is None else _narrowed(principal, token.kb_ids)


def _narrowed(principal: Principal, kb_ids: Collection[str]) -> Principal:
    """The same principal within some knowledge bases: never more than they hold."""
    only = frozenset(kb_ids)
    return replace(
        principal,
        tokens=principal.tokens & {gate.kb_token(kb_id) for kb_id in only},
        scopes=principal.scopes - _BEYOND,
        writable=principal.writable & only,
        managed=principal.managed & only,
    )


def new_secret() -> str:
    """A token's secret: what marks it, 256 random bits, and their checksum."""
    body = secrets.token_urlsafe(32)
    return f"{SECRET_PREFIX}p{body}{_checksum(body)}"


def is_well_formed(secret: str) -> bool:
    """Whether it can be a token: of those with a checksum, whether that is right.

    Tokens of before there were checksums are shorter, and stay valid.
    """
    found = _WITH_CHECKSUM.fullmatch(secret)
    return found is None or hmac.compare_digest(found[2], _checksum(found[1]))


def _checksum(body: str) -> str:
    number, digits = zlib.crc32(body.encode()), ""
    for _ in range(6):
        number, digit = divmod(number, 62)
        digits = _BASE62[digit] + digits
    return digits


async def _check_kbs(session: AsyncSession, principal: Principal, kb_ids: Collection[str]) -> None:
    known = {kb.id for kb in await gate.readable_kbs(session, principal)}
    if not kb_ids or set(kb_ids) - known:
        raise NotFound("Name knowledge bases that you may read.")


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
        kb_ids=row.kb_ids,
    )
