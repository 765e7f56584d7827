"""API tokens that belong to a tenant, and ones bound to assistants and networks."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0016_keys"
down_revision = "0015_sources"
branch_labels = None
depends_on = None

JSON = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")


def upgrade() -> None:
    """To this revision."""
    op.add_column(
        "api_token", sa.Column("kind", sa.String(10), nullable=False, server_default="personal")
    )
    op.add_column("api_token", sa.Column("assistants", JSON, nullable=True))
    op.add_column("api_token", sa.Column("networks", JSON, nullable=True))
