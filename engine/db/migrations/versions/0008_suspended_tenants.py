"""Tenants can be suspended."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008_suspended_tenants"
down_revision = "0007_document_metadata"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """To this revision."""
    op.add_column("tenant", sa.Column("suspended_at", sa.DateTime(timezone=True), nullable=True))


def downgrade() -> None:
    """To the revision before."""
    op.drop_column("tenant", "suspended_at")
