"""The states of a channel that is a source, and the jobs that read it, sync it and expire it.

The worker's handlers of these jobs are in `ingestion/channel_jobs.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncSession

from engine import clock
from engine.db.tables import Channel, Job, Source
from engine.domain import JobState, Lane
from engine.jobs.kinds import BACKFILL, EXPIRE, SYNC_CHANNEL, SYNC_WORKSPACE
from engine.jobs.outbox import enqueue

SYNC_EVERY = timedelta(hours=22)  # membership is fresh for 26
EXPIRE_EVERY = timedelta(hours=24)
# States of a source of kind slack or discord.
READING, CURRENT, PAUSED, FAILED, REMOVING = "reading", "current", "paused", "failed", "removing"


async def queue_page(session: AsyncSession, source: Source, *, at: datetime | None = None) -> None:
    """Queue the job that reads a source's next page."""
    await enqueue(
        session,
        tenant_id=source.tenant_id,
        kind=BACKFILL,
        payload={"source_id": source.id},
        lane=Lane.BULK,
        run_at=at,
        max_attempts=20,
    )


async def _is_queued(
    session: AsyncSession,
    tenant_id: str,
    kind: str,
    key: str,
    value: str,
    *,
    states: Sequence[JobState] = (JobState.QUEUED, JobState.RUNNING),
) -> bool:
    found = await session.scalar(
        select(Job.id)
        .where(
            Job.tenant_id == tenant_id,
            Job.kind == kind,
            Job.state.in_(states),
            Job.payload[key].as_string() == value,
        )
        .limit(1)
    )
    return found is not None


async def queue_sync(
    session: AsyncSession, tenant_id: str, workspace_id: str, *, at: datetime | None = None
) -> None:
    """Queue the job that brings people, channels and members of a workspace up to date.

    One at a time: without `at` the job that is planned for the night runs now.
    """
    if at is None:
        await session.execute(
            update(Job)
            .where(
                Job.tenant_id == tenant_id,
                Job.kind == SYNC_WORKSPACE,
                Job.state == JobState.QUEUED,
                Job.payload["workspace_id"].as_string() == workspace_id,
            )
            .values(run_at=clock.now(), lane=Lane.INTERACTIVE)
            .execution_options(synchronize_session=False)
        )
    # A job that runs already may have read the state of before: it does not count for "now".
    states = (JobState.QUEUED,) if at is None else (JobState.QUEUED, JobState.RUNNING)
    if await _is_queued(
        session, tenant_id, SYNC_WORKSPACE, "workspace_id", workspace_id, states=states
    ):
        return
    await enqueue(
        session,
        tenant_id=tenant_id,
        kind=SYNC_WORKSPACE,
        payload={"workspace_id": workspace_id},
        lane=Lane.INTERACTIVE if at is None else Lane.BULK,
        run_at=at,
        max_attempts=20,
    )


async def queue_channel_sync(
    session: AsyncSession,
    tenant_id: str,
    workspace_id: str,
    channel: str,
    *,
    at: datetime | None = None,
) -> None:
    """Queue the job that learns who is in a channel."""
    await enqueue(
        session,
        tenant_id=tenant_id,
        kind=SYNC_CHANNEL,
        payload={"workspace_id": workspace_id, "channel": channel},
        lane=Lane.INTERACTIVE,
        run_at=at,
        max_attempts=20,
    )


async def ask_for_repair(session: AsyncSession, workspace_id: str) -> None:
    """Read the last days of every channel of a workspace again: messages and deletions that were missed."""
    rows = await session.scalars(
        select(Source)
        .join(Channel, Channel.id == Source.channel_id)
        .where(Channel.workspace_id == workspace_id, Source.state.in_([READING, CURRENT]))
        .with_for_update(of=Source)
    )
    for source in rows:
        source.settings = {**source.settings, "repair_at": clock.now().isoformat()}
        await session.flush()
        await queue_page(session, source)


async def queue_expiry(
    session: AsyncSession, source: Source, *, at: datetime | None = None
) -> None:
    """Queue the job that deletes what is older than a channel keeps."""
    if await _is_queued(session, source.tenant_id, EXPIRE, "source_id", source.id):
        return
    await enqueue(
        session,
        tenant_id=source.tenant_id,
        kind=EXPIRE,
        payload={"source_id": source.id},
        lane=Lane.BULK,
        run_at=at,
    )
