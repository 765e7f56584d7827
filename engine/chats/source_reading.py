"""What a reader of a platform needs to continue with a channel, and what each page of it brings.

`ingestion/sources/` reads; a page's messages and how far reading has come are one transaction here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from engine import clock
from engine.chats import message_deletion, messages
from engine.chats.coverage import parse_time
from engine.chats.messages import NewMessage, NewThread, Stored
from engine.chats.places import Place, place_of
from engine.chats.source_jobs import CURRENT, FAILED, READING, REMOVING, queue_page
from engine.db.tables import Channel, Message, Source
from engine.domain import Lane


@dataclass(frozen=True, slots=True)
class SourceReading:
    """A source whose reading continues: its place, channel, cursor and how far back."""

    source_id: str
    channel_id: str
    channel: str
    channel_name: str
    kind: str
    place: Place
    cursor: Mapping[str, Any]
    since: datetime | None
    state: str
    newest: datetime | None  # message that is kept
    repair_at: str  # ISO 8601: when a repair was asked for; empty: never


@dataclass(frozen=True, slots=True)
class Whole:
    """A stretch that was read whole: a stored message of it that is not among `standing` is gone.

    Either a thread, or all outside of threads' replies from `low` to `high` (ids, both included).
    """

    standing: frozenset[str]
    thread: str = ""
    low: str = ""
    high: str = ""


async def open_reading(session: AsyncSession, source_id: str) -> SourceReading | None:
    """What is needed to read a source's next page; None where it is not to be read now."""
    source = await session.get(Source, source_id)
    if source is None or source.channel_id is None or source.state not in {READING, CURRENT}:
        return None
    channel = await session.get_one(Channel, source.channel_id)
    place = await place_of(session, source.tenant_id, channel.workspace_id)
    if place.provider != place.platform:  # an import
        return None
    return SourceReading(
        source_id=source.id,
        channel_id=channel.id,
        channel=channel.external_id,
        channel_name=channel.name,
        kind=channel.kind,
        place=place,
        cursor=source.cursor,
        since=parse_time(source.settings.get("since")),
        state=source.state,
        newest=await session.scalar(
            select(Message.posted_at)
            .where(Message.channel_id == channel.id)
            .order_by(Message.position.desc())
            .limit(1)
        ),
        repair_at=str(source.settings.get("repair_at") or ""),
    )


async def commit_page(
    session: AsyncSession,
    reading: SourceReading,
    new: Sequence[NewMessage],
    *,
    threads: Sequence[NewThread] = (),
    wholes: Sequence[Whole] = (),
    cursor: Mapping[str, Any],
    more: bool,
) -> Stored:
    """A page's messages and how far reading has come, in one transaction; the next is queued."""
    channel_id = reading.channel_id
    await messages.put_threads(session, reading.place, channel_id, threads)
    stored = await messages.store_messages(session, reading.place, channel_id, new, lane=Lane.BULK)
    for whole in wholes:
        gone = await _missing(session, channel_id, whole)
        if gone:
            await message_deletion.delete_messages(
                session, reading.place, channel_id, gone, missed=True
            )
    await report_page(session, reading.source_id, cursor, more=more)
    return stored


async def _missing(session: AsyncSession, channel_id: str, whole: Whole) -> list[str]:
    query = select(Message.external_id).where(
        Message.channel_id == channel_id, Message.deleted_at.is_(None)
    )
    if whole.thread:
        query = query.where(Message.thread == whole.thread)
    else:
        outside = (Message.thread == "") | (Message.thread == Message.external_id)
        query = query.where(
            outside,
            Message.position >= messages.position_of(whole.low),
            Message.position <= messages.position_of(whole.high),
        )
    return [row for row in await session.scalars(query) if row not in whole.standing]


async def report_page(
    session: AsyncSession, source_id: str, cursor: Mapping[str, Any], *, more: bool
) -> None:
    """Keep how far reading has come, in the transaction of the page's messages; queue the next."""
    source = await session.get(Source, source_id, with_for_update=True)
    if source is None or source.state not in {READING, CURRENT}:
        return
    source.cursor = dict(cursor)
    source.error = ""
    source.state = CURRENT if cursor.get("done") else READING
    if more:
        await queue_page(session, source)


async def report_fault(
    session: AsyncSession, source_id: str, error: str, *, stop: bool = False
) -> None:
    """Say on a source why it is not read further; with `stop` until an admin resumes it."""
    source = await session.get(Source, source_id, with_for_update=True)
    if source is None or source.state == REMOVING:
        return
    source.error = error
    if stop:
        source.state = FAILED


async def wait_page(session: AsyncSession, source_id: str, seconds: float, reason: str) -> None:
    """Read on later, and say why."""
    source = await session.get(Source, source_id, with_for_update=True)
    if source is None or source.state not in {READING, CURRENT}:
        return
    source.error = f"Reading waits {seconds:.0f} s: {reason}."
    await queue_page(session, source, at=clock.now() + timedelta(seconds=seconds))
