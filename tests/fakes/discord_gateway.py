"""The gateway of the fake Discord: sessions over WebSocket, as a sharded client opens them.

A session keeps every dispatch with its sequence number, so that RESUME replays what was missed.
Servers belong to the shard their id says. What a session's intents leave out it is not sent.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from aiohttp import WSMsgType, web

from tests.fakes.discord_world import (
    CONTENT,
    GUILDS,
    MEMBERS,
    PRIVILEGED,
    Guild,
    Json,
    World,
    without_content,
)

DISPATCH, HEARTBEAT, IDENTIFY, PRESENCE, VOICE, RESUME = 0, 1, 2, 3, 4, 6
RECONNECT, REQUEST_MEMBERS, INVALID_SESSION, HELLO, HEARTBEAT_ACK = 7, 8, 9, 10, 11
NOT_AUTHENTICATED, BAD_TOKEN, TWICE, INVALID_SHARD = 4003, 4004, 4005, 4010
INVALID_INTENTS, DISALLOWED_INTENTS, UNKNOWN_OPCODE = 4013, 4014, 4001


@dataclass
class Session:
    """One shard's session: it outlives its socket until it is forgotten."""

    id: str
    shard: int
    shards: int
    intents: int
    log: list[Json] = field(default_factory=list)
    sent: int = 0  # dispatches of the log that were put on a socket
    socket: web.WebSocketResponse | None = None
    more: asyncio.Event = field(default_factory=asyncio.Event)

    def covers(self, guild_id: str | None) -> bool:
        """Whether a server is this shard's; direct messages and the rest are the first one's."""
        return (int(guild_id or 0) >> 22) % self.shards == self.shard

    def add(self, event: str, data: Json) -> None:
        """One more dispatch."""
        payload = json.loads(json.dumps(data))  # as it is now, whatever becomes of it
        self.log.append({"op": DISPATCH, "t": event, "s": len(self.log) + 1, "d": payload})
        self.more.set()


