"""A tree of folders and files, its grants, and the documents made of its files."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0017_files"
down_revision = "0016_keys"
branch_labels = None
depends_on = None

TIME = sa.DateTime(timezone=True)
INSIDE, TOP = sa.text("parent_id IS NOT NULL"), sa.text("parent_id IS NULL")


def upgrade() -> None:
    """To this revision."""
    _file()
    table = "file_grant"
    op.create_table(
        table,
        _of(table, "file"),
        sa.Column("token", sa.String(100), nullable=False, index=True),
        _of(table, "tenant", index=True),
        sa.Column("level", sa.String(10), nullable=False),
        sa.PrimaryKeyConstraint("file_id", "token", name=f"pk_{table}"),
    )
    table = "file_document"
    op.create_table(
        table,
        _of(table, "file"),
        _of(table, "knowledge_base", "kb_id"),
        _of(table, "document"),
        _of(table, "tenant", index=True),
        sa.Column("created_at", TIME, nullable=False),
        sa.PrimaryKeyConstraint("file_id", "kb_id", name=f"pk_{table}"),
        sa.UniqueConstraint("document_id", name=f"uq_{table}_document_id"),
    )


def _file() -> None:
    table = "file"
    op.create_table(
        table,
        sa.Column("id", sa.String(32), nullable=False),
        _of(table, "tenant", index=True),
        sa.Column("parent_id", sa.String(32), nullable=True),
        sa.Column("owner_id", sa.String(32), nullable=True),
        sa.Column("kind", sa.String(10), nullable=False),
        sa.Column("name", sa.String(255), nullable=False),
        sa.Column("blob_hash", sa.String(64), nullable=False),
        sa.Column("size_bytes", sa.Integer, nullable=False),
        sa.Column("mime", sa.String(100), nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("updated_at", TIME, nullable=False),
        sa.PrimaryKeyConstraint("id", name=f"pk_{table}"),
    )
    for name, column, where in (
        ("uq_file_name", "parent_id", INSIDE),
        ("uq_file_top_name", "owner_id", TOP),
    ):
        op.create_index(
            name,
            table,
            ["tenant_id", column, "name"],
            unique=True,
            sqlite_where=where,
            postgresql_where=where,
        )
    op.create_index("ix_file_blob", table, ["tenant_id", "blob_hash"])


def _of(table: str, other: str, name: str = "", *, index: bool = False) -> sa.Column[str]:
    name = name or f"{other}_id"
    key = sa.ForeignKey(f"{other}.id", ondelete="CASCADE", name=f"fk_{table}_{name}_{other}")
    return sa.Column(name, sa.String(32), key, nullable=False, index=index)
