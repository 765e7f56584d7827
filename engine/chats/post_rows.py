"""Posts: what a bot was asked, and which message shows its reply.

A question is accepted in one transaction: its post and its `answer` job, once however often the
platform delivers it. The bot's process claims the job and keeps here which message shows its
reply, so that a process that takes the job over continues in the same message.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Literal

from sqlalchemy import ColumnElement, Select, bindparam, func, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncSession

from engine import clock
from engine.chats.forgetting import scrub_post
from engine.chats.sender_rows import Sender
from engine.db.tables import Identity, Job, Post, Workspace
from engine.domain import JobState, Lane
from engine.errors import NotFound
from engine.jobs.endings import finish
from engine.jobs.leases import ClaimedJob
from engine.jobs.outbox import enqueue

ATTEMPTS = 6

Surface = Literal["channel", "direct", "private"]


class PostState(StrEnum):
    """pending → shown → ended | failed | silent | withdrawn."""

    PENDING = "pending"  # nothing was shown yet
    SHOWN = "shown"  # there is a message, its text is still coming
    ENDED = "ended"  # the answer, or why there is none
    FAILED = "failed"  # an apology
    SILENT = "silent"  # overheard, and not sure enough to speak
    WITHDRAWN = "withdrawn"  # the question or the reply was deleted


def answer_kind(platform: str) -> str:
    """The kind of a platform's `answer` jobs: a bot's process claims those it can reply to."""
    return f"answer:{platform}"


def interaction_kind(platform: str) -> str:
    """The kind of a platform's other jobs: commands, buttons, greetings."""
    return f"interaction:{platform}"


@dataclass(frozen=True, slots=True)
class NewQuestion:
    """A question as it is accepted; ids of messages are the platform's."""

    platform: str
    sender: Sender
    surface: Surface
    channel: str
    question: str
    question_id: str = ""
    thread: str = ""
    addressed: bool = True
    turn_id: str | None = None  # an answer there is already, to be shown if it may be
    key: str = ""  # what makes it the same question when it is delivered again
    details: Mapping[str, Any] | None = None  # what the platform's adapter needs to reply


@dataclass(frozen=True, slots=True)
class AcceptedQuestion:
    """What became of a question: `is_new` is False where it had been accepted before."""

    post_id: str
    job_id: str
    sender: Sender
    is_new: bool
    ahead: int  # questions of the installation that wait before it


@dataclass(frozen=True, slots=True)
class PostInfo:
    """A post as the bot works on it."""

    id: str
    job_id: str
    sender: Sender
    platform: str
    workspace: str
    person: str
    surface: Surface
    channel: str
    thread: str
    question_id: str
    message_id: str
    question: str
    addressed: bool
    state: PostState
    turn_id: str | None
    escalated_at: datetime | None
    resolved_at: datetime | None
    created_at: datetime


# The platform is acknowledged after these: built once, and no more of them than it takes.
_LOOK = select(
    select(Job.id)
    .where(Job.tenant_id == bindparam("tenant_id"), Job.idempotency_key == bindparam("key"))
    .scalar_subquery()
    .label("known"),
    select(func.count())
    .where(Job.kind == bindparam("kind"), Job.state == JobState.QUEUED)
    .scalar_subquery()
    .label("ahead"),
)
_ADD_POST = {
    name: dialect.insert(Post.__table__)
    .on_conflict_do_nothing(index_elements=["job_id"])
    .returning(Post.id)
    for name, dialect in (("postgresql", postgresql), ("sqlite", sqlite))
}


async def accept(session: AsyncSession, new: NewQuestion) -> AcceptedQuestion:
    """Accept a question: its post and its job exist once the caller's transaction commits."""
    tenant_id = new.sender.tenant_id
    kind = answer_kind(new.platform)
    key = f"{kind}:{new.key}"[:200] if new.key else None
    values = {"tenant_id": tenant_id, "kind": kind, "key": key}
    looked = (await session.execute(_LOOK, values)).one()
    if looked.known is not None:
        known_id = await session.scalar(_post_of(looked.known))
        if known_id is not None:
            return AcceptedQuestion(known_id, looked.known, new.sender, is_new=False, ahead=0)
    post_id = clock.new_id()
    job_id = await enqueue(
        session,
        tenant_id=tenant_id,
        kind=kind,
        payload={"post_id": post_id, **(new.details or {})},
        lane=Lane.LIVE,
        idempotency_key=key,
        max_attempts=ATTEMPTS,
    )
    row = {
        "id": post_id,
        "tenant_id": tenant_id,
        "job_id": job_id,
        "workspace_id": new.sender.workspace_id,
        "channel_id": new.sender.channel_id,
        "identity_id": new.sender.identity_id,
        "surface": new.surface,
        "channel": new.channel,
        "thread": new.thread,
        "question_id": new.question_id,
        "question": new.question,
        "turn_id": new.turn_id,
        "addressed": new.addressed,
    }
    if await session.scalar(_ADD_POST[session.get_bind().dialect.name], row) is None:
        # Delivered twice at the same time, and the other was quicker.
        known_id = (await session.scalars(_post_of(job_id))).one()
        return AcceptedQuestion(known_id, job_id, new.sender, is_new=False, ahead=0)
    return AcceptedQuestion(post_id, job_id, new.sender, is_new=True, ahead=looked.ahead)


