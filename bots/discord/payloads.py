"""Discord's payloads as the core's values: messages, commands, menus, buttons, forms. Pure.

An interaction carries where it happened, who acted with which permissions, and a token to reply
with for fifteen minutes, which goes along in `details`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from bots.conversation import InboundMessage, Kind, PlaceKind, Pressed, Said
from bots.discord import components, markup, tree
from bots.discord.directory import Where
from bots.discord.permissions import DIRECT, GROUP, THREADS, is_manager

Payload = Mapping[str, Any]

NAME = "discord"
EPOCH_MS = 1_420_070_400_000
TALK, REPLY, STARTER = 0, 19, 21  # types of messages that people write, and a thread's copy of one
COMMAND, COMPONENT, COMPLETION, FORM = 2, 3, 4, 5  # types of interactions


@dataclass(frozen=True, slots=True)
class Us:
    """Who the bot is: its account, and the role that Discord made for it on a server, if any."""

    bot_id: str
    role_id: str = ""


@dataclass(frozen=True, slots=True)
class Interaction:
    """What every interaction has: the person, the place, and how to reply."""

    id: str
    token: str
    kind: int
    guild: str
    where: Where
    person: str
    member: Payload  # roles, resolved permissions; empty in direct messages
    data: Payload
    message: Payload
    name: str = ""
    locale: str = ""

    @property
    def is_manager(self) -> bool:
        """Whether the person who acts may set a server up."""
        return is_manager(int(self.member.get("permissions") or 0))

    @property
    def action(self) -> str:
        """Our name for a button, form or menu; empty for anything else."""
        if self.kind == COMMAND:
            return tree.MENUS.get(str(self.data.get("name")), "")
        return components.pressed_action(str(self.data.get("custom_id", "")))[0]


# Messages


def read_message(
    data: Payload,
    where: Where,
    workspace: str,
    us: Us,
    *,
    now: datetime,
    kind: Kind = "new",
    channels: Mapping[str, str] | None = None,
) -> InboundMessage | None:
    """What a message asks for; None where an edit changed no words. `channels`: names by id."""
    author = data.get("author") or {}
    author_id = str(author.get("id") or "")
    id_ = str(data.get("id", ""))
    if not author_id or (kind == "edited" and not data.get("edited_timestamp")):
        return None  # a link was unfurled
    text, _, calls_others = _read(data, us, channels)
    opens = where.in_forum and id_ == where.thread
    if opens:  # a post in a forum: its title is the question, so it asks by its place
        text = f"{where.title.rstrip('?!. ')}?\n\n{text}".strip()
    return InboundMessage(
        platform=NAME,
        workspace=workspace,
        channel=where.channel,
        place=where.place,
        message_id=id_,
        author=author_id,
        text=text,
        kind=kind,
        # A message that has become a thread's root stays one: both have the same id.
        thread="" if opens or where.thread == id_ else where.thread,
        calls_bot=calls_bot(data, us),
        calls_others=calls_others,
        replies_to_other=_replies_to_other(data, us),
        forwarded=_forwarded(data, channels),
        files=_file_names(data),
        by_bot=bool(author.get("bot")) or bool(data.get("webhook_id")),
        bot_ids=_bot_ids(data),
        by_us=author_id == us.bot_id,
        is_notice=data.get("type", TALK) not in {TALK, REPLY},
        age=now - posted_at(id_) if kind == "edited" else timedelta(0),
    )


def calls_bot(data: Payload, us: Us) -> bool:
    """Whether a message mentions the bot or its role, or replies to a message of it."""
    if any(str(item.get("id")) == us.bot_id for item in data.get("mentions") or ()):
        return True
    if us.role_id and us.role_id in map(str, data.get("mention_roles") or ()):
        return True
    answered = data.get("referenced_message") if data.get("type") == REPLY else None
    by = (answered.get("author") or {}) if isinstance(answered, Mapping) else {}
    # Without the content intent such a reply comes without its words, and asks nothing.
    return str(by.get("id")) == us.bot_id and bool(data.get("content"))


def _forwarded(data: Payload, channels: Mapping[str, str] | None) -> str:
    """The words of forwarded messages: Discord sends a snapshot of each."""
    found = []
    for message in _snapshots(data):
        words, _, _ = markup.read_text(str(message.get("content") or ""), channels=channels)
        if words:
            found.append(words)
    return "\n\n".join(found)


def _snapshots(data: Payload) -> list[Payload]:
    given = data.get("message_snapshots")
    items = given if isinstance(given, list) else []
    inner = [item.get("message") for item in items if isinstance(item, Mapping)]
    return [item for item in inner if isinstance(item, Mapping)]


def _file_names(data: Payload) -> list[str]:
    """Files of a message, and of those it forwards."""
    found = []
    for holder in [data, *_snapshots(data)]:
        given = holder.get("attachments")
        found += [
            str(item.get("title") or item.get("filename") or "a file")
            for item in (given if isinstance(given, list) else ())
            if isinstance(item, Mapping)
        ]
    return found


def _bot_ids(data: Payload) -> list[str]:
    """All that names a bot or webhook; empty for people."""
    author: Payload = data.get("author") or {}
    if not author.get("bot") and not data.get("webhook_id"):
        return []
    ids = (author.get("id"), data.get("application_id"), data.get("webhook_id"))
    return list(dict.fromkeys(str(item) for item in ids if item))


def _replies_to_other(data: Payload, us: Us) -> bool:
    answered = data.get("referenced_message") if data.get("type") == REPLY else None
    by = answered.get("author") if isinstance(answered, Mapping) else None
    return isinstance(by, Mapping) and str(by.get("id")) != us.bot_id


def read_text(
    data: Payload, us: Us | None = None, channels: Mapping[str, str] | None = None
) -> str:
    """A message's words, mentions as names and the bot's own left out."""
    return _read(data, us, channels)[0]


def _read(
    data: Payload, us: Us | None = None, channels: Mapping[str, str] | None = None
) -> tuple[str, bool, bool]:
    return markup.read_text(
        str(data.get("content") or ""),
        bot_user_id=us.bot_id if us is not None else "",
        bot_role_ids=[us.role_id] if us is not None and us.role_id else [],
        people={str(item.get("id")): name_of(item) for item in data.get("mentions") or ()},
        channels=channels,
    )


def name_of(user: Payload, member: Payload | None = None) -> str:
    """A person's name on a server."""
    nick = (member or {}).get("nick")
    return str(nick or user.get("global_name") or user.get("username") or user.get("id") or "")


