"""Credits and what was spent: reserved before a call of a language model, settled after it.

All rows of one call have one cause, so that what is tried twice is booked once. Amounts are in
millionths of a credit. A tenant without an account spends freely; its calls are booked all the same.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from typing import Literal

from sqlalchemy import ColumnElement, func, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased

from engine import clock
from engine.access import gate
from engine.db.session import upsert
from engine.db.tables import CreditAccount, LedgerEntry, Tenant, User
from engine.domain import Principal
from engine.errors import CreditsExhausted, InvalidInput, NotFound
from engine.models.llm_catalogue import MICRO

By = Literal["day", "model", "user"]
STALE = timedelta(hours=1)  # a reservation older than that belongs to a process that died
CREDITS_MAX = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Spender:
    """On whose account a call is booked."""

    tenant_id: str
    user_id: str | None = None
    api_token_id: str | None = None


@dataclass(frozen=True, slots=True)
class Credits:
    """What a tenant may still spend, in credits; None where nothing is counted off."""

    balance: float | None
    enforced: bool


@dataclass(frozen=True, slots=True)
class Usage:
    """What was used by one user, of one model or on one day; `cost` in credits."""

    key: str
    name: str
    calls: int
    input_tokens: int
    output_tokens: int
    cost: float


async def is_counted(session: AsyncSession, tenant_id: str) -> bool:
    """Whether the tenant has an account that its calls may exhaust."""
    found = select(CreditAccount.enforced).where(CreditAccount.tenant_id == tenant_id)
    return bool(await session.scalar(found))


async def reserve(
    session: AsyncSession, spender: Spender, cause: str, *, model: str, asked: int, amount: int
) -> None:
    """Take what a call may cost at most from the balance; `CreditsExhausted` where it has less.

    `asked` are its input tokens: what is booked where its process dies.
    """
    account = await session.get(CreditAccount, spender.tenant_id, with_for_update=True)
    if account is None or not account.enforced:
        return
    if await _entry(session, spender.tenant_id, cause, "reserve") is not None:
        return
    if account.balance <= 0 or account.balance < amount:
        tenant = await session.get_one(Tenant, spender.tenant_id)
        raise CreditsExhausted(tenant.key)
    account.balance -= amount
    session.add(_row(spender, cause, "reserve", amount=-amount, model=model, input_tokens=asked))


async def settle(
    session: AsyncSession,
    spender: Spender,
    cause: str,
    *,
    model: str,
    input_tokens: int,
    output_tokens: int,
    cost: int,
) -> bool:
    """Book what a call used, and give back what was reserved too much; False if it is booked."""
    account = await session.get(CreditAccount, spender.tenant_id, with_for_update=True)
    reserved = await _entry(session, spender.tenant_id, cause, "reserve")
    amount = -cost - (reserved.amount if reserved is not None else 0)
    row = _row(
        spender,
        cause,
        "settle",
        amount=amount if account is not None else 0,
        model=model,
        input_tokens=input_tokens,
        output_tokens=output_tokens,
        cost=cost,
    )
    values = {column.name: getattr(row, column.name) for column in LedgerEntry.__table__.columns}
    new = await session.scalar(
        upsert(session, LedgerEntry)
        .values(**values)
        .on_conflict_do_nothing(index_elements=["tenant_id", "cause", "kind"])
        .returning(LedgerEntry.id)
    )
    if new is None:
        return False
    if account is not None:
        account.balance += amount
    return True


async def stale(session: AsyncSession, tenant_id: str) -> list[tuple[Spender, str, str, int]]:
    """Reservations that nobody will settle: spender, cause, model and input tokens of each."""
    settled = aliased(LedgerEntry)
    rows = await session.scalars(
        select(LedgerEntry)
        .outerjoin(
            settled,
            (settled.tenant_id == LedgerEntry.tenant_id)
            & (settled.cause == LedgerEntry.cause)
            & (settled.kind == "settle"),
        )
        .where(
            LedgerEntry.tenant_id == tenant_id,
            LedgerEntry.kind == "reserve",
            LedgerEntry.at < clock.now() - STALE,
            settled.id.is_(None),
        )
        .limit(100)
    )
    return [
        (
            Spender(row.tenant_id, row.user_id, row.api_token_id),
            row.cause,
            row.model,
            row.input_tokens,
        )
        for row in rows
    ]


async def grant(
    session: AsyncSession,
    principal: Principal,
    key: str,
    *,
    credits: float | None = None,  # noqa: A002 (what they are called)
    enforced: bool | None = None,
    cause: str = "",
) -> Credits:
    """Add credits to a tenant (fewer than 0 take some away), for who runs the installation.

    The first time opens its account. `enforced` False lets it spend below 0. With a `cause` the
    same grant is made once.
    """
    await gate.require_operator(session, principal)
    named = (Tenant.key == key) | (Tenant.id == key)
    tenant = await session.scalar(select(Tenant).where(named, Tenant.deleted_at.is_(None)))
    if tenant is None:
        raise NotFound(f"No tenant {key!r}. `scrubjay tenant list` names them.")
    if credits is not None and not abs(credits) <= CREDITS_MAX:  # also not a number
        raise InvalidInput(f"Give at most {CREDITS_MAX:,} credits.", field="credits")
    await session.execute(
        upsert(session, CreditAccount)
        .values(tenant_id=tenant.id, balance=0, enforced=True)
        .on_conflict_do_nothing(index_elements=["tenant_id"])
    )
    account = await session.get_one(CreditAccount, tenant.id, with_for_update=True)
    cause = cause or clock.new_id()
    if credits and await _entry(session, tenant.id, cause, "grant") is None:
        amount = round(credits * MICRO)
        account.balance += amount
        spender = Spender(tenant.id, principal.user_id)
        session.add(_row(spender, cause, "grant", amount=amount))
    if enforced is not None:
        account.enforced = enforced
    detail = {"tenant": tenant.key, "credits": credits, "enforced": account.enforced}
    await gate.audit(session, principal, "credits.grant", tenant.id, detail)
    return Credits(account.balance / MICRO, account.enforced)


async def read_credits(session: AsyncSession, principal: Principal) -> Credits:
    """What the principal's tenant may still spend, for its admins."""
    gate.require_verb(principal, "usage.list")
    return await credits_of(session, principal.tenant_id)


