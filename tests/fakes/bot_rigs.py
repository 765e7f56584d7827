"""One way to speak to a bot on any platform, for the stories that hold on all of them.

People are ada (an admin, linked to the owner), bob and gus; places are help, team, leads (closed to
gus), and with a person's own name their direct messages. What a rig can't do its platform can't do;
`CANNOT` in `tests/flows/test_bot_stories.py` says why.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol
from urllib.parse import urlencode

from bots import replies
from bots.discord import tree
from engine.commands.table import parse
from tests.fakes import discord_rooms
from tests.fakes.discord import Interaction, text_of
from tests.fakes.discord_rooms import DiscordRoom
from tests.fakes.slack import form
from tests.fakes.slack_rooms import SlackRoom, said

Json = dict[str, Any]


@dataclass(frozen=True)
class RigReply:
    """What the bot said in reply to something: for all to see, and for one person's eyes."""

    public: str = ""
    private: str = ""
    thread: str = ""
    messages: Sequence[Json] = field(default_factory=list)
    asked: Json = field(default_factory=dict)  # the message that was replied to

    @property
    def text(self) -> str:
        """All of it."""
        return f"{self.public}\n{self.private}".strip()


class Rig(Protocol):
    """What a story does."""

    name: str

    async def say(
        self, who: str, text: str, place: str = "help", *, calls: bool = False, thread: str = ""
    ) -> RigReply:
        """Someone writes; `calls` mentions the bot."""

    async def command(self, who: str, line: str, place: str = "help") -> RigReply:
        """A slash command, as a line of the table."""

    async def press(self, who: str, reply: RigReply, action: str) -> RigReply:
        """Press a button of a reply, by our name for it."""

    async def edit(self, reply: RigReply, text: str) -> RigReply:
        """The question is rewritten."""

    async def delete(self, reply: RigReply) -> None:
        """The question is deleted."""

    async def choose(self, who: str, action: str, asked: Json) -> RigReply:
        """Choose from the menu of a message in #help."""

    async def set_up(self, who: str, **fields: str) -> RigReply:
        """Open the set-up form in #help and send it; nothing where it is not offered."""

    async def explain(self, who: str, reply: RigReply, reason: str, text: str) -> RigReply:
        """A thumb down, and the form that asks why."""

    async def remove_bot(self) -> None:
        """The bot is thrown out of the workspace."""

    def is_shown(self, reply: RigReply) -> bool:
        """Whether a reply is still shown."""


LABELS: Mapping[str, Mapping[str, str]] = {
    "slack": {replies.RATE_UP: "Helpful", replies.RATE_DOWN: "Not helpful"},
    "discord": {replies.RATE_UP: "👍", replies.RATE_DOWN: "👎"},
}
SAME: Mapping[str, str] = {
    replies.CANCEL: "No",
    replies.CONFIRM: "Yes, do it",
    replies.DELETE: "Delete",
    replies.HUMAN: "Ask a human",
    replies.KEEP: "Don't post",
    replies.MORE: "More detail",
    replies.OPEN: "Open [1]",
    replies.POST_ANSWER: "Post it",
    replies.POST_CALL: "Post it",
    replies.PRIVATELY: "Answer me privately",
    replies.RERUN: "Answer again",
    replies.RESOLVED: "Mark resolved",
    replies.SHARE: "Share with channel",
}


