"""A chat platform for tests of the bots' core: it records what is shown, and fails on demand."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

from bots.answer_worker import AnswerWorker
from bots.conversation import InboundMessage, Pressed, Said
from bots.inbound_handler import InboundHandler
from bots.platform import ReplyTarget
from bots.replies import Reply, SourceLine
from engine.chats.post_rows import PostInfo
from engine.chats.sender_rows import Person, Sender, SenderRef
from engine.engine import Engine

TEAM = "T1"


@dataclass
class Shown:
    """A message of the bot. `whom` is set where one person alone sees it."""

    channel: str
    thread: str
    reply: Reply
    whom: str = ""
    grown: list[str] = field(default_factory=list)
    id: str = ""


class FakeChat:
    """The port, over a list of messages. `trouble` holds what the next calls raise."""

    name = "fake"
    command = "/kb"

    def __init__(self) -> None:
        self.shown: list[Shown] = []
        self.removed: list[str] = []
        self.nods: list[str] = []
        self.seen: list[int] = []
        self.steps: list[str] = []
        self.trouble: list[Exception] = []
        self.thread: list[tuple[str, str]] = []

    def _fail(self) -> None:
        if self.trouble:
            raise self.trouble.pop(0)

    async def learn(self, target: ReplyTarget) -> None:
        """Tests say what is known."""

    async def show_seen(self, target: ReplyTarget, *, ahead: int) -> None:
        """Keep that it was shown."""
        self.seen.append(ahead)

    def open_streaming_reply(
        self, post: PostInfo, target: ReplyTarget, *, again: bool
    ) -> FakeStreamingReply:
        """A streaming reply whose message is recorded when it is finished."""
        return FakeStreamingReply(self, post, target)

    async def say(self, target: ReplyTarget, reply: Reply) -> str:
        """Keep it."""
        self._fail()
        self.shown.append(Shown(target.channel, target.thread, reply, id=f"m{len(self.shown)}"))
        return self.shown[-1].id

    async def whisper(self, target: ReplyTarget, reply: Reply) -> None:
        """Keep it, with whose it is."""
        self._fail()
        self.shown.append(Shown(target.channel, target.thread, reply, whom=target.person))

    async def replace(self, target: ReplyTarget, message_id: str, reply: Reply) -> None:
        """Keep the new words."""
        self.shown.append(Shown(target.channel, target.thread, reply, id=message_id))

    async def remove(self, target: ReplyTarget, message_id: str) -> None:
        """Keep that it went."""
        self.removed.append(message_id)

    async def nod(self, target: ReplyTarget, message_id: str) -> None:
        """Keep that it was seen."""
        self.nods.append(message_id)

    async def search_live(
        self, target: ReplyTarget, question: str, *, all_are_members: bool
    ) -> list[SourceLine]:
        """There is none."""
        return []

    async def health(self, target: ReplyTarget) -> list[tuple[str, str]]:
        """Everything works here."""
        return [("fake", "well")]

    async def read_thread(self, target: ReplyTarget) -> list[tuple[str, str]]:
        """What the test put there."""
        return self.thread

    @property
    def last(self) -> Shown:
        """What was shown last."""
        return self.shown[-1]

    def texts(self, whom: str | None = None) -> list[str]:
        """The texts shown, of one person's eyes or of all."""
        return [item.reply.text for item in self.shown if whom is None or item.whom == whom]


class FakeStreamingReply:
    """See `FakeChat`."""

    def __init__(self, chat: FakeChat, post: PostInfo, target: ReplyTarget) -> None:
        self._chat = chat
        self._post = post
        self._target = target
        self._grown: list[str] = []

    async def step(self, title: str) -> None:
        """Keep it."""
        self._chat.steps.append(title)

    async def grow(self, text: str) -> None:
        """Keep it."""
        self._grown.append(text)

    async def finish(self, reply: Reply) -> str:
        """Keep it."""
        self._chat._fail()
        whom = self._target.person if self._post.surface == "private" else ""
        shown = Shown(self._target.channel, self._target.thread, reply, whom, self._grown)
        shown.id = f"m{len(self._chat.shown)}"
        self._chat.shown.append(shown)
        return shown.id

    async def abandon(self) -> None:
        """Keep that it went."""
        self._chat.removed.append("abandoned")


