"""When the documents of a channel are to be derived from its messages again: the job, and marks.

`messages.py` marks what changed, `accounts.py` and `channels.py` what has a new name; all queue the
job here, in the transaction of the change. The worker's handler is `ingestion/channel_jobs.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from engine import clock
from engine.db.tables import Channel, Message, Source
from engine.domain import Lane
from engine.jobs.kinds import DERIVE
from engine.jobs.outbox import enqueue

AGAIN_S = 3.0  # a thread is derived at its first change at once, then at most this often
LOST_AFTER = timedelta(minutes=2)  # a job queued so long ago was lost: another is queued
STOPPED = ("removing",)  # states in which a source derives nothing


async def queue_derivation(
    session: AsyncSession, source: Source, *, lane: Lane = Lane.LIVE, at: datetime | None = None
) -> None:
    """Queue the job that derives a source's changed messages, unless one is queued already."""
    now = clock.now()
    due = at or now
    waiting = source.derive_due_at
    if waiting is not None and waiting <= due and waiting > now - LOST_AFTER:
        return
    if source.state in STOPPED:
        return
    source.derive_due_at = due
    await session.flush()
    await enqueue(
        session,
        tenant_id=source.tenant_id,
        kind=DERIVE,
        payload={"source_id": source.id},
        lane=lane,
        run_at=due,
        max_attempts=10,
    )


async def source_of(session: AsyncSession, channel_id: str) -> Source | None:
    """The source through which a channel's history is kept, if it is."""
    return await session.scalar(
        select(Source).where(Source.channel_id == channel_id).with_for_update()
    )


async def derive_again(
    session: AsyncSession, tenant_id: str, which: ColumnElement[bool], *, lane: Lane = Lane.BULK
) -> None:
    """Mark the derived messages that meet a condition as changed, and queue what derives them."""
    condition = (Message.tenant_id == tenant_id, Message.document_id.is_not(None), which)
    channels = list(await session.scalars(select(Message.channel_id).where(*condition).distinct()))
    if not channels:
        return
    await session.execute(
        update(Message)
        .where(*condition)
        .values(dirty=True)
        .execution_options(synchronize_session=False)
    )
    await queue_for_channels(session, channels, lane=lane)


async def queue_for_channels(
    session: AsyncSession, channel_ids: Sequence[str], *, lane: Lane = Lane.BULK
) -> None:
    """Queue the derivation of every one of these channels that is a source."""
    for channel_id in channel_ids:
        source = await source_of(session, channel_id)
        if source is not None:
            await queue_derivation(session, source, lane=lane)


def channels_of(workspace_id: str) -> ColumnElement[bool]:
    """Messages of one workspace."""
    return Message.channel_id.in_(select(Channel.id).where(Channel.workspace_id == workspace_id))
