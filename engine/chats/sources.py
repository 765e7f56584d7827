"""Channels as sources: admins add, pause, resume and remove one here.

`source_jobs.py` queues what reads and cleans them, `source_reading.py` writes what a platform's
reader in `ingestion/sources/` brings, `coverage.py` says how far each is, and `retention.py`
forgets persons, messages and what is too old.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import delete, func, select
from sqlalchemy.ext.asyncio import AsyncSession

from engine import clock
from engine.access import gate
from engine.access.principals import IMPORTED
from engine.chats import message_deletion
from engine.chats.channels import ChannelInfo, find_channel
from engine.chats.coverage import Coverage, coverage_of
from engine.chats.forgetting import queue_scrub
from engine.chats.source_jobs import CURRENT, FAILED, PAUSED, READING, REMOVING, queue_page
from engine.db.tables import Channel, Document, Message, Source, Workspace
from engine.documents.lifecycle import take_off_source
from engine.domain import Lane, Principal, Scope
from engine.errors import Conflict, Forbidden, NotFound
from engine.jobs.kinds import CLEAN, PURGE
from engine.jobs.outbox import enqueue

AT_A_TIME = 200  # messages forgotten, or documents cleaned, in one transaction


@dataclass(frozen=True, slots=True)
class Receipt:
    """What was forgotten. It is out of every answer now; `documents` are being made again."""

    messages: int
    documents: int


async def add_source(
    session: AsyncSession,
    principal: Principal,
    channel: str,
    kb_id: str,
    *,
    since: datetime | None = None,
) -> Coverage:
    """Keep a channel's history in a knowledge base from now on, and read back as far as `since`.

    Only a member of a private channel can add it. The same again changes nothing; into another
    knowledge base it is a `Conflict`, as each channel goes into one.
    """
    gate.require(principal, Scope.KB_ADMIN)
    found = await find_channel(session, principal, channel)
    kb = await gate.get_writable_kb(session, principal, kb_id)
    may_read = gate.channel_token(found.id) in principal.tokens
    if not found.is_public and not may_read:
        raise Forbidden(
            f"#{found.name} is private: only a member of the channel can have its history stored."
            " Link your account, or ask a member of it."
        )
    source = await _source(session, found.id)
    if source is not None and source.state == REMOVING:
        raise Conflict(
            f"The history of #{found.name} is still being removed; try again in a moment."
        )
    if source is not None and source.kb_id != kb.id:
        raise Conflict(
            f"The history of #{found.name} is stored in another knowledge base; remove it there first."
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
    return await coverage_of(session, source)


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
        raise Conflict(
            f"The history of #{found.name} is still being removed; try again in a moment."
        )
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
    """Read nothing more of a channel; what is stored still answers."""
    source = await managed_source(session, principal, channel)
    refuse_removing(source)
    source.state = PAUSED
    await gate.audit(session, principal, "channel.pause", source.channel_id or "")
    return await coverage_of(session, source)


async def resume_source(session: AsyncSession, principal: Principal, channel: str) -> Coverage:
    """Continue where reading stopped; also after a failure."""
    source = await managed_source(session, principal, channel)
    refuse_removing(source)
    if source.state in {PAUSED, FAILED}:
        source.state = CURRENT if source.cursor.get("done") else READING
        source.error = ""
        await _queue_backfill(session, source)
        await gate.audit(session, principal, "channel.resume", source.channel_id or "")
    return await coverage_of(session, source)


async def remove_source(session: AsyncSession, principal: Principal, channel: str) -> Receipt:
    """Keep a channel's history no longer: out of every answer at once, its rows follow."""
    source = await managed_source(session, principal, channel)
    receipt = await _remove(session, source)
    await gate.audit(session, principal, "channel.remove", source.channel_id or "")
    return receipt


async def _remove(session: AsyncSession, source: Source) -> Receipt:
    if source.state == REMOVING:
        return Receipt(0, 0)
    source.state = REMOVING
    documents = await take_off_source(session, source)
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
        await message_deletion.drop_texts(session, document)
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


def refuse_removing(source: Source) -> None:
    if source.state == REMOVING:
        raise Conflict("The history of this channel is being removed.")


async def managed_source(session: AsyncSession, principal: Principal, channel: str) -> Source:
    gate.require(principal, Scope.KB_ADMIN)
    found = await find_channel(session, principal, channel)
    source = await _source(session, found.id)
    if source is None:
        raise NotFound(f"The history of #{found.name} is not stored.")
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
