"""Who wrote from where: the platform's ids of a sender, and the rows behind them.

A sender is made known at the first message; what the platform says of people and channels is kept
here for as long as it is fresh.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import delete, select
from sqlalchemy.ext.asyncio import AsyncSession

from engine import clock
from engine.access.principals import ACTIVE, EXTERNAL, SHARED
from engine.chats.channels import own_channel
from engine.chats.freshness import unknown_since
from engine.chats.installation_rows import bind_workspace
from engine.db.tables import Channel, ChannelMember, Identity, Installation, Workspace
from engine.domain import Principal
from engine.errors import Forbidden, InvalidInput, NotFound

ASK_AFTER = timedelta(hours=24)  # what is known for so long is asked of the platform again


@dataclass(frozen=True, slots=True)
class SenderRef:
    """Where a message came from, in the platform's ids. `channel` is empty in a direct message."""

    platform: str
    workspace: str
    person: str
    channel: str = ""
    enterprise: str = ""


@dataclass(frozen=True, slots=True)
class Sender:
    """The same in ours."""

    tenant_id: str
    workspace_id: str
    identity_id: str
    channel_id: str | None
    is_new: bool = False  # nothing is known of the person yet but their id


async def locate(session: AsyncSession, sender_ref: SenderRef) -> Sender:
    """The rows of a sender as far as they are there; an unknown person has an empty id.

    Raises `NotFound` where the workspace is not connected.
    """
    workspace = await _workspace(session, sender_ref, make=False)
    identity_id = await session.scalar(
        select(Identity.id).where(
            Identity.tenant_id == workspace.tenant_id,
            Identity.provider == sender_ref.platform,
            Identity.subject == sender_ref.person,
        )
    )
    channel_id = None
    if sender_ref.channel:
        channel_id = await session.scalar(
            select(Channel.id).where(
                Channel.workspace_id == workspace.id, Channel.external_id == sender_ref.channel
            )
        )
    return Sender(workspace.tenant_id, workspace.id, identity_id or "", channel_id)


async def meet(session: AsyncSession, sender_ref: SenderRef) -> Sender | None:
    """The rows of a sender, or None where some are not there yet (`introduce` makes them)."""
    sender = await locate(session, sender_ref)
    known = sender.identity_id and (sender.channel_id is not None or not sender_ref.channel)
    return sender if known else None


