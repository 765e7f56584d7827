"""Triggers: what starts a workflow by itself."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0023_triggers"
down_revision = "0022_assistants"
branch_labels = None
depends_on = None

ID = sa.String(32)
TIME = sa.DateTime(timezone=True)


def text(name: str, length: int) -> sa.Column[str]:
    return sa.Column(name, sa.String(length), nullable=False)


def upgrade() -> None:
    tenant = sa.ForeignKey("tenant.id", ondelete="CASCADE", name="fk_trigger_tenant_id_tenant")
    op.create_table(
        "trigger",
        sa.Column("id", ID, nullable=False),
        sa.Column("tenant_id", ID, tenant, nullable=False),
        text("flow_id", 100),
        text("name", 60),
        text("key_id", 32),
        text("schedule", 100),
        text("zone", 60),
        sa.Column(
            "inputs", sa.JSON().with_variant(postgresql.JSONB(), "postgresql"), nullable=False
        ),
        text("catch_up", 10),
        text("overlap", 10),
        text("state", 10),
        sa.Column("rev", sa.Integer(), nullable=False),
        sa.Column("next_at", TIME, nullable=True),
        text("last_run_id", 32),
        text("last_error", 500),
        sa.Column("created_at", TIME, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_trigger"),
    )
    op.create_index("ix_trigger_tenant_id", "trigger", ["tenant_id"])


def downgrade() -> None:
    op.drop_table("trigger")
