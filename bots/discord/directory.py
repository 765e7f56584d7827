"""Servers, their channels and threads, cached in memory from the gateway's events.

A message names only the id of the channel or thread it is in; the directory knows which channel
that belongs to. Filled by raw gateway events, and by REST where one was missed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bots.conversation import PlaceKind
from bots.discord.permissions import DIRECT, FORUMS, GROUP, THREADS

Payload = Mapping[str, Any]

_CHANNELS = frozenset({"CHANNEL_CREATE", "CHANNEL_UPDATE", "THREAD_CREATE", "THREAD_UPDATE"})
_GONE = frozenset({"CHANNEL_DELETE", "THREAD_DELETE"})


@dataclass(frozen=True, slots=True)
class Where:
    """Where something was said: the channel, and the thread of it, if any."""

    channel: str
    thread: str = ""
    place: PlaceKind = "channel"
    title: str = ""  # of a post in a forum
    in_forum: bool = False


@dataclass(frozen=True, slots=True)
class Destination:
    """Where messages go: a channel or thread, and the message they reply to, if any."""

    channel: str
    reply_to: str = ""


class Directory:
    """See the module."""

    def __init__(self) -> None:
        self._guilds: dict[str, dict[str, Any]] = {}
        self._channels: dict[str, Payload] = {}

    def on_event(self, name: str, data: Payload) -> None:
        """Handle a gateway event; one that says nothing of channels is ignored."""
        if name in _CHANNELS:
            self.put_channel(data)
        elif name in _GONE:
            self._channels.pop(str(data.get("id")), None)
        elif name in {"GUILD_CREATE", "GUILD_UPDATE"}:
            self._put_guild(data)
        elif name == "GUILD_DELETE" and not data.get("unavailable"):
            self._forget(str(data.get("id")))
        elif name == "THREAD_LIST_SYNC":
            for thread in data.get("threads") or ():
                self.put_channel({**thread, "guild_id": data.get("guild_id")})
        elif name in {"GUILD_ROLE_CREATE", "GUILD_ROLE_UPDATE", "GUILD_ROLE_DELETE"}:
            self._put_role(name, data)

    def guild(self, id_: str) -> Payload | None:
        """A server with its roles, as far as it is known."""
        return self._guilds.get(id_)

    def guilds(self) -> list[str]:
        """The servers the bot is in."""
        return list(self._guilds)

    def channel(self, id_: str) -> Payload | None:
        """A channel or thread."""
        return self._channels.get(id_)

    def channels_of(self, guild_id: str) -> list[Payload]:
        """The channels of a server, threads left out."""
        return [
            item
            for item in self._channels.values()
            if str(item.get("guild_id")) == guild_id and item.get("type") not in THREADS
        ]

    def names_of(self, guild_id: str) -> dict[str, str]:
        """The names of a server's channels and threads, by id."""
        return {
            id_: str(channel.get("name") or id_)
            for id_, channel in self._channels.items()
            if str(channel.get("guild_id")) == guild_id
        }

    def put_channel(self, raw: Payload) -> None:
        """Store a channel or thread as Discord describes it."""
        self._channels[str(raw.get("id"))] = raw

    def where(self, raw: Payload) -> Where:
        """The channel and thread that a channel object stands for."""
        id_, kind = str(raw.get("id", "")), raw.get("type")
        if kind == DIRECT:
            return Where(id_, place="direct")
        if kind == GROUP:
            return Where(id_, place="group")
        if kind not in THREADS:
            return Where(id_)
        parent_id = str(raw.get("parent_id") or "")
        parent = self._channels.get(parent_id)
        in_forum = parent is not None and parent.get("type") in FORUMS
        title = str(raw.get("name") or "") if in_forum else ""
        return Where(parent_id or id_, id_, title=title, in_forum=in_forum)

    def _put_guild(self, data: Payload) -> None:
        id_ = str(data.get("id"))
        known = self._guilds.setdefault(id_, {"id": id_})
        known.update(
            {
                key: data[key]
                for key in ("name", "owner_id", "roles", "system_channel_id")
                if key in data
            }
        )
        for me in data.get("members") or ():
            known.setdefault("members", {})[str((me.get("user") or {}).get("id"))] = me
        for kind in ("channels", "threads"):
            for raw in data.get(kind) or ():
                self.put_channel({**raw, "guild_id": id_})

    def _put_role(self, name: str, data: Payload) -> None:
        guild = self._guilds.get(str(data.get("guild_id")))
        if guild is None:
            return
        role = data.get("role") or {"id": data.get("role_id")}
        others = [item for item in guild.get("roles") or () if item.get("id") != role.get("id")]
        guild["roles"] = others if name == "GUILD_ROLE_DELETE" else [*others, role]

    def _forget(self, guild_id: str) -> None:
        self._guilds.pop(guild_id, None)
        self._channels = {
            id_: channel
            for id_, channel in self._channels.items()
            if str(channel.get("guild_id")) != guild_id
        }
