"""A Discord server connected to an installation: its history kept, its events received, its people.

`deliver` hands the listener what the gateway has sent since; `drain` lets the worker do what followed.
Who may read what is asked of the fake's own permissions, never of the product's.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from sqlalchemy import select, update

from bots.discord.history import DiscordHistoryListener
from engine.access import gate
from engine.chats import accounts, channels, places, source_jobs
from engine.chats.places import NewWorkspace, Place
from engine.db.tables import Channel, Identity, Message
from engine.domain import Audience, Principal
from tests.fakes.discord import FakeDiscord
from tests.fakes.discord_gateway import Session
from tests.fakes.discord_world import (
    CONNECT,
    CONTENT,
    DM_MESSAGES,
    GUILD_MESSAGES,
    GUILD_REACTIONS,
    GUILDS,
    HISTORY,
    MEMBERS,
    STAGE,
    THREADS,
    VIEW,
    VOICE,
    Guild,
)
from tests.fakes.installations import Installation, open_installation

GUILD = "700"
READS = VIEW | HISTORY
INTENTS = GUILDS | MEMBERS | GUILD_MESSAGES | GUILD_REACTIONS | DM_MESSAGES | CONTENT


class Scene:
    """See the module."""

    def __init__(self, notes: Installation, discord: FakeDiscord, place: Place) -> None:
        self.notes = notes
        self.engine = notes.engine
        self.discord = discord
        self.talk = discord.talk
        self.guild: Guild = discord.world.guilds[GUILD]
        self.place = place
        self.listener = DiscordHistoryListener(notes.engine)
        self.session: Session = discord.gateway.open_session(0, 1, INTENTS)
        self._keep = 0

    def reconnect(self, intents: int = INTENTS) -> None:
        """The bot was away, for longer than a session lasts."""
        self.listener = DiscordHistoryListener(self.engine)
        self.discord.gateway.sessions.pop(self.session.id, None)
        self.session = self.discord.gateway.open_session(0, 1, intents)
        self._keep = 0

    async def deliver(self) -> None:
        """Hand on what the gateway has sent since."""
        while self._keep < len(self.session.log):
            event = self.session.log[self._keep]
            self._keep += 1
            await self.listener.on_event(event["t"], event["d"])

    async def settle(self) -> None:
        """Deliver the events, and let the worker finish."""
        await self.deliver()
        await self.notes.drain()

    async def sync(self) -> None:
        """Have everything asked again, as every night."""
        async with self.engine.db.write() as session:
            await source_jobs.queue_sync(session, self.place.tenant_id, self.place.workspace_id)
        await self.notes.drain()

    async def keep(self, *names: str) -> None:
        """Have the history of channels kept in notes."""
        owner = await self.engine.people.owner()
        kb = await self.engine.knowledge_bases.get(owner, "notes")
        for name in names:
            await self.engine.chats.history.add(owner, name, kb.id)
        await self.notes.drain()

    async def link_owner(self, subject: str) -> None:
        """The installation's owner is this person on Discord."""
        async with self.engine.db.write() as session:
            await session.execute(
                update(Identity)
                .where(Identity.provider == "discord", Identity.subject == subject)
                .values(user_id=self.notes.owner.user_id)
            )
        self.notes.owner = await self.engine.people.owner()

    async def stored(self) -> dict[str, str]:
        """The texts of stored messages that are not deleted, by id."""
        async with self.engine.db.read() as session:
            rows = await session.execute(
                select(Message.external_id, Message.text)
                .where(Message.deleted_at.is_(None))
                .order_by(Message.position)
            )
            return {str(id_): str(text) for id_, text in rows}

    async def texts(self, query: str) -> str:
        """All that a search finds for someone who may read everything."""
        owner = await self.engine.people.owner()
        found = await self.engine.search.find(owner, query, mode="keyword", limit=20)
        return "\n".join(hit.text for hit in found.hits)

    async def is_known(self, channel: str) -> bool:
        """Whether it counts at the moment who reads a channel."""
        async with self.engine.db.read() as session:
            row = await session.scalar(select(Channel).where(Channel.external_id == channel))
            return row is not None and row.members_synced_at is not None

    async def principal(self, person: str) -> Principal:
        """A person, with the access they have now."""
        async with self.engine.db.read() as session:
            identity_id = await accounts.identity_id_of(session, self.place, person)
            assert identity_id is not None, person
            return await gate.principal_of_identity(session, self.place.tenant_id, identity_id)

    async def audience(self, channel: str) -> Audience:
        """Everyone who sees what is posted in a channel."""
        async with self.engine.db.read() as session:
            channel_id = await channels.channel_id_of(session, self.place, channel)
            return await gate.audience_of_channel(session, self.place.tenant_id, channel_id)

    async def held(self, person: str) -> set[str]:
        """The channels whose token a person holds, by the platform's ids."""
        return await self._channels((await self.principal(person)).tokens)

    async def shared(self, channel: str) -> set[str]:
        """The channels that an answer posted in one may rest on."""
        return await self._channels((await self.audience(channel)).tokens)

    async def _channels(self, tokens: frozenset[str]) -> set[str]:
        async with self.engine.db.read() as session:
            rows = await session.execute(select(Channel.external_id, Channel.id))
            return {ext for ext, id_ in rows if gate.channel_token(id_) in tokens}

    # The rules, by the fake's own permissions

    def reads(self, person: str, channel: str) -> bool:
        """Whether Discord shows a person a channel's text."""
        if person not in self.guild.members:
            return False
        kind = (self.guild.channels.get(channel) or {}).get("type")
        needed = READS | (CONNECT if kind in {VOICE, STAGE} else 0)
        return self.discord.world.permissions(channel, person) & needed == needed

    def readers(self, channel: str) -> set[str]:
        """The people Discord shows a channel's text."""
        people = (one for one, row in self.guild.members.items() if not row["user"]["bot"])
        return {person for person in people if self.reads(person, channel)}

    def is_thread(self, channel: str) -> bool:
        """Whether it is a thread."""
        return (self.guild.threads.get(channel) or {}).get("type") in THREADS


@asynccontextmanager
async def open_scene(home: Path, discord: FakeDiscord) -> AsyncIterator[Scene]:
    """A server whose channels and people the test has set up, connected to an installation."""
    settings = {
        "discord.bot_token": discord.token,
        "discord.api_base_url": discord.api_base_url,
    }
    async with open_installation(home, settings) as notes:
        async with notes.engine.db.write() as session:
            new = NewWorkspace("discord", GUILD, "Radio")
            place = await places.put_workspace(session, notes.owner.tenant_id, new)
        yield Scene(notes, discord, place)
