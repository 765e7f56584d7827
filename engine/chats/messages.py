"""The stored messages of kept channels, as their platform has them.

Live events, back-fill, repair and imports all write through `store_messages` and
`message_deletion.py`: what comes twice, late or out of order ends in the same rows. A changed
message is marked, and its documents are derived again (`derived.py`). All of it acts for a
platform or a job; who may read a document is on the document.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from sqlalchemy import insert, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from engine import clock
from engine.chats.batches import batches
from engine.chats.derivation import queue_derivation, source_of
from engine.chats.message_files import carried_over, queue_fetch
from engine.chats.places import Place
from engine.db.tables import Message, Thread
from engine.documents.lifecycle import TITLE_MAX
from engine.domain import Lane
from engine.errors import InvalidInput
from engine.markup.credentials import without_credentials

MessageKind = Literal["message", "bot", "system"]
DISCORD_EPOCH_MS = 1_420_070_400_000


@dataclass(frozen=True, slots=True)
class NewMessage:
    """A message as a platform, or an export, tells it.

    `external_id` is Slack's ts or Discord's snowflake, and orders messages. `thread` is that of
    the thread's root. `text` is Markdown with the platform's mentions (`<@U1>`, `<#C1>`) left in;
    names are put in when documents are made. `author` is the platform's id of a person;
    `author_name` serves where no account has that id. `edited_at` tells versions apart. Without
    `reactions` the platform said nothing of them.
    """

    external_id: str
    text: str
    author: str = ""
    author_name: str = ""
    thread: str = ""
    reply_to: str = ""
    kind: MessageKind = "message"
    edited_at: datetime | None = None
    reactions: Mapping[str, int] | None = field(default_factory=dict)
    files: Sequence[Mapping[str, Any]] = ()
    raw: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class NewThread:
    """What a platform tells of a thread besides its messages: title, tags."""

    external_id: str
    title: str
    details: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Stored:
    """What became of messages that were handed over."""

    added: int = 0
    changed: int = 0
    unchanged: int = 0

    def __add__(self, other: Stored) -> Stored:
        return Stored(
            self.added + other.added,
            self.changed + other.changed,
            self.unchanged + other.unchanged,
        )


def position_of(external_id: str) -> int:
    """A message's id as a number that orders it: microseconds for Slack, the snowflake itself.

    Numbers, never floats: a ts has more digits than a float holds.
    """
    seconds, dot, fraction = external_id.partition(".")
    digits = seconds + fraction
    if not (digits.isascii() and digits.isdecimal() and len(seconds) <= 20):
        raise InvalidInput(
            f"{external_id!r} is no message id: a Slack ts or a Discord snowflake is needed.",
            field="external_id",
        )
    position = int(seconds)
    if dot:
        position = position * 1_000_000 + int(fraction.ljust(6, "0")[:6])
    if position >= 1 << 63:
        raise InvalidInput(f"{external_id!r} is too large for a message id.", field="external_id")
    return position


def posted_at(external_id: str) -> datetime:
    """When a message was posted: its id says so, on both platforms."""
    position = position_of(external_id)
    if "." in external_id:
        return datetime.fromtimestamp(0, UTC) + timedelta(microseconds=position)
    return datetime.fromtimestamp(0, UTC) + timedelta(
        milliseconds=(position >> 22) + DISCORD_EPOCH_MS
    )


async def store_messages(
    session: AsyncSession,
    place: Place,
    channel_id: str,
    messages: Iterable[NewMessage],
    *,
    lane: Lane = Lane.LIVE,
) -> Stored:
    """Keep messages of a channel whose history is ingested, and queue what derives from them.

    A version is replaced by a newer one only; what was deleted stays deleted. Nothing is kept of a
    channel that no admin added (`Stored()` comes back).
    """
    source = await source_of(session, channel_id)
    if source is None or source.tenant_id != place.tenant_id:
        return Stored()
    forgotten = set(place.settings.get("forgotten", ()))
    newest = _newest_versions(message for message in messages if message.author not in forgotten)
    known = await known_messages(session, channel_id, newest)
    added: list[dict[str, Any]] = []
    changed = unchanged = 0
    for external_id, new in newest.items():
        row = known.get(external_id)
        if row is None:
            added.append(message_row(place, channel_id, new))
        elif _update(row, new):
            changed += 1
        else:
            unchanged += 1
    if added:
        await session.execute(insert(Message), added)
    await session.flush()
    if any(item.files for item in newest.values()):
        posted = await known_messages(
            session, channel_id, [k for k, one in newest.items() if one.files]
        )
        await queue_fetch(session, place, list(posted.values()))
    rooted = await _mark_roots(session, channel_id, newest.values())
    if added or changed or rooted:
        await queue_derivation(session, source, lane=lane)
    return Stored(len(added), changed, unchanged)


def _newest_versions(messages: Iterable[NewMessage]) -> dict[str, NewMessage]:
    newest: dict[str, NewMessage] = {}
    for message in messages:
        other = newest.get(message.external_id)
        if other is None or _version(message.edited_at) >= _version(other.edited_at):
            newest[message.external_id] = message
    return newest


def _version(edited_at: datetime | None) -> datetime:
    return edited_at or datetime.fromtimestamp(0, UTC)


async def known_messages(
    session: AsyncSession, channel_id: str, external_ids: Collection[str]
) -> dict[str, Message]:
    found: dict[str, Message] = {}
    for some in batches(sorted(external_ids)):
        rows = await session.scalars(
            select(Message)
            .where(Message.channel_id == channel_id, Message.external_id.in_(some))
            .with_for_update()
        )
        found |= {row.external_id: row for row in rows}
    return found


def message_row(place: Place, channel_id: str, new: NewMessage) -> dict[str, Any]:
    return {
        "id": clock.new_id(),
        "tenant_id": place.tenant_id,
        "channel_id": channel_id,
        "external_id": new.external_id,
        "position": position_of(new.external_id),
        "thread": new.thread,
        "reply_to": new.reply_to,
        "kind": new.kind,
        "author": new.author[:100],
        "author_name": _clean(new.author_name)[:200],
        "text": _words(new.text),
        "posted_at": posted_at(new.external_id),
        "edited_at": new.edited_at,
        "reactions": dict(new.reactions or {}),
        "files": [dict(file) for file in new.files],
        "raw": dict(new.raw),
        "change_id": clock.new_id(),
        "dirty": True,
        "seen_at": clock.now(),
    }


def _update(row: Message, new: NewMessage) -> bool:
    """Bring a stored message up to date; whether documents may read otherwise now."""
    row.seen_at = clock.now()
    if row.deleted_at is not None:
        if not row.raw.get("missed"):
            return False  # its platform said so; a late copy changes nothing
        row.deleted_at = None  # it only seemed gone, and here it is
    elif _version(new.edited_at) < _version(row.edited_at):
        return False
    before = _content(row)
    row.text = _words(new.text)
    row.edited_at = new.edited_at
    row.thread = new.thread or row.thread
    row.reply_to = new.reply_to or row.reply_to
    row.kind = new.kind
    row.author = new.author[:100] or row.author
    row.author_name = _clean(new.author_name)[:200] or row.author_name
    if new.reactions is not None:
        row.reactions = dict(new.reactions)
    row.files = carried_over(row.files, new.files)
    row.raw = dict(new.raw)
    if _content(row) == before:
        return False
    row.change_id = clock.new_id()
    row.dirty = True
    return True


def _content(row: Message) -> tuple[object, ...]:
    """What documents show of a message."""
    names = [file.get("name") for file in row.files]
    solved = bool(SOLVED & row.reactions.keys())
    return (
        row.text,
        row.thread,
        row.reply_to,
        row.kind,
        row.author,
        row.author_name,
        names,
        solved,
        row.deleted_at,
    )


SOLVED = frozenset({"white_check_mark", "heavy_check_mark", "✅", "✔️", "✔"})
SOLVED_TAGS = frozenset({"accepted", "answered", "done", "resolved", "solved"})  # of forums


async def count_reaction(
    session: AsyncSession, place: Place, channel_id: str, external_id: str, emoji: str, by: int
) -> None:
    """Count `by` more of a reaction to a message; without an emoji all reactions were removed."""
    source = await source_of(session, channel_id)
    if source is None or source.tenant_id != place.tenant_id:
        return
    row = (await known_messages(session, channel_id, [external_id])).get(external_id)
    if row is None or row.deleted_at is not None:
        return
    before = _content(row)
    counts = {**row.reactions, emoji: max(0, int(row.reactions.get(emoji, 0)) + by)}
    row.reactions = {name: count for name, count in counts.items() if count and emoji}
    if _content(row) != before:
        row.change_id, row.dirty = clock.new_id(), True
        await session.flush()
        await queue_derivation(session, source)


def is_solved(tags: object) -> bool:
    """Whether one of a forum post's tags says that its question was answered."""
    return isinstance(tags, list) and any(str(tag).lower() in SOLVED_TAGS for tag in tags)


