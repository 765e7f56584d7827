"""Quotas: how much a tenant, each user or key of it, or one of them may use. `Engine.quotas`.

An admin sets quotas of their own tenant; an operator sets bounds of a tenant that its admins see and
can't change. Of several that fit, all hold. Requests are counted in `limits` (Redis or SQL), tokens
in the ledger, documents and bytes in their rows.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal, get_args

from sqlalchemy import case, delete, func, select
from sqlalchemy.ext.asyncio import AsyncSession

from engine import clock
from engine.access import gate
from engine.db.session import Database, upsert
from engine.db.tables import ApiToken, Document, FileDocument, FileEntry, LedgerEntry, Quota, Tenant
from engine.domain import Principal
from engine.errors import InvalidInput, NotFound, QuotaReached, RateLimited
from engine.limits import Limits
from engine.people.members import find_member

Kind = Literal["requests-per-minute", "tokens-per-day", "documents", "bytes"]
KINDS: tuple[str, ...] = get_args(Kind)
TENANT, EACH_USER, EACH_KEY = "tenant", "user", "key"
AMOUNT_MAX = 10**15
REMEMBERED_S = 2.0  # how soon a changed quota holds everywhere
_OF_TENANT = frozenset({"documents", "bytes"})


@dataclass(frozen=True, slots=True)
class QuotaInfo:
    """A quota; `subject` is tenant, user or key (each of them), or user:<id> or key:<id>."""

    subject: str
    kind: str
    amount: int
    by_operator: bool


@dataclass(frozen=True, slots=True)
class Applied:
    """A quota that holds for somebody: `key` is what is counted together, `who` says it in words."""

    info: QuotaInfo
    key: str
    who: str

    @property
    def name(self) -> str:
        """The name of its policy in `RateLimit` headers."""
        return self.info.subject.partition(":")[0]


async def list_quotas(session: AsyncSession, principal: Principal) -> list[QuotaInfo]:
    """The quotas of the principal's tenant, for its admins."""
    gate.require_verb(principal, "quota.list")
    return await _all(session, principal.tenant_id)


async def set_quota(
    session: AsyncSession, principal: Principal, subject: str, kind: str, amount: int
) -> QuotaInfo:
    """Set a quota of the principal's tenant; `subject` may name a member or an API token."""
    gate.require_verb(principal, "quota.set")
    subject = await _subject(session, principal, subject)
    return await _set(session, principal, principal.tenant_id, subject, kind, amount, own=True)


async def remove_quota(
    session: AsyncSession, principal: Principal, subject: str, kind: str
) -> None:
    """Remove a quota that an admin of the tenant set."""
    gate.require_verb(principal, "quota.set")
    subject = await _subject(session, principal, subject)
    await _remove(session, principal, principal.tenant_id, subject, kind, own=True)


async def bound_tenant(
    session: AsyncSession, principal: Principal, key: str, kind: str, amount: int | None
) -> list[QuotaInfo]:
    """Set a bound of a tenant (None: remove it), for who runs the installation; its quotas then."""
    await gate.require_operator(session, principal)
    tenant = await session.scalar(
        select(Tenant).where((Tenant.key == key) | (Tenant.id == key), Tenant.deleted_at.is_(None))
    )
    if tenant is None:
        raise NotFound(f"No tenant {key!r}. `scrubjay tenant list` names them.")
    if amount is None:
        await _remove(session, principal, tenant.id, TENANT, kind, own=False)
    else:
        await _set(session, principal, tenant.id, TENANT, kind, amount, own=False)
    return await _all(session, tenant.id)


async def require_room(session: AsyncSession, tenant_id: str) -> None:
    """Return where the tenant holds no more than it may, in the transaction that adds something.

    A file of the tree counts its bytes once, in however many knowledge bases it is.
    """
    bounds = [q for q in await _all(session, tenant_id) if q.kind in _OF_TENANT]
    if not bounds:
        return
    of_file = FileDocument.document_id.is_not(None)
    held = await session.execute(
        select(
            func.count(), func.coalesce(func.sum(case((of_file, 0), else_=Document.size_bytes)), 0)
        )
        .outerjoin(FileDocument, FileDocument.document_id == Document.id)
        .where(Document.tenant_id == tenant_id, Document.deleted_at.is_(None))
    )
    documents, size_bytes = held.one()
    in_files = await session.scalar(
        select(func.coalesce(func.sum(FileEntry.size_bytes), 0)).where(
            FileEntry.tenant_id == tenant_id
        )
    )
    have = {"documents": int(documents), "bytes": int(size_bytes) + int(in_files or 0)}
    for bound in bounds:
        if have[bound.kind] > bound.amount:
            raise QuotaReached(
                f"This organisation may hold {bound.amount:,} {bound.kind}, and with this it would"
                f" hold {have[bound.kind]:,}: delete some first, or ask {_whom(bound)}."
            )


