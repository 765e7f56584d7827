"""How often a tenant searched, what found nothing and how long it took: from the table `query_log`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from sqlalchemy import ColumnElement, case, func, select
from sqlalchemy.ext.asyncio import AsyncSession

from engine import clock
from engine.access import gate
from engine.db.tables import QueryLog
from engine.domain import Principal, Scope


@dataclass(frozen=True, slots=True)
class SearchCounts:
    """Searches of some time. `without_hits` found nothing, `failed` were refused or broke off."""

    searches: int
    without_hits: int
    failed: int
    mean_ms: float
    slowest_ms: float


@dataclass(frozen=True, slots=True)
class SearchDay:
    """The searches of a day, by UTC."""

    day: date
    counts: SearchCounts


@dataclass(frozen=True, slots=True)
class QueryStatistics:
    """The searches of some days: in all, by mode, and by day, the oldest first."""

    total: SearchCounts
    people: int
    modes: Mapping[str, int]
    days: Sequence[SearchDay]


async def query_statistics(
    session: AsyncSession, principal: Principal, *, days: int
) -> QueryStatistics:
    """Of the tenant's last `days`, with today; for its admins."""
    gate.require(principal, Scope.KB_ADMIN)
    today = clock.now().replace(hour=0, minute=0, second=0, microsecond=0)
    starts = [today - timedelta(days=back) for back in range(days - 1, -1, -1)]
    window = _within(principal, starts[0], today + timedelta(days=1))
    people = await session.scalar(select(func.count(QueryLog.user_id.distinct())).where(*window))
    modes = await session.execute(
        select(QueryLog.mode, func.count()).where(*window).group_by(QueryLog.mode)
    )
    return QueryStatistics(
        total=await _counts(session, window),
        people=people or 0,
        modes={row[0]: row[1] for row in modes},
        days=[
            SearchDay(
                start.date(),
                await _counts(session, _within(principal, start, start + timedelta(days=1))),
            )
            for start in starts
        ],
    )


def _within(principal: Principal, start: datetime, end: datetime) -> list[ColumnElement[bool]]:
    return [
        QueryLog.tenant_id == principal.tenant_id,
        QueryLog.kind == "search",
        QueryLog.at >= start,
        QueryLog.at < end,
    ]


async def _counts(session: AsyncSession, window: Sequence[ColumnElement[bool]]) -> SearchCounts:
    failed = QueryLog.error_code != ""
    empty = (QueryLog.hits == 0) & (QueryLog.error_code == "")
    row = (
        await session.execute(
            select(
                func.count(),
                func.sum(case((empty, 1), else_=0)),
                func.sum(case((failed, 1), else_=0)),
                func.avg(QueryLog.took_ms),
                func.max(QueryLog.took_ms),
            ).where(*window)
        )
    ).one()
    return SearchCounts(
        row[0], int(row[1] or 0), int(row[2] or 0), float(row[3] or 0), float(row[4] or 0)
    )
