"""Documents have tags, own fields with what filters compare, and features; a base has formats."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0007_document_metadata"
down_revision = "0006_narrow_tokens"
branch_labels = None
depends_on = None

JSON = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")
COLUMNS = (("tags", "[]"), ("fields", "{}"), ("lookup", "{}"), ("features", "{}"))


def upgrade() -> None:
    """To this revision."""
    for name, empty in COLUMNS:
        op.add_column("document", sa.Column(name, JSON, nullable=False, server_default=empty))
    op.add_column("knowledge_base", sa.Column("formats", JSON, nullable=False, server_default="[]"))


def downgrade() -> None:
    """To the revision before."""
    op.drop_column("knowledge_base", "formats")
    for name, _ in reversed(COLUMNS):
        op.drop_column("document", name)
