"""Workspaces as bots meet them: installations, who wrote from where, what is set for a channel.

The bots call this through `Engine`; an installation's credentials are encrypted here and nowhere
shown. Who may read what follows from the rows alone, in `engine.principals`: a role lets somebody
change settings and never gives them a token.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from sqlalchemy import ColumnElement, delete, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from engine import clock
from engine.access import gate
from engine.access.principals import ACTIVE
from engine.chats import sources
from engine.chats.channels import unknown_since
from engine.db.tables import (
    Channel,
    ChannelMember,
    Identity,
    Installation,
    Membership,
    Source,
    Tenant,
    User,
    Workspace,
)
from engine.domain import Principal, Role, Scope
from engine.errors import Conflict, Forbidden, InvalidInput, NotFound
from engine.secrets import Secrets

PAUSED, PURGED = "paused", "purged"
RETENTION = timedelta(days=7)  # what an uninstalled workspace left is kept, in case of a mistake
LINK_LIFE = timedelta(minutes=10)
ASK_AFTER = timedelta(hours=24)  # what is known for so long is asked of the platform anew

Reading = Literal["index", "live"]
Mode = Literal["mention", "auto", "off"]


# Installations


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

    What it left is purged after `RETENTION` unless it is installed anew. Returns workspace ids.
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
            continue  # its history is still going; it is looked at again
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
    """Whether channel history of an installation is kept still; what is kept begins to go."""
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
        if state != sources.REMOVING:
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


# Who wrote from where


@dataclass(frozen=True, slots=True)
class Sighting:
    """Where a message came from, in the platform's ids. `channel` is empty in a direct message."""

    platform: str
    workspace: str
    person: str
    channel: str = ""
    enterprise: str = ""


@dataclass(frozen=True, slots=True)
class Met:
    """The same in ours."""

    tenant_id: str
    workspace_id: str
    identity_id: str
    channel_id: str | None
    is_new: bool = False  # nothing is known of the person yet but their id


async def locate(session: AsyncSession, seen: Sighting) -> Met:
    """The rows of a sighting as far as they are there; an unknown person has an empty id.

    Raises `NotFound` where the workspace is not connected.
    """
    workspace = await _workspace(session, seen, make=False)
    identity_id = await session.scalar(
        select(Identity.id).where(
            Identity.tenant_id == workspace.tenant_id,
            Identity.provider == seen.platform,
            Identity.subject == seen.person,
        )
    )
    channel_id = None
    if seen.channel:
        channel_id = await session.scalar(
            select(Channel.id).where(
                Channel.workspace_id == workspace.id, Channel.external_id == seen.channel
            )
        )
    return Met(workspace.tenant_id, workspace.id, identity_id or "", channel_id)


async def meet(session: AsyncSession, seen: Sighting) -> Met | None:
    """The rows of a sighting, or None where some are not there yet (`introduce` makes them)."""
    met = await locate(session, seen)
    known = met.identity_id and (met.channel_id is not None or not seen.channel)
    return met if known else None


async def homes_of(session: AsyncSession, platform: str, person: str) -> list[str]:
    """The workspaces somebody was met in, by the platform's ids, where they were met last first.

    For platforms on which a direct message belongs to no workspace.
    """
    rows = await session.scalars(
        select(Workspace.external_id)
        .join(Identity, Identity.workspace_id == Workspace.id)
        .where(
            Identity.provider == platform,
            Identity.subject == person,
            Workspace.platform == platform,
            Workspace.state == ACTIVE,
        )
        .order_by(Identity.seen_at.desc().nulls_last(), Identity.id.desc())
    )
    return list(rows)


async def introduce(session: AsyncSession, seen: Sighting) -> Met:
    """`meet`, with rows for whom and what was never seen: until more is learnt, a guest, private."""
    workspace = await _workspace(session, seen, make=True)
    known = await meet(session, seen)
    if known is not None:
        return known
    identity = await session.scalar(
        select(Identity).where(
            Identity.tenant_id == workspace.tenant_id,
            Identity.provider == seen.platform,
            Identity.subject == seen.person,
        )
    )
    if identity is None:
        identity = Identity(
            id=clock.new_id(),
            tenant_id=workspace.tenant_id,
            workspace_id=workspace.id,
            provider=seen.platform,
            subject=seen.person,
            name=seen.person,
        )
        session.add(identity)
    channel_id = None
    if seen.channel:
        channel = await session.scalar(
            select(Channel).where(
                Channel.workspace_id == workspace.id, Channel.external_id == seen.channel
            )
        )
        if channel is None:
            channel = Channel(
                id=clock.new_id(),
                tenant_id=workspace.tenant_id,
                workspace_id=workspace.id,
                external_id=seen.channel,
                name=seen.channel,
                settings={},
            )
            session.add(channel)
        channel_id = channel.id
    await session.flush()
    return Met(workspace.tenant_id, workspace.id, identity.id, channel_id, is_new=True)


