"""The port that a platform's adapter fills: how a reply gets to people, and what is known of them.

`desk.py` and `errands.py` speak through it; `slack/` and the terminal of `scrubjay chat` are the
adapters. What can't be shown now raises `Undelivered`, and the job is tried again.
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
    """Where something is said, and to whom; ids are the platform's.

    `details` is what the adapter itself put there when the message came.
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
    """One answer while it comes about, in one message that grows."""

    async def step(self, title: str) -> None:
        """What is being done, shown until there is text."""

    async def grow(self, text: str) -> None:
        """More of the answer, safe to show as it is."""

    async def finish(self, reply: Reply) -> str:
        """The whole reply in place of what grew; the id of its message."""

    async def abandon(self) -> None:
        """Nothing will follow: what stands there is taken away."""


class Platform(Protocol):
    """One platform, for all of its workspaces."""

    name: str
    command: str  # how a command begins here: "/kb"

    async def learn(self, target: ReplyTarget) -> None:
        """See to it that what is known of who asks, and of the place, is fresh; else leave it."""

    async def show_seen(self, target: ReplyTarget, *, ahead: int) -> None:
        """A first sign that a question arrived."""

    def open_streaming_reply(
        self, post: PostInfo, target: ReplyTarget, *, again: bool
    ) -> StreamingReply:
        """The message an answer is shown in: the one that stands, where a post has one.

        `again`: an earlier attempt may have left one that it did not come to tell of.
        """

    async def say(self, target: ReplyTarget, reply: Reply) -> str:
        """A message that everyone in the place sees; its id."""

    async def whisper(self, target: ReplyTarget, reply: Reply) -> None:
        """A message for one person's eyes."""

    async def replace(self, target: ReplyTarget, message_id: str, reply: Reply) -> None:
        """Other words in a message of ours."""

    async def remove(self, target: ReplyTarget, message_id: str) -> None:
        """Take a message of ours away; none there is no error."""

    async def nod(self, target: ReplyTarget, message_id: str) -> None:
        """A sign that needs no words."""

    async def search_live(
        self, target: ReplyTarget, question: str, *, all_are_members: bool
    ) -> list[SourceLine]:
        """Messages the platform's own search finds for who asks, where none may be kept; else none.

        `all_are_members`: whoever will see them is a full member of the workspace. None of it is
        stored.
        """

    async def health(self, target: ReplyTarget) -> list[tuple[str, str]]:
        """What there is to tell of the connection to the platform: its parts and their state."""

    async def read_thread(self, target: ReplyTarget) -> list[tuple[str, str]]:
        """Author and text of a thread's messages, oldest first."""
