"""Workspaces, people and channels of chat platforms: what is known of them, and how freshly.

The bots and the channel sources call this with what their platform says; imports with what an
export says. Each function is one step of the caller's transaction. Who may read what follows from
these rows alone, in `engine.principals`: so nothing here grants anything to a user but `link`, and
whatever is uncertain is left unknown.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from sqlalchemy import and_, delete, insert, or_, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from engine import clock
from engine.access import gate
from engine.access.principals import ACTIVE, IMPORTED
from engine.chats.derivation import channels_of, derive_anew
from engine.db.session import upsert
from engine.db.tables import (
    Channel,
    ChannelMember,
    Identity,
    Membership,
    Message,
    Source,
    Thread,
    User,
    Workspace,
)
from engine.domain import Principal, Scope
from engine.errors import Conflict, Forbidden, InvalidInput, NotFound

Platform = Literal["slack", "discord"]
AT_A_TIME = 500  # rows a statement
CHANGED_AT = "changed_at"  # in a place's settings: since when what was read of it before is old
PLACED = timedelta(hours=1)  # a list of members that is older than that is no longer committed
_NEVER = datetime.fromtimestamp(0, UTC)


@dataclass(frozen=True, slots=True)
class Place:
    """A workspace as those who write into it hold it; `provider` is that of its people."""

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


@dataclass(frozen=True, slots=True)
class NewPerson:
    """An account: `subject` is the platform's id. Guests and external people are no full members."""

    subject: str
    name: str
    is_full_member: bool = False
    email: str = ""


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
    """A channel as admins see it."""

    id: str
    workspace_id: str
    platform: str
    external_id: str
    name: str
    is_public: bool
    kind: str
    members_synced_at: datetime | None
    settings: Mapping[str, Any]


# Workspaces


async def put_workspace(session: AsyncSession, tenant_id: str, new: NewWorkspace) -> Place:
    """The tenant's workspace, made or brought up to date; `Conflict` where another tenant has it.

    An import is a workspace of its own beside the live one: what a file says of people must never
    decide who they are on the platform.
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


# People


async def put_people(
    session: AsyncSession,
    place: Place,
    people: Iterable[NewPerson],
    *,
    at: datetime | None = None,
) -> dict[str, str]:
    """Identity ids by subject. Whoever got another name has their messages derived anew.

    With `at`, when people were asked about, those who were placed since stay as they are.
    """
    people = {person.subject: person for person in people}.values()
    placed = await _placed_since(session, place, at)
    known: dict[str, Identity] = {}
    for some in _chunks([person.subject for person in people]):
        rows = await session.scalars(
            select(Identity).where(
                Identity.tenant_id == place.tenant_id,
                Identity.provider == place.provider,
                Identity.subject.in_(some),
            )
        )
        known |= {row.subject: row for row in rows}
    renamed = []
    for person in people:
        name = person.name[:200]
        row = known.get(person.subject)
        if row is None:
            row = known[person.subject] = Identity(
                id=clock.new_id(),
                tenant_id=place.tenant_id,
                provider=place.provider,
                subject=person.subject,
                workspace_id=place.workspace_id,
                name=name,
                is_full_member=person.is_full_member,
            )
            session.add(row)
            continue
        if row.id in placed:
            continue
        if name and row.name != name:
            renamed.append(person.subject)
        row.name, row.is_full_member = name or row.name, person.is_full_member
        row.workspace_id = place.workspace_id
    await session.flush()
    for some in _chunks(renamed):
        theirs = and_(channels_of(place.workspace_id), Message.author.in_(some))
        await derive_anew(session, place.tenant_id, theirs)
    return {subject: row.id for subject, row in known.items()}


async def only_people(
    session: AsyncSession, place: Place, subjects: Collection[str], *, at: datetime
) -> None:
    """These were everyone in the workspace at `at`: nobody else is a full member of it."""
    present, placed = set(subjects), await _placed_since(session, place, at)
    rows = await session.scalars(
        select(Identity).where(
            Identity.tenant_id == place.tenant_id,
            Identity.provider == place.provider,
            Identity.workspace_id == place.workspace_id,
            Identity.is_full_member.is_(True),
        )
    )
    for row in rows:
        if row.subject not in present and row.id not in placed:
            row.is_full_member = False
    await session.flush()


async def _placed_since(session: AsyncSession, place: Place, at: datetime | None) -> set[str]:
    if at is None:
        return set()
    workspace = await session.get_one(Workspace, place.workspace_id)
    return {one for one, when in _placed(workspace).items() if when > at}


async def identity_id_of(session: AsyncSession, place: Place, subject: str) -> str | None:
    """Our id of an account, None where it is not known."""
    return (await identity_ids_of(session, place, [subject])).get(subject)


async def identity_ids_of(
    session: AsyncSession, place: Place, subjects: Collection[str]
) -> dict[str, str]:
    """Our ids of accounts, by the platform's; unknown ones are left out."""
    found: dict[str, str] = {}
    for some in _chunks(sorted(set(subjects))):
        rows = await session.execute(
            select(Identity.subject, Identity.id).where(
                Identity.tenant_id == place.tenant_id,
                Identity.provider == place.provider,
                Identity.subject.in_(some),
            )
        )
        found |= {row.subject: row.id for row in rows}
    return found


