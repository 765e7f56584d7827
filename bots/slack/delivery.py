"""How a reply reaches people in Slack: its token, its messages, and how they are found again.

`SlackPlatform` and the streaming reply send, edit and remove through this. It knows nothing of who
may read what.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from typing import Any

from bots.platform import ReplyTarget, Undelivered
from bots.replies import Reply
from bots.slack import blocks
from bots.slack.client import REVOKED, SlackApi, SlackTrouble
from bots.slack.payloads import NAME
from engine.chats.installation_rows import Installed
from engine.chats.post_rows import PostInfo
from engine.chats.sender_rows import Sender
from engine.engine import Engine
from engine.errors import NotFound

THREAD_MESSAGES = 100
CACHED_S = 30.0  # how long an installation is remembered: a new token is picked up after that
BLOCKS_REFUSED = frozenset(
    {"invalid_blocks", "invalid_blocks_format", "msg_blocks_too_long", "msg_too_long"}
)


class SlackDelivery:
    """See the module."""

    def __init__(self, engine: Engine, api: SlackApi) -> None:
        self._engine = engine
        self.api = api
        self._installed: dict[str, tuple[float, Installed]] = {}

    async def installed(self, sender: Sender) -> Installed:
        """The installation in a workspace; `Undelivered` where there is none any more."""
        known = self._installed.get(sender.workspace_id)
        if known is not None and time.monotonic() - known[0] < CACHED_S:
            return known[1]
        try:
            found = await self._engine.chats.installations.of(sender)
        except NotFound as error:
            raise Undelivered(str(error)) from None
        self._installed[sender.workspace_id] = (time.monotonic(), found)
        return found

    def forget(self) -> None:
        """An installation changed."""
        self._installed.clear()

    async def call(self, sender: Sender, method: str, **arguments: Any) -> dict[str, Any]:  # noqa: ANN401
        """A call in a workspace; a token that was revoked pauses the installation."""
        installed = await self.installed(sender)
        try:
            return await self.api.call(installed.token, method, **arguments)
        except SlackTrouble as trouble:
            if trouble.code in REVOKED:
                self.forget()
                await self._engine.chats.installations.pause(
                    NAME, team_id=installed.team_id, enterprise_id=installed.enterprise_id
                )
            raise

    # Sending

    async def say(self, target: ReplyTarget, reply: Reply) -> str:
        """A message in the thread."""
        text, rendered = blocks.render(reply)
        posted = await self._with_blocks(
            rendered,
            lambda some: self.call(
                target.sender,
                "chat.postMessage",
                channel=target.channel,
                thread_ts=target.thread or None,
                text=text,
                blocks=some or None,
                unfurl_links=False,
                unfurl_media=False,
                metadata=metadata(""),
            ),
        )
        return str(posted.get("ts", ""))

    async def edit(self, target: ReplyTarget, message_id: str, reply: Reply) -> None:
        """Replace the content of a message of ours."""
        text, rendered = blocks.render(reply)
        await self._with_blocks(
            rendered,
            lambda some: self.call(
                target.sender,
                "chat.update",
                channel=target.channel,
                ts=message_id,
                text=text,
                blocks=some or None,
            ),
        )

    async def _with_blocks(
        self,
        rendered: list[blocks.Block],
        show: Callable[[list[blocks.Block]], Awaitable[dict[str, Any]]],
    ) -> dict[str, Any]:
        try:
            return await show(rendered)
        except SlackTrouble as trouble:
            if trouble.code not in BLOCKS_REFUSED:
                raise
            return await show([])

    async def remove(self, target: ReplyTarget, message_id: str) -> None:
        """Delete a message of ours."""
        try:
            await self.call(target.sender, "chat.delete", channel=target.channel, ts=message_id)
        except SlackTrouble as trouble:
            if trouble.code != "message_not_found":
                raise

    async def whisper(self, target: ReplyTarget, reply: Reply) -> None:
        """Show a reply to one person: where they pressed or typed, else in the channel.

        A direct message is theirs alone anyway.
        """
        installed = await self.installed(target.sender)
        text, rendered = blocks.render(reply)
        known = [block for block in rendered if block["type"] not in {"context_actions", "table"}]
        url = target.details.get("response_url", "")
        for some in (rendered, known, []):
            body: dict[str, Any] = {"text": text}
            if some:
                body["blocks"] = some
            if url and await self.api.respond(
                url, {**body, "response_type": "ephemeral", "replace_original": False}
            ):
                return
            try:
                if target.is_direct:
                    await self.api.call(
                        installed.token,
                        "chat.postMessage",
                        channel=target.channel,
                        thread_ts=target.thread or None,
                        unfurl_links=False,
                        unfurl_media=False,
                        metadata=metadata(""),
                        **body,
                    )
                else:
                    await self.api.call(
                        installed.token,
                        "chat.postEphemeral",
                        channel=target.channel,
                        user=target.person,
                        thread_ts=target.thread or None,
                        **body,
                    )
            except SlackTrouble as trouble:
                if trouble.code not in BLOCKS_REFUSED or not some:
                    raise
            else:
                return

    # What was sent before

    async def find(self, post: PostInfo, target: ReplyTarget) -> str:
        """A reply of ours in the thread that an earlier attempt left: marked, or a stream."""
        installed = await self.installed(target.sender)
        try:
            page = await self.call(
                target.sender,
                "conversations.replies",
                channel=target.channel,
                ts=target.thread,
                oldest=post.question_id or None,
                limit=THREAD_MESSAGES,
                include_all_metadata=True,
            )
        except SlackTrouble as trouble:
            if trouble.retry_in_s is not None:
                raise
            return ""
        taken = await self._engine.chats.posts.messages_in(
            target.sender, target.channel, target.thread
        )
        for message in page.get("messages") or []:
            if message.get("user") != installed.bot_user_id or message["ts"] in taken:
                continue
            marked = message.get("metadata") or {}
            if not marked:  # a stream carries no metadata until it has ended
                return str(message["ts"])
            if (marked.get("event_payload") or {}).get("post_id") == post.id:
                return str(message["ts"])
        return ""


def metadata(post_id: str) -> dict[str, Any]:
    """What marks a message as ours, and whose answer it is."""
    return {"event_type": "scrubjay_post", "event_payload": {"post_id": post_id}}
