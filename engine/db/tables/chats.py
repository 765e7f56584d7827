"""Slack and Discord: workspaces, channels, messages as their platform has them, and posts."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, ForeignKey, Index, String, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from engine.clock import new_id, now
from engine.db.tables.base import Base, Id, id_column, tenant_column


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
