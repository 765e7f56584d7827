"""Counters, locks and cached entries that processes share."""

from __future__ import annotations

from sqlalchemy import Index, LargeBinary, String
from sqlalchemy.orm import Mapped, mapped_column

from engine.db.tables.base import Base


class Ephemeral(Base):
    """Short-lived state that processes share (`limits.py`); losing it loses nothing."""

    __tablename__ = "ephemeral"
    __table_args__ = (Index("ix_ephemeral_until", "until"),)
    key: Mapped[str] = mapped_column(String(300), primary_key=True)  # names its tenant
    value: Mapped[bytes] = mapped_column(LargeBinary, default=b"")
    until: Mapped[float]  # seconds since the epoch: when a bucket is full, a lock or entry ends
