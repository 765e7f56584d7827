"""What the fake Discord's REST interface answers about servers, channels, messages and threads."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from tests.fakes.discord_checks import Refused, check_edit, check_message, invalid
from tests.fakes.discord_gateway import Gateway
from tests.fakes.discord_rest import Call, Rest
from tests.fakes.discord_talk import Talk
from tests.fakes.discord_world import (
    ATTACH,
    CONTENT,
    CREATE_PRIVATE,
    CREATE_THREADS,
    DM,
    EMBED,
    FORUM,
    HISTORY,
    MANAGE_MESSAGES,
    MANAGE_THREADS,
    MEDIA,
    MEMBERS,
    NEWS,
    NEWS_THREAD,
    PRIVATE_THREAD,
    PUBLIC_THREAD,
    REACT,
    REPLY,
    SEND,
    SEND_IN_THREADS,
    THREADS,
    VIEW,
    Guild,
    Json,
    World,
    iso,
    without_content,
)

ARCHIVE_AFTER = frozenset({60, 1440, 4320, 10080})
BULK_AGE = timedelta(days=14)


class Routes:
    """See the module. `archived_page` is how many archived threads come at once, at most."""

    def __init__(self, world: World, gateway: Gateway, talk: Talk, rest: Rest) -> None:
        self.world = world
        self.gateway = gateway
        self.talk = talk
        self.url = ""
        self.typing: list[str] = []
        self.closed_dms: set[str] = set()
        self.archived_page = 100
        self._nonces: dict[tuple[str, str], str] = {}
        channel, message = "/channels/{channel}", "/channels/{channel}/messages/{message}"
        for method, template, handler in (
            ("GET", "/users/@me", lambda _: world.users[world.bot_id]),
            ("GET", "/users/@me/guilds", self._my_guilds),
            ("DELETE", "/users/@me/guilds/{guild}", self._leave),
            ("POST", "/users/@me/channels", self._open_dm),
            ("GET", "/users/{user}", self._user),
            ("GET", "/applications/@me", self._application),
            ("GET", "/oauth2/applications/@me", self._application),
            ("GET", "/gateway/bot", self._gateway),
            ("GET", "/guilds/{guild}", self._guild),
            ("GET", "/guilds/{guild}/channels", self._channels),
            ("GET", "/guilds/{guild}/roles", self._roles),
            ("GET", "/guilds/{guild}/members", self._members),
            ("GET", "/guilds/{guild}/members/{user}", self._member),
            ("GET", "/guilds/{guild}/threads/active", self._active),
            ("GET", channel, self._channel),
            ("PATCH", channel, self._change_thread),
            ("POST", f"{channel}/typing", self._type),
            ("GET", f"{channel}/messages", self._messages),
            ("POST", f"{channel}/messages", self._send),
            ("POST", f"{channel}/messages/bulk-delete", self._delete_many),
            ("GET", message, self._message),
            ("PATCH", message, self._edit),
            ("DELETE", message, self._delete),
            ("POST", f"{message}/threads", self._start_thread),
            ("PUT", f"{message}/reactions/{{emoji}}/@me", self._react),
            ("DELETE", f"{message}/reactions/{{emoji}}/@me", self._unreact),
            ("GET", f"{message}/reactions/{{emoji}}", self._reactors),
            ("POST", f"{channel}/threads", self._open_thread),
            ("GET", f"{channel}/threads/archived/public", self._archived_public),
            ("GET", f"{channel}/threads/archived/private", self._archived_private),
            ("GET", f"{channel}/users/@me/threads/archived/private", self._archived_joined),
            ("GET", f"{channel}/thread-members", self._thread_members),
            ("GET", f"{channel}/thread-members/{{user}}", self._thread_member),
            ("PUT", f"{channel}/thread-members/{{user}}", self._join_thread),
            ("DELETE", f"{channel}/thread-members/{{user}}", self._leave_thread),
        ):
            rest.add(method, template, handler)

    # The bot itself

    def _application(self, _: Call) -> Json:
        allowed = self.gateway.allowed_intents
        flags = (1 << 19 if allowed & CONTENT else 0) | (1 << 15 if allowed & MEMBERS else 0)
        return {
            "id": self.world.application_id,
            "name": "Scrubjay",
            "description": "",
            "icon": None,
            "bot_public": True,
            "bot_require_code_grant": False,
            "owner": self.world.users[self.world.bot_id],
            "bot": self.world.users[self.world.bot_id],
            "verify_key": "",
            "team": None,
            "flags": flags,
        }

    def _gateway(self, _: Call) -> Json:
        limit = {"total": 1000, "remaining": 999, "reset_after": 0, "max_concurrency": 16}
        return {
            "url": self.gateway.url,
            "shards": self.gateway.shards,
            "session_start_limit": limit,
        }

    def _my_guilds(self, _: Call) -> list[Json]:
        return [
            {"id": guild.id, "name": guild.name, "icon": None, "owner": False, "permissions": "0"}
            for guild in self.world.guilds.values()
            if guild.bot_is_in
        ]

    def _leave(self, _: Call, guild: str) -> None:
        self.talk.remove_bot(self._in(guild).id)

    def _open_dm(self, call: Call) -> Json:
        user_id = str(call.body["recipient_id"])
        if user_id not in self.world.users:
            raise Refused(400, 50033, "Invalid Recipient(s)")
        return self.world.dm_of(user_id)

    def _user(self, _: Call, user: str) -> Json:
        if user not in self.world.users:
            raise Refused(404, 10013, "Unknown User")
        return self.world.users[user]

    # Servers

    def _in(self, guild_id: str) -> Guild:
        guild = self.world.guilds.get(guild_id)
        if guild is None or not guild.bot_is_in:
            raise Refused(404, 10004, "Unknown Guild")
        return guild

    def _guild(self, _: Call, guild: str) -> Json:
        found = self._in(guild)
        more: Json = {key: [] for key in ("emojis", "stickers", "features")}
        return {
            "id": found.id,
            "name": found.name,
            "icon": None,
            "owner_id": found.owner_id,
            "roles": list(found.roles.values()),
            "preferred_locale": "en-US",
        } | more

    def _channels(self, _: Call, guild: str) -> list[Json]:
        return list(self._in(guild).channels.values())

    def _roles(self, _: Call, guild: str) -> list[Json]:
        return list(self._in(guild).roles.values())

    def _members(self, call: Call, guild: str) -> list[Json]:
        found = self._in(guild)
        self._needs_members()
        limit, after = _limit(call, most=1000, default=1), int(call.query.get("after") or 0)
        rows = sorted(found.members.values(), key=lambda item: int(item["user"]["id"]))
        return [row for row in rows if int(row["user"]["id"]) > after][:limit]

    def _member(self, _: Call, guild: str, user: str) -> Json:
        found = self._in(guild).members.get(user)
        if found is None:
            raise Refused(404, 10007, "Unknown Member")
        return found

    def _needs_members(self) -> None:
        if not self.gateway.allowed_intents & MEMBERS:
            raise Refused(403, 50001, "Missing Access")

    # Channels

    def _require(self, channel_id: str, *, access: int = 0, permission: int = 0) -> Json:
        """A channel the bot sees (else 50001) and where it may do this (else 50013)."""
        guild, channel = self.world.find_channel(channel_id)
        if guild is not None and not guild.bot_is_in:
            raise Refused(403, 50001, "Missing Access")
        held = self.world.permissions(channel_id, self.world.bot_id)
        if not held & VIEW or access & ~held:
            raise Refused(403, 50001, "Missing Access")
        if permission & ~held:
            raise Refused(403, 50013, "Missing Permissions")
        return channel

    def _channel(self, _: Call, channel: str) -> Json:
        return self._require(channel)

    def _change_thread(self, call: Call, channel: str) -> Json:
        thread = self._require(channel)
        if thread["type"] not in THREADS:
            raise Refused(403, 50013, "Missing Permissions")
        mine = thread["owner_id"] == self.world.bot_id
        if not mine and set(call.body) - {"archived"}:
            self._require(channel, permission=MANAGE_THREADS)
        if "name" in call.body:
            _thread_name(call.body)
        self.talk.change_thread(channel, **call.body)
        return thread

    def _type(self, _: Call, channel: str) -> None:
        self._require(channel, permission=self._sending(channel))
        self.typing.append(channel)

    def _sending(self, channel_id: str) -> int:
        _, channel = self.world.find_channel(channel_id)
        return SEND_IN_THREADS if channel["type"] in THREADS else SEND

    # Messages

    def _shown(self, message: Json) -> Json:
        """A message as REST shows it: without the content intent in the portal, mostly empty."""
        if self.gateway.allowed_intents & CONTENT:
            return message
        direct = message["channel_id"] in self.world.dms
        return without_content(message, self.world.bot_id, direct=direct)

    def _messages(self, call: Call, channel: str) -> list[Json]:
        found = self._require(channel)
        if found["type"] in {FORUM, MEDIA}:
            raise Refused(400, 50008, "Cannot send messages in a non-text channel")
        limit = _limit(call, most=100, default=50)
        if not self.world.permissions(channel, self.world.bot_id) & HISTORY:
            return []  # Discord refuses nothing here: it shows nothing
        after = call.query.get("after")
        rows = self.world.page(
            channel,
            limit,
            before=int(call.query.get("before") or 0),
            after=None if after is None else int(after),
        )
        return [self._shown(row) for row in rows]

    def _message(self, _: Call, channel: str, message: str) -> Json:
        self._require(channel, access=HISTORY)
        return self._shown(self.world.find_message(channel, message))

    def _send(self, call: Call, channel: str) -> Json:
        found = self._require(channel, permission=self._sending(channel))
        if found["type"] == DM and found["recipients"][0]["id"] in self.closed_dms:
            raise Refused(403, 50007, "Cannot send messages to this user")
        if found["type"] in {FORUM, MEDIA}:
            raise Refused(400, 50008, "Cannot send messages in a non-text channel")
        if found["type"] in THREADS:
            self.talk.wake(found, self.world.permissions(channel, self.world.bot_id))
        return self.say(channel, call.body or {}, call.files)

    def say(
        self, channel: str, payload: Mapping[str, Any], files: Mapping[str, bytes], **more: Any
    ) -> Json:
        """A message of the bot's: checked, stored and sent as an event."""
        check_message(payload, len(files))
        if files:
            self._require(channel, permission=ATTACH)
        if payload.get("embeds"):
            self._require(channel, permission=EMBED)
        nonce = payload.get("nonce")
        key = (channel, str(nonce))
        if nonce is not None and payload.get("enforce_nonce") and key in self._nonces:
            return self.world.find_message(channel, self._nonces[key])
        message = self.make(channel, payload, files, **more)
        if nonce is not None:
            message["nonce"] = nonce
            self._nonces[key] = message["id"]
        return self.world.keep(message)

    def make(
        self, channel: str, payload: Mapping[str, Any], files: Mapping[str, bytes], **more: Any
    ) -> Json:
        """A message of the bot's as Discord would show it; nothing is kept."""
        allowed = payload.get("allowed_mentions")
        message = self.world.make_message(
            channel, self.world.bot_id, payload.get("content") or "", allowed=allowed, **more
        )
        message["embeds"] = [{"type": "rich", **item} for item in payload.get("embeds") or ()]
        message["components"] = numbered(payload.get("components") or [])
        message["flags"] = int(payload.get("flags") or 0)
        message["attachments"] = self.attach(channel, message["id"], files)
        reference = payload.get("message_reference")
        if reference:
            self._refer(message, reference, allowed)
        return message

    def _refer(self, message: Json, reference: Json, allowed: Json | None) -> None:
        message["type"] = REPLY
        message["message_reference"] = {
            "type": 0,
            "channel_id": message["channel_id"],
            "message_id": str(reference["message_id"]),
        }
        try:
            to = self.world.find_message(message["channel_id"], str(reference["message_id"]))
        except Refused:
            if reference.get("fail_if_not_exists", True):
                code = "MESSAGE_REFERENCE_UNKNOWN_MESSAGE"
                raise invalid("message_reference", "Unknown message", code) from None
            message["type"] = 0
            del message["message_reference"]
            return
        message["referenced_message"] = to
        pings = allowed is None or allowed.get("replied_user", False)
        if pings and to["author"] not in message["mentions"]:
            message["mentions"].append(to["author"])

    def attach(self, channel: str, message_id: str, files: Mapping[str, bytes]) -> list[Json]:
        """Files of a message; their bytes are served under `url`."""
        made = []
        for name, data in files.items():
            id_ = self.world.new_id()
            path = f"/attachments/{channel}/{id_}/{name}"
            self.world.files[path] = data
            made.append(
                {
                    "id": id_,
                    "filename": name,
                    "size": len(data),
                    "url": f"{self.url}{path}",
                    "proxy_url": f"{self.url}{path}",
                    "content_type": "text/markdown" if name.endswith(".md") else None,
                }
            )
        return made

    def _edit(self, call: Call, channel: str, message: str) -> Json:
        self._require(channel)
        found = self.world.find_message(channel, message)
        if found["author"]["id"] != self.world.bot_id:
            raise Refused(403, 50005, "Cannot edit a message authored by another user")
        return self.rewrite(found, call.body or {}, call.files)

    def rewrite(
        self,
        message: Json,
        payload: Mapping[str, Any],
        files: Mapping[str, bytes],
        *,
        silent: bool = False,
    ) -> Json:
        """Change a message of the bot's by what an edit names; `silent` if others don't see it."""
        check_edit(message, payload)
        changes = {key: payload[key] for key in ("content", "embeds") if key in payload}
        message |= {
            key: value or ("" if key == "content" else []) for key, value in changes.items()
        }
        if payload.get("components") is not None:
            message["components"] = numbered(payload["components"])
        if payload.get("flags") is not None:
            message["flags"] = int(payload["flags"])
        if "attachments" in payload or files:
            kept = {str(item["id"]) for item in payload.get("attachments") or () if "id" in item}
            message["attachments"] = [item for item in message["attachments"] if item["id"] in kept]
            message["attachments"] += self.attach(message["channel_id"], message["id"], files)
        message["edited_timestamp"] = iso(self.world.now())
        return message if silent else self.talk.tell_edit(message)

    def _delete(self, _: Call, channel: str, message: str) -> None:
        self._require(channel)
        found = self.world.find_message(channel, message)
        if found["author"]["id"] != self.world.bot_id:
            self._require(channel, permission=MANAGE_MESSAGES)
        self.talk.delete(channel, message)

    def _delete_many(self, call: Call, channel: str) -> None:
        self._require(channel, permission=MANAGE_MESSAGES)
        ids = [str(item) for item in call.body["messages"]]
        if not 2 <= len(ids) <= 100:
            raise invalid("messages", "Must be between 2 and 100 in length.")
        found = (self.world.find_message(channel, id_) for id_ in ids)
        oldest = min(datetime.fromisoformat(item["timestamp"]) for item in found)
        if self.world.now() - oldest > BULK_AGE:
            raise Refused(400, 50034, "You can only bulk delete messages under 14 days old.")
        self.talk.delete_many(channel, ids)

    # Reactions

    def _react(self, _: Call, channel: str, message: str, emoji: str) -> None:
        self._require(channel, access=HISTORY, permission=REACT)
        self.talk.react(channel, message, self.world.bot_id, emoji)

    def _unreact(self, _: Call, channel: str, message: str, emoji: str) -> None:
        self._require(channel)
        self.talk.unreact(channel, message, self.world.bot_id, emoji)

    def _reactors(self, call: Call, channel: str, message: str, emoji: str) -> list[Json]:
        self._require(channel, access=HISTORY)
        self.world.find_message(channel, message)
        limit, after = _limit(call, most=100, default=25), int(call.query.get("after") or 0)
        ids = sorted(self.world.reactors[message, emoji], key=int)
        return [self.world.users[id_] for id_ in ids if int(id_) > after][:limit]

    # Threads

    def _start_thread(self, call: Call, channel: str, message: str) -> Json:
        found = self._require(channel, permission=CREATE_THREADS)
        starter = self.world.find_message(channel, message)
        if "thread" in starter:
            raise Refused(400, 160004, "A thread has already been created for this message")
        _thread_name(call.body)
        kind = NEWS_THREAD if found["type"] == NEWS else PUBLIC_THREAD
        return self.talk.start_thread(
            channel, self.world.bot_id, call.body["name"], kind, message_id=message
        )

    def _open_thread(self, call: Call, channel: str) -> Json:
        found = self._require(channel)
        _thread_name(call.body)
        bot = self.world.bot_id
        if found["type"] in {FORUM, MEDIA}:
            self._require(channel, permission=SEND)
            payload = call.body.get("message") or {}
            check_message(payload, len(call.files))
            tags = [str(item) for item in call.body.get("applied_tags") or ()]
            if len(tags) > 5 or set(tags) - {item["id"] for item in found["available_tags"]}:
                raise invalid("applied_tags", "Up to five of the forum's own tags.")
            id_ = self.world.new_id()
            thread = self.talk.start_thread(
                channel, bot, call.body["name"], PUBLIC_THREAD, id_=id_, applied_tags=tags
            )
            message = self.world.keep(self.make(id_, payload, call.files, id=id_))
            return thread | {"message": message}
        kind = int(call.body.get("type") or PRIVATE_THREAD)
        needed = CREATE_PRIVATE if kind == PRIVATE_THREAD else CREATE_THREADS
        self._require(channel, permission=needed)
        return self.talk.start_thread(channel, bot, call.body["name"], kind)

    def _active(self, _: Call, guild: str) -> Json:
        found = [
            thread
            for thread in self._in(guild).threads.values()
            if not thread["thread_metadata"]["archived"] and self.world.bot_sees(thread["id"])
        ]
        return {"threads": found, "members": self._mine(found)}

    def _mine(self, threads: list[Json]) -> list[Json]:
        members = (self.world.thread_members[thread["id"]] for thread in threads)
        return [member[self.world.bot_id] for member in members if self.world.bot_id in member]

    def _archived(self, channel: str, kinds: frozenset[int]) -> list[Json]:
        guild, _ = self.world.in_guild(channel)
        here = [
            thread
            for thread in guild.threads.values()
            if thread["parent_id"] == channel
            and thread["type"] in kinds
            and thread["thread_metadata"]["archived"]
        ]
        return sorted(here, key=_archived_at, reverse=True)

    def _some(self, call: Call, found: list[Json]) -> Json:
        limit = min(_limit(call, most=100, default=50), self.archived_page)
        page = found[:limit]
        return {"threads": page, "members": self._mine(page), "has_more": len(found) > limit}

    def _before(self, call: Call, found: list[Json]) -> list[Json]:
        if "before" not in call.query:
            return found
        before = datetime.fromisoformat(call.query["before"])
        return [item for item in found if _archived_at(item) < before]

    def _archived_public(self, call: Call, channel: str) -> Json:
        self._require(channel, access=HISTORY)
        found = self._archived(channel, frozenset({PUBLIC_THREAD, NEWS_THREAD}))
        return self._some(call, self._before(call, found))

    def _archived_private(self, call: Call, channel: str) -> Json:
        self._require(channel, access=HISTORY, permission=MANAGE_THREADS)
        found = self._archived(channel, frozenset({PRIVATE_THREAD}))
        return self._some(call, self._before(call, found))

    def _archived_joined(self, call: Call, channel: str) -> Json:
        self._require(channel, access=HISTORY)
        bot = self.world.bot_id
        found = [
            item
            for item in self._archived(channel, frozenset({PRIVATE_THREAD}))
            if bot in self.world.thread_members[item["id"]]
        ]
        found.sort(key=lambda item: int(item["id"]), reverse=True)
        if "before" in call.query:
            found = [item for item in found if int(item["id"]) < int(call.query["before"])]
        return self._some(call, found)

    def _thread_members(self, call: Call, channel: str) -> list[Json]:
        self._require(channel)
        self._needs_members()
        rows = sorted(
            self.world.thread_members[channel].values(), key=lambda item: int(item["user_id"])
        )
        if call.query.get("with_member") == "true":
            limit, after = _limit(call, most=100, default=100), int(call.query.get("after") or 0)
            return [row for row in rows if int(row["user_id"]) > after][:limit]
        return rows

    def _thread_member(self, _: Call, channel: str, user: str) -> Json:
        self._require(channel)
        found = self.world.thread_members[channel].get(user)
        if found is None:
            raise Refused(404, 10007, "Unknown Member")
        return found

    def _join_thread(self, _: Call, channel: str, user: str) -> None:
        self._require(channel)
        self.talk.add_to_thread(channel, self._me(user))

    def _leave_thread(self, _: Call, channel: str, user: str) -> None:
        self._require(channel)
        self.talk.remove_from_thread(channel, self._me(user))

    def _me(self, user: str) -> str:
        return self.world.bot_id if user == "@me" else user


