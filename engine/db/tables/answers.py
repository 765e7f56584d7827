"""Questions with their answers, and what readers thought of them."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import ForeignKey, Index, String, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from engine.clock import now
from engine.db.tables.base import Base, id_column, tenant_column


class Conversation(Base):
    __tablename__ = "conversation"
    id: Mapped[str] = id_column()
    tenant_id: Mapped[str] = tenant_column()
    user_id: Mapped[str | None] = mapped_column(
        ForeignKey("user.id", ondelete="SET NULL"), index=True
    )
    door: Mapped[str] = mapped_column(String(20), default="")  # cli, api, mcp, slack, discord
    external_id: Mapped[str] = mapped_column(String(200), default="", index=True)
    created_at: Mapped[datetime] = mapped_column(default=now)
    name: Mapped[str] = mapped_column(String(200), default="")
    assistant_id: Mapped[str] = mapped_column(String(32), default="")  # it may be gone


class Turn(Base):
    """One question and its answer, with every source that entered its context."""

    __tablename__ = "turn"
    __table_args__ = (Index("ix_turn_tenant_created", "tenant_id", "created_at"),)
    id: Mapped[str] = id_column()
    tenant_id: Mapped[str] = tenant_column()
    conversation_id: Mapped[str] = mapped_column(
        ForeignKey("conversation.id", ondelete="CASCADE"), index=True
    )
    question: Mapped[str] = mapped_column(Text)
    answer: Mapped[str] = mapped_column(Text)
    grounded: Mapped[bool]
    confidence: Mapped[float]
    audience: Mapped[str] = mapped_column(String(100))  # domain.Audience.key
    sources: Mapped[list[str]]  # chunk ids
    citations: Mapped[list[Any]]  # revision, offsets, quote
    model: Mapped[str] = mapped_column(String(100), default="")
    prompt: Mapped[str] = mapped_column(String(60), default="")  # name and version: "answer/2"
    input_tokens: Mapped[int] = mapped_column(default=0)
    output_tokens: Mapped[int] = mapped_column(default=0)
    took_ms: Mapped[float] = mapped_column(default=0.0)
    feedback: Mapped[int | None]  # +1, -1
    created_at: Mapped[datetime] = mapped_column(default=now)
    assistant_id: Mapped[str] = mapped_column(String(32), default="")  # it may be gone


class Feedback(Base):
    """What somebody thought of an answer; a second opinion of theirs replaces the first."""

    __tablename__ = "feedback"
    __table_args__ = (
        UniqueConstraint("turn_id", "rater"),
        Index("ix_feedback_tenant_created", "tenant_id", "created_at"),
    )
    id: Mapped[str] = id_column()
    tenant_id: Mapped[str] = tenant_column()
    turn_id: Mapped[str] = mapped_column(ForeignKey("turn.id", ondelete="CASCADE"))
    rater: Mapped[str] = mapped_column(String(40))  # an identity's or a user's id
    rating: Mapped[int]  # +1, -1
    reason: Mapped[str] = mapped_column(String(40), default="")  # wrong, outdated, missing, …
    text: Mapped[str] = mapped_column(Text, default="")
    created_at: Mapped[datetime] = mapped_column(default=now)
