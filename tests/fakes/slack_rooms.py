"""A Slack bot over a real installation and the fake Slack, with short ways to speak to it."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from slack_sdk.signature import SignatureVerifier

from bots.slack.bot import HttpAnswer, SlackBot, open_slack_bot
from engine.access import gate
from engine.db.tables import Identity, Workspace
from engine.documents import knowledge_bases
from tests.fakes.installations import Installation, open_installation
from tests.fakes.rooms import BACKUP, LEAVE, SALARY
from tests.fakes.slack import FakeSlack, Json, Team, form

SECRET = "signing-secret-of-the-tests"
PUBLIC_URL = "https://kb.example"


class SlackRoom:
    """Ada (admin), Bob and the guest Gus in #help (C1); Ada and Bob in the private #leads (P1).

    `notes` is open to the workspace and to #help, `board` to the linked Ada alone.
    """

    def __init__(self, slack: FakeSlack, notes: Installation, bot: SlackBot, team: Team) -> None:
        self.slack = slack
        self.notes = notes
        self.bot = bot
        self.team = team

    async def drain(self) -> None:
        """Let the answer worker do all its jobs."""
        async with asyncio.timeout(60):
            await self.bot.answer_worker.run(asyncio.Event(), until_idle=True)
        await self.bot.app.aclose()

    async def post(self, body: str, **headers: str) -> HttpAnswer:
        """A signed request to the events path."""
        at = str(int(time.time()))
        kind = "application/json" if body.startswith("{") else "application/x-www-form-urlencoded"
        signature = SignatureVerifier(SECRET).generate_signature(timestamp=at, body=body) or ""
        given = {
            "content-type": kind,
            "x-slack-request-timestamp": at,
            "x-slack-signature": signature,
        } | headers
        return await self.bot.handle(
            "POST", "/slack/events", {k: [v] for k, v in given.items()}, "", body.encode()
        )

    async def event(self, event: Mapping[str, Any], **more: str) -> HttpAnswer:
        """Deliver an event."""
        return await self.post(json.dumps(self.slack.envelope(self.team, event)), **more)

    async def say(self, user: str, text: str, *, channel: str = "C1", **more: Any) -> list[Json]:
        """Someone writes; returns the bot's messages that are new after that."""
        before = {m["ts"] for m in self.slack.shown(self.team, channel)}
        await self.event(self.slack.write(self.team, channel, user, text, **more))
        await self.drain()
        return [m for m in self.slack.shown(self.team, channel) if m["ts"] not in before]

    async def command(
        self, user: str, text: str, *, channel: str = "C1"
    ) -> tuple[HttpAnswer, list[Json]]:
        """A slash command: the acknowledgement, and what came over its response URL."""
        before = len(self.slack.responses)
        answer = await self.post(urlencode(self.slack.command(self.team, user, channel, text)))
        await self.drain()
        return answer, self.slack.responses[before:]

    async def press(
        self, user: str, message: Json, label: str, *, channel: str = "C1"
    ) -> list[Json]:
        """Press a button; what only the presser saw then."""
        before = len(self.slack.responses)
        action = find_action(message, label)
        body = self.slack.press(self.team, user, channel, message, action)
        await self.post(form(body))
        await self.drain()
        return self.slack.responses[before:]

    @property
    def mention(self) -> str:
        """How the bot is called."""
        return f"<@{self.team.bot_user_id}>"


def find_action(message: Json, label: str) -> Json:
    """The element of a message with this label: a button, or a thumb."""
    for block in message["blocks"]:
        for element in block.get("elements", []):
            if element.get("type") == "button" and element["text"]["text"] == label:
                return dict(element)
            if element.get("type") == "feedback_buttons":
                for way in ("positive_button", "negative_button"):
                    if element[way]["text"]["text"] == label:
                        return {**element, "value": element[way]["value"]}
    raise AssertionError(f"no {label!r} in {message['blocks']}")


def said(message: Json) -> str:
    """Everything a message shows."""
    return json.dumps(message, ensure_ascii=False)


@asynccontextmanager
async def open_slack_room(
    home: Path, slack: FakeSlack, **settings: object
) -> AsyncIterator[SlackRoom]:
    """The room, furnished."""
    team = slack.add_team()
    slack.add_user(team, "UADA", is_admin=True)
    slack.add_user(team, "UBOB")
    slack.add_user(team, "UGUS", is_restricted=True)
    slack.add_channel(team, "C1", "help", "UADA", "UBOB", "UGUS")
    slack.add_channel(team, "C2", "team", "UADA", "UBOB")
    slack.add_channel(team, "P1", "leads", "UADA", "UBOB", private=True)
    for user in ("UADA", "UBOB", "UGUS"):
        slack.add_channel(team, f"D{user}", "", user)
    chosen: dict[str, object] = {
        "slack.api_base_url": slack.base_url,
        "slack.bot_token": team.token,
        "slack.signing_secret": SECRET,
        "server.public_url": PUBLIC_URL,
    }
    async with (
        open_installation(home, chosen | settings) as notes,
        open_slack_bot(notes.engine) as bot,
    ):
        await bot.introduce()
        room = SlackRoom(slack, notes, bot, team)
        await _furnish(room)
        yield room


async def _furnish(room: SlackRoom) -> None:
    from engine.chats.sender_rows import SenderRef
    from engine.documents.adding import NewDocument

    engine, owner = room.notes.engine, room.notes.owner
    sender = await engine.chats.senders.meet(SenderRef("slack", room.team.id, "UADA", "C1"))
    async with engine.db.write() as session:
        workspace = gate.workspace_token(sender.workspace_id)
        await knowledge_bases.grant_kb(session, owner, "notes", workspace)
        channel = gate.channel_token(sender.channel_id or "")
        await knowledge_bases.grant_kb(session, owner, "notes", channel)
        (await session.get_one(Identity, sender.identity_id)).user_id = owner.user_id
        assert (await session.get_one(Workspace, sender.workspace_id)).external_id == room.team.id
    await engine.knowledge_bases.create(owner, "board", grants=[f"u:{owner.user_id}"])
    owner = room.notes.owner = await engine.people.owner()
    await room.notes.add(LEAVE, "leave.md", url="https://docs.example/leave")
    await room.notes.add(BACKUP, "backup.md", url="https://docs.example/backup")
    secret = NewDocument(data=SALARY.encode(), filename="salaries.md")
    await engine.documents.add(owner, "board", secret)
    await room.notes.drain()


async def until(condition: Callable[[], object], bound_s: float = 60.0) -> None:
    """Wait for something another task does."""
    async with asyncio.timeout(bound_s):
        while not condition():  # noqa: ASYNC110 (the fake sends no signal)
            await asyncio.sleep(0.01)
