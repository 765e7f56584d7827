"""The platform port over Slack, for every workspace the app is installed in."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Mapping
from typing import Any

from bots.platform import ReplyTarget, Undelivered
from bots.replies import Reply, SourceLine, one_line, queued, quote
from bots.slack import markup
from bots.slack.client import SlackApi, SlackTrouble
from bots.slack.delivery import THREAD_MESSAGES, SlackDelivery
from bots.slack.payloads import NAME
from bots.slack.streaming import SlackStreamingReply
from engine import clock
from engine.chats.post_rows import PostInfo
from engine.chats.sender_rows import Person
from engine.chats.slack_messages import is_external, is_full_member, shared_with
from engine.engine import Engine

log = logging.getLogger(__name__)

MEMBERS_PAGE, MEMBERS_PAGES = 1000, 20
ONE_BY_ONE = 30  # unknown people; more are read from the workspace's list
LIVE_SOURCES = 5


class SlackPlatform:
    """What the answer worker and interactions use."""

    name = NAME

    def __init__(self, engine: Engine, api: SlackApi) -> None:
        self._engine = engine
        self.api = api
        self.command = engine.settings.slack.command
        self.delivery = SlackDelivery(engine, api)
        self.connection: Callable[[], str] = lambda: "events come over HTTP"

    # What is known of people and channels

    async def learn(self, target: ReplyTarget) -> None:
        """Ask Slack about the person and the channel, if that was last done over a day ago."""
        stale = await self._engine.chats.senders.stale(target.sender)
        with contextlib.suppress(SlackTrouble):
            if stale.person:
                person = await self.person(target)
                if person is not None:
                    await self._engine.chats.senders.learn_person(target.sender, person)
        if stale.channel and target.sender.channel_id is not None:
            try:
                await self.learn_channel(target)
            except SlackTrouble as trouble:
                log.warning("a channel's members are unknown: %s", trouble)

    async def person(self, target: ReplyTarget) -> Person | None:
        """What Slack says of the person who wrote."""
        found = await self.delivery.call(target.sender, "users.info", user=target.person)
        return read_person(found.get("user") or {}, target.workspace)

    async def learn_channel(self, target: ReplyTarget) -> None:
        """A channel's name, whether it is public, and all of its people."""
        sender, channel, asked_at = target.sender, target.channel, clock.now()
        info = (await self.delivery.call(sender, "conversations.info", channel=channel)).get(
            "channel"
        ) or {}
        members = await self._members(target)
        if members is None:
            return
        unknown = await self._engine.chats.senders.unknown_people(sender, members)
        people = await self._people(target, unknown)
        await self._engine.chats.senders.learn_channel(
            sender,
            name=str(info.get("name") or channel),
            is_public=bool(info.get("is_channel")) and not info.get("is_private"),
            members=members,
            people={id_: person for id_, person in people.items() if person is not None},
            bots=[id_ for id_, person in people.items() if person is None],
            shared=shared_with(info, target.workspace),
            asked_at=asked_at,
        )

    async def _members(self, target: ReplyTarget) -> list[str] | None:
        """Everyone in a channel, or None where they are too many to know them all."""
        members: list[str] = []
        cursor = ""
        for _ in range(MEMBERS_PAGES):
            page = await self.delivery.call(
                target.sender,
                "conversations.members",
                channel=target.channel,
                limit=MEMBERS_PAGE,
                cursor=cursor or None,
            )
            members += page.get("members") or []
            cursor = (page.get("response_metadata") or {}).get("next_cursor") or ""
            if not cursor:
                return members
        log.warning("a channel has more members than can be known")
        return None

    async def _people(self, target: ReplyTarget, wanted: list[str]) -> dict[str, Person | None]:
        """What Slack says of each; None for bots."""
        found: dict[str, Person | None] = {}
        cursor = ""
        while len(wanted) > ONE_BY_ONE:
            page = await self.delivery.call(
                target.sender,
                "users.list",
                limit=200,
                cursor=cursor or None,
                team_id=target.workspace,
            )
            for user in page.get("members") or []:
                if user.get("id") in wanted:
                    found[user["id"]] = read_person(user, target.workspace)
            cursor = (page.get("response_metadata") or {}).get("next_cursor") or ""
            if not cursor:
                break
        for id_ in wanted:
            if id_ not in found:  # people of other organisations are in no list
                found[id_] = await self._anyone(target, id_)
        return found

    async def _anyone(self, target: ReplyTarget, id_: str) -> Person | None:
        """What Slack says of an account; of one that it does not show us, that it is external."""
        try:
            found = await self.delivery.call(target.sender, "users.info", user=id_)
        except SlackTrouble as trouble:
            if trouble.code not in {"user_not_found", "user_not_visible"}:
                raise
            return Person(id_, is_full_member=False, is_external=True)
        return read_person(found.get("user") or {}, target.workspace)

    # Sending

    async def show_seen(self, target: ReplyTarget, *, ahead: int) -> None:
        """Eyes on the question, and a status where the answer will be."""
        if target.message_id and not target.is_direct:
            with contextlib.suppress(SlackTrouble):
                await self.delivery.call(
                    target.sender,
                    "reactions.add",
                    channel=target.channel,
                    timestamp=target.message_id,
                    name="eyes",
                )
        if target.thread and (target.is_direct or ahead):
            status = queued(ahead) if ahead else "is looking it up…"
            await self.delivery.call(
                target.sender,
                "assistant.threads.setStatus",
                channel_id=target.channel,
                thread_ts=target.thread,
                status=status,
            )

    def open_streaming_reply(
        self, post: PostInfo, target: ReplyTarget, *, again: bool
    ) -> SlackStreamingReply:
        """The message of an answer."""
        return SlackStreamingReply(self.delivery, self._engine, post, target, again=again)

    async def say(self, target: ReplyTarget, reply: Reply) -> str:
        """A message in the thread."""
        return await self.delivery.say(target, reply)

    async def whisper(self, target: ReplyTarget, reply: Reply) -> None:
        """Where the person pressed or typed, else in the channel."""
        await self.delivery.whisper(target, reply)

    async def replace(self, target: ReplyTarget, message_id: str, reply: Reply) -> None:
        """Replace the content of a message of ours."""
        await self.delivery.edit(target, message_id, reply)

    async def remove(self, target: ReplyTarget, message_id: str) -> None:
        """Delete a message of ours."""
        await self.delivery.remove(target, message_id)

    async def nod(self, target: ReplyTarget, message_id: str) -> None:
        """A reaction."""
        with contextlib.suppress(SlackTrouble):
            await self.delivery.call(
                target.sender,
                "reactions.add",
                channel=target.channel,
                timestamp=message_id,
                name="slightly_smiling_face",
            )

    async def search_live(
        self, target: ReplyTarget, question: str, *, all_are_members: bool
    ) -> list[SourceLine]:
        """Slack's Real-Time Search, where the app may not store messages.

        It returns what the person who asks may read, and only with the token of their event. It
        searches public channels, which every full member may read, so only those are shown it.
        """
        token = target.details.get("action_token", "")
        installed = await self.delivery.installed(target.sender)
        if installed.reading != "live" or not token or not all_are_members:
            return []
        answer = await self.delivery.call(
            target.sender,
            "assistant.search.context",
            query=question[:500],
            action_token=token,
            channel_types=["public_channel"],
            content_types=["messages"],
            limit=LIVE_SOURCES,
        )
        return read_found(answer)

    async def health(self, target: ReplyTarget) -> list[tuple[str, str]]:
        """Token, scopes, connection, and whether the members of the channel are known."""
        rows = [("Slack", "well"), ("events", self.connection())]
        try:
            installed = await self.delivery.installed(target.sender)
            await self.api.call(installed.token, "auth.test")
        except Undelivered as trouble:
            rows[0] = ("Slack", str(trouble))
        if scopes := self.missing_scopes():
            rows.append(("scopes", f"missing: {', '.join(scopes)}; install the app again"))
        if target.sender.channel_id is not None:
            stale = await self._engine.chats.senders.stale(target.sender)
            known = "I'll ask Slack at the next question" if stale.channel else "known"
            rows.append(("who is in this channel", known))
        return rows

    def missing_scopes(self) -> list[str]:
        """The scopes Slack has asked for since the start, and those that only the manifest has."""
        return sorted({s for needed in self.api.missing.values() for s in needed.split(",") if s})

    async def read_thread(self, target: ReplyTarget) -> list[tuple[str, str]]:
        """Author and text of a thread, with names where they are known."""
        page = await self.delivery.call(
            target.sender,
            "conversations.replies",
            channel=target.channel,
            ts=target.thread,
            limit=THREAD_MESSAGES,
        )
        messages = [m for m in page.get("messages") or [] if m.get("text")]
        subjects = {str(m.get("user", "")) for m in messages}
        names = await self._engine.chats.senders.names_of(target.sender, subjects)
        said = []
        for message in messages:
            text, _, _ = markup.read_text(str(message["text"]))
            user = str(message.get("user", ""))
            said.append((names.get(user) or message.get("username") or user or "someone", text))
        return said


