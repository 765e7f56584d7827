"""What a worker has counted, beside its heartbeat."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0008_worker_figures"
down_revision = "0007_history"
branch_labels = None
depends_on = None

JSON = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")


def upgrade() -> None:
    """To this revision."""
    with op.batch_alter_table("worker") as batch_op:
        batch_op.add_column(sa.Column("figures", JSON, nullable=False, server_default="{}"))


def downgrade() -> None:
    """Back to the one before."""
    with op.batch_alter_table("worker") as batch_op:
        batch_op.drop_column("figures")
