"""The tables as they were when the migrations before the first release became this one.

Frozen: a change of `engine/db/tables/` gets a migration of its own. Databases that the migrations
before this one made are taken for one made here, so both are the same to the last detail: that is
why some columns are in the order in which they were added, and three have a default in SQL.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

# Not "0001": an earlier migration had that name, and databases may have recorded it.
revision = "0001_tables"
down_revision = None
branch_labels = None
depends_on = None

ID = sa.String(32)
JSON = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")
TIME = sa.DateTime(timezone=True)
TABLES = sa.MetaData(
    naming_convention={
        "ix": "ix_%(column_0_label)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    }
)

column = partial(sa.Column, nullable=False)


def refer(
    name: str,
    to: str,
    *,
    ondelete: str | None = "CASCADE",
    **options: Any,  # noqa: ANN401 (a column's)
) -> sa.Column[Any]:
    return column(name, ID, sa.ForeignKey(f"{to}.id", ondelete=ondelete), **options)


def table(name: str, *parts: sa.schema.SchemaItem) -> None:
    sa.Table(name, TABLES, *parts)


def table_with_id(name: str, *parts: sa.schema.SchemaItem) -> None:
    table(name, column("id", ID, primary_key=True), *parts)


table_with_id(
    "tenant",
    column("key", sa.String(40), unique=True),
    column("name", sa.String(200)),
    column("settings", JSON),
    column("created_at", TIME),
    column("deleted_at", TIME, nullable=True),
)
table_with_id(
    "user",
    column("email", sa.String(320), unique=True, nullable=True),
    column("name", sa.String(200)),
    column("password_hash", sa.String(200), nullable=True),
    column("active", sa.Boolean),
    column("created_at", TIME),
)
table(
    "membership",
    refer("tenant_id", "tenant", primary_key=True),
    refer("user_id", "user", primary_key=True, index=True),
    column("role", sa.String(20)),
    column("created_at", TIME),
)
table_with_id(
    "user_group",
    refer("tenant_id", "tenant", index=True),
    column("name", sa.String(200)),
    column("created_at", TIME),
    sa.UniqueConstraint("tenant_id", "name"),
)
table(
    "user_group_member",
    refer("group_id", "user_group", primary_key=True),
    refer("user_id", "user", primary_key=True, index=True),
    refer("tenant_id", "tenant", index=True),
)
table_with_id(
    "identity",
    refer("tenant_id", "tenant", index=True),
    refer("user_id", "user", ondelete="SET NULL", index=True, nullable=True),
    refer("workspace_id", "workspace", index=True, nullable=True),
    column("provider", sa.String(40)),
    column("subject", sa.String(200)),
    column("name", sa.String(200)),
    column("is_full_member", sa.Boolean),
    column("created_at", TIME),
    column("platform_role", sa.String(20), server_default=""),
    column("seen_at", TIME, nullable=True),
    sa.UniqueConstraint("tenant_id", "provider", "subject"),
)
table_with_id(
    "api_token",
    refer("tenant_id", "tenant", index=True),
    refer("user_id", "user", index=True),
    column("name", sa.String(200)),
    column("digest", sa.String(64), unique=True),
    column("prefix", sa.String(16)),
    column("scopes", JSON),
    column("expires_at", TIME, nullable=True),
    column("revoked_at", TIME, nullable=True),
    column("last_used_at", TIME, nullable=True),
    column("created_at", TIME),
)
table_with_id(
    "acl",
    refer("tenant_id", "tenant", index=True),
    column("digest", sa.String(64)),
    column("tokens", JSON),
    sa.UniqueConstraint("tenant_id", "digest"),
)
table(
    "acl_token",
    refer("acl_id", "acl", primary_key=True),
    column("token", sa.String(100), primary_key=True),
    refer("tenant_id", "tenant"),
    sa.Index("ix_acl_token_tenant_token", "tenant_id", "token"),
)
table(
    "kb_grant",
    refer("kb_id", "knowledge_base", primary_key=True),
    column("token", sa.String(100), primary_key=True),
    refer("tenant_id", "tenant", index=True),
)
table_with_id(
    "workspace",
    refer("tenant_id", "tenant", index=True),
    column("platform", sa.String(20)),
    column("external_id", sa.String(100)),
    column("name", sa.String(200)),
    column("members_are_tenant", sa.Boolean),
    column("state", sa.String(20)),
    column("settings", JSON),
    column("created_at", TIME),
    sa.UniqueConstraint("platform", "external_id"),
)
table_with_id(
    "installation",
    refer("tenant_id", "tenant", index=True),
    column("platform", sa.String(20)),
    column("client_id", sa.String(100)),
    column("enterprise_id", sa.String(40)),
    column("team_id", sa.String(40)),
    column("name", sa.String(200)),
    column("url", sa.String(200)),
    column("secret", sa.Text),
    column("scopes", JSON),
    column("app_id", sa.String(40)),
    column("bot_id", sa.String(40)),
    column("bot_user_id", sa.String(40)),
    column("installed_by", sa.String(40)),
    column("reading", sa.String(10)),
    column("state", sa.String(20)),
    column("purge_at", TIME, nullable=True),
    column("created_at", TIME),
    column("updated_at", TIME),
    sa.UniqueConstraint("platform", "client_id", "enterprise_id", "team_id"),
)
table_with_id(
    "channel",
    refer("tenant_id", "tenant", index=True),
    refer("workspace_id", "workspace"),
    column("external_id", sa.String(100)),
    column("name", sa.String(200)),
    column("is_public", sa.Boolean),
    column("members_synced_at", TIME, nullable=True),
    column("settings", JSON),
    column("created_at", TIME),
    column("kind", sa.String(20), server_default="text"),
    sa.UniqueConstraint("workspace_id", "external_id"),
)
table(
    "channel_member",
    refer("channel_id", "channel", primary_key=True),
    refer("identity_id", "identity", primary_key=True, index=True),
    refer("tenant_id", "tenant", index=True),
)
table_with_id(
    "message",
    refer("tenant_id", "tenant"),
    refer("channel_id", "channel"),
    column("external_id", sa.String(40)),
    column("position", sa.BigInteger),
    column("thread", sa.String(40)),
    column("reply_to", sa.String(40)),
    column("kind", sa.String(10)),
    column("author", sa.String(100)),
    column("author_name", sa.String(200)),
    column("text", sa.Text),
    column("posted_at", TIME),
    column("edited_at", TIME, nullable=True),
    column("deleted_at", TIME, nullable=True),
    column("reactions", JSON),
    column("files", JSON),
    column("raw", JSON),
    column("change_id", ID),
    column("dirty", sa.Boolean),
    refer("document_id", "document", ondelete="SET NULL", index=True, nullable=True),
    column("seen_at", TIME),
    sa.UniqueConstraint("channel_id", "external_id"),
    sa.Index("ix_message_channel_dirty", "channel_id", "dirty"),
    sa.Index("ix_message_channel_position", "channel_id", "position"),
    sa.Index("ix_message_channel_thread", "channel_id", "thread", "position"),
    sa.Index("ix_message_tenant_author", "tenant_id", "author"),
)
table(
    "message_span",
    refer("revision_id", "revision", primary_key=True),
    column("start", sa.Integer, primary_key=True, autoincrement=False),
    column("end", sa.Integer),
    refer("message_id", "message", index=True),
    refer("tenant_id", "tenant", index=True),
)
table_with_id(
    "thread",
    refer("tenant_id", "tenant", index=True),
    refer("channel_id", "channel"),
    column("external_id", sa.String(40)),
    column("title", sa.String(500)),
    column("details", JSON),
    column("cursor", JSON),
    column("created_at", TIME),
    sa.UniqueConstraint("channel_id", "external_id"),
)
table_with_id(
    "post",
    refer("tenant_id", "tenant", index=True),
    column("job_id", ID, unique=True),
    refer("workspace_id", "workspace"),
    refer("channel_id", "channel", nullable=True),
    refer("identity_id", "identity"),
    column("surface", sa.String(20)),
    column("channel", sa.String(100)),
    column("thread", sa.String(100)),
    column("question_id", sa.String(100)),
    column("message_id", sa.String(100)),
    column("question", sa.Text),
    column("addressed", sa.Boolean),
    column("state", sa.String(20)),
    refer("turn_id", "turn", ondelete="SET NULL", nullable=True),
    column("escalated_at", TIME, nullable=True),
    column("resolved_at", TIME, nullable=True),
    column("created_at", TIME),
    column("updated_at", TIME),
    sa.Index("ix_post_identity", "identity_id", "id"),
    sa.Index("ix_post_question", "workspace_id", "channel", "question_id"),
    sa.Index("ix_post_thread", "workspace_id", "channel", "thread"),
)
table_with_id(
    "source",
    refer("tenant_id", "tenant", index=True),
    refer("kb_id", "knowledge_base", index=True),
    column("kind", sa.String(40)),
    column("name", sa.String(200)),
    column("settings", JSON),
    column("cursor", JSON),
    column("state", sa.String(20)),
    column("error", sa.Text),
    column("created_at", TIME),
    refer("channel_id", "channel", unique=True, nullable=True),
    column("derive_due_at", TIME, nullable=True),
)
table_with_id(
    "knowledge_base",
    refer("tenant_id", "tenant", index=True),
    column("name", sa.String(100)),
    column("description", sa.Text),
    column("space", sa.String(40)),
    column("dimension", sa.Integer),
    column("search", JSON),
    column("chunking", JSON),
    column("pipeline", sa.String(100)),
    column("document_count", sa.Integer),
    column("chunk_count", sa.Integer),
    column("token_count", sa.Integer),
    column("created_at", TIME),
    column("updated_at", TIME),
    column("deleted_at", TIME, nullable=True),
    column("next_space", sa.String(40), nullable=True),
    column("next_dimension", sa.Integer, nullable=True),
    sa.Index(
        "uq_knowledge_base_live_name",
        "tenant_id",
        "name",
        unique=True,
        sqlite_where=sa.text("deleted_at IS NULL"),
        postgresql_where=sa.text("deleted_at IS NULL"),
    ),
)
table_with_id(
    "document",
    refer("tenant_id", "tenant", index=True),
    refer("kb_id", "knowledge_base"),
    refer("source_id", "source", index=True),
    column("external_id", sa.String(2000)),
    column("title", sa.String(500)),
    column("url", sa.String(2000)),
    refer("acl_id", "acl", ondelete=None),
    column("acl_all", JSON),
    column("state", sa.String(20)),
    column("vectors", sa.String(20)),
    column("progress", sa.Double),
    column("message", sa.Text),
    column("error", sa.Text),
    column("error_code", sa.String(40)),
    column("chunk_count", sa.Integer),
    column("token_count", sa.Integer),
    column("size_bytes", sa.Integer),
    column("language", sa.String(10)),
    column("hidden", sa.Boolean),
    column("details", JSON),
    column("derived_from", JSON),
    column("source_updated_at", TIME, nullable=True),
    column("created_at", TIME),
    column("updated_at", TIME),
    column("deleted_at", TIME, nullable=True),
    sa.UniqueConstraint("kb_id", "source_id", "external_id"),
    sa.Index(
        "ix_document_acl_all",
        "kb_id",
        sqlite_where=sa.text("acl_all <> '[]'"),
        postgresql_where=sa.text("acl_all <> '[]'"),
    ),
    sa.Index("ix_document_acl_kb", "acl_id", "kb_id"),
    sa.Index("ix_document_kb_state", "kb_id", "state"),
)
table_with_id(
    "revision",
    refer("tenant_id", "tenant", index=True),
    refer("document_id", "document"),
    column("number", sa.Integer),
    column("blob_hash", sa.String(64)),
    column("filename", sa.String(500)),
    column("mime", sa.String(100)),
    column("size_bytes", sa.Integer),
    column("language", sa.String(10)),
    column("chunk_count", sa.Integer),
    column("token_count", sa.Integer),
    column("space", sa.String(40)),
    column("vectors", sa.String(20)),
    column("created_at", TIME),
    sa.UniqueConstraint("document_id", "number"),
)
table(
    "revision_text",
    refer("revision_id", "revision", primary_key=True),
    refer("tenant_id", "tenant", index=True),
    column("body", sa.LargeBinary),
)
table(
    "live",
    column("branch", sa.String(100), primary_key=True),
    refer("document_id", "document", primary_key=True, index=True),
    refer("revision_id", "revision", ondelete=None, index=True),
    refer("kb_id", "knowledge_base", index=True),
    refer("tenant_id", "tenant", index=True),
)
table(
    "chunk",
    refer("revision_id", "revision", primary_key=True),
    column("ordinal", sa.Integer, primary_key=True, autoincrement=False),
    column("tenant_id", ID),
    column("part", sa.Integer),
    column("start", sa.Integer),
    column("end", sa.Integer),
    column("page", sa.Integer, nullable=True),
    column("text", sa.Text),
    column("context", sa.Text),
    column("tokens", sa.Integer),
    column("language", sa.String(10)),
    column("meta", JSON),
)
table(
    "component_output",
    refer("tenant_id", "tenant", primary_key=True),
    column("source_hash", sa.String(64), primary_key=True),
    column("key", sa.LargeBinary(16), primary_key=True),
    column("component", sa.String(64)),
    column("body", sa.LargeBinary),
)
table_with_id(
    "query_log",
    refer("tenant_id", "tenant"),
    column("user_id", ID, nullable=True),
    column("kb_ids", JSON),
    column("mode", sa.String(20)),
    column("text", sa.Text),
    column("hits", sa.Integer),
    column("confidence", sa.Double),
    column("took_ms", sa.Double),
    column("error_code", sa.String(40)),
    column("at", TIME),
    sa.Index("ix_query_log_tenant_at", "tenant_id", "at"),
)
table_with_id(
    "conversation",
    refer("tenant_id", "tenant", index=True),
    refer("user_id", "user", ondelete="SET NULL", index=True, nullable=True),
    column("door", sa.String(20)),
    column("external_id", sa.String(200), index=True),
    column("created_at", TIME),
)
table_with_id(
    "turn",
    refer("tenant_id", "tenant", index=True),
    refer("conversation_id", "conversation", index=True),
    column("question", sa.Text),
    column("answer", sa.Text),
    column("grounded", sa.Boolean),
    column("confidence", sa.Double),
    column("audience", sa.String(100)),
    column("sources", JSON),
    column("citations", JSON),
    column("model", sa.String(100)),
    column("input_tokens", sa.Integer),
    column("output_tokens", sa.Integer),
    column("took_ms", sa.Double),
    column("feedback", sa.Integer, nullable=True),
    column("created_at", TIME),
)
table_with_id(
    "feedback",
    refer("tenant_id", "tenant", index=True),
    refer("turn_id", "turn"),
    column("rater", sa.String(40)),
    column("rating", sa.Integer),
    column("reason", sa.String(40)),
    column("text", sa.Text),
    column("created_at", TIME),
    sa.UniqueConstraint("turn_id", "rater"),
)
table_with_id(
    "job",
    refer("tenant_id", "tenant"),
    column("kind", sa.String(40)),
    column("payload", JSON),
    column("lane", sa.String(20)),
    column("turn", sa.BigInteger),
    column("state", sa.String(20)),
    column("document_id", ID, nullable=True),
    column("attempts", sa.Integer),
    column("lost", sa.Integer),
    column("max_attempts", sa.Integer),
    column("run_at", TIME),
    column("lease_owner", sa.String(100)),
    column("leased_until", TIME, nullable=True),
    column("cancel_requested", sa.Boolean),
    column("idempotency_key", sa.String(200), nullable=True),
    column("error", sa.Text),
    column("correlation_id", sa.String(64)),
    column("created_at", TIME),
    column("updated_at", TIME),
    sa.UniqueConstraint("tenant_id", "idempotency_key"),
    sa.Index("ix_job_claim", "state", "lane", "turn", "id", "run_at", "kind"),
    sa.Index("ix_job_document", "document_id", "state"),
    sa.Index("ix_job_tenant", "tenant_id", "state", "lane", "turn"),
)
table(
    "worker",
    column("id", sa.String(100), primary_key=True),
    column("host", sa.String(200)),
    column("pid", sa.Integer),
    column("state", sa.String(20)),
    column("started_at", TIME),
    column("heartbeat_at", TIME),
    column("figures", JSON, server_default="{}"),
)
table_with_id(
    "flow",
    refer("tenant_id", "tenant", index=True),
    column("name", sa.String(100)),
    column("kind", sa.String(20)),
    column("dsl", sa.Text),
    column("created_at", TIME),
    column("updated_at", TIME),
    sa.UniqueConstraint("tenant_id", "name"),
)
table_with_id(
    "run",
    refer("tenant_id", "tenant", index=True),
    column("job_id", ID, index=True, nullable=True),
    column("flow_id", sa.String(100)),
    column("document_id", ID, index=True, nullable=True),
    column("state", sa.String(20)),
    column("progress", sa.Double),
    column("message", sa.Text),
    column("error", sa.Text),
    column("dsl", sa.Text),
    column("started_at", TIME),
    column("ended_at", TIME, nullable=True),
)
table(
    "run_node",
    refer("run_id", "run", primary_key=True),
    column("node_id", sa.String(100), primary_key=True),
    refer("tenant_id", "tenant", index=True),
    column("state", sa.String(20)),
    column("output", JSON),
    column("elapsed_s", sa.Float),
    column("error", sa.Text),
    column("started_at", TIME),
)
table_with_id(
    "run_event",
    refer("tenant_id", "tenant", index=True),
    refer("run_id", "run"),
    column("component", sa.String(100)),
    column("progress", sa.Double),
    column("message", sa.Text),
    column("at", TIME),
    sa.Index("ix_run_event_run", "run_id", "id"),
)
table_with_id(
    "event",
    refer("tenant_id", "tenant"),
    column("kind", sa.String(60)),
    column("payload", JSON),
    column("at", TIME),
    sa.Index("ix_event_tenant_id", "tenant_id", "id"),
)
table_with_id(
    "audit_event",
    refer("tenant_id", "tenant"),
    column("actor", sa.String(200)),
    column("action", sa.String(60)),
    column("target", sa.String(200)),
    column("detail", JSON),
    column("at", TIME),
    sa.Index("ix_audit_event_tenant_at", "tenant_id", "at"),
)
table_with_id(
    "tool_call",
    refer("tenant_id", "tenant"),
    column("user_id", ID, nullable=True),
    column("api_token_id", ID, nullable=True),
    column("door", sa.String(20)),
    column("tool", sa.String(60)),
    column("kb_ids", JSON),
    column("results", sa.Integer),
    column("code", sa.String(40)),
    column("took_ms", sa.Double),
    column("text", sa.Text),
    column("at", TIME),
    sa.Index("ix_tool_call_tenant_at", "tenant_id", "at"),
)
table(
    "index_placement",
    refer("tenant_id", "tenant", ondelete=None, primary_key=True),
    column("space", sa.String(40), primary_key=True),
    column("dimension", sa.Integer),
    column("cells", sa.String(10)),
    column("kind", sa.String(10)),
    column("state", sa.String(10)),
    column("languages", JSON),
    column("created_at", TIME),
)
table(
    "setting",
    column("key", sa.String(100), primary_key=True),
    column("value", JSON),
)
table(
    "embedding",
    column("tenant_id", ID, primary_key=True),
    column("space", sa.String(40), primary_key=True),
    column("text_hash", sa.LargeBinary(16), primary_key=True),
    column("vector", sa.LargeBinary),
)
table(
    "ephemeral",
    column("key", sa.String(300), primary_key=True),
    column("value", sa.LargeBinary),
    column("until", sa.Double, index=True),
)


def upgrade() -> None:
    """To this revision."""
    TABLES.create_all(op.get_bind(), checkfirst=False)


def downgrade() -> None:
    """To no tables at all."""
    TABLES.drop_all(op.get_bind(), checkfirst=False)
