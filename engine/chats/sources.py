"""Channels as sources: whose history is kept, how far it has come, and how it goes again.

Admins add, pause, resume and remove a channel here, ask for its coverage, and have a person, a
message or a channel forgotten. Reading the platform is `ingestion/sources/`; what it reports back
(`report_page`, `report_fault`) is written here too, beside the messages of the same page.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import case, delete, func, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from engine import clock
from engine.access import gate
from engine.access.principals import IMPORTED
from engine.chats import messages
from engine.chats.channels import ChannelInfo, Place, find_channel, place_of
from engine.chats.forgetting import queue_scrub
from engine.chats.messages import NewMessage, NewThread, Stored
from engine.db.tables import (
    Channel,
    Document,
    Job,
    KnowledgeBase,
    Live,
    Message,
    Source,
    Workspace,
)
from engine.domain import MAIN, DocumentState, JobState, Lane, Principal, Scope
from engine.errors import Conflict, Forbidden, InvalidInput, NotFound
from engine.jobs.kinds import (
    BACKFILL,
    CLEAN,
    EXPIRE,
    PURGE,
    SYNC_CHANNEL,
    SYNC_WORKSPACE,
)
from engine.jobs.outbox import enqueue

SYNC_EVERY = timedelta(hours=22)  # membership is fresh for 26
EXPIRE_EVERY = timedelta(hours=24)
AT_A_TIME = 200  # messages forgotten, or documents cleaned, in one transaction
RETENTION_MAX_DAYS = 36_500

# States of a source of kind slack or discord.
READING, CURRENT, PAUSED, FAILED, REMOVING = "reading", "current", "paused", "failed", "removing"


@dataclass(frozen=True, slots=True)
class Gap:
    """A stretch of a channel's time that was not read, and why; `start` None: from its beginning."""

    start: datetime | None
    end: datetime | None
    reason: str


@dataclass(frozen=True, slots=True)
class Coverage:
    """How much of a channel's history is kept and found.

    `messages` stand, `deleted` are tombstones, `waiting` changed and are not derived yet.
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


@dataclass(frozen=True, slots=True)
class Receipt:
    """What was forgotten. It is out of every answer now; `documents` are being made anew."""

    messages: int
    documents: int


# Adding and stopping


async def add_source(
    session: AsyncSession,
    principal: Principal,
    channel: str,
    kb_id: str,
    *,
    since: datetime | None = None,
) -> Coverage:
    """Keep a channel's history in a knowledge base from now on, and read back as far as `since`.

    A private channel is added only by somebody who is in it. The same again changes nothing; into
    another knowledge base it is a `Conflict`, as each channel goes into one.
    """
    gate.require(principal, Scope.KB_ADMIN)
    found = await find_channel(session, principal, channel)
    kb = await gate.get_writable_kb(session, principal, kb_id)
    may_read = gate.channel_token(found.id) in principal.tokens
    if not found.is_public and not may_read:
        raise Forbidden(
            f"#{found.name} is private: only somebody who is in it may have its history kept."
            " Link your account, or ask a member of it."
        )
    source = await _source(session, found.id)
    if source is not None and source.state == REMOVING:
        raise Conflict(f"The history of #{found.name} is still being removed; add it in a moment.")
    if source is not None and source.kb_id != kb.id:
        raise Conflict(
            f"The history of #{found.name} is kept in another knowledge base; remove it there first."
        )
    if source is None:
        source = await _open_source(session, found, principal.tenant_id, kb.id, since)
        await gate.audit(
            session,
            principal,
            "channel.ingest",
            found.id,
            {"kb": kb.id, "since": since.isoformat() if since else None},
        )
        await _queue_backfill(session, source)
    return await _coverage(session, source)


async def open_imported(
    session: AsyncSession, principal: Principal, channel_id: str, kb_id: str
) -> None:
    """A channel of an export goes into a knowledge base; the same again changes nothing."""
    gate.require(principal, Scope.KB_ADMIN)
    found = await find_channel(session, principal, channel_id)
    source = await _source(session, channel_id)
    if source is None:
        await _open_source(session, found, principal.tenant_id, kb_id, None)
    elif source.state == REMOVING:
        raise Conflict(f"The history of #{found.name} is still being removed; try in a moment.")
    elif source.kb_id != kb_id:
        raise Conflict(
            f"#{found.name} was imported into another knowledge base; import it there, or remove"
            " it there first."
        )


async def _open_source(
    session: AsyncSession,
    channel: ChannelInfo,
    tenant_id: str,
    kb_id: str,
    since: datetime | None,
) -> Source:
    workspace = await session.get_one(Workspace, channel.workspace_id)
    imported = workspace.state == IMPORTED
    source = Source(
        id=clock.new_id(),
        tenant_id=tenant_id,
        kb_id=kb_id,
        channel_id=channel.id,
        kind=channel.platform,
        name=f"#{channel.name}"[:200],
        state=CURRENT if imported else READING,
        settings={"since": since.isoformat()} if since else {},
        cursor={"done": True} if imported else {},
    )
    session.add(source)
    await session.flush()
    return source


async def pause_source(session: AsyncSession, principal: Principal, channel: str) -> Coverage:
    """Read nothing more of a channel; what is known goes on answering."""
    source = await _managed(session, principal, channel)
    _refuse_removing(source)
    source.state = PAUSED
    await gate.audit(session, principal, "channel.pause", source.channel_id or "")
    return await _coverage(session, source)


async def resume_source(session: AsyncSession, principal: Principal, channel: str) -> Coverage:
    """Go on where reading stopped; also after a failure."""
    source = await _managed(session, principal, channel)
    _refuse_removing(source)
    if source.state in {PAUSED, FAILED}:
        source.state = CURRENT if source.cursor.get("done") else READING
        source.error = ""
        await _queue_backfill(session, source)
        await gate.audit(session, principal, "channel.resume", source.channel_id or "")
    return await _coverage(session, source)


async def remove_source(session: AsyncSession, principal: Principal, channel: str) -> Receipt:
    """Keep a channel's history no longer: out of every answer at once, its rows follow."""
    source = await _managed(session, principal, channel)
    receipt = await _remove(session, source)
    await gate.audit(session, principal, "channel.remove", source.channel_id or "")
    return receipt


