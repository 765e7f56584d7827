"""Questions that got no answer or a poor one, gathered into gaps with a state each.

A gap is not a row: questions are clustered when somebody looks, and only those whose text they may
see: their own, and those asked in channels they may read. So neither a gap's name nor its size
tells anything of a question asked elsewhere. What is kept is what somebody decided about a
question (`gap_mark`), and a gap has the state that most of its questions have.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import ColumnElement, and_, func, or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from engine import clock
from engine.access import gate
from engine.db.session import upsert
from engine.db.tables import Conversation, GapMark, Membership, Turn, User
from engine.domain import Principal
from engine.errors import InvalidInput, NotFound
from engine.insight.clustering import cluster, medoid, name_of, terms_of

MarkState = Literal["open", "assigned", "closed", "out_of_scope"]
GapState = Literal["open", "assigned", "closed", "out_of_scope", "answered"]
MARKS: tuple[MarkState, ...] = get_args(MarkState)
QUESTIONS_MAX = 300  # the newest distinct ones: what bounds the work of one look
ANSWERED_MAX = 300
HALF_LIFE = timedelta(days=14)  # of a question's weight in the order of gaps
SHOWN = 20  # questions of a gap


@dataclass(frozen=True, slots=True)
class GapQuestion:
    """A question of a gap, in the words of whoever asked it."""

    turn_id: str
    text: str
    asked_at: datetime


@dataclass(frozen=True, slots=True)
class QuestionGap:
    """Questions that mean the same and were not or badly answered.

    `id` is that of its first question; `times` counts questions, `people` those who asked them.
    `name` is its most telling words, `question` the one in the middle of it. A gap is `answered`
    once somebody asked the same later and got an answer.
    """

    id: str
    name: str
    question: str
    state: GapState
    assignee: str
    times: int
    people: int
    first_at: datetime
    last_at: datetime
    questions: Sequence[GapQuestion]
    turn_ids: Sequence[str]


@dataclass(frozen=True, slots=True)
class AskedTurn:
    """A question as it was asked: who by, and what came of it."""

    turn_id: str
    question: str
    asker: str
    is_answered: bool
    at: datetime


async def read_asked(
    session: AsyncSession, principal: Principal, *, days: int
) -> tuple[list[AskedTurn], list[AskedTurn]]:
    """Questions the principal may see of the last days: without a good answer, and with one."""
    gate.require_verb(principal, "insight.list")
    disliked = func.coalesce(Turn.feedback, 0) < 0
    poor = or_(Turn.grounded.is_(False), disliked)
    good = and_(Turn.grounded.is_(True), ~disliked)
    return (
        await _asked(session, principal, days, poor, QUESTIONS_MAX),
        await _asked(session, principal, days, good, ANSWERED_MAX),
    )


async def _asked(
    session: AsyncSession,
    principal: Principal,
    days: int,
    condition: ColumnElement[bool],
    limit: int,
) -> list[AskedTurn]:
    rows = await session.execute(
        select(
            Turn.id,
            Turn.question,
            Conversation.user_id,
            Turn.conversation_id,
            Turn.grounded,
            Turn.created_at,
        )
        .join(Conversation, Conversation.id == Turn.conversation_id)
        .where(
            Turn.tenant_id == principal.tenant_id,
            Turn.audience.in_(gate.audiences_seen(principal)),
            Turn.created_at >= clock.now() - timedelta(days=days),
            condition,
        )
        .order_by(Turn.created_at.desc(), Turn.id.desc())
        .limit(limit)
    )
    return [AskedTurn(row[0], row[1], row[2] or row[3], bool(row[4]), row[5]) for row in rows]


def texts_of(*asked: Sequence[AskedTurn]) -> list[str]:
    """The distinct texts of questions, as they are embedded."""
    return list(dict.fromkeys(normal(one.question) for some in asked for one in some))


def normal(question: str) -> str:
    """A question as it is compared: white space and the end of it aside."""
    return " ".join(question.split()).rstrip("?!. ")[:300].lower()


def gather(
    poor: Sequence[AskedTurn],
    good: Sequence[AskedTurn],
    vectors: Mapping[str, NDArray[np.float32]],
    marks: Mapping[str, tuple[str, str]],
    *,
    close: float,
) -> list[QuestionGap]:
    """The gaps among some questions, the weightiest first; `marks` are state and assignee by turn."""
    texts = texts_of(poor)
    if not texts:
        return []
    same = 1 - (1 - close) / 3  # from here on an answered question is one of the gap
    matrix = np.stack([vectors[text] for text in texts])
    terms = [terms_of(text) for text in texts]
    by_text: dict[str, list[AskedTurn]] = {}
    for one in poor:
        by_text.setdefault(normal(one.question), []).append(one)
    gaps = []
    for group in cluster(matrix, terms, close=close):
        asked = sorted(
            (one for n in group for one in by_text[texts[n]]), key=lambda one: (one.at, one.turn_id)
        )
        middle = by_text[texts[medoid(group, matrix)]][0].question
        words = name_of([terms[n] for n in group], terms)
        state, assignee = _state(asked, marks)
        if state in {"open", "assigned"} and _answered_since(asked, good, vectors, same):
            state = "answered"
        gaps.append(
            QuestionGap(
                id=asked[0].turn_id,
                name=", ".join(words),
                question=middle,
                state=state,
                assignee=assignee,
                times=len(asked),
                people=len({one.asker for one in asked}),
                first_at=asked[0].at,
                last_at=asked[-1].at,
                questions=[
                    GapQuestion(one.turn_id, one.question, one.at) for one in asked[-SHOWN:]
                ],
                turn_ids=[one.turn_id for one in asked],
            )
        )
    return sorted(gaps, key=lambda gap: (-_weight(gap), gap.id))


def _weight(gap: QuestionGap) -> float:
    age = (clock.now() - gap.last_at) / HALF_LIFE
    return float(gap.times * gap.people * 0.5**age)


def _state(
    asked: Sequence[AskedTurn], marks: Mapping[str, tuple[str, str]]
) -> tuple[GapState, str]:
    """What was decided about most of the questions; a new one counts as open."""
    counts = Counter(marks.get(one.turn_id, ("open", ""))[0] for one in asked)
    state = max(MARKS, key=lambda name: (counts[name], MARKS.index(name)))
    assignees = [marks[one.turn_id][1] for one in asked if one.turn_id in marks]
    return state, (assignees[-1] if state == "assigned" and assignees else "")


def _answered_since(
    asked: Sequence[AskedTurn],
    good: Sequence[AskedTurn],
    vectors: Mapping[str, NDArray[np.float32]],
    same: float,
) -> bool:
    own = np.stack([vectors[normal(one.question)] for one in asked])
    return any(
        one.at > asked[-1].at and float((own @ vectors[normal(one.question)]).max()) >= same
        for one in good
    )


async def read_marks(
    session: AsyncSession, tenant_id: str, turn_ids: Sequence[str]
) -> dict[str, tuple[str, str]]:
    """State and assignee's name by turn."""
    rows = await session.execute(
        select(GapMark.turn_id, GapMark.state, User.name)
        .outerjoin(User, User.id == GapMark.assignee_id)
        .where(GapMark.tenant_id == tenant_id, GapMark.turn_id.in_(turn_ids))
    )
    return {row[0]: (row[1], row[2] or "") for row in rows}


