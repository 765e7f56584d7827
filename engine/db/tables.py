"""The tables. SQL is the truth: about what is visible, what is queued and what happened.

Ids are UUIDv7 text, times aware UTC, relationships `lazy="raise"`. Every table but `user`,
`worker`, `setting` and `ephemeral` names its tenant. Every change goes through Alembic
(`migrations/`).
Column comments here say only what the name can't.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    DateTime,
    Float,
    ForeignKey,
    Index,
    LargeBinary,
    MetaData,
    String,
    Text,
    TypeDecorator,
    UniqueConstraint,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.engine import Dialect
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from engine.clock import new_id, now


class UtcDateTime(TypeDecorator[datetime]):
    """Aware UTC in Python; `timestamptz` on PostgreSQL, naive UTC text on SQLite."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """To the driver."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"naive datetime {value!r}: times are aware UTC")
        value = value.astimezone(UTC)
        return value if dialect.name == "postgresql" else value.replace(tzinfo=None)

    def process_result_value(
        self,
        value: datetime | None,
        dialect: Dialect,  # noqa: ARG002 (SQLAlchemy passes it)
    ) -> datetime | None:
        """From the driver."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


Json = JSON().with_variant(JSONB(), "postgresql")
Id = String(32)


class Base(DeclarativeBase):
    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(column_0_label)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map = {  # noqa: RUF012 (SQLAlchemy reads it as a class attribute)
        datetime: UtcDateTime(),
        dict[str, Any]: Json,
        list[str]: Json,
        list[Any]: Json,
    }


def id_column() -> Mapped[str]:
    return mapped_column(Id, primary_key=True, default=new_id)


def tenant_column() -> Mapped[str]:
    return mapped_column(ForeignKey("tenant.id", ondelete="CASCADE"), index=True)


class Tenant(Base):
    """One organisation: the isolation boundary."""

    __tablename__ = "tenant"
    id: Mapped[str] = id_column()
    key: Mapped[str] = mapped_column(String(40), unique=True)  # immutable, [a-z0-9_]{1,40}
    name: Mapped[str] = mapped_column(String(200))
    settings: Mapped[dict[str, Any]] = mapped_column(default=dict)
    created_at: Mapped[datetime] = mapped_column(default=now)
    deleted_at: Mapped[datetime | None]


class User(Base):
    """A person; belongs to tenants by membership."""

    __tablename__ = "user"
    id: Mapped[str] = id_column()
    email: Mapped[str | None] = mapped_column(String(320), unique=True)  # lower case
    name: Mapped[str] = mapped_column(String(200))
    password_hash: Mapped[str | None] = mapped_column(String(200))
    active: Mapped[bool] = mapped_column(default=True)
    created_at: Mapped[datetime] = mapped_column(default=now)


class Membership(Base):
    __tablename__ = "membership"
    tenant_id: Mapped[str] = mapped_column(
        ForeignKey("tenant.id", ondelete="CASCADE"), primary_key=True
    )
    user_id: Mapped[str] = mapped_column(
        ForeignKey("user.id", ondelete="CASCADE"), primary_key=True, index=True
    )
    role: Mapped[str] = mapped_column(String(20))  # domain.Role
    created_at: Mapped[datetime] = mapped_column(default=now)


class UserGroup(Base):
    """A named set of users of a tenant; its token is `g:<id>`."""

    __tablename__ = "user_group"
    __table_args__ = (UniqueConstraint("tenant_id", "name"),)
    id: Mapped[str] = id_column()
    tenant_id: Mapped[str] = tenant_column()
    name: Mapped[str] = mapped_column(String(200))
    created_at: Mapped[datetime] = mapped_column(default=now)


class UserGroupMember(Base):
    __tablename__ = "user_group_member"
    group_id: Mapped[str] = mapped_column(
        ForeignKey("user_group.id", ondelete="CASCADE"), primary_key=True
    )
    user_id: Mapped[str] = mapped_column(
        ForeignKey("user.id", ondelete="CASCADE"), primary_key=True, index=True
    )
    tenant_id: Mapped[str] = tenant_column()


class Workspace(Base):
    """A Slack team or Discord guild bound to a tenant; its token is `w:<id>`."""

    __tablename__ = "workspace"
    __table_args__ = (UniqueConstraint("platform", "external_id"),)
    id: Mapped[str] = id_column()
    tenant_id: Mapped[str] = tenant_column()
    platform: Mapped[str] = mapped_column(String(20))
    external_id: Mapped[str] = mapped_column(String(100))
    name: Mapped[str] = mapped_column(String(200))
    members_are_tenant: Mapped[bool] = mapped_column(default=False)
    state: Mapped[str] = mapped_column(String(20), default="active")
    settings: Mapped[dict[str, Any]] = mapped_column(default=dict)
    created_at: Mapped[datetime] = mapped_column(default=now)


class Identity(Base):
    """A platform account or OIDC subject; `user_id` is set once it is linked."""

    __tablename__ = "identity"
    __table_args__ = (UniqueConstraint("tenant_id", "provider", "subject"),)
    id: Mapped[str] = id_column()
    tenant_id: Mapped[str] = tenant_column()
    user_id: Mapped[str | None] = mapped_column(
        ForeignKey("user.id", ondelete="SET NULL"), index=True
    )
    workspace_id: Mapped[str | None] = mapped_column(
        ForeignKey("workspace.id", ondelete="CASCADE"), index=True
    )
    provider: Mapped[str] = mapped_column(String(40))
    subject: Mapped[str] = mapped_column(String(200))
    name: Mapped[str] = mapped_column(String(200), default="")
    is_full_member: Mapped[bool] = mapped_column(default=False)  # of the workspace; not a guest
    platform_role: Mapped[str] = mapped_column(String(20), default="")  # "admin" there, or ""
    seen_at: Mapped[datetime | None]  # when the platform last told of this account
    created_at: Mapped[datetime] = mapped_column(default=now)


class Installation(Base):
    """The bot's credentials in a workspace, or in a whole Enterprise organisation: one row each.

    `secret` is encrypted; a new install replaces it. `reading` says whether messages may be kept
    (`index`) or are only searched on the platform (`live`).
    """

    __tablename__ = "installation"
    __table_args__ = (UniqueConstraint("platform", "client_id", "enterprise_id", "team_id"),)
    id: Mapped[str] = id_column()
    tenant_id: Mapped[str] = tenant_column()
    platform: Mapped[str] = mapped_column(String(20))
    client_id: Mapped[str] = mapped_column(String(100), default="")  # "" for a token of one's own
    enterprise_id: Mapped[str] = mapped_column(String(40), default="")  # "" outside Grid
    team_id: Mapped[str] = mapped_column(String(40), default="")  # "" for a whole organisation
    name: Mapped[str] = mapped_column(String(200), default="")
    url: Mapped[str] = mapped_column(String(200), default="")
    secret: Mapped[str] = mapped_column(Text, default="")
    scopes: Mapped[list[str]] = mapped_column(default=list)
    app_id: Mapped[str] = mapped_column(String(40), default="")
    bot_id: Mapped[str] = mapped_column(String(40), default="")
    bot_user_id: Mapped[str] = mapped_column(String(40), default="")
    installed_by: Mapped[str] = mapped_column(String(40), default="")
    reading: Mapped[str] = mapped_column(String(10), default="index")
    state: Mapped[str] = mapped_column(String(20), default="active")  # paused, purged
    purge_at: Mapped[datetime | None]
    created_at: Mapped[datetime] = mapped_column(default=now)
    updated_at: Mapped[datetime] = mapped_column(default=now)


class Channel(Base):
    """A channel or private thread of a workspace; its token is `ch:<id>`."""

    __tablename__ = "channel"
    __table_args__ = (UniqueConstraint("workspace_id", "external_id"),)
    id: Mapped[str] = id_column()
    tenant_id: Mapped[str] = tenant_column()
    workspace_id: Mapped[str] = mapped_column(ForeignKey("workspace.id", ondelete="CASCADE"))
    external_id: Mapped[str] = mapped_column(String(100))
    name: Mapped[str] = mapped_column(String(200))
    kind: Mapped[str] = mapped_column(String(20), default="text")  # text, forum, thread, voice
    is_public: Mapped[bool] = mapped_column(default=False)  # readable by all full members
    members_synced_at: Mapped[datetime | None]  # None or older than 26 h = unknown audience
    settings: Mapped[dict[str, Any]] = mapped_column(default=dict)
    created_at: Mapped[datetime] = mapped_column(default=now)


class ChannelMember(Base):
    __tablename__ = "channel_member"
    channel_id: Mapped[str] = mapped_column(
        ForeignKey("channel.id", ondelete="CASCADE"), primary_key=True
    )
    identity_id: Mapped[str] = mapped_column(
        ForeignKey("identity.id", ondelete="CASCADE"), primary_key=True, index=True
    )
    tenant_id: Mapped[str] = tenant_column()


class ApiToken(Base):
    """A credential: only its SHA-256 is kept. Never more than its creator's scopes."""

    __tablename__ = "api_token"
    id: Mapped[str] = id_column()
    tenant_id: Mapped[str] = tenant_column()
    user_id: Mapped[str] = mapped_column(ForeignKey("user.id", ondelete="CASCADE"), index=True)
    name: Mapped[str] = mapped_column(String(200))
    digest: Mapped[str] = mapped_column(String(64), unique=True)
    prefix: Mapped[str] = mapped_column(String(16))  # the first characters, to tell tokens apart
    scopes: Mapped[list[str]]
    expires_at: Mapped[datetime | None]
    revoked_at: Mapped[datetime | None]
    last_used_at: Mapped[datetime | None]
    created_at: Mapped[datetime] = mapped_column(default=now)