class Gateway:
    """See the module. The attributes are knobs and records of tests."""

    def __init__(self, world: World, token: str) -> None:
        self.world = world
        self.url = ""
        self.shards = 1  # what GET /gateway/bot recommends
        self.heartbeat_interval_ms = 41_250
        self.allowed_intents = PRIVILEGED  # switched on in the developer portal
        self.refusing = False  # no one may connect
        self.acknowledging = True  # heartbeats
        self.sessions: dict[str, Session] = {}
        self.identified: list[Json] = []
        self.resumed: list[Json] = []
        self.heartbeats = 0
        self._token = token
        self._numbers = 0
        world.emit = self.emit

    # What tests do to it

    @property
    def connected(self) -> list[Session]:
        """The sessions with an open socket, by shard."""
        found = (
            session
            for session in self.sessions.values()
            if session.socket and not session.socket.closed
        )
        return sorted(found, key=lambda item: item.shard)

    async def drop(self, shard: int = 0, *, code: int = 4000) -> None:
        """Close a shard's socket; its session can be resumed."""
        session = self._connected(shard)
        socket, session.socket = session.socket, None
        session.more.set()
        assert socket is not None
        await socket.close(code=code)

    async def ask_to_reconnect(self, shard: int = 0) -> None:
        """RECONNECT: the client shall come back and resume."""
        await self._connected(shard).socket.send_json({"op": RECONNECT, "d": None})  # type: ignore[union-attr]

    async def invalidate(self, shard: int = 0, *, resumable: bool = False) -> None:
        """INVALID_SESSION; without `resumable` the session is forgotten."""
        session = self._connected(shard)
        if not resumable:
            self.sessions.pop(session.id)
        assert session.socket is not None
        await session.socket.send_json({"op": INVALID_SESSION, "d": resumable})

    def forget_sessions(self) -> None:
        """As after a long absence: no session can be resumed any more."""
        for id_, session in list(self.sessions.items()):
            if session.socket is None or session.socket.closed:
                self.sessions.pop(id_)

    def _connected(self, shard: int) -> Session:
        return next(item for item in self.connected if item.shard == shard)

    # Events

    def emit(
        self,
        event: str,
        data: Json,
        guild_id: str | None,
        intent: int,
        shape: Callable[[Session], Json | None] | None = None,
    ) -> None:
        """An event for every session that covers the server and asked for such events."""
        for session in self.sessions.values():
            if not session.covers(guild_id) or (intent and not session.intents & intent):
                continue
            payload: Json | None = data
            if event in {"MESSAGE_CREATE", "MESSAGE_UPDATE"} and not session.intents & CONTENT:
                payload = without_content(data, self.world.bot_id, direct=guild_id is None)
            elif shape is not None:
                payload = shape(session)
            if payload is not None:
                session.add(event, payload)

    def open_guild(self, guild: Guild) -> None:
        """The bot is on a server from now on."""
        for session in self.sessions.values():
            if session.covers(guild.id) and session.intents & GUILDS:
                session.add("GUILD_CREATE", self._guild(guild, session))

    # The server

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """A WebSocket from the first word to the last."""
        if self.refusing:
            return web.Response(status=503)
        socket = web.WebSocketResponse(max_msg_size=1 << 20)
        await socket.prepare(request)
        await socket.send_json(
            {"op": HELLO, "d": {"heartbeat_interval": self.heartbeat_interval_ms}, "s": None}
        )
        session: Session | None = None
        writer: asyncio.Task[None] | None = None
        try:
            async for message in socket:
                if message.type is not WSMsgType.TEXT:
                    continue
                payload = json.loads(message.data)
                begun = await self._hear(socket, session, payload)
                if begun is not None and begun is not session:
                    session = begun
                    writer = asyncio.create_task(_write(session, socket))
        finally:
            if writer is not None:
                writer.cancel()
                with suppress(asyncio.CancelledError):
                    await writer
        if session is not None and session.socket is socket and socket.close_code in {1000, 1001}:
            self.sessions.pop(session.id, None)  # the client took its leave
        return socket

    async def _hear(
        self, socket: web.WebSocketResponse, session: Session | None, payload: Mapping[str, Any]
    ) -> Session | None:
        match payload["op"]:
            case 1:
                self.heartbeats += 1
                if self.acknowledging:
                    await socket.send_json({"op": HEARTBEAT_ACK})
            case 2 if session is None:
                return await self._identify(socket, payload["d"])
            case 6 if session is None:
                return await self._resume(socket, payload["d"])
            case 2 | 6:
                await socket.close(code=TWICE)
            case _ if session is None:
                await socket.close(code=NOT_AUTHENTICATED)
            case 8:
                self._members(session, payload["d"])
            case 3 | 4:
                pass
            case _:
                await socket.close(code=UNKNOWN_OPCODE)
        return None

    async def _identify(
        self, socket: web.WebSocketResponse, payload: Mapping[str, Any]
    ) -> Session | None:
        self.identified.append(dict(payload))
        shard, shards = payload.get("shard") or (0, 1)
        refused = 0
        if payload.get("token") != self._token:
            refused = BAD_TOKEN
        elif not 0 <= shard < shards:
            refused = INVALID_SHARD
        elif not isinstance(payload.get("intents"), int) or payload["intents"] >> 27:
            refused = INVALID_INTENTS
        elif payload["intents"] & PRIVILEGED & ~self.allowed_intents:
            refused = DISALLOWED_INTENTS
        if refused:
            await socket.close(code=refused)
            return None
        session = self.open_session(shard, shards, payload["intents"])
        session.socket = socket
        return session

    def open_session(self, shard: int, shards: int, intents: int) -> Session:
        """A session as it begins; its `log` is what it would be sent, with a socket or without."""
        self._numbers += 1
        session = Session(f"session-{self._numbers}", shard, shards, intents)
        self.sessions[session.id] = session
        guilds = [
            guild
            for guild in self.world.guilds.values()
            if guild.bot_is_in and session.covers(guild.id)
        ]
        session.add(
            "READY",
            {
                "v": 10,
                "user": self.world.users[self.world.bot_id],
                "session_id": session.id,
                "session_type": "normal",
                "shard": [shard, shards],
                "resume_gateway_url": self.url,
                "guilds": [{"id": guild.id, "unavailable": True} for guild in guilds],
                "application": {"id": self.world.application_id, "flags": 0},
                "private_channels": [],
            },
        )
        for guild in guilds if session.intents & GUILDS else []:
            session.add("GUILD_CREATE", self._guild(guild, session))
        return session

    async def _resume(
        self, socket: web.WebSocketResponse, payload: Mapping[str, Any]
    ) -> Session | None:
        self.resumed.append(dict(payload))
        session = self.sessions.get(str(payload.get("session_id")))
        if payload.get("token") != self._token:
            await socket.close(code=BAD_TOKEN)
            return None
        if session is None or not 0 <= payload["seq"] <= len(session.log):
            await socket.send_json({"op": INVALID_SESSION, "d": False})
            return None
        session.sent = payload["seq"]
        session.socket = socket
        session.add("RESUMED", {"_trace": []})
        return session

    def _members(self, session: Session, payload: Mapping[str, Any]) -> None:
        guild = self.world.guilds[str(payload["guild_id"])]
        ids = payload.get("user_ids")
        if ids is not None:
            wanted = {str(item) for item in (ids if isinstance(ids, list) else [ids])}
            found = [one for id_, one in guild.members.items() if id_ in wanted]
        elif payload.get("query") or session.intents & MEMBERS:
            begins = str(payload.get("query") or "").lower()
            rows = guild.members.values()
            found = [row for row in rows if row["user"]["username"].startswith(begins)]
            found = found[: int(payload.get("limit") or 0) or len(found)]
        else:
            found = []
        data: Json = {"guild_id": guild.id, "members": found, "chunk_index": 0, "chunk_count": 1}
        if payload.get("nonce"):
            data["nonce"] = payload["nonce"]
        session.add("GUILD_MEMBERS_CHUNK", data)

    def _guild(self, guild: Guild, session: Session) -> Json:
        """A server as a session starts with it; without the intent its only member is the bot."""
        bot = self.world.bot_id
        members = guild.members if session.intents & MEMBERS else {bot: guild.members[bot]}
        threads = []
        for thread in guild.threads.values():
            if thread["thread_metadata"]["archived"] or not self.world.bot_sees(thread["id"]):
                continue
            joined = self.world.thread_members[thread["id"]].get(bot)
            threads.append(thread | ({"member": joined} if joined else {}))
        return {
            "id": guild.id,
            "name": guild.name,
            "icon": None,
            "owner_id": guild.owner_id,
            "unavailable": False,
            "large": False,
            "member_count": len(guild.members),
            "joined_at": guild.members[bot]["joined_at"],
            "roles": list(guild.roles.values()),
            "channels": list(guild.channels.values()),
            "threads": threads,
            "members": list(members.values()),
            "preferred_locale": "en-US",
            **{key: [] for key in ("emojis", "stickers", "features", "presences", "voice_states")},
            **{
                key: []
                for key in ("stage_instances", "guild_scheduled_events", "soundboard_sounds")
            },
        }


async def _write(session: Session, socket: web.WebSocketResponse) -> None:
    """Send what a session has to tell, in order, for as long as this socket is its own."""
    while session.socket is socket and not socket.closed:
        session.more.clear()
        while session.sent < len(session.log):
            payload = session.log[session.sent]
            session.sent += 1
            try:
                await socket.send_json(payload)
            except (ConnectionError, RuntimeError):
                return
        await session.more.wait()
