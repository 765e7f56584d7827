"""Calls of MCP tools."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0002_mcp"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """To this revision."""
    json = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")
    op.create_table(
        "tool_call",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("tenant_id", sa.String(length=32), nullable=False),
        sa.Column("user_id", sa.String(length=32), nullable=True),
        sa.Column("api_token_id", sa.String(length=32), nullable=True),
        sa.Column("door", sa.String(length=20), nullable=False),
        sa.Column("tool", sa.String(length=60), nullable=False),
        sa.Column("kb_ids", json, nullable=False),
        sa.Column("results", sa.Integer(), nullable=False),
        sa.Column("code", sa.String(length=40), nullable=False),
        sa.Column("took_ms", sa.Double(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["tenant_id"],
            ["tenant.id"],
            name=op.f("fk_tool_call_tenant_id_tenant"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_tool_call")),
    )
    with op.batch_alter_table("tool_call", schema=None) as batch_op:
        batch_op.create_index("ix_tool_call_tenant_at", ["tenant_id", "at"], unique=False)


def downgrade() -> None:
    """Back to the one before."""
    op.drop_table("tool_call")
