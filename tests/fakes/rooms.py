"""What rooms of tests are furnished with: people, channels with their members, pages with readers."""

from __future__ import annotations

from collections.abc import Collection

from sqlalchemy import delete, select

from engine import clock
from engine.access import gate
from engine.chats.sender_rows import Sender, SenderRef
from engine.db.tables import Channel, ChannelMember, Identity
from engine.documents import knowledge_bases
from engine.documents.adding import NewDocument
from tests.fakes.chat import Room
from tests.fakes.installations import Installation

LEAVE = "# Sick leave\n\nYou can request up to 240 hours of advanced sick leave.\n"
BACKUP = "# Backups\n\nThe backup of the shop runs at four in the morning.\n"
SALARY = "# Salaries\n\nThe salary of the chief gardener is 81,000 rupees.\n"
PRIVATE = "# Move\n\nThe office moves to Lisbon on the third of May.\n"


async def furnish(room: Room, notes: Installation) -> None:
    """See the fixture `room`."""
    engine, owner = notes.engine, notes.owner
    ada = await room.person("ada", admin=True)
    await room.person("bob")
    await room.person("gus", full=False)
    await open_channel(room, "C1", "help", public=True, members=["ada", "bob", "gus"])
    await open_channel(room, "C2", "team", public=True, members=["ada", "bob"])
    await open_channel(room, "P1", "leads", public=False, members=["ada", "bob"])
    workspace = gate.workspace_token(ada.workspace_id)
    await grant(notes, "notes", workspace, await channel_token(room, "C1"))
    await engine.knowledge_bases.create(owner, "board", grants=[f"u:{owner.user_id}"])
    owner = notes.owner = await engine.people.owner()
    await notes.add(LEAVE, "leave.md")
    await notes.add(BACKUP, "backup.md")
    await notes.add(PRIVATE, "move.md", acl=[await channel_token(room, "P1")])
    await engine.documents.add(
        owner, "board", NewDocument(data=SALARY.encode(), filename="salaries.md")
    )
    await notes.drain()
    await link(room, ada, owner.user_id or "")


async def open_channel(
    room: Room, external_id: str, name: str, *, public: bool, members: Collection[str]
) -> str:
    """The id of a channel whose members are known, as of now."""
    sender = None
    for person in members:
        sender = await room.engine.chats.senders.meet(
            SenderRef("fake", room.team, person, external_id)
        )
    assert sender is not None
    assert sender.channel_id is not None
    async with room.engine.db.write() as session:
        channel = await session.get_one(Channel, sender.channel_id)
        channel.name, channel.is_public, channel.members_synced_at = name, public, clock.now()
        await session.execute(delete(ChannelMember).where(ChannelMember.channel_id == channel.id))
        ids = await session.scalars(
            select(Identity.id).where(
                Identity.tenant_id == room.tenant_id, Identity.subject.in_(members)
            )
        )
        session.add_all(
            ChannelMember(channel_id=channel.id, identity_id=id_, tenant_id=room.tenant_id)
            for id_ in ids
        )
    return sender.channel_id


async def channel_token(room: Room, external_id: str) -> str:
    """The token of a channel."""
    async with room.engine.db.read() as session:
        id_ = await session.scalar(select(Channel.id).where(Channel.external_id == external_id))
    return gate.channel_token(str(id_))


async def grant(notes: Installation, kb: str, *tokens: str) -> None:
    """Open a knowledge base to more holders."""
    async with notes.engine.db.write() as session:
        for token in tokens:
            await knowledge_bases.grant_kb(session, notes.owner, kb, token)


async def link(room: Room, sender: Sender, user_id: str) -> None:
    """Link an account to a member."""
    async with room.engine.db.write() as session:
        (await session.get_one(Identity, sender.identity_id)).user_id = user_id
