"""Saved graphs, and what each run of one did."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Float, ForeignKey, Index, String, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from engine.clock import now
from engine.db.tables.base import Base, Id, id_column, tenant_column


class Flow(Base):
    """A saved DSL graph: a pipeline when it ingests, a workflow when it answers.

    Of a workflow `dsl` is the draft, and `draft_rev` counts its saves.
    """

    __tablename__ = "flow"
    __table_args__ = (UniqueConstraint("tenant_id", "name"),)
    id: Mapped[str] = id_column()
    tenant_id: Mapped[str] = tenant_column()
    name: Mapped[str] = mapped_column(String(100))
    kind: Mapped[str] = mapped_column(String(20), default="pipeline")
    description: Mapped[str] = mapped_column(Text, default="")
    dsl: Mapped[str] = mapped_column(Text)  # kept byte-equal
    draft_rev: Mapped[int] = mapped_column(default=1)
    published_version_id: Mapped[str | None] = mapped_column(Id)
    owner_id: Mapped[str | None] = mapped_column(Id)
    updated_by: Mapped[str] = mapped_column(String(200), default="")  # a name, for people
    created_at: Mapped[datetime] = mapped_column(default=now)
    updated_at: Mapped[datetime] = mapped_column(default=now)


class FlowVersion(Base):
    """An immutable text of a flow. A run names the one it runs."""

    __tablename__ = "flow_version"
    __table_args__ = (UniqueConstraint("flow_id", "number"),)
    id: Mapped[str] = id_column()
    tenant_id: Mapped[str] = tenant_column()
    flow_id: Mapped[str] = mapped_column(ForeignKey("flow.id", ondelete="CASCADE"), index=True)
    number: Mapped[int]  # from 1
    dsl: Mapped[str] = mapped_column(Text)
    hash: Mapped[str] = mapped_column(String(64))  # SHA-256 of what it means, without `ui`
    note: Mapped[str] = mapped_column(Text, default="")
    created_by: Mapped[str] = mapped_column(String(200), default="")
    created_at: Mapped[datetime] = mapped_column(default=now)


class Run(Base):
    """One execution of a flow. Of a pipeline for one job, of a workflow for one principal.

    `who` and `audience` are fixed at the start; what they may read is computed when it is read.
    """

    __tablename__ = "run"
    __table_args__ = (
        Index("ix_run_history", "tenant_id", "kind", "flow_id", "id"),
        Index("uq_run_key", "tenant_id", "flow_id", "idempotency_key", unique=True),
        Index("ix_run_ended", "tenant_id", "ended_at"),
    )
    id: Mapped[str] = id_column()
    tenant_id: Mapped[str] = tenant_column()
    job_id: Mapped[str | None] = mapped_column(Id, index=True)
    flow_id: Mapped[str] = mapped_column(String(100))
    flow_version_id: Mapped[str | None] = mapped_column(Id)
    kind: Mapped[str] = mapped_column(String(20), default="pipeline")
    trigger: Mapped[str] = mapped_column(String(20), default="")  # cli, rest, mcp, chat, flow, …
    user_id: Mapped[str | None] = mapped_column(Id, index=True)
    who: Mapped[dict[str, Any]] = mapped_column(default=dict)  # ids of the principal, never tokens
    audience: Mapped[dict[str, Any]] = mapped_column(default=dict)
    parent_run_id: Mapped[str | None] = mapped_column(Id)
    parent_path: Mapped[str] = mapped_column(String(300), default="")
    input: Mapped[dict[str, Any]] = mapped_column(default=dict)
    output: Mapped[dict[str, Any]] = mapped_column(default=dict)
    budget: Mapped[dict[str, Any]] = mapped_column(default=dict)
    usage: Mapped[dict[str, Any]] = mapped_column(default=dict)
    idempotency_key: Mapped[str | None] = mapped_column(String(200))
    document_id: Mapped[str | None] = mapped_column(Id, index=True)
    state: Mapped[str] = mapped_column(String(20), default="running")  # paused, done, failed, …
    progress: Mapped[float] = mapped_column(default=0.0)
    message: Mapped[str] = mapped_column(Text, default="")
    error: Mapped[str] = mapped_column(Text, default="")
    dsl: Mapped[str] = mapped_column(Text, default="")
    last_seq: Mapped[int] = mapped_column(default=0)  # of its events
    simulates: Mapped[bool] = mapped_column(default=False)  # a test: changes nothing outside
    started_at: Mapped[datetime] = mapped_column(default=now)
    ended_at: Mapped[datetime | None]


class RunNode(Base):
    """A node's checkpoint: a run resumes after the nodes that are done.

    `node_id` of a node in a flow inside another is its path: `loop[2]/draft`.
    """

    __tablename__ = "run_node"
    run_id: Mapped[str] = mapped_column(ForeignKey("run.id", ondelete="CASCADE"), primary_key=True)
    node_id: Mapped[str] = mapped_column(String(300), primary_key=True)
    tenant_id: Mapped[str] = tenant_column()
    state: Mapped[str] = mapped_column(String(20))
    output: Mapped[dict[str, Any]] = mapped_column(default=dict)
    elapsed_s: Mapped[float] = mapped_column(Float, default=0.0)
    error: Mapped[str] = mapped_column(Text, default="")
    started_at: Mapped[datetime] = mapped_column(default=now)


class RunEvent(Base):
    """One thing that happened in a run, numbered from 1; also a line of its log."""

    __tablename__ = "run_event"
    __table_args__ = (Index("uq_run_event_seq", "run_id", "seq", unique=True),)
    id: Mapped[str] = id_column()
    tenant_id: Mapped[str] = tenant_column()
    run_id: Mapped[str] = mapped_column(ForeignKey("run.id", ondelete="CASCADE"))
    seq: Mapped[int]
    kind: Mapped[str] = mapped_column(String(30), default="node_progress")
    data: Mapped[dict[str, Any]] = mapped_column(default=dict)
    component: Mapped[str] = mapped_column(String(300))
    progress: Mapped[float]
    message: Mapped[str] = mapped_column(Text)
    at: Mapped[datetime] = mapped_column(default=now)


class RunPause(Base):
    """A question to a person that a run waits for; it is answered once."""

    __tablename__ = "run_pause"
    __table_args__ = (
        Index("ix_run_pause_run", "run_id", "state"),
        Index("ix_run_pause_due", "state", "deadline_at"),
    )
    id: Mapped[str] = id_column()
    tenant_id: Mapped[str] = tenant_column()
    run_id: Mapped[str] = mapped_column(ForeignKey("run.id", ondelete="CASCADE"))
    path: Mapped[str] = mapped_column(String(300))
    message: Mapped[str] = mapped_column(Text, default="")
    form: Mapped[dict[str, Any]] = mapped_column(default=dict)
    state: Mapped[str] = mapped_column(
        String(20), default="open"
    )  # answered, used, expired, cancelled
    reply: Mapped[dict[str, Any]] = mapped_column(default=dict)
    answered_by: Mapped[str] = mapped_column(String(200), default="")  # a name, for people
    answered_by_id: Mapped[str | None] = mapped_column(Id)
    deadline_at: Mapped[datetime | None]
    created_at: Mapped[datetime] = mapped_column(default=now)
    answered_at: Mapped[datetime | None]


class WorkflowSecret(Base):
    """A value that workflows may use by its name and nobody reads again."""

    __tablename__ = "workflow_secret"
    __table_args__ = (UniqueConstraint("tenant_id", "name"),)
    id: Mapped[str] = id_column()
    tenant_id: Mapped[str] = tenant_column()
    name: Mapped[str] = mapped_column(String(60))
    secret: Mapped[str] = mapped_column(Text)  # encrypted, bound to its tenant and this row
    hosts: Mapped[list[str]] = mapped_column(default=list)  # it may be sent to; names or patterns
    updated_by: Mapped[str] = mapped_column(String(200), default="")  # a name, for people
    updated_at: Mapped[datetime] = mapped_column(default=now)


class RunEffect(Base):
    """What a run changed outside: noted before it is done, so that it is done once."""

    __tablename__ = "run_effect"
    __table_args__ = (UniqueConstraint("run_id", "path", "call_id"),)
    id: Mapped[str] = id_column()
    tenant_id: Mapped[str] = tenant_column()
    run_id: Mapped[str] = mapped_column(ForeignKey("run.id", ondelete="CASCADE"))
    path: Mapped[str] = mapped_column(String(300))
    call_id: Mapped[str] = mapped_column(String(100), default="")
    kind: Mapped[str] = mapped_column(String(40))
    target: Mapped[str] = mapped_column(String(300), default="")  # a host or an address, no secret
    # intent, then done, failed or unknown; assumed or skipped by a person; simulated
    state: Mapped[str] = mapped_column(String(20), default="intent")
    result: Mapped[dict[str, Any]] = mapped_column(default=dict)
    created_at: Mapped[datetime] = mapped_column(default=now)
    ended_at: Mapped[datetime | None]


class Trigger(Base):
    """What starts a workflow by itself: a schedule, and the service key that its runs work as."""

    __tablename__ = "trigger"
    id: Mapped[str] = id_column()
    tenant_id: Mapped[str] = tenant_column()
    flow_id: Mapped[str] = mapped_column(String(100))  # a flow's, or "template:" and a name
    name: Mapped[str] = mapped_column(String(60))
    key_id: Mapped[str] = mapped_column(String(32))  # of an API token; it may be gone
    schedule: Mapped[str] = mapped_column(String(100))  # five fields of cron
    zone: Mapped[str] = mapped_column(String(60))  # IANA
    inputs: Mapped[dict[str, Any]] = mapped_column(default=dict)
    catch_up: Mapped[str] = mapped_column(String(10), default="skip")  # once
    overlap: Mapped[str] = mapped_column(String(10), default="skip")  # queue
    state: Mapped[str] = mapped_column(String(10), default="active")  # paused, stopped
    rev: Mapped[int] = mapped_column(default=1)  # jobs of an older one do nothing
    next_at: Mapped[datetime | None]
    last_run_id: Mapped[str] = mapped_column(String(32), default="")
    last_error: Mapped[str] = mapped_column(String(500), default="")
    created_at: Mapped[datetime] = mapped_column(default=now)