async def _workspace(session: AsyncSession, seen: Sighting, *, make: bool) -> Workspace:
    found = await session.scalar(
        select(Workspace).where(
            Workspace.platform == seen.platform,
            Workspace.external_id == seen.workspace,
            Workspace.state == ACTIVE,
        )
    )
    if found is not None:
        return found
    owner = await session.scalar(
        select(Installation).where(
            Installation.platform == seen.platform,
            Installation.enterprise_id == seen.enterprise,
            Installation.team_id == "",
            Installation.state == ACTIVE,
        )
    )
    if not seen.enterprise or owner is None or not make:
        raise NotFound(f"No {seen.platform} workspace {seen.workspace!r} is connected.")
    # The organisation let the bot into all of its teams: this one is seen for the first time.
    workspace = Workspace(
        id=clock.new_id(),
        tenant_id=owner.tenant_id,
        platform=seen.platform,
        external_id=seen.workspace,
        name=seen.workspace,
        settings={"enterprise_id": seen.enterprise},
    )
    session.add(workspace)
    await session.flush()
    return workspace


@dataclass(frozen=True, slots=True)
class Person:
    """What a platform says of an account."""

    name: str
    is_full_member: bool  # no guest, and of this workspace
    is_admin: bool = False


async def learn_person(session: AsyncSession, met: Met, person: Person) -> None:
    """Keep what the platform says of somebody, as of now."""
    row = await session.get_one(Identity, met.identity_id)
    row.name = person.name[:200] or row.name
    row.is_full_member = person.is_full_member
    row.platform_role = "admin" if person.is_admin and person.is_full_member else ""
    row.workspace_id = met.workspace_id
    row.seen_at = clock.now()
    await session.flush()


@dataclass(frozen=True, slots=True)
class Stale:
    """What is known too long ago, or not at all."""

    person: bool
    channel: bool


async def what_is_stale(session: AsyncSession, met: Met) -> Stale:
    """Whether the person, and who is in the channel, should be asked about anew."""
    before = clock.now() - ASK_AFTER
    identity = await session.get_one(Identity, met.identity_id)
    channel = await session.get(Channel, met.channel_id) if met.channel_id else None
    elsewhere = identity.workspace_id != met.workspace_id  # one account may be in several
    return Stale(
        person=identity.seen_at is None or identity.seen_at < before or elsewhere,
        channel=channel is not None
        and (channel.members_synced_at is None or channel.members_synced_at < before),
    )


async def unknown_people(session: AsyncSession, met: Met, subjects: Collection[str]) -> list[str]:
    """Those of `subjects` that nothing fresh is known of, in the order given."""
    known = await _identities(session, met, subjects)
    before = clock.now() - ASK_AFTER
    fresh = {s for s, row in known.items() if row.seen_at is not None and row.seen_at >= before}
    return [subject for subject in dict.fromkeys(subjects) if subject not in fresh]


async def names_of(session: AsyncSession, met: Met, subjects: Collection[str]) -> dict[str, str]:
    """Names by subject, of those that are known."""
    return {s: row.name for s, row in (await _identities(session, met, subjects)).items()}


async def _identities(
    session: AsyncSession, met: Met, subjects: Collection[str]
) -> dict[str, Identity]:
    platform = await session.scalar(
        select(Workspace.platform).where(Workspace.id == met.workspace_id)
    )
    wanted = sorted(set(subjects))
    found: dict[str, Identity] = {}
    for at in range(0, len(wanted), 500):
        rows = await session.scalars(
            select(Identity).where(
                Identity.tenant_id == met.tenant_id,
                Identity.provider == platform,
                Identity.subject.in_(wanted[at : at + 500]),
            )
        )
        found |= {row.subject: row for row in rows}
    return found


