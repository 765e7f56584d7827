"""What Discord says of messages, threads, people and channels, as the engine keeps it. Pure.

The same shapes come from REST and from the gateway.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from engine.access.discord_access import KINDS, PRIVATE_THREAD, Server, is_public, subject_of
from engine.chats.accounts import NewPerson
from engine.chats.channels import NewChannel
from engine.chats.messages import MessageKind, NewMessage, NewThread

Raw = Mapping[str, Any]

TALK, COMMANDS = frozenset({0, 19}), frozenset({20, 23})  # message types
REPLY = 19
STARTER = 21  # first in a thread, for the message the thread grew from, which is kept already
SAYS = (
    "content", "attachments", "embeds", "sticker_items", "poll", "components", "message_snapshots",
)  # fmt: skip


def to_message(raw: Raw, thread: str = "") -> NewMessage:
    """A message as REST tells it."""
    author = raw.get("author")
    account = author if isinstance(author, Mapping) else {}
    reference = raw.get("message_reference")
    replies = raw.get("type") == REPLY and isinstance(reference, Mapping)
    kind: MessageKind = "message" if raw.get("type", 0) in TALK else "system"
    if is_by_bot(raw) or raw.get("type") in COMMANDS:
        kind = "bot"
    starts = raw.get("thread")
    if not thread and isinstance(starts, Mapping):
        thread = str(starts.get("id") or "")
    edited = raw.get("edited_timestamp")
    return NewMessage(
        external_id=str(raw["id"]),
        text=str(raw.get("content") or ""),
        author=str(account.get("id") or ""),
        author_name=str(account.get("global_name") or account.get("username") or ""),
        thread=thread,
        reply_to=str(reference.get("message_id") or "") if replies and reference else "",
        kind=kind,
        edited_at=datetime.fromisoformat(edited) if isinstance(edited, str) and edited else None,
        reactions={
            str(row["emoji"].get("name") or ""): int(row.get("count") or 0)
            for row in _rows(raw.get("reactions"))
            if isinstance(row.get("emoji"), Mapping)
        },
        files=[
            {
                "id": str(row.get("id") or ""),
                "name": str(row.get("filename") or ""),
                "mime": str(row.get("content_type") or ""),
                "size_bytes": int(row.get("size") or 0),
            }
            for row in _rows(raw.get("attachments"))
        ],
        raw={"type": raw.get("type", 0), "pinned": bool(raw.get("pinned"))},
    )


def from_gateway(raw: Raw, thread: str = "") -> NewMessage | None:
    """A message as an event tells it; None where the event leaves out what the message says.

    That is so of a partial update, and of every message where the bot may not read content: nothing
    is blank on Discord, so a blank one was not sent. Events say nothing of reactions either.
    """
    if not isinstance(raw.get("author"), Mapping) or not any(raw.get(key) for key in SAYS):
        return None
    if not {"content", "attachments"} <= raw.keys():
        return None
    message = to_message(raw, thread)
    return message if "reactions" in raw else replace(message, reactions=None)


def is_by_bot(raw: Raw) -> bool:
    """Whether a bot or a webhook wrote a message."""
    author = raw.get("author")
    return bool(raw.get("webhook_id")) or bool(isinstance(author, Mapping) and author.get("bot"))


def to_thread(raw: Raw, parent: Raw | None) -> NewThread:
    """A thread's title and tags, these by the names they have in its forum."""
    metadata = raw.get("thread_metadata")
    archived = bool(metadata.get("archived")) if isinstance(metadata, Mapping) else False
    names = {
        str(row.get("id")): str(row.get("name") or "")
        for row in _rows((parent or {}).get("available_tags"))
    }
    tags = [names.get(str(item), str(item)) for item in raw.get("applied_tags") or ()]
    return NewThread(
        str(raw["id"]), str(raw.get("name") or ""), {"archived": archived, "tags": tags}
    )


def to_person(member: Raw) -> NewPerson:
    """A member of a server; bots are no full members."""
    user = member["user"]
    name = member.get("nick") or user.get("global_name") or user.get("username") or user["id"]
    return NewPerson(subject_of(member), str(name), is_full_member=not user.get("bot"))


def to_channels(server: Server) -> list[NewChannel]:
    """The channels of a server that hold text, and the private threads the bot sees."""
    return [
        to_channel(server, channel) for channel in server.channels.values() if is_kept(channel)
    ] + [to_channel(server, thread) for thread in server.threads.values()]


def is_kept(raw: Raw) -> bool:
    """Whether a channel holds messages, or posts that do."""
    return raw.get("type") in KINDS or raw.get("type") == PRIVATE_THREAD


def to_channel(server: Server, raw: Raw) -> NewChannel:
    """A channel; a private thread counts as a separate channel that only its members may read."""
    private = raw.get("type") == PRIVATE_THREAD
    return NewChannel(
        external_id=str(raw["id"]),
        name=str(raw.get("name") or raw["id"]),
        is_public=not private and is_public(server, raw),
        kind="thread" if private else KINDS[raw["type"]],
    )


def _rows(value: object) -> Iterable[Raw]:
    return [row for row in value if isinstance(row, Mapping)] if isinstance(value, list) else []