def _post_of(job_id: str) -> Select[str]:
    return select(Post.id).where(Post.job_id == job_id)


async def accept_interaction(
    session: AsyncSession,
    platform: str,
    sender: Sender,
    payload: Mapping[str, object],
    *,
    key: str = "",
) -> str:
    """The id of a job for something else the bot is to do: a command, a greeting, a button."""
    whose = {
        "workspace_id": sender.workspace_id,
        "channel_id": sender.channel_id,
        "identity_id": sender.identity_id,
    }
    return await enqueue(
        session,
        tenant_id=sender.tenant_id,
        kind=interaction_kind(platform),
        payload={**payload, "met": whose},
        lane=Lane.LIVE,
        idempotency_key=f"interaction:{key}"[:200] if key else None,
        max_attempts=ATTEMPTS,
    )


async def finish_interaction(session: AsyncSession, job: ClaimedJob) -> None:
    """The interaction is done, and what somebody said for it need not be kept."""
    await finish(session, job)
    await session.execute(update(Job).where(Job.id == job.id).values(payload={}))


def sender_of(job: ClaimedJob) -> Sender:
    """The person an interaction is for."""
    whose = job.payload["met"]
    return Sender(job.tenant_id, whose["workspace_id"], whose["identity_id"], whose["channel_id"])


async def get_post(session: AsyncSession, tenant_id: str, post_id: str) -> PostInfo:
    """One post of the tenant."""
    found = await _posts(session, *_own(tenant_id, post_id))
    if not found:
        raise NotFound("This answer no longer exists.")
    return found[0]


async def post_for(session: AsyncSession, sender: Sender, post_id: str) -> PostInfo:
    """A post for somebody of its workspace who pressed one of its buttons."""
    found = await get_post(session, sender.tenant_id, post_id)
    if found.sender.workspace_id != sender.workspace_id:
        raise NotFound("This answer no longer exists.")
    return found


async def posts_to(
    session: AsyncSession, tenant_id: str, workspace_id: str, channel: str, question_id: str
) -> list[PostInfo]:
    """The posts that answer a message, newest first."""
    return await _posts(
        session,
        Post.tenant_id == tenant_id,
        Post.workspace_id == workspace_id,
        Post.channel == channel,
        Post.question_id == question_id,
    )


async def whose_question(
    session: AsyncSession, platform: str, channel: str, message_id: str
) -> tuple[str, str] | None:
    """Workspace and person, in the platform's ids, of a message that was a question; else None.

    For platforms that tell of a deleted message neither: `message_id` is unique among all of them.
    """
    found = await session.execute(
        select(Workspace.external_id, Identity.subject)
        .join(Post, Post.workspace_id == Workspace.id)
        .join(Identity, Identity.id == Post.identity_id)
        .where(
            Workspace.platform == platform,
            Post.channel == channel,
            Post.question_id == message_id,
        )
        .limit(1)
    )
    row = found.one_or_none()
    return (row[0], row[1]) if row is not None else None


async def workspace_of_post(
    session: AsyncSession, platform: str, person: str, post_id: str
) -> str | None:
    """The workspace, in the platform's id, of an answer to somebody; None for any other."""
    return await session.scalar(
        select(Workspace.external_id)
        .join(Post, Post.workspace_id == Workspace.id)
        .join(Identity, Identity.id == Post.identity_id)
        .where(Workspace.platform == platform, Identity.subject == person, Post.id == post_id)
    )


async def is_in_conversation(
    session: AsyncSession, workspace_id: str, channel: str, thread: str
) -> bool:
    """Whether the bot has been asked in a thread before, so that it listens there."""
    found = await session.scalar(
        select(Post.id)
        .where(
            Post.workspace_id == workspace_id,
            Post.channel == channel,
            Post.thread == thread,
            Post.surface != "private",
            Post.addressed.is_(True) | (Post.state == PostState.ENDED),
        )
        .limit(1)
    )
    return found is not None


async def has_asked(
    session: AsyncSession, workspace_id: str, channel: str, thread: str, identity_id: str
) -> bool:
    """Whether somebody has asked the bot in a thread before, for all to see."""
    found = await session.scalar(
        select(Post.id)
        .where(
            Post.workspace_id == workspace_id,
            Post.channel == channel,
            Post.thread == thread,
            Post.surface != "private",
            Post.identity_id == identity_id,
        )
        .limit(1)
    )
    return found is not None


async def messages_in(
    session: AsyncSession, workspace_id: str, channel: str, thread: str
) -> set[str]:
    """The platform's ids of messages in a thread that show an answer."""
    found = await session.scalars(
        select(Post.message_id).where(
            Post.workspace_id == workspace_id,
            Post.channel == channel,
            Post.thread == thread,
            Post.message_id != "",
        )
    )
    return set(found)


