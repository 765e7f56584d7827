"""Secrets of workflows, and runs that change nothing outside."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0019_workflow_secrets"
down_revision = "0018_statistics"
branch_labels = None
depends_on = None

JSON = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")
TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    """To this revision."""
    op.create_table(
        "workflow_secret",
        sa.Column("id", sa.String(32), nullable=False),
        sa.Column("tenant_id", sa.String(32), nullable=False),
        sa.Column("name", sa.String(60), nullable=False),
        sa.Column("secret", sa.Text, nullable=False),
        sa.Column("hosts", JSON, nullable=False),
        sa.Column("updated_by", sa.String(200), nullable=False),
        sa.Column("updated_at", TIME, nullable=False),
        sa.ForeignKeyConstraint(
            ["tenant_id"],
            ["tenant.id"],
            ondelete="CASCADE",
            name="fk_workflow_secret_tenant_id_tenant",
        ),
        sa.PrimaryKeyConstraint("id", name="pk_workflow_secret"),
        sa.UniqueConstraint("tenant_id", "name", name="uq_workflow_secret_tenant_id_name"),
    )
    op.create_index("ix_workflow_secret_tenant_id", "workflow_secret", ["tenant_id"])
    op.add_column(
        "run", sa.Column("simulates", sa.Boolean, nullable=False, server_default=sa.false())
    )


def downgrade() -> None:
    """To the revision before."""
    op.drop_column("run", "simulates")
    op.drop_table("workflow_secret")
