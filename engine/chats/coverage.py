"""How much of a channel's history is kept and found, and how far its documents are.

Read for admins, who see counts and times; of a private channel only its members see any of it.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy import case, func, select
from sqlalchemy.ext.asyncio import AsyncSession

from engine import clock
from engine.access import gate
from engine.chats.channels import find_channel
from engine.chats.source_jobs import FAILED, PAUSED, READING
from engine.db.tables import Channel, Document, Job, KnowledgeBase, Message, Source, Workspace
from engine.domain import DocumentState, JobState, Principal, Scope
from engine.jobs.kinds import BACKFILL


@dataclass(frozen=True, slots=True)
class Gap:
    """A stretch of a channel's time that was not read, and why; `start` None: from its beginning."""

    start: datetime | None
    end: datetime | None
    reason: str


@dataclass(frozen=True, slots=True)
class Coverage:
    """How much of a channel's history is kept and found.

    `messages` are not deleted, `deleted` are tombstones, `waiting` changed and are not derived yet.
    `conversations` are documents, `ready` those that answer. `eta_s` is a guess from the pace so
    far, None where none can be made.
    """

    source_id: str
    channel_id: str
    channel: str
    platform: str
    kb_id: str
    kb: str
    state: str
    messages: int
    deleted: int
    waiting: int
    threads: int
    conversations: int
    ready: int
    oldest: datetime | None
    newest: datetime | None
    gaps: Sequence[Gap]
    pages: int
    eta_s: float | None
    error: str
    next_try_at: datetime | None
    retention_days: int | None
    members_synced_at: datetime | None


async def coverage(
    session: AsyncSession, principal: Principal, channel: str = ""
) -> list[Coverage]:
    """How far each source has come, by channel; where a channel is named, only its source.

    Counts and times for admins; of a private channel only its members see any of it.
    """
    gate.require(principal, Scope.KB_ADMIN)
    query = (
        select(Source)
        .join(Channel, Channel.id == Source.channel_id)
        .where(Source.tenant_id == principal.tenant_id)
        .order_by(Channel.name, Source.id)
    )
    if channel:
        found = await find_channel(session, principal, channel)
        query = query.where(Source.channel_id == found.id)
    reports = [await coverage_of(session, source) for source in await session.scalars(query)]
    hidden = set(
        await session.scalars(
            select(Channel.id).where(
                Channel.tenant_id == principal.tenant_id, Channel.is_public.is_(False)
            )
        )
    )
    return [
        report
        for report in reports
        if report.channel_id not in hidden
        or gate.channel_token(report.channel_id) in principal.tokens
    ]


@dataclass(frozen=True, slots=True)
class ImportProgress:
    """How far the documents of some channels are: of `conversations` these have ended."""

    waiting: int
    conversations: int
    ended: int
    ready: int
    passages: int
    failed: Sequence[tuple[str, str]]  # title and reason


async def progress(
    session: AsyncSession, principal: Principal, channel_ids: Collection[str]
) -> ImportProgress:
    """The same in few numbers, for a person who waits for their import."""
    gate.require(principal, Scope.KB_ADMIN)
    theirs = select(Source.id).where(
        Source.tenant_id == principal.tenant_id, Source.channel_id.in_(channel_ids)
    )
    waiting = await session.scalar(
        select(func.count())
        .select_from(Message)
        .where(
            Message.tenant_id == principal.tenant_id,
            Message.channel_id.in_(channel_ids),
            Message.dirty.is_(True),
        )
    )
    rows = (
        await session.execute(
            select(Document.state, func.count(), func.sum(Document.chunk_count))
            .where(Document.source_id.in_(theirs), Document.deleted_at.is_(None))
            .group_by(Document.state)
        )
    ).all()
    counts = {state: (int(number), int(chunks or 0)) for state, number, chunks in rows}
    ended = sum(n for state, (n, _) in counts.items() if state not in {"pending", "running"})
    ready, passages = counts.get(DocumentState.READY, (0, 0))
    failed = await session.execute(
        select(Document.title, Document.error)
        .where(
            Document.source_id.in_(theirs),
            Document.deleted_at.is_(None),
            Document.state == DocumentState.FAILED,
            gate.visible_document(principal.tenant_id, principal.tokens),
        )
        .limit(20)
    )
    return ImportProgress(
        waiting=waiting or 0,
        conversations=sum(number for number, _ in counts.values()),
        ended=ended,
        ready=ready,
        passages=passages,
        failed=[(title, error) for title, error in failed],
    )