async def credits_of(session: AsyncSession, tenant_id: str) -> Credits:
    """What a tenant may still spend."""
    account = await session.get(CreditAccount, tenant_id)
    if account is None:
        return Credits(None, enforced=False)
    return Credits(account.balance / MICRO, account.enforced)


async def read_usage(
    session: AsyncSession, principal: Principal, *, days: int = 30, by: By = "day"
) -> list[Usage]:
    """What the tenant used in the last days by day, model or user, for its admins; most cost first.

    By day they come in order, the oldest first.
    """
    gate.require_verb(principal, "usage.list")
    keys: dict[str, ColumnElement[str]] = {
        "day": func.coalesce(LedgerEntry.day, ""),
        "model": func.coalesce(LedgerEntry.model, ""),
        "user": func.coalesce(LedgerEntry.user_id, ""),
    }
    key = keys[by]
    since = clock.now().date() - timedelta(days=max(days, 1) - 1)
    cost = func.coalesce(func.sum(LedgerEntry.cost), 0)
    rows = await session.execute(
        select(
            key.label("key"),
            func.count(),
            func.sum(LedgerEntry.input_tokens),
            func.sum(LedgerEntry.output_tokens),
            cost,
        )
        .where(
            LedgerEntry.tenant_id == principal.tenant_id,
            LedgerEntry.kind == "settle",
            LedgerEntry.day >= _iso(since),
        )
        .group_by("key")
        .order_by(key if by == "day" else cost.desc(), key)
    )
    found = [(str(row[0]), int(row[1]), int(row[2]), int(row[3]), int(row[4])) for row in rows]
    names: dict[str, str] = {}
    if by == "user":
        users = await session.execute(
            select(User.id, User.name).where(User.id.in_([row[0] for row in found]))
        )
        names = {row[0]: row[1] for row in users} | {"": "(nobody: work on documents)"}
    return [
        Usage(key, names.get(key, key), calls, asked, written, spent / MICRO)
        for key, calls, asked, written, spent in found
    ]


def _row(
    spender: Spender,
    cause: str,
    kind: str,
    *,
    amount: int,
    model: str = "",
    input_tokens: int = 0,
    output_tokens: int = 0,
    cost: int = 0,
) -> LedgerEntry:
    now = clock.now()
    return LedgerEntry(
        id=clock.new_id(),
        tenant_id=spender.tenant_id,
        cause=cause,
        kind=kind,
        amount=amount,
        cost=cost,
        model=model,
        input_tokens=input_tokens,
        output_tokens=output_tokens,
        user_id=spender.user_id,
        api_token_id=spender.api_token_id,
        day=_iso(now.date()),
        at=now,
    )


async def _entry(
    session: AsyncSession, tenant_id: str, cause: str, kind: str
) -> LedgerEntry | None:
    found: LedgerEntry | None = await session.scalar(
        select(LedgerEntry).where(
            LedgerEntry.tenant_id == tenant_id,
            LedgerEntry.cause == cause,
            LedgerEntry.kind == kind,
        )
    )
    return found


def _iso(day: date) -> str:
    return day.isoformat()