def read_found(answer: Mapping[str, Any]) -> list[SourceLine]:
    """The messages of `assistant.search.context`, as sources; what has no link is left out."""
    results = answer.get("results")
    messages = results.get("messages") if isinstance(results, Mapping) else None
    found: list[SourceLine] = []
    for message in messages or []:
        url = str(message.get("permalink") or "")
        words, _, _ = markup.read_text(str(message.get("content") or message.get("text") or ""))
        if not url.startswith("https://") or message.get("is_author_bot"):
            continue
        author = one_line(str(message.get("author_name") or ""))
        title = f"#{message.get('channel_name') or 'channel'}"
        detail = " · ".join(filter(None, [author, f"“{quote(words)}”" if words else ""]))
        found.append(SourceLine(len(found) + 1, one_line(title), url, detail))
    return found[:LIVE_SOURCES]


def read_person(user: Mapping[str, Any], team_id: str) -> Person | None:
    """What `users.info` says of a person, in doubt not a full member; None for a bot."""
    if user.get("is_bot") or user.get("id") == "USLACKBOT":
        return None
    profile = user.get("profile") or {}
    name = (
        profile.get("display_name") or user.get("real_name") or user.get("name") or user.get("id")
    )
    return Person(
        name=str(name or ""),
        # An account without a team is of none that we know.
        is_full_member=bool(user.get("team_id")) and is_full_member(user, team_id),
        is_external=is_external(user, team_id),
        is_admin=bool(user.get("is_admin") or user.get("is_owner")),
    )
