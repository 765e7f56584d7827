"""Where documents come from: sources, their scopes and items, and who may read what is in them."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import ForeignKey, Index, String, Text, UniqueConstraint, false
from sqlalchemy.orm import Mapped, mapped_column

from engine.clock import now
from engine.db.tables.base import Base, Id, id_column, tenant_column


class Source(Base):
    """Where documents of a KB come from. Each KB has one of kind `upload` from its creation.

    A channel whose history is kept has one too; it goes into one knowledge base. Those that a
    connector reads have rows in the tables below.
    """

    __tablename__ = "source"
    id: Mapped[str] = id_column()
    tenant_id: Mapped[str] = tenant_column()
    kb_id: Mapped[str] = mapped_column(
        ForeignKey("knowledge_base.id", ondelete="CASCADE"), index=True
    )
    channel_id: Mapped[str | None] = mapped_column(
        ForeignKey("channel.id", ondelete="CASCADE"), unique=True
    )
    kind: Mapped[str] = mapped_column(String(40))
    name: Mapped[str] = mapped_column(String(200))
    settings: Mapped[dict[str, Any]] = mapped_column(default=dict)
    cursor: Mapped[dict[str, Any]] = mapped_column(default=dict)
    state: Mapped[str] = mapped_column(String(20), default="idle")
    error: Mapped[str] = mapped_column(Text, default="")
    derive_due_at: Mapped[datetime | None]  # a job that derives its documents is queued for then
    created_at: Mapped[datetime] = mapped_column(default=now)
    # Of those that a connector reads:
    every_s: Mapped[int] = mapped_column(default=0, server_default="0")  # between syncs; 0: by hand
    plan: Mapped[int] = mapped_column(default=0, server_default="0")  # the sync that is to come
    next_sync_at: Mapped[datetime | None]
    run_id: Mapped[str | None] = mapped_column(Id)  # of the sync that is under way
    credential_id: Mapped[str | None] = mapped_column(Id)


class SourceScope(Base):
    """A part of a source that is read with a cursor of its own: a drive, a space, a repository."""

    __tablename__ = "source_scope"
    __table_args__ = (UniqueConstraint("source_id", "external_id"),)
    id: Mapped[str] = id_column()
    tenant_id: Mapped[str] = tenant_column()
    source_id: Mapped[str] = mapped_column(ForeignKey("source.id", ondelete="CASCADE"))
    external_id: Mapped[str] = mapped_column(String(500))
    kind: Mapped[str] = mapped_column(String(40), default="")
    title: Mapped[str] = mapped_column(String(500), default="")
    run_id: Mapped[str | None] = mapped_column(Id)
    phase: Mapped[str] = mapped_column(String(20), default="done")
    steps: Mapped[int] = mapped_column(default=0)  # a step commits only on the one it began at
    cursor: Mapped[dict[str, Any]] = mapped_column(default=dict)  # of the phase
    feed: Mapped[dict[str, Any]] = mapped_column(default=dict)  # where reading changes goes on
    generation: Mapped[int] = mapped_column(default=0)  # of whole listings
    listed_at: Mapped[datetime | None]  # when it was last listed whole
    access_at: Mapped[datetime | None]  # when its permissions were last read whole
    synced_at: Mapped[datetime | None]  # when a sync of it last ended well
    missing_since: Mapped[datetime | None]  # not in the source's list any more
    state: Mapped[str] = mapped_column(String(20), default="new")
    error: Mapped[str] = mapped_column(Text, default="")
    withheld: Mapped[int] = mapped_column(default=0)  # deletions that wait for a person's yes
    confirmed: Mapped[bool] = mapped_column(default=False, server_default=false())


class SourceItem(Base):
    """One thing a source has: what is known of it, and what became of it here."""

    __tablename__ = "source_item"
    __table_args__ = (
        UniqueConstraint("source_id", "external_id"),
        Index("ix_source_item_scope_generation", "scope_id", "generation"),
        Index("ix_source_item_source_state", "source_id", "state"),
        Index("ix_source_item_container", "source_id", "container"),
    )
    id: Mapped[str] = id_column()
    tenant_id: Mapped[str] = tenant_column()
    source_id: Mapped[str] = mapped_column(ForeignKey("source.id", ondelete="CASCADE"))
    scope_id: Mapped[str] = mapped_column(ForeignKey("source_scope.id", ondelete="CASCADE"))
    external_id: Mapped[str] = mapped_column(String(2000))
    container: Mapped[str] = mapped_column(String(500), default="")
    version: Mapped[str] = mapped_column(String(500), default="")
    kept_version: Mapped[str | None] = mapped_column(String(500))  # whose content is here
    title: Mapped[str] = mapped_column(String(500), default="")
    url: Mapped[str] = mapped_column(String(2000), default="")
    filename: Mapped[str] = mapped_column(String(500), default="")
    size_bytes: Mapped[int] = mapped_column(default=0)
    source_updated_at: Mapped[datetime | None]
    details: Mapped[dict[str, Any]] = mapped_column(default=dict)
    generation: Mapped[int] = mapped_column(default=0)  # of the listing that last had it
    missing_since: Mapped[datetime | None]
    state: Mapped[str] = mapped_column(String(20), default="due")
    reason: Mapped[str] = mapped_column(Text, default="")
    attempts: Mapped[int] = mapped_column(default=0)
    retry_at: Mapped[datetime | None]
    document_id: Mapped[str | None] = mapped_column(Id, index=True)


class SourceContainer(Base):
    """What holds items and says who may read them: a folder, a space, a project, a page."""

    __tablename__ = "source_container"
    __table_args__ = (
        UniqueConstraint("source_id", "external_id"),
        Index("ix_source_container_parent", "source_id", "parent"),
    )
    id: Mapped[str] = id_column()
    tenant_id: Mapped[str] = tenant_column()
    source_id: Mapped[str] = mapped_column(ForeignKey("source.id", ondelete="CASCADE"))
    scope_id: Mapped[str | None] = mapped_column(
        ForeignKey("source_scope.id", ondelete="CASCADE"), index=True
    )
    external_id: Mapped[str] = mapped_column(String(500))
    parent: Mapped[str] = mapped_column(String(500), default="")
    kind: Mapped[str] = mapped_column(String(40), default="")
    title: Mapped[str] = mapped_column(String(500), default="")
    is_layer: Mapped[bool] = mapped_column(default=False)  # only restricts; its parent lets in
    restrictions: Mapped[list[str]] = mapped_column(default=list)  # nodes, all of which must pass
    generation: Mapped[int] = mapped_column(default=0)  # of the reading that last had it


class AccessNode(Base):
    """A person, group, container or restriction of a source; `g:<id>` is the token of its members.

    People here are accounts of the source. Who of ours they are is found when somebody asks.
    """

    __tablename__ = "access_node"
    __table_args__ = (
        UniqueConstraint("source_id", "kind", "external_id"),
        Index("ix_access_node_tenant_kind", "tenant_id", "kind", "external_id"),
        Index("ix_access_node_tenant_email", "tenant_id", "email"),
    )
    id: Mapped[str] = id_column()
    tenant_id: Mapped[str] = tenant_column()
    source_id: Mapped[str] = mapped_column(ForeignKey("source.id", ondelete="CASCADE"))
    kind: Mapped[str] = mapped_column(String(20))  # user, group, domain, container, restriction
    external_id: Mapped[str] = mapped_column(String(1000))
    email: Mapped[str] = mapped_column(String(320), default="")  # vouched for by the source
    namespace: Mapped[str] = mapped_column(String(100), default="")  # of the accounts
    is_open: Mapped[bool] = mapped_column(default=False)  # every member of the tenant is in it
    synced_at: Mapped[datetime | None]  # None: who is in it is unknown, so nobody


class AccessEdge(Base):
    """Who is in a node: another node, and with it whoever is in that."""

    __tablename__ = "access_edge"
    node_id: Mapped[str] = mapped_column(
        ForeignKey("access_node.id", ondelete="CASCADE"), primary_key=True
    )
    member_id: Mapped[str] = mapped_column(
        ForeignKey("access_node.id", ondelete="CASCADE"), primary_key=True, index=True
    )
    tenant_id: Mapped[str] = tenant_column()


class SyncRun(Base):
    """One sync of a source, and how it ended."""

    __tablename__ = "sync_run"
    __table_args__ = (Index("ix_sync_run_source_started", "source_id", "started_at"),)
    id: Mapped[str] = id_column()
    tenant_id: Mapped[str] = tenant_column()
    source_id: Mapped[str] = mapped_column(ForeignKey("source.id", ondelete="CASCADE"))
    cause: Mapped[str] = mapped_column(String(40))  # schedule, or who asked for it
    state: Mapped[str] = mapped_column(String(20), default="running")
    started_at: Mapped[datetime] = mapped_column(default=now)
    ended_at: Mapped[datetime | None]
    counts: Mapped[dict[str, Any]] = mapped_column(default=dict)
    error: Mapped[str] = mapped_column(Text, default="")


class Credential(Base):
    """What a source signs in with, encrypted; bound to its tenant and to this row."""

    __tablename__ = "credential"
    id: Mapped[str] = id_column()
    tenant_id: Mapped[str] = tenant_column()
    name: Mapped[str] = mapped_column(String(200))
    kind: Mapped[str] = mapped_column(String(40))  # of the sources that may use it
    method: Mapped[str] = mapped_column(String(40))  # how it signs in
    secret: Mapped[str] = mapped_column(Text)
    shown: Mapped[dict[str, Any]] = mapped_column(default=dict)  # account, scopes: no secret
    version: Mapped[int] = mapped_column(default=1)
    lease_owner: Mapped[str] = mapped_column(String(64), default="")
    lease_until: Mapped[datetime | None]
    expires_at: Mapped[datetime | None]  # of the access token
    state: Mapped[str] = mapped_column(String(20), default="ok")
    error: Mapped[str] = mapped_column(Text, default="")
    created_by: Mapped[str | None] = mapped_column(Id)
    created_at: Mapped[datetime] = mapped_column(default=now)
    used_at: Mapped[datetime | None]
