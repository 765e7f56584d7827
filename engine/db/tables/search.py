"""One row for each search and each question."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import BigInteger, ForeignKey, Index, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from engine.clock import now
from engine.db.tables.base import Base, Id, id_column


class QueryLog(Base):
    """A row a search or question. What was asked is kept only where the tenant turns it on.

    `kb_id` is the one knowledge base that it was about, empty where it was about several.
    """

    __tablename__ = "query_log"
    __table_args__ = (
        Index("ix_query_log_tenant_at", "tenant_id", "at"),
        Index("ix_query_log_turn", "turn_id"),
    )
    id: Mapped[str] = id_column()
    tenant_id: Mapped[str] = mapped_column(ForeignKey("tenant.id", ondelete="CASCADE"))
    kind: Mapped[str] = mapped_column(String(10), default="search")  # search, ask
    user_id: Mapped[str | None] = mapped_column(Id)
    kb_ids: Mapped[list[str]]
    kb_id: Mapped[str] = mapped_column(Id, default="")
    mode: Mapped[str] = mapped_column(String(20))
    text: Mapped[str] = mapped_column(Text, default="")
    hits: Mapped[int]
    confidence: Mapped[float]
    took_ms: Mapped[float]
    took_us: Mapped[int] = mapped_column(BigInteger, default=0)  # whole, so that sums are exact
    error_code: Mapped[str] = mapped_column(String(40), default="")
    at: Mapped[datetime] = mapped_column(default=now)
    # Of questions
    door: Mapped[str] = mapped_column(String(20), default="")
    channel_id: Mapped[str] = mapped_column(Id, default="")  # the channel that saw the answer
    turn_id: Mapped[str | None] = mapped_column(Id)
    outcome: Mapped[str] = mapped_column(String(20), default="")  # domain.Outcome, error
    model: Mapped[str] = mapped_column(String(250), default="")
    input_tokens: Mapped[int] = mapped_column(default=0)
    output_tokens: Mapped[int] = mapped_column(default=0)