async def learn_channel(
    session: AsyncSession,
    met: Met,
    *,
    name: str,
    is_public: bool,
    members: Collection[str],
    people: Mapping[str, Person],
    bots: Collection[str] = (),
    asked_at: datetime | None = None,
) -> None:
    """A channel as its platform tells of it: all of its people but bots, and who they are.

    Its membership counts as fresh from `asked_at` on, which is why each member has to be known: one
    who is not raises `InvalidInput`, and the channel stays as it was. What made the channel unknown
    since then leaves it so.
    """
    channel = await _channel(session, met, met.channel_id or "")
    workspace = await session.get_one(Workspace, met.workspace_id)
    known = await _identities(session, met, members)
    wanted: set[str] = set()
    for subject in set(members) - set(bots):
        person, row = people.get(subject), known.get(subject)
        if person is None and (row is None or row.seen_at is None):
            raise InvalidInput("A member of the channel is not known.", field="members")
        if row is None:
            row = Identity(
                id=clock.new_id(),
                tenant_id=met.tenant_id,
                provider=workspace.platform,
                subject=subject,
                workspace_id=workspace.id,
            )
            session.add(row)
        if person is not None:
            row.name = person.name[:200] or subject
            row.is_full_member = person.is_full_member
            row.platform_role = "admin" if person.is_admin and person.is_full_member else ""
            row.workspace_id, row.seen_at = workspace.id, clock.now()
        wanted.add(row.id)
    await session.flush()
    present = set(
        await session.scalars(
            select(ChannelMember.identity_id).where(ChannelMember.channel_id == channel.id)
        )
    )
    for gone in sorted(present - wanted):
        await session.execute(
            delete(ChannelMember).where(
                ChannelMember.channel_id == channel.id, ChannelMember.identity_id == gone
            )
        )
    session.add_all(
        ChannelMember(channel_id=channel.id, identity_id=one, tenant_id=met.tenant_id)
        for one in sorted(wanted - present)
    )
    at = asked_at or clock.now()
    counts = unknown_since(workspace, channel) <= at
    channel.name, channel.is_public = name[:200], is_public and counts
    channel.members_synced_at = at if counts else None
    await session.flush()


TERMINAL = "terminal"  # the platform of `scrubjay chat`


async def open_terminal(
    session: AsyncSession, principal: Principal, channel: str
) -> tuple[Sighting, Met]:
    """The workspace that `scrubjay chat` plays in, with one public channel that all members see.

    Whoever opens it there is linked to the member they are anyway; nobody gains a token by it.
    """
    if principal.user_id is None:
        raise Forbidden("The terminal's workspace is for members.")
    name = f"local-{principal.tenant_id}"
    workspace_id = await bind_workspace(session, principal.tenant_id, TERMINAL, name, "terminal")
    workspace = await session.get_one(Workspace, workspace_id)
    workspace.members_are_tenant = True
    seen = Sighting(TERMINAL, name, principal.user_id, channel)
    met = await introduce(session, seen)
    identity = await session.get_one(Identity, met.identity_id)
    identity.user_id, identity.name = principal.user_id, principal.name
    identity.is_full_member = True
    if met.channel_id is not None:
        row = await session.get_one(Channel, met.channel_id)
        row.is_public, row.members_synced_at = True, clock.now()
    await session.flush()
    return seen, met


# Who they are here


@dataclass(frozen=True, slots=True)
class Caller:
    """Somebody in a chat: with the tokens they hold, and the role they have in their workspace."""

    principal: Principal
    met: Met
    platform: str = ""
    workspace: str = ""  # the platform's id
    channel: str = ""
    person: str = ""

    @property
    def is_curator(self) -> bool:
        """Whether they may add and mend answers."""
        return self.principal.role in {Role.OWNER, Role.ADMIN, Role.CURATOR}

    @property
    def is_admin(self) -> bool:
        """Whether they may change settings."""
        return self.principal.role in {Role.OWNER, Role.ADMIN}


