"""Who is in a channel, and when that is unknown.

Who may read a channel follows from these rows, in `engine/access/principals.py`. What is uncertain
is made unknown: then nobody holds the channel's token until the next sync.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime

from sqlalchemy import and_, delete, insert, select
from sqlalchemy.ext.asyncio import AsyncSession

from engine import clock
from engine.chats.accounts import NewPerson, put_people
from engine.chats.batches import batches
from engine.chats.channels import own_channel
from engine.chats.freshness import PLACED, note_change, placed_at, unknown_since
from engine.chats.places import Place
from engine.db.session import upsert
from engine.db.tables import Channel, ChannelMember, Workspace


async def set_members(
    session: AsyncSession,
    place: Place,
    channel_id: str,
    identity_ids: Collection[str],
    *,
    at: datetime | None = None,
) -> None:
    """The whole list of a channel's members, as it was at `at`: they count from there on.

    What became known since `at` wins: a channel that was made unknown stays unknown until it is
    asked about again, and an account that was placed stays where that put it.
    """
    channel = await own_channel(session, place, channel_id)
    workspace = await session.get_one(Workspace, place.workspace_id)
    at = at or clock.now()
    present = set(
        await session.scalars(
            select(ChannelMember.identity_id).where(ChannelMember.channel_id == channel_id)
        )
    )
    placed = {account for account, when in placed_at(workspace).items() if when > at}
    wanted = (set(identity_ids) - placed) | (present & placed)
    for some in batches(sorted(present - wanted)):
        await session.execute(
            delete(ChannelMember).where(
                ChannelMember.channel_id == channel_id, ChannelMember.identity_id.in_(some)
            )
        )
    if fresh := sorted(wanted - present):
        rows = [
            {"channel_id": channel_id, "identity_id": item, "tenant_id": place.tenant_id}
            for item in fresh
        ]
        await session.execute(insert(ChannelMember), rows)
    channel.members_synced_at = at if unknown_since(workspace, channel) <= at else None
    await session.flush()


async def place_member(
    session: AsyncSession, place: Place, person: NewPerson, reads: Mapping[str, bool | None]
) -> list[str]:
    """Somebody as the platform tells of them now, with what they read of each channel from now on.

    None where that does not say: a channel they counted in becomes unknown then. Returns those, to
    be asked about again (the platform's ids).
    """
    [identity_id] = (await put_people(session, place, [person])).values()
    workspace = await note_change(session, place)
    placed = {
        account: when
        for account, when in placed_at(workspace).items()
        if when > clock.now() - PLACED
    }
    placed[identity_id] = clock.now()
    stored = {account: when.isoformat() for account, when in placed.items()}
    workspace.settings = {**workspace.settings, "placed": stored}
    rows = await session.execute(
        select(Channel, ChannelMember.identity_id)
        .outerjoin(
            ChannelMember,
            and_(ChannelMember.channel_id == Channel.id, ChannelMember.identity_id == identity_id),
        )
        .where(Channel.workspace_id == place.workspace_id)
    )
    unsure: list[str] = []
    for channel, present in rows.all():
        now = reads.get(channel.external_id, False)
        if now and present is None:
            await add_member(session, place, channel.id, identity_id)
        elif now is False and present is not None:
            await remove_member(session, place, channel.id, identity_id)
        elif now is None and present is not None:
            await forget_membership(session, place, channel.id)
            unsure.append(channel.external_id)
    await session.flush()
    return unsure


async def add_member(
    session: AsyncSession, place: Place, channel_id: str, identity_id: str
) -> None:
    """Somebody joined. This alone makes nothing fresh: the others stay as (un)known as they are."""
    await own_channel(session, place, channel_id)
    statement = upsert(session, ChannelMember).values(
        channel_id=channel_id, identity_id=identity_id, tenant_id=place.tenant_id
    )
    await session.execute(statement.on_conflict_do_nothing())


async def remove_member(
    session: AsyncSession, place: Place, channel_id: str, identity_id: str
) -> None:
    """Somebody left, at once."""
    await own_channel(session, place, channel_id)
    await session.execute(
        delete(ChannelMember).where(
            ChannelMember.channel_id == channel_id, ChannelMember.identity_id == identity_id
        )
    )


async def forget_membership(session: AsyncSession, place: Place, channel_id: str) -> None:
    """Who is in the channel is unknown: a sync failed, the bot was removed, access was lost.

    Nobody holds the channel's token until a sync that begins after this succeeds.
    """
    channel = await own_channel(session, place, channel_id)
    channel.members_synced_at = None
    channel.settings = {**channel.settings, "unknown_since": clock.now().isoformat()}
    await note_change(session, place)


async def forget_every_membership(session: AsyncSession, place: Place) -> None:
    """Who is in any channel of a workspace is unknown, until syncs that begin after this."""
    await lose_all(session, place)
    workspace = await note_change(session, place)
    at = clock.now().isoformat()
    workspace.settings = {**workspace.settings, "unknown_since": at}
    await session.flush()


async def lose_all(session: AsyncSession, place: Place, *, but: Collection[str] = ()) -> None:
    """Who is in the channels of a workspace is unknown, but of these (the platform's ids)."""
    rows = await session.scalars(
        select(Channel).where(
            Channel.workspace_id == place.workspace_id, Channel.members_synced_at.is_not(None)
        )
    )
    for channel in rows:
        if channel.external_id not in but:
            channel.members_synced_at = None
    await session.flush()
