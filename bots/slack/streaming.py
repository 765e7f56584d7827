"""One answer in a Slack message: streamed where Slack can, edited where it can't, plain at worst.

The whole text is held here: a stream ends by itself about five minutes after it began, and what was
streamed is replaced at the end by the checked answer with its blocks. The id of the message is
stored before more is shown, so that a worker that takes over continues in it.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

from bots.platform import ReplyTarget
from bots.replies import Reply
from bots.slack import blocks, markup
from bots.slack.client import REVOKED, SlackTrouble
from bots.slack.delivery import BLOCKS_REFUSED, SlackDelivery, metadata
from engine.chats.post_rows import PostInfo
from engine.engine import Engine

FLUSH_S = 0.7  # between pieces of a stream: Tier 4 is 100 a minute, for all that is streamed
UPDATE_S = 1.5  # between edits: Tier 3 is 50 a minute
FLUSH_CHARS = 400
STREAMED_MAX = 10_000  # characters; what is longer shows when it is complete
STREAM_LIFE_S = 280.0  # a stream dies about five minutes after its start
ENDED = frozenset({"message_not_in_streaming_state", "streaming_state_conflict"})
# There is no way to say anything there, whatever is tried.
UNREACHABLE = REVOKED | {
    "channel_is_archived",
    "channel_not_found",
    "is_archived",
    "not_in_channel",
    "restricted_action",
}


class SlackStreamingReply:
    """See the module. `again`: an earlier attempt may have sent a message without noting its id."""

    def __init__(
        self,
        delivery: SlackDelivery,
        engine: Engine,
        post: PostInfo,
        target: ReplyTarget,
        *,
        again: bool,
    ) -> None:
        self._delivery = delivery
        self._engine = engine
        self._post = post
        self._target = target
        self._token = ""
        self._looks = again and bool(target.thread)
        self._message_id = post.message_id
        self._streaming = False
        self._edited = bool(post.message_id)  # the message exists, and is edited from now on
        self._text = ""
        self._waiting = ""
        self._steps = 0
        self._step = ""
        self._started_at = 0.0
        # An answer that is ready at once is one message, not a stream of one piece.
        self._flushed_at = time.monotonic()

    # While it is written

    async def step(self, title: str) -> None:
        """A task in the stream, else a status under the thread."""
        if title != self._step:  # the same title again is the same task
            self._steps += 1
        self._step = title
        if self._post.surface == "private":
            return
        if self._streaming:
            task = {"type": "task_update", "id": f"s{self._steps}", "title": title[:120]}
            await self._append(chunks=[{**task, "status": "complete"}])
        elif self._steps > 1:  # the first sign has named the first search already
            await self._quietly("assistant.threads.setStatus", status=title[:50])

    async def grow(self, text: str) -> None:
        """Show it a piece at a time, as often as Slack allows."""
        if self._post.surface == "private" or len(self._text) > STREAMED_MAX:
            return
        self._text += text
        self._waiting += text
        pause = FLUSH_S if self._streaming or not self._edited else UPDATE_S
        due = time.monotonic() - self._flushed_at >= pause or len(self._waiting) > FLUSH_CHARS
        if due and self._waiting.strip():
            await self._flush()

    async def _flush(self) -> None:
        piece, self._waiting = markup.quieten(self._waiting), ""
        self._flushed_at = time.monotonic()
        if self._streaming and time.monotonic() - self._started_at > STREAM_LIFE_S:
            await self._end_stream()
        if self._streaming:
            await self._append(markdown_text=piece)
            return
        await self._look()
        try:
            if self._message_id:
                await self._edit(f"{markup.quieten(self._text)} …", [])
            else:
                await asyncio.shield(self._begin(piece))
        except SlackTrouble as trouble:
            if trouble.code in UNREACHABLE:
                raise
            self._waiting = piece + self._waiting  # shown with the next piece, or at the end

    async def _begin(self, piece: str) -> None:
        """A stream, or where Slack offers none, a message that is edited."""
        try:
            posted = await self._call(
                "chat.startStream",
                channel=self._target.channel,
                thread_ts=self._target.thread,
                recipient_team_id=self._target.details.get("author_team") or self._target.workspace,
                recipient_user_id=self._target.person,
                markdown_text=piece,
            )
            self._streaming, self._started_at = True, time.monotonic()
        except SlackTrouble as trouble:
            if trouble.code in UNREACHABLE:
                raise
            posted = await self._post_message(f"{markup.quieten(self._text)} …", [])
            self._edited = True
        self._message_id = str(posted["ts"])
        await self._engine.chats.posts.note_message(self._post, self._message_id)

    async def _append(self, **what: Any) -> None:  # noqa: ANN401 (Slack's arguments)
        try:
            await self._call(
                "chat.appendStream",
                channel=self._target.channel,
                ts=self._message_id,
                **what,
            )
        except SlackTrouble as trouble:
            if trouble.code in ENDED:
                self._streaming, self._edited = False, True
                await self._edit(f"{markup.quieten(self._text)} …", [])
            elif trouble.code in UNREACHABLE:
                raise

    async def _end_stream(self) -> None:
        self._streaming, self._edited = False, True
        with contextlib.suppress(SlackTrouble):
            await self._call("chat.stopStream", channel=self._target.channel, ts=self._message_id)

    # The end

    async def finish(self, reply: Reply) -> str:
        """The whole reply in the existing message, or in a new one."""
        if self._post.surface == "private":
            await self._delivery.whisper(self._target, reply)
            return ""
        text, rendered = blocks.render(reply)
        await self._look()
        if self._message_id:
            if self._streaming or self._edited:
                await self._end_stream()
            try:
                await self._safely(lambda some: self._edit(text, some), rendered)
            except SlackTrouble as trouble:
                if trouble.retry_in_s is not None or trouble.code in UNREACHABLE:
                    raise
                # Someone deleted it, or it can't be edited: the answer is a new message then.
                self._message_id = ""
        if not self._message_id:
            posted: dict[str, Any] = {}

            async def post(some: list[blocks.Block]) -> None:
                posted.update(await self._post_message(text, some))

            await self._safely(post, rendered)
            self._message_id = str(posted["ts"])
        await self._clear_sign()
        return self._message_id

    async def abandon(self) -> None:
        """Remove the message and the first sign."""
        if self._message_id and self._post.surface != "private":
            if self._streaming:
                await self._end_stream()
            await self._quietly("chat.delete", ts=self._message_id)
        await self._clear_sign()

    async def _look(self) -> None:
        """Find the message of an earlier attempt that did not note its id."""
        if self._looks and not self._message_id:
            found = await self._delivery.find(self._post, self._target)
            if found:
                self._message_id, self._edited = found, True
                await self._engine.chats.posts.note_message(self._post, found)
        self._looks = False

    async def _safely(
        self, show: Callable[[list[blocks.Block]], Awaitable[None]], rendered: list[blocks.Block]
    ) -> None:
        """With blocks, else without those that only newer clients know, else without any."""
        known = [block for block in rendered if block["type"] not in {"context_actions", "table"}]
        for some in (rendered, known, []):
            try:
                await show(some)
            except SlackTrouble as trouble:
                if trouble.code not in BLOCKS_REFUSED or not some:
                    raise
            else:
                return

    async def _edit(self, text: str, some: list[blocks.Block]) -> None:
        edit = partial(
            self._call,
            "chat.update",
            channel=self._target.channel,
            ts=self._message_id,
            text=text[: blocks.FALLBACK_MAX],
            blocks=some or None,
            metadata=metadata(self._post.id),
        )
        try:
            await edit()
        except SlackTrouble as trouble:
            if trouble.code not in ENDED:
                raise
            await self._end_stream()  # an earlier attempt's, which was never ended
            await edit()

    async def _post_message(self, text: str, some: list[blocks.Block]) -> dict[str, Any]:
        return await self._call(
            "chat.postMessage",
            channel=self._target.channel,
            thread_ts=self._target.thread or None,
            text=text[: blocks.FALLBACK_MAX],
            blocks=some or None,
            metadata=metadata(self._post.id),
            unfurl_links=False,
            unfurl_media=False,
        )

    async def _clear_sign(self) -> None:
        if self._post.surface == "channel" and self._post.question_id:
            await self._quietly(
                "reactions.remove", timestamp=self._post.question_id, name="eyes", thread=False
            )

    async def _quietly(self, method: str, *, thread: bool = True, **arguments: Any) -> None:  # noqa: ANN401
        """A call that may fail."""
        channel = {"channel": self._target.channel}
        if method.startswith("assistant."):
            channel = {"channel_id": self._target.channel}
            if thread:
                arguments["thread_ts"] = self._target.thread
        with contextlib.suppress(SlackTrouble):
            await self._call(method, **channel, **arguments)

    async def _call(self, method: str, **arguments: Any) -> dict[str, Any]:  # noqa: ANN401
        """A call with the token that the answer began with, which a new one does not replace."""
        if not self._token:
            self._token = (await self._delivery.installed(self._post.sender)).token
        return await self._delivery.api.call(self._token, method, **arguments)
