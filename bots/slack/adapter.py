"""The platform port over Slack, for every workspace the app is installed in."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from bots.platform import Spot, Undelivered
from bots.replies import Reply, Source, one_line, queued, quote
from bots.slack import blocks, markup
from bots.slack.client import REVOKED, SlackApi, SlackTrouble
from bots.slack.screen import BLOCKS_REFUSED, SlackScreen, metadata, whisper
from engine import clock
from engine.chats.installation_rows import Installed
from engine.chats.post_rows import PostInfo
from engine.chats.sender_rows import Met, Person
from engine.engine import Engine
from engine.errors import NotFound

log = logging.getLogger(__name__)

MEMBERS_PAGE, MEMBERS_PAGES = 1000, 20
ONE_BY_ONE = 30  # unknown people; more are read from the workspace's list
THREAD_MESSAGES = 100
LIVE_SOURCES = 5
CACHED_S = 30.0  # how long an installation is remembered: a new token is picked up after that


class SlackPlatform:
    """What the desk speaks through."""

    name = "slack"

    def __init__(self, engine: Engine, api: SlackApi) -> None:
        self._engine = engine
        self.api = api
        self.command = engine.settings.slack.command
        self._known: dict[str, tuple[float, Installed]] = {}
        self.connection: Callable[[], str] = lambda: "events come over HTTP"

    async def installed(self, met: Met) -> Installed:
        """The installation that speaks in a workspace; `Undelivered` where there is none any more."""
        known = self._known.get(met.workspace_id)
        if known is not None and time.monotonic() - known[0] < CACHED_S:
            return known[1]
        try:
            found = await self._engine.chats.installations.of(met)
        except NotFound as error:
            raise Undelivered(str(error)) from None
        self._known[met.workspace_id] = (time.monotonic(), found)
        return found

    def forget(self) -> None:
        """An installation changed."""
        self._known.clear()

    async def call(self, met: Met, method: str, **arguments: Any) -> dict[str, Any]:  # noqa: ANN401
        """A call in a workspace; a token that was revoked pauses the installation."""
        installed = await self.installed(met)
        try:
            return await self.api.call(installed.token, method, **arguments)
        except SlackTrouble as trouble:
            if trouble.code in REVOKED:
                self.forget()
                await self._engine.chats.installations.pause(
                    self.name, team_id=installed.team_id, enterprise_id=installed.enterprise_id
                )
            raise

    # What is known of who asks, and where

    async def learn(self, spot: Spot) -> None:
        """Ask Slack for whom and what is not known since yesterday; what it refuses stays unknown."""
        stale = await self._engine.chats.senders.stale(spot.met)
        with contextlib.suppress(SlackTrouble):
            if stale.person:
                person = await self.person(spot)
                if person is not None:
                    await self._engine.chats.senders.learn_person(spot.met, person)
        if stale.channel and spot.met.channel_id is not None:
            try:
                await self.learn_channel(spot)
            except SlackTrouble as trouble:
                log.warning("a channel's members are unknown: %s", trouble)

    async def person(self, spot: Spot) -> Person | None:
        """What Slack says of who wrote."""
        found = await self.call(spot.met, "users.info", user=spot.person)
        return read_person(found.get("user") or {}, spot.workspace)

    async def learn_channel(self, spot: Spot) -> None:
        """A channel's name, whether it is public, and all of its people."""
        met, channel, asked_at = spot.met, spot.channel, clock.now()
        info = (await self.call(met, "conversations.info", channel=channel)).get("channel") or {}
        members = await self._members(spot)
        if members is None:
            return
        unknown = await self._engine.chats.senders.unknown_people(met, members)
        people = await self._people(spot, unknown)
        await self._engine.chats.senders.learn_channel(
            met,
            name=str(info.get("name") or channel),
            is_public=bool(info.get("is_channel")) and not info.get("is_private"),
            members=members,
            people={id_: person for id_, person in people.items() if person is not None},
            bots=[id_ for id_, person in people.items() if person is None],
            asked_at=asked_at,
        )

    async def _members(self, spot: Spot) -> list[str] | None:
        """Everyone in a channel, or None where they are too many to know them all."""
        members: list[str] = []
        cursor = ""
        for _ in range(MEMBERS_PAGES):
            page = await self.call(
                spot.met,
                "conversations.members",
                channel=spot.channel,
                limit=MEMBERS_PAGE,
                cursor=cursor or None,
            )
            members += page.get("members") or []
            cursor = (page.get("response_metadata") or {}).get("next_cursor") or ""
            if not cursor:
                return members
        log.warning("a channel has more members than can be known")
        return None

    async def _people(self, spot: Spot, wanted: list[str]) -> dict[str, Person | None]:
        """What Slack says of each; None for bots."""
        found: dict[str, Person | None] = {}
        cursor = ""
        while len(wanted) > ONE_BY_ONE:
            page = await self.call(
                spot.met, "users.list", limit=200, cursor=cursor or None, team_id=spot.workspace
            )
            for user in page.get("members") or []:
                if user.get("id") in wanted:
                    found[user["id"]] = read_person(user, spot.workspace)
            cursor = (page.get("response_metadata") or {}).get("next_cursor") or ""
            if not cursor:
                break
        for id_ in wanted:
            if id_ not in found:  # people of other organisations are in no list
                user = (await self.call(spot.met, "users.info", user=id_)).get("user") or {}
                found[id_] = read_person(user, spot.workspace)
        return found

    # Saying things

    async def show_seen(self, spot: Spot, *, ahead: int) -> None:
        """Eyes on the question, and a status where the answer will be."""
        if spot.message_id and not spot.is_direct:
            with contextlib.suppress(SlackTrouble):
                await self.call(
                    spot.met,
                    "reactions.add",
                    channel=spot.channel,
                    timestamp=spot.message_id,
                    name="eyes",
                )
        if spot.thread and (spot.is_direct or ahead):
            status = queued(ahead) if ahead else "is looking it up…"
            await self.call(
                spot.met,
                "assistant.threads.setStatus",
                channel_id=spot.channel,
                thread_ts=spot.thread,
                status=status,
            )

    def open_screen(self, post: PostInfo, spot: Spot, *, again: bool) -> LateScreen:
        """The message of an answer."""
        return LateScreen(self, post, spot, again=again)

    async def say(self, spot: Spot, reply: Reply) -> str:
        """A message in the thread."""
        text, rendered = blocks.render(reply)
        posted = await self._with_blocks(
            rendered,
            lambda some: self.call(
                spot.met,
                "chat.postMessage",
                channel=spot.channel,
                thread_ts=spot.thread or None,
                text=text,
                blocks=some or None,
                unfurl_links=False,
                unfurl_media=False,
                metadata=metadata(""),
            ),
        )
        return str(posted.get("ts", ""))

    async def whisper(self, spot: Spot, reply: Reply) -> None:
        """For one person's eyes."""
        installed = await self.installed(spot.met)
        text, rendered = blocks.render(reply)
        await whisper(self.api, installed.token, spot, text, rendered)

    async def replace(self, spot: Spot, message_id: str, reply: Reply) -> None:
        """Other words in a message of ours."""
        text, rendered = blocks.render(reply)
        await self._with_blocks(
            rendered,
            lambda some: self.call(
                spot.met,
                "chat.update",
                channel=spot.channel,
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

    async def remove(self, spot: Spot, message_id: str) -> None:
        """Take a message of ours away."""
        try:
            await self.call(spot.met, "chat.delete", channel=spot.channel, ts=message_id)
        except SlackTrouble as trouble:
            if trouble.code != "message_not_found":
                raise

    async def nod(self, spot: Spot, message_id: str) -> None:
        """A reaction."""
        with contextlib.suppress(SlackTrouble):
            await self.call(
                spot.met,
                "reactions.add",
                channel=spot.channel,
                timestamp=message_id,
                name="slightly_smiling_face",
            )

    async def search_live(
        self, spot: Spot, question: str, *, all_are_members: bool
    ) -> list[Source]:
        """Slack's Real-Time Search, where the app may keep no messages.

        It answers with what who asks may read, and only on the word of the event they wrote. What
        it finds in public channels every full member may read, so only those may be shown it.
        """
        token = spot.details.get("action_token", "")
        installed = await self.installed(spot.met)
        if installed.reading != "live" or not token or not all_are_members:
            return []
        answer = await self.call(
            spot.met,
            "assistant.search.context",
            query=question[:500],
            action_token=token,
            channel_types=["public_channel"],
            content_types=["messages"],
            limit=LIVE_SOURCES,
        )
        return read_found(answer)

    async def health(self, spot: Spot) -> list[tuple[str, str]]:
        """Token, scopes, connection, and whether it is known who is in the channel."""
        rows = [("Slack", "well"), ("events", self.connection())]
        try:
            installed = await self.installed(spot.met)
            await self.api.call(installed.token, "auth.test")
        except Undelivered as trouble:
            rows[0] = ("Slack", str(trouble))
        if scopes := self.missing_scopes():
            rows.append(("scopes", f"missing: {', '.join(scopes)}; install the app again"))
        if spot.met.channel_id is not None:
            stale = await self._engine.chats.senders.stale(spot.met)
            known = "asked of Slack at the next question" if stale.channel else "known"
            rows.append(("who is in this channel", known))
        return rows

    def missing_scopes(self) -> list[str]:
        """The scopes Slack has asked for since the start, and those the manifest has besides."""
        return sorted({s for needed in self.api.missing.values() for s in needed.split(",") if s})

    async def read_thread(self, spot: Spot) -> list[tuple[str, str]]:
        """Author and text of a thread, with names where they are known."""
        page = await self.call(
            spot.met,
            "conversations.replies",
            channel=spot.channel,
            ts=spot.thread,
            limit=THREAD_MESSAGES,
        )
        messages = [m for m in page.get("messages") or [] if m.get("text")]
        subjects = {str(m.get("user", "")) for m in messages}
        names = await self._engine.chats.senders.names_of(spot.met, subjects)
        said = []
        for message in messages:
            text, _, _ = markup.read_text(str(message["text"]))
            user = str(message.get("user", ""))
            said.append((names.get(user) or message.get("username") or user or "somebody", text))
        return said

    async def find_message(self, post: PostInfo, spot: Spot) -> str:
        """A reply of ours in the thread that an earlier attempt left: marked, or a stream."""
        installed = await self.installed(spot.met)
        try:
            page = await self.call(
                spot.met,
                "conversations.replies",
                channel=spot.channel,
                ts=spot.thread,
                oldest=post.question_id or None,
                limit=THREAD_MESSAGES,
                include_all_metadata=True,
            )
        except SlackTrouble as trouble:
            if trouble.retry_in_s is not None:
                raise
            return ""
        taken = await self._engine.chats.posts.messages_in(spot.met, spot.channel, spot.thread)
        for message in page.get("messages") or []:
            if message.get("user") != installed.bot_user_id or message["ts"] in taken:
                continue
            marked = message.get("metadata") or {}
            if not marked:  # a stream carries no metadata until it has ended
                return str(message["ts"])
            if (marked.get("event_payload") or {}).get("post_id") == post.id:
                return str(message["ts"])
        return ""


class LateScreen:
    """A `SlackScreen` that looks its token up when it is first needed."""

    def __init__(self, platform: SlackPlatform, post: PostInfo, spot: Spot, *, again: bool) -> None:
        self._platform = platform
        self._post = post
        self._spot = spot
        self._again = again
        self._screen: SlackScreen | None = None

    async def _opened(self) -> SlackScreen:
        if self._screen is None:
            installed = await self._platform.installed(self._post.met)
            chat = self._platform._engine.chats  # noqa: SLF001 (its own platform)

            async def note(message_id: str) -> None:
                await chat.posts.note_message(self._post.id, message_id)

            async def find() -> str:
                return await self._platform.find_message(self._post, self._spot)

            self._screen = SlackScreen(
                self._platform.api,
                installed.token,
                self._post,
                self._spot,
                note=note,
                find=find if self._again and self._spot.thread else None,
            )
        return self._screen

    async def step(self, title: str) -> None:
        """See `Screen`."""
        await (await self._opened()).step(title)

    async def grow(self, text: str) -> None:
        """See `Screen`."""
        await (await self._opened()).grow(text)

    async def finish(self, reply: Reply) -> str:
        """See `Screen`."""
        return await (await self._opened()).finish(reply)

    async def abandon(self) -> None:
        """See `Screen`."""
        await (await self._opened()).abandon()


def read_found(answer: Mapping[str, Any]) -> list[Source]:
    """The messages of `assistant.search.context`, as sources; what has no link is left out."""
    results = answer.get("results")
    messages = results.get("messages") if isinstance(results, Mapping) else None
    found: list[Source] = []
    for message in messages or []:
        url = str(message.get("permalink") or "")
        words, _, _ = markup.read_text(str(message.get("content") or message.get("text") or ""))
        if not url.startswith("https://") or message.get("is_author_bot"):
            continue
        author = one_line(str(message.get("author_name") or ""))
        title = f"#{message.get('channel_name') or 'channel'}"
        detail = " · ".join(filter(None, [author, f"“{quote(words)}”" if words else ""]))
        found.append(Source(len(found) + 1, one_line(title), url, detail))
    return found[:LIVE_SOURCES]


def read_person(user: Mapping[str, Any], team_id: str) -> Person | None:
    """What `users.info` says of somebody; None for a bot. Whoever is not plainly a member is none."""
    if user.get("is_bot") or user.get("id") == "USLACKBOT":
        return None
    profile = user.get("profile") or {}
    name = (
        profile.get("display_name") or user.get("real_name") or user.get("name") or user.get("id")
    )
    grid = (user.get("enterprise_user") or {}).get("teams") or []
    home = str(user.get("team_id", ""))
    is_full = not any(
        user.get(flag)
        for flag in ("is_restricted", "is_ultra_restricted", "is_stranger", "deleted")
    )
    is_full = is_full and (home == team_id or team_id in grid)
    return Person(
        name=str(name or ""),
        is_full_member=is_full,
        is_admin=bool(user.get("is_admin") or user.get("is_owner")),
    )
