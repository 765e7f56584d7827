"""API tokens that reach some knowledge bases only."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0006_narrow_tokens"
down_revision = "0005_grant_levels"
branch_labels = None
depends_on = None

JSON = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")


def upgrade() -> None:
    op.add_column("api_token", sa.Column("kb_ids", JSON, nullable=True))
