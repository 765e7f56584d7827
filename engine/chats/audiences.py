"""Why a channel may be told less than the person who asks: who in it narrows the audience.

The audience itself is `engine.access.gate.audience_of_channel`; this only says in words people
understand what its tokens come from. Who is in a channel is known to everyone in it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from engine import clock
from engine.access.principals import ACTIVE, EXTERNAL, FRESH, SHARED
from engine.chats.channels import own_channel
from engine.chats.sender_rows import Sender
from engine.db.tables import ChannelMember, Identity, Workspace


@dataclass(frozen=True, slots=True)
class Narrowing:
    """Who holds less than the full members of a channel's workspace; names in their order.

    `shared` says whom it is open to besides (`slack_messages.shared_with`); `is_known` is False
    where the platform has not said lately who is in it.
    """

    channel: str
    is_known: bool = True
    is_public: bool = True
    guests: Sequence[str] = ()
    external: Sequence[str] = ()
    shared: Sequence[str] = ()

    def __bool__(self) -> bool:
        return bool(not self.is_known or self.guests or self.external or self.shared)


async def narrowing(session: AsyncSession, sender: Sender) -> Narrowing | None:
    """Who narrows what the sender's channel may be told; None in a direct message."""
    if sender.channel_id is None:
        return None
    channel = await own_channel(session, sender, sender.channel_id)
    workspace = await session.get_one(Workspace, sender.workspace_id)
    synced = channel.members_synced_at
    if workspace.state != ACTIVE or synced is None or synced <= clock.now() - FRESH:
        return Narrowing(channel.name, is_known=False, is_public=channel.is_public)
    rows = await session.execute(
        select(Identity.name, Identity.platform_role)
        .join(ChannelMember, ChannelMember.identity_id == Identity.id)
        .where(
            ChannelMember.channel_id == channel.id,
            Identity.tenant_id == sender.tenant_id,
            Identity.is_full_member.is_(False) | (Identity.workspace_id != workspace.id),
        )
        .order_by(Identity.name)
    )
    outside = [tuple(row) for row in rows]
    return Narrowing(
        channel.name,
        is_public=channel.is_public,
        guests=[name for name, role in outside if role != EXTERNAL],
        external=[name for name, role in outside if role == EXTERNAL],
        shared=list(channel.settings.get(SHARED) or ()),
    )