async def caller_of(session: AsyncSession, met: Met) -> Caller:
    """Who somebody is now: their principal, with the role that is the strongest of what gives one.

    That is their membership, being an admin of the platform's workspace (unless that was turned
    off), having installed the bot, or a role given with `/kb roles`. A role widens what they may
    do, never what they may read.
    """
    principal = await gate.principal_of_identity(
        session, met.tenant_id, met.identity_id, seen_in=met.channel_id
    )
    identity = await session.get_one(Identity, met.identity_id)
    workspace = await session.get_one(Workspace, met.workspace_id)
    channel = await session.get(Channel, met.channel_id) if met.channel_id else None
    settings = workspace.settings
    given = settings.get("roles", {}).get(identity.id, "")
    role = _stronger(principal.role, Role(given) if given else Role.GUEST)
    # What is known of an account is known of one workspace: where it was seen last.
    is_full = identity.is_full_member and identity.workspace_id == workspace.id
    if is_full and identity.platform_role == "admin" and settings.get("platform_admins", True):
        role = _stronger(role, Role.ADMIN)
    installer = await session.scalar(
        select(Installation.id).where(
            Installation.tenant_id == met.tenant_id,
            Installation.platform == workspace.platform,
            Installation.team_id == workspace.external_id,
            Installation.installed_by == identity.subject,
            Installation.state == ACTIVE,
        )
    )
    if is_full and installer is not None:
        role = _stronger(role, Role.ADMIN)
    scopes = principal.scopes | gate.ROLE_SCOPES[role]
    return Caller(
        replace(principal, role=role, scopes=scopes),
        met,
        platform=workspace.platform,
        workspace=workspace.external_id,
        channel=channel.external_id if channel else "",
        person=identity.subject,
    )


async def admin_caller(
    session: AsyncSession, principal: Principal, workspace: str, channel: str = ""
) -> Caller:
    """A member who says commands from outside the chat, in a workspace by its name or id.

    An empty name is the only workspace there is; `channel` by id or name, or empty.
    """
    gate.require(principal, Scope.KB_ADMIN)
    rows = list(
        await session.scalars(
            select(Workspace).where(
                Workspace.tenant_id == principal.tenant_id,
                Workspace.state == ACTIVE,
                (Workspace.name == workspace)
                | (Workspace.external_id == workspace)
                | ((Workspace.platform != TERMINAL) & (workspace == "")),
            )
        )
    )
    if len(rows) != 1:
        names = ", ".join(sorted(row.name for row in rows)) or "none is connected"
        raise NotFound(f"Which workspace? Name one: {names}.")
    [row] = rows
    met = Met(principal.tenant_id, row.id, "", None)
    if channel:
        met = replace(met, channel_id=(await find_channel(session, met, channel)).id)
    return Caller(principal, met, row.platform, row.external_id)


_STRENGTH = (Role.OWNER, Role.ADMIN, Role.CURATOR, Role.MEMBER, Role.GUEST)


def _stronger(one: Role, other: Role) -> Role:
    return min(one, other, key=_STRENGTH.index)


async def give_role(
    session: AsyncSession, caller: Caller, person: str, role: Role | None
) -> tuple[str, str]:
    """Let somebody of the workspace be admin or curator here; None takes it back. Their name, role."""
    gate.require(caller.principal, Scope.KB_ADMIN)
    if role is Role.OWNER:
        raise Forbidden("Owners are made at the command line, not in a chat.")
    identity = await _person(session, caller.met, person)
    if role is not None and not identity.is_full_member and role is not Role.GUEST:
        raise Forbidden(f"{identity.name} is a guest here, and guests can't be given a role.")
    workspace = await session.get_one(Workspace, caller.met.workspace_id)
    roles = dict(workspace.settings.get("roles", {}))
    before = roles.pop(identity.id, "")
    if role is not None:
        roles[identity.id] = role.value
    workspace.settings = {**workspace.settings, "roles": roles}
    await gate.audit(
        session,
        caller.principal,
        "workspace.role",
        identity.id,
        {"from": before, "to": role or "", "workspace": workspace.id},
    )
    return identity.name, role or "none"


