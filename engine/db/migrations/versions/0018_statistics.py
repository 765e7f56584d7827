"""Questions beside searches in the query log, and what is counted day by day."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0018_statistics"
down_revision = "0017_files"
branch_labels = None
depends_on = None

JSON = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")
TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    """To this revision."""
    _extend_query_log()
    op.create_index("ix_run_ended", "run", ["tenant_id", "ended_at"])
    op.create_index("ix_feedback_tenant_created", "feedback", ["tenant_id", "created_at"])
    table = "metric_day"
    op.create_table(
        table,
        _tenant(table),
        _text("day", 10),
        _text("topic", 20),
        _text("kb_id", 32),
        _text("door", 20),
        _text("channel_id", 32),
        _text("flow_id", 100),
        _text("source_id", 32),
        _text("model", 250),
        sa.Column("figures", JSON, nullable=False),
        sa.Column("latency", JSON, nullable=False),
        sa.PrimaryKeyConstraint(
            "tenant_id",
            "day",
            "topic",
            "kb_id",
            "door",
            "channel_id",
            "flow_id",
            "source_id",
            "model",
            name=f"pk_{table}",
        ),
    )
    table = "counted_day"
    op.create_table(
        table,
        _tenant(table),
        _text("day", 10),
        sa.Column("counted_at", TIME, nullable=True),
        sa.Column("changed_at", TIME, nullable=True),
        sa.PrimaryKeyConstraint("tenant_id", "day", name=f"pk_{table}"),
    )


def _extend_query_log() -> None:
    table = "query_log"
    op.add_column(table, _text("kind", 10, default="search"))
    for name, length in (("kb_id", 32), ("door", 20), ("channel_id", 32), ("outcome", 20)):
        op.add_column(table, _text(name, length, default=""))
    op.add_column(table, _text("model", 250, default=""))
    op.add_column(table, sa.Column("turn_id", sa.String(32), nullable=True))
    op.add_column(table, sa.Column("took_us", sa.BigInteger, nullable=False, server_default="0"))
    for name in ("input_tokens", "output_tokens"):
        op.add_column(table, sa.Column(name, sa.Integer, nullable=False, server_default="0"))
    op.create_index("ix_query_log_turn", table, ["turn_id"])
    op.execute("UPDATE query_log SET took_us = CAST(took_ms * 1000 AS BIGINT)")
    if op.get_bind().dialect.name == "postgresql":
        count, first = "jsonb_array_length(kb_ids)", "kb_ids ->> 0"
    else:
        count, first = "json_array_length(kb_ids)", "json_extract(kb_ids, '$[0]')"
    op.execute(f"UPDATE query_log SET kb_id = {first} WHERE {count} = 1")  # noqa: S608 (ours)


def _tenant(table: str) -> sa.Column[str]:
    key = sa.ForeignKey("tenant.id", ondelete="CASCADE", name=f"fk_{table}_tenant_id_tenant")
    return sa.Column("tenant_id", sa.String(32), key, nullable=False)


def _text(name: str, length: int, *, default: str | None = None) -> sa.Column[str]:
    return sa.Column(name, sa.String(length), nullable=False, server_default=default)
