"""One answer in Discord messages: plain text that grows by edits, at the end the whole reply.

The id of the message is stored before more is shown, and the message is posted under a nonce made
from the post's id, so a worker that takes over continues in it. The answer to an interaction grows
in the interaction's own reply for as long as Discord accepts that, and is sent as a direct message
after.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from bots.discord import components, markup, splitting
from bots.discord.delivery import CONTINUED_MAX, SEEN, DiscordDelivery
from bots.discord.directory import Destination
from bots.discord.rest import LAPSED, SHUT, UNKNOWN_MESSAGE, DiscordTrouble
from bots.platform import ReplyTarget
from bots.replies import Reply, one_line
from engine.chats.post_rows import PostInfo
from engine.engine import Engine

EDIT_S = 1.2  # between edits: a channel takes about five in five seconds, for all that is shown
TYPING_S = 8.0  # a sign of writing lasts ten
GROWING_MAX = 1_900  # characters; what is longer shows when it is complete


class DiscordStreamingReply:
    """See the module. `again`: an earlier attempt may have sent a message without noting its id."""

    def __init__(
        self,
        delivery: DiscordDelivery,
        engine: Engine,
        post: PostInfo,
        target: ReplyTarget,
        *,
        again: bool,
    ) -> None:
        self._delivery = delivery
        self._api = delivery.api
        self._engine = engine
        self._post = post
        self._target = target
        self._again = again
        self._looks = again and not post.message_id
        self._message_id = post.message_id
        self._destination: Destination | None = None
        self._text = ""
        self._shown = ""
        self._typed_at = -TYPING_S
        # An answer that is ready at once is one message that is never edited.
        self._edited_at = time.monotonic()

    @property
    def _in_reply(self) -> bool:
        """Whether the answer grows in the reply to an interaction.

        A question tried in the set-up form does not: that reply says what was set.
        """
        details = self._target.details
        return details.get("way") == "fill" and "question" not in details

    async def _where(self) -> Destination:
        if self._destination is None:
            name = one_line(self._post.question)[:90] or "Answer"
            self._destination = await self._delivery.destination(self._target, thread_name=name)
        return self._destination

    # While it is written

    async def step(self, title: str) -> None:
        """Show that something is being written; Discord has no other status."""
        del title
        if self._post.surface == "private" or time.monotonic() - self._typed_at < TYPING_S:
            return
        self._typed_at = time.monotonic()
        channel = (
            self._target.channel
            if self._target.is_direct
            else self._delivery.asked_in(self._target)
        )
        with contextlib.suppress(DiscordTrouble):
            await self._delivery.show_typing(channel)

    async def grow(self, text: str) -> None:
        """Show more by an edit, as often as Discord allows."""
        self._text += text
        due = time.monotonic() - self._edited_at >= EDIT_S
        if not due or not self._text.strip() or len(self._text) > GROWING_MAX:
            return
        if self._post.surface == "private" and not self._in_reply:
            return
        [first, *_] = splitting.split(markup.render(self._text)) or [""]
        shown = f"{first.strip()} …"
        if shown == self._shown:
            return
        self._edited_at = time.monotonic()
        try:
            await self._show(shown)
            self._shown = shown
        except DiscordTrouble as trouble:
            if trouble.code in SHUT and self._post.surface != "private":
                await self._tell_shut()
                raise
            if trouble.code == UNKNOWN_MESSAGE:
                self._message_id = ""  # someone deleted it; the whole answer is a new message

    async def _show(self, content: str) -> None:
        growing = components.OutgoingMessage(
            {"content": content, "allowed_mentions": {"parse": []}}
        )
        if self._post.surface == "private":
            me = await self._api.me()
            token = self._target.details["token"]
            path = f"webhooks/{me['application_id']}/{token}/messages/@original"
            with contextlib.suppress(DiscordTrouble):
                await self._api.call("PATCH", path, dict(growing.body))
            return
        await self._look()
        if self._message_id:
            await self._delivery.edit((await self._where()).channel, self._message_id, growing)
        else:
            await asyncio.shield(self._begin(growing))

    async def _begin(self, part: components.OutgoingMessage) -> None:
        posted = await self._delivery.send(await self._where(), part, nonce=self._nonce(0))
        self._message_id = str(posted["id"])
        await self._engine.chats.posts.note_message(self._post, self._message_id)

    def _nonce(self, n: int) -> str:
        return f"{self._post.id.replace('-', '')[-20:]}-{n}"

    # The end

    async def finish(self, reply: Reply) -> str:
        """The whole reply in the existing message and those after it, or in new ones."""
        if self._post.surface == "private":
            await self._whisper(reply)
            return ""
        await self._look()
        parts = self._delivery.parts(reply)
        try:
            await self._put_first(parts[0])
            await self._put_rest(parts[1:])
        except DiscordTrouble as trouble:
            if trouble.code in SHUT:
                await self._tell_shut()
            raise
        await self._clear_sign()
        return self._message_id

    async def _put_first(self, part: components.OutgoingMessage) -> None:
        destination = await self._where()
        if self._message_id:
            try:
                await self._delivery.edit(destination.channel, self._message_id, part)
            except DiscordTrouble as trouble:
                if trouble.code != UNKNOWN_MESSAGE:
                    raise
                self._message_id = (
                    ""  # someone deleted it: the person who asked still gets the answer
                )
        if not self._message_id:
            await asyncio.shield(self._begin(part))

    async def _put_rest(self, parts: list[components.OutgoingMessage]) -> None:
        """The messages after the first; those an earlier attempt left are edited."""
        if not parts:
            return
        channel = (await self._where()).channel
        left = await self._left_after() if self._again else []
        for n, part in enumerate(parts, start=1):
            before = left.pop(0) if left else None
            if before is None:
                await self._delivery.send(Destination(channel), part, nonce=self._nonce(n))
            elif components.is_v2(before) and not components.is_v2(part.body):
                # Discord can't make it plain: it is deleted, and a new one is sent at the end.
                await self._api.call("DELETE", f"channels/{channel}/messages/{before['id']}")
                await self._delivery.send(Destination(channel), part)
            else:
                await self._delivery.edit(channel, str(before["id"]), part)

    async def _left_after(self) -> list[Mapping[str, Any]]:
        me = await self._api.me()
        path = f"channels/{(await self._where()).channel}/messages"
        query: dict[str, str | int] = {"limit": CONTINUED_MAX, "after": self._message_id}
        page = await self._api.call("GET", path, query=query)
        taken = await self._engine.chats.posts.messages_in(
            self._post.sender, self._post.channel, self._post.thread
        )
        found: list[Mapping[str, Any]] = []
        for message in sorted(page, key=lambda item: int(item["id"])):
            ours = str((message.get("author") or {}).get("id")) == str(me["id"])
            if not ours or str(message["id"]) in taken:
                break
            found.append(message)
            if components.has_buttons(message):
                break
        return found

    async def _whisper(self, reply: Reply) -> None:
        try:
            target = self._target
            if not self._in_reply and target.details.get("way") == "fill":
                target = with_way(target, "follow")
            await self._delivery.whisper(target, reply)
        except DiscordTrouble as trouble:
            if trouble.code not in LAPSED:
                raise
            await self._delivery.send_direct(self._target, reply)

    async def _tell_shut(self) -> None:
        """Tell the person who asked, by direct message, that the bot can't answer there."""
        said = Reply(
            f"I don't have permission to answer in <#{self._target.channel}>: an admin can give me"
            " View Channel, Send Messages and Send Messages in Threads there. You can ask me here,"
            " or with `/ask`.",
            kind="trouble",
        )
        with contextlib.suppress(DiscordTrouble):
            await self._delivery.send_direct(self._target, said)

    async def abandon(self) -> None:
        """Remove the message and the first sign."""
        if self._message_id and self._post.surface != "private":
            channel = (await self._where()).channel
            with contextlib.suppress(DiscordTrouble):
                await self._api.call("DELETE", f"channels/{channel}/messages/{self._message_id}")
        await self._clear_sign()

    async def _look(self) -> None:
        """Find the message of an earlier attempt that did not note its id."""
        if self._looks:
            self._looks = False
            found = await self._delivery.find(self._post, await self._where())
            if found:
                self._message_id = found
                await self._engine.chats.posts.note_message(self._post, found)

    async def _clear_sign(self) -> None:
        if self._post.surface == "channel" and self._post.question_id:
            await self._delivery.unreact(self._target, SEEN)


def with_way(target: ReplyTarget, way: str) -> ReplyTarget:
    """The same target, with another way to reply."""
    return replace(target, details={**target.details, "way": way})