async def link_by_email(session: AsyncSession, place: Place, people: Iterable[NewPerson]) -> int:
    """Link accounts of an import to the tenant's members with the same address; says how many."""
    if place.provider == place.platform:
        raise Forbidden("Accounts of a live workspace are linked by their owners, not by address.")
    subjects = {person.email.lower(): person.subject for person in people if person.email}
    linked = 0
    for some in _chunks(sorted(subjects)):
        rows = await session.execute(
            select(User.id, User.email)
            .join(Membership, Membership.user_id == User.id)
            .where(Membership.tenant_id == place.tenant_id, User.email.in_(some))
        )
        for user_id, email in rows.all():
            await session.execute(
                update(Identity)
                .where(
                    Identity.tenant_id == place.tenant_id,
                    Identity.provider == place.provider,
                    Identity.subject == subjects[email or ""],
                )
                .values(user_id=user_id)
            )
            linked += 1
    return linked


async def admit_importer(session: AsyncSession, principal: Principal, place: Place) -> None:
    """Let who brings an export read its public channels: they hold the file already."""
    if principal.user_id is None:
        raise Forbidden("An export is imported by a member: link this account to one first.")
    subject = f"importer:{principal.user_id}"
    person = NewPerson(subject, principal.name, is_full_member=True)
    ids = await put_people(session, place, [person])
    await session.execute(
        update(Identity).where(Identity.id == ids[subject]).values(user_id=principal.user_id)
    )


# Channels


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
            # Its name stands above every passage of it.
            await derive_anew(session, place.tenant_id, Message.channel_id == row.id)
        row.name = new.name[:200]
        overtaken = at is not None and unknown_since(workspace, row) > at
        row.is_public = new.is_public and not overtaken
        row.kind = new.kind
        row.settings = {**row.settings, **new.settings}
        await session.flush()
        found[new.external_id] = row.id
    return found


