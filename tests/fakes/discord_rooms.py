"""A Discord bot over a real installation and the fake Discord, with short ways to speak to it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bots.discord import tree
from bots.discord.bot import DiscordBot, open_discord_bot
from bots.discord.onboarding import install
from engine.access import gate
from engine.chats.sender_rows import SenderRef
from engine.commands.table import find_command
from engine.db.tables import Identity
from engine.documents import knowledge_bases
from engine.documents.adding import NewDocument
from tests.fakes.discord import FakeDiscord, Interaction, Json, text_of
from tests.fakes.discord_world import MANAGE_SERVER, STARTER, VIEW, Guild
from tests.fakes.installations import Installation, open_installation
from tests.fakes.library import ScriptedModel
from tests.fakes.rooms import BACKUP, LEAVE, SALARY

GUILD = "700"
ADA, BOB, GUS = "101", "102", "103"
HELP, TEAM, LEADS, FORUM, VOICE = "801", "802", "803", "804", "805"
MANAGERS, LEAD_ROLE = "901", "902"


@dataclass(frozen=True)
class Answer:
    """An answer as it is shown: its text, and under it sources and buttons."""

    messages: Sequence[Json]

    @property
    def text(self) -> str:
        """All it says."""
        return "\n".join(map(text_of, self.messages))

    @property
    def buttons(self) -> Json:
        """The message that holds its buttons."""
        return self.messages[-1]

    @property
    def channel(self) -> str:
        """The channel or thread it is in."""
        [channel] = {str(message["channel_id"]) for message in self.messages}
        return channel


class DiscordRoom:
    """Ada (who manages the server), Bob and Gus in #help; Ada and Bob in #leads, by a role.

    `notes` is open to the server and to #help, `board` to the linked Ada alone.
    """

    def __init__(
        self, discord: FakeDiscord, notes: Installation, bot: DiscordBot, guild: Guild
    ) -> None:
        self.discord = discord
        self.notes = notes
        self.bot = bot
        self.guild = guild
        self._stop = asyncio.Event()
        self._connected: asyncio.Task[None] | None = None

    @property
    def mention(self) -> str:
        """How the bot is called."""
        return self.discord.mention

    async def connect(self) -> None:
        """Let the bot hold the gateway."""
        self._stop.clear()
        self._connected = asyncio.create_task(self.bot.gateway.run(self._stop))
        await self.discord.until(self.bot.gateway.connected.is_set)
        await self.settle()

    async def disconnect(self) -> None:
        """Let it go."""
        self._stop.set()
        if self._connected is not None:
            await self._connected
            self._connected = None

    async def settle(self) -> None:
        """Wait until every event is received, and all that follows is done."""
        async with asyncio.timeout(60):
            quiet = 0
            while quiet < 2:
                sent_events = self.sent_events()
                await self.discord.until(lambda: self._keep() >= self.sent_events())
                await self.bot.app.aclose()
                await self.bot.answer_worker.run(asyncio.Event(), until_idle=True)
                await self.bot.app.aclose()
                quiet = quiet + 1 if self.sent_events() == sent_events else 0

    def sent_events(self) -> int:
        """Events of the open sessions; replayed ones are received twice at most."""
        return sum(len(item.log) for item in self.discord.gateway.connected)

    def _keep(self) -> int:
        return self.bot.gateway.state.events

    def write(self, *texts: str) -> None:
        """What the language model writes, in turn."""
        setattr(self.notes.engine.answers._asker, "_model", ScriptedModel(*texts))  # noqa: B010

    def shown(self) -> list[Json]:
        """Everything the bot has said, oldest first."""
        found = [
            item
            for channel in self.discord.world.messages
            for item in self.discord.shown(channel)
            if item["type"] != STARTER
        ]
        return sorted(found, key=lambda item: int(item["id"]))

    async def answer_to(self, user: str, text: str, *, channel: str = HELP, **more: Any) -> Answer:
        """Someone asks; returns the answer."""
        return Answer(await self.say(user, text, channel=channel, **more))

    async def say(self, user: str, text: str, *, channel: str = HELP, **more: Any) -> list[Json]:
        """Someone writes; returns the bot's messages that are new after that."""
        before = {item["id"] for item in self.shown()}
        self.discord.talk.say(channel, user, text, **more)
        await self.settle()
        return [item for item in self.shown() if item["id"] not in before]

    async def slash(
        self, user: str, name: str, options: Mapping[str, Any] | None = None, *, channel: str = HELP
    ) -> Interaction:
        """A slash command and its answer."""
        used = self.discord.interactions.slash(user, channel, name, **(options or {}))
        await self.settle()
        return used

    async def press(self, user: str, message: Json, label: str) -> Interaction:
        """Press a button."""
        pressed = self.discord.interactions.press(user, message, label)
        await self.settle()
        return pressed


