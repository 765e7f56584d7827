"""Conversations: what was asked and answered before, and which of it may be used again.

A stored turn keeps every source that entered its context. It enters a later prompt only when
everyone who will see the new answer may read all of them, as they are now.
"""

from __future__ import annotations

from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from dataclasses import asdict, dataclass

from sqlalchemy import Row, insert, select
from sqlalchemy.ext.asyncio import AsyncSession

from engine.access.cited import all_readable, readable_chunks
from engine.access.gate import usable_tokens
from engine.clock import new_id, now
from engine.db.tables import Conversation, Turn
from engine.domain import Answer, Audience, Principal, parse_chunk_id
from engine.errors import NotFound

_OF_KEY = "key:"  # begins the outside name of a conversation of a service key
TURNS = 6  # of a conversation that are read back
GONE = "(The sources of this answer were deleted or changed.)"  # in place of its words


@dataclass(frozen=True, slots=True)
class PastTurn:
    """A question and its answer that the present audience may know of, and what they rest on."""

    question: str
    answer: str
    grounded: bool
    sources: Sequence[str] = ()


async def open_conversation(
    session: AsyncSession,
    principal: Principal,
    *,
    door: str = "",
    external_id: str = "",
    name: str = "",
    assistant_id: str = "",
) -> str:
    """The id of the conversation a door calls `external_id`, or of a new one."""
    if external_id:
        known = await session.scalar(
            select(Conversation.id).where(
                Conversation.tenant_id == principal.tenant_id,
                Conversation.door == door,
                Conversation.external_id == external_id,
            )
        )
        if known is not None:
            return known
    conversation_id = new_id()
    if not external_id and (of_key := name_of_key(principal)):
        external_id = f"{of_key}{conversation_id}"
    # A channel's conversation (one with an outside name) belongs to nobody in particular.
    owner = None if external_id else principal.user_id
    await session.execute(
        insert(Conversation).values(
            id=conversation_id,
            tenant_id=principal.tenant_id,
            user_id=owner,
            door=door,
            external_id=external_id,
            name=name,
            assistant_id=assistant_id,
            created_at=now(),
        )
    )
    return conversation_id


async def check_conversation(
    session: AsyncSession, principal: Principal, conversation_id: str, *, door: str = ""
) -> None:
    """Return when the conversation is the principal's, or nobody's and of this `door`.

    Else `NotFound`: a channel's conversation continues in the channel, not for anyone who learns its id.
    """
    row = (
        await session.execute(
            select(Conversation.user_id, Conversation.door, Conversation.external_id).where(
                Conversation.id == conversation_id,
                Conversation.tenant_id == principal.tenant_id,
            )
        )
    ).one_or_none()
    if row is None or not _is_theirs(principal, row, door):
        raise no_such_conversation(conversation_id)


def no_such_conversation(conversation_id: str) -> NotFound:
    """What is said of one that there is not, and of one that is not the principal's."""
    return NotFound(f"No conversation {conversation_id!r} of yours.")


def _is_theirs(principal: Principal, row: Row[str | None, str, str], door: str) -> bool:
    user_id, of_door, external_id = row
    if user_id is not None:
        return user_id == principal.user_id
    if external_id.startswith(_OF_KEY):
        return external_id.startswith(name_of_key(principal) or "-")
    return of_door == door


def name_of_key(principal: Principal) -> str:
    """How the outside names of a service key's conversations begin; empty for anybody else."""
    if principal.user_id is not None or principal.api_token_id is None:
        return ""
    return f"{_OF_KEY}{principal.api_token_id}:"


async def assistant_of_conversation(
    session: AsyncSession, principal: Principal, conversation_id: str
) -> str:
    """The id of the assistant it was begun with; empty for none, and for no conversation."""
    found = await session.scalar(
        select(Conversation.assistant_id).where(
            Conversation.id == conversation_id, Conversation.tenant_id == principal.tenant_id
        )
    )
    return found or ""


