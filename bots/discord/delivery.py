"""How a reply reaches people on Discord: its thread, its messages, and how they are found again.

`DiscordPlatform` and the streaming reply send, edit and remove through this. It knows nothing of
who may read what.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from bots import replies
from bots.discord import components, payloads, tree
from bots.discord.directory import Destination
from bots.discord.permissions import THREADS
from bots.discord.rest import (
    CANNOT_DM,
    LAPSED,
    THREAD_EXISTS,
    UNKNOWN_CHANNEL,
    UNKNOWN_MESSAGE,
    DiscordApi,
    DiscordTrouble,
)
from bots.platform import ReplyTarget
from bots.replies import Reply
from engine import clock
from engine.chats.post_rows import PostInfo
from engine.engine import Engine

THREAD_MESSAGES = 100
CONTINUED_MAX = 10  # messages that continue one reply
TOKEN_LIFE_S = 14 * 60.0  # of an interaction; Discord's own is 15 minutes
EPHEMERAL = 1 << 6
SEEN = "%F0%9F%91%80"  # eyes
ASKED_IN = "stands"  # in a target's details; queued jobs hold this key
ARCHIVE_AFTER_MIN = 1440

Payload = Mapping[str, Any]


class DiscordDelivery:
    """See the module."""

    def __init__(self, engine: Engine, api: DiscordApi) -> None:
        self._engine = engine
        self.api = api
        self._threads: set[str] = set()  # questions that are known to have a thread

    # Where to speak

    async def destination(self, target: ReplyTarget, *, thread_name: str = "") -> Destination:
        """Where a reply goes: the question's thread, which is created if a name for it is given.

        Where no thread is possible, the channel itself, as a reply to the question.
        """
        if target.is_direct or not target.thread:
            return Destination(target.channel)
        asked_in = target.details.get(ASKED_IN, "")
        if (asked_in and asked_in != target.channel) or target.thread != target.message_id:
            return Destination(asked_in or target.thread)
        # A question that came just now has no thread yet: one is created without looking for it.
        is_new = thread_name and asked_in
        if target.thread in self._threads or (not is_new and await self.is_thread(target.thread)):
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

    async def is_thread(self, id_: str) -> bool:
        """Whether an id is a thread's that the bot can see."""
        try:
            found = await self.api.call("GET", f"channels/{id_}")
        except DiscordTrouble as trouble:
            if trouble.retry_in_s is not None:
                raise
            return False
        return found.get("type") in THREADS

    def asked_in(self, target: ReplyTarget) -> str:
        """The channel or thread a question's message is in."""
        in_thread = target.thread and target.thread != target.message_id
        return target.details.get(ASKED_IN) or (target.thread if in_thread else target.channel)

    # Sending

    async def say(self, target: ReplyTarget, reply: Reply) -> str:
        """A message in the thread of the question, or where it was asked; its id."""
        return await self.post(await self.destination(target), reply)

    async def post(self, destination: Destination, reply: Reply, *, nonce: str = "") -> str:
        """A reply as new messages; the id of the first."""
        first = ""
        for n, part in enumerate(self.parts(reply)):
            posted = await self.send(destination, part, nonce=f"{nonce}-{n}"[-25:] if nonce else "")
            first = first or str(posted["id"])
            destination = Destination(destination.channel)
        return first

    async def send(
        self, destination: Destination, part: components.OutgoingMessage, *, nonce: str = ""
    ) -> dict[str, Any]:
        """One message. For some minutes, the same `nonce` again returns the message that exists."""
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

    def parts(self, reply: Reply) -> list[components.OutgoingMessage]:
        """A reply as Discord's messages, with Discord's paths of commands."""
        return components.render(worded(reply))

    async def edit(self, channel: str, message_id: str, part: components.OutgoingMessage) -> None:
        """Replace the content of a message of ours."""
        path = f"channels/{channel}/messages/{message_id}"
        await self.api.call("PATCH", path, edited(part), files=part.files)

    async def remove(self, target: ReplyTarget, message_id: str) -> None:
        """Delete a message of ours, with those that continue it."""
        destination = await self.destination(target)
        for id_ in [message_id, *await self._continued(destination.channel, message_id)]:
            try:
                await self.api.call("DELETE", f"channels/{destination.channel}/messages/{id_}")
            except DiscordTrouble as trouble:
                if trouble.code not in {UNKNOWN_MESSAGE, UNKNOWN_CHANNEL}:
                    raise

    async def _continued(self, channel: str, message_id: str) -> list[str]:
        """Our messages right after this one, up to its buttons, which are in the last."""
        me = await self.api.me()
        try:
            first = await self.api.call("GET", f"channels/{channel}/messages/{message_id}")
            if components.has_buttons(first):
                return []
            path = f"channels/{channel}/messages"
            page = await self.api.call(
                "GET", path, query={"limit": CONTINUED_MAX, "after": message_id}
            )
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

    async def whisper(self, target: ReplyTarget, reply: Reply) -> None:
        """Show a reply to one person: as the interaction's reply, else in a direct message.

        A refusal contains nothing that others may not read, so it is sent where the person asked.
        """
        if target.details.get("token") and await self.respond(target, reply):
            return
        asks = any(button.action == replies.RERUN for button in reply.buttons)
        if target.is_direct or (
            not target.details.get("token") and (reply.kind == "trouble" or asks)
        ):
            await self.say(target, reply)
            return
        await self.send_direct(target, reply)

    async def respond(self, target: ReplyTarget, reply: Reply) -> bool:
        """Answer an interaction, visible to the person who acted; False where its time is over."""
        me = await self.api.me()
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

    async def send_direct(self, target: ReplyTarget, reply: Reply) -> None:
        """A direct message; someone whose settings block it is told where they asked."""
        try:
            channel = await self.api.call(
                "POST", "users/@me/channels", {"recipient_id": target.person}
            )
            await self.post(Destination(str(channel["id"])), reply)
        except DiscordTrouble as trouble:
            if trouble.code != CANNOT_DM:
                raise
            said = Reply(
                "I have a private reply for you, but your privacy settings block direct messages"
                " from this server. Allow them, or use `/ask`.",
                calls=[f"<@{target.person}>"],
                kind="trouble",
            )
            await self.say(target, said)

    # Signs without words

    async def react(self, target: ReplyTarget, emoji: str) -> None:
        """Put a reaction on the question; one that Discord refuses is left out."""
        with contextlib.suppress(DiscordTrouble):
            await self.api.call("PUT", self._reaction(target, emoji))

    async def unreact(self, target: ReplyTarget, emoji: str) -> None:
        """Remove our reaction from the question."""
        with contextlib.suppress(DiscordTrouble):
            await self.api.call("DELETE", self._reaction(target, emoji))

    def _reaction(self, target: ReplyTarget, emoji: str) -> str:
        message = f"channels/{self.asked_in(target)}/messages/{target.message_id}"
        return f"{message}/reactions/{emoji}/@me"

    async def show_typing(self, channel: str) -> None:
        """Discord's sign that something is being written, for ten seconds."""
        await self.api.call("POST", f"channels/{channel}/typing")

    # What was sent before

    async def find(self, post: PostInfo, destination: Destination) -> str:
        """A reply of ours that an earlier attempt left: with its buttons, or still growing."""
        me = await self.api.me()
        after = post.question_id or str(payloads.snowflake(post.created_at))
        try:
            page = await self.messages(destination.channel, after=after)
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

    async def messages(self, channel: str, **which: str) -> list[Payload]:
        """Messages of a channel `around` an id, or `after` it."""
        limit = 50 if "around" in which else THREAD_MESSAGES
        path = f"channels/{channel}/messages"
        return list(await self.api.call("GET", path, query={"limit": limit, **which}))


def is_over(target: ReplyTarget) -> bool:
    """Whether an interaction can't be replied to any more."""
    came_at = payloads.posted_at(target.details.get("interaction", "0"))
    return (clock.now() - came_at).total_seconds() > TOKEN_LIFE_S


def edited(part: components.OutgoingMessage) -> dict[str, Any]:
    """A message in place of another: what it does not have is taken away."""
    empty: dict[str, Any] = {"content": None, "embeds": [], "components": []}
    return {**empty, **part.body}


def is_growing(message: Payload) -> bool:
    """Whether a message of ours is an answer that has not come to its end."""
    return not message.get("components") and str(message.get("content") or "").endswith(" …")


def worded(reply: Reply) -> Reply:
    """A reply with Discord's paths of commands; answers are quoted from elsewhere, and stay."""
    if reply.kind == "answer":
        return reply
    rows = [[tree.worded(cell) for cell in row] for row in reply.rows]
    return replace(reply, text=tree.worded(reply.text), note=tree.worded(reply.note), rows=rows)
