"""Workflows: versions of flows, what a run is started with, pauses, effects, numbered events."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0009_workflows"
down_revision = "0008_suspended_tenants"
branch_labels = None
depends_on = None

ID = sa.String(32)
JSON = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")
TIME = sa.DateTime(timezone=True)


def text(name: str, length: int | None = None) -> sa.Column[str]:
    kind = sa.Text() if length is None else sa.String(length)
    return sa.Column(name, kind, nullable=False, server_default="")


def an_object(name: str) -> sa.Column[Any]:
    return sa.Column(name, JSON, nullable=False, server_default="{}")


def new_text(name: str, length: int | None = None) -> sa.Column[str]:
    return sa.Column(name, sa.Text() if length is None else sa.String(length), nullable=False)


def refer(name: str, to: str, table: str) -> sa.Column[str]:
    key = sa.ForeignKey(f"{to}.id", ondelete="CASCADE", name=f"fk_{table}_{name}_{to}")
    return sa.Column(name, ID, key, nullable=False)


FLOW: tuple[sa.Column[Any], ...] = (
    text("description"),
    sa.Column("draft_rev", sa.Integer, nullable=False, server_default="1"),
    sa.Column("published_version_id", ID, nullable=True),
    sa.Column("owner_id", ID, nullable=True),
    text("updated_by", 200),
)
RUN: tuple[sa.Column[Any], ...] = (
    sa.Column("flow_version_id", ID, nullable=True),
    sa.Column("kind", sa.String(20), nullable=False, server_default="pipeline"),
    text("trigger", 20),
    sa.Column("user_id", ID, nullable=True),
    an_object("who"),
    an_object("audience"),
    sa.Column("parent_run_id", ID, nullable=True),
    text("parent_path", 300),
    an_object("input"),
    an_object("output"),
    an_object("budget"),
    an_object("usage"),
    sa.Column("idempotency_key", sa.String(200), nullable=True),
    sa.Column("last_seq", sa.Integer, nullable=False, server_default="0"),
)


def upgrade() -> None:
    """To this revision."""
    for column in FLOW:
        op.add_column("flow", column)
    for column in RUN:
        op.add_column("run", column)
    op.create_index("ix_run_user_id", "run", ["user_id"])
    op.create_index("ix_run_history", "run", ["tenant_id", "kind", "flow_id", "id"])
    op.create_index("uq_run_key", "run", ["tenant_id", "flow_id", "idempotency_key"], unique=True)
    with op.batch_alter_table("run_node") as table:
        table.alter_column("node_id", type_=sa.String(300), existing_nullable=False)
    _number_events()
    _create_tables()


def _number_events() -> None:
    """The lines that are there get numbers in the order they came."""
    op.add_column("run_event", sa.Column("seq", sa.Integer, nullable=False, server_default="0"))
    op.add_column(
        "run_event",
        sa.Column("kind", sa.String(30), nullable=False, server_default="node_progress"),
    )
    op.add_column("run_event", an_object("data"))
    op.execute(
        "UPDATE run_event SET seq = (SELECT count(*) FROM run_event AS e"
        " WHERE e.run_id = run_event.run_id AND e.id <= run_event.id)"
    )
    op.execute(
        "UPDATE run SET last_seq = (SELECT count(*) FROM run_event AS e WHERE e.run_id = run.id)"
    )
    op.drop_index("ix_run_event_run", "run_event")
    with op.batch_alter_table("run_event") as table:
        table.alter_column("component", type_=sa.String(300), existing_nullable=False)
        table.alter_column("seq", server_default=None, existing_type=sa.Integer())
    op.create_index("uq_run_event_seq", "run_event", ["run_id", "seq"], unique=True)


def _create_tables() -> None:
    op.create_table(
        "flow_version",
        sa.Column("id", ID, nullable=False),
        refer("tenant_id", "tenant", "flow_version"),
        refer("flow_id", "flow", "flow_version"),
        sa.Column("number", sa.Integer, nullable=False),
        new_text("dsl"),
        new_text("hash", 64),
        new_text("note"),
        new_text("created_by", 200),
        sa.Column("created_at", TIME, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_flow_version"),
        sa.UniqueConstraint("flow_id", "number", name="uq_flow_version_flow_id_number"),
    )
    op.create_index("ix_flow_version_tenant_id", "flow_version", ["tenant_id"])
    op.create_index("ix_flow_version_flow_id", "flow_version", ["flow_id"])
    op.create_table(
        "run_pause",
        sa.Column("id", ID, nullable=False),
        refer("tenant_id", "tenant", "run_pause"),
        refer("run_id", "run", "run_pause"),
        new_text("path", 300),
        new_text("message"),
        sa.Column("form", JSON, nullable=False),
        new_text("state", 20),
        sa.Column("reply", JSON, nullable=False),
        new_text("answered_by", 200),
        sa.Column("answered_by_id", ID, nullable=True),
        sa.Column("deadline_at", TIME, nullable=True),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("answered_at", TIME, nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_run_pause"),
    )
    op.create_index("ix_run_pause_tenant_id", "run_pause", ["tenant_id"])
    op.create_index("ix_run_pause_run", "run_pause", ["run_id", "state"])
    op.create_index("ix_run_pause_due", "run_pause", ["state", "deadline_at"])
    op.create_table(
        "run_effect",
        sa.Column("id", ID, nullable=False),
        refer("tenant_id", "tenant", "run_effect"),
        refer("run_id", "run", "run_effect"),
        new_text("path", 300),
        new_text("call_id", 100),
        new_text("kind", 40),
        new_text("target", 300),
        new_text("state", 20),
        sa.Column("result", JSON, nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("ended_at", TIME, nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_run_effect"),
        sa.UniqueConstraint("run_id", "path", "call_id", name="uq_run_effect_run_id_path_call_id"),
    )
    op.create_index("ix_run_effect_tenant_id", "run_effect", ["tenant_id"])


def downgrade() -> None:
    """To the revision before."""
    for table in ("run_effect", "run_pause", "flow_version"):
        op.drop_table(table)
    op.drop_index("uq_run_event_seq", "run_event")
    op.create_index("ix_run_event_run", "run_event", ["run_id", "id"])
    for name in ("data", "kind", "seq"):
        op.drop_column("run_event", name)
    for name in ("uq_run_key", "ix_run_history", "ix_run_user_id"):
        op.drop_index(name, "run")
    for column in reversed(RUN):
        op.drop_column("run", column.name)
    for column in reversed(FLOW):
        op.drop_column("flow", column.name)
