"""Identity providers of tenants, and sign-ins that were begun at them."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0011_identity_providers"
down_revision = "0010_invitations"
branch_labels = None
depends_on = None

ID = sa.String(32)
JSON = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")
TIME = sa.DateTime(timezone=True)


def refer(name: str, to: str, table: str, *, nullable: bool = False) -> sa.Column[str]:
    key = sa.ForeignKey(f"{to}.id", ondelete="CASCADE", name=f"fk_{table}_{name}_{to}")
    return sa.Column(name, ID, key, nullable=nullable, index=True)


def upgrade() -> None:
    op.create_table(
        "oidc_provider",
        sa.Column("id", ID, nullable=False),
        refer("tenant_id", "tenant", "oidc_provider"),
        sa.Column("key", sa.String(40), nullable=False),
        sa.Column("kind", sa.String(20), nullable=False),
        sa.Column("name", sa.String(200), nullable=False),
        sa.Column("issuer", sa.String(300), nullable=False),
        sa.Column("client_id", sa.String(300), nullable=False),
        sa.Column("client_secret", sa.Text, nullable=False),
        sa.Column("scopes", sa.String(300), nullable=False),
        sa.Column("api_url", sa.String(300), nullable=False),
        sa.Column("allowed_domains", JSON, nullable=False),
        sa.Column("allowed_tenants", JSON, nullable=False),
        sa.Column("groups_claim", sa.String(100), nullable=False),
        sa.Column("group_rules", JSON, nullable=False),
        sa.Column("jit_role", sa.String(20), nullable=True),
        sa.Column("link_by_email", sa.Boolean, nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_oidc_provider"),
        sa.UniqueConstraint("tenant_id", "key", name="uq_oidc_provider_tenant_id_key"),
    )
    op.create_table(
        "sign_in_attempt",
        sa.Column("id", ID, nullable=False),
        refer("tenant_id", "tenant", "sign_in_attempt"),
        refer("provider_id", "oidc_provider", "sign_in_attempt"),
        sa.Column("state_digest", sa.String(64), nullable=False),
        sa.Column("browser_digest", sa.String(64), nullable=False),
        sa.Column("sealed", sa.Text, nullable=False),
        sa.Column("purpose", sa.String(10), nullable=False),
        sa.Column("return_to", sa.Text, nullable=False),
        sa.Column("session_id", sa.String(32), nullable=True),
        refer("user_id", "user", "sign_in_attempt", nullable=True),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("expires_at", TIME, nullable=False, index=True),
        sa.PrimaryKeyConstraint("id", name="pk_sign_in_attempt"),
        sa.UniqueConstraint("state_digest", name="uq_sign_in_attempt_state_digest"),
    )
