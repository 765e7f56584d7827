"""Which chat message a passage comes from, and its address on the platform.

`ask.py` and the doors resolve citations and hits here, after these passed the gate.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

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
    """For each (revision id, start, end) the message most of it stands in, None where none does.

    For passages that passed the gate already: this asks nothing about who may read them.
    """
    found: list[Origin | None] = []
    for revision_id, start, end in spans:
        rows = (
            await session.execute(
                select(MessageSpan.start, MessageSpan.end, Message, Channel, Workspace)
                .join(Message, Message.id == MessageSpan.message_id)
                .join(Channel, Channel.id == Message.channel_id)
                .join(Workspace, Workspace.id == Channel.workspace_id)
                .where(
                    MessageSpan.tenant_id == tenant_id,
                    MessageSpan.revision_id == revision_id,
                    MessageSpan.start < end,
                    MessageSpan.end > start,
                    Message.deleted_at.is_(None),
                )
                .order_by(MessageSpan.start)
            )
        ).all()
        if not rows:
            found.append(None)
            continue
        row = max(rows, key=lambda one: min(one.end, end) - max(one.start, start))
        message, channel, workspace = row.Message, row.Channel, row.Workspace
        name = await session.scalar(
            select(Identity.name).where(
                Identity.tenant_id == tenant_id,
                Identity.workspace_id == workspace.id,
                Identity.subject == message.author,
            )
        )
        found.append(
            Origin(
                message_id=message.id,
                external_id=message.external_id,
                author=name or message.author_name or message.author,
                posted_at=message.posted_at,
                channel=channel.name,
                url=permalink(workspace, channel.external_id, message.external_id, message.thread),
            )
        )
    return found


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
