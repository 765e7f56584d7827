"""Where documents come from."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import ForeignKey, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from engine.clock import now
from engine.db.tables.base import Base, id_column, tenant_column


class Source(Base):
    """Where documents of a KB come from. Each KB has one of kind `upload` from its creation.

    A channel whose history is kept has one too; it goes into one knowledge base.
    """

    __tablename__ = "source"
    id: Mapped[str] = id_column()
    tenant_id: Mapped[str] = tenant_column()
    kb_id: Mapped[str] = mapped_column(
        ForeignKey("knowledge_base.id", ondelete="CASCADE"), index=True
    )
    channel_id: Mapped[str | None] = mapped_column(
        ForeignKey("channel.id", ondelete="CASCADE"), unique=True
    )
    kind: Mapped[str] = mapped_column(String(40))
    name: Mapped[str] = mapped_column(String(200))
    settings: Mapped[dict[str, Any]] = mapped_column(default=dict)
    cursor: Mapped[dict[str, Any]] = mapped_column(default=dict)
    state: Mapped[str] = mapped_column(String(20), default="idle")
    error: Mapped[str] = mapped_column(Text, default="")
    derive_due_at: Mapped[datetime | None]  # a job that derives its documents is queued for then
    created_at: Mapped[datetime] = mapped_column(default=now)