async def _remove(session: AsyncSession, source: Source) -> Receipt:
    """One statement each: however much it is, from this transaction on nothing of it answers."""
    if source.state == REMOVING:
        return Receipt(0, 0)
    source.state = REMOVING
    theirs = select(Document.id).where(Document.source_id == source.id)
    counts = (
        await session.execute(
            select(
                func.count(),
                func.coalesce(func.sum(Document.chunk_count), 0),
                func.coalesce(func.sum(Document.token_count), 0),
            )
            .join(Live, Live.document_id == Document.id)
            .where(Document.source_id == source.id, Live.branch == MAIN)
        )
    ).one()
    documents, chunks, tokens = (int(value) for value in counts)
    await session.execute(
        update(KnowledgeBase)
        .where(KnowledgeBase.id == source.kb_id)
        .values(
            document_count=KnowledgeBase.document_count - documents,
            chunk_count=KnowledgeBase.chunk_count - chunks,
            token_count=KnowledgeBase.token_count - tokens,
            updated_at=clock.now(),
        )
    )
    await session.execute(delete(Live).where(Live.document_id.in_(theirs)))
    await session.execute(
        update(Job)
        .where(Job.document_id.in_(theirs), Job.state == JobState.QUEUED)
        .values(state=JobState.CANCELLED, updated_at=clock.now())
        .execution_options(synchronize_session=False)
    )
    await session.execute(
        update(Job)
        .where(Job.document_id.in_(theirs), Job.state == JobState.RUNNING)
        .values(cancel_requested=True, updated_at=clock.now())
        .execution_options(synchronize_session=False)
    )
    await session.execute(
        update(Document)
        .where(Document.source_id == source.id, Document.deleted_at.is_(None))
        .values(deleted_at=clock.now(), chunk_count=0, token_count=0, vectors="none")
        .execution_options(synchronize_session=False)
    )
    kept = await session.scalar(
        select(func.count())
        .select_from(Message)
        .where(Message.channel_id == source.channel_id, Message.deleted_at.is_(None))
    )
    await enqueue(
        session,
        tenant_id=source.tenant_id,
        kind=PURGE,
        payload={"source_id": source.id},
        lane=Lane.INTERACTIVE,
        max_attempts=20,
    )
    await session.flush()
    return Receipt(kept or 0, documents)


async def purge_some(session: AsyncSession, source_id: str) -> bool:
    """Delete a part of what a removed source left; False once nothing is left of it."""
    source = await session.get(Source, source_id)
    if source is None or source.state != REMOVING:
        return False
    documents = list(
        await session.scalars(
            select(Document)
            .where(Document.source_id == source.id, Document.title != "")
            .limit(AT_A_TIME)
        )
    )
    await queue_scrub(session, source.tenant_id, [document.id for document in documents])
    for document in documents:
        await messages.drop_texts(session, document)
        document.title = document.url = ""
        document.details = {}
        await enqueue(
            session,
            tenant_id=source.tenant_id,
            kind=CLEAN,
            payload={"document_id": document.id},
            lane=Lane.BULK,
        )
    ids = list(
        await session.scalars(
            select(Message.id).where(Message.channel_id == source.channel_id).limit(AT_A_TIME)
        )
    )
    await session.execute(delete(Message).where(Message.id.in_(ids)))
    if documents or ids:
        return True
    # The row stays: tombstones of documents refer to it. The channel may be added again.
    source.channel_id = None
    source.name = ""
    source.cursor = {}
    return False


