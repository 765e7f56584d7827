"""Sign-in: sessions, one-time links, inactive members, and the chain of audit rows."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0002_sign_in"
down_revision = "0001_tables"
branch_labels = None
depends_on = None

ID = sa.String(32)
JSON = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")
TIME = sa.DateTime(timezone=True)


def refer(name: str, to: str, table: str, *, index: bool = True) -> sa.Column[str]:
    key = sa.ForeignKey(f"{to}.id", ondelete="CASCADE", name=f"fk_{table}_{name}_{to}")
    return sa.Column(name, ID, key, nullable=False, index=index)


def upgrade() -> None:
    op.add_column("user", sa.Column("email_verified_at", TIME, nullable=True))
    op.add_column(
        "membership", sa.Column("active", sa.Boolean, nullable=False, server_default=sa.true())
    )
    op.add_column(
        "audit_event", sa.Column("number", sa.Integer, nullable=False, server_default="0")
    )
    op.add_column(
        "audit_event", sa.Column("digest", sa.String(64), nullable=False, server_default="")
    )
    op.create_table(
        "audit_head",
        sa.Column(
            "tenant_id",
            ID,
            sa.ForeignKey("tenant.id", ondelete="CASCADE", name="fk_audit_head_tenant_id_tenant"),
            nullable=False,
        ),
        sa.Column("number", sa.Integer, nullable=False),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.PrimaryKeyConstraint("tenant_id", name="pk_audit_head"),
    )
    op.create_table(
        "session",
        sa.Column("id", ID, nullable=False),
        refer("tenant_id", "tenant", "session"),
        refer("user_id", "user", "session"),
        sa.Column("kind", sa.String(10), nullable=False),
        sa.Column("digest", sa.String(64), nullable=True),
        sa.Column("generation", sa.Integer, nullable=False),
        sa.Column("rotated_at", TIME, nullable=True),
        sa.Column("methods", JSON, nullable=False),
        sa.Column("signed_in_at", TIME, nullable=False),
        sa.Column("stepped_up_at", TIME, nullable=True),
        sa.Column("seen_at", TIME, nullable=False),
        sa.Column("expires_at", TIME, nullable=False),
        sa.Column("address", sa.String(64), nullable=False),
        sa.Column("agent", sa.String(200), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_session"),
        sa.UniqueConstraint("digest", name="uq_session_digest"),
    )
    op.create_table(
        "one_time_link",
        sa.Column("id", ID, nullable=False),
        refer("tenant_id", "tenant", "one_time_link"),
        refer("user_id", "user", "one_time_link"),
        sa.Column("purpose", sa.String(10), nullable=False),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("email", sa.String(320), nullable=False),
        sa.Column("expires_at", TIME, nullable=False),
        sa.Column("used_at", TIME, nullable=True),
        sa.Column("created_at", TIME, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_one_time_link"),
        sa.UniqueConstraint("digest", name="uq_one_time_link_digest"),
    )
