"""Invitations, and which one-time links went to the address they are for."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0010_invitations"
down_revision = "0009_workflows"
branch_labels = None
depends_on = None

ID = sa.String(32)
JSON = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")
TIME = sa.DateTime(timezone=True)
OPEN = sa.text("accepted_at IS NULL AND revoked_at IS NULL")


def refer(name: str, to: str, *, gone: str = "CASCADE") -> sa.Column[str]:
    key = sa.ForeignKey(f"{to}.id", ondelete=gone, name=f"fk_invitation_{name}_{to}")
    return sa.Column(name, ID, key, nullable=gone != "CASCADE", index=True)


def upgrade() -> None:
    op.add_column(
        "one_time_link", sa.Column("mailed", sa.Boolean, nullable=False, server_default=sa.false())
    )
    op.create_table(
        "invitation",
        sa.Column("id", ID, nullable=False),
        refer("tenant_id", "tenant"),
        sa.Column("email", sa.String(320), nullable=False),
        sa.Column("name", sa.String(200), nullable=False),
        sa.Column("role", sa.String(20), nullable=False),
        sa.Column("group_ids", JSON, nullable=False),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("mailed", sa.Boolean, nullable=False),
        refer("created_by", "user"),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("expires_at", TIME, nullable=False),
        sa.Column("accepted_at", TIME, nullable=True),
        refer("accepted_by", "user", gone="SET NULL"),
        sa.Column("revoked_at", TIME, nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_invitation"),
        sa.UniqueConstraint("digest", name="uq_invitation_digest"),
    )
    op.create_index(
        "uq_invitation_open",
        "invitation",
        ["tenant_id", "email"],
        unique=True,
        sqlite_where=OPEN,
        postgresql_where=OPEN,
    )
