"""How far a grant of a knowledge base reaches, who owns one, and second factors."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005_grant_levels"
down_revision = "0004_conversation_names"
branch_labels = None
depends_on = None

TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    # Until now a grant let everyone write whose role writes: it still does.
    op.add_column(
        "kb_grant", sa.Column("level", sa.String(10), nullable=False, server_default="write")
    )
    op.add_column("knowledge_base", sa.Column("owner_id", sa.String(32), nullable=True))
    op.create_index("ix_audit_event_tenant_number", "audit_event", ["tenant_id", "number"])
    op.create_table(
        "factor",
        sa.Column("id", sa.String(32), nullable=False),
        _user("factor"),
        sa.Column("kind", sa.String(10), nullable=False),
        sa.Column("secret", sa.String(300), nullable=False),
        sa.Column("confirmed_at", TIME, nullable=True),
        sa.Column("last_step", sa.Integer, nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_factor"),
        sa.UniqueConstraint("user_id", "kind", name="uq_factor_user_id_kind"),
    )
    op.create_table(
        "recovery_code",
        sa.Column("id", sa.String(32), nullable=False),
        _user("recovery_code", index=True),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("used_at", TIME, nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_recovery_code"),
    )


def _user(table: str, *, index: bool = False) -> sa.Column[str]:
    key = sa.ForeignKey("user.id", ondelete="CASCADE", name=f"fk_{table}_user_id_user")
    return sa.Column("user_id", sa.String(32), key, nullable=False, index=index)
