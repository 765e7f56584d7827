"""Which chat message a passage comes from, and its address on the platform.

`ask.py` and the doors resolve citations and hits here, after these passed the gate.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Row, and_, or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from engine.access.pseudonyms import is_unnamed, pseudonym
from engine.db.tables import Channel, Identity, Message, MessageSpan, Workspace


@dataclass(frozen=True, slots=True)
class Origin:
    """The message a passage comes from. `url` leads to it on its platform, where that is known."""

    message_id: str
    external_id: str
    author: str
    posted_at: datetime
    channel: str
    url: str


async def origins(
    session: AsyncSession, tenant_id: str, spans: Sequence[tuple[str, int, int]]
) -> list[Origin | None]:
    """For each (revision id, start, end) the message most of it is from, None where there is none.

    For passages that passed the gate already: this asks nothing about who may read them.
    """
    if not spans:
        return []
    rows = (
        await session.execute(
            select(MessageSpan, Message, Channel, Workspace)
            .join(Message, Message.id == MessageSpan.message_id)
            .join(Channel, Channel.id == Message.channel_id)
            .join(Workspace, Workspace.id == Channel.workspace_id)
            .where(
                MessageSpan.tenant_id == tenant_id,
                or_(
                    *(
                        and_(
                            MessageSpan.revision_id == revision_id,
                            MessageSpan.start < end,
                            MessageSpan.end > start,
                        )
                        for revision_id, start, end in set(spans)
                    )
                ),
                Message.deleted_at.is_(None),
            )
            .order_by(MessageSpan.start)
        )
    ).all()
    chosen: list[Row[MessageSpan, Message, Channel, Workspace] | None] = []
    for revision_id, start, end in spans:
        inside = [row for row in rows if row.MessageSpan.revision_id == revision_id]
        shared = [
            min(row.MessageSpan.end, end) - max(row.MessageSpan.start, start) for row in inside
        ]
        most = max(shared, default=0)
        chosen.append(inside[shared.index(most)] if most > 0 else None)
    authors = {(row.Workspace.id, row.Message.author) for row in chosen if row is not None}
    names = await _names(session, tenant_id, authors)
    return [
        None
        if row is None
        else Origin(
            message_id=row.Message.id,
            external_id=row.Message.external_id,
            author=_author(row.Workspace, row.Channel, row.Message, names),
            posted_at=row.Message.posted_at,
            channel=row.Channel.name,
            url=permalink(
                row.Workspace, row.Channel.external_id, row.Message.external_id, row.Message.thread
            ),
        )
        for row in chosen
    ]


def _author(
    workspace: Workspace,
    channel: Channel,
    message: Message,
    names: Mapping[tuple[str, str], str],
) -> str:
    if is_unnamed(workspace.settings, channel.settings):
        return pseudonym(workspace.id, message.author or message.author_name)
    known = names.get((workspace.id, message.author))
    return known or message.author_name or message.author


async def _names(
    session: AsyncSession, tenant_id: str, authors: Collection[tuple[str, str]]
) -> dict[tuple[str, str], str]:
    """Names of accounts by (workspace id, the platform's id)."""
    if not authors:
        return {}
    rows = await session.execute(
        select(Identity.workspace_id, Identity.subject, Identity.name).where(
            Identity.tenant_id == tenant_id,
            Identity.workspace_id.in_({workspace_id for workspace_id, _ in authors}),
            Identity.subject.in_({subject for _, subject in authors}),
        )
    )
    return {(row.workspace_id, row.subject): row.name for row in rows}


def permalink(workspace: Workspace, channel: str, message: str, thread: str) -> str:
    """The platform's address of a message, made without asking it."""
    if workspace.platform == "discord":
        guild = workspace.external_id.rpartition(":")[2]
        return f"https://discord.com/channels/{guild}/{thread or channel}/{message}"
    base = str(workspace.settings.get("url") or "")
    if not base:
        return ""
    url = f"{base}/archives/{channel}/p{message.replace('.', '')}"
    return f"{url}?thread_ts={thread}&cid={channel}" if thread and thread != message else url
