"""The event log."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import ForeignKey, Index, String
from sqlalchemy.orm import Mapped, mapped_column

from engine.clock import now
from engine.db.tables.base import Base, id_column


class Event(Base):
    """What happened, appended in the transaction of its cause."""

    __tablename__ = "event"
    __table_args__ = (Index("ix_event_tenant_id", "tenant_id", "id"),)
    id: Mapped[str] = id_column()
    tenant_id: Mapped[str] = mapped_column(ForeignKey("tenant.id", ondelete="CASCADE"))
    kind: Mapped[str] = mapped_column(String(60))  # document.uploaded, document.processed, …
    payload: Mapped[dict[str, Any]]
    at: Mapped[datetime] = mapped_column(default=now)
