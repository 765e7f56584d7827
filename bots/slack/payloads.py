"""Slack's payloads as the core's values: events, commands, buttons, shortcuts, forms. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from bots import replies
from bots.conversation import InboundMessage, Joined, Kind, PlaceKind, Pressed, Said
from bots.slack import blocks, markup
from engine.markup.slack_text import to_markdown

NAME = "slack"
_SAID = {None, "", "file_share", "thread_broadcast", "me_message"}
_PLACES: Mapping[str, PlaceKind] = {"im": "direct", "mpim": "group"}
FORM = f"{blocks.PREFIX}form:"


@dataclass(frozen=True, slots=True)
class Whose:
    """Where a payload was delivered: the installation's workspace, and the bot's account there."""

    team_id: str
    enterprise_id: str = ""
    bot_user_id: str = ""
    bot_id: str = ""


@dataclass(frozen=True, slots=True)
class Uninstalled:
    """The app was uninstalled, or its token revoked."""

    team_id: str
    enterprise_id: str


@dataclass(frozen=True, slots=True)
class HomeOpened:
    """Someone opened the app's home or its messages."""

    person: str
    channel: str
    tab: Literal["home", "messages"]


Event = InboundMessage | Joined | Uninstalled | HomeOpened


def read_event(event: Mapping[str, Any], whose: Whose, *, now: datetime) -> Event | None:
    """An event as the core's value; None where it does not concern the core."""
    match event.get("type"):
        case "app_mention" | "message":
            return _message(event, whose, now)
        case "member_joined_channel" if id_in(event, "user") == whose.bot_user_id:
            by = id_in(event, "inviter") or whose.bot_user_id
            channel = id_in(event, "channel")
            return (
                Joined(NAME, whose.team_id, channel, by, whose.enterprise_id) if channel else None
            )
        case "app_uninstalled" | "tokens_revoked":
            return Uninstalled(whose.team_id, whose.enterprise_id)
        case "app_home_opened":
            tab: Literal["home", "messages"] = "home" if event.get("tab") == "home" else "messages"
            person = id_in(event, "user")
            return HomeOpened(person, id_in(event, "channel"), tab) if person else None
        case _:
            return None


def id_in(fields: Mapping[str, Any], name: str) -> str:
    """The id in a field that holds it, or an object with it; empty where there is none."""
    value = fields.get(name)
    found = value.get("id") if isinstance(value, Mapping) else value
    return found if isinstance(found, str) else ""


def _message(event: Mapping[str, Any], whose: Whose, now: datetime) -> InboundMessage | None:
    subtype = event.get("subtype")
    kind: Kind = "new"
    said: Mapping[str, Any] = event
    if subtype == "message_changed":
        kind, said = "edited", event.get("message") or {}
        before = event.get("previous_message") or {}
        if said.get("text") == before.get("text"):
            return None  # a link was unfurled, a reply counted
        if said.get("subtype") == "tombstone":
            kind = "deleted"
    elif subtype == "message_deleted":
        # `ts` is the event's own; the message's is `deleted_ts` (dust #10296).
        kind = "deleted"
        said = {**(event.get("previous_message") or {}), "ts": event.get("deleted_ts", "")}
    ts = str(said.get("ts", ""))
    author = id_in(said, "user") or id_in(said, "bot_id")
    if not ts or not author or not id_in(event, "channel"):
        return None
    text, calls_bot, calls_others = markup.read_text(
        str(said.get("text", "")), bot_user_id=whose.bot_user_id
    )
    return InboundMessage(
        platform=NAME,
        workspace=whose.team_id,
        channel=id_in(event, "channel"),
        place=_place(event),
        message_id=ts,
        author=author,
        text=text,
        kind=kind,
        thread=_thread(said, ts),
        calls_bot=calls_bot,
        calls_others=calls_others,
        forwarded=_forwarded(said),
        files=_file_names(said),
        by_bot=bool(said.get("bot_id")) or said.get("subtype") == "bot_message",
        bot_ids=_bot_ids(said),
        by_us=author == whose.bot_user_id
        or (bool(whose.bot_id) and said.get("bot_id") == whose.bot_id),
        is_notice=kind == "new" and subtype not in _SAID and subtype != "bot_message",
        age=now - _when(ts) if kind == "edited" else timedelta(0),
        enterprise=whose.enterprise_id,
        author_team=id_in(said, "user_team") or id_in(said, "team") or whose.team_id,
    )


def _forwarded(said: Mapping[str, Any]) -> str:
    """The words of messages that were shared with this one, as far as Slack shows them to us."""
    found = []
    for item in _attachments(said):
        given = item.get("message_blocks")
        inner = [part.get("message") for part in _mappings(given)]
        parts = _mappings(inner)
        text = "\n".join(to_markdown(part) for part in parts) or str(item.get("text") or "")
        words, _, _ = markup.read_text(text)
        author = str(item.get("author_name") or item.get("author_subname") or "")
        if words:
            found.append(f"{author}: {words}" if author else words)
    return "\n\n".join(found)


