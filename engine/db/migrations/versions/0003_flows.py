"""What components made of a content."""

import sqlalchemy as sa
from alembic import op

revision = "0003_flows"
down_revision = "0002_mcp"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """To this revision."""
    op.create_table(
        "component_output",
        sa.Column("tenant_id", sa.String(length=32), nullable=False),
        sa.Column("source_hash", sa.String(length=64), nullable=False),
        sa.Column("key", sa.LargeBinary(length=16), nullable=False),
        sa.Column("component", sa.String(length=64), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(
            ["tenant_id"],
            ["tenant.id"],
            name=op.f("fk_component_output_tenant_id_tenant"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint(
            "tenant_id", "source_hash", "key", name=op.f("pk_component_output")
        ),
    )


def downgrade() -> None:
    """From this revision."""
    op.drop_table("component_output")
