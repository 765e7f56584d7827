"""The raw store of chat: messages as their platform has them, and the documents made from them.

Live events, back-fill, repair and imports all write through `store_messages` and
`delete_messages`; what comes twice, late or out of order ends in the same rows. What changed is
marked and derived from (`derived.py`). Everything here acts for a platform or a job: who may read
a document is on the document, as everywhere.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from sqlalchemy import delete, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from engine import clock
from engine.chats.channels import Place
from engine.chats.derivation import channels_of, queue_derivation, queue_for_channels, source_of
from engine.chats.forgetting import queue_scrub, saved_from
from engine.chats.message_files import carried_over, queue_fetch
from engine.db.tables import (
    Channel,
    Chunk,
    Document,
    Embedding,
    Message,
    MessageSpan,
    Revision,
    RevisionText,
    Thread,
)
from engine.documents import component_outputs
from engine.documents.lifecycle import TITLE_MAX, children_of, retire, take_off
from engine.domain import Lane
from engine.errors import InvalidInput
from engine.jobs import endings
from engine.markup.credentials import without_credentials
from engine.models.cache import text_hash

MessageKind = Literal["message", "bot", "system"]
DISCORD_EPOCH_MS = 1_420_070_400_000
GAP = timedelta(minutes=25)  # silence that ends a conversation outside threads
AT_A_TIME = 500  # ids a statement
MENTION = re.compile(
    r"<[@#!&]{1,2}([A-Z0-9]{3,30}|\d{3,20})(?:\|[^>]*)?>"
)  # as both platforms write one
CHANGES = 2_000  # changed messages that one derivation takes on
SCRUBBED_AT_A_TIME = 50  # documents a transaction
RUN_MAX = 500  # messages looked at on either side of a changed one


@dataclass(frozen=True, slots=True)
class NewMessage:
    """A message as a platform, or an export, tells it.

    `external_id` is Slack's ts or Discord's snowflake, and orders messages. `thread` is that of
    the thread's root. `text` is Markdown with the platform's mentions (`<@U1>`, `<#C1>`) left in;
    names are put in when documents are made. `author` is the platform's id of a person;
    `author_name` serves where no account has that id. `edited_at` tells versions apart. Without
    `reactions` nothing was told of them.
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


# Storing


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
    known = await _known(session, channel_id, newest)
    added: list[dict[str, Any]] = []
    changed = unchanged = 0
    for external_id, new in newest.items():
        row = known.get(external_id)
        if row is None:
            added.append(_row(place, channel_id, new))
        elif _update(row, new):
            changed += 1
        else:
            unchanged += 1
    if added:
        await session.execute(insert(Message), added)
    await session.flush()
    if any(item.files for item in newest.values()):
        posted = await _known(session, channel_id, [k for k, one in newest.items() if one.files])
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


async def _known(
    session: AsyncSession, channel_id: str, external_ids: Collection[str]
) -> dict[str, Message]:
    found: dict[str, Message] = {}
    for some in _chunks(sorted(external_ids)):
        rows = await session.scalars(
            select(Message)
            .where(Message.channel_id == channel_id, Message.external_id.in_(some))
            .with_for_update()
        )
        found |= {row.external_id: row for row in rows}
    return found


def _row(place: Place, channel_id: str, new: NewMessage) -> dict[str, Any]:
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
    """Some more or less of a reaction to a message that stands; without an emoji they all went."""
    source = await source_of(session, channel_id)
    if source is None or source.tenant_id != place.tenant_id:
        return
    row = (await _known(session, channel_id, [external_id])).get(external_id)
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
    for some in _chunks(sorted(loose)):  # a root may come after its replies
        roots.update(
            await session.scalars(
                select(Message.thread)
                .where(Message.channel_id == channel_id, Message.thread.in_(some))
                .distinct()
            )
        )
    marked = 0
    for some in _chunks(sorted(roots)):
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
    """What is kept of a message: whoever reads the channel is not whoever may use its keys."""
    return without_credentials(_clean(text))


def _clean(text: str) -> str:
    return text.replace("\0", "")  # which PostgreSQL can't keep


async def put_threads(
    session: AsyncSession, place: Place, channel_id: str, threads: Iterable[NewThread]
) -> None:
    """Titles and tags of threads; one that is called or tagged otherwise now is derived anew."""
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


# Deleting


async def delete_messages(
    session: AsyncSession,
    place: Place,
    channel_id: str,
    external_ids: Collection[str],
    *,
    missed: bool = False,
) -> int:
    """Take messages out of every answer from this instant; says how many stood until now.

    `missed`: nobody said so, they were only not there when looked for; should one turn up again,
    it counts again. Of the others a tombstone stays, also of those not known yet: a delete may
    come before what it deletes.
    """
    source = await source_of(session, channel_id)
    if source is None or source.tenant_id != place.tenant_id:
        return 0
    known = await _known(session, channel_id, external_ids)
    standing = [row for row in known.values() if row.deleted_at is None]
    await _bury(session, standing, missed=missed)
    for external_id in sorted(set(external_ids) - known.keys()):
        if missed:
            continue
        row = _row(place, channel_id, NewMessage(external_id, ""))
        session.add(Message(**{**row, "dirty": False}, deleted_at=clock.now()))
    await session.flush()
    if standing:
        await queue_derivation(session, source)
    return len(standing)