def _attachments(said: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Shared messages among a message's attachments; previews of links are no such thing."""
    return [
        item
        for item in _mappings(said.get("attachments"))
        if item.get("is_share") or item.get("is_msg_unfurl") or item.get("message_blocks")
    ]


def _mappings(given: object) -> list[Mapping[str, Any]]:
    return [item for item in given if isinstance(item, Mapping)] if isinstance(given, list) else []


def _file_names(said: Mapping[str, Any]) -> list[str]:
    """Files of a message, and of those that were shared with it."""
    found = []
    for holder in [said, *_attachments(said)]:
        given = holder.get("files")
        found += [
            str(item.get("title") or item.get("name") or "a file")
            for item in (given if isinstance(given, list) else ())
            if isinstance(item, Mapping)
        ]
    return found


def _bot_ids(said: Mapping[str, Any]) -> list[str]:
    """All that names a bot, app or workflow; empty for people."""
    if not said.get("bot_id") and said.get("subtype") != "bot_message":
        return []
    profile = said.get("bot_profile")
    app = profile.get("app_id") if isinstance(profile, Mapping) else ""
    ids = (said.get("bot_id"), said.get("app_id"), app, said.get("user"), said.get("workflow_id"))
    return [str(item) for item in ids if item]


def _thread(said: Mapping[str, Any], ts: str) -> str:
    thread = str(said.get("thread_ts", ""))
    return "" if thread == ts else thread  # a root names itself once it has replies


def _place(event: Mapping[str, Any]) -> PlaceKind:
    kind = str(event.get("channel_type", ""))
    if not kind and id_in(event, "channel").startswith("D"):
        kind = "im"
    return _PLACES.get(kind, "channel")


def _when(ts: str) -> datetime:
    return datetime.fromtimestamp(int(ts.partition(".")[0] or 0), UTC)


def read_action_token(event: Mapping[str, Any]) -> str:
    """The token for Slack's own search on behalf of the author of an event; may be empty."""
    thread = event.get("assistant_thread")
    inside = thread.get("action_token") if isinstance(thread, Mapping) else ""
    return str(event.get("action_token") or inside or "")


def read_command(body: Mapping[str, Any], whose: Whose) -> Said:
    """A slash command."""
    channel = str(body.get("channel_id", ""))
    return Said(
        platform=NAME,
        workspace=whose.team_id,
        channel=channel,
        person=id_in(body, "user_id"),
        line=str(body.get("text", "")),
        key=str(body.get("trigger_id", "")),
        enterprise=whose.enterprise_id,
        place="direct" if channel.startswith("D") else "channel",
        details=_details(body),
    )


def read_press(body: Mapping[str, Any], whose: Whose) -> Pressed | None:
    """A button, a shortcut on a message, or a form that was sent; None for none of ours."""
    match body.get("type"):
        case "block_actions":
            return _button(body, whose)
        case "message_action":
            return _shortcut(body, whose)
        case "view_submission":
            return _form(body, whose)
        case _:
            return None


def _button(body: Mapping[str, Any], whose: Whose) -> Pressed | None:
    action = (body.get("actions") or [{}])[0]
    name, value = blocks.pressed_action(action)
    if not name:
        return None
    container = body.get("container") or {}
    message = body.get("message") or {}
    channel = id_in(body, "channel") or id_in(container, "channel_id")
    return Pressed(
        platform=NAME,
        workspace=whose.team_id,
        channel=channel,
        person=id_in(body, "user"),
        action=name,
        value=value,
        key=f"{action.get('action_ts', '')}:{id_in(body, 'user')}:{name}",
        enterprise=whose.enterprise_id,
        message_id=str(container.get("message_ts") or message.get("ts") or ""),
        thread=str(container.get("thread_ts") or message.get("thread_ts") or ""),
        place="direct" if channel.startswith("D") else "channel",
        details=_details(body),
    )


def _shortcut(body: Mapping[str, Any], whose: Whose) -> Pressed | None:
    name = str(body.get("callback_id", "")).removeprefix(blocks.PREFIX)
    if name not in blocks.SHORTCUTS:
        return None
    message = body.get("message") or {}
    channel = id_in(body, "channel")
    ts = str(message.get("ts", ""))
    text, _, _ = markup.read_text(str(message.get("text", "")), bot_user_id=whose.bot_user_id)
    return Pressed(
        platform=NAME,
        workspace=whose.team_id,
        channel=channel,
        person=id_in(body, "user"),
        action=name,
        key=str(body.get("action_ts") or body.get("trigger_id") or ""),
        enterprise=whose.enterprise_id,
        message_id=ts,
        thread=str(message.get("thread_ts") or ts),
        place="direct" if channel.startswith("D") else "channel",
        details=_details(body) | {"text": text[:4000], "author": id_in(message, "user")},
    )


def _form(body: Mapping[str, Any], whose: Whose) -> Pressed | None:
    view = body.get("view") or {}
    name = str(view.get("callback_id", "")).removeprefix(FORM)
    # What a form is about was put into it by us and is checked like any value: ids only.
    value, _, channel = str(view.get("private_metadata", "")).partition("|")
    if name not in {replies.REASON, replies.BIND} or not channel:
        return None
    filled = {}
    for fields in (view.get("state") or {}).get("values", {}).values():
        for field, state in fields.items():
            chosen = state.get("selected_option") or {}
            filled[field] = str(chosen.get("value") or state.get("value") or "")
    return Pressed(
        platform=NAME,
        workspace=whose.team_id,
        channel=channel,
        person=id_in(body, "user"),
        action=name,
        value=value,
        key=str(view.get("id", "")),
        enterprise=whose.enterprise_id,
        place="direct" if channel.startswith("D") else "channel",
        details=filled,
    )


def _details(body: Mapping[str, Any]) -> dict[str, str]:
    url = body.get("response_url")
    return {"response_url": str(url)} if url else {}
