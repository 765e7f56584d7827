"""Widgets: assistants on pages of other sites."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0024_widgets"
down_revision = "0023_triggers"
branch_labels = None
depends_on = None

ID = sa.String(32)


def upgrade() -> None:
    op.create_table(
        "widget",
        sa.Column("id", ID, nullable=False),
        sa.Column(
            "tenant_id",
            ID,
            sa.ForeignKey("tenant.id", ondelete="CASCADE", name="fk_widget_tenant_id_tenant"),
            nullable=False,
        ),
        sa.Column(
            "assistant_id",
            ID,
            sa.ForeignKey(
                "assistant.id", ondelete="CASCADE", name="fk_widget_assistant_id_assistant"
            ),
            nullable=False,
        ),
        sa.Column("key_id", ID, nullable=False),
        sa.Column(
            "origins", sa.JSON().with_variant(postgresql.JSONB(), "postgresql"), nullable=False
        ),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_widget"),
    )
    op.create_index("ix_widget_tenant_id", "widget", ["tenant_id"])
    op.create_index("ix_widget_assistant_id", "widget", ["assistant_id"])


def downgrade() -> None:
    op.drop_table("widget")
