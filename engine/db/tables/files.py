"""The tree of folders and files, whom parts of it are granted to, and what was made of its files."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import ForeignKey, Index, String, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from engine.clock import now
from engine.db.tables.base import Base, Id, id_column, tenant_column


class FileEntry(Base):
    """A folder or a file. One without `parent_id` is at the top, and `owner_id` says whose it is.

    `parent_id` is no foreign key: rows are restored and removed in any order. The one writer of the
    tree (`engine/files/tree.py`) keeps it one.
    """

    __tablename__ = "file"
    __table_args__ = (
        Index(
            "uq_file_name",
            "tenant_id",
            "parent_id",
            "name",
            unique=True,
            sqlite_where=text("parent_id IS NOT NULL"),
            postgresql_where=text("parent_id IS NOT NULL"),
        ),
        # By owner: else a name would be refused because of a folder nobody else may know of.
        Index(
            "uq_file_top_name",
            "tenant_id",
            "owner_id",
            "name",
            unique=True,
            sqlite_where=text("parent_id IS NULL"),
            postgresql_where=text("parent_id IS NULL"),
        ),
        Index("ix_file_blob", "tenant_id", "blob_hash"),
    )
    id: Mapped[str] = id_column()
    tenant_id: Mapped[str] = tenant_column()
    parent_id: Mapped[str | None] = mapped_column(Id)
    owner_id: Mapped[str | None] = mapped_column(Id)  # a user's, of what is at the top
    kind: Mapped[str] = mapped_column(String(10))  # folder or file
    name: Mapped[str] = mapped_column(String(255))
    blob_hash: Mapped[str] = mapped_column(String(64), default="")  # SHA-256; none of a folder
    size_bytes: Mapped[int] = mapped_column(default=0)
    mime: Mapped[str] = mapped_column(String(100), default="")
    created_at: Mapped[datetime] = mapped_column(default=now)
    updated_at: Mapped[datetime] = mapped_column(default=now)


class FileGrant(Base):
    """Whoever holds `token` reaches a folder with all that is in it, or a file, up to `level`."""

    __tablename__ = "file_grant"
    file_id: Mapped[str] = mapped_column(
        ForeignKey("file.id", ondelete="CASCADE"), primary_key=True
    )
    token: Mapped[str] = mapped_column(String(100), primary_key=True, index=True)
    tenant_id: Mapped[str] = tenant_column()
    level: Mapped[str] = mapped_column(String(10))  # permissions.GrantLevel


class FileDocument(Base):
    """The document that a file is in a knowledge base: one in each that it is linked to."""

    __tablename__ = "file_document"
    __table_args__ = (UniqueConstraint("document_id"),)
    file_id: Mapped[str] = mapped_column(
        ForeignKey("file.id", ondelete="CASCADE"), primary_key=True
    )
    kb_id: Mapped[str] = mapped_column(
        ForeignKey("knowledge_base.id", ondelete="CASCADE"), primary_key=True
    )
    document_id: Mapped[str] = mapped_column(ForeignKey("document.id", ondelete="CASCADE"))
    tenant_id: Mapped[str] = tenant_column()
    created_at: Mapped[datetime] = mapped_column(default=now)
