"""What an operator looks at: audit, tool calls, placements, facts of the installation."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import ForeignKey, Index, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from engine.clock import now
from engine.db.tables.base import Base, Id, id_column


class AuditEvent(Base):
    """Who changed what. Appended in the transaction of the change."""

    __tablename__ = "audit_event"
    __table_args__ = (
        Index("ix_audit_event_tenant_at", "tenant_id", "at"),
        Index("ix_audit_event_tenant_number", "tenant_id", "number"),
    )
    id: Mapped[str] = id_column()
    tenant_id: Mapped[str] = mapped_column(ForeignKey("tenant.id", ondelete="CASCADE"))
    actor: Mapped[str] = mapped_column(String(200))
    action: Mapped[str] = mapped_column(String(60))
    target: Mapped[str] = mapped_column(String(200), default="")
    detail: Mapped[dict[str, Any]] = mapped_column(default=dict)
    at: Mapped[datetime] = mapped_column(default=now)
    number: Mapped[int] = mapped_column(default=0)  # in its tenant, from 1; 0: before the chain
    digest: Mapped[str] = mapped_column(String(64), default="")  # of this row and the one before


class AuditHead(Base):
    """The end of a tenant's chain of audit rows; its number grows with every change."""

    __tablename__ = "audit_head"
    tenant_id: Mapped[str] = mapped_column(
        ForeignKey("tenant.id", ondelete="CASCADE"), primary_key=True
    )
    number: Mapped[int] = mapped_column(default=0)
    digest: Mapped[str] = mapped_column(String(64), default="")


class ToolCall(Base):
    """A row a call of an MCP tool: who did what, never what was found.

    What was asked is kept only where the tenant turns it on.
    """

    __tablename__ = "tool_call"
    __table_args__ = (Index("ix_tool_call_tenant_at", "tenant_id", "at"),)
    id: Mapped[str] = id_column()
    tenant_id: Mapped[str] = mapped_column(ForeignKey("tenant.id", ondelete="CASCADE"))
    user_id: Mapped[str | None] = mapped_column(Id)
    api_token_id: Mapped[str | None] = mapped_column(Id)
    door: Mapped[str] = mapped_column(String(20))  # http, stdio
    tool: Mapped[str] = mapped_column(String(60))
    kb_ids: Mapped[list[str]]
    results: Mapped[int]
    code: Mapped[str] = mapped_column(String(40), default="")  # of the error; empty: none
    took_ms: Mapped[float]
    text: Mapped[str] = mapped_column(Text, default="")
    at: Mapped[datetime] = mapped_column(default=now)


class IndexPlacement(Base):
    """Where a tenant's space lives in Vespa: a schema of its own, or one it shares."""

    __tablename__ = "index_placement"
    tenant_id: Mapped[str] = mapped_column(ForeignKey("tenant.id"), primary_key=True)
    space: Mapped[str] = mapped_column(String(40), primary_key=True)
    dimension: Mapped[int]
    cells: Mapped[str] = mapped_column(String(10))  # bfloat16 or float
    kind: Mapped[str] = mapped_column(String(10))  # dedicated or pooled
    state: Mapped[str] = mapped_column(String(10))  # placed, deployed, dropping
    languages: Mapped[list[str]] = mapped_column(default=list)  # of the texts it holds
    created_at: Mapped[datetime] = mapped_column(default=now)


class Setting(Base):
    """Facts of the installation that must travel with its data (secret key id, sample seeded)."""

    __tablename__ = "setting"
    key: Mapped[str] = mapped_column(String(100), primary_key=True)
    value: Mapped[dict[str, Any]]
