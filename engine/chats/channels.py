"""The channels of chat platforms, as platforms and exports tell of them, and as admins name them.

Each function is one step of the caller's transaction. Whether a channel is public is part of who
may read it, in `engine/access/principals.py`, so a list that is out of date makes no channel public.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

from sqlalchemy import ColumnElement, or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from engine import clock
from engine.access import gate
from engine.access.principals import SHARED
from engine.chats.derivation import derive_again
from engine.chats.freshness import unknown_since
from engine.chats.places import Place
from engine.db.tables import Channel, Message, Workspace
from engine.domain import Principal, Scope
from engine.errors import InvalidInput, NotFound


@dataclass(frozen=True, slots=True)
class NewChannel:
    """A channel, or a private thread. `is_public`: every full member of the workspace may read it."""

    external_id: str
    name: str
    is_public: bool = False
    kind: str = "text"  # text, forum, thread, voice
    settings: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ChannelInfo:
    """A channel as callers are shown it."""

    id: str
    workspace_id: str
    platform: str
    external_id: str
    name: str
    is_public: bool
    kind: str
    members_synced_at: datetime | None
    settings: Mapping[str, Any]


async def channel_id_of(session: AsyncSession, place: Place, external_id: str) -> str:
    """Our id of a channel by the platform's; `NotFound` where it is not known yet."""
    found = await session.scalar(
        select(Channel.id).where(
            Channel.workspace_id == place.workspace_id, Channel.external_id == external_id
        )
    )
    if found is None:
        raise NotFound(f"No channel {external_id!r} is known in this workspace.")
    return found


async def put_channels(
    session: AsyncSession,
    place: Place,
    channels: Iterable[NewChannel],
    *,
    at: datetime | None = None,
) -> dict[str, str]:
    """Channel ids by the platform's ids, made or brought up to date, as they were at `at`."""
    found: dict[str, str] = {}
    workspace = await session.get_one(Workspace, place.workspace_id)
    for new in channels:
        row = await session.scalar(
            select(Channel).where(
                Channel.workspace_id == place.workspace_id,
                Channel.external_id == new.external_id,
            )
        )
        if row is None:
            row = Channel(
                id=clock.new_id(),
                tenant_id=place.tenant_id,
                workspace_id=place.workspace_id,
                external_id=new.external_id,
                settings={},
            )
            session.add(row)
        elif row.name != new.name[:200]:
            # Every passage of it is indexed with its name.
            await derive_again(session, place.tenant_id, Message.channel_id == row.id)
        row.name = new.name[:200]
        overtaken = at is not None and unknown_since(workspace, row) > at
        row.is_public = new.is_public and not overtaken
        row.kind = new.kind
        shares = set(row.settings.get(SHARED) or ()) if overtaken else set()
        row.settings = {**row.settings, **new.settings}
        if shares:
            row.settings = {**row.settings, SHARED: sorted(shares | set(new.settings[SHARED]))}
        await session.flush()
        found[new.external_id] = row.id
    return found


async def is_marked(
    session: AsyncSession, place: Place, channel_id: str, kinds: Iterable[str]
) -> bool:
    """Whether a channel is known to be open to these kinds of others."""
    channel = await own_channel(session, place, channel_id)
    return set(kinds) <= set(channel.settings.get(SHARED) or ())


async def mark_shared(
    session: AsyncSession, place: Place, channel_id: str, kinds: Iterable[str]
) -> None:
    """A channel is known to be open to others than its workspace, until it is asked about again."""
    channel = await own_channel(session, place, channel_id)
    known = set(channel.settings.get(SHARED) or ())
    if not set(kinds) <= known:
        channel.settings = {**channel.settings, SHARED: sorted(known | set(kinds))}
        await session.flush()


async def renumber(session: AsyncSession, place: Place, old: str, new: str) -> None:
    """The platform gave a channel another id; one that is known under the new id stays."""
    if await _find(session, place, new) is None:
        row = await _find(session, place, old)
        if row is None:
            raise NotFound(f"No channel {old!r} is known in this workspace.")
        row.external_id = new
        await session.flush()


async def _find(session: AsyncSession, place: Place, external_id: str) -> Channel | None:
    return await session.scalar(
        select(Channel).where(
            Channel.workspace_id == place.workspace_id, Channel.external_id == external_id
        )
    )


