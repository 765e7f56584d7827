"""Chunks can be hidden one by one, and a revision knows how many of its are."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003_hidden_chunks"
down_revision = "0002_sign_in"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """To this revision."""
    op.add_column(
        "chunk", sa.Column("hidden", sa.Boolean, nullable=False, server_default=sa.false())
    )
    op.add_column(
        "revision", sa.Column("hidden_chunks", sa.Integer, nullable=False, server_default="0")
    )


def downgrade() -> None:
    """To the revision before."""
    op.drop_column("revision", "hidden_chunks")
    op.drop_column("chunk", "hidden")
