"""A person's own conversations: started, listed, read back, renamed, deleted.

`Answers` calls this for the doors that show them. What a later prompt may use of a conversation is
in `conversations.py`; the same rule holds here: a turn is shown only while its reader may read all
that it rests on. A channel's conversations are nobody's own and are not found here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Select, delete, func, select
from sqlalchemy.ext.asyncio import AsyncSession

from engine.access.cited import readable_chunks
from engine.access.gate import usable_tokens
from engine.answers import clarifying
from engine.answers.conversations import GONE, admits, name_of_key, open_conversation
from engine.db.tables import Assistant, Conversation, Turn
from engine.domain import Answer, Audience, Citation, Principal
from engine.errors import Forbidden, InvalidInput, NotFound

NAME_MAX = 200  # characters, the column's width
LISTED_MAX = 200
TURNS_MAX = 500  # of a conversation, the newest


@dataclass(frozen=True, slots=True)
class ConversationInfo:
    """A conversation: `name` is its own or its first question, `updated_at` is its last turn's."""

    id: str
    name: str
    door: str
    turn_count: int
    created_at: datetime
    updated_at: datetime
    assistant: str = ""  # the slug of the one it was begun with, while that exists


@dataclass(frozen=True, slots=True)
class TurnInfo:
    """A question and its answer. `is_readable` False: the answer's words are withheld.

    Then its reader may no longer read a source of it, or the source is gone or has changed.
    """

    id: str
    question: str
    answer: Answer
    is_readable: bool
    took_ms: float
    created_at: datetime


async def start(
    session: AsyncSession,
    principal: Principal,
    *,
    name: str = "",
    door: str = "",
    assistant_id: str = "",
) -> ConversationInfo:
    """A new conversation of the principal, without turns."""
    _require_owner(principal)
    id_ = await open_conversation(
        session, principal, door=door, name=_checked(name), assistant_id=assistant_id
    )
    return await get(session, principal, id_)


async def list_own(
    session: AsyncSession, principal: Principal, *, limit: int, before: str = ""
) -> list[ConversationInfo]:
    """The principal's conversations, newest first; `before` is the id of the last one seen."""
    query = _own(principal).order_by(Conversation.id.desc()).limit(min(limit, LISTED_MAX))
    if before:
        query = query.where(Conversation.id < before)
    return [_info(row) for row in (await session.execute(query)).all()]


async def get(
    session: AsyncSession, principal: Principal, conversation_id: str
) -> ConversationInfo:
    """One of the principal's conversations; `NotFound` for any other."""
    query = _own(principal).where(Conversation.id == conversation_id)
    row = (await session.execute(query)).one_or_none()
    if row is None:
        raise NotFound(f"No conversation {conversation_id[:64]!r} of yours.")
    return _info(row)


async def turns(
    session: AsyncSession, principal: Principal, audience: Audience, conversation_id: str
) -> list[TurnInfo]:
    """The turns of one of the principal's conversations, oldest first."""
    await get(session, principal, conversation_id)
    query = (
        select(Turn)
        .where(Turn.conversation_id == conversation_id, Turn.tenant_id == principal.tenant_id)
        .order_by(Turn.id.desc())
        .limit(TURNS_MAX)
    )
    rows = list(await session.scalars(query))
    readable = await readable_chunks(
        session,
        principal.tenant_id,
        usable_tokens(principal, audience),
        {source for row in rows for source in row.sources},
    )
    return [
        _turn(row, is_readable=admits(row.sources, row.audience, readable, audience))
        for row in reversed(rows)
    ]


async def rename(
    session: AsyncSession, principal: Principal, conversation_id: str, name: str
) -> ConversationInfo:
    """Give one of the principal's conversations another name."""
    await get(session, principal, conversation_id)
    row = await session.get_one(Conversation, conversation_id)
    row.name = _checked(name)
    await session.flush()
    return await get(session, principal, conversation_id)


async def remove(
    session: AsyncSession, principal: Principal, conversation_id: str
) -> ConversationInfo:
    """Delete one of the principal's conversations with all its turns."""
    found = await get(session, principal, conversation_id)
    await session.execute(
        delete(Turn).where(Turn.conversation_id == found.id, Turn.tenant_id == principal.tenant_id)
    )
    await session.execute(
        delete(Conversation).where(
            Conversation.id == found.id, Conversation.tenant_id == principal.tenant_id
        )
    )
    return found


Row = tuple[str, str, str, datetime, int, datetime | None, str | None, str | None]


def _own(principal: Principal) -> Select[Row]:
    _require_owner(principal)
    of_key = name_of_key(principal)
    outside = Conversation.external_id
    named = outside.startswith(of_key) if of_key else outside == ""
    mine = select(Turn).where(Turn.conversation_id == Conversation.id)
    first = mine.with_only_columns(Turn.question).order_by(Turn.id).limit(1)
    return select(
        Conversation.id,
        Conversation.name,
        Conversation.door,
        Conversation.created_at,
        mine.with_only_columns(func.count(Turn.id)).scalar_subquery(),
        mine.with_only_columns(func.max(Turn.created_at)).scalar_subquery(),
        first.scalar_subquery(),
        select(Assistant.slug)
        .where(
            Assistant.id == Conversation.assistant_id,
            Assistant.tenant_id == Conversation.tenant_id,
        )
        .scalar_subquery(),
    ).where(
        Conversation.tenant_id == principal.tenant_id,
        Conversation.user_id == principal.user_id,
        named,
    )


def _info(row: Sequence[Any]) -> ConversationInfo:
    id_, name, door, created_at, count, last_at, question, assistant = row
    return ConversationInfo(
        id=id_,
        name=name or _short(question or ""),
        door=door,
        turn_count=count,
        created_at=created_at,
        updated_at=last_at or created_at,
        assistant=assistant or "",
    )


def _turn(row: Turn, *, is_readable: bool) -> TurnInfo:
    answer = Answer(
        text=row.answer if is_readable else GONE,
        grounded=row.grounded and is_readable,
        confidence=row.confidence if is_readable else 0.0,
        citations=[Citation(**item) for item in row.citations] if is_readable else (),
        searched_kbs=(),
        model=row.model,
        prompt=row.prompt,
        choices=tuple(clarifying.parse(row.answer)) if is_readable else (),
        input_tokens=row.input_tokens,
        output_tokens=row.output_tokens,
        turn_id=row.id,
        conversation_id=row.conversation_id,
    )
    return TurnInfo(row.id, row.question, answer, is_readable, row.took_ms, row.created_at)


def _short(question: str) -> str:
    said = " ".join(question.split())
    return said if len(said) <= 80 else said[:79].rstrip() + "…"


def _checked(name: str) -> str:
    plain = " ".join(name.replace("\0", " ").split())
    if len(plain) > NAME_MAX:
        raise InvalidInput(
            f"The name has {len(plain)} characters; the limit is {NAME_MAX}.", field="name"
        )
    return plain


def _require_owner(principal: Principal) -> None:
    if principal.user_id is None and not name_of_key(principal):
        raise Forbidden("Conversations belong to a member: link this account to one first.")
