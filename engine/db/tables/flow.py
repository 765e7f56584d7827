"""Saved graphs, and what each run of one did."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Float, ForeignKey, Index, String, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from engine.clock import now
from engine.db.tables.base import Base, Id, id_column, tenant_column


class Flow(Base):
    """A saved DSL graph: a pipeline when it ingests, a workflow when it answers."""

    __tablename__ = "flow"
    __table_args__ = (UniqueConstraint("tenant_id", "name"),)
    id: Mapped[str] = id_column()
    tenant_id: Mapped[str] = tenant_column()
    name: Mapped[str] = mapped_column(String(100))
    kind: Mapped[str] = mapped_column(String(20), default="pipeline")
    dsl: Mapped[str] = mapped_column(Text)  # kept byte-equal
    created_at: Mapped[datetime] = mapped_column(default=now)
    updated_at: Mapped[datetime] = mapped_column(default=now)


class Run(Base):
    """One execution of a flow, for one job."""

    __tablename__ = "run"
    id: Mapped[str] = id_column()
    tenant_id: Mapped[str] = tenant_column()
    job_id: Mapped[str | None] = mapped_column(Id, index=True)
    flow_id: Mapped[str] = mapped_column(String(100))
    document_id: Mapped[str | None] = mapped_column(Id, index=True)
    state: Mapped[str] = mapped_column(String(20), default="running")  # paused, done, failed, …
    progress: Mapped[float] = mapped_column(default=0.0)
    message: Mapped[str] = mapped_column(Text, default="")
    error: Mapped[str] = mapped_column(Text, default="")
    dsl: Mapped[str] = mapped_column(Text, default="")
    started_at: Mapped[datetime] = mapped_column(default=now)
    ended_at: Mapped[datetime | None]


class RunNode(Base):
    """A node's checkpoint: a run resumes after the nodes that are done."""

    __tablename__ = "run_node"
    run_id: Mapped[str] = mapped_column(ForeignKey("run.id", ondelete="CASCADE"), primary_key=True)
    node_id: Mapped[str] = mapped_column(String(100), primary_key=True)
    tenant_id: Mapped[str] = tenant_column()
    state: Mapped[str] = mapped_column(String(20))
    output: Mapped[dict[str, Any]] = mapped_column(default=dict)
    elapsed_s: Mapped[float] = mapped_column(Float, default=0.0)
    error: Mapped[str] = mapped_column(Text, default="")
    started_at: Mapped[datetime] = mapped_column(default=now)


class RunEvent(Base):
    """A line of a run's log: {component, progress, message, datetime, timestamp}."""

    __tablename__ = "run_event"
    __table_args__ = (Index("ix_run_event_run", "run_id", "id"),)
    id: Mapped[str] = id_column()
    tenant_id: Mapped[str] = tenant_column()
    run_id: Mapped[str] = mapped_column(ForeignKey("run.id", ondelete="CASCADE"))
    component: Mapped[str] = mapped_column(String(100))
    progress: Mapped[float]
    message: Mapped[str] = mapped_column(Text)
    at: Mapped[datetime] = mapped_column(default=now)