class Quotas:
    """The verbs of quotas, and their checks."""

    def __init__(self, db: Database, limits: Limits) -> None:
        self._db = db
        self._limits = limits
        self._known: dict[str, tuple[float, list[QuotaInfo]]] = {}

    async def list_all(self, principal: Principal) -> Sequence[QuotaInfo]:
        """The quotas of the tenant, for its admins."""
        return await self._db.run_read(lambda session: list_quotas(session, principal))

    async def set(self, principal: Principal, subject: str, kind: str, amount: int) -> QuotaInfo:
        """Set a quota of the tenant, each user, each key, `user:NAME` or `key:ID`."""
        done = await self._db.run_write(
            lambda session: set_quota(session, principal, subject, kind, amount)
        )
        self._known.clear()
        return done

    async def remove(self, principal: Principal, subject: str, kind: str) -> None:
        """Remove a quota."""
        await self._db.run_write(lambda session: remove_quota(session, principal, subject, kind))
        self._known.clear()

    async def bound(
        self, principal: Principal, tenant: str, kind: str, amount: int | None
    ) -> Sequence[QuotaInfo]:
        """Bound a whole tenant, for who runs the installation; its quotas then."""
        done = await self._db.run_write(
            lambda session: bound_tenant(session, principal, tenant, kind, amount)
        )
        self._known.clear()
        return done

    async def take_request(self, principal: Principal) -> Mapping[str, str]:
        """Count a request; the policies that hold, for `RateLimit-Policy`, by name.

        `RateLimited` says whose quota is used up, and when to ask again.
        """
        held = await self._applied(principal, "requests-per-minute")
        for one in held:
            wait_s = await self._limits.take(
                f"{principal.tenant_id}:quota:{one.key}:{one.info.amount}",
                rate_per_s=one.info.amount / 60,
                burst=float(one.info.amount),
            )
            if wait_s:
                raise RateLimited(
                    f"{one.who} may send {one.info.amount:,} requests a minute.",
                    retry_after_s=math.ceil(wait_s),
                    policy=one.name,
                )
        return {one.name: f"q={one.info.amount};w=60" for one in held}

    async def require_tokens(self, principal: Principal) -> None:
        """Return where today's tokens are not used up; else `RateLimited` until midnight (UTC)."""
        held = await self._applied(principal, "tokens-per-day")
        if not held:
            return
        now = clock.now()
        midnight = datetime.combine(now.date() + timedelta(days=1), datetime.min.time(), UTC)
        for one in held:
            if await self._used_today(principal, one) >= one.info.amount:
                raise RateLimited(
                    f"{one.who} may use {one.info.amount:,} tokens of language models a day, and"
                    " today's are used up.",
                    retry_after_s=math.ceil((midnight - now).total_seconds()),
                    policy=one.name,
                )

    async def _used_today(self, principal: Principal, one: Applied) -> int:
        spent = func.sum(LedgerEntry.input_tokens + LedgerEntry.output_tokens)
        query = select(func.coalesce(spent, 0)).where(
            LedgerEntry.tenant_id == principal.tenant_id,
            LedgerEntry.kind == "settle",
            LedgerEntry.day == clock.now().date().isoformat(),
        )
        if one.name == EACH_USER:
            query = query.where(LedgerEntry.user_id == principal.user_id)
        elif one.name == EACH_KEY:
            query = query.where(LedgerEntry.api_token_id == principal.api_token_id)

        async def count(session: AsyncSession) -> int:
            return int(await session.scalar(query) or 0)

        return await self._db.run_read(count)

    async def _applied(self, principal: Principal, kind: str) -> list[Applied]:
        """What holds for a principal: a quota of their own replaces that of each user or key."""
        known = self._known.get(principal.tenant_id)
        if known is None or known[0] < time.monotonic():
            found = await self._db.run_read(lambda session: _all(session, principal.tenant_id))
            known = (time.monotonic() + REMEMBERED_S, found)
            self._known[principal.tenant_id] = known
        quotas = [quota for quota in known[1] if quota.kind == kind]
        if not quotas:
            return []
        own = {
            EACH_USER: (principal.user_id, "Each member"),
            EACH_KEY: (principal.api_token_id, "Each API token"),
        }
        applied = [
            Applied(quota, f"{TENANT}:{quota.by_operator}:{kind}", "This organisation")
            for quota in quotas
            if quota.subject == TENANT
        ]
        for each, (id_, who) in own.items():
            if id_ is None:
                continue
            named = [quota for quota in quotas if quota.subject == f"{each}:{id_}"]
            general = [quota for quota in quotas if quota.subject == each]
            applied += [Applied(quota, f"{each}:{id_}:{kind}", who) for quota in named or general]
        return applied


