"""SCIM: the clients that provision people, and what they provisioned, as they described it."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import ForeignKey, Index, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from engine.clock import now
from engine.db.tables.base import Base, Id, id_column, tenant_column


class ScimClient(Base):
    """An identity provider that provisions people; only the SHA-256 of its secret is kept."""

    __tablename__ = "scim_client"
    id: Mapped[str] = id_column()
    tenant_id: Mapped[str] = tenant_column()
    name: Mapped[str] = mapped_column(String(200))
    digest: Mapped[str] = mapped_column(String(64), unique=True)
    prefix: Mapped[str] = mapped_column(String(16))
    created_by: Mapped[str | None] = mapped_column(Id)
    last_used_at: Mapped[datetime | None]
    revoked_at: Mapped[datetime | None]
    created_at: Mapped[datetime] = mapped_column(default=now)


class ScimResource(Base):
    """A user or group that SCIM made; its id is the account's or group's. Deleted ones stay, hidden."""

    __tablename__ = "scim_resource"
    __table_args__ = (
        UniqueConstraint("tenant_id", "kind", "name"),
        Index("ix_scim_resource_external", "tenant_id", "external_id"),
    )
    id: Mapped[str] = id_column()
    tenant_id: Mapped[str] = mapped_column(ForeignKey("tenant.id", ondelete="CASCADE"))
    kind: Mapped[str] = mapped_column(String(10))  # User, Group
    name: Mapped[str] = mapped_column(String(320))  # userName or displayName, in lower case
    external_id: Mapped[str] = mapped_column(String(320), default="")
    body: Mapped[dict[str, Any]]  # as the client described it
    version: Mapped[int] = mapped_column(default=1)
    created_at: Mapped[datetime] = mapped_column(default=now)
    updated_at: Mapped[datetime] = mapped_column(default=now)
    deleted_at: Mapped[datetime | None]
