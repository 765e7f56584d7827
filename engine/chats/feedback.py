"""What people thought of answers, and what a tenant's bots used."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import func, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from engine import clock
from engine.access import gate
from engine.chats.callers import Caller
from engine.chats.post_rows import post_for
from engine.db.tables import Conversation, Feedback, Post, Turn
from engine.domain import Principal, Scope
from engine.errors import InvalidInput, NotFound
from engine.insight.day_tables import day_changed

REASONS = ("wrong", "outdated", "missing", "not for me")


async def rate(
    session: AsyncSession,
    caller: Caller,
    post_id: str,
    rating: int,
    *,
    reason: str = "",
    text: str = "",
) -> None:
    """Keep somebody's opinion of an answer; a later one of theirs replaces it."""
    if rating not in {1, -1}:
        raise InvalidInput("A rating is 1 or -1.", field="rating")
    post = await post_for(session, caller.sender, post_id)
    if post.turn_id is None:
        raise NotFound("This answer no longer exists.")
    row = await session.scalar(
        select(Feedback).where(
            Feedback.turn_id == post.turn_id, Feedback.rater == caller.sender.identity_id
        )
    )
    if row is None:
        row = Feedback(
            id=clock.new_id(),
            tenant_id=caller.sender.tenant_id,
            turn_id=post.turn_id,
            rater=caller.sender.identity_id,
            rating=rating,
        )
        session.add(row)
    else:
        await day_changed(session, row.tenant_id, row.created_at)
    row.rating, row.reason, row.text = rating, reason[:40], text[:2000]
    await session.execute(update(Turn).where(Turn.id == post.turn_id).values(feedback=rating))
    await session.flush()


@dataclass(frozen=True, slots=True)
class Rated:
    """A line of the report on feedback."""

    question: str
    rating: int
    reason: str
    text: str
    at: datetime


async def feedback_report(
    session: AsyncSession, principal: Principal, *, limit: int = 10
) -> tuple[int, int, list[Rated]]:
    """How many were glad, how many not, and the last that were not.

    Only of questions asked in front of others: what somebody asked in private stays theirs.
    """
    gate.require(principal, Scope.KB_ADMIN)
    found = await session.execute(
        select(Feedback.rating, func.count())
        .where(Feedback.tenant_id == principal.tenant_id)
        .group_by(Feedback.rating)
    )
    counts: dict[int, int] = {row[0]: row[1] for row in found}
    rows = await session.execute(
        select(Turn.question, Feedback.rating, Feedback.reason, Feedback.text, Feedback.created_at)
        .join(Turn, Turn.id == Feedback.turn_id)
        .where(
            Feedback.tenant_id == principal.tenant_id,
            Feedback.rating < 0,
            Turn.audience.like("ch:%"),
        )
        .order_by(Feedback.id.desc())
        .limit(limit)
    )
    return counts.get(1, 0), counts.get(-1, 0), [Rated(*row) for row in rows]


@dataclass(frozen=True, slots=True)
class BotUsage:
    """What the bots did in some days."""

    questions: int
    answered: int
    people: int
    input_tokens: int
    output_tokens: int


async def usage(session: AsyncSession, principal: Principal, since: datetime) -> BotUsage:
    """Counts of the tenant's chat questions since a time."""
    gate.require(principal, Scope.KB_ADMIN)
    row = (
        await session.execute(
            select(
                func.count(Post.id),
                func.count(Turn.id).filter(Turn.grounded.is_(True)),
                func.count(Post.identity_id.distinct()),
                func.coalesce(func.sum(Turn.input_tokens), 0),
                func.coalesce(func.sum(Turn.output_tokens), 0),
            )
            .outerjoin(Turn, Turn.id == Post.turn_id)
            .where(Post.tenant_id == principal.tenant_id, Post.created_at >= since)
        )
    ).one()
    return BotUsage(*(int(value) for value in row))


async def tokens_spent(session: AsyncSession, tenant_id: str, since: datetime) -> int:
    """Tokens a tenant's answers took since a time, at every door."""
    return int(
        await session.scalar(
            select(func.coalesce(func.sum(Turn.input_tokens + Turn.output_tokens), 0))
            .join(Conversation, Conversation.id == Turn.conversation_id)
            .where(Turn.tenant_id == tenant_id, Turn.created_at >= since)
        )
        or 0
    )