class SlackRig:
    """Over the fake Slack."""

    name = "slack"
    _places: Mapping[str, str] = {"help": "C1", "team": "C2", "leads": "P1"}

    def __init__(self, room: SlackRoom) -> None:
        self.room = room
        self.slack, self.team = room.slack, room.team
        self.slack.began_s = int(time.time())  # what is edited is edited soon

    def _channel(self, place: str) -> str:
        return self._places.get(place, f"DU{place.upper()}")

    def _seen(self) -> tuple[set[str], int, int]:
        shown = {m["ts"] for channel in self.team.messages for m in self._shown(channel)}
        return shown, len(self.slack.responses), len(self.slack.ephemerals)

    def _shown(self, channel: str) -> list[Json]:
        return self.slack.shown(self.team, channel)

    def _reply(self, before: tuple[set[str], int, int], asked: Json | None = None) -> RigReply:
        seen, responses, ephemerals = before
        every = (m for channel in list(self.team.messages) for m in self._shown(channel))
        new = [m for m in every if m["ts"] not in seen]
        private = self.slack.responses[responses:] + self.slack.ephemerals[ephemerals:]
        return RigReply(
            public="\n".join(map(said, new)),
            private="\n".join(map(said, private)),
            thread=str(new[0].get("thread_ts", "")) if new else "",
            messages=new or private,
            asked=asked or {},
        )

    async def say(
        self, who: str, text: str, place: str = "help", *, calls: bool = False, thread: str = ""
    ) -> RigReply:
        """See `Rig`."""
        before, channel = self._seen(), self._channel(place)
        more = {"thread_ts": thread} if thread else {}
        words = f"{self.room.mention} {text}" if calls else text
        event = self.slack.write(self.team, channel, f"U{who.upper()}", words, **more)
        await self.room.event(event)
        await self.room.drain()
        return self._reply(before, event)

    async def command(self, who: str, line: str, place: str = "help") -> RigReply:
        """See `Rig`."""
        before = self._seen()
        await self.room.command(f"U{who.upper()}", line, channel=self._channel(place))
        return self._reply(before)

    async def press(self, who: str, reply: RigReply, action: str) -> RigReply:
        """See `Rig`."""
        before = self._seen()
        label = LABELS["slack"].get(action) or SAME[action]
        message = next(message for message in reply.messages if label in said(message))
        channel = str(message.get("channel") or self._channel_of(message))
        await self.room.press(f"U{who.upper()}", message, label, channel=channel)
        return self._reply(before)

    def _channel_of(self, message: Json) -> str:
        for channel in self.team.messages:
            if any(item["ts"] == message.get("ts") for item in self.team.messages[channel]):
                return channel
        return "C1"

    async def edit(self, reply: RigReply, text: str) -> RigReply:
        """See `Rig`."""
        before, asked = self._seen(), reply.asked
        words = f"{self.room.mention} {text}"
        new = {key: asked[key] for key in ("type", "user", "ts", "team")} | {"text": words}
        await self._change(asked, "message_changed", message=new, previous_message=asked)
        return self._reply(before, asked)

    async def delete(self, reply: RigReply) -> None:
        """See `Rig`."""
        asked = reply.asked
        await self._change(asked, "message_deleted", deleted_ts=asked["ts"], previous_message=asked)

    async def _change(self, asked: Json, subtype: str, **more: Any) -> None:
        await self.room.event(
            {
                "type": "message",
                "subtype": subtype,
                "channel": asked["channel"],
                "channel_type": "channel",
                "ts": self.slack.next_ts(),
                **more,
            }
        )
        await self.room.drain()

    async def choose(self, who: str, action: str, asked: Json) -> RigReply:
        """See `Rig`."""
        before = self._seen()
        body = {
            "type": "message_action",
            "callback_id": f"sj:{action}",
            "team": {"id": self.team.id},
            "user": {"id": f"U{who.upper()}"},
            "channel": {"id": "C1"},
            "message": asked,
            "action_ts": self.slack.next_ts(),
            "response_url": self.slack.response_url(),
            "trigger_id": self.slack.trigger(),
        }
        await self.room.post(form(body))
        await self.room.drain()
        return self._reply(before)

    async def set_up(self, who: str, **fields: str) -> RigReply:
        """See `Rig`."""
        before = self._seen()
        said_ = self.slack.command(self.team, f"U{who.upper()}", "C1", "setup")
        await self.room.post(urlencode(said_))
        await self.room.drain()
        return await self._submit(who, before, fields)

    async def explain(self, who: str, reply: RigReply, reason: str, text: str) -> RigReply:
        """See `Rig`."""
        before = self._seen()
        await self.press(who, reply, replies.RATE_DOWN)
        return await self._submit(who, before, {"reason": reason, "text": text})

    async def _submit(
        self, who: str, before: tuple[set[str], int, int], fields: Mapping[str, str]
    ) -> RigReply:
        *_, view = self.slack.views.values()
        if not any(block["type"] == "input" for block in view["blocks"]):
            return RigReply(private=said(view))
        state = {
            name: {name: {"selected_option": {"value": value}, "value": value}}
            for name, value in fields.items()
        }
        body = {
            "type": "view_submission",
            "team": {"id": self.team.id},
            "user": {"id": f"U{who.upper()}"},
            "view": view | {"state": {"values": state}},
        }
        await self.room.post(form(body))
        await self.room.drain()
        return self._reply(before)

    async def remove_bot(self) -> None:
        """See `Rig`."""
        await self.room.event({"type": "app_uninstalled"})
        await self.room.drain()

    def is_shown(self, reply: RigReply) -> bool:
        """See `Rig`."""
        ts = {message["ts"] for message in reply.messages}
        return any(m["ts"] in ts for channel in self.team.messages for m in self._shown(channel))