async def make_private(session: AsyncSession, place: Place, channel_id: str) -> None:
    """A public channel became private: from now on only its members count."""
    channel = await own_channel(session, place, channel_id)
    channel.is_public = False
    await session.flush()


class InWorkspace(Protocol):
    """Anything that belongs to one workspace of a tenant: a `Place`, a `Sender`."""

    @property
    def tenant_id(self) -> str:
        """Whose it is."""
        ...

    @property
    def workspace_id(self) -> str:
        """Our id of the workspace."""
        ...


async def own_channel(session: AsyncSession, inside: InWorkspace, channel_id: str) -> Channel:
    """The row of a channel of this workspace, by our id; `NotFound` for any other."""
    return (await _own_channel(session, inside, channel_id))[0]


async def get_channel(session: AsyncSession, inside: InWorkspace, channel_id: str) -> ChannelInfo:
    """A channel of this workspace, by our id; `NotFound` for any other."""
    return _info(*await _own_channel(session, inside, channel_id))


async def _own_channel(
    session: AsyncSession, inside: InWorkspace, channel_id: str
) -> tuple[Channel, str]:
    row = (
        await session.execute(
            select(Channel, Workspace.platform)
            .join(Workspace, Workspace.id == Channel.workspace_id)
            .where(
                Channel.id == channel_id,
                Channel.workspace_id == inside.workspace_id,
                Channel.tenant_id == inside.tenant_id,
            )
        )
    ).one_or_none()
    if row is None:
        raise NotFound("No such channel in this workspace.")
    return row[0], row[1]


async def find_channel_here(session: AsyncSession, inside: InWorkspace, ref: str) -> ChannelInfo:
    """A channel of this workspace by our id, the platform's id or its name, with or without #."""
    rows = await _named(session, inside.tenant_id, ref, Channel.workspace_id == inside.workspace_id)
    if not rows:
        raise NotFound(f"The bot knows no channel {ref!r} here: invite it there first.")
    if len(rows) > 1:
        raise InvalidInput(f"Several channels are called {ref!r}: link it with #.", field="channel")
    return rows[0]


async def find_channel(session: AsyncSession, principal: Principal, ref: str) -> ChannelInfo:
    """A channel of the tenant by our id, the platform's id, or its name with or without #.

    Admins name any channel, for its settings; what is in it they read only as members of it.
    """
    gate.require(principal, Scope.KB_ADMIN)
    rows = await _named(session, principal.tenant_id, ref)
    if not rows:
        raise NotFound(f"No channel {ref!r}. Add the bot to it, or import an export of it.")
    if len(rows) > 1:
        raise InvalidInput(f"Several channels are called {ref!r}: use its id.", field="channel")
    return rows[0]


async def _named(
    session: AsyncSession, tenant_id: str, ref: str, *where: ColumnElement[bool]
) -> list[ChannelInfo]:
    """Channels of the tenant that a reference may mean: two where there are more."""
    rows = await session.execute(
        select(Channel, Workspace.platform)
        .join(Workspace, Workspace.id == Channel.workspace_id)
        .where(
            Channel.tenant_id == tenant_id,
            or_(
                Channel.id == ref,
                Channel.external_id == ref,
                Channel.name == ref.removeprefix("#"),
            ),
            *where,
        )
        .limit(2)
    )
    return [_info(channel, platform) for channel, platform in rows]


async def list_channels(session: AsyncSession, principal: Principal) -> list[ChannelInfo]:
    """Every channel of the tenant that is known, by name, for admins."""
    gate.require(principal, Scope.KB_ADMIN)
    rows = await session.execute(
        select(Channel, Workspace.platform)
        .join(Workspace, Workspace.id == Channel.workspace_id)
        .where(Channel.tenant_id == principal.tenant_id)
        .order_by(Channel.name, Channel.id)
    )
    return [_info(channel, platform) for channel, platform in rows]


def _info(row: Channel, platform: str) -> ChannelInfo:
    return ChannelInfo(
        id=row.id,
        workspace_id=row.workspace_id,
        platform=platform,
        external_id=row.external_id,
        name=row.name,
        is_public=row.is_public,
        kind=row.kind,
        members_synced_at=row.members_synced_at,
        settings=row.settings,
    )
