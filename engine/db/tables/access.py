"""Who may see a document: sets of tokens, and the tokens that open a knowledge base."""

from __future__ import annotations

from sqlalchemy import ForeignKey, Index, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from engine.db.tables.base import Base, id_column, tenant_column


class Acl(Base):
    """A set of tokens, stored once a tenant: a document passes when any of them is held."""

    __tablename__ = "acl"
    __table_args__ = (UniqueConstraint("tenant_id", "digest"),)
    id: Mapped[str] = id_column()
    tenant_id: Mapped[str] = tenant_column()
    digest: Mapped[str] = mapped_column(String(64))  # SHA-256 of the sorted tokens
    tokens: Mapped[list[str]]


class AclToken(Base):
    """The tokens of an ACL, one a row, to be met by `IN`."""

    __tablename__ = "acl_token"
    __table_args__ = (Index("ix_acl_token_tenant_token", "tenant_id", "token"),)
    acl_id: Mapped[str] = mapped_column(ForeignKey("acl.id", ondelete="CASCADE"), primary_key=True)
    token: Mapped[str] = mapped_column(String(100), primary_key=True)
    tenant_id: Mapped[str] = mapped_column(ForeignKey("tenant.id", ondelete="CASCADE"))


class KbGrant(Base):
    """Whoever holds `token` holds `kb:<kb_id>` as well."""

    __tablename__ = "kb_grant"
    kb_id: Mapped[str] = mapped_column(
        ForeignKey("knowledge_base.id", ondelete="CASCADE"), primary_key=True
    )
    token: Mapped[str] = mapped_column(String(100), primary_key=True)
    tenant_id: Mapped[str] = tenant_column()
    level: Mapped[str] = mapped_column(String(10), default="read")  # permissions.GrantLevel