class Acl(Base):
    """A set of tokens, stored once a tenant: a document passes when any of them is held."""

    __tablename__ = "acl"
    __table_args__ = (UniqueConstraint("tenant_id", "digest"),)
    id: Mapped[str] = id_column()
    tenant_id: Mapped[str] = tenant_column()
    digest: Mapped[str] = mapped_column(String(64))  # SHA-256 of the sorted tokens
    tokens: Mapped[list[str]]


class AclToken(Base):
    """The tokens of an ACL, one a row, to be met by `IN`."""

    __tablename__ = "acl_token"
    __table_args__ = (Index("ix_acl_token_tenant_token", "tenant_id", "token"),)
    acl_id: Mapped[str] = mapped_column(ForeignKey("acl.id", ondelete="CASCADE"), primary_key=True)
    token: Mapped[str] = mapped_column(String(100), primary_key=True)
    tenant_id: Mapped[str] = mapped_column(ForeignKey("tenant.id", ondelete="CASCADE"))


class KnowledgeBase(Base):
    __tablename__ = "knowledge_base"
    __table_args__ = (
        Index(
            "uq_knowledge_base_live_name",
            "tenant_id",
            "name",
            unique=True,
            sqlite_where=text("deleted_at IS NULL"),
            postgresql_where=text("deleted_at IS NULL"),
        ),
    )
    id: Mapped[str] = id_column()
    tenant_id: Mapped[str] = tenant_column()
    name: Mapped[str] = mapped_column(String(100))
    description: Mapped[str] = mapped_column(Text, default="")
    space: Mapped[str] = mapped_column(String(40))  # index.port.Space.name
    dimension: Mapped[int]
    next_space: Mapped[str | None] = mapped_column(String(40))  # being filled; then the switch
    next_dimension: Mapped[int | None]
    search: Mapped[dict[str, Any]] = mapped_column(default=dict)  # weights, top_k, threshold
    chunking: Mapped[dict[str, Any]] = mapped_column(default=dict)
    pipeline: Mapped[str] = mapped_column(String(100), default="general")  # flow name
    document_count: Mapped[int] = mapped_column(default=0)  # documents with a live revision
    chunk_count: Mapped[int] = mapped_column(default=0)  # of live revisions
    token_count: Mapped[int] = mapped_column(default=0)
    created_at: Mapped[datetime] = mapped_column(default=now)
    updated_at: Mapped[datetime] = mapped_column(default=now)
    deleted_at: Mapped[datetime | None]


