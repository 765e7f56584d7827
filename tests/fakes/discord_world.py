"""The servers, people, channels, threads and messages of the fake Discord, and who may do what.

One world stands behind the gateway and the REST interface. Everything in it has the shape Discord
sends. Permissions are worked out here by Discord's rules and by no other code, so that the
product's own reading of them is measured against something.
"""

from __future__ import annotations

import re
from bisect import bisect_left, insort
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from tests.fakes.discord_checks import Refused

Json = dict[str, Any]

EPOCH_MS = 1_420_070_400_000
TEXT, DM, VOICE, NEWS, STAGE, FORUM, MEDIA = 0, 1, 2, 5, 13, 15, 16
NEWS_THREAD, PUBLIC_THREAD, PRIVATE_THREAD = 10, 11, 12
THREADS = frozenset({NEWS_THREAD, PUBLIC_THREAD, PRIVATE_THREAD})
TALK, STARTER, REPLY = 0, 21, 19  # types of messages

ADMINISTRATOR, MANAGE_SERVER, REACT, VIEW = 1 << 3, 1 << 5, 1 << 6, 1 << 10
SEND, MANAGE_MESSAGES, EMBED, ATTACH = 1 << 11, 1 << 13, 1 << 14, 1 << 15
HISTORY, MANAGE_CHANNELS, MANAGE_ROLES, COMMANDS = 1 << 16, 1 << 4, 1 << 28, 1 << 31
MANAGE_THREADS, CREATE_THREADS, CREATE_PRIVATE, SEND_IN_THREADS = 1 << 34, 1 << 35, 1 << 36, 1 << 38
CONNECT = 1 << 20
EVERYTHING = (1 << 50) - 1
USUAL = REACT | VIEW | SEND | EMBED | ATTACH | HISTORY | COMMANDS | CREATE_THREADS | SEND_IN_THREADS

# What an event needs of a session's intents.
GUILDS, MEMBERS, GUILD_MESSAGES, GUILD_REACTIONS = 1 << 0, 1 << 1, 1 << 9, 1 << 10
DM_MESSAGES, DM_REACTIONS, CONTENT, PRESENCES = 1 << 12, 1 << 13, 1 << 15, 1 << 8
PRIVILEGED = MEMBERS | CONTENT | PRESENCES

Emit = Callable[..., None]


@dataclass
class Guild:
    """A server. `everyone` is the role with its own id; `bot_is_in` while the bot is a member."""

    id: str
    name: str
    owner_id: str
    roles: dict[str, Json] = field(default_factory=dict)
    members: dict[str, Json] = field(default_factory=dict)
    channels: dict[str, Json] = field(default_factory=dict)
    threads: dict[str, Json] = field(default_factory=dict)
    bot_is_in: bool = True


