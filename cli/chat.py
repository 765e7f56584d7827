"""`scrubjay chat`: the bot in the terminal, through the same decisions, commands and replies.

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
    from bots.desk import Desk
    from bots.platform import Spot
    from bots.reception import Reception
    from bots.replies import Button, Reply, Source
    from engine.chats.post_rows import PostInfo

COMMAND = "/kb"
CHANNEL = "general"
HINT = {
    "channel": "You are in #general with everyone. Write `@bot …` to ask, `> …` to reply in the"
    " last thread, `/kb help` for commands, a button's number to press it, Ctrl-D to leave.",
    "dm": "You write to the bot directly; only you see its answers. `/kb help` lists commands, a"
    " button's number presses it, Ctrl-D leaves.",
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
        Seat, typer.Option("--as", metavar="PLACE", help="Where you talk to it: channel or dm.")
    ] = Seat.DM,
    user: Annotated[str, typer.Option(metavar="USER", help="Be another user.")] = "",
) -> None:
    """Talk to the chat bot here, as in a channel or a direct message."""
    run(_chat(ctx, seat, user))


async def _chat(ctx: typer.Context, seat: Seat, user: str) -> None:
    async with opened(ctx, user) as (engine, principal):
        from bots.desk import Desk
        from bots.reception import Reception
        from engine.locks import hold

        channel = CHANNEL if seat is Seat.CHANNEL else ""
        seen, _ = await engine.chats.senders.open_terminal(principal, channel)
        with hold(engine.settings.home, "chat", "scrubjay chat"):
            terminal = Terminal(people={seen.person: principal.name})
            desk = Desk(engine, {terminal.name: terminal})
            talk = Talk(seen.workspace, seen.person, channel, terminal, desk)
            talk.reception = Reception(engine, desk.wake)
            if sys.stdin.isatty():
                typer.echo(HINT[seat.value] + "\n", err=True)
            await talk.run()


class Terminal:
    """The platform of one terminal: what is said is printed, buttons are numbered."""

    name = "terminal"
    command = COMMAND

    def __init__(self, people: dict[str, str]) -> None:
        self.people = people
        self.buttons: list[tuple[Button, Spot]] = []
        self.messages = 0
        self.log: list[tuple[str, str, str]] = []  # thread, author, text
        self.thread = ""

    def next_id(self) -> str:
        """The id of one more message."""
        self.messages += 1
        return str(self.messages)

    async def learn(self, spot: Spot) -> None:
        """Everything is known."""

    async def show_seen(self, spot: Spot, *, ahead: int) -> None:
        """The answer follows at once."""

    def open_screen(self, post: PostInfo, spot: Spot, *, again: bool) -> Page:
        """A message that is printed when it is complete."""
        del again
        return Page(self, spot, is_private=post.surface == "private")

    async def say(self, spot: Spot, reply: Reply) -> str:
        """Print it."""
        self.show(spot, reply)
        self.thread = spot.thread or self.thread
        self.log.append((spot.thread, "Scrubjay", reply.text))
        return self.next_id()

    async def whisper(self, spot: Spot, reply: Reply) -> None:
        """Print it, marked as for one person."""
        self.show(spot, reply, mark="(only you see this) " if not spot.is_direct else "")

    async def replace(self, spot: Spot, message_id: str, reply: Reply) -> None:
        """What was printed stays: the new words follow."""
        del message_id
        self.show(spot, reply)

    async def remove(self, spot: Spot, message_id: str) -> None:
        """What was printed stays: say that it is gone."""
        del spot, message_id
        _echo("(the answer is deleted)\n")

    async def nod(self, spot: Spot, message_id: str) -> None:
        """A reaction."""
        del spot, message_id
        _echo("(reacts with 🙂)\n")

    async def search_live(
        self, spot: Spot, question: str, *, all_are_members: bool
    ) -> list[Source]:
        """There is none."""
        del spot, question, all_are_members
        return []

    async def health(self, spot: Spot) -> list[tuple[str, str]]:
        """There is no connection that could be down."""
        del spot
        return []

    async def read_thread(self, spot: Spot) -> list[tuple[str, str]]:
        """What was said in a thread here."""
        return [(author, text) for thread, author, text in self.log if thread == spot.thread]

    def show(self, spot: Spot, reply: Reply, *, mark: str = "") -> None:
        """Print a reply; its buttons are the ones that can be pressed from now on."""
        self.buttons = [(button, spot) for button in _buttons(reply)]
        _echo(render_reply(reply, mark=mark) + "\n")


class Page:
    """An answer on its way to the terminal."""

    def __init__(self, terminal: Terminal, spot: Spot, *, is_private: bool) -> None:
        self._terminal = terminal
        self._spot = spot
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
            await self._terminal.whisper(self._spot, reply)
            return ""
        return await self._terminal.say(self._spot, reply)

    async def abandon(self) -> None:
        """Nothing was printed."""


class Talk:
    """Reads lines and hands them to the bot, one at a time."""

    reception: Reception

    def __init__(
        self, workspace: str, person: str, channel: str, terminal: Terminal, desk: Desk
    ) -> None:
        self._workspace = workspace
        self._person = person
        self._channel = channel
        self._terminal = terminal
        self._desk = desk

    async def run(self) -> None:
        """Until the input ends."""
        while True:
            line = await asyncio.to_thread(_read_line)
            if line is None:
                return
            if line.strip():
                await self._say(line.strip())
                await self._desk.run(asyncio.Event(), until_idle=True)

    async def _say(self, line: str) -> None:
        from bots.conversation import Inbound, Said

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
            await self.reception.said(said)
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
            message = Inbound(
                "terminal",
                self._workspace,
                self._channel or self._person,
                place,  # type: ignore[arg-type]
                # Of this session: another one's first message is another message.
                f"{self._desk.id}-{message_id}",
                self._person,
                text,
                thread=thread,
                calls_bot=calls,
                age=timedelta(0),
            )
            decision, _ = await self.reception.message(message)
            if type(decision).__name__ == "Ignore":
                _echo("(the bot stays silent)\n")

    async def _press(self, number: int) -> None:
        from bots.conversation import Pressed

        button, spot = self._terminal.buttons[number - 1]
        details: dict[str, str] = {}
        await self.reception.pressed(
            Pressed(
                "terminal",
                spot.workspace,
                spot.channel,
                self._person,
                button.action,
                button.value,
                thread=spot.thread,
                message_id=spot.message_id,
                place="direct" if spot.is_direct else "channel",
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
        lines += ["", table(reply.heads, reply.rows, width=width).plain.rstrip()]
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