async def delete_thread(session: AsyncSession, place: Place, channel_id: str, thread: str) -> int:
    """A thread was deleted with its replies.

    A forum's post went with its first message; what another thread grew from stands in its channel.
    """
    kind = await session.scalar(select(Channel.kind).where(Channel.id == channel_id))
    ids = await session.scalars(
        select(Message.external_id).where(
            Message.channel_id == channel_id, Message.thread == thread
        )
    )
    gone = [id_ for id_ in ids if id_ != thread or kind == "forum"]
    return await delete_messages(session, place, channel_id, gone)


async def _bury(session: AsyncSession, rows: Sequence[Message], *, missed: bool) -> None:
    """Make tombstones of messages and take their documents off until they are derived anew."""
    documents = {row.document_id for row in rows if row.document_id is not None}
    for row in rows:
        row.deleted_at = clock.now()
        row.text = row.author_name = ""
        row.files, row.reactions = [], {}
        row.raw = {"missed": True} if missed else {}
        row.change_id = clock.new_id()
        row.dirty = True
    await session.flush()
    for document_id in sorted(documents):
        await scrub_document(session, document_id)
    if rows:
        await _drop_saved(session, rows)
        await queue_scrub(
            session, rows[0].tenant_id, documents | await _files_of(session, documents)
        )


async def _files_of(session: AsyncSession, documents: Collection[str]) -> set[str]:
    """The documents made of what was posted in these conversations."""
    found = set[str]()
    for document_id in documents:
        parent = await session.get(Document, document_id)
        if parent is not None:
            found |= {child.id for child in await children_of(session, parent)}
    return found


async def _drop_saved(session: AsyncSession, rows: Sequence[Message]) -> None:
    """What curators saved of messages goes with them."""
    channel = await session.get_one(Channel, rows[0].channel_id)
    ids = [row.external_id for row in rows]
    for saved in await saved_from(session, channel.tenant_id, channel.external_id, ids):
        await retire(session, saved)
        await drop_texts(session, saved)
        await queue_scrub(session, saved.tenant_id, [saved.id])


async def scrub_document(session: AsyncSession, document_id: str) -> None:
    """Take a document off every branch and drop all its texts: no revision of it may be shown.

    Its messages are marked, so that it comes back without what was deleted.
    """
    document = await session.get(Document, document_id, with_for_update=True)
    if document is None or document.deleted_at is not None:
        return
    await endings.cancel_document(session, document.tenant_id, document_id)
    await take_off(session, document)
    await drop_texts(session, document)
    await _overtake(session, document)
    await session.execute(
        update(Message)
        .where(Message.document_id == document_id)
        .values(dirty=True, change_id=clock.new_id())  # what reads them now must read again
        .execution_options(synchronize_session=False)
    )


async def scrub_some(
    session: AsyncSession,
    tenant_id: str,
    workspace_id: str,
    channel_id: str | None,
    *,
    after: str,
) -> str:
    """`scrub_document` for some documents of a channel or workspace, and for answers from them.

    Returns the `after` of the next call, empty once all are done.
    """
    where = Message.channel_id == channel_id if channel_id else channels_of(workspace_id)
    found = await session.scalars(
        select(Message.document_id)
        .where(Message.tenant_id == tenant_id, where, Message.document_id > after)
        .distinct()
        .order_by(Message.document_id)
        .limit(SCRUBBED_AT_A_TIME)
    )
    ids = [item for item in found if item is not None]
    for document_id in ids:
        await scrub_document(session, document_id)
    await queue_scrub(session, tenant_id, ids)
    touched = select(Message.channel_id).where(Message.document_id.in_(ids)).distinct()
    await queue_for_channels(session, list(await session.scalars(touched)), lane=Lane.LIVE)
    return ids[-1] if ids else ""


async def _overtake(session: AsyncSession, document: Document) -> None:
    """An empty revision after the last: a job that is ingesting that one can't let it answer."""
    newest = await session.scalar(
        select(func.max(Revision.number)).where(Revision.document_id == document.id)
    )
    session.add(
        Revision(
            tenant_id=document.tenant_id,
            document_id=document.id,
            number=(newest or 0) + 1,
            blob_hash="",
        )
    )
    await session.flush()


async def drop_texts(session: AsyncSession, document: Document) -> None:
    """Drop the texts, chunks and cached vectors of every revision of a document."""
    ids = select(Revision.id).where(Revision.document_id == document.id)
    rows = await session.execute(
        select(Chunk.context, Chunk.text).where(Chunk.revision_id.in_(ids))
    )
    hashes = [text_hash(f"{context}\n{text}" if context else text) for context, text in rows]
    for at in range(0, len(hashes), AT_A_TIME):
        await session.execute(
            delete(Embedding).where(
                Embedding.tenant_id == document.tenant_id,
                Embedding.text_hash.in_(hashes[at : at + AT_A_TIME]),
            )
        )
    for table in (Chunk, RevisionText, MessageSpan):
        await session.execute(delete(table).where(table.revision_id.in_(ids)))
    await component_outputs.forget(session, document.id)


def _chunks(values: Sequence[str]) -> Iterable[Sequence[str]]:
    return (values[at : at + AT_A_TIME] for at in range(0, len(values), AT_A_TIME))
