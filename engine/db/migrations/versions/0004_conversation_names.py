"""Conversations have names."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004_conversation_names"
down_revision = "0003_hidden_chunks"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column(
        "conversation", sa.Column("name", sa.String(200), nullable=False, server_default="")
    )


def downgrade() -> None:
    op.drop_column("conversation", "name")
