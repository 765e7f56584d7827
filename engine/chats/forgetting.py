"""What deleted messages leave behind besides documents: words in stored answers, and saved answers.

A deletion takes documents off in its own transaction, and from then on no answer that rests on
them is shown or goes into a prompt; a job drops the words of those answers too. What a curator
saved of a message goes at once, with the message.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncSession

from engine.answers.conversations import GONE
from engine.chats.batches import batches
from engine.db.session import Database
from engine.db.tables import Document, Feedback, Identity, Post, Revision, Source, Turn
from engine.domain import Lane, parse_chunk_id
from engine.jobs.kinds import SCRUB
from engine.jobs.outbox import enqueue

FORGOTTEN = "(forgotten)"
TURNS_AT_A_TIME = 500  # looked at in a transaction
SAVED = "answer:"  # what the external ids of saved answers begin with
SCRUBBED: dict[str, Any] = {"answer": GONE, "citations": []}


async def queue_scrub(session: AsyncSession, tenant_id: str, document_ids: Collection[str]) -> None:
    """Queue the job that drops the words of stored answers that rest on these documents."""
    for some in batches(sorted(document_ids)):
        found = await session.scalars(
            select(Revision.id).where(Revision.document_id.in_(some), Revision.blob_hash != "")
        )
        if revisions := sorted(found):
            await enqueue(
                session,
                tenant_id=tenant_id,
                kind=SCRUB,
                payload={"revisions": revisions},
                lane=Lane.INTERACTIVE,
                max_attempts=20,
            )


async def scrub_turns(db: Database, tenant_id: str, revisions: Collection[str]) -> int:
    """Drop the words of every stored answer that rests on one of these revisions; says how many.

    All that entered an answer's context counts: a model may have used what it did not cite.
    """
    wanted, after, scrubbed = set(revisions), "", 0
    while True:
        async with db.read() as session:
            rows = (
                await session.execute(
                    select(Turn.id, Turn.sources)
                    .where(Turn.tenant_id == tenant_id, Turn.id > after)
                    .order_by(Turn.id)
                    .limit(TURNS_AT_A_TIME)
                )
            ).all()
        if not rows:
            return scrubbed
        after = rows[-1].id
        ids = [row.id for row in rows if not wanted.isdisjoint(_revisions(row.sources))]
        if ids:
            statement = update(Turn).where(Turn.id.in_(ids)).values(**SCRUBBED)

            async def commit(session: AsyncSession, statement: Any = statement) -> None:  # noqa: ANN401
                await session.execute(statement)

            await db.run_write(commit)
            scrubbed += len(ids)


def _revisions(sources: Sequence[str]) -> set[str]:
    return {found[0] for found in map(parse_chunk_id, sources) if found is not None}


async def scrub_post(session: AsyncSession, tenant_id: str, post_id: str) -> None:
    """A question was deleted where it was asked: its words go, and those of its answer."""
    turn_id = await session.scalar(
        update(Post)
        .where(Post.tenant_id == tenant_id, Post.id == post_id)
        .values(question=FORGOTTEN)
        .returning(Post.turn_id)
    )
    await session.execute(
        update(Turn)
        .where(Turn.tenant_id == tenant_id, Turn.id == turn_id)
        .values(question=FORGOTTEN, **SCRUBBED)
    )


async def forget_questions(
    session: AsyncSession, tenant_id: str, workspace: str, subject: str
) -> int:
    """Drop the words of all that somebody asked the bot, and of what they said of its answers."""
    identity_id = await session.scalar(
        select(Identity.id).where(
            Identity.tenant_id == tenant_id,
            Identity.workspace_id == workspace,
            Identity.subject == subject,
        )
    )
    asked = list(await session.scalars(select(Post.id).where(Post.identity_id == identity_id)))
    for post_id in asked:
        await scrub_post(session, tenant_id, post_id)
    await session.execute(update(Feedback).where(Feedback.rater == identity_id).values(text=""))
    return len(asked)


def saved_key(channel: str, message_id: str) -> str:
    """How a saved answer names a message it holds words of; ids are the platform's."""
    return f"{channel}:{message_id}"


async def saved_from(
    session: AsyncSession, tenant_id: str, channel: str, message_ids: Collection[str]
) -> list[Document]:
    """The saved answers that hold words of these messages of a channel."""
    gone = {saved_key(channel, id_) for id_ in message_ids}
    uploads = select(Source.id).where(Source.tenant_id == tenant_id, Source.kind == "upload")
    saved = await session.scalars(
        select(Document).where(
            Document.source_id.in_(uploads),
            Document.external_id.startswith(SAVED),
            Document.deleted_at.is_(None),
        )
    )
    return [item for item in saved if not gone.isdisjoint(item.details.get("messages", ()))]
