"""One row for each search."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import ForeignKey, Index, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from engine.clock import now
from engine.db.tables.base import Base, Id, id_column


class QueryLog(Base):
    """A row a search. The query's text is kept only where the tenant turns it on."""

    __tablename__ = "query_log"
    __table_args__ = (Index("ix_query_log_tenant_at", "tenant_id", "at"),)
    id: Mapped[str] = id_column()
    tenant_id: Mapped[str] = mapped_column(ForeignKey("tenant.id", ondelete="CASCADE"))
    user_id: Mapped[str | None] = mapped_column(Id)
    kb_ids: Mapped[list[str]]
    mode: Mapped[str] = mapped_column(String(20))
    text: Mapped[str] = mapped_column(Text, default="")
    hits: Mapped[int]
    confidence: Mapped[float]
    took_ms: Mapped[float]
    error_code: Mapped[str] = mapped_column(String(40), default="")
    at: Mapped[datetime] = mapped_column(default=now)
