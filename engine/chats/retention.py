"""What is forgotten of channels: a person, a message, and what is older than a channel keeps."""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncSession

from engine import clock
from engine.access import gate
from engine.chats import message_deletion
from engine.chats.channels import find_channel
from engine.chats.coverage import Coverage, coverage_of
from engine.chats.places import place_of
from engine.chats.source_jobs import EXPIRE_EVERY, queue_expiry
from engine.chats.sources import AT_A_TIME, Receipt, managed_source, refuse_removing
from engine.db.tables import Channel, Message, Source, Workspace
from engine.domain import Principal, Scope
from engine.errors import InvalidInput

RETENTION_MAX_DAYS = 36_500


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
        await message_deletion.delete_messages(session, place, channel_id, external_ids)
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
    gone = await message_deletion.delete_messages(session, place, found.id, [external_id])
    await gate.audit(session, principal, "message.forget", found.id, {"message": external_id})
    return Receipt(gone, int(gone > 0))


async def set_retention(
    session: AsyncSession, principal: Principal, channel: str, days: int | None
) -> Coverage:
    """How long a channel's messages are kept; None keeps them."""
    source = await managed_source(session, principal, channel)
    refuse_removing(source)
    if days is not None and not 1 <= days <= RETENTION_MAX_DAYS:
        raise InvalidInput(
            f"{days} days is not allowed; give 1 to {RETENTION_MAX_DAYS:,}.", field="days"
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
    return await coverage_of(session, source)


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
        await message_deletion.delete_messages(session, place, channel.id, old)
    return len(old)


async def expire_again(session: AsyncSession, source_id: str) -> None:
    """Look again tomorrow, as long as the channel keeps its messages for a time only."""
    source = await session.get(Source, source_id)
    if source is not None and source.settings.get("retention_days") is not None:
        await queue_expiry(session, source, at=clock.now() + EXPIRE_EVERY)
