"""How a server is connected, and what happens when the bot is removed.

A server belongs to no tenant until someone who manages it registers it with a key, or an operator
does: until then it gets an explanation, and nothing of it is stored. When the bot is removed its
installation pauses, and what it stored is purged later, as on every platform.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlencode

from bots.conversation import Joined
from bots.discord.adapter import DiscordPlatform
from bots.discord.directory import Destination, Directory
from bots.discord.payloads import NAME, Interaction
from bots.discord.permissions import INVITE, SEND, TEXT, held
from bots.discord.rest import DiscordApi, DiscordTrouble
from bots.inbound_handler import InboundHandler
from bots.replies import Reply
from engine import clock
from engine.access.discord_access import VIEW
from engine.chats.installation_rows import NewInstallation
from engine.chats.sender_rows import Person, SenderRef
from engine.engine import Engine
from engine.errors import Forbidden, InvalidInput, NotFound

log = logging.getLogger(__name__)

NEW = timedelta(hours=1)  # a server that the bot joined so recently gets an explanation
TOLD_S = 30 * 24 * 3600.0
EXPLAINED_EVERY_S, EXPLAINED_AT_ONCE = 600.0, 2.0
HOMES_MAX = 20  # servers that are asked whether a person is a member
CACHED_S = 30.0
INVITE_PAGE = "https://discord.com/oauth2/authorize"

UNCONNECTED = (
    "This server is not connected yet, so I don't answer or store anything here. Someone with"
    " Manage Server can run `/kb register` with a key from the person who runs me (`scrubjay bot"
    " discord-key`). That person can also connect it: `scrubjay bot register {guild}`."
)
UNKNOWN_PERSON = (
    "I answer from the servers I'm connected to, and I don't know you from any of them. Ask me"
    " there first."
)


class Onboarding:
    """See the module."""

    def __init__(
        self,
        engine: Engine,
        platform: DiscordPlatform,
        directory: Directory,
        inbound_handler: InboundHandler,
    ) -> None:
        self._engine = engine
        self._platform = platform
        self._directory = directory
        self._inbound_handler = inbound_handler
        self._known: dict[str, float] = {}

    async def is_known(self, guild_id: str) -> bool:
        """Whether a server is connected; that it is is remembered for a while."""
        if time.monotonic() - self._known.get(guild_id, -CACHED_S) < CACHED_S:
            return True
        try:
            await self._engine.chats.installations.find(NAME, team_id=guild_id)
        except NotFound:
            self._known.pop(guild_id, None)
            return False
        self._known[guild_id] = time.monotonic()
        return True

    def explanation(self, guild_id: str) -> str:
        """Why there is no answer, where a server or a person is not known."""
        return UNCONNECTED.format(guild=guild_id) if guild_id else UNKNOWN_PERSON

    async def explain(self, guild_id: str, channel: str) -> None:
        """Explain it where the bot was called, at a limited rate."""
        wait_s = await self._engine.limits.take(
            f"discord:explained:{guild_id or channel}",
            rate_per_s=1 / EXPLAINED_EVERY_S,
            burst=EXPLAINED_AT_ONCE,
        )
        if wait_s <= 0:
            reply = Reply(self.explanation(guild_id))
            await self._platform.delivery.post(Destination(channel), reply)

    # Connecting

    async def register(self, interaction: Interaction, key: str) -> str:
        """Connect the server of an interaction; returns the reply."""
        if not interaction.guild:
            raise InvalidInput("Run this on the server you want to connect.", field="key")
        if not interaction.is_manager:
            raise Forbidden("You need Manage Server to connect a server.")
        tenant_id = await self._engine.chats.installations.redeem_key(key, interaction.guild)
        name = await install(
            self._engine, self._platform.api, tenant_id, interaction.guild, by=interaction.person
        )
        sender = await self._engine.chats.senders.meet(
            SenderRef(NAME, interaction.guild, interaction.person)
        )
        person = Person(interaction.name, is_full_member=True, is_admin=True)
        await self._engine.chats.senders.learn_person(sender, person)
        if interaction.where.place == "channel":
            await self._inbound_handler.joined(
                Joined(NAME, interaction.guild, interaction.where.channel, interaction.person)
            )
        return (
            f"**{name}** is connected. `/kb-admin setup` sets up a channel; `/kb help` shows more."
        )

    async def find_home(self, person: str) -> str:
        """A connected server that a person is a member of; empty where there is none."""
        asked = 0
        for installed in await self._engine.chats.installations.list_all():
            if installed.platform != NAME or installed.state != "active" or asked >= HOMES_MAX:
                continue
            asked += 1
            try:
                path = f"guilds/{installed.team_id}/members/{person}"
                await self._platform.api.call("GET", path)
            except DiscordTrouble:
                continue
            return installed.team_id
        return ""

    # Joining and leaving servers

    async def joined(self, guild: Mapping[str, Any]) -> None:
        """The bot is on a server: a new one that is not connected gets instructions."""
        id_ = str(guild.get("id"))
        joined = str(guild.get("joined_at") or "")
        if not joined or datetime.fromisoformat(joined) < clock.now() - NEW:
            return
        if await self.is_known(id_):
            return
        mine = await self._engine.limits.acquire(
            f"discord:greeted:{id_}", joined[:19], lease_s=TOLD_S
        )
        channel = self._speaking_place(guild)
        if mine and channel:
            await self.explain(id_, channel)

    def _speaking_place(self, guild: Mapping[str, Any]) -> str:
        """A channel of a server that the bot may write in: its system channel, if it may."""
        me: Mapping[str, Any] = next(iter(guild.get("members") or ()), {})
        chosen = str(guild.get("system_channel_id") or "")
        channels = sorted(
            (item for item in guild.get("channels") or () if item.get("type") == TEXT),
            key=lambda item: (str(item.get("id")) != chosen, item.get("position") or 0),
        )
        needed = VIEW | SEND
        return next(
            (
                str(channel["id"])
                for channel in channels
                if held(guild, channel, me) & needed == needed
            ),
            "",
        )

    async def left(self, guild_id: str) -> None:
        """The bot was removed from a server."""
        self._known.pop(guild_id, None)
        await self._engine.chats.installations.pause(NAME, team_id=guild_id)

    async def compare(self, ready: Mapping[str, Any]) -> None:
        """At the start of a session: pause the servers that the bot was removed from meanwhile."""
        shard, shards = ready.get("shard") or (0, 1)
        here = {str(item.get("id")) for item in ready.get("guilds") or ()}
        for installed in await self._engine.chats.installations.list_all():
            if installed.platform != NAME or installed.state != "active":
                continue
            mine = (int(installed.team_id) >> 22) % shards == shard
            if mine and installed.team_id not in here:
                log.warning("the bot is no longer on a server", extra={"server": installed.team_id})
                await self.left(installed.team_id)


async def install(
    engine: Engine, api: DiscordApi, tenant_id: str, guild_id: str, *, by: str = ""
) -> str:
    """Connect a server to a tenant; returns its name. `NotFound` where the bot is not on it."""
    try:
        guild = await api.call("GET", f"guilds/{guild_id}")
    except DiscordTrouble as trouble:
        if trouble.status not in {403, 404}:
            raise
        raise NotFound(
            f"The bot is not on a server {guild_id}: invite it there first"
            " (`scrubjay bot discord-key` prints the link)."
        ) from None
    me = await api.call("GET", "users/@me")
    name = str(guild.get("name") or guild_id)
    new = NewInstallation(
        platform=NAME,
        team_id=guild_id,
        token="",  # one for all servers, and in the settings
        name=name,
        url=f"https://discord.com/channels/{guild_id}",
        bot_user_id=str(me["id"]),
        installed_by=by,
    )
    await engine.chats.installations.install(tenant_id, new)
    # Ask for its channels and their readers, so that commands can name them.
    await engine.chats.history.lost_all(await engine.chats.history.place(NAME, guild_id))
    return name


async def invite_link(api: DiscordApi) -> str:
    """The page to invite the bot to a server, with the least permissions it needs."""
    application = await api.call("GET", "oauth2/applications/@me")
    query = {
        "client_id": str(application["id"]),
        "scope": "bot applications.commands",
        "permissions": str(INVITE),
    }
    return f"{INVITE_PAGE}?{urlencode(query)}"
