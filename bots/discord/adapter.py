"""The platform port over Discord, for every server the bot is in. REST only, in any process."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from bots import replies
from bots.discord import components, payloads, tree
from bots.discord.client import CONTENT, MEMBERS, GatewayState
from bots.discord.directory import Destination
from bots.discord.permissions import TALK, THREADS, held, is_manager, missing, server_of
from bots.discord.rest import (
    CANNOT_DM,
    LAPSED,
    THREAD_EXISTS,
    UNKNOWN_CHANNEL,
    UNKNOWN_MESSAGE,
    DiscordApi,
    DiscordTrouble,
)
from bots.discord.streaming import DiscordStreamingReply
from bots.platform import ReplyTarget
from bots.replies import Reply, Source
from engine import clock
from engine.access.discord_access import is_bot, is_public, may_read, subject_of
from engine.chats.accounts import NewPerson
from engine.chats.channels import NewChannel
from engine.chats.post_rows import PostInfo
from engine.chats.sender_rows import Person
from engine.engine import Engine

log = logging.getLogger(__name__)

MEMBERS_PAGE, MEMBERS_PAGES = 1000, 20
THREAD_MESSAGES = 100
CACHED_S = 30.0
TOKEN_LIFE_S = 14 * 60.0  # of an interaction; Discord's own is 15 minutes
EPHEMERAL = 1 << 6
SEEN, NOD = "%F0%9F%91%80", "%F0%9F%99%82"  # eyes, a smile
ARCHIVE_AFTER_MIN = 1440

Payload = Mapping[str, Any]


async def _nothing_known() -> GatewayState | None:
    return None


class DiscordPlatform:
    """What the desk speaks through."""

    name = payloads.NAME
    command = f"/{tree.EVERYONES}"

    def __init__(self, engine: Engine, api: DiscordApi) -> None:
        self._engine = engine
        self.api = api
        self._threads: set[str] = set()  # questions that are known to have a thread
        self._guilds: dict[str, tuple[float, dict[str, Any]]] = {}
        self._me: dict[str, Any] = {}
        self.gateway: Callable[[], Awaitable[GatewayState | None]] = _nothing_known

    async def me(self) -> Payload:
        """The bot's own account and application."""
        if not self._me:
            self._me = dict(await self.api.call("GET", "users/@me"))
            told = await self.api.call("GET", "oauth2/applications/@me")
            self._me["application_id"] = str(told["id"])
        return self._me

    # What is known of who asks, and where

    async def learn(self, target: ReplyTarget) -> None:
        """Ask Discord for whom and what is not known since yesterday; what it refuses stays so."""
        chat = self._engine.chats
        if name := target.details.get("who"):  # the interaction itself has told
            is_admin = bool(target.details.get("manages"))
            await chat.senders.learn_person(
                target.sender, Person(name, is_full_member=True, is_admin=is_admin)
            )
        stale = await chat.senders.stale(target.sender)
        if stale.person:
            with contextlib.suppress(DiscordTrouble):
                await chat.senders.learn_person(target.sender, await self.person(target))
        if stale.channel and target.sender.channel_id is not None:
            try:
                await self.learn_channel(target)
            except DiscordTrouble as trouble:
                log.warning("who may read a channel is unknown: %s", trouble)

    async def person(self, target: ReplyTarget) -> Person:
        """What Discord says of somebody on a server; whoever left it is no member."""
        try:
            member = await self.api.call(
                "GET", f"guilds/{target.workspace}/members/{target.person}"
            )
        except DiscordTrouble as trouble:
            if trouble.status != 404:
                raise
            return Person("", is_full_member=False)
        return read_person(await self.guild(target.workspace), member)

    async def learn_channel(self, target: ReplyTarget) -> None:
        """A channel's name, and who may read it by roles and overwrites, as they are asked here.

        One that everyone on the server may read needs no list: whoever joins reads it too. What
        the gateway tells meanwhile goes before it.
        """
        at = clock.now()
        self.forget(target.workspace)
        guild = await self.guild(target.workspace)
        channel = await self.api.call("GET", f"channels/{target.channel}")
        server = server_of(guild)
        public = is_public(server, channel)
        people = [
            NewPerson(subject_of(member), read_person(guild, member).name, is_full_member=True)
            for member in ([] if public else await self._members(target.workspace))
            if not is_bot(member) and may_read(server, channel, member)
        ]
        history = self._engine.chats.history
        place = await history.place(self.name, target.workspace)
        told = NewChannel(
            target.channel, str(channel.get("name") or target.channel), is_public=public
        )
        await history.put_channels(place, [told], at=at)
        await history.set_members(place, target.channel, people, at=at)

    async def guild(self, id_: str) -> Payload:
        """A server with its roles, remembered for a moment."""
        known = self._guilds.get(id_)
        if known is not None and time.monotonic() - known[0] < CACHED_S:
            return known[1]
        told = dict(await self.api.call("GET", f"guilds/{id_}"))
        self._guilds[id_] = (time.monotonic(), told)
        return told

    def forget(self, guild_id: str) -> None:
        """Something about a server changed."""
        self._guilds.pop(guild_id, None)

    async def _members(self, guild_id: str) -> list[Payload]:
        """Everyone on a server; needs the members intent."""
        members: list[Payload] = []
        after = "0"
        for _ in range(MEMBERS_PAGES):
            page = await self.api.call(
                "GET", f"guilds/{guild_id}/members", query={"limit": MEMBERS_PAGE, "after": after}
            )
            members += page
            if len(page) < MEMBERS_PAGE:
                return members
            after = str(max(int(subject_of(line)) for line in page))
        raise DiscordTrouble(0, 0, call="GET members", said="(more members than can be known)")

    # Where to speak

    async def destination(self, target: ReplyTarget, *, thread_name: str = "") -> Destination:
        """Where a reply to something stands: its thread, made where it has none and is named.

        Where no thread can be had, the channel itself, as a reply.
        """
        if target.is_direct or not target.thread:
            return Destination(target.channel)
        stands = target.details.get("stands", "")
        if (stands and stands != target.channel) or target.thread != target.message_id:
            return Destination(stands or target.thread)
        is_new = (
            thread_name and stands
        )  # it came just now: a thread is made before one is looked for
        if target.thread in self._threads or (not is_new and await self._is_thread(target.thread)):
            return self._found(target.thread)
        if thread_name:
            return await self._make_thread(target, thread_name)
        return Destination(target.channel, target.message_id)

    async def _make_thread(self, target: ReplyTarget, name: str) -> Destination:
        path = f"channels/{target.channel}/messages/{target.message_id}/threads"
        body = {"name": name, "auto_archive_duration": ARCHIVE_AFTER_MIN}
        try:
            await self.api.call("POST", path, body)
        except DiscordTrouble as trouble:
            if trouble.code == THREAD_EXISTS:
                return self._found(target.thread)
            if trouble.retry_in_s is not None:
                raise
            # A channel without threads, or no right to make one; or the question is gone.
            gone = trouble.code == UNKNOWN_MESSAGE
            return Destination(target.channel, "" if gone else target.message_id)
        return self._found(target.thread)

    def _found(self, thread: str) -> Destination:
        if len(self._threads) > 5_000:
            self._threads.clear()
        self._threads.add(thread)
        return Destination(thread)

    async def _is_thread(self, id_: str) -> bool:
        try:
            found = await self.api.call("GET", f"channels/{id_}")
        except DiscordTrouble as trouble:
            if trouble.retry_in_s is not None:
                raise
            return False
        return found.get("type") in THREADS

    def stands(self, target: ReplyTarget) -> str:
        """The channel or thread a question's message is in."""
        in_thread = target.thread and target.thread != target.message_id
        return target.details.get("stands") or (target.thread if in_thread else target.channel)

    # Saying things

    async def show_seen(self, target: ReplyTarget, *, ahead: int) -> None:
        """Eyes on the question, and that something is being written."""
        del ahead  # a bot has no status line here
        if target.message_id and not target.is_direct:
            await self._react(target, SEEN)
        await self.api.call("POST", f"channels/{self.stands(target)}/typing")

    async def clear_seen(self, target: ReplyTarget) -> None:
        """Take the eyes away."""
        path = f"channels/{self.stands(target)}/messages/{target.message_id}/reactions/{SEEN}/@me"
        with contextlib.suppress(DiscordTrouble):
            await self.api.call("DELETE", path)

    async def _react(self, target: ReplyTarget, emoji: str) -> None:
        path = f"channels/{self.stands(target)}/messages/{target.message_id}/reactions/{emoji}/@me"
        with contextlib.suppress(DiscordTrouble):
            await self.api.call("PUT", path)

    def open_streaming_reply(
        self, post: PostInfo, target: ReplyTarget, *, again: bool
    ) -> DiscordStreamingReply:
        """The message of an answer."""
        return DiscordStreamingReply(self, self._engine, post, target, again=again)

    async def say(self, target: ReplyTarget, reply: Reply) -> str:
        """A message where the question stands, or in its thread."""
        destination = await self.destination(target)
        return await self.post(destination, reply)

    async def post(self, destination: Destination, reply: Reply, *, nonce: str = "") -> str:
        """A reply as new messages; the id of the first."""
        first = ""
        for n, part in enumerate(self.parts(reply)):
            posted = await self.send(destination, part, nonce=f"{nonce}-{n}"[-25:] if nonce else "")
            first = first or str(posted["id"])
            destination = Destination(destination.channel)
        return first

    async def send(
        self, destination: Destination, part: components.Part, *, nonce: str = ""
    ) -> dict[str, Any]:
        """One message. With a `nonce` the same again is the message that stands, for some minutes."""
        body = dict(part.body)
        if destination.reply_to:
            body["message_reference"] = {
                "message_id": destination.reply_to,
                "fail_if_not_exists": False,
            }
        if nonce:
            body |= {"nonce": nonce, "enforce_nonce": True}
        path = f"channels/{destination.channel}/messages"
        return dict(await self.api.call("POST", path, body, files=part.files))

    def parts(self, reply: Reply) -> list[components.Part]:
        """A reply as Discord's messages, with commands called as they are here."""
        return components.render(worded(reply))

    async def whisper(self, target: ReplyTarget, reply: Reply) -> None:
        """For one person's eyes: as the interaction's reply, else in a direct message.

        A refusal holds nothing that others may not read, so it is said where it was asked.
        """
        if target.details.get("token") and await self.respond(target, reply):
            return
        asks = any(button.action == replies.RERUN for button in reply.buttons)
        if target.is_direct or (
            not target.details.get("token") and (reply.kind == "trouble" or asks)
        ):
            await self.say(target, reply)
            return
        await self.write_to(target, reply)

    async def respond(self, target: ReplyTarget, reply: Reply) -> bool:
        """Answer an interaction for the eyes of who acted; False where its time is over."""
        me = await self.me()
        webhook = f"webhooks/{me['application_id']}/{target.details['token']}"
        if is_over(target):
            return False
        fills = target.details.get("way") == "fill"
        try:
            for part in self.parts(reply):
                if fills:
                    path = f"{webhook}/messages/@original"
                    await self.api.call("PATCH", path, edited(part), files=part.files)
                else:
                    flags = int(part.body.get("flags") or 0) | EPHEMERAL
                    body = {**part.body, "flags": flags}
                    await self.api.call("POST", webhook, body, files=part.files)
                fills = False
        except DiscordTrouble as trouble:
            if trouble.code not in LAPSED:
                raise
            return False
        return True

    async def write_to(self, target: ReplyTarget, reply: Reply) -> None:
        """A direct message; where somebody takes none, they are told so where they asked."""
        try:
            channel = await self.api.call(
                "POST", "users/@me/channels", {"recipient_id": target.person}
            )
            await self.post(Destination(str(channel["id"])), reply)
        except DiscordTrouble as trouble:
            if trouble.code != CANNOT_DM:
                raise
            said = Reply(
                "I have a reply for your eyes only, but you take no direct messages from this"
                " server's members. Allow them, or ask with `/ask`.",
                calls=[f"<@{target.person}>"],
                kind="trouble",
            )
            await self.say(target, said)

    async def replace(self, target: ReplyTarget, message_id: str, reply: Reply) -> None:
        """Other words in a message of ours."""
        part, *_ = self.parts(reply)
        await self.edit(target.thread or target.channel, message_id, part)

    async def edit(self, channel: str, message_id: str, part: components.Part) -> None:
        """A message of ours, made anew."""
        path = f"channels/{channel}/messages/{message_id}"
        await self.api.call("PATCH", path, edited(part), files=part.files)

    async def remove(self, target: ReplyTarget, message_id: str) -> None:
        """Take a message of ours away, with those that go on where it ends."""
        destination = await self.destination(target)
        for id_ in [message_id, *await self._continued(destination.channel, message_id)]:
            try:
                await self.api.call("DELETE", f"channels/{destination.channel}/messages/{id_}")
            except DiscordTrouble as trouble:
                if trouble.code not in {UNKNOWN_MESSAGE, UNKNOWN_CHANNEL}:
                    raise

    async def _continued(self, channel: str, message_id: str) -> list[str]:
        """The messages of ours right after one, as far as its buttons, which stand in the last."""
        me = await self.me()
        try:
            first = await self.api.call("GET", f"channels/{channel}/messages/{message_id}")
            if components.has_buttons(first):
                return []
            path = f"channels/{channel}/messages"
            page = await self.api.call("GET", path, query={"limit": 10, "after": message_id})
        except DiscordTrouble:
            return []
        found: list[str] = []
        for message in sorted(page, key=lambda item: int(item["id"])):
            if str((message.get("author") or {}).get("id")) != str(me["id"]):
                return []
            found.append(str(message["id"]))
            if components.has_buttons(message):
                return found
        return []

    async def nod(self, target: ReplyTarget, message_id: str) -> None:
        """A reaction."""
        del message_id
        await self._react(target, NOD)

    async def search_live(
        self, target: ReplyTarget, question: str, *, all_are_members: bool
    ) -> list[Source]:
        """Discord lets messages be kept, so there is no second search."""
        del target, question, all_are_members
        return []

    async def read_thread(self, target: ReplyTarget) -> list[tuple[str, str]]:
        """Author and text of a thread; outside one, of the messages around."""
        thread = target.thread or target.message_id
        rows: list[Payload] = []
        if await self._is_thread(thread):
            rows = await self._messages(thread, after="0")
            with contextlib.suppress(DiscordTrouble):  # in a forum it is in the thread itself
                path = f"channels/{target.channel}/messages/{thread}"
                rows.append(await self.api.call("GET", path))
        else:
            rows = await self._messages(target.channel, around=target.message_id)
        said = []
        for row in sorted(rows, key=lambda item: int(item["id"])):
            text = payloads.read_text(row)
            if text:
                said.append((payloads.name_of(row.get("author") or {}), text))
        return said

    async def _messages(self, channel: str, **which: str) -> list[Payload]:
        limit = 50 if "around" in which else THREAD_MESSAGES
        path = f"channels/{channel}/messages"
        return list(await self.api.call("GET", path, query={"limit": limit, **which}))

    async def find_message(self, post: PostInfo, destination: Destination) -> str:
        """A reply of ours that an earlier attempt left: with its buttons, or still growing."""
        me = await self.me()
        after = post.question_id or str(payloads.snowflake(post.created_at))
        try:
            page = await self._messages(destination.channel, after=after)
        except DiscordTrouble as trouble:
            if trouble.retry_in_s is not None:
                raise
            return ""
        taken = await self._engine.chats.posts.messages_in(post.sender, post.channel, post.thread)
        for message in sorted(page, key=lambda item: int(item["id"])):
            ours = str((message.get("author") or {}).get("id")) == str(me["id"])
            if not ours or str(message["id"]) in taken:
                continue
            if components.is_of(message, post.id) or is_growing(message):
                return str(message["id"])
        return ""

    # Health

    async def health(self, target: ReplyTarget) -> list[tuple[str, str]]:
        """Token, gateway, intents, and what the bot may not do in which channel."""
        state = await self.gateway()
        rows = [("Discord", "well"), ("gateway", described(state))]
        if state is not None and state.off:
            rows += [(name, WITHOUT[name]) for name in state.off]
        try:
            await self.api.call("GET", "users/@me")
            rows += await self._lacking(target.workspace)
        except DiscordTrouble as trouble:
            rows[0] = ("Discord", str(trouble))
        if target.sender.channel_id is not None:
            stale = await self._engine.chats.senders.stale(target.sender)
            known = "asked of Discord at the next question" if stale.channel else "known"
            rows.append(("who may read this channel", known))
        return rows

    async def _lacking(self, guild_id: str) -> list[tuple[str, str]]:
        me = await self.me()
        guild = await self.guild(guild_id)
        member = await self.api.call("GET", f"guilds/{guild_id}/members/{me['id']}")
        channels = await self.api.call("GET", f"guilds/{guild_id}/channels")
        rows = []
        for channel in channels:
            if channel.get("type") not in TALK:
                continue
            if lacking := missing(held(guild, channel, member), channel):
                rows.append((f"#{channel.get('name')}", f"missing: {', '.join(lacking)}"))
        return rows