async def mark(
    session: AsyncSession,
    principal: Principal,
    gap: QuestionGap,
    state: str,
    assignee: str,
) -> None:
    """Decide about the questions of a gap; `assigned` needs somebody, by address or id."""
    gate.require_verb(principal, "insight.list")
    if state not in MARKS:
        raise InvalidInput(f"A gap is {', '.join(MARKS)}, not {state[:40]!r}.", field="state")
    if bool(assignee) != (state == "assigned"):
        raise InvalidInput(
            "`assignee` is for the state `assigned`, which needs one.", field="assignee"
        )
    assignee_id = await _member(session, principal.tenant_id, assignee) if assignee else None
    for turn_id in gap.turn_ids:
        values = {
            "state": state,
            "assignee_id": assignee_id,
            "marked_by": principal.user_id,
            "marked_at": clock.now(),
        }
        statement = upsert(session, GapMark).values(
            turn_id=turn_id, tenant_id=principal.tenant_id, **values
        )
        await session.execute(
            statement.on_conflict_do_update(index_elements=["turn_id"], set_=values)
        )
    await gate.audit(session, principal, "gap.mark", gap.id, {"state": state})


async def _member(session: AsyncSession, tenant_id: str, ref: str) -> str:
    found: str | None = await session.scalar(
        select(User.id)
        .join(Membership, Membership.user_id == User.id)
        .where(Membership.tenant_id == tenant_id, or_(User.id == ref, User.email == ref.lower()))
    )
    if found is None:
        raise NotFound(f"No member {ref[:100]!r}: give an address or an id.")
    return found