class IndexPlacement(Base):
    """Where a tenant's space lives in Vespa: a schema of its own, or one it shares."""

    __tablename__ = "index_placement"
    tenant_id: Mapped[str] = mapped_column(ForeignKey("tenant.id"), primary_key=True)
    space: Mapped[str] = mapped_column(String(40), primary_key=True)
    dimension: Mapped[int]
    cells: Mapped[str] = mapped_column(String(10))  # bfloat16 or float
    kind: Mapped[str] = mapped_column(String(10))  # dedicated or pooled
    state: Mapped[str] = mapped_column(String(10))  # placed, deployed, dropping
    languages: Mapped[list[str]] = mapped_column(default=list)  # of the texts it holds
    created_at: Mapped[datetime] = mapped_column(default=now)


class KbGrant(Base):
    """Whoever holds `token` holds `kb:<kb_id>` as well."""

    __tablename__ = "kb_grant"
    kb_id: Mapped[str] = mapped_column(
        ForeignKey("knowledge_base.id", ondelete="CASCADE"), primary_key=True
    )
    token: Mapped[str] = mapped_column(String(100), primary_key=True)
    tenant_id: Mapped[str] = tenant_column()


class Source(Base):
    """Where documents of a KB come from. Each KB has one of kind `upload` from its creation.

    A channel whose history is kept has one too; it goes into one knowledge base.
    """

    __tablename__ = "source"
    id: Mapped[str] = id_column()
    tenant_id: Mapped[str] = tenant_column()
    kb_id: Mapped[str] = mapped_column(
        ForeignKey("knowledge_base.id", ondelete="CASCADE"), index=True
    )
    channel_id: Mapped[str | None] = mapped_column(
        ForeignKey("channel.id", ondelete="CASCADE"), unique=True
    )
    kind: Mapped[str] = mapped_column(String(40))
    name: Mapped[str] = mapped_column(String(200))
    settings: Mapped[dict[str, Any]] = mapped_column(default=dict)
    cursor: Mapped[dict[str, Any]] = mapped_column(default=dict)
    state: Mapped[str] = mapped_column(String(20), default="idle")
    error: Mapped[str] = mapped_column(Text, default="")
    derive_due_at: Mapped[datetime | None]  # a job that derives its documents is queued for then
    created_at: Mapped[datetime] = mapped_column(default=now)


