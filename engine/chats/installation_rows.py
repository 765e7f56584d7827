"""Installations of the bot, and the workspaces they speak in.

The bots call this through `Engine.chats.installations`. Credentials are encrypted here and shown
nowhere. What an uninstalled workspace left is purged after `RETENTION`.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Literal

from sqlalchemy import ColumnElement, delete, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from engine import clock
from engine.access import gate
from engine.access.principals import ACTIVE
from engine.chats import source_jobs, sources
from engine.db.tables import Channel, Installation, Source, Workspace
from engine.domain import Principal, Role
from engine.errors import Conflict, NotFound
from engine.secrets import Secrets

PAUSED, PURGED = "paused", "purged"
RETENTION = timedelta(days=7)  # what an uninstalled workspace left is kept, in case of a mistake

Reading = Literal["index", "live"]


@dataclass(frozen=True, slots=True)
class NewInstallation:
    """What a platform hands out when the bot is installed.

    `client_id` is empty for a token somebody made for their own workspace; `enterprise_id` and
    `team_id` say where it holds: a team, a team of an organisation, or (no team) all of one.
    """

    platform: str
    team_id: str
    token: str = field(repr=False)
    enterprise_id: str = ""
    client_id: str = ""
    name: str = ""
    url: str = ""
    scopes: Sequence[str] = ()
    app_id: str = ""
    bot_id: str = ""
    bot_user_id: str = ""
    installed_by: str = ""
    reading: Reading = "index"
    refresh_token: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class Installed:
    """An installation as the bot uses it."""

    id: str
    tenant_id: str
    platform: str
    team_id: str
    enterprise_id: str
    name: str
    url: str
    token: str = field(repr=False)
    scopes: Sequence[str]
    bot_id: str
    bot_user_id: str
    installed_by: str
    reading: Reading
    state: str
    updated_at: datetime


async def install(
    session: AsyncSession, secrets: Secrets, tenant_id: str, new: NewInstallation
) -> str:
    """The id of the installation, made or renewed; its workspace is bound to the tenant.

    `Conflict` where another tenant has the workspace: one of them would read the other's.
    """
    if new.team_id:
        await bind_workspace(session, tenant_id, new.platform, new.team_id, new.name, new.url)
    row = await session.scalar(
        select(Installation).where(
            Installation.platform == new.platform,
            Installation.client_id == new.client_id,
            Installation.enterprise_id == new.enterprise_id,
            Installation.team_id == new.team_id,
        )
    )
    if row is None:
        row = Installation(
            id=clock.new_id(),
            tenant_id=tenant_id,
            platform=new.platform,
            client_id=new.client_id,
            enterprise_id=new.enterprise_id,
            team_id=new.team_id,
        )
        session.add(row)
    elif row.tenant_id != tenant_id:
        raise Conflict(f"{new.name or new.team_id} is connected to another tenant already.")
    credentials = {"token": new.token, "refresh_token": new.refresh_token}
    row.secret = secrets.encrypt("credentials", json.dumps(credentials))
    row.name, row.url = new.name[:200], new.url[:200]
    row.scopes = sorted(new.scopes)
    row.app_id, row.bot_id, row.bot_user_id = new.app_id, new.bot_id, new.bot_user_id
    row.installed_by = new.installed_by or row.installed_by or ""
    row.reading = new.reading
    row.state, row.purge_at, row.updated_at = ACTIVE, None, clock.now()
    await session.flush()
    await gate.audit(
        session,
        _system(tenant_id),
        "workspace.install",
        row.id,
        {"platform": new.platform, "team": new.team_id, "by": new.installed_by},
    )
    return row.id


async def bind_workspace(
    session: AsyncSession, tenant_id: str, platform: str, team_id: str, name: str, url: str = ""
) -> str:
    """The id of the workspace, which is the tenant's from now on; `Conflict` if another has it."""
    row = await session.scalar(
        select(Workspace).where(Workspace.platform == platform, Workspace.external_id == team_id)
    )
    if row is None:
        row = Workspace(
            id=clock.new_id(),
            tenant_id=tenant_id,
            platform=platform,
            external_id=team_id,
            name=name[:200],
            settings={},
        )
        session.add(row)
    elif row.tenant_id != tenant_id:
        raise Conflict(f"{name or team_id} belongs to another tenant.")
    row.state = ACTIVE
    row.name = name[:200] or row.name or team_id
    if url:
        row.settings = {**row.settings, "url": url.rstrip("/")}
    await session.flush()
    return row.id


async def find_installation(
    session: AsyncSession,
    secrets: Secrets,
    platform: str,
    *,
    team_id: str,
    enterprise_id: str = "",
) -> Installed:
    """The installation that speaks in a team: its own, else that of its organisation.

    `NotFound` where there is none, or where it was paused.
    """
    rows = await session.scalars(
        select(Installation)
        .where(Installation.platform == platform, Installation.state == ACTIVE)
        .where(
            (Installation.team_id == team_id)
            | ((Installation.team_id == "") & (Installation.enterprise_id == enterprise_id))
        )
        .order_by(Installation.team_id.desc(), Installation.updated_at.desc())
    )
    for row in rows:
        if row.team_id or enterprise_id:
            return _installed(row, secrets)
    raise NotFound(f"The bot is not installed in this {platform} workspace.")