async def homes_of(session: AsyncSession, platform: str, person: str) -> list[str]:
    """The workspaces somebody wrote in, by the platform's ids, the most recent first.

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


async def introduce(session: AsyncSession, sender_ref: SenderRef) -> Sender:
    """`meet`, with new rows where some are missing: a guest and a private channel until more is known."""
    workspace = await _workspace(session, sender_ref, make=True)
    known = await meet(session, sender_ref)
    if known is not None:
        return known
    identity = await session.scalar(
        select(Identity).where(
            Identity.tenant_id == workspace.tenant_id,
            Identity.provider == sender_ref.platform,
            Identity.subject == sender_ref.person,
        )
    )
    if identity is None:
        identity = Identity(
            id=clock.new_id(),
            tenant_id=workspace.tenant_id,
            workspace_id=workspace.id,
            provider=sender_ref.platform,
            subject=sender_ref.person,
            name=sender_ref.person,
        )
        session.add(identity)
    channel_id = None
    if sender_ref.channel:
        channel = await session.scalar(
            select(Channel).where(
                Channel.workspace_id == workspace.id, Channel.external_id == sender_ref.channel
            )
        )
        if channel is None:
            channel = Channel(
                id=clock.new_id(),
                tenant_id=workspace.tenant_id,
                workspace_id=workspace.id,
                external_id=sender_ref.channel,
                name=sender_ref.channel,
                settings={},
            )
            session.add(channel)
        channel_id = channel.id
    await session.flush()
    return Sender(workspace.tenant_id, workspace.id, identity.id, channel_id, is_new=True)


async def _workspace(session: AsyncSession, sender_ref: SenderRef, *, make: bool) -> Workspace:
    found = await session.scalar(
        select(Workspace).where(
            Workspace.platform == sender_ref.platform,
            Workspace.external_id == sender_ref.workspace,
            Workspace.state == ACTIVE,
        )
    )
    if found is not None:
        return found
    owner = await session.scalar(
        select(Installation).where(
            Installation.platform == sender_ref.platform,
            Installation.enterprise_id == sender_ref.enterprise,
            Installation.team_id == "",
            Installation.state == ACTIVE,
        )
    )
    if not sender_ref.enterprise or owner is None or not make:
        raise NotFound(f"No {sender_ref.platform} workspace {sender_ref.workspace!r} is connected.")
    # The organisation let the bot into all of its teams: this one is seen for the first time.
    workspace = Workspace(
        id=clock.new_id(),
        tenant_id=owner.tenant_id,
        platform=sender_ref.platform,
        external_id=sender_ref.workspace,
        name=sender_ref.workspace,
        settings={"enterprise_id": sender_ref.enterprise},
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
    is_external: bool = False  # of another organisation; else, if no full member, a guest

    @property
    def role(self) -> str:
        """What is kept of it: admin, external, or nothing."""
        if self.is_external and not self.is_full_member:
            return EXTERNAL
        return "admin" if self.is_admin and self.is_full_member else ""


async def learn_person(session: AsyncSession, sender: Sender, person: Person) -> None:
    """Keep what the platform says of somebody, as of now."""
    row = await session.get_one(Identity, sender.identity_id)
    row.name = person.name[:200] or row.name
    row.is_full_member = person.is_full_member
    row.platform_role = person.role
    row.workspace_id = sender.workspace_id
    row.seen_at = clock.now()
    await session.flush()


@dataclass(frozen=True, slots=True)
class Stale:
    """What is known too long ago, or not at all."""

    person: bool
    channel: bool


async def what_is_stale(session: AsyncSession, sender: Sender) -> Stale:
    """Whether the person, and who is in the channel, should be asked about again."""
    before = clock.now() - ASK_AFTER
    identity = await session.get_one(Identity, sender.identity_id)
    channel = await session.get(Channel, sender.channel_id) if sender.channel_id else None
    elsewhere = identity.workspace_id != sender.workspace_id  # one account may be in several
    return Stale(
        person=identity.seen_at is None or identity.seen_at < before or elsewhere,
        channel=channel is not None
        and (channel.members_synced_at is None or channel.members_synced_at < before),
    )


async def unknown_people(
    session: AsyncSession, sender: Sender, subjects: Collection[str]
) -> list[str]:
    """Those of `subjects` that nothing fresh is known of, in the order given."""
    known = await _identities(session, sender, subjects)
    before = clock.now() - ASK_AFTER
    fresh = {s for s, row in known.items() if row.seen_at is not None and row.seen_at >= before}
    return [subject for subject in dict.fromkeys(subjects) if subject not in fresh]


async def names_of(
    session: AsyncSession, sender: Sender, subjects: Collection[str]
) -> dict[str, str]:
    """Names by subject, of those that are known."""
    return {s: row.name for s, row in (await _identities(session, sender, subjects)).items()}


async def _identities(
    session: AsyncSession, sender: Sender, subjects: Collection[str]
) -> dict[str, Identity]:
    platform = await session.scalar(
        select(Workspace.platform).where(Workspace.id == sender.workspace_id)
    )
    wanted = sorted(set(subjects))
    found: dict[str, Identity] = {}
    for at in range(0, len(wanted), 500):
        rows = await session.scalars(
            select(Identity).where(
                Identity.tenant_id == sender.tenant_id,
                Identity.provider == platform,
                Identity.subject.in_(wanted[at : at + 500]),
            )
        )
        found |= {row.subject: row for row in rows}
    return found


async def learn_channel(
    session: AsyncSession,
    sender: Sender,
    *,
    name: str,
    is_public: bool,
    members: Collection[str],
    people: Mapping[str, Person],
    bots: Collection[str] = (),
    shared: Collection[str] = (),
    asked_at: datetime | None = None,
) -> None:
    """Keep a channel as its platform describes it: all of its people but bots, and who they are.

    `shared` says whom besides its workspace it is open to (`slack_messages.shared_with`).
    Its membership counts as fresh from `asked_at` on, so each member must be known: a member who is
    not raises `InvalidInput`, and the channel stays as it was. What made the channel unknown
    since then leaves it so.
    """
    channel = await own_channel(session, sender, sender.channel_id or "")
    workspace = await session.get_one(Workspace, sender.workspace_id)
    known = await _identities(session, sender, members)
    wanted: set[str] = set()
    for subject in set(members) - set(bots):
        person, row = people.get(subject), known.get(subject)
        if person is None and (row is None or row.seen_at is None):
            raise InvalidInput("A member of the channel is not known.", field="members")
        if row is None:
            row = Identity(
                id=clock.new_id(),
                tenant_id=sender.tenant_id,
                provider=workspace.platform,
                subject=subject,
                workspace_id=workspace.id,
            )
            session.add(row)
        if person is not None:
            row.name = person.name[:200] or subject
            row.is_full_member = person.is_full_member
            row.platform_role = person.role
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
        ChannelMember(channel_id=channel.id, identity_id=item, tenant_id=sender.tenant_id)
        for item in sorted(wanted - present)
    )
    at = asked_at or clock.now()
    counts = unknown_since(workspace, channel) <= at
    channel.name, channel.is_public = name[:200], is_public and counts
    channel.members_synced_at = at if counts else None
    # An older list takes no share back that became known meanwhile.
    known_shares = set() if counts else set(channel.settings.get(SHARED) or ())
    channel.settings = {**channel.settings, SHARED: sorted(known_shares | set(shared))}
    await session.flush()


TERMINAL = "terminal"  # the platform of `scrubjay chat`


async def open_terminal(
    session: AsyncSession, principal: Principal, channel: str
) -> tuple[SenderRef, Sender]:
    """The workspace that `scrubjay chat` plays in, with one public channel that all members see.

    The account that opens it is linked to the member it is anyway; nobody gains a token by it.
    """
    if principal.user_id is None:
        raise Forbidden("The terminal's workspace is for members.")
    name = f"local-{principal.tenant_id}"
    workspace_id = await bind_workspace(session, principal.tenant_id, TERMINAL, name, "terminal")
    workspace = await session.get_one(Workspace, workspace_id)
    workspace.members_are_tenant = True
    sender_ref = SenderRef(TERMINAL, name, principal.user_id, channel)
    sender = await introduce(session, sender_ref)
    identity = await session.get_one(Identity, sender.identity_id)
    identity.user_id, identity.name = principal.user_id, principal.name
    identity.is_full_member = True
    if sender.channel_id is not None:
        row = await session.get_one(Channel, sender.channel_id)
        row.is_public, row.members_synced_at = True, clock.now()
    await session.flush()
    return sender_ref, sender