class Message(Base):
    """A chat message as its platform has it: the raw store that documents are derived from.

    Deleted ones stay as tombstones without text, so that a late copy doesn't bring them back.
    """

    __tablename__ = "message"
    __table_args__ = (
        UniqueConstraint("channel_id", "external_id"),
        Index("ix_message_channel_position", "channel_id", "position"),
        Index("ix_message_channel_thread", "channel_id", "thread", "position"),
        Index("ix_message_channel_dirty", "channel_id", "dirty"),
        Index("ix_message_tenant_author", "tenant_id", "author"),
    )
    id: Mapped[str] = id_column()
    tenant_id: Mapped[str] = mapped_column(ForeignKey("tenant.id", ondelete="CASCADE"))
    channel_id: Mapped[str] = mapped_column(ForeignKey("channel.id", ondelete="CASCADE"))
    external_id: Mapped[str] = mapped_column(String(40))  # Slack's ts, Discord's snowflake
    position: Mapped[int] = mapped_column(BigInteger)  # the same as a number: the order of posting
    thread: Mapped[str] = mapped_column(String(40), default="")  # its root; empty outside threads
    reply_to: Mapped[str] = mapped_column(String(40), default="")
    kind: Mapped[str] = mapped_column(String(10), default="message")  # message, bot, system
    author: Mapped[str] = mapped_column(String(100), default="")  # the platform's id of a person
    author_name: Mapped[str] = mapped_column(String(200), default="")  # where no identity has one
    text: Mapped[str] = mapped_column(Text, default="")  # Markdown, with the platform's mentions
    posted_at: Mapped[datetime]
    edited_at: Mapped[datetime | None]
    deleted_at: Mapped[datetime | None]
    reactions: Mapped[dict[str, Any]] = mapped_column(default=dict)  # how many by emoji
    files: Mapped[list[Any]] = mapped_column(default=list)  # {name, mime, url, size_bytes}
    raw: Mapped[dict[str, Any]] = mapped_column(default=dict)  # as the platform gave it
    change_id: Mapped[str] = mapped_column(Id, default=new_id)  # of its latest change
    dirty: Mapped[bool] = mapped_column(default=True)  # changed since it was last derived from
    document_id: Mapped[str | None] = mapped_column(  # the document that holds it
        ForeignKey("document.id", ondelete="SET NULL"), index=True
    )
    seen_at: Mapped[datetime] = mapped_column(default=now)


class MessageSpan(Base):
    """Where a message stands in the text of a revision: what citations resolve through."""

    __tablename__ = "message_span"
    revision_id: Mapped[str] = mapped_column(
        ForeignKey("revision.id", ondelete="CASCADE"), primary_key=True
    )
    start: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    end: Mapped[int]
    message_id: Mapped[str] = mapped_column(
        ForeignKey("message.id", ondelete="CASCADE"), index=True
    )
    tenant_id: Mapped[str] = tenant_column()


class Thread(Base):
    """A thread that has a life of its own on its platform: a Discord thread or forum post."""

    __tablename__ = "thread"
    __table_args__ = (UniqueConstraint("channel_id", "external_id"),)
    id: Mapped[str] = id_column()
    tenant_id: Mapped[str] = tenant_column()
    channel_id: Mapped[str] = mapped_column(ForeignKey("channel.id", ondelete="CASCADE"))
    external_id: Mapped[str] = mapped_column(String(40))
    title: Mapped[str] = mapped_column(String(500), default="")
    details: Mapped[dict[str, Any]] = mapped_column(default=dict)  # tags, archived
    cursor: Mapped[dict[str, Any]] = mapped_column(default=dict)
    created_at: Mapped[datetime] = mapped_column(default=now)