WITHOUT: Mapping[str, str] = {
    CONTENT: "off: no history, no answers unasked, no follow-ups without a mention",
    MEMBERS: "off: who may read a channel that is not for everyone is unknown, so only what the"
    " channel itself holds answers there",
}


def described(state: GatewayState | None) -> str:
    """The connection in words."""
    if state is None or not state.connected_at:
        return "down; it is being opened"
    now = datetime.now(UTC).timestamp()
    minutes = round((now - state.connected_at) / 60)
    last = round(now - state.last_event_at)
    shards = f" in {state.shards} shards" if state.shards > 1 else ""
    return f"open for {minutes} min{shards}, {state.events:,} events, the last {last} s ago"


def read_person(guild: Payload, member: Payload) -> Person:
    """What Discord says of somebody; bots are no members."""
    user: Payload = member.get("user") or {}
    return Person(
        name=payloads.name_of(user, member),
        is_full_member=not user.get("bot"),
        is_admin=is_manager(held(guild, None, member)),
    )


def is_over(target: ReplyTarget) -> bool:
    """Whether an interaction can't be replied to any more."""
    came_at = payloads.posted_at(target.details.get("interaction", "0"))
    return (clock.now() - came_at).total_seconds() > TOKEN_LIFE_S


def edited(part: components.Part) -> dict[str, Any]:
    """A message in place of another: what it does not have is taken away."""
    empty: dict[str, Any] = {"content": None, "embeds": [], "components": []}
    return {**empty, **part.body}


def is_growing(message: Payload) -> bool:
    """Whether a message of ours is an answer that has not come to its end."""
    return not message.get("components") and str(message.get("content") or "").endswith(" …")


def worded(reply: Reply) -> Reply:
    """A reply with commands called as they are here; answers are quoted from elsewhere, and stay."""
    if reply.kind == "answer":
        return reply
    rows = [[tree.worded(cell) for cell in row] for row in reply.rows]
    return replace(reply, text=tree.worded(reply.text), note=tree.worded(reply.note), rows=rows)
