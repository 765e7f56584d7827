"""Discord on loopback: REST and gateway over one world of servers, with Discord's own refusals.

`FakeDiscord` is the door for tests: knobs and records of the REST interface (`rest`) and of the
gateway (`gateway`), what people do (`talk`, `interactions`), and the `world` itself. A real
discord.py runs against it, see `tests/bots/discord/test_fake_discord.py`; Discord's servers it is
not. What a bot sends is held to Discord's limits, so that a bad message fails its test.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import datetime

from aiohttp import web

from tests.fakes.discord_gateway import Gateway
from tests.fakes.discord_interactions import Interaction, Interactions, text_of, until
from tests.fakes.discord_rest import Fault, Rest
from tests.fakes.discord_routes import Routes
from tests.fakes.discord_talk import Talk
from tests.fakes.discord_world import (
    CONTENT,
    FORUM,
    MEMBERS,
    PRIVATE_THREAD,
    TEXT,
    Guild,
    Json,
    World,
)

TOKEN = "fake.discord.token"


class FakeDiscord:
    """See the module. `api_base_url` and `gateway_url` are what the settings are given."""

    def __init__(self, started_at: datetime | None = None, *, token: str = TOKEN) -> None:
        self.token = token
        self.world = World(started_at)
        self.gateway = Gateway(self.world, token)
        self.rest = Rest(self.world, token)
        self.talk = Talk(self.world, self.gateway)
        self.routes = Routes(self.world, self.gateway, self.talk, self.rest)
        self.interactions = Interactions(self.world, self.talk, self.routes, self.rest)
        self.api_base_url = ""
        self.gateway_url = ""

    # What tests set up

    @property
    def bot_id(self) -> str:
        """The bot's user id."""
        return self.world.bot_id

    @property
    def mention(self) -> str:
        """How the bot is called in a message."""
        return f"<@{self.bot_id}>"

    def add_guild(self, id_: str = "700", name: str = "Radio", *, owner_id: str = "1") -> Guild:
        """A server with the bot in it."""
        return self.world.add_guild(id_, name, owner_id=owner_id)

    def add_person(self, guild: Guild, id_: str, name: str, *roles: str, bot: bool = False) -> str:
        """A person on a server; returns their id."""
        self.world.add_user(id_, name, bot=bot)
        self.world.add_member(guild, id_, *roles)
        return id_

    def add_role(self, guild: Guild, id_: str, name: str = "", permissions: int = 0) -> str:
        """A role; its id."""
        self.world.add_role(guild, id_, name or id_, permissions)
        return id_

    def add_channel(
        self,
        guild: Guild,
        id_: str,
        name: str,
        type_: int = TEXT,
        *,
        allow: Mapping[str, int] | None = None,
        deny: Mapping[str, int] | None = None,
    ) -> str:
        """A channel with its overwrites, permissions by the id of a role or member; its id."""
        self.world.add_channel(guild, id_, name, type_)
        if allow or deny:
            self.talk.overwrite(id_, allow=allow or {}, deny=deny or {})
        return id_

    def add_forum(self, guild: Guild, id_: str, name: str, *tags: str, type_: int = FORUM) -> str:
        """A forum with tags; its id."""
        channel = self.world.add_channel(guild, id_, name, type_)
        channel["available_tags"] = [
            {
                "id": self.world.new_id(),
                "name": tag,
                "moderated": False,
                "emoji_id": None,
                "emoji_name": None,
            }
            for tag in tags
        ]
        return id_

    def allow_intents(self, *, content: bool = True, members: bool = True) -> None:
        """What is switched on in the developer portal."""
        self.gateway.allowed_intents = (CONTENT if content else 0) | (MEMBERS if members else 0)

    # What tests look at

    def shown(self, channel_id: str) -> list[Json]:
        """The bot's messages in a channel, oldest first."""
        here = self.world.messages.get(channel_id, [])
        return [item for item in here if item["author"]["id"] == self.bot_id]

    def dm(self, user_id: str) -> str:
        """The channel of direct messages with a person."""
        return str(self.world.dm_of(user_id)["id"])

    async def until(self, condition: Callable[[], object], bound_s: float = 60.0) -> None:
        """Wait for something the bot does."""
        await until(condition, bound_s)

    async def ready(self, shards: int = 1) -> None:
        """Wait until the bot is connected."""
        await until(lambda: len(self.gateway.connected) >= shards)

    async def reply(self, channel_id: str, *, after: int = 0) -> Json:
        """Wait for the bot's next message in a channel, after so many; see `shown`."""
        await until(lambda: len(self.shown(channel_id)) > after)
        return self.shown(channel_id)[after]

    async def answered(self, interaction: Interaction) -> Interaction:
        """Wait until an interaction is answered, with more than "thinking"."""
        await until(lambda: interaction.is_done)
        return interaction

    # The server

    def app(self) -> web.Application:
        """The routes."""
        app = web.Application(client_max_size=30_000_000)
        app.router.add_route("*", "/api/v10/{path:.*}", self.rest.handle)
        app.router.add_get("/gateway", self.gateway.handle)
        app.router.add_get("/gateway/", self.gateway.handle)
        app.router.add_get("/attachments/{path:.*}", self._file)
        return app

    async def _file(self, request: web.Request) -> web.Response:
        data = self.world.files.get(request.path)
        if data is None:
            return web.Response(status=404)
        return web.Response(body=data)


@asynccontextmanager
async def open_discord(
    started_at: datetime | None = None, *, token: str = TOKEN
) -> AsyncIterator[FakeDiscord]:
    """The fake, listening; `started_at` is its world's time."""
    fake = FakeDiscord(started_at, token=token)
    runner = web.AppRunner(fake.app(), access_log=None, shutdown_timeout=0.5)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0][:2]
    fake.api_base_url = f"http://{host}:{port}/api/v10"
    fake.gateway_url = fake.gateway.url = f"ws://{host}:{port}/gateway"
    fake.routes.url = f"http://{host}:{port}"
    try:
        yield fake
    finally:
        for session in fake.gateway.connected:
            assert session.socket is not None
            await session.socket.close(code=1001)
        await runner.cleanup()


__all__ = [
    "PRIVATE_THREAD",
    "TOKEN",
    "FakeDiscord",
    "Fault",
    "Interaction",
    "Json",
    "open_discord",
    "text_of",
    "until",
]