class Document(Base):
    """One file, page or chat thread; unique by KB, source and external id."""

    __tablename__ = "document"
    __table_args__ = (
        UniqueConstraint("kb_id", "source_id", "external_id"),
        Index("ix_document_kb_state", "kb_id", "state"),
        Index("ix_document_acl_kb", "acl_id", "kb_id"),  # which ACLs occur in a KB: one probe each
        Index(
            "ix_document_acl_all",
            "kb_id",
            sqlite_where=text("acl_all <> '[]'"),
            postgresql_where=text("acl_all <> '[]'"),
        ),
    )
    id: Mapped[str] = id_column()
    tenant_id: Mapped[str] = tenant_column()
    kb_id: Mapped[str] = mapped_column(ForeignKey("knowledge_base.id", ondelete="CASCADE"))
    source_id: Mapped[str] = mapped_column(ForeignKey("source.id", ondelete="CASCADE"), index=True)
    external_id: Mapped[str] = mapped_column(String(2000))
    title: Mapped[str] = mapped_column(String(500))
    url: Mapped[str] = mapped_column(String(2000), default="")
    acl_id: Mapped[str] = mapped_column(ForeignKey("acl.id"))
    acl_all: Mapped[list[str]] = mapped_column(default=list)
    state: Mapped[str] = mapped_column(String(20), default="pending")  # of the newest revision
    vectors: Mapped[str] = mapped_column(String(20), default="none")  # of the live revision
    progress: Mapped[float] = mapped_column(default=0.0)  # 0 to 1; -1 failed
    message: Mapped[str] = mapped_column(Text, default="")
    error: Mapped[str] = mapped_column(Text, default="")  # one sentence: what to do
    error_code: Mapped[str] = mapped_column(String(40), default="")
    chunk_count: Mapped[int] = mapped_column(default=0)  # of the live revision
    token_count: Mapped[int] = mapped_column(default=0)
    size_bytes: Mapped[int] = mapped_column(default=0)
    language: Mapped[str] = mapped_column(String(10), default="")
    hidden: Mapped[bool] = mapped_column(default=False)
    details: Mapped[dict[str, Any]] = mapped_column(default=dict)  # author, pages, own metadata
    derived_from: Mapped[list[str]] = mapped_column(default=list)  # document ids
    source_updated_at: Mapped[datetime | None]  # only a date the source gives
    created_at: Mapped[datetime] = mapped_column(default=now)
    updated_at: Mapped[datetime] = mapped_column(default=now)
    deleted_at: Mapped[datetime | None]


class Revision(Base):
    """One content of a document."""

    __tablename__ = "revision"
    __table_args__ = (UniqueConstraint("document_id", "number"),)
    id: Mapped[str] = id_column()
    tenant_id: Mapped[str] = tenant_column()
    document_id: Mapped[str] = mapped_column(ForeignKey("document.id", ondelete="CASCADE"))
    number: Mapped[int]
    blob_hash: Mapped[str] = mapped_column(String(64))  # SHA-256 of the bytes that came in
    filename: Mapped[str] = mapped_column(String(500), default="")
    mime: Mapped[str] = mapped_column(String(100), default="")
    size_bytes: Mapped[int] = mapped_column(default=0)
    language: Mapped[str] = mapped_column(String(10), default="")
    chunk_count: Mapped[int] = mapped_column(default=0)
    token_count: Mapped[int] = mapped_column(default=0)
    space: Mapped[str] = mapped_column(String(40), default="")
    vectors: Mapped[str] = mapped_column(String(20), default="none")
    created_at: Mapped[datetime] = mapped_column(default=now)


class RevisionText(Base):
    """The canonical text of a revision, which chunks and citations hold offsets in."""

    __tablename__ = "revision_text"
    revision_id: Mapped[str] = mapped_column(
        ForeignKey("revision.id", ondelete="CASCADE"), primary_key=True
    )
    tenant_id: Mapped[str] = tenant_column()
    body: Mapped[bytes] = mapped_column(LargeBinary)  # UTF-8, zlib


class Live(Base):
    """Which revision of a document answers on a branch: replacing is changing this one row."""

    __tablename__ = "live"
    branch: Mapped[str] = mapped_column(String(100), primary_key=True)
    document_id: Mapped[str] = mapped_column(
        ForeignKey("document.id", ondelete="CASCADE"), primary_key=True, index=True
    )
    revision_id: Mapped[str] = mapped_column(ForeignKey("revision.id"), index=True)
    kb_id: Mapped[str] = mapped_column(
        ForeignKey("knowledge_base.id", ondelete="CASCADE"), index=True
    )
    tenant_id: Mapped[str] = tenant_column()


class Chunk(Base):
    """A span of a revision: `text` equals the revision's text[start:end]; `context` is not cited."""

    __tablename__ = "chunk"
    revision_id: Mapped[str] = mapped_column(
        ForeignKey("revision.id", ondelete="CASCADE"), primary_key=True
    )
    ordinal: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    tenant_id: Mapped[str] = mapped_column(Id)
    part: Mapped[int] = mapped_column(default=0)
    start: Mapped[int]
    end: Mapped[int]
    page: Mapped[int | None]
    text: Mapped[str] = mapped_column(Text)
    context: Mapped[str] = mapped_column(Text, default="")
    tokens: Mapped[int] = mapped_column(default=0)  # text and context, as the embedder counts
    language: Mapped[str] = mapped_column(String(10), default="")
    meta: Mapped[dict[str, Any]] = mapped_column(default=dict)  # heading path, message ids, kind


class Embedding(Base):
    """The embedding cache: also what an index is rebuilt from without the model."""

    __tablename__ = "embedding"
    tenant_id: Mapped[str] = mapped_column(Id, primary_key=True)
    space: Mapped[str] = mapped_column(String(40), primary_key=True)
    text_hash: Mapped[bytes] = mapped_column(LargeBinary(16), primary_key=True)  # BLAKE2b-128
    vector: Mapped[bytes] = mapped_column(LargeBinary)  # float32, little-endian


