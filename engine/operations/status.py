"""How the installation is doing: counts for people, health by dependency for machines."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import and_, exists, func, select
from sqlalchemy.ext.asyncio import AsyncSession

from engine import threads
from engine.access import gate
from engine.blobs.port import BlobStore, probe
from engine.db.session import Database
from engine.db.tables import Document, KnowledgeBase, Live, Revision, Worker
from engine.domain import MAIN, Principal, Scope, Vectors
from engine.errors import EngineError, Unavailable
from engine.index.port import RevisionRef, SearchIndex, Space
from engine.jobs import backlog, heartbeats
from engine.limits import Limits
from engine.operations import reconcile
from engine.operations.index_home import IndexHome

SAMPLED = 3  # files that are looked for
WORKER_ALIVE_S = 10.0  # a worker beats every second; one silent for longer is gone


@dataclass(frozen=True, slots=True)
class KbStatus:
    """One knowledge base: what answers in it, and what is on its way."""

    id: str
    name: str
    documents: int
    chunks: int
    tokens: int
    index_size_bytes: int
    updated_at: datetime
    states: Mapping[str, int]  # documents by state
    without_vectors: int  # documents that answer, and by their words alone
    space: str = ""  # of its vectors
    next_space: str = ""  # that it is moving to
    moved: int = 0  # documents with vectors there

    @property
    def waiting(self) -> int:
        """Documents that are pending or running."""
        return self.states.get("pending", 0) + self.states.get("running", 0)


@dataclass(frozen=True, slots=True)
class Status:
    """What `scrubjay status` shows."""

    knowledge_bases: Sequence[KbStatus]
    jobs: Mapping[str, Mapping[str, int]]  # by lane, then state
    workers: Sequence[str]
    is_index_full: bool  # a worker found it so a moment ago, and waits
    figures: Mapping[str, Mapping[str, float]]  # what each worker has counted since its start

    @property
    def waiting(self) -> int:
        """Documents that are pending or running."""
        return sum(kb.waiting for kb in self.knowledge_bases)


async def read_status(db: Database, index: SearchIndex, principal: Principal) -> Status:
    """The status of what the principal may read."""
    gate.require(principal, Scope.KB_READ)
    async with db.read() as session:
        kbs = await gate.readable_kbs(session, principal)
        counts = await gate.visible_counts(session, principal, kbs)
        states = await _states(session, principal)
        pending = await backlog.pending_counts(session, principal.tenant_id)
        workers = await heartbeats.live_workers(session, within_s=WORKER_ALIVE_S)
    spaces = {Space(kb.space, kb.dimension) for kb in kbs}
    sizes = {space.name: await _size_bytes(index, principal.tenant_id, space) for space in spaces}
    moved = {kb.id: await _moved(db, index, kb) for kb in kbs if kb.next_space}
    by_lane: dict[str, dict[str, int]] = {}
    for (lane, state), count in pending.items():
        by_lane.setdefault(lane, {})[state] = count
    return Status(
        knowledge_bases=[
            KbStatus(
                id=kb.id,
                name=kb.name,
                documents=counts[kb.id].documents,
                chunks=counts[kb.id].chunks,
                tokens=counts[kb.id].tokens,
                index_size_bytes=sizes[kb.space],
                updated_at=kb.updated_at,
                states=states.get(kb.id, ({}, 0))[0],
                without_vectors=states.get(kb.id, ({}, 0))[1],
                space=kb.space,
                next_space=kb.next_space or "",
                moved=moved.get(kb.id, 0),
            )
            for kb in kbs
        ],
        jobs=by_lane,
        workers=[_describe(worker) for worker in workers],
        is_index_full=any(worker.state == heartbeats.INDEX_FULL for worker in workers),
        figures={worker.id: worker.figures for worker in workers if worker.figures},
    )


def _describe(worker: Worker) -> str:
    waits = ", waits: the index is full" if worker.state == heartbeats.INDEX_FULL else ""
    return f"{worker.host} (process {worker.pid}{waits})"


async def _size_bytes(index: SearchIndex, tenant_id: str, space: Space) -> int:
    """0 where the folder can't be read: the rest of the status is wanted then all the more."""
    try:
        return (await index.stats(tenant_id, space)).size_bytes
    except Unavailable:
        return 0


