"""API tokens: made, checked, listed, revoked. Only a hash of the secret is kept.

A personal token acts for a member, with what they may at that moment, and ends with them. A service
key is the tenant's: an admin makes it, it acts for nobody in particular, and it outlives whoever
made it. It reads what everyone reads and what is granted to it (`k:`).
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
import zlib
from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum

from sqlalchemy import Select, delete, or_, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from engine import clock
from engine.access import gate
from engine.db.session import Database
from engine.db.tables import ApiToken, KbGrant
from engine.domain import Principal, Role, Scope
from engine.errors import Forbidden, InvalidInput, NotFound, Unauthenticated, Unavailable
from engine.people import key_bounds
from engine.people.members import checked_name, get_membership

SECRET_PREFIX = "sj_"  # noqa: S105 (marks our tokens for secret scanners)
# "p" (personal) or "k" (service), 43 random characters and a CRC-32 in base 62: scanners tell a token from what looks like one.
_WITH_CHECKSUM = re.compile(r"sj_[pk]([A-Za-z0-9_-]{43})([0-9A-Za-z]{6})")
_BASE62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
# What a token that reaches some knowledge bases only is not for: these reach beyond any of them.
_BEYOND = frozenset({Scope.KB_ADMIN, Scope.KB_MANAGE, Scope.OPS_READ})


PREFIX_LENGTH = 10  # characters of a token that are kept in clear, to tell tokens apart


LAST_USED_STEP = timedelta(minutes=1)  # how exactly `last_used_at` is kept


LIFE = timedelta(days=90)  # of a token that nothing else is said of
NEVER = datetime.max.replace(tzinfo=UTC)  # `expires_at` of a service key that has no end


class TokenKind(StrEnum):
    """Whose an API token is."""

    PERSONAL = "personal"
    SERVICE = "service"


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
    kind: TokenKind = TokenKind.PERSONAL
    assistants: Sequence[str] | None = None  # ids or names; None: not bound to any
    networks: Sequence[str] | None = None  # in CIDR notation; None: used from anywhere


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
    kind: TokenKind = TokenKind.PERSONAL,
    assistants: Collection[str] | None = None,
    networks: Collection[str] | None = None,
) -> tuple[str, TokenInfo]:
    """A new token's secret, which is shown this once, and its description.

    With `kb_ids` it reaches only what inherits from these knowledge bases, as far as its user does;
    a service key is granted them. `assistants` are the only ones it asks, `networks` those it is
    used from. It ends after 90 days; a service key with `expires_at=NEVER` does not.

    Never more scopes than the principal has. An owner may make one for another member (it reads
    what they read). Without `kb:admin`, a token makes no tokens: a stolen one can't renew itself.
    """
    owner_id = user_id or principal.user_id
    if owner_id is None:
        raise Forbidden("A token belongs to a member: link this account to one first.")
    wanted = set(scopes)
    if kind is TokenKind.SERVICE:
        _require_service_grant(principal, owner_id, wanted)
    await _require_grant(session, principal, owner_id, wanted, kb_ids)
    now = clock.now()
    if expires_at is None:
        expires_at = now + (LIFE if expires_in is None else expires_in)
    if expires_at == NEVER:
        if kind is not TokenKind.SERVICE:
            raise InvalidInput(
                "A personal token needs an expiry: only a service key can be without one.",
                field="expires_at",
            )
        expires_at = None
    if expires_at is not None and expires_at <= now:
        raise InvalidInput("The token would already be expired.", field="expires_at")
    secret = new_secret("k" if kind is TokenKind.SERVICE else "p")
    row = ApiToken(
        id=clock.new_id(),
        tenant_id=principal.tenant_id,
        user_id=owner_id,
        kind=kind,
        name=checked_name(name),
        digest=_digest(secret),
        prefix=secret[:PREFIX_LENGTH],
        scopes=sorted(wanted),
        kb_ids=None if kb_ids is None else sorted(set(kb_ids)),
        assistants=key_bounds.checked_assistants(assistants),
        networks=key_bounds.checked_networks(networks),
        expires_at=expires_at,
        created_at=now,
    )
    session.add(row)
    if kind is TokenKind.SERVICE:
        await _grant_kbs(session, principal, row)
    detail = {
        "user": owner_id,
        "kind": row.kind,
        "scopes": row.scopes,
        "knowledge_bases": row.kb_ids,
        "assistants": row.assistants,
        "networks": row.networks,
    }
    await gate.audit(session, principal, "token.create", row.id, detail)
    return secret, _token_info(row)


def _require_service_grant(principal: Principal, owner_id: str, wanted: Collection[Scope]) -> None:
    """Return if the principal may make a service key with these scopes, else raise."""
    gate.require_verb(principal, "token.create_service")
    if owner_id != principal.user_id:
        raise InvalidInput("A service key belongs to nobody: name no member.", field="user")
    if Scope.KB_ADMIN in wanted:
        raise InvalidInput(
            "A service key can't have kb:admin: what admins do, somebody answers for.",
            field="scopes",
        )


async def _grant_kbs(session: AsyncSession, principal: Principal, key: ApiToken) -> None:
    """Grant a new service key the knowledge bases it is for; who makes it must manage them."""
    level = gate.GrantLevel.WRITE if Scope.KB_WRITE in key.scopes else gate.GrantLevel.READ
    for kb_id in key.kb_ids or ():
        kb = await gate.get_managed_kb(session, principal, kb_id, "kb.grant")
        token = gate.key_token(key.id)
        session.add(KbGrant(kb_id=kb.id, token=token, tenant_id=kb.tenant_id, level=level))
        detail = {"token": token, "before": None, "after": str(level)}
        await gate.audit(session, principal, "kb.grant", kb.id, detail)


async def _require_grant(
    session: AsyncSession,
    principal: Principal,
    owner_id: str,
    wanted: Collection[Scope],
    kb_ids: Collection[str] | None,
) -> None:
    """Return if the principal may make a token with these scopes for this member, else raise."""
    if principal.api_token_id is not None and Scope.KB_ADMIN not in principal.scopes:
        raise Forbidden("This token may not create tokens: that needs the scope kb:admin.")
    gate.require_unbound(principal)
    if principal.api_token_id is not None:
        known = await session.get(ApiToken, principal.api_token_id)
        if known is not None and known.networks is not None:
            raise Forbidden("A token that is bound to networks may not create others.")
    if owner_id != principal.user_id:
        if principal.role is not Role.OWNER:
            raise Forbidden("Only an owner may create a token for someone else.")
        gate.require(principal, Scope.KB_ADMIN)
    member = await get_membership(session, principal, owner_id)
    if not wanted:
        raise InvalidInput(f"Name at least one of: {', '.join(Scope)}.", field="scopes")
    if not gate.can_grant(principal, wanted) or set(wanted) - gate.ROLE_SCOPES[Role(member.role)]:
        allowed = principal.scopes & gate.ROLE_SCOPES[Role(member.role)]
        raise Forbidden(
            "A token can't have more scopes than its creator and its user."
            f" Allowed: {', '.join(sorted(allowed)) or 'none'}."
        )
    if kb_ids is not None:
        await _check_kbs(session, principal, kb_ids)
        if beyond := sorted(_BEYOND.intersection(wanted)):
            raise InvalidInput(
                f"A token for some knowledge bases can't have {', '.join(beyond)}.", field="scopes"
            )


async def authenticate(
    db: Database, secret: str, *, address: str = "", now: datetime | None = None
) -> Principal:
    """The principal this token acts for. Whatever is wrong with it, `Unauthenticated` says the same.

    `address` is where the request came from: a token that is bound to networks is refused elsewhere.
    """
    now = now or clock.now()
    if not is_well_formed(secret):
        raise Unauthenticated(_REFUSED)
    async with db.read() as session:
        # Looked up by its digest: how long that takes tells nothing about the secret.
        token = await session.scalar(select(ApiToken).where(ApiToken.digest == _digest(secret)))
        principal = await _principal(session, token, now, address)
        assert token is not None  # noqa: S101 (it has a principal)
    if token.last_used_at is None or now - token.last_used_at >= LAST_USED_STEP:
        with suppress(Unavailable):  # a busy writer is no reason to turn someone away
            async with db.write() as session:
                await session.execute(
                    update(ApiToken).where(ApiToken.id == token.id).values(last_used_at=now)
                )
    return principal


async def principal_of_token(
    session: AsyncSession, token_id: str, *, address: str = ""
) -> Principal:
    """The principal of a token that is not over, by its id: for links that live as long as it."""
    token = await session.get(ApiToken, token_id)
    return await _principal(session, token, clock.now(), address)


async def principal_of_run(session: AsyncSession, tenant_id: str, token_id: str) -> Principal:
    """The principal of a token of the tenant that began something which still goes on here."""
    token = await session.get(ApiToken, token_id)
    if token is None or token.tenant_id != tenant_id:
        raise Unauthenticated(_REFUSED)
    return await _principal(session, token, clock.now(), None)


async def service_key_that_asks(session: AsyncSession, tenant_id: str, ref: str) -> ApiToken:
    """A service key of the tenant that may ask, by name or id; `InvalidInput` names `key`."""
    rows = await session.scalars(
        select(ApiToken).where(
            ApiToken.tenant_id == tenant_id,
            ApiToken.kind == TokenKind.SERVICE,
            ApiToken.revoked_at.is_(None),
            (ApiToken.id == ref) | (ApiToken.name == ref),
        )
    )
    found = list(rows)
    if len(found) != 1:
        some = "several are called so: give its id" if found else "there is none"
        raise InvalidInput(
            f"key: which service key is {ref[:60]!r}: {some}. What runs by itself works as a"
            " service key: ask an admin to create one.",
            field="key",
        )
    if Scope.KB_ASK not in found[0].scopes:
        raise InvalidInput("key: the service key needs the scope kb:ask.", field="key")
    return found[0]


async def _principal(
    session: AsyncSession, token: ApiToken | None, now: datetime, address: str | None
) -> Principal:
    if (
        token is None
        or token.revoked_at is not None
        or (token.expires_at is not None and token.expires_at <= now)
        or (address is not None and not key_bounds.is_within(token.networks, address))
    ):
        raise Unauthenticated(_REFUSED)
    scopes = [scope for scope in Scope if scope in token.scopes]
    try:
        if token.kind == TokenKind.SERVICE:
            principal = await gate.principal_of_service_key(
                session, token.tenant_id, token.id, token.name, scopes
            )
        else:
            principal = await gate.principal_of_user(
                session, token.tenant_id, token.user_id, scopes=scopes, now=now
            )
    except (NotFound, Unauthenticated):
        raise Unauthenticated(_REFUSED) from None
    principal = replace(
        principal,
        api_token_id=token.id,
        assured=False,
        assistants=None if token.assistants is None else frozenset(token.assistants),
    )
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


def new_secret(kind: str = "p") -> str:
    """A secret: what marks it and its kind, 256 random bits, and their checksum."""
    body = secrets.token_urlsafe(32)
    return f"{SECRET_PREFIX}{kind}{body}{_checksum(body)}"


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
    """The principal's own tokens; with `kb:admin` all of the tenant, service keys too. Newest first."""
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
        await session.execute(
            delete(KbGrant).where(
                KbGrant.tenant_id == token.tenant_id, KbGrant.token == gate.key_token(token.id)
            )
        )
        await gate.audit(session, principal, "token.revoke", token.id, {"user": token.user_id})
    return _token_info(token)


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


def _tokens(principal: Principal) -> Select[ApiToken]:
    own = select(ApiToken).where(ApiToken.tenant_id == principal.tenant_id)
    if Scope.KB_ADMIN in principal.scopes:
        return own
    return own.where(ApiToken.user_id == principal.user_id, ApiToken.kind == TokenKind.PERSONAL)


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
        kind=TokenKind(row.kind),
        assistants=row.assistants,
        networks=row.networks,
    )