class DiscordRig:
    """Over the fake Discord."""

    name = "discord"
    _people: Mapping[str, str] = {
        "ada": discord_rooms.ADA,
        "bob": discord_rooms.BOB,
        "gus": discord_rooms.GUS,
    }
    _places: Mapping[str, str] = {
        "help": discord_rooms.HELP,
        "team": discord_rooms.TEAM,
        "leads": discord_rooms.LEADS,
    }

    def __init__(self, room: DiscordRoom) -> None:
        self.room = room
        self.discord = room.discord

    def _channel(self, place: str) -> str:
        return self._places.get(place) or self.discord.dm(self._people[place])

    def _reply(
        self, before: set[str], asked: Json | None = None, used: Interaction | None = None
    ) -> RigReply:
        new = [item for item in self.room.shown() if item["id"] not in before]
        shown = used.shown if used is not None else []
        direct = {str(item["id"]) for item in self.discord.world.dms.values()}
        here = str((asked or {}).get("channel_id", ""))
        whispered = [m for m in new if m["channel_id"] in direct - {here}]
        public = [m for m in new if m not in whispered]
        return RigReply(
            public="\n".join(map(text_of, public)),
            private="\n".join(map(text_of, [*shown, *whispered])),
            thread=str(public[0]["channel_id"]) if public else "",
            messages=public or [*shown, *whispered],
            asked=asked or {},
        )

    def _seen(self) -> set[str]:
        return {item["id"] for item in self.room.shown()}

    async def say(
        self, who: str, text: str, place: str = "help", *, calls: bool = False, thread: str = ""
    ) -> RigReply:
        """See `Rig`."""
        before = self._seen()
        words = f"{self.room.mention} {text}" if calls else text
        channel = thread or self._channel(place)
        asked = self.discord.talk.say(channel, self._people[who], words)
        await self.room.settle()
        return self._reply(before, asked)

    async def command(self, who: str, line: str, place: str = "help") -> RigReply:
        """See `Rig`. Discord's client shows admins' commands to no one else; that is opened here."""
        for item in self.discord.interactions.commands[""]:
            item.pop("default_member_permissions", None)
        before, parsed = self._seen(), parse(line)
        kinds = {parameter.name: parameter for parameter in parsed.command.parameters}
        options = {
            name: self._option(kinds[name].kind, value)
            for name, value in parsed.values.items()
            if value not in {"", ()} and (kinds[name].required or value != kinds[name].default)
        }
        path = tree.path_of(parsed.command).removeprefix("/")
        channel = self._channel(place)
        used = await self.room.slash(self._people[who], path, options, channel=channel)
        return self._reply(before, used=used)

    def _option(self, kind: str, value: Any) -> Any:
        """What the client sends for a word: a channel by its id."""
        if kind in {"channel", "place"}:
            return self._places.get(str(value).removeprefix("#"), value)
        return " ".join(map(str, value)) if isinstance(value, tuple) else value

    async def press(self, who: str, reply: RigReply, action: str) -> RigReply:
        """See `Rig`."""
        before = self._seen()
        label = LABELS["discord"].get(action) or SAME[action]
        message = next(message for message in reply.messages if label in str(message["components"]))
        used = await self.room.press(self._people[who], message, label)
        return self._reply(before, used=used)

    async def edit(self, reply: RigReply, text: str) -> RigReply:
        """See `Rig`."""
        before, asked = self._seen(), reply.asked
        words = f"{self.room.mention} {text}"
        self.discord.talk.edit(asked["channel_id"], asked["id"], words)
        await self.room.settle()
        return self._reply(before, asked)

    async def delete(self, reply: RigReply) -> None:
        """See `Rig`."""
        self.discord.talk.delete(reply.asked["channel_id"], reply.asked["id"])
        await self.room.settle()

    async def choose(self, who: str, action: str, asked: Json) -> RigReply:
        """See `Rig`."""
        before = self._seen()
        name = next(name for name, one in tree.MENUS.items() if one == action)
        used = self.discord.interactions.choose(
            self._people[who], asked["channel_id"], name, asked["id"]
        )
        await self.room.settle()
        return self._reply(before, used=used)

    async def set_up(self, who: str, **fields: str) -> RigReply:
        """See `Rig`."""
        before = self._seen()
        for item in self.discord.interactions.commands[""]:
            item.pop("default_member_permissions", None)
        opened = await self.room.slash(self._people[who], "kb-admin setup")
        return await self._submit(before, opened, fields)

    async def explain(self, who: str, reply: RigReply, reason: str, text: str) -> RigReply:
        """See `Rig`."""
        before = self._seen()
        message = next(message for message in reply.messages if "👎" in str(message["components"]))
        opened = await self.room.press(self._people[who], message, "👎")
        return await self._submit(before, opened, {"reason": reason, "text": text})

    async def _submit(
        self, before: set[str], opened: Interaction, fields: Mapping[str, str]
    ) -> RigReply:
        if opened.modal is None:
            return self._reply(before, used=opened)
        menus = {"kb", "mode", "reason"}
        values = {k: [v] if k in menus else v for k, v in fields.items()}
        sent = self.discord.interactions.submit(opened, **values)
        await self.room.settle()
        return self._reply(before, used=sent)

    async def remove_bot(self) -> None:
        """See `Rig`."""
        self.discord.talk.remove_bot(discord_rooms.GUILD)
        await self.room.settle()

    def is_shown(self, reply: RigReply) -> bool:
        """See `Rig`."""
        return any(message["id"] in self._seen() for message in reply.messages)
