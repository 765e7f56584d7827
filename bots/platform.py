"""The port that a platform's adapter implements: how a reply reaches people, what is known of them.

`answer_worker.py` and `interactions.py` use it. The adapters are `slack/`, `discord/` and the
terminal of `scrubjay chat`. What can't be shown now raises `Undelivered`, and the job is retried.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from bots.replies import Reply, SourceLine
from engine.chats.post_rows import PostInfo
from engine.chats.sender_rows import Sender


class Undelivered(Exception):
    """A message could not be shown. `retry_in_s` None: trying again would not help."""

    def __init__(self, message: str, *, retry_in_s: float | None = None) -> None:
        super().__init__(message)
        self.retry_in_s = retry_in_s


@dataclass(frozen=True, slots=True)
class ReplyTarget:
    """Where a reply goes, and to whom; ids are the platform's.

    `details` is what the adapter itself put there when the message arrived.
    """

    platform: str
    workspace: str
    channel: str
    person: str
    sender: Sender
    thread: str = ""
    message_id: str = ""
    is_direct: bool = False
    details: Mapping[str, str] = field(default_factory=dict)


class StreamingReply(Protocol):
    """One answer while it is written, in one message that grows."""

    async def step(self, title: str) -> None:
        """Show what is being done, until there is text."""

    async def grow(self, text: str) -> None:
        """Add to the answer; the text is safe to show as it is."""

    async def finish(self, reply: Reply) -> str:
        """Replace what grew by the whole reply; returns the id of its message."""

    async def abandon(self) -> None:
        """Nothing will follow: remove what is shown."""


class Platform(Protocol):
    """One platform, for all of its workspaces."""

    name: str
    command: str  # how a command begins here: "/kb"

    async def learn(self, target: ReplyTarget) -> None:
        """Refresh what is known of the person and the channel, if it is out of date."""

    async def show_seen(self, target: ReplyTarget, *, ahead: int) -> None:
        """Show that a question was received, before there is an answer."""

    def open_streaming_reply(
        self, post: PostInfo, target: ReplyTarget, *, again: bool
    ) -> StreamingReply:
        """The message an answer is shown in: the existing one, where a post has one.

        `again`: an earlier attempt may have sent a message without noting its id.
        """

    async def say(self, target: ReplyTarget, reply: Reply) -> str:
        """Send a message that everyone in the channel sees; returns its id."""

    async def whisper(self, target: ReplyTarget, reply: Reply) -> None:
        """Send a message that only one person sees."""

    async def replace(self, target: ReplyTarget, message_id: str, reply: Reply) -> None:
        """Replace the content of a message of ours."""

    async def remove(self, target: ReplyTarget, message_id: str) -> None:
        """Delete a message of ours; it may be gone already."""

    async def nod(self, target: ReplyTarget, message_id: str) -> None:
        """Acknowledge a message without words."""

    async def search_live(
        self, target: ReplyTarget, question: str, *, all_are_members: bool
    ) -> list[SourceLine]:
        """Messages found by the platform's own search, where storing them is forbidden; else none.

        `all_are_members`: everyone who will see them is a full member of the workspace. Nothing of
        it is stored.
        """

    async def health(self, target: ReplyTarget) -> list[tuple[str, str]]:
        """The state of the connection to the platform, a row for each part of it."""

    async def read_thread(self, target: ReplyTarget) -> list[tuple[str, str]]:
        """Author and text of a thread's messages, oldest first."""
