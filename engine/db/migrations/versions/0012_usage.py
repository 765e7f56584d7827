"""Tenants have keys for language models, credits with a ledger, and quotas."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0012_usage"
down_revision = "0011_identity_providers"
branch_labels = None
depends_on = None

TIME = sa.DateTime(timezone=True)
TABLES = ("quota", "ledger", "credit_account", "tenant_llm")


def _tenant(table: str) -> tuple[sa.Column[str], sa.ForeignKeyConstraint]:
    return (
        sa.Column("tenant_id", sa.String(32), nullable=False),
        sa.ForeignKeyConstraint(
            ["tenant_id"], ["tenant.id"], name=f"fk_{table}_tenant_id_tenant", ondelete="CASCADE"
        ),
    )


def upgrade() -> None:
    """To this revision."""
    op.create_table(
        "tenant_llm",
        sa.Column("id", sa.String(32), nullable=False),
        *_tenant("tenant_llm"),
        sa.Column("provider", sa.String(40), nullable=False),
        sa.Column("model", sa.String(200), nullable=False),
        sa.Column("api_key", sa.Text(), nullable=False),
        sa.Column("base_url", sa.String(500), nullable=False),
        sa.Column("enabled", sa.Boolean(), nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("updated_at", TIME, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_tenant_llm"),
        sa.UniqueConstraint(
            "tenant_id", "provider", "model", name="uq_tenant_llm_tenant_id_provider_model"
        ),
    )
    op.create_index("ix_tenant_llm_tenant_id", "tenant_llm", ["tenant_id"])
    op.create_table(
        "credit_account",
        *_tenant("credit_account"),
        sa.Column("balance", sa.BigInteger(), nullable=False),
        sa.Column("enforced", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("tenant_id", name="pk_credit_account"),
    )
    op.create_table(
        "ledger",
        sa.Column("id", sa.String(32), nullable=False),
        *_tenant("ledger"),
        sa.Column("cause", sa.String(100), nullable=False),
        sa.Column("kind", sa.String(10), nullable=False),
        sa.Column("amount", sa.BigInteger(), nullable=False),
        sa.Column("cost", sa.BigInteger(), nullable=False),
        sa.Column("model", sa.String(250), nullable=False),
        sa.Column("input_tokens", sa.BigInteger(), nullable=False),
        sa.Column("output_tokens", sa.BigInteger(), nullable=False),
        sa.Column("user_id", sa.String(32), nullable=True),
        sa.Column("api_token_id", sa.String(32), nullable=True),
        sa.Column("day", sa.String(10), nullable=False),
        sa.Column("at", TIME, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_ledger"),
        sa.UniqueConstraint("tenant_id", "cause", "kind", name="uq_ledger_tenant_id_cause_kind"),
    )
    op.create_index("ix_ledger_tenant_day", "ledger", ["tenant_id", "day"])
    op.create_table(
        "quota",
        sa.Column("id", sa.String(32), nullable=False),
        *_tenant("quota"),
        sa.Column("subject", sa.String(50), nullable=False),
        sa.Column("kind", sa.String(30), nullable=False),
        sa.Column("amount", sa.BigInteger(), nullable=False),
        sa.Column("by_operator", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_quota"),
        sa.UniqueConstraint(
            "tenant_id",
            "subject",
            "kind",
            "by_operator",
            name="uq_quota_tenant_id_subject_kind_by_operator",
        ),
    )
    op.create_index("ix_quota_tenant_id", "quota", ["tenant_id"])


def downgrade() -> None:
    """To the revision before."""
    for table in TABLES:
        op.drop_table(table)