async def assistant_of_turn(session: AsyncSession, principal: Principal, turn_id: str) -> str:
    """The id of the assistant that gave an answer; empty for none."""
    found = await session.scalar(
        select(Turn.assistant_id).where(Turn.id == turn_id, Turn.tenant_id == principal.tenant_id)
    )
    return found or ""


async def admissible_turns(
    session: AsyncSession,
    principal: Principal,
    audience: Audience,
    conversation_id: str,
    *,
    door: str = "",
) -> list[PastTurn]:
    """The last turns all of whose sources this audience may read now, oldest first."""
    await check_conversation(session, principal, conversation_id, door=door)
    rows = (
        await session.execute(
            select(Turn.question, Turn.answer, Turn.grounded, Turn.sources, Turn.audience)
            .where(Turn.conversation_id == conversation_id, Turn.tenant_id == principal.tenant_id)
            .order_by(Turn.id.desc())
            .limit(TURNS)
        )
    ).all()
    readable = await readable_chunks(
        session,
        principal.tenant_id,
        usable_tokens(principal, audience),
        {source for row in rows for source in row.sources},
    )
    return [
        PastTurn(row.question, row.answer, row.grounded, row.sources)
        for row in reversed(rows)
        if admits(row.sources, row.audience, readable, audience)
    ]


@dataclass(frozen=True, slots=True)
class GivenAnswer:
    """A stored turn with all that it takes to answer it in more detail."""

    conversation_id: str
    question: str
    answer: str
    grounded: bool
    confidence: float
    sources: Sequence[str]  # what it cites first


async def given_answer(
    session: AsyncSession, principal: Principal, audience: Audience, turn_id: str
) -> GivenAnswer:
    """A turn all of whose sources this audience may read now; else `NotFound`."""
    row = await session.scalar(
        select(Turn).where(Turn.id == turn_id, Turn.tenant_id == principal.tenant_id)
    )
    if row is None or not row.sources:
        raise NotFound("This answer is not known any more.")
    tokens = usable_tokens(principal, audience)
    readable = await readable_chunks(session, principal.tenant_id, tokens, row.sources)
    if not admits(row.sources, row.audience, readable, audience):
        raise NotFound("This answer can't be shown here.")
    cited = [str(citation["id"]) for citation in row.citations]
    return GivenAnswer(
        conversation_id=row.conversation_id,
        question=row.question,
        answer=row.answer,
        grounded=row.grounded,
        confidence=row.confidence,
        sources=list(dict.fromkeys([*cited, *row.sources])),
    )


async def are_readable(
    session: AsyncSession, principal: Principal, audience: Audience, sources: Sequence[str]
) -> bool:
    """Whether everyone in the audience may read all of these chunks, at this moment."""
    tokens = usable_tokens(principal, audience)
    chunks = [source for source in sources if parse_chunk_id(source) is not None]
    return await all_readable(session, principal.tenant_id, tokens, chunks)


def admits(
    sources: Sequence[str], asked_for: str, readable: AbstractSet[str], audience: Audience
) -> bool:
    """Whether a turn that was asked for one audience may be known to another."""
    # What rests on no source still repeats what somebody said to another audience.
    if not sources:
        return asked_for == audience.key
    return readable >= set(sources)


async def store_turn(
    session: AsyncSession,
    principal: Principal,
    audience: Audience,
    conversation_id: str,
    question: str,
    answer: Answer,
    *,
    sources: Sequence[str],
    took_ms: float,
    assistant_id: str = "",
) -> str:
    """Keep a turn with all that entered its context; returns its id."""
    turn_id = new_id()
    await session.execute(
        insert(Turn).values(
            id=turn_id,
            tenant_id=principal.tenant_id,
            conversation_id=conversation_id,
            question=question,
            answer=answer.text,
            grounded=answer.grounded,
            confidence=answer.confidence,
            audience=audience.key,
            sources=list(dict.fromkeys(sources)),
            citations=[asdict(citation) for citation in answer.citations],
            model=answer.model,
            prompt=answer.prompt,
            input_tokens=answer.input_tokens,
            output_tokens=answer.output_tokens,
            took_ms=took_ms,
            feedback=None,
            assistant_id=assistant_id,
            created_at=now(),
        )
    )
    return turn_id
