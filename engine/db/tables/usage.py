"""What a tenant's language models are, cost and may cost: keys, credits, the ledger, quotas."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import BigInteger, ForeignKey, Index, String, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from engine.clock import now
from engine.db.tables.base import Base, Id, id_column, tenant_column


class TenantLlm(Base):
    """A tenant's own key for a model, or with `*` for all models of a provider."""

    __tablename__ = "tenant_llm"
    __table_args__ = (UniqueConstraint("tenant_id", "provider", "model"),)
    id: Mapped[str] = id_column()
    tenant_id: Mapped[str] = tenant_column()
    provider: Mapped[str] = mapped_column(String(40))
    model: Mapped[str] = mapped_column(String(200), default="*")
    api_key: Mapped[str] = mapped_column(Text, default="")  # encrypted for this row alone
    base_url: Mapped[str] = mapped_column(String(500), default="")
    enabled: Mapped[bool] = mapped_column(default=True)
    created_at: Mapped[datetime] = mapped_column(default=now)
    updated_at: Mapped[datetime] = mapped_column(default=now)


class CreditAccount(Base):
    """What a tenant may still spend, in millionths of a credit; without a row nothing is counted off."""

    __tablename__ = "credit_account"
    tenant_id: Mapped[str] = mapped_column(
        ForeignKey("tenant.id", ondelete="CASCADE"), primary_key=True
    )
    balance: Mapped[int] = mapped_column(BigInteger, default=0)
    enforced: Mapped[bool] = mapped_column(default=True)  # nothing is spent below 0


class LedgerEntry(Base):
    """A change of the balance. Those of one call have one cause: reserved before, settled after."""

    __tablename__ = "ledger"
    __table_args__ = (
        UniqueConstraint("tenant_id", "cause", "kind"),
        Index("ix_ledger_tenant_day", "tenant_id", "day"),
    )
    id: Mapped[str] = id_column()
    tenant_id: Mapped[str] = mapped_column(ForeignKey("tenant.id", ondelete="CASCADE"))
    cause: Mapped[str] = mapped_column(String(100))
    kind: Mapped[str] = mapped_column(String(10))  # grant, reserve, settle
    amount: Mapped[int] = mapped_column(BigInteger)  # millionths of a credit; what it adds
    cost: Mapped[int] = mapped_column(BigInteger, default=0)  # of a settled call
    model: Mapped[str] = mapped_column(String(250), default="")
    input_tokens: Mapped[int] = mapped_column(BigInteger, default=0)
    output_tokens: Mapped[int] = mapped_column(BigInteger, default=0)
    user_id: Mapped[str | None] = mapped_column(Id)
    api_token_id: Mapped[str | None] = mapped_column(Id)
    day: Mapped[str] = mapped_column(String(10))  # in UTC, ISO 8601
    at: Mapped[datetime] = mapped_column(default=now)


class Quota(Base):
    """A bound on what a tenant, a user or a key of it may use. An operator's bounds its own."""

    __tablename__ = "quota"
    __table_args__ = (UniqueConstraint("tenant_id", "subject", "kind", "by_operator"),)
    id: Mapped[str] = id_column()
    tenant_id: Mapped[str] = tenant_column()
    subject: Mapped[str] = mapped_column(String(50))  # tenant, user, key, user:<id>, key:<id>
    kind: Mapped[str] = mapped_column(String(30))
    amount: Mapped[int] = mapped_column(BigInteger)
    by_operator: Mapped[bool] = mapped_column(default=False)
