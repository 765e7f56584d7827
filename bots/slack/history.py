"""Slack's events as history updates for the engine: messages and memberships.

Messages are stored only of channels whose history an admin has enabled. An event that makes it
uncertain who is in a channel makes the members unknown, before Slack is acknowledged and until it
has been asked: an answer never relies on who was there before.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Any

from bots.slack.payloads import NAME, Whose, id_in
from engine.access.principals import EXTERNAL
from engine.chats.inbound import HistoryUpdate
from engine.chats.places import Place
from engine.chats.slack_messages import is_gone, to_message, to_person
from engine.engine import Engine
from engine.errors import NotFound

log = logging.getLogger(__name__)

_TALK = frozenset({"channel", "group", "private_channel", ""})
_LOST = frozenset({"channel_archive", "channel_deleted", "channel_left", "group_left"})
_CHANGED = frozenset({"channel_rename", "channel_unarchive", "group_rename", "group_unarchive"})
_SHARED = frozenset({"channel_shared", "channel_unshared"})
RENUMBERED = "channel_id_changed"  # a channel that is shared or unshared may get another id


class SlackHistoryListener:
    """Handles each event next to the inbound handler. `learn` asks Slack who is in a channel."""

    def __init__(self, engine: Engine, learn: Callable[[Whose, str], Awaitable[None]]) -> None:
        self._engine = engine
        self._learn = learn

    async def on_event(
        self, event: Mapping[str, Any], whose: Whose
    ) -> Callable[[], Awaitable[None]] | None:
        """Store what an event says; returns work to do after Slack is acknowledged, if any.

        Of messages only what happens to the channel: their text is for `read_history_update`.
        """
        kind = str(event.get("type", ""))
        if kind == "message":
            return await self._converted(event, whose)
        if kind == "user_change":
            await self._person(event, whose)
            return None
        if kind == RENUMBERED:
            return await self._renumbered(event, whose)
        channel = channel_of(event)
        if not channel or kind not in _LOST | _CHANGED | _SHARED | {
            "member_joined_channel",
            "member_left_channel",
        }:
            return None
        try:
            place = await self._engine.chats.history.place(NAME, whose.team_id)
            return await self._membership(kind, event, whose, place, channel)
        except NotFound:  # a channel without a question to the bot
            return None

    async def _membership(
        self, kind: str, event: Mapping[str, Any], whose: Whose, place: Place, channel: str
    ) -> Callable[[], Awaitable[None]] | None:
        history = self._engine.chats.history
        if kind in _LOST:
            await history.lost(place, channel)
            return None
        if kind == "channel_shared":
            await history.became_shared(place, channel, [EXTERNAL])
        if kind in _SHARED:
            # Until Slack has been asked with whom, only what is given to the channel itself counts.
            await history.lost(place, channel)
            return self._again(whose, channel)
        ours = id_in(event, "user") == whose.bot_user_id
        if kind == "member_left_channel":
            if ours:
                await history.lost(place, channel)
            else:
                await history.left(place, channel, id_in(event, "user"))
            return None
        if kind == "member_joined_channel" and not ours:
            # Until it is known who joined, the members are unknown.
            await history.lost(place, channel)
        return self._again(whose, channel)

    def _again(self, whose: Whose, channel: str) -> Callable[[], Awaitable[None]]:
        async def learn() -> None:
            await self._learn(whose, channel)

        return learn

    async def _renumbered(
        self, event: Mapping[str, Any], whose: Whose
    ) -> Callable[[], Awaitable[None]] | None:
        old, new = id_in(event, "old_channel_id"), id_in(event, "new_channel_id")
        if not old or not new:
            return None
        history = self._engine.chats.history
        try:
            place = await history.place(NAME, whose.team_id)
            await history.renumbered(place, old, new)
        except NotFound:
            return None
        return self._again(whose, new)

    async def note_shared(self, event: Mapping[str, Any], whose: Whose) -> None:
        """Slack says with each event whether its channel is shared with another organisation.

        So does an author from one. That holds before a question in it is answered, whatever was
        known of the channel.
        """
        channel = channel_of(event)
        if not channel:
            return
        history = self._engine.chats.history
        with suppress(NotFound):  # a channel that is not known yet is asked about first
            place = await history.place(NAME, whose.team_id)
            await history.became_shared(place, channel, [EXTERNAL])

    async def _person(self, event: Mapping[str, Any], whose: Whose) -> None:
        user = event.get("user")
        if not isinstance(user, Mapping) or not user.get("id") or user.get("is_bot"):
            return
        try:
            place = await self._engine.chats.history.place(NAME, whose.team_id)
        except NotFound:
            return
        await self._engine.chats.history.put_people(place, [to_person(user, place.external_id)])

    async def _converted(
        self, event: Mapping[str, Any], whose: Whose
    ) -> Callable[[], Awaitable[None]] | None:
        if event.get("subtype") not in {"channel_convert_to_private", "channel_convert_to_public"}:
            return None
        channel, history = channel_of(event), self._engine.chats.history
        try:
            place = await history.place(NAME, whose.team_id)
            await history.made_private(place, channel)
            await history.lost(place, channel)
        except NotFound:
            return None
        return self._again(whose, channel)

    async def keep(self, history_update: HistoryUpdate, whose: Whose, channel: str) -> None:
        """Store what asks nothing of the bot: a link that was unfurled, say."""
        history = self._engine.chats.history
        try:
            place = await history.kept_place(NAME, whose.team_id, channel)
            if place is None:
                return
            if history_update.messages:
                await history.store(place, channel, history_update.messages)
            if history_update.deleted:
                await history.delete(place, channel, history_update.deleted)
        except NotFound:
            pass


def read_history_update(event: Mapping[str, Any], whose: Whose) -> HistoryUpdate:
    """What a message's event changes in the history of its channel, if that is stored."""
    is_talk = str(event.get("channel_type", "")) in _TALK and not channel_of(event).startswith("D")
    if event.get("type") != "message" or not is_talk:
        return HistoryUpdate()  # a mention comes as a message too
    subtype = str(event.get("subtype", ""))
    if subtype == "message_deleted":
        # `ts` is the event's own (dust #10296).
        return _gone(event.get("deleted_ts"))
    raw = event.get("message") if subtype == "message_changed" else event
    if not isinstance(raw, Mapping) or raw.get("user") == whose.bot_user_id:
        return HistoryUpdate()  # nothing of our own, or the bot would cite itself
    if is_gone(raw):
        return _gone(raw.get("ts"))
    message = to_message(raw)
    return HistoryUpdate() if message is None else HistoryUpdate([message])


def _gone(ts: object) -> HistoryUpdate:
    return HistoryUpdate(deleted=[str(ts)]) if ts else HistoryUpdate()


def channel_of(event: Mapping[str, Any]) -> str:
    return id_in(event, "channel")


def is_shared_outside(body: Mapping[str, Any], event: Mapping[str, Any], whose: Whose) -> bool:
    """Whether an event tells that its channel is open to another organisation."""
    if body.get("is_ext_shared_channel") is True:
        return True
    if event.get("type") not in {"app_mention", "message"} or event.get("channel_type") == "im":
        return False
    team = id_in(event, "user_team") or id_in(event, "source_team") or id_in(event, "team")
    # In an organisation an account may be the whole organisation's: that is no other one.
    return bool(team) and team not in {whose.team_id, whose.enterprise_id}
