"""What is counted day by day, so that a year of numbers is read from few rows."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import ForeignKey, String
from sqlalchemy.orm import Mapped, mapped_column

from engine.clock import now
from engine.db.tables.base import Base, Id, tenant_column


class MetricDay(Base):
    """What one combination of dimensions counted on a day, by UTC: no texts, no people.

    A dimension that does not apply is empty. Where `topic` begins with `sum:`, the row sums up
    others of its day by knowledge base and door. `figures` and `latency` hold whole numbers, so that
    days add up exactly; `latency` counts by bucket of `engine/insight/histogram.py`.
    """

    __tablename__ = "metric_day"
    tenant_id: Mapped[str] = mapped_column(
        ForeignKey("tenant.id", ondelete="CASCADE"), primary_key=True
    )
    day: Mapped[str] = mapped_column(String(10), primary_key=True)  # ISO 8601
    topic: Mapped[str] = mapped_column(String(20), primary_key=True)
    kb_id: Mapped[str] = mapped_column(Id, primary_key=True, default="")
    door: Mapped[str] = mapped_column(String(20), primary_key=True, default="")
    channel_id: Mapped[str] = mapped_column(Id, primary_key=True, default="")
    flow_id: Mapped[str] = mapped_column(String(100), primary_key=True, default="")
    source_id: Mapped[str] = mapped_column(Id, primary_key=True, default="")
    model: Mapped[str] = mapped_column(String(250), primary_key=True, default="")
    figures: Mapped[dict[str, Any]] = mapped_column(default=dict)
    latency: Mapped[dict[str, Any]] = mapped_column(default=dict)


class CountedDay(Base):
    """A day whose rows in `metric_day` are complete, unless it changed since (`changed_at`)."""

    __tablename__ = "counted_day"
    tenant_id: Mapped[str] = mapped_column(
        ForeignKey("tenant.id", ondelete="CASCADE"), primary_key=True
    )
    day: Mapped[str] = mapped_column(String(10), primary_key=True)
    counted_at: Mapped[datetime | None]
    changed_at: Mapped[datetime | None]


class GapMark(Base):
    """What somebody decided about a question that got no good answer; gone with the question."""

    __tablename__ = "gap_mark"
    turn_id: Mapped[str] = mapped_column(
        ForeignKey("turn.id", ondelete="CASCADE"), primary_key=True
    )
    tenant_id: Mapped[str] = tenant_column()
    state: Mapped[str] = mapped_column(String(20))  # open, assigned, closed, out_of_scope
    assignee_id: Mapped[str | None] = mapped_column(Id)
    marked_by: Mapped[str | None] = mapped_column(Id)
    marked_at: Mapped[datetime] = mapped_column(default=now)
