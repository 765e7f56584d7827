"""The platform port over Discord, for every server the bot is in. REST only, in any process."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from bots.discord import payloads, tree
from bots.discord.client import CONTENT, MEMBERS, GatewayState
from bots.discord.delivery import SEEN, DiscordDelivery
from bots.discord.permissions import TALK, held, is_manager, missing, server_of
from bots.discord.rest import DiscordApi, DiscordTrouble
from bots.discord.streaming import DiscordStreamingReply
from bots.platform import ReplyTarget
from bots.replies import Reply, SourceLine
from engine import clock
from engine.access.discord_access import is_bot, is_public, may_read, subject_of
from engine.chats.accounts import NewPerson
from engine.chats.channels import NewChannel
from engine.chats.post_rows import PostInfo
from engine.chats.sender_rows import Person
from engine.engine import Engine

log = logging.getLogger(__name__)

MEMBERS_PAGE, MEMBERS_PAGES = 1000, 20
CACHED_S = 30.0
NOD = "%F0%9F%99%82"  # a smile

Payload = Mapping[str, Any]


async def _nothing_known() -> GatewayState | None:
    return None


class DiscordPlatform:
    """What the answer worker and interactions use."""

    name = payloads.NAME
    command = f"/{tree.EVERYONES}"

    def __init__(self, engine: Engine, api: DiscordApi) -> None:
        self._engine = engine
        self.api = api
        self.delivery = DiscordDelivery(engine, api)
        self._guilds: dict[str, tuple[float, dict[str, Any]]] = {}
        self.gateway: Callable[[], Awaitable[GatewayState | None]] = _nothing_known

    # What is known of people and channels

    async def learn(self, target: ReplyTarget) -> None:
        """Ask Discord about the person and the channel, if that was last done over a day ago."""
        chat = self._engine.chats
        if name := target.details.get("who"):  # the interaction itself carries it
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
        """What Discord says of a person on a server; someone who left it is not a member."""
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
        """A channel's name, and who may read it by roles and overwrites.

        A channel that everyone on the server may read needs no list: new members read it too.
        Gateway events that arrive meanwhile take precedence.
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
        new_channel = NewChannel(
            target.channel, str(channel.get("name") or target.channel), is_public=public
        )
        await history.put_channels(place, [new_channel], at=at)
        await history.set_members(place, target.channel, people, at=at)

    async def guild(self, id_: str) -> Payload:
        """A server with its roles, remembered for a moment."""
        known = self._guilds.get(id_)
        if known is not None and time.monotonic() - known[0] < CACHED_S:
            return known[1]
        guild = dict(await self.api.call("GET", f"guilds/{id_}"))
        self._guilds[id_] = (time.monotonic(), guild)
        return guild

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

    # Sending

    async def show_seen(self, target: ReplyTarget, *, ahead: int) -> None:
        """Eyes on the question, and that something is being written."""
        del ahead  # a bot has no status line here
        if target.message_id and not target.is_direct:
            await self.delivery.react(target, SEEN)
        await self.delivery.show_typing(self.delivery.asked_in(target))

    def open_streaming_reply(
        self, post: PostInfo, target: ReplyTarget, *, again: bool
    ) -> DiscordStreamingReply:
        """The message of an answer."""
        return DiscordStreamingReply(self.delivery, self._engine, post, target, again=again)

    async def say(self, target: ReplyTarget, reply: Reply) -> str:
        """A message in the question's thread."""
        return await self.delivery.say(target, reply)

    async def whisper(self, target: ReplyTarget, reply: Reply) -> None:
        """As the interaction's reply, else in a direct message."""
        await self.delivery.whisper(target, reply)

    async def replace(self, target: ReplyTarget, message_id: str, reply: Reply) -> None:
        """Replace the first part of a message of ours."""
        part, *_ = self.delivery.parts(reply)
        await self.delivery.edit(target.thread or target.channel, message_id, part)

    async def remove(self, target: ReplyTarget, message_id: str) -> None:
        """The message and those that continue it."""
        await self.delivery.remove(target, message_id)

    async def nod(self, target: ReplyTarget, message_id: str) -> None:
        """A reaction."""
        del message_id
        await self.delivery.react(target, NOD)

    async def search_live(
        self, target: ReplyTarget, question: str, *, all_are_members: bool
    ) -> list[SourceLine]:
        """Discord allows storing messages, so there is no second search."""
        del target, question, all_are_members
        return []

    async def read_thread(self, target: ReplyTarget) -> list[tuple[str, str]]:
        """Author and text of a thread's messages; outside a thread, of those around the message."""
        thread = target.thread or target.message_id
        rows: list[Payload] = []
        if await self.delivery.is_thread(thread):
            rows = await self.delivery.messages(thread, after="0")
            with contextlib.suppress(DiscordTrouble):  # in a forum it is in the thread itself
                path = f"channels/{target.channel}/messages/{thread}"
                rows.append(await self.api.call("GET", path))
        else:
            rows = await self.delivery.messages(target.channel, around=target.message_id)
        said = []
        for row in sorted(rows, key=lambda item: int(item["id"])):
            text = payloads.read_text(row)
            if text:
                said.append((payloads.name_of(row.get("author") or {}), text))
        return said

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
            known = "I'll ask Discord at the next question" if stale.channel else "known"
            rows.append(("who may read this channel", known))
        return rows

    async def _lacking(self, guild_id: str) -> list[tuple[str, str]]:
        me = await self.api.me()
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
    CONTENT: "off: no history, no unprompted answers, no follow-ups without a mention",
    MEMBERS: "off: the bot can't see who may read restricted channels, so answers there use only"
    " that channel's own messages",
}


def described(state: GatewayState | None) -> str:
    """The connection in words."""
    if state is None or not state.connected_at:
        return "down; reconnecting"
    now = datetime.now(UTC).timestamp()
    minutes = round((now - state.connected_at) / 60)
    last = round(now - state.last_event_at)
    shards = f" in {state.shards} shards" if state.shards > 1 else ""
    return f"open for {minutes} min{shards}, {state.events:,} events, the last {last} s ago"


def read_person(guild: Payload, member: Payload) -> Person:
    """What Discord says of a person; a bot is not a member."""
    user: Payload = member.get("user") or {}
    return Person(
        name=payloads.name_of(user, member),
        is_full_member=not user.get("bot"),
        is_admin=is_manager(held(guild, None, member)),
    )