class ComponentOutput(Base):
    """What a component made of a content, kept so that a changed pipeline repeats only what changed.

    `source_hash` is the blob's whose content it was made of: it goes when the content goes.
    """

    __tablename__ = "component_output"
    tenant_id: Mapped[str] = mapped_column(
        ForeignKey("tenant.id", ondelete="CASCADE"), primary_key=True
    )
    source_hash: Mapped[str] = mapped_column(String(64), primary_key=True)
    key: Mapped[bytes] = mapped_column(LargeBinary(16), primary_key=True)  # BLAKE2b-128
    component: Mapped[str] = mapped_column(String(64))
    body: Mapped[bytes] = mapped_column(LargeBinary)  # zlib


class Job(Base):
    """Durable work. A broker message is only a hint at a row here.

    `turn` makes claims fair: within a lane the lowest goes first, and a tenant's next job is
    stamped one after its last, but never before the turn that is being served (`engine/jobs/outbox.py`).
    """

    __tablename__ = "job"
    __table_args__ = (
        UniqueConstraint("tenant_id", "idempotency_key"),
        Index("ix_job_claim", "state", "lane", "turn", "id", "run_at", "kind"),
        Index("ix_job_tenant", "tenant_id", "state", "lane", "turn"),
        Index("ix_job_document", "document_id", "state"),
    )
    id: Mapped[str] = id_column()
    tenant_id: Mapped[str] = mapped_column(ForeignKey("tenant.id", ondelete="CASCADE"))
    kind: Mapped[str] = mapped_column(String(40))
    payload: Mapped[dict[str, Any]] = mapped_column(default=dict)
    lane: Mapped[str] = mapped_column(String(20), default="bulk")  # domain.Lane
    turn: Mapped[int] = mapped_column(BigInteger, default=0)
    state: Mapped[str] = mapped_column(String(20), default="queued")  # domain.JobState
    document_id: Mapped[str | None] = mapped_column(Id)
    attempts: Mapped[int] = mapped_column(default=0)  # begun, the running one included
    lost: Mapped[int] = mapped_column(default=0)  # attempts that ended with their worker
    max_attempts: Mapped[int] = mapped_column(default=5)
    run_at: Mapped[datetime] = mapped_column(default=now)  # not before
    lease_owner: Mapped[str] = mapped_column(String(100), default="")
    leased_until: Mapped[datetime | None]
    cancel_requested: Mapped[bool] = mapped_column(default=False)
    idempotency_key: Mapped[str | None] = mapped_column(String(200))
    error: Mapped[str] = mapped_column(Text, default="")
    correlation_id: Mapped[str] = mapped_column(String(64), default="")
    created_at: Mapped[datetime] = mapped_column(default=now)
    updated_at: Mapped[datetime] = mapped_column(default=now)


class Run(Base):
    """One execution of a flow, for one job."""

    __tablename__ = "run"
    id: Mapped[str] = id_column()
    tenant_id: Mapped[str] = tenant_column()
    job_id: Mapped[str | None] = mapped_column(Id, index=True)
    flow_id: Mapped[str] = mapped_column(String(100))
    document_id: Mapped[str | None] = mapped_column(Id, index=True)
    state: Mapped[str] = mapped_column(String(20), default="running")  # paused, done, failed, …
    progress: Mapped[float] = mapped_column(default=0.0)
    message: Mapped[str] = mapped_column(Text, default="")
    error: Mapped[str] = mapped_column(Text, default="")
    dsl: Mapped[str] = mapped_column(Text, default="")
    started_at: Mapped[datetime] = mapped_column(default=now)
    ended_at: Mapped[datetime | None]


class RunNode(Base):
    """A node's checkpoint: a run resumes after the nodes that are done."""

    __tablename__ = "run_node"
    run_id: Mapped[str] = mapped_column(ForeignKey("run.id", ondelete="CASCADE"), primary_key=True)
    node_id: Mapped[str] = mapped_column(String(100), primary_key=True)
    tenant_id: Mapped[str] = tenant_column()
    state: Mapped[str] = mapped_column(String(20))
    output: Mapped[dict[str, Any]] = mapped_column(default=dict)
    elapsed_s: Mapped[float] = mapped_column(Float, default=0.0)
    error: Mapped[str] = mapped_column(Text, default="")
    started_at: Mapped[datetime] = mapped_column(default=now)


class RunEvent(Base):
    """A line of a run's log: {component, progress, message, datetime, timestamp}."""

    __tablename__ = "run_event"
    __table_args__ = (Index("ix_run_event_run", "run_id", "id"),)
    id: Mapped[str] = id_column()
    tenant_id: Mapped[str] = tenant_column()
    run_id: Mapped[str] = mapped_column(ForeignKey("run.id", ondelete="CASCADE"))
    component: Mapped[str] = mapped_column(String(100))
    progress: Mapped[float]
    message: Mapped[str] = mapped_column(Text)
    at: Mapped[datetime] = mapped_column(default=now)


