"""Discord's events as history updates for the engine: messages, and who may read a channel.

`DiscordHistoryListener` takes the gateway's events by name and data, one server's in their order.
Messages are stored only of channels whose history an admin has enabled. An event that makes it
uncertain who reads a channel makes that unknown before the next event is handled, and has Discord
asked again; what an event says exactly (a member joined, left, has other roles) applies at once.
What happened while the bot was offline is unknown too: a server that comes back is asked about as a
whole.
"""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import Any

from engine.access.discord_access import (
    DECISIVE,
    MANAGE_THREADS,
    PRIVATE_THREAD,
    Server,
    decides,
    held,
    may_read,
    role_bits,
    subject_of,
)
from engine.chats.accounts import NewPerson
from engine.chats.channels import NewChannel
from engine.chats.discord_messages import (
    STARTER,
    from_gateway,
    is_kept,
    to_channel,
    to_person,
    to_thread,
)
from engine.chats.places import Place
from engine.engine import Engine
from engine.errors import EngineError, NotFound

log = logging.getLogger(__name__)

NAME = "discord"
AGAIN_S = (0.2, 10.0)  # the first pause before storing is tried again, the longest
EVERY = 1_000_000  # of one emoji

Payload = Mapping[str, Any]
Work = Callable[[], Awaitable[object]]
_OF_ITSELF = frozenset({"GUILD_CREATE", "GUILD_UPDATE", "GUILD_DELETE"})