async def list_roles(session: AsyncSession, caller: Caller) -> list[tuple[str, str, str]]:
    """Name, role and why, of everybody who has one in this workspace."""
    gate.require(caller.principal, Scope.KB_ADMIN)
    workspace = await session.get_one(Workspace, caller.met.workspace_id)
    given: Mapping[str, str] = workspace.settings.get("roles", {})
    people = await session.scalars(
        select(Identity)
        .where(Identity.tenant_id == caller.met.tenant_id, Identity.workspace_id == workspace.id)
        .where(Identity.id.in_(given) | (Identity.platform_role != ""))
        .order_by(Identity.name)
    )
    found = []
    for person in people:
        if person.id in given:
            found.append((person.name, given[person.id], "given here"))
        elif workspace.settings.get("platform_admins", True):
            found.append((person.name, Role.ADMIN.value, f"admin of the {workspace.platform}"))
    members = await session.execute(
        select(Identity.name, Membership.role)
        .join(Membership, Membership.user_id == Identity.user_id)
        .where(
            Membership.tenant_id == caller.met.tenant_id,
            Identity.workspace_id == workspace.id,
            Membership.role.in_([Role.OWNER, Role.ADMIN, Role.CURATOR]),
        )
    )
    return found + [(name, role, "linked account") for name, role in members]


async def _person(session: AsyncSession, met: Met, ref: str) -> Identity:
    rows = list(
        await session.scalars(
            select(Identity)
            .where(Identity.tenant_id == met.tenant_id, Identity.workspace_id == met.workspace_id)
            .where((Identity.subject == ref) | (Identity.name == ref.removeprefix("@")))
            .limit(2)
        )
    )
    if len(rows) != 1:
        raise NotFound(f"No one person {ref!r} is known here: mention them with @.")
    return rows[0]


# Settings: channel over workspace over default


class PlaceSettings(BaseModel):
    """How the bot behaves in a place; None leaves a matter to the workspace, then to the default."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    mode: Mode | None = None
    threshold: Annotated[int, Field(ge=0, le=100)] | None = None
    kb: str | None = None  # an id
    private: bool | None = None  # answers are for the asker's eyes
    respond_to: list[str] | None = None  # people; empty or None: everybody
    escalate_to: Annotated[str, Field(max_length=100)] | None = None
    anonymous: bool | None = None  # who wrote what is quoted is not named
    language: Annotated[str, Field(max_length=8)] | None = None  # of answers; empty: the question's


@dataclass(frozen=True, slots=True)
class Behaviour:
    """What holds in a place, and where each value is set: channel, workspace or default."""

    mode: Mode = "mention"
    threshold: int = 65
    kb: str = ""
    private: bool = False
    respond_to: Sequence[str] = ()
    escalate_to: str = ""
    anonymous: bool = False
    language: str = ""  # a code; empty: that of the question
    origins: Mapping[str, str] = field(default_factory=dict)


async def behaviour_of(
    session: AsyncSession, met: Met, *, default_threshold: int = 65
) -> Behaviour:
    """What is set for a channel, else for its workspace, else by default."""
    workspace = await session.get_one(Workspace, met.workspace_id)
    channel: Mapping[str, Any] = {}
    if met.channel_id is not None:
        channel = (await session.get_one(Channel, met.channel_id)).settings
    return merge_behaviour(workspace.settings, channel, default_threshold=default_threshold)


def merge_behaviour(
    workspace: Mapping[str, Any], channel: Mapping[str, Any], *, default_threshold: int = 65
) -> Behaviour:
    """What holds by the settings of a workspace and of one of its channels."""
    layers = [("workspace", workspace.get("bot", {})), ("channel", channel.get("bot", {}))]
    values: dict[str, Any] = {}
    origins = dict.fromkeys(PlaceSettings.model_fields, "default")
    for origin, stored in layers:
        found = PlaceSettings.model_validate(stored).model_dump(exclude_none=True)
        values |= found
        origins |= dict.fromkeys(found, origin)
    values.setdefault("threshold", default_threshold)
    return Behaviour(**values, origins=origins)


async def change_behaviour(
    session: AsyncSession,
    caller: Caller,
    changes: Mapping[str, object],
    *,
    channel_id: str | None,
) -> None:
    """Set values for a channel, or with None for the workspace; None as a value unsets one."""
    gate.require(caller.principal, Scope.KB_ADMIN)
    row: Channel | Workspace
    if channel_id is None:
        row = await session.get_one(Workspace, caller.met.workspace_id)
    else:
        row = await _channel(session, caller.met, channel_id)
    before = dict(row.settings.get("bot", {}))
    wanted = {k: v for k, v in {**before, **changes}.items() if v is not None}
    try:
        checked = PlaceSettings.model_validate(wanted).model_dump(exclude_none=True)
    except ValidationError as error:
        fault = error.errors(include_url=False, include_input=False)[0]
        name = str(fault["loc"][0]) if fault["loc"] else "settings"
        raise InvalidInput(f"{name}: {fault['msg']}.", field=name) from None
    row.settings = {**row.settings, "bot": checked}
    await session.flush()
    await gate.audit(
        session,
        caller.principal,
        "bot.settings",
        row.id,
        {
            "from": {name: before.get(name) for name in changes},
            "to": dict(changes),
            "place": "channel" if channel_id else "workspace",
        },
    )


@dataclass(frozen=True, slots=True)
class ChannelInfo:
    """A channel as commands name it."""

    id: str
    external_id: str
    name: str
    is_public: bool
    members_synced_at: datetime | None


async def find_channel(session: AsyncSession, met: Met, ref: str) -> ChannelInfo:
    """A channel of the caller's workspace by the platform's id or its name, with or without #."""
    name = ref.removeprefix("#")
    rows = list(
        await session.scalars(
            select(Channel)
            .where(Channel.workspace_id == met.workspace_id, Channel.tenant_id == met.tenant_id)
            .where((Channel.external_id == ref) | (Channel.id == ref) | (Channel.name == name))
            .limit(2)
        )
    )
    if not rows:
        raise NotFound(f"The bot knows no channel {ref!r} here: invite it there first.")
    if len(rows) > 1:
        raise InvalidInput(f"Several channels are called {ref!r}: link it with #.", field="channel")
    return _channel_info(rows[0])


