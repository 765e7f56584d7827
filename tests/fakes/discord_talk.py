"""What happens on the fake Discord: people and the bot write, react, come, go and rearrange.

Each verb changes the world and tells the gateway what Discord tells of such a change. The verbs
take ids and answer at once; a test that needs the consequences waits for a condition.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from tests.fakes.discord_checks import EPHEMERAL, Refused
from tests.fakes.discord_world import (
    DM_MESSAGES,
    DM_REACTIONS,
    FORUM,
    GUILD_MESSAGES,
    GUILD_REACTIONS,
    GUILDS,
    MANAGE_THREADS,
    MEDIA,
    MEMBERS,
    PUBLIC_THREAD,
    REPLY,
    STARTER,
    TEXT,
    THREADS,
    Guild,
    Json,
    World,
    iso,
)

if TYPE_CHECKING:
    from tests.fakes.discord_gateway import Gateway, Session


class Talk:
    """See the module."""

    def __init__(self, world: World, gateway: Gateway) -> None:
        self.world = world
        self.gateway = gateway

    # Messages

    def say(
        self,
        channel_id: str,
        user_id: str,
        content: str,
        *,
        at: datetime | None = None,
        reply_to: str = "",
        **more: Any,
    ) -> Json:
        """Someone writes; `reply_to` is the message they answer."""
        _, channel = self.world.find_channel(channel_id)
        if channel["type"] in THREADS:
            self.wake(channel, self.world.permissions(channel_id, user_id))
        message = self.world.make_message(channel_id, user_id, content, at=at, **more)
        if reply_to:
            to = self.world.find_message(channel_id, reply_to)
            reference = {"type": 0, "message_id": reply_to, "channel_id": channel_id}
            message |= {"type": REPLY, "message_reference": reference, "referenced_message": to}
            if to["author"] not in message["mentions"]:
                message["mentions"].append(to["author"])
        return self.world.keep(message)

    def edit(self, channel_id: str, message_id: str, content: str, **more: Any) -> Json:
        """Someone edits their message."""
        message = self.world.find_message(channel_id, message_id)
        self.world.advance(0.001)
        message |= {"content": content, "edited_timestamp": iso(self.world.now())} | more
        return self.tell_edit(message)

    def tell_edit(self, message: Json) -> Json:
        """Tell of a message as it is now."""
        self.world.tell("MESSAGE_UPDATE", message)
        return message

    def unfurl(self, channel_id: str, message_id: str, embed: Json) -> None:
        """Discord adds a link's preview: the whole message again, but not an edit."""
        message = self.world.find_message(channel_id, message_id)
        message["embeds"] = [embed]
        self.tell_edit(message)

    def delete(self, channel_id: str, message_id: str) -> None:
        """A message goes."""
        if self.world.remove(channel_id, [message_id]):
            payload = {"id": message_id, "channel_id": channel_id}
            self.world.tell_channel("MESSAGE_DELETE", payload, GUILD_MESSAGES, DM_MESSAGES)

    def delete_many(self, channel_id: str, ids: Sequence[str]) -> None:
        """Messages go at once: a moderator's purge."""
        gone = self.world.remove(channel_id, ids)
        payload = {"ids": gone, "channel_id": channel_id}
        self.world.tell_channel("MESSAGE_DELETE_BULK", payload, GUILD_MESSAGES, DM_MESSAGES)

    @staticmethod
    def is_hidden(message: Json) -> bool:
        """Whether only one person sees a message; the gateway tells nothing of those."""
        return bool(message["flags"] & EPHEMERAL)

    def react(self, channel_id: str, message_id: str, user_id: str, emoji: str) -> None:
        """Someone reacts."""
        message = self.world.find_message(channel_id, message_id)
        who = self.world.reactors[message_id, emoji]
        if user_id in who:
            return
        who.append(user_id)
        self._count(message)
        self._tell_reaction("MESSAGE_REACTION_ADD", message, user_id, emoji)

    def unreact(self, channel_id: str, message_id: str, user_id: str, emoji: str) -> None:
        """Someone removes their reaction."""
        message = self.world.find_message(channel_id, message_id)
        who = self.world.reactors[message_id, emoji]
        if user_id not in who:
            raise Refused(404, 10014, "Unknown Emoji")
        who.remove(user_id)
        self._count(message)
        self._tell_reaction("MESSAGE_REACTION_REMOVE", message, user_id, emoji)

    def _count(self, message: Json) -> None:
        found = [
            {
                "emoji": {"id": None, "name": emoji},
                "count": len(who),
                "count_details": {"normal": len(who), "burst": 0},
                "me": self.world.bot_id in who,
                "me_burst": False,
                "burst_colors": [],
            }
            for (id_, emoji), who in self.world.reactors.items()
            if id_ == message["id"] and who
        ]
        message.pop("reactions", None)
        if found:
            message["reactions"] = found

    def _tell_reaction(self, event: str, message: Json, user_id: str, emoji: str) -> None:
        payload: Json = {
            "user_id": user_id,
            "channel_id": message["channel_id"],
            "message_id": message["id"],
            "message_author_id": message["author"]["id"],
            "emoji": {"id": None, "name": emoji},
            "burst": False,
            "type": 0,
        }
        guild, _ = self.world.find_channel(message["channel_id"])
        if guild is not None and event.endswith("ADD") and user_id in guild.members:
            payload["member"] = guild.members[user_id]
        self.world.tell_channel(event, payload, GUILD_REACTIONS, DM_REACTIONS)

    # Threads

    def start_thread(
        self,
        parent_id: str,
        user_id: str,
        name: str,
        type_: int = PUBLIC_THREAD,
        *,
        message_id: str = "",
        id_: str = "",
        **more: Any,
    ) -> Json:
        """A thread, from a message or by itself. It shares its starting message's id."""
        id_ = message_id or id_ or self.world.new_id()
        thread = self.world.add_thread(parent_id, id_, name, type_, user_id, **more)
        self._tell_thread("THREAD_CREATE", thread, newly_created=True)
        if message_id:
            starter = self.world.find_message(parent_id, message_id)
            starter["thread"] = thread
            starter["flags"] |= 1 << 5
            self.world.tell("MESSAGE_UPDATE", starter)
            self.world.keep(
                self.world.make_message(id_, user_id, "", type=STARTER)
                | {
                    "message_reference": {
                        "guild_id": thread["guild_id"],
                        "channel_id": parent_id,
                        "message_id": message_id,
                    },
                    "referenced_message": {k: v for k, v in starter.items() if k != "thread"},
                }
            )
        return thread

    def post(
        self,
        forum_id: str,
        user_id: str,
        name: str,
        content: str,
        *,
        tags: Sequence[str] = (),
        at: datetime | None = None,
    ) -> Json:
        """A forum post: a thread whose first message has its id. Tags by name; the thread."""
        _, forum = self.world.in_guild(forum_id)
        assert forum["type"] in {FORUM, MEDIA}, "posts stand in forums"
        ids = {item["name"]: item["id"] for item in forum["available_tags"]}
        id_ = self.world.new_id(at)
        thread = self.start_thread(
            forum_id, user_id, name, id_=id_, applied_tags=[ids[tag] for tag in tags]
        )
        forum["last_message_id"] = id_
        self.say(id_, user_id, content, id=id_, at=at)
        return thread

    def change_thread(self, thread_id: str, **changes: Any) -> Json:
        """Rename, tag, archive or lock a thread."""
        _, thread = self.world.in_guild(thread_id)
        payload = thread["thread_metadata"]
        for key, value in changes.items():
            if key in {"archived", "locked", "auto_archive_duration", "archive_timestamp"}:
                payload[key] = value
            elif key in {"name", "applied_tags", "flags"}:
                thread[key] = value
        if "archived" in changes and "archive_timestamp" not in changes:
            payload["archive_timestamp"] = iso(self.world.now())
        self._tell_thread("THREAD_UPDATE", thread)
        return thread

    def wake(self, thread: Json, held: int) -> None:
        """A message in an archived thread opens it again, unless it is locked."""
        payload = thread["thread_metadata"]
        if payload["locked"] and not held & MANAGE_THREADS:
            raise Refused(403, 160005, "This thread is locked")
        if payload["archived"]:
            self.change_thread(thread["id"], archived=False)

    def delete_thread(self, thread_id: str) -> None:
        """A thread goes with its messages; Discord tells only that the thread went."""
        guild, thread = self.world.in_guild(thread_id)
        seen = self.world.bot_sees(thread_id)
        del guild.threads[thread_id]
        self.world.messages.pop(thread_id, None)
        for message in self.world.messages[thread["parent_id"]]:
            if message["id"] == thread_id:
                message.pop("thread", None)
        payload = {key: thread[key] for key in ("id", "guild_id", "parent_id", "type")}
        if seen:
            self.world.emit("THREAD_DELETE", payload, guild.id, GUILDS)

    def _tell_thread(self, event: str, thread: Json, **more: Any) -> None:
        if self.world.bot_sees(thread["id"]):
            self.world.emit(event, thread | more, thread["guild_id"], GUILDS)

    def add_to_thread(self, thread_id: str, user_id: str) -> None:
        """Someone joins a thread."""
        guild, thread = self.world.in_guild(thread_id)
        if user_id in self.world.thread_members[thread_id]:
            return
        member = self.world.join_thread(thread_id, user_id)
        if user_id == self.world.bot_id:
            self._tell_thread("THREAD_CREATE", thread | {"member": member})
        self._tell_membership(guild, thread, added=[member | {"member": guild.members[user_id]}])

    def remove_from_thread(self, thread_id: str, user_id: str) -> None:
        """Someone leaves a thread, or is removed from it."""
        guild, thread = self.world.in_guild(thread_id)
        seen = self.world.bot_sees(thread_id)
        self.world.thread_members[thread_id].pop(user_id, None)
        thread["member_count"] = len(self.world.thread_members[thread_id])
        if seen:
            self._tell_membership(guild, thread, removed=[user_id])

    def _tell_membership(
        self, guild: Guild, thread: Json, *, added: Sequence[Json] = (), removed: Sequence[str] = ()
    ) -> None:
        payload: Json = {
            "id": thread["id"],
            "guild_id": guild.id,
            "member_count": thread["member_count"],
        }
        payload |= {"added_members": list(added)} if added else {}
        payload |= {"removed_member_ids": list(removed)} if removed else {}
        ours = self.world.bot_id in {*removed, *(item["user_id"] for item in added)}
        if not removed and not self.world.bot_sees(thread["id"]):
            return

        def shape(session: Session) -> Json | None:
            return payload if ours or session.intents & MEMBERS else None

        self.world.emit("THREAD_MEMBERS_UPDATE", payload, guild.id, GUILDS, shape)

    # Servers

    def invite(self, guild_id: str, name: str, *, owner_id: str = "1") -> Guild:
        """The bot is invited to a server, a new one or one it was on before."""
        guild = self.world.guilds.get(guild_id)
        if guild is None:
            guild = self.world.add_guild(guild_id, name, owner_id=owner_id)
        else:
            guild.bot_is_in = True
            self.world.add_member(guild, self.world.bot_id)
        self.gateway.open_guild(guild)
        return guild

    def remove_bot(self, guild_id: str) -> None:
        """The bot is thrown out of a server, or leaves it."""
        guild = self.world.guilds[guild_id]
        guild.bot_is_in = False
        self.world.emit("GUILD_DELETE", {"id": guild_id}, guild_id, GUILDS)
        guild.members.pop(self.world.bot_id, None)

    def outage(self, guild_id: str) -> None:
        """Discord has trouble with a server: unavailable, not gone."""
        payload = {"id": guild_id, "unavailable": True}
        self.world.emit("GUILD_DELETE", payload, guild_id, GUILDS)

    def join(self, guild_id: str, user_id: str, *roles: str) -> None:
        """Someone joins a server."""
        guild = self.world.guilds[guild_id]
        member = self.world.add_member(guild, user_id, *roles)
        self.world.emit("GUILD_MEMBER_ADD", member | {"guild_id": guild_id}, guild_id, MEMBERS)

    def leave(self, guild_id: str, user_id: str) -> None:
        """Someone leaves the server, and with it every private thread."""
        guild = self.world.guilds[guild_id]
        guild.members.pop(user_id)
        payload = {"guild_id": guild_id, "user": self.world.users[user_id]}
        self.world.emit("GUILD_MEMBER_REMOVE", payload, guild_id, MEMBERS)
        for thread_id in guild.threads:
            if user_id in self.world.thread_members[thread_id]:
                self.remove_from_thread(thread_id, user_id)

    def change_member(self, guild_id: str, user_id: str, **changes: Any) -> None:
        """Give or take roles, a nickname, a time-out. The bot itself always gets the event."""
        member = self.world.guilds[guild_id].members[user_id]
        member |= changes
        intent = GUILDS if user_id == self.world.bot_id else MEMBERS
        self.world.emit("GUILD_MEMBER_UPDATE", member | {"guild_id": guild_id}, guild_id, intent)

    def change_role(self, guild_id: str, role_id: str, **changes: Any) -> None:
        """Change or make a role; permissions as a number."""
        guild = self.world.guilds[guild_id]
        event = "GUILD_ROLE_UPDATE" if role_id in guild.roles else "GUILD_ROLE_CREATE"
        role = guild.roles.get(role_id) or self.world.add_role(guild, role_id, role_id)
        role |= {k: str(v) if k == "permissions" else v for k, v in changes.items()}
        self.world.emit(event, {"guild_id": guild_id, "role": role}, guild_id, GUILDS)

    def delete_role(self, guild_id: str, role_id: str) -> None:
        """A role is deleted, from its holders and every overwrite; those get no events."""
        guild = self.world.guilds[guild_id]
        del guild.roles[role_id]
        for member in guild.members.values():
            member["roles"] = [item for item in member["roles"] if item != role_id]
        for channel in guild.channels.values():
            written = channel["permission_overwrites"]
            channel["permission_overwrites"] = [item for item in written if item["id"] != role_id]
        payload = {"guild_id": guild_id, "role_id": role_id}
        self.world.emit("GUILD_ROLE_DELETE", payload, guild_id, GUILDS)

    def change_guild(self, guild_id: str, **changes: Any) -> None:
        """Rename a server or give it another owner."""
        guild = self.world.guilds[guild_id]
        for key, value in changes.items():
            setattr(guild, key, value)
        payload: Json = {
            "id": guild_id,
            "name": guild.name,
            "owner_id": guild.owner_id,
            "roles": list(guild.roles.values()),
            **{key: [] for key in ("emojis", "stickers", "features")},
        }
        self.world.emit("GUILD_UPDATE", payload, guild_id, GUILDS)

    # Channels

    def create_channel(self, guild_id: str, id_: str, name: str, type_: int = TEXT) -> Json:
        """A channel is made."""
        channel = self.world.add_channel(self.world.guilds[guild_id], id_, name, type_)
        self.world.emit("CHANNEL_CREATE", channel, guild_id, GUILDS)
        return channel

    def change_channel(self, channel_id: str, **changes: Any) -> Json:
        """Rename a channel, or anything else a channel shows."""
        guild, channel = self.world.in_guild(channel_id)
        channel |= changes
        self.world.emit("CHANNEL_UPDATE", channel, guild.id, GUILDS)
        return channel

    def overwrite(
        self, channel_id: str, *, allow: Mapping[str, int] = {}, deny: Mapping[str, int] = {}
    ) -> Json:
        """The channel's overwrites from now on: permissions by the id of a role or member."""
        guild, _ = self.world.in_guild(channel_id)
        written = [
            {
                "id": id_,
                "type": 0 if id_ in guild.roles else 1,
                "allow": str(allow.get(id_, 0)),
                "deny": str(deny.get(id_, 0)),
            }
            for id_ in dict.fromkeys([*allow, *deny])
        ]
        could_see = self.world.bot_sees(channel_id)
        channel = self.change_channel(channel_id, permission_overwrites=written)
        if self.world.bot_sees(channel_id) and not could_see:
            threads = [
                thread
                for thread in guild.threads.values()
                if thread["parent_id"] == channel_id
                and not thread["thread_metadata"]["archived"]
                and self.world.bot_sees(thread["id"])
            ]
            payload: Json = {
                "guild_id": guild.id,
                "channel_ids": [channel_id],
                "threads": threads,
                "members": [],
            }
            self.world.emit("THREAD_LIST_SYNC", payload, guild.id, GUILDS)
        return channel

    def delete_channel(self, channel_id: str) -> None:
        """A channel is deleted with all its threads; those get no events."""
        guild, channel = self.world.in_guild(channel_id)
        for thread_id in [k for k, v in guild.threads.items() if v["parent_id"] == channel_id]:
            del guild.threads[thread_id]
            self.world.messages.pop(thread_id, None)
        del guild.channels[channel_id]
        self.world.messages.pop(channel_id, None)
        self.world.emit("CHANNEL_DELETE", channel, guild.id, GUILDS)
