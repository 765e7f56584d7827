"""Assistants and search apps: how an answer or a search is made for a purpose, and whom it is for."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import ForeignKey, String, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from engine.clock import now
from engine.db.tables.base import Base, id_column, tenant_column


class Assistant(Base):
    """An assistant or, without what concerns answers, a search app."""

    __tablename__ = "assistant"
    __table_args__ = (UniqueConstraint("tenant_id", "kind", "slug"),)
    id: Mapped[str] = id_column()
    tenant_id: Mapped[str] = tenant_column()
    kind: Mapped[str] = mapped_column(String(20))  # assistant, search_app
    slug: Mapped[str] = mapped_column(String(60))
    name: Mapped[str] = mapped_column(String(100))
    description: Mapped[str] = mapped_column(Text, default="")
    # Without it those of `assistant_kb` are searched, and none where there are none any more.
    every_kb: Mapped[bool] = mapped_column(default=False)
    mode: Mapped[str | None] = mapped_column(String(20))
    alpha: Mapped[float | None]
    top_k: Mapped[int | None]
    confidence_threshold: Mapped[float | None]
    recency_days: Mapped[float | None]  # a half-life; 0 leaves dates out of the score
    rerank: Mapped[bool | None]
    opener: Mapped[str] = mapped_column(Text, default="")
    examples: Mapped[list[str]] = mapped_column(default=list)
    prompt: Mapped[str] = mapped_column(Text, default="")
    model: Mapped[str] = mapped_column(String(220), default="")
    temperature: Mapped[float | None]
    max_tokens: Mapped[int | None]
    empty_answer: Mapped[str] = mapped_column(Text, default="")
    citations: Mapped[bool] = mapped_column(default=True)
    memory_turns: Mapped[int] = mapped_column(default=6)
    language: Mapped[str] = mapped_column(String(8), default="")
    owner_id: Mapped[str | None] = mapped_column(ForeignKey("user.id", ondelete="SET NULL"))
    version: Mapped[int] = mapped_column(default=1)
    created_at: Mapped[datetime] = mapped_column(default=now)
    updated_at: Mapped[datetime] = mapped_column(default=now)


class AssistantKb(Base):
    """A knowledge base that an assistant answers from."""

    __tablename__ = "assistant_kb"
    assistant_id: Mapped[str] = mapped_column(
        ForeignKey("assistant.id", ondelete="CASCADE"), primary_key=True
    )
    kb_id: Mapped[str] = mapped_column(
        ForeignKey("knowledge_base.id", ondelete="CASCADE"), primary_key=True
    )
    tenant_id: Mapped[str] = tenant_column()


class AssistantGrant(Base):
    """Whoever holds the token may use the assistant."""

    __tablename__ = "assistant_grant"
    assistant_id: Mapped[str] = mapped_column(
        ForeignKey("assistant.id", ondelete="CASCADE"), primary_key=True
    )
    token: Mapped[str] = mapped_column(String(100), primary_key=True)
    tenant_id: Mapped[str] = tenant_column()


class Widget(Base):
    """An assistant on pages of other sites."""

    __tablename__ = "widget"
    id: Mapped[str] = id_column()  # stands in those pages: no secret
    tenant_id: Mapped[str] = tenant_column()
    assistant_id: Mapped[str] = mapped_column(
        ForeignKey("assistant.id", ondelete="CASCADE"), index=True
    )
    # Of a service key that may be gone; empty: only members are answered, as themselves.
    key_id: Mapped[str] = mapped_column(String(32))
    origins: Mapped[list[str]] = mapped_column(default=list)
    created_at: Mapped[datetime] = mapped_column(default=now)
