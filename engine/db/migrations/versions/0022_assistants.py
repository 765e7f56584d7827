"""Assistants and search apps; conversations and turns name the assistant that answered."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0022_assistants"
down_revision = "0021_gaps"
branch_labels = None
depends_on = None

ID = sa.String(32)
JSON = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")
TIME = sa.DateTime(timezone=True)


def refer(name: str, to: str, table: str, **more: Any) -> sa.Column[str]:  # noqa: ANN401
    key = sa.ForeignKey(f"{to}.id", ondelete="CASCADE", name=f"fk_{table}_{name}_{to}")
    return sa.Column(name, ID, key, nullable=False, **more)


def new(name: str, kind: Any) -> sa.Column[Any]:  # noqa: ANN401 (a type of column)
    return sa.Column(name, kind, nullable=False)


def maybe(name: str, kind: Any) -> sa.Column[Any]:  # noqa: ANN401
    return sa.Column(name, kind, nullable=True)


def upgrade() -> None:
    op.create_table(
        "assistant",
        sa.Column("id", ID, nullable=False),
        refer("tenant_id", "tenant", "assistant"),
        new("kind", sa.String(20)),
        new("slug", sa.String(60)),
        new("name", sa.String(100)),
        new("description", sa.Text()),
        new("every_kb", sa.Boolean()),
        maybe("mode", sa.String(20)),
        maybe("alpha", sa.Double()),
        maybe("top_k", sa.Integer()),
        maybe("confidence_threshold", sa.Double()),
        maybe("recency_days", sa.Double()),
        maybe("rerank", sa.Boolean()),
        new("opener", sa.Text()),
        new("examples", JSON),
        new("prompt", sa.Text()),
        new("model", sa.String(220)),
        maybe("temperature", sa.Double()),
        maybe("max_tokens", sa.Integer()),
        new("empty_answer", sa.Text()),
        new("citations", sa.Boolean()),
        new("memory_turns", sa.Integer()),
        new("language", sa.String(8)),
        sa.Column(
            "owner_id",
            ID,
            sa.ForeignKey("user.id", ondelete="SET NULL", name="fk_assistant_owner_id_user"),
            nullable=True,
        ),
        new("version", sa.Integer()),
        new("created_at", TIME),
        new("updated_at", TIME),
        sa.PrimaryKeyConstraint("id", name="pk_assistant"),
        sa.UniqueConstraint("tenant_id", "kind", "slug", name="uq_assistant_tenant_id_kind_slug"),
    )
    op.create_index("ix_assistant_tenant_id", "assistant", ["tenant_id"])
    for table, key in (
        ("assistant_kb", refer("kb_id", "knowledge_base", "assistant_kb")),
        ("assistant_grant", new("token", sa.String(100))),
    ):
        op.create_table(
            table,
            refer("assistant_id", "assistant", table),
            key,
            refer("tenant_id", "tenant", table),
            sa.PrimaryKeyConstraint("assistant_id", key.name, name=f"pk_{table}"),
        )
        op.create_index(f"ix_{table}_tenant_id", table, ["tenant_id"])
    for table in ("conversation", "turn"):
        op.add_column(
            table, sa.Column("assistant_id", sa.String(32), nullable=False, server_default="")
        )


def downgrade() -> None:
    for table in ("turn", "conversation"):
        op.drop_column(table, "assistant_id")
    for table in ("assistant_grant", "assistant_kb", "assistant"):
        op.drop_table(table)