async def get_channel(session: AsyncSession, met: Met) -> ChannelInfo | None:
    """The channel somebody writes in; None in a direct message."""
    if met.channel_id is None:
        return None
    return _channel_info(await _channel(session, met, met.channel_id))


async def _channel(session: AsyncSession, met: Met, channel_id: str) -> Channel:
    row = await session.scalar(
        select(Channel).where(
            Channel.id == channel_id,
            Channel.workspace_id == met.workspace_id,
            Channel.tenant_id == met.tenant_id,
        )
    )
    if row is None:
        raise NotFound("No such channel in this workspace.")
    return row


def _channel_info(row: Channel) -> ChannelInfo:
    return ChannelInfo(row.id, row.external_id, row.name, row.is_public, row.members_synced_at)


# Linking an account


def link_code(secrets: Secrets, met: Met) -> str:
    """What somebody enters at a door where they are known, to link this account; ten minutes."""
    payload = f"link:{met.tenant_id}:{met.identity_id}"
    return secrets.sign("oauth-state", payload, expires_at=clock.now() + LINK_LIFE)


async def link_account(
    session: AsyncSession, secrets: Secrets, principal: Principal, code: str
) -> str:
    """Link the account a code was made for to the principal's; its name. `Conflict` if it has one."""
    kind, _, rest = secrets.verify("oauth-state", code.strip()).partition(":")
    tenant_id, _, identity_id = rest.partition(":")
    if kind != "link" or tenant_id != principal.tenant_id or principal.user_id is None:
        raise InvalidInput("This code is not for linking an account of yours.", field="code")
    identity = await session.get(Identity, identity_id)
    if identity is None or identity.tenant_id != tenant_id:
        raise NotFound("The account this code was made for is gone.")
    if identity.user_id not in {None, principal.user_id}:
        raise Conflict("This account is linked to somebody else: they unlink it first.")
    identity.user_id = principal.user_id
    await gate.audit(session, principal, "identity.link", identity.id, {})
    return identity.name


async def unlink_account(session: AsyncSession, caller: Caller) -> bool:
    """Unlink the caller's account; False where it was not linked."""
    identity = await session.get_one(Identity, caller.met.identity_id)
    if identity.user_id is None:
        return False
    identity.user_id = None
    await gate.audit(session, caller.principal, "identity.unlink", identity.id, {})
    return True


async def linked_member(session: AsyncSession, met: Met) -> str:
    """The name of the member an account is linked to, or an empty text."""
    row = await session.scalar(
        select(User.name)
        .join(Identity, Identity.user_id == User.id)
        .join(Tenant, Tenant.id == Identity.tenant_id)
        .where(Identity.id == met.identity_id, Identity.tenant_id == met.tenant_id)
    )
    return row or ""