async def _all(session: AsyncSession, tenant_id: str) -> list[QuotaInfo]:
    rows = await session.scalars(
        select(Quota)
        .where(Quota.tenant_id == tenant_id)
        .order_by(Quota.kind, Quota.subject, Quota.by_operator)
    )
    return [QuotaInfo(row.subject, row.kind, row.amount, row.by_operator) for row in rows]


async def _set(
    session: AsyncSession,
    principal: Principal,
    tenant_id: str,
    subject: str,
    kind: str,
    amount: int,
    *,
    own: bool,
) -> QuotaInfo:
    _check(subject, kind)
    least = 1 if kind == "requests-per-minute" else 0
    if not least <= amount <= AMOUNT_MAX:
        raise InvalidInput(f"A quota is a number from {least} to {AMOUNT_MAX:,}.", field="amount")
    where = {"tenant_id": tenant_id, "subject": subject, "kind": kind, "by_operator": not own}
    statement = upsert(session, Quota).values(id=clock.new_id(), amount=amount, **where)
    await session.execute(
        statement.on_conflict_do_update(index_elements=list(where), set_={"amount": amount})
    )
    detail = {"subject": subject, "kind": kind, "amount": amount, "tenant": tenant_id}
    await gate.audit(session, principal, "quota.set", tenant_id, detail)
    return QuotaInfo(subject, kind, amount, not own)


async def _remove(
    session: AsyncSession,
    principal: Principal,
    tenant_id: str,
    subject: str,
    kind: str,
    *,
    own: bool,
) -> None:
    _check(subject, kind)
    gone = await session.scalars(
        delete(Quota)
        .where(
            Quota.tenant_id == tenant_id,
            Quota.subject == subject,
            Quota.kind == kind,
            Quota.by_operator.is_(not own),
        )
        .returning(Quota.id)
    )
    if not list(gone):
        raise NotFound(f"There is no quota {kind} of {subject} to remove.")
    detail = {"subject": subject, "kind": kind, "amount": None, "tenant": tenant_id}
    await gate.audit(session, principal, "quota.set", tenant_id, detail)


def _check(subject: str, kind: str) -> None:
    if kind not in KINDS:
        raise InvalidInput(
            f"There is no quota {kind[:40]!r}. Choose: {', '.join(KINDS)}.", field="kind"
        )
    if kind in _OF_TENANT and subject != TENANT:
        raise InvalidInput(
            f"A quota of {kind} is one of the whole tenant: write {TENANT}.", field="subject"
        )


async def _subject(session: AsyncSession, principal: Principal, said: str) -> str:
    """What is kept for a subject that names a member or a token in words."""
    word, colon, name = said.partition(":")
    if said in {TENANT, EACH_USER, EACH_KEY}:
        return said
    if colon and word == EACH_USER:
        return f"{EACH_USER}:{(await find_member(session, principal.tenant_id, name)).user_id}"
    if colon and word == EACH_KEY:
        found = await session.scalar(
            select(ApiToken.id).where(
                ApiToken.tenant_id == principal.tenant_id,
                (ApiToken.id == name) | (ApiToken.prefix == name),
            )
        )
        if found is None:
            raise NotFound(f"No API token {name[:40]!r}. `scrubjay token list` names them.")
        return f"{EACH_KEY}:{found}"
    raise InvalidInput(
        f"A quota is of {TENANT}, {EACH_USER}, {EACH_KEY}, user:NAME or key:ID.", field="subject"
    )


def _whom(quota: QuotaInfo) -> str:
    return "whoever runs this installation" if quota.by_operator else "an admin"
