"""The gateway: of all processes that share a token, one holds it and receives Discord's events.

`Gateway.run` waits for the lock, connects, and hands every event on as it came; where Discord
refuses an intent it connects without, and `state` says what is off then. The library keeps the
connection: heartbeats, shards, RESUME. Its calls and its sockets go to other addresses where the
settings name some.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import logging
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

import aiohttp
import discord
from discord.gateway import DiscordWebSocket
from discord.http import HTTPClient, Route

from bots.discord import intake
from engine.clock import new_id
from engine.engine import Engine
from engine.errors import ConfigurationError, EngineError
from engine.settings import DiscordSettings

log = logging.getLogger(__name__)

LEASE_S = 15.0  # a holder that died is replaced after so long
LOOK_S = 3.0  # how often the lock is renewed, or asked for
STATE_LIFE_S = 30.0
RECONNECT_S = (1.0, 60.0)  # the first pause, the longest
CONTENT, MEMBERS = "message content intent", "server members intent"
# What is tried where Discord refuses an intent without saying which: the text matters most.
_ATTEMPTS = ((), (MEMBERS,), (CONTENT,), (CONTENT, MEMBERS))

EventListener = Callable[[str, object], None]  # an event's name, and its data as it came


@dataclass(slots=True)
class GatewayState:
    """The state of the connection, as the process that holds it reports it."""

    connected_at: float = 0.0  # Unix time; 0: it is down
    events: int = 0
    last_event_at: float = 0.0
    shards: int = 0
    sessions: int = 0  # new ones since the start, after which missed messages were fetched
    resumed: int = 0
    off: list[str] = field(default_factory=list)  # intents that Discord refuses, or settings do


class Connection(discord.AutoShardedClient):
    """The library's client, which hands on raw events and caches nothing."""

    def __init__(
        self,
        settings: DiscordSettings,
        off: tuple[str, ...],
        listener: EventListener,
        lost: Callable[[int], None],
    ) -> None:
        intents = discord.Intents.none()
        intents.guilds = intents.guild_messages = intents.dm_messages = True
        intents.message_content = settings.message_content and CONTENT not in off
        intents.members = settings.members and MEMBERS not in off
        # It has no voice, and nothing to warn of.
        discord.VoiceClient.warn_nacl = discord.VoiceClient.warn_dave = False
        super().__init__(
            intents=intents,
            allowed_mentions=discord.AllowedMentions.none(),
            chunk_guilds_at_startup=False,
            member_cache_flags=discord.MemberCacheFlags.none(),
            max_messages=None,
            enable_debug_events=True,  # the only public way to an event as it came
        )
        _redirect(self.http, settings)
        self._listener = listener
        self._lost = lost
        # Events are read by us, as they came: the library keeps no copy of the servers, and one it
        # can't parse does not end the session.
        parsers = self._connection.parsers
        for name in set(parsers) - {"READY", "RESUMED"}:
            del parsers[name]

    async def on_shard_disconnect(self, shard_id: int) -> None:
        """A shard's socket is down; the library opens it again, and its session is resumed."""
        self._lost(shard_id)

    async def on_socket_raw_receive(self, message: str) -> None:
        """Hand an event on; they keep their order, for nothing is awaited before."""
        event = json.loads(message)
        if isinstance(event, dict) and event.get("op") == 0:
            self._listener(str(event.get("t")), event.get("d"))


def _redirect(http: HTTPClient, settings: DiscordSettings) -> None:
    """Send one client's calls and sockets elsewhere, where the settings say so.

    The library keeps both addresses in class attributes, which every client of the process would
    share; so those of this client are rewritten on their way out.
    """
    if base_url := settings.api_base_url.rstrip("/"):
        request = http.request

        async def to_base(route: Route, **options: Any) -> Any:  # noqa: ANN401 (the library's)
            route.url = base_url + route.url.removeprefix(Route.BASE)
            return await request(route, **options)

        setattr(http, "request", to_base)  # noqa: B010 (a method of this one object)
    if gateway_url := settings.gateway_url:
        connect, usual = http.ws_connect, str(DiscordWebSocket.DEFAULT_GATEWAY)

        async def to_gateway(
            url: str,
            **options: Any,  # noqa: ANN401 (the library's)
        ) -> aiohttp.ClientWebSocketResponse:
            if url.startswith(usual):
                url = f"{gateway_url.rstrip('/')}/{url.removeprefix(usual)}"
            return await connect(url, **options)

        setattr(http, "ws_connect", to_gateway)  # noqa: B010


