"""Knowledge bases and their documents, down to the chunks, and the outputs ingestion keeps."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import (
    ForeignKey,
    Index,
    LargeBinary,
    String,
    Text,
    UniqueConstraint,
    false,
    text,
)
from sqlalchemy.orm import Mapped, mapped_column

from engine.clock import now
from engine.db.tables.base import Base, Id, id_column, tenant_column


class KnowledgeBase(Base):
    __tablename__ = "knowledge_base"
    __table_args__ = (
        Index(
            "uq_knowledge_base_live_name",
            "tenant_id",
            "name",
            unique=True,
            sqlite_where=text("deleted_at IS NULL"),
            postgresql_where=text("deleted_at IS NULL"),
        ),
    )
    id: Mapped[str] = id_column()
    tenant_id: Mapped[str] = tenant_column()
    name: Mapped[str] = mapped_column(String(100))
    description: Mapped[str] = mapped_column(Text, default="")
    space: Mapped[str] = mapped_column(String(40))  # index.port.Space.name
    dimension: Mapped[int]
    next_space: Mapped[str | None] = mapped_column(String(40))  # being filled; then the switch
    next_dimension: Mapped[int | None]
    search: Mapped[dict[str, Any]] = mapped_column(default=dict)  # weights, top_k, threshold
    chunking: Mapped[dict[str, Any]] = mapped_column(default=dict)
    # Endings of the files it takes; empty: as the installation says.
    formats: Mapped[list[str]] = mapped_column(default=list, server_default="[]")
    pipeline: Mapped[str] = mapped_column(String(100), default="general")  # flow name
    # Documents with a live revision, and the chunks of those; what is hidden aside.
    document_count: Mapped[int] = mapped_column(default=0)
    chunk_count: Mapped[int] = mapped_column(default=0)
    token_count: Mapped[int] = mapped_column(default=0)
    created_at: Mapped[datetime] = mapped_column(default=now)
    updated_at: Mapped[datetime] = mapped_column(default=now)
    deleted_at: Mapped[datetime | None]
    owner_id: Mapped[str | None] = mapped_column(Id)  # the user who manages it besides admins


class Document(Base):
    """One file, page or chat thread; unique by KB, source and external id."""

    __tablename__ = "document"
    __table_args__ = (
        UniqueConstraint("kb_id", "source_id", "external_id"),
        Index("ix_document_kb_state", "kb_id", "state"),
        Index("ix_document_acl_kb", "acl_id", "kb_id"),  # which ACLs occur in a KB: one probe each
        Index(
            "ix_document_acl_all",
            "kb_id",
            sqlite_where=text("acl_all <> '[]'"),
            postgresql_where=text("acl_all <> '[]'"),
        ),
    )
    id: Mapped[str] = id_column()
    tenant_id: Mapped[str] = tenant_column()
    kb_id: Mapped[str] = mapped_column(ForeignKey("knowledge_base.id", ondelete="CASCADE"))
    source_id: Mapped[str] = mapped_column(ForeignKey("source.id", ondelete="CASCADE"), index=True)
    external_id: Mapped[str] = mapped_column(String(2000))
    title: Mapped[str] = mapped_column(String(500))
    url: Mapped[str] = mapped_column(String(2000), default="")
    acl_id: Mapped[str] = mapped_column(ForeignKey("acl.id"))
    acl_all: Mapped[list[str]] = mapped_column(default=list)
    state: Mapped[str] = mapped_column(String(20), default="pending")  # of the newest revision
    vectors: Mapped[str] = mapped_column(String(20), default="none")  # of the live revision
    progress: Mapped[float] = mapped_column(default=0.0)  # 0 to 1; -1 failed
    message: Mapped[str] = mapped_column(Text, default="")
    error: Mapped[str] = mapped_column(Text, default="")  # one sentence: what to do
    error_code: Mapped[str] = mapped_column(String(40), default="")
    chunk_count: Mapped[int] = mapped_column(default=0)  # of the live revision, hidden ones aside
    token_count: Mapped[int] = mapped_column(default=0)
    size_bytes: Mapped[int] = mapped_column(default=0)
    language: Mapped[str] = mapped_column(String(10), default="")
    hidden: Mapped[bool] = mapped_column(default=False)
    details: Mapped[dict[str, Any]] = mapped_column(default=dict)  # author, pages, own metadata
    derived_from: Mapped[list[str]] = mapped_column(default=list)  # document ids
    tags: Mapped[list[str]] = mapped_column(default=list, server_default="[]")
    # Metadata of the team's own, as given and as filters compare it (engine/custom_fields.py).
    fields: Mapped[dict[str, Any]] = mapped_column(default=dict, server_default="{}")
    lookup: Mapped[dict[str, Any]] = mapped_column(default=dict, server_default="{}")
    features: Mapped[dict[str, Any]] = mapped_column(default=dict, server_default="{}")  # ranking
    source_updated_at: Mapped[datetime | None]  # only a date the source gives
    created_at: Mapped[datetime] = mapped_column(default=now)
    updated_at: Mapped[datetime] = mapped_column(default=now)
    deleted_at: Mapped[datetime | None]


class Revision(Base):
    """One content of a document."""

    __tablename__ = "revision"
    __table_args__ = (UniqueConstraint("document_id", "number"),)
    id: Mapped[str] = id_column()
    tenant_id: Mapped[str] = tenant_column()
    document_id: Mapped[str] = mapped_column(ForeignKey("document.id", ondelete="CASCADE"))
    number: Mapped[int]
    blob_hash: Mapped[str] = mapped_column(String(64))  # SHA-256 of the bytes that came in
    filename: Mapped[str] = mapped_column(String(500), default="")
    mime: Mapped[str] = mapped_column(String(100), default="")
    size_bytes: Mapped[int] = mapped_column(default=0)
    language: Mapped[str] = mapped_column(String(10), default="")
    chunk_count: Mapped[int] = mapped_column(default=0)
    hidden_chunks: Mapped[int] = mapped_column(default=0, server_default="0")  # of chunk_count
    token_count: Mapped[int] = mapped_column(default=0)
    space: Mapped[str] = mapped_column(String(40), default="")
    vectors: Mapped[str] = mapped_column(String(20), default="none")
    created_at: Mapped[datetime] = mapped_column(default=now)


class RevisionText(Base):
    """The canonical text of a revision, which chunks and citations hold offsets in."""

    __tablename__ = "revision_text"
    revision_id: Mapped[str] = mapped_column(
        ForeignKey("revision.id", ondelete="CASCADE"), primary_key=True
    )
    tenant_id: Mapped[str] = tenant_column()
    body: Mapped[bytes] = mapped_column(LargeBinary)  # UTF-8, zlib


class Live(Base):
    """Which revision of a document answers on a branch: replacing is changing this one row."""

    __tablename__ = "live"
    branch: Mapped[str] = mapped_column(String(100), primary_key=True)
    document_id: Mapped[str] = mapped_column(
        ForeignKey("document.id", ondelete="CASCADE"), primary_key=True, index=True
    )
    revision_id: Mapped[str] = mapped_column(ForeignKey("revision.id"), index=True)
    kb_id: Mapped[str] = mapped_column(
        ForeignKey("knowledge_base.id", ondelete="CASCADE"), index=True
    )
    tenant_id: Mapped[str] = tenant_column()


class Chunk(Base):
    """A span of a revision: `text` equals the revision's text[start:end]; `context` is not cited."""

    __tablename__ = "chunk"
    revision_id: Mapped[str] = mapped_column(
        ForeignKey("revision.id", ondelete="CASCADE"), primary_key=True
    )
    ordinal: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    tenant_id: Mapped[str] = mapped_column(Id)
    part: Mapped[int] = mapped_column(default=0)
    start: Mapped[int]
    end: Mapped[int]
    page: Mapped[int | None]
    text: Mapped[str] = mapped_column(Text)
    context: Mapped[str] = mapped_column(Text, default="")
    tokens: Mapped[int] = mapped_column(default=0)  # text and context, as the embedder counts
    language: Mapped[str] = mapped_column(String(10), default="")
    meta: Mapped[dict[str, Any]] = mapped_column(default=dict)  # heading path, message ids, kind
    hidden: Mapped[bool] = mapped_column(default=False, server_default=false())  # never shown


class ComponentOutput(Base):
    """What a component made of a content, kept so that a changed pipeline repeats only what changed.

    `source_hash` is the blob's whose content it was made of: it goes when the content goes.
    """

    __tablename__ = "component_output"
    tenant_id: Mapped[str] = mapped_column(
        ForeignKey("tenant.id", ondelete="CASCADE"), primary_key=True
    )
    source_hash: Mapped[str] = mapped_column(String(64), primary_key=True)
    key: Mapped[bytes] = mapped_column(LargeBinary(16), primary_key=True)  # BLAKE2b-128
    component: Mapped[str] = mapped_column(String(64))
    body: Mapped[bytes] = mapped_column(LargeBinary)  # zlib