def posted_at(snowflake: str) -> datetime:
    """The time that is in an id."""
    ms = (int(snowflake or 0) >> 22) + EPOCH_MS
    return datetime.fromtimestamp(ms / 1000, UTC)


def snowflake(at: datetime) -> int:
    """The first id of a time."""
    return max(0, int(at.timestamp() * 1000) - EPOCH_MS) << 22


# Interactions


def read_interaction(data: Payload) -> Interaction:
    """An interaction, taken apart."""
    member: Payload = data.get("member") or {}
    user: Payload = member.get("user") or data.get("user") or {}
    channel: Payload = data.get("channel") or {}
    return Interaction(
        id=str(data.get("id", "")),
        token=str(data.get("token", "")),
        kind=int(data.get("type") or 0),
        guild=str(data.get("guild_id") or ""),
        where=_where(channel, str(data.get("channel_id") or channel.get("id") or "")),
        person=str(user.get("id", "")),
        member=member,
        data=data.get("data") or {},
        message=data.get("message") or {},
        name=name_of(user, member),
        locale=str(data.get("locale") or ""),
    )


def _where(channel: Payload, id_: str) -> Where:
    places: Mapping[object, PlaceKind] = {DIRECT: "direct", GROUP: "group"}
    if channel.get("type") in THREADS:
        return Where(str(channel.get("parent_id") or id_), id_)
    return Where(id_, place=places.get(channel.get("type"), "channel"))


def read_said(interaction: Interaction, given: tree.FilledCommand, workspace: str) -> Said:
    """A slash command, as the line it means."""
    return Said(
        platform=NAME,
        workspace=workspace,
        channel=interaction.where.channel,
        person=interaction.person,
        line=given.line,
        key=interaction.id,
        place=interaction.where.place,
        details=reply_details(interaction, "fill"),
    )


def read_menu(interaction: Interaction, workspace: str, us: Us) -> Pressed | None:
    """A choice from a message's menu; None for none of ours."""
    messages = (interaction.data.get("resolved") or {}).get("messages") or {}
    message: Payload = messages.get(str(interaction.data.get("target_id")), {})
    if not interaction.action or not message:
        return None
    author: Payload = message.get("author") or {}
    id_ = str(message.get("id", ""))
    channel = interaction.where.thread or interaction.where.channel
    url = f"https://discord.com/channels/{workspace}/{channel}/{id_}"
    text = read_text(message, us)
    return Pressed(
        platform=NAME,
        workspace=workspace,
        channel=interaction.where.channel,
        person=interaction.person,
        action=interaction.action,
        key=interaction.id,
        message_id=id_,
        thread=interaction.where.thread or id_,
        place=interaction.where.place,
        details=reply_details(interaction, "fill")
        | {
            "text": text[:4000],
            "author": str(author.get("id", "")),
            "author_name": name_of(author),
            "url": url,
        },
    )


def read_press(
    interaction: Interaction, workspace: str, way: Literal["fill", "follow"]
) -> Pressed | None:
    """A pressed button, a choice made in a message, or a form that was sent; None for none of ours.

    A form's fields go into `details` by their names.
    """
    action, value = components.pressed_action(str(interaction.data.get("custom_id", "")))
    if not action:
        return None
    details = reply_details(interaction, way)
    if interaction.kind == FORM:
        details |= filled(interaction.data.get("components") or ())
    return Pressed(
        platform=NAME,
        workspace=workspace,
        channel=interaction.where.channel,
        person=interaction.person,
        action=action,
        value=value,
        key=interaction.id,
        message_id=str(interaction.message.get("id") or ""),
        thread=interaction.where.thread,
        place=interaction.where.place,
        details=details,
    )


def filled(fields: Sequence[Payload]) -> dict[str, str]:
    """The values of a form by the ids of its fields, however deeply they are nested."""
    found: dict[str, str] = {}
    for field in fields:
        inner = field.get("components") or ([field["component"]] if "component" in field else [])
        found |= filled(inner)
        if name := str(field.get("custom_id") or ""):
            values = field.get("values") or []
            value = field.get("value") or (values[0] if values else "")
            found[name] = str(value)
    return found


def reply_details(interaction: Interaction, way: Literal["fill", "follow"]) -> dict[str, str]:
    """How an interaction is replied to: its first reply is filled in, or new ones follow it."""
    details = {"interaction": interaction.id, "token": interaction.token, "way": way}
    if interaction.locale:
        details["locale"] = interaction.locale
    if interaction.member:  # Discord has just said who they are: no need to ask
        details |= {"who": interaction.name, "manages": "yes" if interaction.is_manager else ""}
    return details
