"""Queued work, and the processes that claim it."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, ForeignKey, Index, String, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from engine.clock import now
from engine.db.tables.base import Base, Id, id_column


class Job(Base):
    """Durable work. A broker message is only a hint at a row here.

    `turn` makes claims fair: within a lane the lowest goes first, and a tenant's next job is
    stamped one after its last, but never before the turn that is being served (`engine/jobs/outbox.py`).
    """

    __tablename__ = "job"
    __table_args__ = (
        UniqueConstraint("tenant_id", "idempotency_key"),
        Index("ix_job_claim", "state", "lane", "turn", "id", "run_at", "kind"),
        Index("ix_job_tenant", "tenant_id", "state", "lane", "turn"),
        Index("ix_job_document", "document_id", "state"),
    )
    id: Mapped[str] = id_column()
    tenant_id: Mapped[str] = mapped_column(ForeignKey("tenant.id", ondelete="CASCADE"))
    kind: Mapped[str] = mapped_column(String(40))
    payload: Mapped[dict[str, Any]] = mapped_column(default=dict)
    lane: Mapped[str] = mapped_column(String(20), default="bulk")  # domain.Lane
    turn: Mapped[int] = mapped_column(BigInteger, default=0)
    state: Mapped[str] = mapped_column(String(20), default="queued")  # domain.JobState
    document_id: Mapped[str | None] = mapped_column(Id)
    attempts: Mapped[int] = mapped_column(default=0)  # begun, the running one included
    lost: Mapped[int] = mapped_column(default=0)  # attempts that ended with their worker
    max_attempts: Mapped[int] = mapped_column(default=5)
    run_at: Mapped[datetime] = mapped_column(default=now)  # not before
    lease_owner: Mapped[str] = mapped_column(String(100), default="")
    leased_until: Mapped[datetime | None]
    cancel_requested: Mapped[bool] = mapped_column(default=False)
    idempotency_key: Mapped[str | None] = mapped_column(String(200))
    error: Mapped[str] = mapped_column(Text, default="")
    correlation_id: Mapped[str] = mapped_column(String(64), default="")
    created_at: Mapped[datetime] = mapped_column(default=now)
    updated_at: Mapped[datetime] = mapped_column(default=now)


class Worker(Base):
    """A live process that claims jobs; a heartbeat older than the lease means it is gone."""

    __tablename__ = "worker"
    id: Mapped[str] = mapped_column(String(100), primary_key=True)
    host: Mapped[str] = mapped_column(String(200))
    pid: Mapped[int]
    state: Mapped[str] = mapped_column(String(20), default="running")
    figures: Mapped[dict[str, Any]] = mapped_column(default=dict)  # counted since its start
    started_at: Mapped[datetime] = mapped_column(default=now)
    heartbeat_at: Mapped[datetime] = mapped_column(default=now)
