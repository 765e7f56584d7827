"""Moving a knowledge base to another embedding model: fill a new space, compare, switch in one step.

`Engine.reembed_kb` queues it, the worker's `ReembedKnowledgeBase` does it, from stored texts alone.
What answers keeps answering by the old space until one transaction names the new one; a document
that is ingested meanwhile is caught up with before the switch, or refused at its own end and done
again after it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import exists, or_, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from engine.access import gate
from engine.clock import now
from engine.db.tables import Document, Job, KnowledgeBase, Live, Revision
from engine.domain import JobState, Lane, Principal, Vectors
from engine.errors import Cancelled, Conflict, NotFound
from engine.index.port import RevisionRef, Space
from engine.jobs.kinds import REEMBED, REMOVE
from engine.jobs.outbox import append_event, enqueue
from engine.operations.reconcile import BATCH


@dataclass(frozen=True, slots=True)
class Reembedding:
    """What was queued: from which model's vectors to which, of how many documents."""

    kb_id: str
    name: str
    from_space: str
    to_space: str
    documents: int


@dataclass(frozen=True, slots=True)
class Move:
    """Where a knowledge base is and where it goes; `live` revisions with their chunks."""

    tenant_id: str
    kb_id: str
    old: Space
    new: Space
    live: Mapping[RevisionRef, int]


async def start(
    session: AsyncSession, principal: Principal, kb_id: str, space: Space
) -> Reembedding:
    """Queue the move to `space`; once queued, asking again changes nothing.

    Raises `Conflict` where the knowledge base is in that space already.
    """
    kb = await session.scalar(
        gate.select_managed_kbs(principal).where(KnowledgeBase.id == kb_id).with_for_update()
    )
    if kb is None:
        raise NotFound(f"No knowledge base {kb_id!r} that you may manage.")
    if kb.space == space.name:
        raise Conflict(
            f"{kb.name} already uses the vectors of {space.name}: first set another embedding "
            "model in the settings."
        )
    kb.next_space, kb.next_dimension = space.name, space.dimension
    kb.updated_at = now()
    queued = exists().where(
        Job.tenant_id == kb.tenant_id,
        Job.kind == REEMBED,
        Job.state.in_([JobState.QUEUED, JobState.RUNNING]),
        Job.payload["kb_id"].as_string() == kb.id,
        Job.payload["space"].as_string() == space.name,
    )
    if not await session.scalar(select(queued)):
        await enqueue(
            session,
            tenant_id=kb.tenant_id,
            kind=REEMBED,
            payload={"kb_id": kb.id, "space": space.name},
            lane=Lane.BULK,
        )
    return Reembedding(kb.id, kb.name, kb.space, space.name, kb.document_count)


async def plan(session: AsyncSession, tenant_id: str, kb_id: str, space: str) -> Move:
    """The move as it is now; `Cancelled` where nobody wants it any more."""
    kb = await session.get(KnowledgeBase, kb_id)
    if (
        kb is None
        or kb.tenant_id != tenant_id
        or kb.deleted_at is not None
        or kb.next_space != space
        or kb.next_dimension is None
    ):
        raise Cancelled("The knowledge base was deleted, or is moving to another model.")
    return Move(
        tenant_id=kb.tenant_id,
        kb_id=kb.id,
        old=Space(kb.space, kb.dimension),
        new=Space(kb.next_space, kb.next_dimension),
        live=await _live(session, kb_id),
    )


async def switch(session: AsyncSession, move: Move, held: Mapping[RevisionRef, int]) -> bool:
    """Name the new space, where it holds every live revision whole; else False, and no change."""
    kb = await session.get(KnowledgeBase, move.kb_id, with_for_update=True)
    if kb is None or kb.deleted_at is not None or kb.next_space != move.new.name:
        raise Cancelled("The knowledge base was deleted, or is moving to another model.")
    live = await _live(session, move.kb_id)
    if any(held.get(ref, 0) != chunks for ref, chunks in live.items()):
        return False
    kb.space, kb.dimension = move.new.name, move.new.dimension
    kb.next_space = kb.next_dimension = None
    kb.updated_at = now()
    ids = [ref.revision_id for ref in live]
    for start_ in range(0, len(ids), BATCH):
        some = ids[start_ : start_ + BATCH]
        await session.execute(
            update(Revision)
            .where(Revision.id.in_(some))
            .values(space=move.new.name, vectors=Vectors.COMPLETE)
            .execution_options(synchronize_session=False)
        )
        documents = select(Revision.document_id).where(Revision.id.in_(some))
        await session.execute(
            update(Document)
            .where(Document.id.in_(documents))
            .values(vectors=Vectors.COMPLETE)
            .execution_options(synchronize_session=False)
        )
    await _clear(session, move, list(live))
    await append_event(
        session,
        move.tenant_id,
        "knowledge_base.reembedded",
        {"kb_id": kb.id, "from": move.old.name, "to": move.new.name, "documents": len(live)},
    )
    return True


async def is_unused(session: AsyncSession, tenant_id: str, space: Space) -> bool:
    """Whether no knowledge base of a tenant is in a space or on its way there."""
    used = exists().where(
        KnowledgeBase.tenant_id == tenant_id,
        KnowledgeBase.deleted_at.is_(None),
        or_(KnowledgeBase.space == space.name, KnowledgeBase.next_space == space.name),
    )
    return not await session.scalar(select(used))


async def _live(session: AsyncSession, kb_id: str) -> dict[RevisionRef, int]:
    rows = await session.execute(
        select(Live.document_id, Live.revision_id, Revision.chunk_count - Revision.hidden_chunks)
        .join(Revision, Revision.id == Live.revision_id)
        .join(Document, Document.id == Live.document_id)
        .where(Live.kb_id == kb_id, Document.deleted_at.is_(None))
    )
    return {RevisionRef(document_id, revision_id): n for document_id, revision_id, n in rows}


async def _clear(session: AsyncSession, move: Move, refs: Sequence[RevisionRef]) -> None:
    """Queue what the old space holds of the knowledge base to be taken out of it."""
    old = move.old
    for start_ in range(0, len(refs), BATCH):
        named = [
            [old.name, old.dimension, ref.document_id, ref.revision_id]
            for ref in refs[start_ : start_ + BATCH]
        ]
        await enqueue(
            session,
            tenant_id=move.tenant_id,
            kind=REMOVE,
            payload={"revisions": named},
            lane=Lane.BULK,
        )