class DiscordHistoryListener:
    """See the module. `on_event` may run concurrently: the events of a server keep their order."""

    def __init__(self, engine: Engine) -> None:
        self._history = engine.chats.history
        self._servers: dict[str, Server] = {}
        self._turns: dict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._us = ""
        # Each notes the event in memory, and returns the work that stores it.
        self._keep: dict[str, Callable[[str, Payload], Work | None]] = {
            "CHANNEL_CREATE": self._on_channel,
            "CHANNEL_DELETE": self._on_channel_gone,
            "CHANNEL_UPDATE": self._on_channel,
            "GUILD_CREATE": self._on_server,
            "GUILD_DELETE": self._on_server_gone,
            "GUILD_MEMBER_ADD": self._on_member,
            "GUILD_MEMBER_REMOVE": self._on_member_gone,
            "GUILD_MEMBER_UPDATE": self._on_member,
            "GUILD_ROLE_CREATE": self._on_role,
            "GUILD_ROLE_DELETE": self._on_role_gone,
            "GUILD_ROLE_UPDATE": self._on_role,
            "GUILD_UPDATE": self._on_server_changed,
            "MESSAGE_CREATE": self._on_message,
            "MESSAGE_DELETE": self._on_deleted,
            "MESSAGE_DELETE_BULK": self._on_deleted,
            "MESSAGE_REACTION_ADD": partial(self._on_reaction, 1),
            "MESSAGE_REACTION_REMOVE": partial(self._on_reaction, -1),
            "MESSAGE_REACTION_REMOVE_ALL": partial(self._on_reaction, -EVERY),
            "MESSAGE_REACTION_REMOVE_EMOJI": partial(self._on_reaction, -EVERY),
            "MESSAGE_UPDATE": self._on_message,
            "THREAD_CREATE": self._on_thread,
            "THREAD_DELETE": self._on_thread_gone,
            "THREAD_LIST_SYNC": self._on_threads,
            "THREAD_MEMBERS_UPDATE": self._on_thread_members,
            "THREAD_UPDATE": self._on_thread,
        }

    async def on_event(self, name: str, data: Payload) -> None:
        """Handle a gateway event; others are ignored.

        Storing it is retried until it succeeds: a lost event would leave someone reading what they
        no longer may. Events of a server that is not connected, or of an unknown channel, are not
        stored.
        """
        if name == "READY":
            self._us = _id_of(data.get("user"))
        guild = str((data.get("id") if name in _OF_ITSELF else data.get("guild_id")) or "")
        history_update = self._keep.get(name)
        if history_update is None or not guild:
            return
        async with self._turns[guild]:
            work = history_update(guild, data)
            if work is not None:
                await _surely(name, work)

    # Messages

    def _on_message(self, guild: str, data: Payload) -> Work | None:
        if _id_of(data.get("author")) == self._us or data.get("type") == STARTER:
            return None  # by us: or the bot would cite itself

        async def work() -> None:
            home = await self._history.kept_home(NAME, guild, str(data.get("channel_id")))
            if home is not None:
                place, channel, thread = home
                message = from_gateway(data, thread)
                if message is not None:
                    await self._history.store(place, channel, [message])

        return work

    def _on_deleted(self, guild: str, data: Payload) -> Work:
        ids = [str(item) for item in data.get("ids") or [data.get("id")]]

        async def work() -> None:
            home = await self._history.kept_home(NAME, guild, str(data.get("channel_id")))
            if home is not None:
                place, channel, _ = home
                await self._history.delete(place, channel, ids)

        return work

    def _on_reaction(self, by: int, guild: str, data: Payload) -> Work:
        emoji = data.get("emoji")
        name = str(emoji.get("name") or "") if isinstance(emoji, Mapping) else ""

        async def work() -> None:
            home = await self._history.kept_home(NAME, guild, str(data.get("channel_id")))
            if home is not None:
                place, channel, _ = home
                await self._history.reacted(place, channel, str(data.get("message_id")), name, by)

        return work

    # Threads

    def _on_thread(self, guild: str, data: Payload) -> Work:
        server, parent = self._servers.get(guild), str(data.get("parent_id"))
        if data.get("type") == PRIVATE_THREAD:
            return self._on_private_thread(guild, data)
        new_thread = to_thread(data, server.channels.get(parent) if server else None)

        async def work() -> None:
            home = await self._history.kept_home(NAME, guild, parent)
            if home is not None:
                place, channel, _ = home
                await self._history.put_thread(place, channel, new_thread)

        return work

    def _on_private_thread(self, guild: str, data: Payload) -> Work:
        """A separate channel, whose readers are asked for; see `engine.access.discord_access`."""
        server, id_ = self._servers.get(guild), str(data["id"])
        known = server is not None and id_ in server.threads
        if server is not None:
            server.threads[id_] = data
        channel = to_channel(server or Server(guild), data)
        return self._put(guild, channel) if known else self._put_unknown(guild, channel)

    def _on_threads(self, guild: str, data: Payload) -> Work:
        works = [self._on_thread(guild, item) for item in data.get("threads") or ()]

        async def work() -> None:
            for item in works:
                await item()

        return work

    def _on_thread_gone(self, guild: str, data: Payload) -> Work:
        id_, server = str(data["id"]), self._servers.get(guild)
        if data.get("type") == PRIVATE_THREAD:
            if server is not None:
                server.threads.pop(id_, None)
            return self._lose(guild, [id_])

        async def work() -> None:
            home = await self._history.kept_home(NAME, guild, id_)
            if home is not None:
                place, channel, thread = home
                await self._history.delete_thread(place, channel, thread)

        return work

    def _on_thread_members(self, guild: str, data: Payload) -> Work:
        """Changes the readers of private threads only: public ones are not channels."""
        id_ = str(data["id"])
        if self._us in map(str, data.get("removed_member_ids") or ()):
            return self._lose(guild, [id_])
        return self._ask(guild, [id_])

    # Channels

    def _on_channel(self, guild: str, data: Payload) -> Work | None:
        server, id_ = self._servers.get(guild), str(data["id"])
        if not is_kept(data):
            return None
        before = server.channels.get(id_) if server else None
        channel = to_channel(server or Server(guild), data)
        if server is not None:
            server.channels[id_] = data
        if before is not None and decides(before) == decides(data):
            return self._put(guild, channel)
        return self._put_unknown(guild, channel, self._threads_of(server, id_))

    def _on_channel_gone(self, guild: str, data: Payload) -> Work:
        server, id_ = self._servers.get(guild), str(data["id"])
        threads = self._threads_of(server, id_)
        if server is not None:
            server.channels.pop(id_, None)
        return self._lose(guild, [id_, *threads])

    @staticmethod
    def _threads_of(server: Server | None, channel: str) -> list[str]:
        threads = server.threads.items() if server else ()
        return [id_ for id_, thread in threads if str(thread.get("parent_id")) == channel]

    # Roles and members

    def _on_role(self, guild: str, data: Payload) -> Work | None:
        server, role = self._servers.get(guild), data.get("role")
        if server is None or not isinstance(role, Mapping):
            return self._ask_all(guild)
        [(id_, bits)] = role_bits([role]).items()
        before, server.roles[id_] = server.roles.get(id_), bits
        # No one has a new role yet; of an existing role only these bits decide who reads.
        changed = before is not None and (before ^ bits) & DECISIVE
        return self._ask_all(guild) if changed else None

    def _on_role_gone(self, guild: str, data: Payload) -> Work:
        server, id_ = self._servers.get(guild), str(data.get("role_id"))
        if server is not None:
            server.roles.pop(id_, None)
            # Discord takes it out of every overwrite too, and says nothing of that.
            server.channels = {
                channel: _without(id_, raw) for channel, raw in server.channels.items()
            }
        return self._ask_all(guild)

    def _on_member(self, guild: str, data: Payload) -> Work | None:
        server, user = self._servers.get(guild), data.get("user")
        if subject_of(data) == self._us:
            return self._ask_all(guild)  # what the bot sees decides what is known at all
        if not isinstance(user, Mapping) or user.get("bot"):
            return None
        roles = [str(item) for item in data.get("roles") or ()]
        if server is None or any(role not in server.roles for role in roles):
            return self._ask_all(guild)
        return self._placed(guild, to_person(data), _reads(server, data))

    def _on_member_gone(self, guild: str, data: Payload) -> Work:
        if subject_of(data) == self._us:
            return self._ask_all(guild, ask=False)
        return self._placed(guild, NewPerson(subject_of(data), ""), {})

    # Servers

    def _on_server(self, guild: str, data: Payload) -> Work | None:
        """A server is available: the bot connected, was invited, or an outage is over."""
        if data.get("unavailable"):
            return None
        threads = [item for item in data.get("threads") or () if item.get("type") == PRIVATE_THREAD]
        self._servers[guild] = Server(
            guild,
            owner=str(data.get("owner_id") or ""),
            roles=role_bits(data.get("roles") or ()),
            channels={str(item["id"]): item for item in data.get("channels") or ()},
            threads={str(thread["id"]): thread for thread in threads},
        )
        return self._ask_all(guild)

    def _on_server_changed(self, guild: str, data: Payload) -> Work | None:
        server = self._servers.get(guild)
        roles, owner = role_bits(data.get("roles") or ()), str(data.get("owner_id") or "")
        if server is None:
            return self._ask_all(guild)
        same = server.owner == owner and _decisive(server.roles) == _decisive(roles)
        server.roles, server.owner = roles, owner
        return None if same else self._ask_all(guild)

    def _on_server_gone(self, guild: str, _: Payload) -> Work:
        """The bot was removed, or the server is unavailable for now."""
        self._servers.pop(guild, None)
        return self._ask_all(guild, ask=False)

    # Storing

    def _put(self, guild: str, channel: NewChannel) -> Work:
        async def work() -> None:
            await self._history.put_channels(await self._place(guild), [channel])

        return work

    def _put_unknown(self, guild: str, channel: NewChannel, also: Sequence[str] = ()) -> Work:
        """Make it unknown first, in case the process dies in between."""
        lose, ask = self._lose(guild, [channel.external_id]), self._ask(guild, also)

        async def work() -> None:
            place = await self._place(guild)
            await lose()
            await self._history.put_channels(place, [channel])
            await self._history.lost_and_asked(place, channel.external_id)
            await ask()

        return work

    def _lose(self, guild: str, channels: Sequence[str]) -> Work:
        return self._of_known(guild, channels, self._history.lost)

    def _ask(self, guild: str, channels: Sequence[str]) -> Work:
        return self._of_known(guild, channels, self._history.lost_and_asked)

    def _of_known(
        self, guild: str, channels: Sequence[str], verb: Callable[[Place, str], Awaitable[None]]
    ) -> Work:
        async def work() -> None:
            place = await self._place(guild)
            for channel in channels:
                try:
                    await verb(place, channel)
                except NotFound:  # a channel that no event has named
                    continue

        return work

    def _ask_all(self, guild: str, *, ask: bool = True) -> Work:
        async def work() -> None:
            await self._history.lost_all(await self._place(guild), ask=ask)

        return work

    def _placed(self, guild: str, person: NewPerson, reads: Mapping[str, bool | None]) -> Work:
        async def work() -> None:
            await self._history.placed(await self._place(guild), person, reads)

        return work

    async def _place(self, guild: str) -> Place:
        return await self._history.place(NAME, guild)