async def set_members(
    session: AsyncSession,
    place: Place,
    channel_id: str,
    identity_ids: Collection[str],
    *,
    at: datetime | None = None,
) -> None:
    """The whole list of a channel's members, as it was at `at`: they count from there on.

    Whatever became known since `at` goes before it: what made the channel unknown leaves it so
    until it is asked about anew, and whoever was placed stays where that put them.
    """
    channel = await _own_channel(session, place, channel_id)
    workspace = await session.get_one(Workspace, place.workspace_id)
    at = at or clock.now()
    present = set(
        await session.scalars(
            select(ChannelMember.identity_id).where(ChannelMember.channel_id == channel_id)
        )
    )
    placed = {one for one, when in _placed(workspace).items() if when > at}
    wanted = (set(identity_ids) - placed) | (present & placed)
    for some in _chunks(sorted(present - wanted)):
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
    be asked about anew (the platform's ids).
    """
    [identity_id] = (await put_people(session, place, [person])).values()
    workspace = await _note(session, place)
    placed = {one: when for one, when in _placed(workspace).items() if when > clock.now() - PLACED}
    placed[identity_id] = clock.now()
    told = {one: when.isoformat() for one, when in placed.items()}
    workspace.settings = {**workspace.settings, "placed": told}
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
    await _own_channel(session, place, channel_id)
    statement = upsert(session, ChannelMember).values(
        channel_id=channel_id, identity_id=identity_id, tenant_id=place.tenant_id
    )
    await session.execute(statement.on_conflict_do_nothing())


async def remove_member(
    session: AsyncSession, place: Place, channel_id: str, identity_id: str
) -> None:
    """Somebody left, at once."""
    await _own_channel(session, place, channel_id)
    await session.execute(
        delete(ChannelMember).where(
            ChannelMember.channel_id == channel_id, ChannelMember.identity_id == identity_id
        )
    )


async def forget_membership(session: AsyncSession, place: Place, channel_id: str) -> None:
    """Who is in the channel is unknown: a sync failed, the bot was removed, access was lost.

    Nobody holds the channel's token until the next sync succeeds, one that begins after this.
    """
    channel = await _own_channel(session, place, channel_id)
    channel.members_synced_at = None
    channel.settings = {**channel.settings, "unknown_since": clock.now().isoformat()}
    await _note(session, place)


async def forget_every_membership(session: AsyncSession, place: Place) -> None:
    """Who is in any channel of a workspace is unknown, until syncs that begin after this."""
    await lose_all(session, place)
    workspace = await _note(session, place)
    at = clock.now().isoformat()
    workspace.settings = {**workspace.settings, "unknown_since": at}
    await session.flush()


async def _note(session: AsyncSession, place: Place) -> Workspace:
    """Mark the workspace, held until the transaction ends: what a reader remembers of it is old."""
    workspace = await session.get_one(Workspace, place.workspace_id, with_for_update=True)
    workspace.settings = {**workspace.settings, CHANGED_AT: clock.now().isoformat()}
    await session.flush()
    return workspace


def unknown_since(workspace: Workspace, channel: Channel) -> datetime:
    """When a channel was last made unknown; long ago where it never was."""
    told = [str(item.settings.get("unknown_since") or "") for item in (workspace, channel)]
    return max(datetime.fromisoformat(item) if item else _NEVER for item in told)


def _placed(workspace: Workspace) -> dict[str, datetime]:
    told = workspace.settings.get("placed") or {}
    return {one: datetime.fromisoformat(when) for one, when in told.items()}


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


async def make_private(session: AsyncSession, place: Place, channel_id: str) -> None:
    """A public channel became private: from now on only its members count."""
    channel = await _own_channel(session, place, channel_id)
    channel.is_public = False
    await session.flush()


async def _own_channel(session: AsyncSession, place: Place, channel_id: str) -> Channel:
    channel = await session.scalar(
        select(Channel).where(
            Channel.id == channel_id,
            Channel.workspace_id == place.workspace_id,
            Channel.tenant_id == place.tenant_id,
        )
    )
    if channel is None:
        raise NotFound("No such channel in this workspace.")
    return channel


# What admins do


async def find_channel(session: AsyncSession, principal: Principal, ref: str) -> ChannelInfo:
    """A channel of the tenant by our id, the platform's id, or its name with or without #.

    Admins name any channel, for its settings; what is in it they read only as members of it.
    """
    gate.require(principal, Scope.KB_ADMIN)
    name = ref.removeprefix("#")
    rows = (
        await session.execute(
            select(Channel, Workspace.platform)
            .join(Workspace, Workspace.id == Channel.workspace_id)
            .where(
                Channel.tenant_id == principal.tenant_id,
                or_(Channel.id == ref, Channel.external_id == ref, Channel.name == name),
            )
            .limit(2)
        )
    ).all()
    if not rows:
        raise NotFound(f"No channel {ref!r}. The bot must be in it, or an export of it imported.")
    if len(rows) > 1:
        raise InvalidInput(f"Several channels are called {ref!r}: use its id.", field="channel")
    return _info(rows[0][0], rows[0][1])


@dataclass(frozen=True, slots=True)
class PersonInfo:
    """An account, for admins: `subject` is the platform's id."""

    workspace_id: str
    subject: str
    name: str


async def find_person(session: AsyncSession, principal: Principal, ref: str) -> PersonInfo:
    """An account of the tenant's workspaces by the platform's id, or by a name only it has."""
    gate.require(principal, Scope.KB_ADMIN)
    name = ref.removeprefix("@")
    rows = (
        await session.execute(
            select(Identity.workspace_id, Identity.subject, Identity.name)
            .where(
                Identity.tenant_id == principal.tenant_id,
                Identity.workspace_id.is_not(None),
                or_(Identity.subject == name, Identity.name == name),
            )
            .limit(2)
        )
    ).all()
    if not rows:
        raise NotFound(f"Nobody called {ref!r} is known in a workspace.")
    if len(rows) > 1:
        raise InvalidInput(f"Several people are called {ref!r}: use an id.", field="person")
    return PersonInfo(rows[0][0] or "", rows[0][1], rows[0][2])


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


def _chunks(values: Sequence[str]) -> Iterable[Sequence[str]]:
    return (values[at : at + AT_A_TIME] for at in range(0, len(values), AT_A_TIME))
