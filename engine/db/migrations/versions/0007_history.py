"""Channel history: messages, where they stand in documents, threads, channels as sources."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0007_history"
down_revision = "0006_bots"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """To this revision."""
    op.create_table(
        "thread",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("tenant_id", sa.String(length=32), nullable=False),
        sa.Column("channel_id", sa.String(length=32), nullable=False),
        sa.Column("external_id", sa.String(length=40), nullable=False),
        sa.Column("title", sa.String(length=500), nullable=False),
        sa.Column(
            "details", sa.JSON().with_variant(postgresql.JSONB(), "postgresql"), nullable=False
        ),
        sa.Column(
            "cursor", sa.JSON().with_variant(postgresql.JSONB(), "postgresql"), nullable=False
        ),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["channel_id"],
            ["channel.id"],
            name=op.f("fk_thread_channel_id_channel"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["tenant_id"],
            ["tenant.id"],
            name=op.f("fk_thread_tenant_id_tenant"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_thread")),
        sa.UniqueConstraint(
            "channel_id", "external_id", name=op.f("uq_thread_channel_id_external_id")
        ),
    )
    with op.batch_alter_table("thread", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_thread_tenant_id"), ["tenant_id"], unique=False)

    op.create_table(
        "message",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("tenant_id", sa.String(length=32), nullable=False),
        sa.Column("channel_id", sa.String(length=32), nullable=False),
        sa.Column("external_id", sa.String(length=40), nullable=False),
        sa.Column("position", sa.BigInteger(), nullable=False),
        sa.Column("thread", sa.String(length=40), nullable=False),
        sa.Column("reply_to", sa.String(length=40), nullable=False),
        sa.Column("kind", sa.String(length=10), nullable=False),
        sa.Column("author", sa.String(length=100), nullable=False),
        sa.Column("author_name", sa.String(length=200), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("posted_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("edited_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("deleted_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column(
            "reactions", sa.JSON().with_variant(postgresql.JSONB(), "postgresql"), nullable=False
        ),
        sa.Column(
            "files", sa.JSON().with_variant(postgresql.JSONB(), "postgresql"), nullable=False
        ),
        sa.Column("raw", sa.JSON().with_variant(postgresql.JSONB(), "postgresql"), nullable=False),
        sa.Column("change_id", sa.String(length=32), nullable=False),
        sa.Column("dirty", sa.Boolean(), nullable=False),
        sa.Column("document_id", sa.String(length=32), nullable=True),
        sa.Column("seen_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["channel_id"],
            ["channel.id"],
            name=op.f("fk_message_channel_id_channel"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["document_id"],
            ["document.id"],
            name=op.f("fk_message_document_id_document"),
            ondelete="SET NULL",
        ),
        sa.ForeignKeyConstraint(
            ["tenant_id"],
            ["tenant.id"],
            name=op.f("fk_message_tenant_id_tenant"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_message")),
        sa.UniqueConstraint(
            "channel_id", "external_id", name=op.f("uq_message_channel_id_external_id")
        ),
    )
    with op.batch_alter_table("message", schema=None) as batch_op:
        batch_op.create_index("ix_message_channel_dirty", ["channel_id", "dirty"], unique=False)
        batch_op.create_index(
            "ix_message_channel_position", ["channel_id", "position"], unique=False
        )
        batch_op.create_index(
            "ix_message_channel_thread", ["channel_id", "thread", "position"], unique=False
        )
        batch_op.create_index(batch_op.f("ix_message_document_id"), ["document_id"], unique=False)
        batch_op.create_index("ix_message_tenant_author", ["tenant_id", "author"], unique=False)

    op.create_table(
        "message_span",
        sa.Column("revision_id", sa.String(length=32), nullable=False),
        sa.Column("start", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("end", sa.Integer(), nullable=False),
        sa.Column("message_id", sa.String(length=32), nullable=False),
        sa.Column("tenant_id", sa.String(length=32), nullable=False),
        sa.ForeignKeyConstraint(
            ["message_id"],
            ["message.id"],
            name=op.f("fk_message_span_message_id_message"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["revision_id"],
            ["revision.id"],
            name=op.f("fk_message_span_revision_id_revision"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["tenant_id"],
            ["tenant.id"],
            name=op.f("fk_message_span_tenant_id_tenant"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("revision_id", "start", name=op.f("pk_message_span")),
    )
    with op.batch_alter_table("message_span", schema=None) as batch_op:
        batch_op.create_index(
            batch_op.f("ix_message_span_message_id"), ["message_id"], unique=False
        )
        batch_op.create_index(batch_op.f("ix_message_span_tenant_id"), ["tenant_id"], unique=False)

    with op.batch_alter_table("channel", schema=None) as batch_op:
        batch_op.add_column(
            sa.Column("kind", sa.String(length=20), nullable=False, server_default="text")
        )

    with op.batch_alter_table("source", schema=None) as batch_op:
        batch_op.add_column(sa.Column("channel_id", sa.String(length=32), nullable=True))
        batch_op.add_column(sa.Column("derive_due_at", sa.DateTime(timezone=True), nullable=True))
        batch_op.create_unique_constraint(batch_op.f("uq_source_channel_id"), ["channel_id"])
        batch_op.create_foreign_key(
            batch_op.f("fk_source_channel_id_channel"),
            "channel",
            ["channel_id"],
            ["id"],
            ondelete="CASCADE",
        )


def downgrade() -> None:
    """Back to the one before."""
    with op.batch_alter_table("source", schema=None) as batch_op:
        batch_op.drop_constraint(batch_op.f("fk_source_channel_id_channel"), type_="foreignkey")
        batch_op.drop_constraint(batch_op.f("uq_source_channel_id"), type_="unique")
        batch_op.drop_column("derive_due_at")
        batch_op.drop_column("channel_id")

    with op.batch_alter_table("channel", schema=None) as batch_op:
        batch_op.drop_column("kind")

    with op.batch_alter_table("message_span", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_message_span_tenant_id"))
        batch_op.drop_index(batch_op.f("ix_message_span_message_id"))

    op.drop_table("message_span")
    with op.batch_alter_table("message", schema=None) as batch_op:
        batch_op.drop_index("ix_message_tenant_author")
        batch_op.drop_index(batch_op.f("ix_message_document_id"))
        batch_op.drop_index("ix_message_channel_thread")
        batch_op.drop_index("ix_message_channel_position")
        batch_op.drop_index("ix_message_channel_dirty")

    op.drop_table("message")
    with op.batch_alter_table("thread", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_thread_tenant_id"))

    op.drop_table("thread")
