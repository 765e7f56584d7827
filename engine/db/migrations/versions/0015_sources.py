"""What connectors read: scopes, items, containers, who may read them, syncs and credentials."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0015_sources"
down_revision = "0014_prompt_versions"
branch_labels = None
depends_on = None

JSON = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")
TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    """To this revision."""
    _extend_source()
    _scopes_and_items()
    _access()
    _runs_and_credentials()


def _extend_source() -> None:
    for name in ("every_s", "plan"):
        op.add_column("source", sa.Column(name, sa.Integer, nullable=False, server_default="0"))
    op.add_column("source", sa.Column("next_sync_at", TIME, nullable=True))
    op.add_column("source", sa.Column("run_id", sa.String(32), nullable=True))
    op.add_column("source", sa.Column("credential_id", sa.String(32), nullable=True))


def _scopes_and_items() -> None:
    table = "source_scope"
    op.create_table(
        table,
        _id(),
        _tenant(table),
        _of(table, "source"),
        _text("external_id", 500),
        _text("kind", 40),
        _text("title", 500),
        sa.Column("run_id", sa.String(32), nullable=True),
        _text("phase", 20),
        _number("steps"),
        _json("cursor"),
        _json("feed"),
        _number("generation"),
        *(
            sa.Column(name, TIME, nullable=True)
            for name in ("listed_at", "access_at", "synced_at", "missing_since")
        ),
        _text("state", 20),
        sa.Column("error", sa.Text, nullable=False),
        _number("withheld"),
        sa.Column("confirmed", sa.Boolean, nullable=False, server_default=sa.false()),
        sa.PrimaryKeyConstraint("id", name=f"pk_{table}"),
        sa.UniqueConstraint("source_id", "external_id", name=f"uq_{table}_source_id_external_id"),
    )
    table = "source_item"
    op.create_table(
        table,
        _id(),
        _tenant(table),
        _of(table, "source"),
        _of(table, "source_scope", "scope_id"),
        _text("external_id", 2000),
        _text("container", 500),
        _text("version", 500),
        sa.Column("kept_version", sa.String(500), nullable=True),
        _text("title", 500),
        _text("url", 2000),
        _text("filename", 500),
        _number("size_bytes"),
        sa.Column("source_updated_at", TIME, nullable=True),
        _json("details"),
        _number("generation"),
        sa.Column("missing_since", TIME, nullable=True),
        _text("state", 20),
        sa.Column("reason", sa.Text, nullable=False),
        _number("attempts"),
        sa.Column("retry_at", TIME, nullable=True),
        sa.Column("document_id", sa.String(32), nullable=True, index=True),
        sa.PrimaryKeyConstraint("id", name=f"pk_{table}"),
        sa.UniqueConstraint("source_id", "external_id", name=f"uq_{table}_source_id_external_id"),
    )
    op.create_index("ix_source_item_scope_generation", table, ["scope_id", "generation"])
    op.create_index("ix_source_item_source_state", table, ["source_id", "state"])
    op.create_index("ix_source_item_container", table, ["source_id", "container"])


def _access() -> None:
    table = "source_container"
    op.create_table(
        table,
        _id(),
        _tenant(table),
        _of(table, "source"),
        sa.Column(
            "scope_id",
            sa.String(32),
            sa.ForeignKey(
                "source_scope.id", ondelete="CASCADE", name=f"fk_{table}_scope_id_source_scope"
            ),
            nullable=True,
            index=True,
        ),
        _text("external_id", 500),
        _text("parent", 500),
        _text("kind", 40),
        _text("title", 500),
        sa.Column("is_layer", sa.Boolean, nullable=False),
        _json("restrictions"),
        _number("generation"),
        sa.PrimaryKeyConstraint("id", name=f"pk_{table}"),
        sa.UniqueConstraint("source_id", "external_id", name=f"uq_{table}_source_id_external_id"),
    )
    op.create_index("ix_source_container_parent", table, ["source_id", "parent"])
    table = "access_node"
    op.create_table(
        table,
        _id(),
        _tenant(table),
        _of(table, "source"),
        _text("kind", 20),
        _text("external_id", 1000),
        _text("email", 320),
        _text("namespace", 100),
        sa.Column("is_open", sa.Boolean, nullable=False),
        sa.Column("synced_at", TIME, nullable=True),
        sa.PrimaryKeyConstraint("id", name=f"pk_{table}"),
        sa.UniqueConstraint(
            "source_id", "kind", "external_id", name=f"uq_{table}_source_id_kind_external_id"
        ),
    )
    op.create_index("ix_access_node_tenant_kind", table, ["tenant_id", "kind", "external_id"])
    op.create_index("ix_access_node_tenant_email", table, ["tenant_id", "email"])
    table = "access_edge"
    op.create_table(
        table,
        _of(table, "access_node", "node_id"),
        _of(table, "access_node", "member_id", index=True),
        _tenant(table),
        sa.PrimaryKeyConstraint("node_id", "member_id", name=f"pk_{table}"),
    )


def _runs_and_credentials() -> None:
    table = "sync_run"
    op.create_table(
        table,
        _id(),
        _tenant(table),
        _of(table, "source"),
        _text("cause", 40),
        _text("state", 20),
        sa.Column("started_at", TIME, nullable=False),
        sa.Column("ended_at", TIME, nullable=True),
        _json("counts"),
        sa.Column("error", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("id", name=f"pk_{table}"),
    )
    op.create_index("ix_sync_run_source_started", table, ["source_id", "started_at"])
    table = "credential"
    op.create_table(
        table,
        _id(),
        _tenant(table),
        _text("name", 200),
        _text("kind", 40),
        _text("method", 40),
        sa.Column("secret", sa.Text, nullable=False),
        _json("shown"),
        _number("version"),
        _text("lease_owner", 64),
        sa.Column("lease_until", TIME, nullable=True),
        sa.Column("expires_at", TIME, nullable=True),
        _text("state", 20),
        sa.Column("error", sa.Text, nullable=False),
        sa.Column("created_by", sa.String(32), nullable=True),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("used_at", TIME, nullable=True),
        sa.PrimaryKeyConstraint("id", name=f"pk_{table}"),
    )


def _id() -> sa.Column[str]:
    return sa.Column("id", sa.String(32), nullable=False)


def _tenant(table: str) -> sa.Column[str]:
    return _of(table, "tenant", index=True)


def _of(table: str, other: str, name: str = "", *, index: bool = False) -> sa.Column[str]:
    name = name or f"{other}_id"
    key = sa.ForeignKey(f"{other}.id", ondelete="CASCADE", name=f"fk_{table}_{name}_{other}")
    return sa.Column(name, sa.String(32), key, nullable=False, index=index)


def _text(name: str, length: int) -> sa.Column[str]:
    return sa.Column(name, sa.String(length), nullable=False)


def _number(name: str) -> sa.Column[int]:
    return sa.Column(name, sa.Integer, nullable=False)


def _json(name: str) -> sa.Column[object]:
    return sa.Column(name, JSON, nullable=False)
