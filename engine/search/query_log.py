"""One row a search or question, written behind the searcher's back (`engine/db/write_behind.py`).

`retrieval.py` notes searches here, `answers.py` questions; `open_engine` holds `writing` open while the engine is in use.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
    """One search or question. `text` is stored only where the tenant turned it on.

    `outcome` and what follows are of questions: how they ended, and what a model read and wrote.
    """

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
    kind: str = "search"  # or ask
    door: str = ""
    channel_id: str = ""
    turn_id: str | None = None
    outcome: str = ""  # domain.Outcome, or error
    model: str = ""
    input_tokens: int = 0
    output_tokens: int = 0


class SearchLog(WriteBehind[Searched]):
    """Searches and questions on their way to the table `query_log`.

    It counts them too, for monitoring: `figures`.
    """

    def __init__(self, db: Database) -> None:
        super().__init__(
            db,
            QueryLog,
            _values,
            keep_text=KEEP_TEXT,
            waiting_max=WAITING_MAX,
            pause_s=PAUSE_S,
        )
        self._processed = 0
        self._failed = 0

    def note(self, row: Searched) -> None:
        """Remember a row; returns at once."""
        self._processed += 1
        self._failed += bool(row.error_code)
        super().note(row)

    def figures(self) -> Mapping[str, float]:
        """What was counted since the start, by the names that monitoring knows."""
        return {
            "queries_processed_total": self._processed,
            "query_errors_total": self._failed,
        }


def _values(row: Searched, keep_text: bool) -> dict[str, object]:
    return {
        "id": new_id(),
        "tenant_id": row.tenant_id,
        "user_id": row.user_id,
        "kind": row.kind,
        "kb_ids": list(row.kb_ids),
        "kb_id": row.kb_ids[0] if len(row.kb_ids) == 1 else "",
        "mode": row.mode,
        "text": row.text if keep_text else "",
        "hits": row.hits,
        "confidence": row.confidence,
        "took_ms": row.took_ms,
        "took_us": round(row.took_ms * 1000),
        "error_code": row.error_code,
        "at": row.at,
        "door": row.door,
        "channel_id": row.channel_id,
        "turn_id": row.turn_id,
        "outcome": row.outcome,
        "model": row.model,
        "input_tokens": row.input_tokens,
        "output_tokens": row.output_tokens,
    }