async def _moved(db: Database, index: SearchIndex, kb: KnowledgeBase) -> int:
    """How many of its documents the space it moves to holds."""
    space = Space(kb.next_space or "", kb.next_dimension or 0)
    try:
        held = await index.revisions(kb.tenant_id, space)
    except Unavailable:
        return 0
    async with db.read() as session:
        rows = await session.execute(
            select(Live.document_id, Live.revision_id).where(
                Live.kb_id == kb.id, Live.branch == MAIN
            )
        )
    return sum(RevisionRef(*row) in held for row in rows)


async def _states(
    session: AsyncSession, principal: Principal
) -> dict[str, tuple[dict[str, int], int]]:
    is_live = exists().where(Live.document_id == Document.id, Live.branch == MAIN)
    by_words = and_(
        is_live.correlate(Document),
        Document.hidden.is_(False),
        Document.chunk_count > 0,
        Document.vectors != Vectors.COMPLETE,
    ).label("by_words")
    rows = await session.execute(
        select(Document.kb_id, Document.state, by_words, func.count())
        .where(gate.visible_document(principal.tenant_id, principal.tokens))
        .group_by(Document.kb_id, Document.state, by_words)
    )
    found: dict[str, tuple[dict[str, int], int]] = {}
    for kb_id, state, is_by_words, count in rows:
        states, missing = found.get(kb_id, ({}, 0))
        states[state] = states.get(state, 0) + count
        found[kb_id] = (states, missing + (count if is_by_words else 0))
    return found


async def read_health(
    db: Database,
    index: SearchIndex,
    blobs: BlobStore,
    limits: Limits,
    check_model: Callable[[], str],
    *,
    index_home: IndexHome | None = None,
) -> dict[str, str]:
    """Each dependency with an empty text when it is well, else what is wrong and what to do."""
    health = {"database": await db.health()}
    try:
        elsewhere = await index_home.fault() if index_home is not None else ""
        health["index"] = (
            elsewhere or await index.health() or await _fullness(db) or await _incomplete(db, index)
        )
    except EngineError as error:
        health["index"] = str(error)
    health["files"] = await probe(blobs) or await _lost_files(db, blobs)
    if (redis := await limits.health()) is not None:
        health["redis"] = redis
    health["model"] = await threads.run_sync(check_model)
    return health


async def _incomplete(db: Database, index: SearchIndex) -> str:
    """What the index lacks of what SQL says can be found, and whether it is being repaired."""
    async with db.read() as session:
        expected = await reconcile.live_counts(session)
        repairing = await reconcile.is_repairing(session)
    counts = [
        (min((await index.stats(tenant_id, space)).documents, documents), documents)
        for tenant_id, space, documents in expected
    ]
    held, wanted = sum(held for held, _ in counts), sum(documents for _, documents in counts)
    if held >= wanted:
        return ""
    if repairing:
        return f"The index is being rebuilt: {held:,} of {wanted:,} documents ({100 * held // wanted} %)."
    return (
        f"The index holds {held:,} of {wanted:,} documents: run `scrubjay reconcile` to rebuild it."
    )


async def _lost_files(db: Database, blobs: BlobStore) -> str:
    """Whether the files of the newest documents are there, as a sample of all."""
    newest = (
        select(Revision.tenant_id, Revision.blob_hash)
        .join(Live, Live.revision_id == Revision.id)
        .where(Revision.blob_hash != "")
        .order_by(Revision.id.desc())
        .limit(SAMPLED)
    )
    try:
        async with db.read() as session:
            rows = list(await session.execute(newest))
        lost = sum([not await blobs.exists(tenant_id, name) for tenant_id, name in rows])
    except EngineError as error:  # the database says what is wrong with it by itself
        return str(error)
    if not lost:
        return ""
    return (
        f"{lost} of the {len(rows)} newest files are missing: put the folder or bucket of"
        " storage.* back, or restore a backup."
    )


async def _fullness(db: Database) -> str:
    """What a worker found that this process, which only reads, does not meet."""
    async with db.read() as session:
        workers = await heartbeats.live_workers(session, within_s=WORKER_ALIVE_S)
    if any(worker.state == heartbeats.INDEX_FULL for worker in workers):
        return "The index is full: add space or delete documents. Waiting documents continue then."
    return ""