async def _mark_roots(
    session: AsyncSession, channel_id: str, messages: Collection[NewMessage]
) -> int:
    """A message that is replied to in a thread belongs to it, though it did not say so itself."""
    roots = {message.thread for message in messages if message.thread}
    loose = [message.external_id for message in messages if not message.thread]
    for some in batches(sorted(loose)):  # a root may come after its replies
        roots.update(
            await session.scalars(
                select(Message.thread)
                .where(Message.channel_id == channel_id, Message.thread.in_(some))
                .distinct()
            )
        )
    marked = 0
    for some in batches(sorted(roots)):
        result = await session.execute(
            update(Message)
            .where(
                Message.channel_id == channel_id,
                Message.external_id.in_(some),
                Message.thread != Message.external_id,
            )
            .values(thread=Message.external_id, dirty=True, change_id=clock.new_id())
            .execution_options(synchronize_session=False)
            .returning(Message.id)
        )
        marked += len(result.all())
    return marked


def _words(text: str) -> str:
    """What is kept of a message: people who read the channel may not all use its keys."""
    return without_credentials(_clean(text))


def _clean(text: str) -> str:
    return text.replace("\0", "")  # which PostgreSQL can't keep


async def put_threads(
    session: AsyncSession, place: Place, channel_id: str, threads: Iterable[NewThread]
) -> None:
    """Titles and tags of threads; a thread with a new title or new tags is derived again."""
    changed = False
    for new in threads:
        row = await session.scalar(
            select(Thread).where(
                Thread.channel_id == channel_id, Thread.external_id == new.external_id
            )
        )
        if row is None:
            row = Thread(
                tenant_id=place.tenant_id, channel_id=channel_id, external_id=new.external_id
            )
            session.add(row)
        elif row.title != new.title[:TITLE_MAX] or row.details.get("tags") != new.details.get(
            "tags"
        ):
            changed = True
            await session.execute(
                update(Message)
                .where(Message.channel_id == channel_id, Message.thread == new.external_id)
                .values(dirty=True)
            )
        row.title = _clean(new.title)[:TITLE_MAX]
        row.details = dict(new.details)
        await session.flush()
    source = await source_of(session, channel_id) if changed else None
    if source is not None:
        await queue_derivation(session, source)