@asynccontextmanager
async def open_discord_room(
    home: Path, discord: FakeDiscord, **settings: object
) -> AsyncIterator[DiscordRoom]:
    """The room, furnished and connected."""
    guild = build_guild(discord)
    async with (
        open_installation(home, settings_of(discord) | settings) as notes,
        open_discord_bot(notes.engine) as bot,
    ):
        await bot.introduce()
        await install(notes.engine, bot.api, notes.owner.tenant_id, GUILD)
        room = DiscordRoom(discord, notes, bot, guild)
        await _furnish(room)
        await room.connect()
        try:
            yield room
        finally:
            await room.disconnect()


def build_guild(discord: FakeDiscord) -> Guild:
    """The server, its people and its channels."""
    guild = discord.add_guild(GUILD, "Radio")
    discord.add_role(guild, MANAGERS, "managers", MANAGE_SERVER)
    discord.add_role(guild, LEAD_ROLE, "leads")
    discord.add_person(guild, ADA, "Ada", MANAGERS, LEAD_ROLE)
    discord.add_person(guild, BOB, "Bob", LEAD_ROLE)
    discord.add_person(guild, GUS, "Gus")
    discord.add_channel(guild, HELP, "help")
    discord.add_channel(guild, TEAM, "team")
    allowed = {LEAD_ROLE: VIEW, discord.bot_id: VIEW}
    discord.add_channel(guild, LEADS, "leads", allow=allowed, deny={GUILD: VIEW})
    discord.add_forum(guild, FORUM, "questions", "Solved", "Radio")
    return guild


def settings_of(discord: FakeDiscord) -> dict[str, object]:
    """What points the product at the fake."""
    return {
        "discord.bot_token": discord.token,
        "discord.api_base_url": discord.api_base_url,
        "discord.gateway_url": discord.gateway_url,
        "server.public_url": "https://kb.example",
    }


async def _furnish(room: DiscordRoom) -> None:
    engine, owner = room.notes.engine, room.notes.owner
    sender = await engine.chats.senders.meet(SenderRef("discord", GUILD, ADA, HELP))
    async with engine.db.write() as session:
        workspace = gate.workspace_token(sender.workspace_id)
        await knowledge_bases.grant_kb(session, owner, "notes", workspace)
        channel = gate.channel_token(sender.channel_id or "")
        await knowledge_bases.grant_kb(session, owner, "notes", channel)
        (await session.get_one(Identity, sender.identity_id)).user_id = owner.user_id
    await engine.knowledge_bases.create(owner, "board", grants=[f"u:{owner.user_id}"])
    owner = room.notes.owner = await engine.people.owner()
    await room.notes.add(LEAVE, "leave.md", url="https://docs.example/leave")
    await room.notes.add(BACKUP, "backup.md", url="https://docs.example/backup")
    secret = NewDocument(data=SALARY.encode(), filename="salaries.md")
    await engine.documents.add(owner, "board", secret)
    await room.notes.drain()


def path_of(name: str) -> str:
    """How a command of the table is said here, without the slash."""
    command = find_command(name)
    assert command is not None, name
    return tree.path_of(command).removeprefix("/")
