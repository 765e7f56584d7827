"""What a complete listing lacked: gone, once that is sure, and never many at once without a yes.

An outage, a lost permission or an empty answer looks like a mass deletion. Where absence would
remove more than ten documents and more than a tenth of the source, nothing is removed and a person
is asked. A deletion that the source itself names is not held back.
"""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy import ColumnElement, func, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from engine import clock
from engine.db.tables import Source, SourceItem, SourceScope, SyncRun
from engine.sources.items import count_present, let_go
from engine.sources.states import GONE

AT_A_TIME = 100
FEW, SHARE = 10, 0.1


async def sweep_some(
    session: AsyncSession,
    source: Source,
    scope: SourceScope,
    run: SyncRun,
    *,
    absence_after_s: float,
) -> tuple[int, bool]:
    """Let some of what is missing go: how many documents went, and whether there is more to do."""
    now = clock.now()
    missing = (
        SourceItem.scope_id == scope.id,
        SourceItem.generation < scope.generation,
        SourceItem.state != GONE,
    )
    await session.execute(
        update(SourceItem)
        .where(*missing, SourceItem.missing_since.is_(None))
        .values(missing_since=now)
        .execution_options(synchronize_session=False)
    )
    sure = (*missing, SourceItem.missing_since <= now - timedelta(seconds=absence_after_s))
    count = await _count(session, *sure, SourceItem.document_id.is_not(None))
    swept = int(run.counts.get("swept", 0))
    if not _may_go(scope, count, swept, await count_present(session, source.id)):
        scope.withheld, scope.confirmed = count, False
        return 0, False
    rows = await session.scalars(
        select(SourceItem).where(*sure).order_by(SourceItem.external_id).limit(AT_A_TIME)
    )
    gone, seen = 0, 0
    for row in rows:
        seen += 1
        gone += await let_go(session, row)
    more = seen == AT_A_TIME
    if not more:
        scope.withheld, scope.confirmed = 0, False
    return gone, more


def _may_go(scope: SourceScope, count: int, swept: int, present: int) -> bool:
    together = count + swept
    if together <= FEW or together <= SHARE * (present + swept):
        return True
    # A yes is to about as many as were shown.
    return scope.confirmed and together <= scope.withheld + max(FEW, SHARE * scope.withheld)


async def _count(session: AsyncSession, *where: ColumnElement[bool]) -> int:
    return int(
        await session.scalar(select(func.count()).select_from(SourceItem).where(*where)) or 0
    )