class Flow(Base):
    """A saved DSL graph: a pipeline when it ingests, a workflow when it answers."""

    __tablename__ = "flow"
    __table_args__ = (UniqueConstraint("tenant_id", "name"),)
    id: Mapped[str] = id_column()
    tenant_id: Mapped[str] = tenant_column()
    name: Mapped[str] = mapped_column(String(100))
    kind: Mapped[str] = mapped_column(String(20), default="pipeline")
    dsl: Mapped[str] = mapped_column(Text)  # kept byte-equal
    created_at: Mapped[datetime] = mapped_column(default=now)
    updated_at: Mapped[datetime] = mapped_column(default=now)


class Conversation(Base):
    __tablename__ = "conversation"
    id: Mapped[str] = id_column()
    tenant_id: Mapped[str] = tenant_column()
    user_id: Mapped[str | None] = mapped_column(
        ForeignKey("user.id", ondelete="SET NULL"), index=True
    )
    door: Mapped[str] = mapped_column(String(20), default="")  # cli, api, mcp, slack, discord
    external_id: Mapped[str] = mapped_column(String(200), default="", index=True)
    created_at: Mapped[datetime] = mapped_column(default=now)


class Turn(Base):
    """One question and its answer, with every source that entered its context."""

    __tablename__ = "turn"
    id: Mapped[str] = id_column()
    tenant_id: Mapped[str] = tenant_column()
    conversation_id: Mapped[str] = mapped_column(
        ForeignKey("conversation.id", ondelete="CASCADE"), index=True
    )
    question: Mapped[str] = mapped_column(Text)
    answer: Mapped[str] = mapped_column(Text)
    grounded: Mapped[bool]
    confidence: Mapped[float]
    audience: Mapped[str] = mapped_column(String(100))  # domain.Audience.key
    sources: Mapped[list[str]]  # chunk ids
    citations: Mapped[list[Any]]  # revision, offsets, quote
    model: Mapped[str] = mapped_column(String(100), default="")
    input_tokens: Mapped[int] = mapped_column(default=0)
    output_tokens: Mapped[int] = mapped_column(default=0)
    took_ms: Mapped[float] = mapped_column(default=0.0)
    feedback: Mapped[int | None]  # +1, -1
    created_at: Mapped[datetime] = mapped_column(default=now)


class Post(Base):
    """A bot's reply in a chat: what it answers, where it stands and whom it was for.

    It is made with its `answer` job. `message_id` is set as soon as the platform has shown
    anything, so that whoever takes the job over goes on there.
    """

    __tablename__ = "post"
    __table_args__ = (
        UniqueConstraint("job_id"),
        Index("ix_post_question", "workspace_id", "channel", "question_id"),
        Index("ix_post_thread", "workspace_id", "channel", "thread"),
        Index("ix_post_identity", "identity_id", "id"),
    )
    id: Mapped[str] = id_column()
    tenant_id: Mapped[str] = tenant_column()
    job_id: Mapped[str] = mapped_column(Id)
    workspace_id: Mapped[str] = mapped_column(ForeignKey("workspace.id", ondelete="CASCADE"))
    channel_id: Mapped[str | None] = mapped_column(ForeignKey("channel.id", ondelete="CASCADE"))
    identity_id: Mapped[str] = mapped_column(ForeignKey("identity.id", ondelete="CASCADE"))
    surface: Mapped[str] = mapped_column(String(20))  # channel, direct, private
    channel: Mapped[str] = mapped_column(String(100))  # the platform's ids from here
    thread: Mapped[str] = mapped_column(String(100), default="")
    question_id: Mapped[str] = mapped_column(String(100), default="")
    message_id: Mapped[str] = mapped_column(String(100), default="")
    question: Mapped[str] = mapped_column(Text)
    addressed: Mapped[bool] = mapped_column(default=True)  # False: overheard, may stay silent
    state: Mapped[str] = mapped_column(String(20), default="pending")  # chat.PostState
    turn_id: Mapped[str | None] = mapped_column(ForeignKey("turn.id", ondelete="SET NULL"))
    escalated_at: Mapped[datetime | None]
    resolved_at: Mapped[datetime | None]
    created_at: Mapped[datetime] = mapped_column(default=now)
    updated_at: Mapped[datetime] = mapped_column(default=now)