class Gateway:
    """See the module."""

    def __init__(self, engine: Engine, listener: EventListener) -> None:
        self._engine = engine
        self._settings = engine.settings.discord
        self._listener = listener
        self._owner = f"bot-{new_id()}"
        token = self._settings.bot_token.get_secret_value()
        self._lock = f"discord:{hashlib.sha256(token.encode()).hexdigest()[:16]}"
        self._renewed_at = 0.0
        self._ready_shards: set[int] = set()
        self.connected = asyncio.Event()
        self.state = GatewayState()

    async def run(self, stop: asyncio.Event) -> None:
        """Hold the gateway whenever no other process does, until `stop`."""
        while not stop.is_set():
            if await self._acquire():
                try:
                    await self._hold(stop)
                finally:
                    self.connected.clear()
                    with contextlib.suppress(EngineError):
                        await self._engine.limits.release(self._lock, self._owner)
            else:
                await pause(stop, LOOK_S)

    async def shared_state(self) -> GatewayState | None:
        """What the process that holds the gateway last reported; None where none does."""
        if self.connected.is_set():
            return self.state
        raw = await self._engine.limits.get(f"{self._lock}:state")
        return GatewayState(**json.loads(raw)) if raw is not None else None

    # The lock

    async def _acquire(self) -> bool:
        try:
            held = await self._engine.limits.acquire(self._lock, self._owner, lease_s=LEASE_S)
        except EngineError as error:
            log.warning("whether another process holds Discord's gateway is unknown: %s", error)
            return False
        if held:
            self._renewed_at = time.monotonic()
        return held

    async def _keep(self, stop: asyncio.Event) -> None:
        """Renew the lock until it is lost."""
        while True:
            await pause(stop, LOOK_S)
            if stop.is_set():
                return
            if await self._acquire():
                raw = json.dumps(asdict(self.state)).encode()
                with contextlib.suppress(EngineError):
                    await self._engine.limits.put(f"{self._lock}:state", raw, ttl_s=STATE_LIFE_S)
            elif time.monotonic() - self._renewed_at > LEASE_S - LOOK_S:
                log.warning("Discord's gateway is given up: another process may hold it by now")
                return

    # The connection

    async def _hold(self, stop: asyncio.Event) -> None:
        keeping = asyncio.create_task(self._keep(stop))
        connecting = asyncio.create_task(self._connect())
        try:
            await asyncio.wait({keeping, connecting}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (keeping, connecting):
                task.cancel()
            done = await asyncio.gather(keeping, connecting, return_exceptions=True)
        for outcome in done:
            if isinstance(outcome, Exception):
                raise outcome

    async def _connect(self) -> None:
        """Be connected, as long as it takes; ends only by a `ConfigurationError`."""
        attempts = list(_ATTEMPTS)
        pause_s = RECONNECT_S[0]
        while True:
            began = time.monotonic()
            try:
                await self._serve(attempts[0])
            except discord.PrivilegedIntentsRequired:
                attempts = self._without(attempts)
                continue
            except discord.LoginFailure:
                raise ConfigurationError(
                    "discord.bot_token is rejected by Discord: copy it again from your"
                    " application's Bot page, where Reset Token creates one."
                ) from None
            except discord.ConnectionClosed as error:
                log.warning("Discord closed the gateway (%s); connecting again", error.code)
            except (discord.DiscordException, aiohttp.ClientError, OSError, TimeoutError) as error:
                log.warning("Discord's gateway can't be reached: %s", type(error).__name__)
            except Exception:  # whatever it was, it is tried again
                log.exception("the connection to Discord's gateway broke")
            if time.monotonic() - began > RECONNECT_S[1]:
                pause_s = RECONNECT_S[0]
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, RECONNECT_S[1])

    async def _serve(self, off: tuple[str, ...]) -> None:
        chosen = self._settings
        asked = {CONTENT: chosen.message_content, MEMBERS: chosen.members}
        self.state.off = [name for name, wanted in asked.items() if not wanted or name in off]
        self._ready_shards.clear()
        connection = Connection(chosen, off, self._on_event, self._on_lost)
        try:
            async with connection:
                await connection.start(chosen.bot_token.get_secret_value())
        finally:
            self.connected.clear()
            self.state.connected_at = 0.0

    def _without(self, attempts: list[tuple[str, ...]]) -> list[tuple[str, ...]]:
        """The attempts that are left once the first of them was refused."""
        asked = {CONTENT: self._settings.message_content, MEMBERS: self._settings.members}
        tried = {name for name, wanted in asked.items() if wanted} - set(attempts[0])
        left = [
            off
            for off in attempts[1:]
            if {name for name, wanted in asked.items() if wanted} - set(off) != tried
        ]
        log.error(
            "Discord refuses an intent that the bot asks for: turn it on in the Developer Portal"
            " (Bot, Privileged Gateway Intents). Going on without: %s",
            ", ".join(left[0]),
        )
        return left

    def _on_event(self, name: str, data: object) -> None:
        state = self.state
        state.events += 1
        state.last_event_at = time.time()
        if name == "READY":
            self._note_ready(data)
        elif name == "RESUMED":
            state.resumed += 1
            state.connected_at = state.connected_at or time.time()
        self._listener(name, data)

    def _on_lost(self, shard_id: int) -> None:
        log.info("Discord's socket is down; it is opened again", extra={"shard": shard_id})
        self.state.connected_at = 0.0

    def _note_ready(self, data: object) -> None:
        ready = intake.read_event("READY", data) or {}
        shard, shards = ready.get("shard") or (0, 1)
        if shard in self._ready_shards:
            self.state.sessions += 1
        self._ready_shards.add(shard)
        self.state.shards = shards
        if len(self._ready_shards) == shards:
            self.state.connected_at = self.state.connected_at or time.time()
            self.connected.set()


async def pause(stop: asyncio.Event, seconds: float) -> None:
    """Wait so long, or until `stop`."""
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(stop.wait(), seconds)