async def recent_posts(
    session: AsyncSession, tenant_id: str, identity_id: str, *, limit: int = 5
) -> list[PostInfo]:
    """Somebody's own last questions that were answered, newest first."""
    return await _posts(
        session,
        Post.tenant_id == tenant_id,
        Post.identity_id == identity_id,
        Post.state == PostState.ENDED,
        limit=limit,
    )


async def _posts(session: AsyncSession, *where: Any, limit: int = 20) -> list[PostInfo]:  # noqa: ANN401
    rows = await session.execute(
        select(Post, Workspace.platform, Workspace.external_id, Identity.subject)
        .join(Workspace, Workspace.id == Post.workspace_id)
        .join(Identity, Identity.id == Post.identity_id)
        .where(*where)
        .order_by(Post.id.desc())
        .limit(limit)
    )
    return [_info(post, platform, team, person) for post, platform, team, person in rows]


def _info(row: Post, platform: str, workspace: str, person: str) -> PostInfo:
    surface: Surface = "private"
    if row.surface == "channel":
        surface = "channel"
    elif row.surface == "direct":
        surface = "direct"
    return PostInfo(
        id=row.id,
        job_id=row.job_id,
        sender=Sender(row.tenant_id, row.workspace_id, row.identity_id, row.channel_id),
        platform=platform,
        workspace=workspace,
        person=person,
        surface=surface,
        channel=row.channel,
        thread=row.thread,
        question_id=row.question_id,
        message_id=row.message_id,
        question=row.question,
        addressed=row.addressed,
        state=PostState(row.state),
        turn_id=row.turn_id,
        escalated_at=row.escalated_at,
        resolved_at=row.resolved_at,
        created_at=row.created_at,
    )


def _own(tenant_id: str, post_id: str) -> tuple[ColumnElement[bool], ...]:
    """One post, if it is the tenant's: another tenant's id changes nothing."""
    return Post.tenant_id == tenant_id, Post.id == post_id


async def note_message(
    session: AsyncSession, tenant_id: str, post_id: str, message_id: str
) -> None:
    """This message shows the reply from now on; kept before any more of it is shown."""
    await session.execute(
        update(Post)
        .where(*_own(tenant_id, post_id))
        .values(message_id=message_id, state=PostState.SHOWN, updated_at=clock.now())
    )


async def note_turn(session: AsyncSession, tenant_id: str, post_id: str, turn_id: str) -> None:
    """The answer exists: another attempt at showing it need not ask again."""
    await session.execute(
        update(Post)
        .where(*_own(tenant_id, post_id))
        .values(turn_id=turn_id or None, updated_at=clock.now())
    )


async def end_post(
    session: AsyncSession,
    tenant_id: str,
    post_id: str,
    state: PostState,
    *,
    job: ClaimedJob | None = None,
    message_id: str | None = None,
) -> None:
    """What became of a post, and with it its job."""
    values: dict[str, Any] = {"state": state, "updated_at": clock.now()}
    if message_id is not None:
        values["message_id"] = message_id
    await session.execute(
        update(Post)
        .where(*_own(tenant_id, post_id), Post.state != PostState.WITHDRAWN)
        .values(**values)
    )
    if job is not None:
        await finish(session, job)
        # What came with the question, such as a forwarded message, is not kept.
        kept = {"post_id": post_id}
        await session.execute(update(Job).where(Job.id == job.id).values(payload=kept))


async def withdraw(
    session: AsyncSession, tenant_id: str, post_id: str, *, forget: bool = False
) -> None:
    """The question or the reply is gone; an answer on its way is not shown any more.

    `forget`: the asker deleted the question, and its words go too.
    """
    if forget:
        await scrub_post(session, tenant_id, post_id)
    job_id = await session.scalar(
        update(Post)
        .where(*_own(tenant_id, post_id))
        .values(state=PostState.WITHDRAWN, updated_at=clock.now())
        .returning(Post.job_id)
    )
    await session.execute(
        update(Job)
        .where(Job.id == job_id, Job.state == JobState.RUNNING)
        .values(cancel_requested=True)
    )
    await session.execute(
        update(Job)
        .where(Job.id == job_id, Job.state == JobState.QUEUED)
        .values(state=JobState.CANCELLED)
    )


async def escalate(session: AsyncSession, tenant_id: str, post_id: str) -> bool:
    """Somebody wants a person's help with it; False where that was asked before."""
    done = await session.scalar(
        update(Post)
        .where(*_own(tenant_id, post_id), Post.escalated_at.is_(None))
        .values(escalated_at=clock.now())
        .returning(Post.id)
    )
    return done is not None


async def undo_escalation(session: AsyncSession, tenant_id: str, post_id: str) -> None:
    """Nobody was asked after all."""
    await session.execute(update(Post).where(*_own(tenant_id, post_id)).values(escalated_at=None))


async def resolve(session: AsyncSession, tenant_id: str, post_id: str) -> bool:
    """A person has helped; False where that was said before."""
    done = await session.scalar(
        update(Post)
        .where(
            *_own(tenant_id, post_id), Post.escalated_at.is_not(None), Post.resolved_at.is_(None)
        )
        .values(resolved_at=clock.now())
        .returning(Post.id)
    )
    return done is not None