class Feedback(Base):
    """What somebody thought of an answer; a second opinion of theirs replaces the first."""

    __tablename__ = "feedback"
    __table_args__ = (UniqueConstraint("turn_id", "rater"),)
    id: Mapped[str] = id_column()
    tenant_id: Mapped[str] = tenant_column()
    turn_id: Mapped[str] = mapped_column(ForeignKey("turn.id", ondelete="CASCADE"))
    rater: Mapped[str] = mapped_column(String(40))  # an identity's or a user's id
    rating: Mapped[int]  # +1, -1
    reason: Mapped[str] = mapped_column(String(40), default="")  # wrong, outdated, missing, …
    text: Mapped[str] = mapped_column(Text, default="")
    created_at: Mapped[datetime] = mapped_column(default=now)


class QueryLog(Base):
    """A row a search. The query's text is kept only where the tenant turns it on."""

    __tablename__ = "query_log"
    __table_args__ = (Index("ix_query_log_tenant_at", "tenant_id", "at"),)
    id: Mapped[str] = id_column()
    tenant_id: Mapped[str] = mapped_column(ForeignKey("tenant.id", ondelete="CASCADE"))
    user_id: Mapped[str | None] = mapped_column(Id)
    kb_ids: Mapped[list[str]]
    mode: Mapped[str] = mapped_column(String(20))
    text: Mapped[str] = mapped_column(Text, default="")
    hits: Mapped[int]
    confidence: Mapped[float]
    took_ms: Mapped[float]
    error_code: Mapped[str] = mapped_column(String(40), default="")
    at: Mapped[datetime] = mapped_column(default=now)


class ToolCall(Base):
    """A row a call of an MCP tool: who did what, never what was found.

    What was asked is kept only where the tenant turns it on.
    """

    __tablename__ = "tool_call"
    __table_args__ = (Index("ix_tool_call_tenant_at", "tenant_id", "at"),)
    id: Mapped[str] = id_column()
    tenant_id: Mapped[str] = mapped_column(ForeignKey("tenant.id", ondelete="CASCADE"))
    user_id: Mapped[str | None] = mapped_column(Id)
    api_token_id: Mapped[str | None] = mapped_column(Id)
    door: Mapped[str] = mapped_column(String(20))  # http, stdio
    tool: Mapped[str] = mapped_column(String(60))
    kb_ids: Mapped[list[str]]
    results: Mapped[int]
    code: Mapped[str] = mapped_column(String(40), default="")  # of the error; empty: none
    took_ms: Mapped[float]
    text: Mapped[str] = mapped_column(Text, default="")
    at: Mapped[datetime] = mapped_column(default=now)


class Event(Base):
    """What happened, appended in the transaction of its cause."""

    __tablename__ = "event"
    __table_args__ = (Index("ix_event_tenant_id", "tenant_id", "id"),)
    id: Mapped[str] = id_column()
    tenant_id: Mapped[str] = mapped_column(ForeignKey("tenant.id", ondelete="CASCADE"))
    kind: Mapped[str] = mapped_column(String(60))  # document.uploaded, document.processed, …
    payload: Mapped[dict[str, Any]]
    at: Mapped[datetime] = mapped_column(default=now)


class AuditEvent(Base):
    """Who changed what. Appended in the transaction of the change."""

    __tablename__ = "audit_event"
    __table_args__ = (Index("ix_audit_event_tenant_at", "tenant_id", "at"),)
    id: Mapped[str] = id_column()
    tenant_id: Mapped[str] = mapped_column(ForeignKey("tenant.id", ondelete="CASCADE"))
    actor: Mapped[str] = mapped_column(String(200))
    action: Mapped[str] = mapped_column(String(60))
    target: Mapped[str] = mapped_column(String(200), default="")
    detail: Mapped[dict[str, Any]] = mapped_column(default=dict)
    at: Mapped[datetime] = mapped_column(default=now)


class Worker(Base):
    """A live process that claims jobs; a heartbeat older than the lease means it is gone."""

    __tablename__ = "worker"
    id: Mapped[str] = mapped_column(String(100), primary_key=True)
    host: Mapped[str] = mapped_column(String(200))
    pid: Mapped[int]
    state: Mapped[str] = mapped_column(String(20), default="running")
    figures: Mapped[dict[str, Any]] = mapped_column(default=dict)  # counted since its start
    started_at: Mapped[datetime] = mapped_column(default=now)
    heartbeat_at: Mapped[datetime] = mapped_column(default=now)


class Setting(Base):
    """Facts of the installation that must travel with its data (secret key id, sample seeded)."""

    __tablename__ = "setting"
    key: Mapped[str] = mapped_column(String(100), primary_key=True)
    value: Mapped[dict[str, Any]]


class Ephemeral(Base):
    """Short-lived state that processes share (`limits.py`); losing it loses nothing."""

    __tablename__ = "ephemeral"
    __table_args__ = (Index("ix_ephemeral_until", "until"),)
    key: Mapped[str] = mapped_column(String(300), primary_key=True)  # names its tenant
    value: Mapped[bytes] = mapped_column(LargeBinary, default=b"")
    until: Mapped[float]  # seconds since the epoch: when a bucket is full, a lock or entry ends
