"""What was decided about questions that got no good answer."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0021_gaps"
down_revision = "0020_passkeys"
branch_labels = None
depends_on = None

TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    """To this revision."""
    table = "gap_mark"
    op.create_table(
        table,
        _of(table, "turn"),
        _of(table, "tenant", index=True),
        sa.Column("state", sa.String(20), nullable=False),
        sa.Column("assignee_id", sa.String(32), nullable=True),
        sa.Column("marked_by", sa.String(32), nullable=True),
        sa.Column("marked_at", TIME, nullable=False),
        sa.PrimaryKeyConstraint("turn_id", name=f"pk_{table}"),
    )
    op.create_index("ix_turn_tenant_created", "turn", ["tenant_id", "created_at"])


def _of(table: str, other: str, *, index: bool = False) -> sa.Column[str]:
    key = sa.ForeignKey(f"{other}.id", ondelete="CASCADE", name=f"fk_{table}_{other}_id_{other}")
    return sa.Column(f"{other}_id", sa.String(32), key, nullable=False, index=index)