async def _surely(name: str, work: Work) -> None:
    pause_s, longest_s = AGAIN_S
    while True:
        try:
            await work()
        except NotFound:
            return
        except EngineError as error:
            log.warning("Discord's %s could not be stored; trying again: %s", name, error)
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, longest_s)
        else:
            return


def _id_of(user: object) -> str:
    return str(user.get("id") or "") if isinstance(user, Mapping) else ""


def _decisive(roles: Mapping[str, int]) -> dict[str, int]:
    return {id_: bits & DECISIVE for id_, bits in roles.items()}


def _without(role: str, channel: Payload) -> Payload:
    written = [
        item for item in channel.get("permission_overwrites") or () if item.get("id") != role
    ]
    return {**channel, "permission_overwrites": written}


def _reads(server: Server, member: Payload) -> dict[str, bool | None]:
    """What a member reads of each channel; of a private thread their roles may not say."""
    found: dict[str, bool | None] = {
        id_: may_read(server, channel, member) for id_, channel in server.channels.items()
    }
    for id_, thread in server.threads.items():
        parent = server.channels.get(str(thread.get("parent_id")))
        if parent is None or not may_read(server, parent, member):
            found[id_] = False
        else:
            found[id_] = True if held(server, parent, member) & MANAGE_THREADS else None
    return found
