"""Where spaces live in Vespa, and the space a knowledge base is being moved to."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0005_reembed"
down_revision = "0003_flows"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """To this revision."""
    op.create_table(
        "index_placement",
        sa.Column("tenant_id", sa.String(length=32), nullable=False),
        sa.Column("space", sa.String(length=40), nullable=False),
        sa.Column("dimension", sa.Integer(), nullable=False),
        sa.Column("cells", sa.String(length=10), nullable=False),
        sa.Column("kind", sa.String(length=10), nullable=False),
        sa.Column("state", sa.String(length=10), nullable=False),
        sa.Column(
            "languages", sa.JSON().with_variant(postgresql.JSONB(), "postgresql"), nullable=False
        ),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["tenant_id"], ["tenant.id"], name=op.f("fk_index_placement_tenant_id_tenant")
        ),
        sa.PrimaryKeyConstraint("tenant_id", "space", name=op.f("pk_index_placement")),
    )
    with op.batch_alter_table("knowledge_base", schema=None) as batch_op:
        batch_op.add_column(sa.Column("next_space", sa.String(length=40), nullable=True))
        batch_op.add_column(sa.Column("next_dimension", sa.Integer(), nullable=True))


def downgrade() -> None:
    """Back to the one before."""
    with op.batch_alter_table("knowledge_base", schema=None) as batch_op:
        batch_op.drop_column("next_dimension")
        batch_op.drop_column("next_space")
    op.drop_table("index_placement")
