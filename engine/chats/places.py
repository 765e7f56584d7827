"""The workspaces of chat platforms, as bots, readers and imports hold one while they write into it.

An import is a workspace beside the live one: what a file says of people never decides who they are
on the platform.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from engine import clock
from engine.access.principals import ACTIVE, IMPORTED
from engine.db.tables import Channel, Source, Thread, Workspace
from engine.errors import Conflict, NotFound

Platform = Literal["slack", "discord"]


@dataclass(frozen=True, slots=True)
class Place:
    """A workspace, for code that writes into it; `provider` is that of its people's accounts."""

    tenant_id: str
    workspace_id: str
    platform: str
    external_id: str
    provider: str
    name: str = ""
    settings: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class NewWorkspace:
    """A Slack team or Discord guild. `imported`: known from an export only, and never synced."""

    platform: Platform
    external_id: str
    name: str
    imported: bool = False
    url: str = ""  # https://acme.slack.com: what links to messages begin with


async def put_workspace(session: AsyncSession, tenant_id: str, new: NewWorkspace) -> Place:
    """The tenant's workspace, made or brought up to date; `Conflict` where another tenant has it.

    An import is a separate workspace beside the live one.
    """
    external_id = _imported_id(tenant_id, new.external_id) if new.imported else new.external_id
    row = await session.scalar(
        select(Workspace).where(
            Workspace.platform == new.platform, Workspace.external_id == external_id
        )
    )
    if row is None:
        row = Workspace(
            id=clock.new_id(),
            tenant_id=tenant_id,
            platform=new.platform,
            external_id=external_id,
            name=new.name[:200],
            state=IMPORTED if new.imported else ACTIVE,
            settings={},
        )
        session.add(row)
    elif row.tenant_id != tenant_id:
        raise Conflict(f"The {new.platform} workspace {new.name!r} belongs to another tenant.")
    row.name = new.name[:200] or row.name
    if new.url:
        row.settings = {**row.settings, "url": new.url.rstrip("/")}
    await session.flush()
    return _place(row)


async def get_place(session: AsyncSession, platform: str, external_id: str) -> Place:
    """The active workspace a platform's id names; `NotFound` for one that no tenant has."""
    row = await session.scalar(
        select(Workspace).where(
            Workspace.platform == platform,
            Workspace.external_id == external_id,
            Workspace.state == ACTIVE,
        )
    )
    if row is None:
        raise NotFound(f"No {platform} workspace {external_id!r} is connected.")
    return _place(row)


async def kept_place(
    session: AsyncSession, platform: str, workspace: str, channel: str
) -> Place | None:
    """The active workspace of a channel whose history is kept; None where it is not."""
    row = await session.scalar(
        select(Workspace)
        .join(Channel, Channel.workspace_id == Workspace.id)
        .join(Source, Source.channel_id == Channel.id)
        .where(
            Workspace.platform == platform,
            Workspace.external_id == workspace,
            Workspace.state == ACTIVE,
            Channel.external_id == channel,
        )
    )
    return None if row is None else _place(row)


async def kept_home(
    session: AsyncSession, platform: str, workspace: str, channel: str
) -> tuple[Place, str, str] | None:
    """Where what is said in a channel or thread is kept: its place, channel and thread, else None.

    Ids are the platform's; a thread is found by those that are known of a kept channel.
    """
    place = await kept_place(session, platform, workspace, channel)
    if place is not None:
        return place, channel, ""
    row = (
        await session.execute(
            select(Workspace, Channel.external_id)
            .join(Channel, Channel.workspace_id == Workspace.id)
            .join(Source, Source.channel_id == Channel.id)
            .join(Thread, Thread.channel_id == Channel.id)
            .where(
                Workspace.platform == platform,
                Workspace.external_id == workspace,
                Workspace.state == ACTIVE,
                Thread.external_id == channel,
            )
            .limit(1)
        )
    ).first()
    return None if row is None else (_place(row[0]), row[1], channel)


async def place_of(
    session: AsyncSession, tenant_id: str, workspace_id: str, *, state: str = ""
) -> Place:
    """A workspace of the tenant, in any state or in this one."""
    row = await session.scalar(
        select(Workspace).where(Workspace.id == workspace_id, Workspace.tenant_id == tenant_id)
    )
    if row is None or (state and row.state != state):
        raise NotFound("No such workspace.")
    return _place(row)


def _imported_id(tenant_id: str, external_id: str) -> str:
    return f"import:{tenant_id}:{external_id}"[:100]


def _place(row: Workspace) -> Place:
    imported = row.state == IMPORTED
    return Place(
        tenant_id=row.tenant_id,
        workspace_id=row.id,
        platform=row.platform,
        external_id=row.external_id.rpartition(":")[2] if imported else row.external_id,
        provider=f"{row.platform}-export" if imported else row.platform,
        name=row.name,
        settings=row.settings,
    )