async def installation_of(
    session: AsyncSession, secrets: Secrets, tenant_id: str, workspace_id: str
) -> Installed:
    """The installation that speaks in a workspace of the tenant."""
    workspace = await session.scalar(
        select(Workspace).where(Workspace.id == workspace_id, Workspace.tenant_id == tenant_id)
    )
    if workspace is None:
        raise NotFound("No such workspace.")
    return await find_installation(
        session,
        secrets,
        workspace.platform,
        team_id=workspace.external_id,
        enterprise_id=str(workspace.settings.get("enterprise_id", "")),
    )


async def list_installations(session: AsyncSession, secrets: Secrets) -> list[Installed]:
    """Every installation that is not purged, for the process that serves them all."""
    rows = await session.scalars(
        select(Installation).where(Installation.state != PURGED).order_by(Installation.created_at)
    )
    return [_installed(row, secrets) for row in rows]


async def pause_installation(
    session: AsyncSession, platform: str, *, team_id: str, enterprise_id: str = ""
) -> list[str]:
    """The bot was removed or its token revoked: nothing of the workspace is read from now on.

    What it left is purged after `RETENTION` unless it is installed again. Returns workspace ids.
    """
    rows = list(
        await session.scalars(
            select(Installation).where(
                Installation.platform == platform,
                Installation.team_id == team_id,
                Installation.state == ACTIVE,
            )
        )
    )
    if enterprise_id and not rows:
        rows = list(
            await session.scalars(
                select(Installation).where(
                    Installation.platform == platform,
                    Installation.enterprise_id == enterprise_id,
                    Installation.team_id == "",
                    Installation.state == ACTIVE,
                )
            )
        )
    paused: list[str] = []
    for row in rows:
        row.state, row.secret = PAUSED, ""
        row.purge_at = row.updated_at = clock.now()
        row.purge_at += RETENTION
        found = await session.scalars(
            update(Workspace)
            .where(
                *_served_by(row),
                Workspace.state == ACTIVE,
            )
            .values(state=PAUSED)
            .returning(Workspace.id)
        )
        paused += found
        await gate.audit(
            session, _system(row.tenant_id), "workspace.pause", row.id, {"team": team_id}
        )
    await session.flush()
    return paused


def _served_by(row: Installation) -> tuple[ColumnElement[bool], ...]:
    """The workspaces an installation speaks in: its team, or every team of its organisation."""
    team = Workspace.external_id == row.team_id
    if not row.team_id:
        team = Workspace.settings["enterprise_id"].as_string() == row.enterprise_id
    return Workspace.tenant_id == row.tenant_id, Workspace.platform == row.platform, team


async def purge_due(session: AsyncSession) -> int:
    """Delete what paused installations left, once their time is over; says how many.

    Kept channel history goes first, by jobs of the worker: call it again for what is left. People,
    channels and posts go with the workspace. From the moment it was paused nobody sees any of it.
    """
    rows = list(
        await session.scalars(
            select(Installation).where(
                Installation.state == PAUSED, Installation.purge_at <= clock.now()
            )
        )
    )
    purged = 0
    for row in rows:
        if await _left_to_remove(session, row):
            continue  # its history is still being removed; the next call looks again
        row.state, row.purge_at = PURGED, None
        await session.execute(
            delete(Workspace).where(
                *_served_by(row),
                Workspace.state == PAUSED,
            )
        )
        await gate.audit(session, _system(row.tenant_id), "workspace.purge", row.id)
        purged += 1
    return purged


async def _left_to_remove(session: AsyncSession, row: Installation) -> bool:
    """Whether channel history of an installation is still kept; its removal begins here."""
    kept = await session.execute(
        select(Channel.id, Source.state)
        .join(Source, Source.channel_id == Channel.id)
        .join(Workspace, Workspace.id == Channel.workspace_id)
        .where(
            *_served_by(row),
            Workspace.state == PAUSED,
        )
    )
    some = False
    for channel_id, state in kept.all():
        some = True
        if state != source_jobs.REMOVING:
            await sources.remove_source(session, _system(row.tenant_id), channel_id)
    return some


def _installed(row: Installation, secrets: Secrets) -> Installed:
    stored = json.loads(secrets.decrypt("credentials", row.secret)) if row.secret else {}
    return Installed(
        id=row.id,
        tenant_id=row.tenant_id,
        platform=row.platform,
        team_id=row.team_id,
        enterprise_id=row.enterprise_id,
        name=row.name,
        url=row.url,
        token=str(stored.get("token", "")),
        scopes=tuple(row.scopes),
        bot_id=row.bot_id,
        bot_user_id=row.bot_user_id,
        installed_by=row.installed_by,
        reading="live" if row.reading == "live" else "index",
        state=row.state,
        updated_at=row.updated_at,
    )


def _system(tenant_id: str) -> Principal:
    return Principal(
        tenant_id, None, "system", Role.OWNER, frozenset(), gate.ROLE_SCOPES[Role.OWNER]
    )