class Room:
    """A workspace with people and channels, an answer worker, and short ways to say things in it."""

    def __init__(self, engine: Engine, tenant_id: str, *, team: str = TEAM) -> None:
        self.engine = engine
        self.tenant_id = tenant_id
        self.team = team
        self.chat = FakeChat()
        self.answer_worker = AnswerWorker(engine, {"fake": self.chat})
        self.inbound_handler = InboundHandler(engine, self.answer_worker.wake)
        self.messages = 0

    async def open(self) -> Room:
        """Bind the workspace."""
        await self.engine.chats.installations.bind_workspace(
            self.tenant_id, "fake", self.team, "Acme"
        )
        return self

    async def person(self, name: str, *, full: bool = True, admin: bool = False) -> Sender:
        """Someone with an account there."""
        sender = await self.engine.chats.senders.meet(SenderRef("fake", self.team, name))
        await self.engine.chats.senders.learn_person(sender, Person(name.capitalize(), full, admin))
        return sender

    async def drain(self) -> None:
        """Let the answer worker do all its jobs."""
        async with asyncio.timeout(60):
            await self.answer_worker.run(asyncio.Event(), until_idle=True)

    async def say(
        self,
        text: str,
        *,
        by: str = "ada",
        channel: str = "C1",
        thread: str = "",
        **more: object,
    ) -> Sequence[Shown]:
        """Write a message and let the bot react; what it showed then."""
        before = len(self.chat.shown)
        await self.inbound_handler.message(self.inbound(text, by, channel, thread, **more))
        await self.drain()
        return self.chat.shown[before:]

    def inbound(
        self, text: str, by: str = "ada", channel: str = "C1", thread: str = "", **more: object
    ) -> InboundMessage:
        """A message; one that begins with @bot calls the bot."""
        self.messages += 1
        calls = text.startswith("@bot")
        values: dict[str, object] = {
            "platform": "fake",
            "workspace": self.team,
            "channel": channel,
            "place": "direct" if channel.startswith("D") else "channel",
            "message_id": f"q{self.messages}",
            "author": by,
            "text": text.removeprefix("@bot").strip(),
            "thread": thread,
            "calls_bot": calls,
        }
        return InboundMessage(**(values | more))  # type: ignore[arg-type]

    async def command(self, line: str, *, by: str = "ada", channel: str = "C1") -> str:
        """Say a slash command; the text of what came of it."""
        before = len(self.chat.shown)
        place = "direct" if channel.startswith("D") else "channel"
        await self.inbound_handler.said(Said("fake", self.team, channel, by, line, place=place))  # type: ignore[arg-type]
        await self.drain()
        return "\n".join(item.reply.text for item in self.chat.shown[before:])

    async def press(
        self, label: str, *, by: str = "ada", on: Shown | None = None, **details: str
    ) -> Sequence[Shown]:
        """Press a button of a message, by its label or action; what was shown then."""
        shown = on or self.chat.last
        action, value = _button(shown.reply, label)
        before = len(self.chat.shown)
        await self.inbound_handler.pressed(
            Pressed(
                "fake",
                self.team,
                shown.channel,
                by,
                action,
                value,
                message_id=shown.id,
                thread=shown.thread,
                place="direct" if shown.channel.startswith("D") else "channel",
                details=details,
            )
        )
        await self.drain()
        return self.chat.shown[before:]


def _button(reply: Reply, label: str) -> tuple[str, str]:
    if label in {"rate_up", "rate_down"}:
        return label, reply.rated
    for button in reply.buttons:
        if button.label == label:
            return button.action, button.value
    raise AssertionError(f"no button {label!r} among {[b.label for b in reply.buttons]}")
