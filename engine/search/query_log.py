"""One row a search, written behind the searcher's back: an answer never waits for its log.

`retrieval.py` notes searches here; whoever opens the engine runs `run` beside it, and `flush` at
the end. Rows that can't be written are dropped with a warning: losing one loses nothing else.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import insert, select

from engine.clock import new_id
from engine.db.session import Database
from engine.db.tables import QueryLog as QueryLogRow
from engine.db.tables import Tenant
from engine.errors import Unavailable

log = logging.getLogger(__name__)

KEEP_TEXT = "query_log_text"  # the tenant setting that keeps what people asked for
WAITING_MAX = 10_000  # searches; older ones give way when the database is away for long
PAUSE_S = 0.5  # gathers a burst of searches into one transaction


@dataclass(frozen=True, slots=True)
class Searched:
    """One search. `text` is stored only where the tenant turned it on."""

    tenant_id: str
    user_id: str | None
    kb_ids: Sequence[str]
    mode: str
    text: str
    hits: int
    confidence: float
    took_ms: float
    at: datetime
    error_code: str = ""


class QueryLog:
    """Searches on their way to the table `query_log`."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._waiting: deque[Searched] = deque(maxlen=WAITING_MAX)
        self._noted = asyncio.Event()

    def note(self, searched: Searched) -> None:
        """Remember a search; returns at once."""
        self._waiting.append(searched)
        self._noted.set()

    async def run(self) -> None:
        """Write what is noted, until cancelled; call `flush` afterwards."""
        while True:
            await self._noted.wait()
            await asyncio.sleep(PAUSE_S)
            await self.flush()

    async def flush(self) -> None:
        """Write everything noted so far, in one transaction."""
        self._noted.clear()
        rows = list(self._waiting)
        self._waiting.clear()
        if not rows:
            return
        try:
            async with self._db.write() as session:
                tenants = {row.tenant_id for row in rows}
                known = await session.execute(
                    select(Tenant.id, Tenant.settings).where(Tenant.id.in_(tenants))
                )
                keeps = {tenant_id: bool(kept.get(KEEP_TEXT)) for tenant_id, kept in known}
                values = [
                    _values(row, keeps[row.tenant_id]) for row in rows if row.tenant_id in keeps
                ]
                if values:
                    await session.execute(insert(QueryLogRow), values)
        except Unavailable as error:
            log.warning("searches were not logged", extra={"rows": len(rows), "reason": str(error)})


def _values(row: Searched, keep_text: bool) -> dict[str, object]:
    return {
        "id": new_id(),
        "tenant_id": row.tenant_id,
        "user_id": row.user_id,
        "kb_ids": list(row.kb_ids),
        "mode": row.mode,
        "text": row.text if keep_text else "",
        "hits": row.hits,
        "confidence": row.confidence,
        "took_ms": row.took_ms,
        "error_code": row.error_code,
        "at": row.at,
    }