def numbered(components: list[Json]) -> list[Json]:
    """Components with an id each, as Discord gives them."""
    number = 0

    def copy(one: Json) -> Json:
        nonlocal number
        number += 1
        made = {"id": number, **one}
        if isinstance(one.get("components"), list):
            made["components"] = [copy(child) for child in one["components"]]
        if isinstance(one.get("accessory"), dict):
            made["accessory"] = copy(one["accessory"])
        return made

    return [copy(component) for component in components]


def _limit(call: Call, *, most: int, default: int) -> int:
    limit = int(call.query.get("limit") or default)
    if not 1 <= limit <= most:
        raise invalid("limit", f"int value should be between 1 and {most}.", "NUMBER_TYPE_MAX")
    return limit


def _thread_name(body: Mapping[str, Any]) -> None:
    if not isinstance(body.get("name"), str) or not 1 <= len(body["name"]) <= 100:
        raise invalid("name", "Must be between 1 and 100 in length.")
    if body.get("auto_archive_duration") not in {None, *ARCHIVE_AFTER}:
        raise invalid("auto_archive_duration", "Value must be one of (60, 1440, 4320, 10080).")


def _archived_at(thread: Json) -> datetime:
    return datetime.fromisoformat(thread["thread_metadata"]["archive_timestamp"])