def _refuse_removing(source: Source) -> None:
    if source.state == REMOVING:
        raise Conflict("The history of this channel is being removed.")


async def _managed(session: AsyncSession, principal: Principal, channel: str) -> Source:
    gate.require(principal, Scope.KB_ADMIN)
    found = await find_channel(session, principal, channel)
    source = await _source(session, found.id)
    if source is None:
        raise NotFound(f"The history of #{found.name} is not kept.")
    return source


async def _source(session: AsyncSession, channel_id: str) -> Source | None:
    return await session.scalar(
        select(Source).where(Source.channel_id == channel_id).with_for_update()
    )


async def _queue_backfill(session: AsyncSession, source: Source) -> None:
    if source.state in {READING, CURRENT}:
        workspace_state = await session.scalar(
            select(Workspace.state)
            .join(Channel, Channel.workspace_id == Workspace.id)
            .where(Channel.id == source.channel_id)
        )
        if workspace_state != IMPORTED:
            await queue_page(session, source)


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

    One at a time: without `at` the one that is planned for the night comes now.
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
    # One that runs already may have read what was so before: it does not count where it is now.
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
    """Have every channel of a workspace read again lately: what came unheard, what went."""
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


# What is known of them


async def coverage(
    session: AsyncSession, principal: Principal, channel: str = ""
) -> list[Coverage]:
    """How far each source has come, by channel; those of one channel where one is named.

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
    reports = [await _coverage(session, source) for source in await session.scalars(query)]
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
class Progress:
    """How far the documents of some channels are: of `conversations` these have ended."""

    waiting: int
    conversations: int
    ended: int
    ready: int
    passages: int
    failed: Sequence[tuple[str, str]]  # title and reason


async def progress(
    session: AsyncSession, principal: Principal, channel_ids: Collection[str]
) -> Progress:
    """The same in few numbers, for whoever waits for an import of theirs."""
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
    return Progress(
        waiting=waiting or 0,
        conversations=sum(number for number, _ in counts.values()),
        ended=ended,
        ready=ready,
        passages=passages,
        failed=[(title, error) for title, error in failed],
    )


async def _coverage(session: AsyncSession, source: Source) -> Coverage:
    channel = await session.get_one(Channel, source.channel_id)
    workspace = await session.get_one(Workspace, channel.workspace_id)
    kb = await session.get_one(KnowledgeBase, source.kb_id)
    stands = Message.deleted_at.is_(None)
    row = (
        await session.execute(
            select(
                func.coalesce(func.sum(case((stands, 1), else_=0)), 0),
                func.coalesce(func.sum(case((stands, 0), else_=1)), 0),
                func.coalesce(func.sum(case((Message.dirty.is_(True), 1), else_=0)), 0),
                func.min(case((stands, Message.posted_at))),
                func.max(case((stands, Message.posted_at))),
                func.count(func.distinct(case((stands & (Message.thread != ""), Message.thread)))),
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


def _time(value: object) -> datetime | None:
    return datetime.fromisoformat(value) if isinstance(value, str) and value else None


def _gaps(source: Source, channel: Channel, oldest: datetime | None) -> list[Gap]:
    gaps = []
    if not source.cursor.get("done"):
        start = _time(source.settings.get("since")) or _time(channel.settings.get("created"))
        reason = {
            PAUSED: "reading is paused",
            FAILED: "reading stopped",
        }.get(source.state, "not read yet")
        gaps.append(Gap(start, _time(source.cursor.get("reached")) or oldest, reason))
    gaps += [
        Gap(_time(item.get("start")), _time(item.get("end")), str(item.get("reason", "")))
        for item in source.cursor.get("gaps", ())
    ]
    return gaps


def _eta_s(source: Source, channel: Channel, oldest: datetime | None) -> float | None:
    started = _time(source.cursor.get("started"))
    reached = _time(source.cursor.get("reached")) or oldest
    floor = _time(source.settings.get("since")) or _time(channel.settings.get("created"))
    if source.state != READING or started is None or reached is None or floor is None:
        return None
    covered, left = (started - reached).total_seconds(), (reached - floor).total_seconds()
    if covered <= 0:
        return None
    return max(0.0, left / covered * (clock.now() - started).total_seconds())


# Reading a platform: what each page brings


@dataclass(frozen=True, slots=True)
class Reading:
    """A source to be read on: its place, channel, cursor and how far back."""

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
    """A stretch that was read whole: a message stored of it and not among `standing` is gone.

    Either a thread, or all outside of threads' replies from `low` to `high` (ids, both included).
    """

    standing: frozenset[str]
    thread: str = ""
    low: str = ""
    high: str = ""


async def open_reading(session: AsyncSession, source_id: str) -> Reading | None:
    """What is needed to read a source's next page; None where it is not to be read now."""
    source = await session.get(Source, source_id)
    if source is None or source.channel_id is None or source.state not in {READING, CURRENT}:
        return None
    channel = await session.get_one(Channel, source.channel_id)
    place = await place_of(session, source.tenant_id, channel.workspace_id)
    if place.provider != place.platform:  # an import
        return None
    return Reading(
        source_id=source.id,
        channel_id=channel.id,
        channel=channel.external_id,
        channel_name=channel.name,
        kind=channel.kind,
        place=place,
        cursor=source.cursor,
        since=_time(source.settings.get("since")),
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
    reading: Reading,
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
            await messages.delete_messages(session, reading.place, channel_id, gone, missed=True)
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


# Forgetting


async def forget_person_some(
    session: AsyncSession, principal: Principal, workspace_id: str, subject: str
) -> Receipt:
    """Forget a part of what somebody wrote; call it until nothing comes back.

    What they write from now on is not kept either.
    """
    gate.require(principal, Scope.KB_ADMIN)
    place = await place_of(session, principal.tenant_id, workspace_id)
    ids = select(Channel.id).where(Channel.workspace_id == place.workspace_id)
    rows = (
        await session.execute(
            select(Message.channel_id, Message.external_id, Message.document_id)
            .where(
                Message.tenant_id == principal.tenant_id,
                Message.channel_id.in_(ids),
                Message.author == subject,
            )
            .limit(AT_A_TIME)
        )
    ).all()
    workspace = await session.get_one(Workspace, place.workspace_id)
    forgotten = {*workspace.settings.get("forgotten", ()), subject}
    workspace.settings = {**workspace.settings, "forgotten": sorted(forgotten)}
    by_channel: dict[str, list[str]] = {}
    for row in rows:
        by_channel.setdefault(row.channel_id, []).append(row.external_id)
    for channel_id, external_ids in by_channel.items():
        await messages.delete_messages(session, place, channel_id, external_ids)
        await session.execute(
            update(Message)
            .where(Message.channel_id == channel_id, Message.external_id.in_(external_ids))
            .values(author="")
            .execution_options(synchronize_session=False)
        )
    return Receipt(len(rows), len({row.document_id for row in rows if row.document_id}))


async def forget_message(
    session: AsyncSession, principal: Principal, channel: str, external_id: str
) -> Receipt:
    """Forget one message of a channel, by the platform's id of it."""
    gate.require(principal, Scope.KB_ADMIN)
    found = await find_channel(session, principal, channel)
    place = await place_of(session, principal.tenant_id, found.workspace_id)
    gone = await messages.delete_messages(session, place, found.id, [external_id])
    await gate.audit(session, principal, "message.forget", found.id, {"message": external_id})
    return Receipt(gone, int(gone > 0))


async def set_retention(
    session: AsyncSession, principal: Principal, channel: str, days: int | None
) -> Coverage:
    """How long a channel's messages are kept; None keeps them."""
    source = await _managed(session, principal, channel)
    _refuse_removing(source)
    if days is not None and not 1 <= days <= RETENTION_MAX_DAYS:
        raise InvalidInput(
            f"{days} days can't be kept; allowed are 1 to {RETENTION_MAX_DAYS:,}.", field="days"
        )
    before = source.settings.get("retention_days")
    kept = {key: value for key, value in source.settings.items() if key != "retention_days"}
    source.settings = kept if days is None else {**kept, "retention_days": days}
    await session.flush()
    if days is not None:
        await queue_expiry(session, source)
    await gate.audit(
        session,
        principal,
        "channel.retention",
        source.channel_id or "",
        {"from": before, "to": days},
    )
    return await _coverage(session, source)


async def expire_some(session: AsyncSession, source_id: str) -> int:
    """Delete a part of what is older than its channel keeps; says how much was deleted."""
    source = await session.get(Source, source_id)
    days = source.settings.get("retention_days") if source is not None else None
    if source is None or source.channel_id is None or days is None:
        return 0
    channel = await session.get_one(Channel, source.channel_id)
    place = await place_of(session, source.tenant_id, channel.workspace_id)
    old = list(
        await session.scalars(
            select(Message.external_id)
            .where(
                Message.channel_id == channel.id,
                Message.deleted_at.is_(None),
                Message.posted_at < clock.now() - timedelta(days=int(days)),
            )
            .limit(AT_A_TIME)
        )
    )
    if old:
        await messages.delete_messages(session, place, channel.id, old)
    return len(old)


async def expire_again(session: AsyncSession, source_id: str) -> None:
    """Look again tomorrow, as long as the channel keeps its messages for a time only."""
    source = await session.get(Source, source_id)
    if source is not None and source.settings.get("retention_days") is not None:
        await queue_expiry(session, source, at=clock.now() + EXPIRE_EVERY)
