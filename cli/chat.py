"""`scrubjay chat`: the bot in the terminal, with the same decisions, commands and replies.

`--as channel` plays a channel that all members of the tenant are in, where the bot answers if it is
mentioned; `--as dm` a direct message. Lines are read until the input ends, so a file works as well.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
import textwrap
from datetime import timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from cli.context import opened, run

if TYPE_CHECKING:
    from bots.answer_worker import AnswerWorker
    from bots.inbound_handler import InboundHandler
    from bots.platform import ReplyTarget
    from bots.replies import Button, Reply, SourceLine
    from engine.chats.post_rows import PostInfo

COMMAND = "/kb"
CHANNEL = "general"
HINT = {
    "channel": "You are in #general with everyone. Type `@bot …` to ask, `> …` to reply in the "
    "last thread, `/kb help` for commands, a button's number to press it, Ctrl-D to leave.",
    "dm": "You are in a direct message with the bot; only you see its answers. `/kb help` lists "
    "commands, a button's number presses it, Ctrl-D leaves.",
}


class Seat(StrEnum):
    """Where you talk to the bot."""

    CHANNEL = "channel"
    DM = "dm"


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    app.command()(chat)


def chat(
    ctx: typer.Context,
    seat: Annotated[
        Seat,
        typer.Option("--as", metavar="PLACE", help="Where you talk to the bot: channel or dm."),
    ] = Seat.DM,
    user: Annotated[str, typer.Option(metavar="USER", help="Run as another user.")] = "",
) -> None:
    """Talk to the chat bot in the terminal, as in a channel or a direct message."""
    run(_chat(ctx, seat, user))


async def _chat(ctx: typer.Context, seat: Seat, user: str) -> None:
    async with opened(ctx, user) as (engine, principal):
        from bots.answer_worker import AnswerWorker
        from bots.inbound_handler import InboundHandler
        from engine.locks import hold

        channel = CHANNEL if seat is Seat.CHANNEL else ""
        seen, _ = await engine.chats.senders.open_terminal(principal, channel)
        with hold(engine.settings.home, "chat", "scrubjay chat"):
            terminal = Terminal(people={seen.person: principal.name})
            answer_worker = AnswerWorker(engine, {terminal.name: terminal})
            talk = Talk(seen.workspace, seen.person, channel, terminal, answer_worker)
            talk.inbound_handler = InboundHandler(engine, answer_worker.wake)
            if sys.stdin.isatty():
                typer.echo(HINT[seat.value] + "\n", err=True)
            await talk.run()


class Terminal:
    """The platform of one terminal: messages are printed, buttons are numbered."""

    name = "terminal"
    command = COMMAND

    def __init__(self, people: dict[str, str]) -> None:
        self.people = people
        self.buttons: list[tuple[Button, ReplyTarget]] = []
        self.messages = 0
        self.log: list[tuple[str, str, str]] = []  # thread, author, text
        self.thread = ""

    def next_id(self) -> str:
        """The id of one more message."""
        self.messages += 1
        return str(self.messages)

    async def learn(self, target: ReplyTarget) -> None:
        """Everything is known."""

    async def show_seen(self, target: ReplyTarget, *, ahead: int) -> None:
        """The answer follows at once."""

    def open_streaming_reply(
        self, post: PostInfo, target: ReplyTarget, *, again: bool
    ) -> TerminalPage:
        """A message that is printed when it is complete."""
        del again
        return TerminalPage(self, target, is_private=post.surface == "private")

    async def say(self, target: ReplyTarget, reply: Reply) -> str:
        """Print it."""
        self.show(target, reply)
        self.thread = target.thread or self.thread
        self.log.append((target.thread, "Scrubjay", reply.text))
        return self.next_id()

    async def whisper(self, target: ReplyTarget, reply: Reply) -> None:
        """Print it, marked as for one person."""
        self.show(target, reply, mark="(only you see this) " if not target.is_direct else "")

    async def replace(self, target: ReplyTarget, message_id: str, reply: Reply) -> None:
        """What was printed stays: the new text follows."""
        del message_id
        self.show(target, reply)

    async def remove(self, target: ReplyTarget, message_id: str) -> None:
        """What was printed stays: say that it is gone."""
        del target, message_id
        _echo("(the answer is deleted)\n")

    async def nod(self, target: ReplyTarget, message_id: str) -> None:
        """A reaction."""
        del target, message_id
        _echo("(reacts with 🙂)\n")

    async def search_live(
        self, target: ReplyTarget, question: str, *, all_are_members: bool
    ) -> list[SourceLine]:
        """There is none."""
        del target, question, all_are_members
        return []

    async def health(self, target: ReplyTarget) -> list[tuple[str, str]]:
        """There is no connection that could be down."""
        del target
        return []

    async def read_thread(self, target: ReplyTarget) -> list[tuple[str, str]]:
        """What was said in a thread here."""
        return [(author, text) for thread, author, text in self.log if thread == target.thread]

    def show(self, target: ReplyTarget, reply: Reply, *, mark: str = "") -> None:
        """Print a reply; its buttons are the ones that can be pressed from now on."""
        self.buttons = [(button, target) for button in _buttons(reply)]
        _echo(render_reply(reply, mark=mark) + "\n")


class TerminalPage:
    """An answer on its way to the terminal."""

    def __init__(self, terminal: Terminal, target: ReplyTarget, *, is_private: bool) -> None:
        self._terminal = terminal
        self._target = target
        self._is_private = is_private

    async def step(self, title: str) -> None:
        """Progress goes where progress goes."""
        if sys.stderr.isatty():
            typer.echo(f"… {title}", err=True)

    async def grow(self, text: str) -> None:
        """Printed when it is checked."""

    async def finish(self, reply: Reply) -> str:
        """Print it."""
        if self._is_private:
            await self._terminal.whisper(self._target, reply)
            return ""
        return await self._terminal.say(self._target, reply)

    async def abandon(self) -> None:
        """Nothing was printed."""


class Talk:
    """Reads lines and hands them to the bot, one at a time."""

    inbound_handler: InboundHandler

    def __init__(
        self,
        workspace: str,
        person: str,
        channel: str,
        terminal: Terminal,
        answer_worker: AnswerWorker,
    ) -> None:
        self._workspace = workspace
        self._person = person
        self._channel = channel
        self._terminal = terminal
        self._answer_worker = answer_worker

    async def run(self) -> None:
        """Until the input ends."""
        while True:
            line = await asyncio.to_thread(_read_line)
            if line is None:
                return
            if line.strip():
                await self._say(line.strip())
                await self._answer_worker.run(asyncio.Event(), until_idle=True)

    async def _say(self, line: str) -> None:
        from bots.conversation import InboundMessage, Said

        place = "channel" if self._channel else "direct"
        if line.isdecimal() and 0 < int(line) <= len(self._terminal.buttons):
            await self._press(int(line))
        elif line == COMMAND or line.startswith(COMMAND + " "):
            said = Said(
                "terminal",
                self._workspace,
                self._channel or self._person,
                self._person,
                line.removeprefix(COMMAND).strip(),
                place=place,  # type: ignore[arg-type]
            )
            await self.inbound_handler.said(said)
        else:
            text, calls = line, False
            thread = ""
            if line.startswith(">"):
                text, thread = line[1:].strip(), self._terminal.thread
            for name in ("@bot", "@scrubjay"):
                if text.lower().startswith(name):
                    text, calls = text[len(name) :].strip(), True
            message_id = self._terminal.next_id()
            root = thread or message_id
            author = self._terminal.people[self._person]
            self._terminal.log.append((root, author, text))
            message = InboundMessage(
                "terminal",
                self._workspace,
                self._channel or self._person,
                place,  # type: ignore[arg-type]
                # Of this session: another one's first message is another message.
                f"{self._answer_worker.id}-{message_id}",
                self._person,
                text,
                thread=thread,
                calls_bot=calls,
                age=timedelta(0),
            )
            decision, _ = await self.inbound_handler.message(message)
            if type(decision).__name__ == "Ignore":
                _echo("(the bot stays silent)\n")

    async def _press(self, number: int) -> None:
        from bots.conversation import Pressed

        button, target = self._terminal.buttons[number - 1]
        details: dict[str, str] = {}
        await self.inbound_handler.pressed(
            Pressed(
                "terminal",
                target.workspace,
                target.channel,
                self._person,
                button.action,
                button.value,
                thread=target.thread,
                message_id=target.message_id,
                place="direct" if target.is_direct else "channel",
                details=details,
            )
        )


def _read_line() -> str | None:
    if sys.stdin.isatty():
        with contextlib.suppress(EOFError):
            return input("you: ")
        return None
    line = sys.stdin.readline()
    if not line:
        return None
    typer.echo(f"you: {line.rstrip()}")
    return line


def _echo(text: str) -> None:
    from cli.render import plain

    typer.echo(plain(text))


def _buttons(reply: Reply) -> list[Button]:
    from bots import replies
    from bots.replies import Button

    buttons = list(reply.buttons)
    if reply.rated:
        buttons[:0] = [
            Button(replies.RATE_UP, "👍", reply.rated),
            Button(replies.RATE_DOWN, "👎", reply.rated),
        ]
    return buttons


def render_reply(reply: Reply, *, mark: str = "", width: int = 80) -> str:
    """A reply as a terminal shows it: text, table, sources, buttons with their numbers."""
    from cli.render import table

    lines = [textwrap.fill(line, width) for line in f"{mark}{reply.text}".split("\n")]
    if reply.rows:
        lines += ["", table(reply.columns, reply.rows, width=width).plain.rstrip()]
    if reply.sources:
        lines.append("")
    for source in reply.sources:
        lines.append(f"  [{source.n}] " + " · ".join(filter(None, [source.title, source.detail])))
        if source.url:
            lines.append(f"      {source.url}")
    if reply.calls:
        lines.append("calls " + ", ".join(reply.calls))
    if reply.note:
        lines += ["", f"({reply.note})"]
    buttons = [f"[{n}] {button.label}" for n, button in enumerate(_buttons(reply), start=1)]
    if buttons:
        lines += ["", "  ".join(buttons)]
    return "bot: " + "\n".join(lines).strip() + "\n"
