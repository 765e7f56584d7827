"""One row a search, written behind the searcher's back (`engine/db/write_behind.py`).

`retrieval.py` notes searches here; `open_engine` holds `writing` open while the engine is in use.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from engine.clock import new_id
from engine.db.session import Database
from engine.db.tables import QueryLog
from engine.db.write_behind import WriteBehind

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


class SearchLog(WriteBehind[Searched]):
    """Searches on their way to the table `query_log`."""

    def __init__(self, db: Database) -> None:
        super().__init__(
            db,
            QueryLog,
            _values,
            keep_text=KEEP_TEXT,
            waiting_max=WAITING_MAX,
            pause_s=PAUSE_S,
        )


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
