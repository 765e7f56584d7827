"""Turns name the instructions that their answer was written by."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0014_prompt_versions"
down_revision = "0013_scim"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("turn", sa.Column("prompt", sa.String(60), nullable=False, server_default=""))


def downgrade() -> None:
    op.drop_column("turn", "prompt")