async def coverage_of(session: AsyncSession, source: Source) -> Coverage:
    """How far one source is, for a caller that checked who asks."""
    channel = await session.get_one(Channel, source.channel_id)
    workspace = await session.get_one(Workspace, channel.workspace_id)
    kb = await session.get_one(KnowledgeBase, source.kb_id)
    present = Message.deleted_at.is_(None)
    row = (
        await session.execute(
            select(
                func.coalesce(func.sum(case((present, 1), else_=0)), 0),
                func.coalesce(func.sum(case((present, 0), else_=1)), 0),
                func.coalesce(func.sum(case((Message.dirty.is_(True), 1), else_=0)), 0),
                func.min(case((present, Message.posted_at))),
                func.max(case((present, Message.posted_at))),
                func.count(func.distinct(case((present & (Message.thread != ""), Message.thread)))),
            ).where(Message.channel_id == channel.id)
        )
    ).one()
    made = (
        await session.execute(
            select(
                func.count(),
                func.coalesce(
                    func.sum(case((Document.state == DocumentState.READY, 1), else_=0)), 0
                ),
            ).where(Document.source_id == source.id, Document.deleted_at.is_(None))
        )
    ).one()
    next_try = await session.scalar(
        select(func.min(Job.run_at)).where(
            Job.tenant_id == source.tenant_id,
            Job.kind == BACKFILL,
            Job.state == JobState.QUEUED,
            Job.payload["source_id"].as_string() == source.id,
        )
    )
    oldest, newest = _aware(row[3]), _aware(row[4])
    retention = source.settings.get("retention_days")
    return Coverage(
        source_id=source.id,
        channel_id=channel.id,
        channel=channel.name,
        platform=workspace.platform,
        kb_id=kb.id,
        kb=kb.name,
        state=source.state,
        messages=int(row[0]),
        deleted=int(row[1]),
        waiting=int(row[2]),
        threads=int(row[5]),
        conversations=int(made[0]),
        ready=int(made[1]),
        oldest=oldest,
        newest=newest,
        gaps=_gaps(source, channel, oldest),
        pages=int(source.cursor.get("pages", 0)),
        eta_s=_eta_s(source, channel, oldest),
        error=source.error,
        next_try_at=next_try,
        retention_days=int(retention) if retention is not None else None,
        members_synced_at=channel.members_synced_at,
    )


def _aware(value: datetime | None) -> datetime | None:
    # SQLite's aggregate of an expression comes back without the column's type.
    if isinstance(value, str):
        value = datetime.fromisoformat(value)
    return value.replace(tzinfo=UTC) if value is not None and value.tzinfo is None else value


def parse_time(value: object) -> datetime | None:
    """A time as settings and cursors hold it, in ISO 8601; None where there is none."""
    return datetime.fromisoformat(value) if isinstance(value, str) and value else None


def _gaps(source: Source, channel: Channel, oldest: datetime | None) -> list[Gap]:
    gaps = []
    if not source.cursor.get("done"):
        start = parse_time(source.settings.get("since")) or parse_time(
            channel.settings.get("created")
        )
        reason = {
            PAUSED: "reading is paused",
            FAILED: "reading stopped",
        }.get(source.state, "not read yet")
        gaps.append(Gap(start, parse_time(source.cursor.get("reached")) or oldest, reason))
    gaps += [
        Gap(parse_time(item.get("start")), parse_time(item.get("end")), str(item.get("reason", "")))
        for item in source.cursor.get("gaps", ())
    ]
    return gaps


def _eta_s(source: Source, channel: Channel, oldest: datetime | None) -> float | None:
    started = parse_time(source.cursor.get("started"))
    reached = parse_time(source.cursor.get("reached")) or oldest
    floor = parse_time(source.settings.get("since")) or parse_time(channel.settings.get("created"))
    if source.state != READING or started is None or reached is None or floor is None:
        return None
    covered, left = (started - reached).total_seconds(), (reached - floor).total_seconds()
    if covered <= 0:
        return None
    return max(0.0, left / covered * (clock.now() - started).total_seconds())