class World:
    """Everything there is. `emit` tells the gateway of what happens."""

    def __init__(self, started_at: datetime | None = None) -> None:
        self.guilds: dict[str, Guild] = {}
        self.users: dict[str, Json] = {}
        self.dms: dict[str, Json] = {}
        self.messages: dict[str, list[Json]] = defaultdict(list)
        self.thread_members: dict[str, dict[str, Json]] = defaultdict(dict)
        self.reactors: dict[tuple[str, str], list[str]] = defaultdict(list)
        self.files: dict[str, bytes] = {}
        self.emit: Emit = lambda *_, **__: None
        self._at = started_at or datetime.now(UTC)
        self._ids = 0
        self.bot_id = self.new_id()
        self.application_id = self.bot_id
        self.add_user(self.bot_id, "Scrubjay", bot=True)

    # Time and ids

    def now(self) -> datetime:
        """The world's time: it moves only with `advance`, and a millisecond for each id."""
        return self._at

    def advance(self, seconds: float) -> None:
        """Let time go by."""
        self._at += timedelta(seconds=seconds)

    def new_id(self, at: datetime | None = None) -> str:
        """A snowflake of now, or of another time; later ones are greater."""
        self._ids += 1
        if at is None:
            self._at += timedelta(milliseconds=1)
        ms = int((at or self._at).timestamp() * 1000) - EPOCH_MS
        return str((max(0, ms) << 22) | (self._ids & 0x3FFFFF))

    # Servers and people

    def add_user(self, id_: str, name: str, *, bot: bool = False) -> Json:
        """An account; the same id again gives the one that is there."""
        made = {
            "id": id_,
            "username": name.lower().replace(" ", "."),
            "discriminator": "0",
            "global_name": None if bot else name,
            "avatar": None,
            "bot": bot,
        }
        return self.users.setdefault(id_, made)

    def add_guild(self, id_: str, name: str, *, owner_id: str = "1") -> Guild:
        """A server with the bot in it, without a word to the gateway."""
        guild = self.guilds[id_] = Guild(id_, name, owner_id)
        self.add_role(guild, id_, "@everyone", USUAL)
        self.add_member(guild, self.bot_id)
        return guild

    def add_role(self, guild: Guild, id_: str, name: str, permissions: int = 0) -> Json:
        """A role."""
        role = guild.roles[id_] = {
            "id": id_,
            "name": name,
            "color": 0,
            "colors": {"primary_color": 0, "secondary_color": None, "tertiary_color": None},
            "hoist": False,
            "position": len(guild.roles),
            "permissions": str(permissions),
            "managed": False,
            "mentionable": False,
            "flags": 0,
        }
        return role

    def add_member(self, guild: Guild, user_id: str, *roles: str) -> Json:
        """A person on the server."""
        member = guild.members[user_id] = {
            "user": self.users[user_id],
            "nick": None,
            "avatar": None,
            "roles": list(roles),
            "joined_at": iso(self._at),
            "premium_since": None,
            "deaf": False,
            "mute": False,
            "pending": False,
            "flags": 0,
        }
        return member

    def add_channel(self, guild: Guild, id_: str, name: str, type_: int = TEXT) -> Json:
        """A channel that everyone sees."""
        channel: Json = {
            "id": id_,
            "type": type_,
            "guild_id": guild.id,
            "name": name,
            "topic": None,
            "position": len(guild.channels),
            "parent_id": None,
            "permission_overwrites": [],
            "nsfw": False,
            "rate_limit_per_user": 0,
            "last_message_id": None,
        }
        if type_ in {FORUM, MEDIA}:
            channel |= {"available_tags": [], "default_reaction_emoji": None, "flags": 0}
        guild.channels[id_] = channel
        return channel

    def add_thread(
        self, parent_id: str, id_: str, name: str, type_: int, owner_id: str, **more: Any
    ) -> Json:
        """A thread below a channel; its owner is in it."""
        guild, _ = self.in_guild(parent_id)
        thread = guild.threads[id_] = {
            "id": id_,
            "type": type_,
            "guild_id": guild.id,
            "parent_id": parent_id,
            "owner_id": owner_id,
            "name": name,
            "last_message_id": None,
            "message_count": 0,
            "total_message_sent": 0,
            "member_count": 0,
            "rate_limit_per_user": 0,
            "flags": 0,
            "applied_tags": [],
            "thread_metadata": {
                "archived": False,
                "auto_archive_duration": 1440,
                "archive_timestamp": iso(self._at),
                "locked": False,
                "create_timestamp": iso(self._at),
                "invitable": True,
            },
        } | more
        self.join_thread(id_, owner_id)
        return thread

    def join_thread(self, thread_id: str, user_id: str) -> Json:
        """A person in a thread."""
        member = {"id": thread_id, "user_id": user_id, "join_timestamp": iso(self._at), "flags": 0}
        here = self.thread_members[thread_id]
        here.setdefault(user_id, member)
        _, thread = self.in_guild(thread_id)
        thread["member_count"] = len(here)
        return here[user_id]

    def dm_of(self, user_id: str) -> Json:
        """The direct messages between a person and the bot."""
        for channel in self.dms.values():
            if channel["recipients"][0]["id"] == user_id:
                return channel
        channel = {
            "id": self.new_id(),
            "type": DM,
            "last_message_id": None,
            "recipients": [self.users[user_id]],
            "flags": 0,
        }
        self.dms[channel["id"]] = channel
        return channel

    # Finding

    def find_channel(self, id_: str) -> tuple[Guild | None, Json]:
        """A channel or thread with its server; of direct messages there is none."""
        if id_ in self.dms:
            return None, self.dms[id_]
        for guild in self.guilds.values():
            found = guild.channels.get(id_) or guild.threads.get(id_)
            if found is not None:
                return guild, found
        raise Refused(404, 10003, "Unknown Channel")

    def in_guild(self, id_: str) -> tuple[Guild, Json]:
        """The same for what is in a server."""
        guild, channel = self.find_channel(id_)
        if guild is None:
            raise Refused(400, 50024, "Cannot execute action on this channel type")
        return guild, channel

    def find_message(self, channel_id: str, id_: str) -> Json:
        """A message that is not deleted."""
        here = self.messages.get(channel_id, [])
        at = bisect_left(here, int(id_), key=_number)
        if at == len(here) or here[at]["id"] != id_:
            raise Refused(404, 10008, "Unknown Message")
        return here[at]

    def page(
        self, channel_id: str, limit: int, *, before: int = 0, after: int | None = None
    ) -> list[Json]:
        """Messages newest first, as Discord lists them."""
        here = self.messages.get(channel_id, [])
        if after is not None:
            start = bisect_left(here, after + 1, key=_number)
            return here[start : start + limit][::-1]
        end = bisect_left(here, before, key=_number) if before else len(here)
        return here[max(0, end - limit) : end][::-1]

    # Permissions

    def permissions(self, channel_id: str, user_id: str) -> int:
        """What a person may do in a channel; nothing in a private thread they are not in."""
        guild, channel = self.find_channel(channel_id)
        if guild is None:
            return USUAL if user_id in {self.bot_id, channel["recipients"][0]["id"]} else 0
        parent = guild.channels[channel["parent_id"]] if channel["type"] in THREADS else channel
        held = self._in_channel(guild, parent, user_id)
        if channel["type"] == PRIVATE_THREAD and not held & MANAGE_THREADS:
            return held if user_id in self.thread_members[channel_id] else 0
        return held

    def in_server(self, guild: Guild, user_id: str) -> int:
        """What a person's roles allow before any channel's overwrites."""
        member = guild.members.get(user_id)
        if member is None:
            return 0
        held = int(guild.roles[guild.id]["permissions"])
        for role in member["roles"]:
            held |= int(guild.roles[role]["permissions"]) if role in guild.roles else 0
        return EVERYTHING if user_id == guild.owner_id or held & ADMINISTRATOR else held

    def _in_channel(self, guild: Guild, channel: Json, user_id: str) -> int:
        member = guild.members.get(user_id)
        held = self.in_server(guild, user_id)
        if member is None or held == EVERYTHING:
            return held
        written = {item["id"]: item for item in channel["permission_overwrites"]}
        layers = [
            [guild.id] if guild.id in written else [],
            [role for role in member["roles"] if role in written],
            [user_id] if user_id in written else [],
        ]
        for layer in layers:
            denied = allowed = 0
            for id_ in layer:
                denied |= int(written[id_]["deny"])
                allowed |= int(written[id_]["allow"])
            held = (held & ~denied) | allowed
        if member.get("communication_disabled_until"):
            held &= VIEW | HISTORY
        return held if held & VIEW else 0

    def bot_sees(self, channel_id: str) -> bool:
        """Whether the bot gets the events of a channel."""
        return bool(self.permissions(channel_id, self.bot_id) & VIEW)

    # Messages

    def make_message(
        self,
        channel_id: str,
        author_id: str,
        content: str,
        *,
        at: datetime | None = None,
        allowed: Mapping[str, Any] | None = None,
        **more: Any,
    ) -> Json:
        """A message as REST shows it; nothing is kept."""
        id_ = str(more.pop("id", "") or self.new_id(at))
        mentioned, everyone = self._mentioned(content, allowed)
        return {
            "id": id_,
            "channel_id": channel_id,
            "author": self.users[author_id],
            "content": content,
            "type": TALK,
            "timestamp": iso(at or self._at),
            "edited_timestamp": None,
            "tts": False,
            "mention_everyone": everyone,
            "mentions": mentioned,
            "mention_roles": _mentioned_roles(content, allowed),
            "attachments": [],
            "embeds": [],
            "pinned": False,
            "flags": 0,
            "components": [],
        } | more

    def _mentioned(
        self, content: str, allowed: Mapping[str, Any] | None
    ) -> tuple[list[Json], bool]:
        ids = dict.fromkeys(re.findall(r"<@!?(\d+)>", content))
        everyone = "@everyone" in content or "@here" in content
        if allowed is not None:
            parse, listed = allowed.get("parse") or (), map(str, allowed.get("users") or ())
            ids = ids if "users" in parse else dict.fromkeys(item for item in listed if item in ids)
            everyone = everyone and "everyone" in parse
        return [self.users[id_] for id_ in ids if id_ in self.users], everyone

    def keep(self, message: Json) -> Json:
        """Put a message where it belongs and tell of it."""
        channel_id = message["channel_id"]
        _, channel = self.find_channel(channel_id)
        insort(self.messages[channel_id], message, key=_number)
        last = channel["last_message_id"]
        if last is None or int(last) < int(message["id"]):
            channel["last_message_id"] = message["id"]
        if channel["type"] in THREADS:
            if message["id"] != channel_id and message["type"] != STARTER:
                channel["message_count"] += 1
            channel["total_message_sent"] += 1
        self.tell("MESSAGE_CREATE", message)
        return message

    def tell(self, event: str, message: Json) -> None:
        """Tell of a message with what the gateway adds: server and author's membership."""
        guild, _ = self.find_channel(message["channel_id"])
        payload = dict(message)
        if guild is not None:
            payload["guild_id"] = guild.id
            member = guild.members.get(message.get("author", {}).get("id", ""))
            if member is not None:
                payload["member"] = {key: value for key, value in member.items() if key != "user"}
        self.tell_channel(event, payload, GUILD_MESSAGES, DM_MESSAGES)

    def tell_channel(self, event: str, data: Json, intent: int, in_dm: int) -> None:
        """Tell of something in a channel, if the bot may see it."""
        channel_id = data["channel_id"]
        guild, _ = self.find_channel(channel_id)
        if not self.bot_sees(channel_id):
            return
        if guild is None:
            self.emit(event, data, None, in_dm)
        else:
            self.emit(event, {**data, "guild_id": guild.id}, guild.id, intent)

    def remove(self, channel_id: str, ids: Sequence[str]) -> list[str]:
        """Take messages away without a word; says which stood."""
        wanted = set(ids)
        here = self.messages[channel_id]
        gone = [item["id"] for item in here if item["id"] in wanted]
        here[:] = [item for item in here if item["id"] not in wanted]
        return gone


def _mentioned_roles(content: str, allowed: Mapping[str, Any] | None) -> list[str]:
    ids = list(dict.fromkeys(re.findall(r"<@&(\d+)>", content)))
    if allowed is None or "roles" in (allowed.get("parse") or ()):
        return ids
    return [id_ for id_ in ids if id_ in map(str, allowed.get("roles") or ())]


def without_content(message: Json, bot_id: str, *, direct: bool) -> Json:
    """A message as a bot without the content intent gets it: whole if it is meant for it."""
    author = (message.get("author") or {}).get("id")
    mentioned = any(item["id"] == bot_id for item in message.get("mentions") or ())
    if direct or author == bot_id or mentioned:
        return message
    empty: Json = {"content": "", "embeds": [], "attachments": [], "components": []}
    shown = message | {key: value for key, value in empty.items() if key in message}
    if isinstance(message.get("referenced_message"), dict):
        shown["referenced_message"] = without_content(
            message["referenced_message"], bot_id, direct=False
        )
    return shown


def _number(message: Mapping[str, Any]) -> int:
    return int(message["id"])


def iso(at: datetime) -> str:
    return at.astimezone(UTC).isoformat()
