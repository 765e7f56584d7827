"""Does the index hold what SQL says it should? Finds drift, and queues the jobs that repair it.

SQL is the truth; the index is a copy that may lag behind after a crash, a lost folder or a restored
backup. Repairing never asks a source again: texts come from `chunk`, vectors from the cache.
A space that can't be read is dropped and rebuilt.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import ColumnElement, exists, func, or_, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import InstrumentedAttribute

from engine.access import gate
from engine.clock import now
from engine.db.session import Database
from engine.db.tables import Document, Job, KnowledgeBase, Live, Revision, Tenant
from engine.domain import MAIN, DocumentState, JobState, Lane, Principal, Scope
from engine.errors import IndexDamaged, NotFound
from engine.index.port import RevisionRef, SearchIndex, Space
from engine.jobs.kinds import CLEAN, DELETE_KB, INGEST, REBUILD, REINDEX, REMOVE, UPDATE_FIELDS
from engine.jobs.outbox import enqueue
from engine.operations.indexed_fields import wanted_fields

BATCH = 500  # revisions a clean-up job names


@dataclass(frozen=True, slots=True)
class Drift:
    """What was found, and whether repairs were queued. All zeros is as it should be."""

    missing: int  # live revisions the index does not hold whole
    orphaned: int  # revisions in the index that no document shows or builds
    stranded: int  # documents that wait for a job that does not exist
    miscounted: int  # knowledge bases whose counters were wrong
    repaired: bool
    damaged: int = 0  # spaces of the index that can't be read, whatever they hold
    unfinished: int = 0  # deletions whose job is gone: of knowledge bases, and of documents' texts
    outdated: int = 0  # live revisions whose readers, tags, features or hiding the index has wrong

    @property
    def clean(self) -> bool:
        """Nothing drifted."""
        return not (
            self.missing
            or self.orphaned
            or self.stranded
            or self.miscounted
            or self.damaged
            or self.unfinished
            or self.outdated
        )

    def __add__(self, other: Drift) -> Drift:
        """What was found in several tenants."""
        return Drift(
            self.missing + other.missing,
            self.orphaned + other.orphaned,
            self.stranded + other.stranded,
            self.miscounted + other.miscounted,
            repaired=self.repaired,
            damaged=self.damaged + other.damaged,
            unfinished=self.unfinished + other.unfinished,
            outdated=self.outdated + other.outdated,
        )


async def reconcile(
    db: Database, index: SearchIndex, principal: Principal, *, tenant: str = "", repair: bool = True
) -> Drift:
    """Compare SQL with the index; with `repair`, queue the jobs that repair it.

    Of every tenant for the person who runs the installation, else of the principal's own. `tenant`
    names one by key or id; `NotFound` where that is not the principal's to repair.
    """
    gate.require(principal, Scope.KB_ADMIN)
    async with db.read() as session:
        tenant_ids = await _tenants(session, principal, tenant)
    found = Drift(0, 0, 0, 0, repaired=repair)
    for tenant_id in tenant_ids:
        found += await _reconcile(db, index, tenant_id, repair=repair)
    return found


async def _tenants(session: AsyncSession, principal: Principal, named: str) -> list[str]:
    query = select(Tenant.id).where(Tenant.deleted_at.is_(None)).order_by(Tenant.id)
    if principal.api_token_id is not None or not await gate.is_operator(session, principal):
        query = query.where(Tenant.id == principal.tenant_id)
    if named:
        query = query.where(or_(Tenant.key == named, Tenant.id == named))
    found = list(await session.scalars(query))
    if not found:
        raise NotFound(f"No tenant {named!r}. `scrubjay tenant list` names them.")
    return found


async def _reconcile(db: Database, index: SearchIndex, tenant_id: str, *, repair: bool) -> Drift:
    compared = await _compare(db, index, tenant_id)

    async def mend(session: AsyncSession) -> Drift:
        stranded = await _stranded(session, tenant_id)
        miscounted = await _recount(session, tenant_id, write=repair)
        kb_ids = await _half_deleted(session, tenant_id)
        uncleaned = await _uncleaned(session, tenant_id)
        if repair:
            for kb_id in kb_ids:
                await _queue(session, tenant_id, DELETE_KB, {"kb_id": kb_id})
            await _queue_index_repairs(session, tenant_id, compared)
            for document_id in uncleaned:
                await _queue(session, tenant_id, CLEAN, {"document_id": document_id}, document_id)
            for document_id, revision_id in stranded:
                payload = {"document_id": document_id, "revision_id": revision_id}
                await _queue_once(session, tenant_id, INGEST, payload)
        return Drift(
            len(compared.missing),
            len(compared.orphaned),
            len(stranded),
            miscounted,
            repaired=repair,
            damaged=len(compared.damaged),
            unfinished=len(kb_ids) + len(uncleaned),
            outdated=len(compared.outdated),
        )

    return await db.run_write(mend)


@dataclass(frozen=True, slots=True)
class _Compared:
    """Where a tenant's index differs from SQL."""

    missing: list[RevisionRef]
    orphaned: list[tuple[Space, RevisionRef]]
    damaged: list[Space]
    outdated: list[str]  # documents


async def _compare(db: Database, index: SearchIndex, tenant_id: str) -> _Compared:
    async with db.read() as session:
        spaces = await _spaces(session, tenant_id)
    compared = _Compared([], [], [], [])
    for space in spaces:
        try:
            if fault := await index.health(tenant_id, space):
                raise IndexDamaged(fault)  # noqa: TRY301 (found in either way)
            stored = await index.revisions(tenant_id, space)
            held = await index.fields(tenant_id, space)
        except IndexDamaged:
            compared.damaged.append(space)
            continue
        async with db.read() as session:
            expected, known = await _expected(session, tenant_id, space)
            wanted = await wanted_fields(session, tenant_id, space)
        compared.missing.extend(
            ref for ref, chunks in expected.items() if stored.get(ref, 0) != chunks
        )
        compared.orphaned.extend((space, ref) for ref in stored if ref not in known)
        compared.outdated.extend(
            ref.document_id
            for ref, fields in wanted.items()
            if ref in held and held[ref] != fields and stored.get(ref, 0) == expected.get(ref, 0)
        )
    return compared


async def _queue_index_repairs(session: AsyncSession, tenant_id: str, compared: _Compared) -> None:
    for space in compared.damaged:
        await _queue_rebuild(session, tenant_id, space)
    for ref in compared.missing:
        await queue_reindex(session, tenant_id, ref)
    for document_id in compared.outdated:
        await _queue(session, tenant_id, UPDATE_FIELDS, {"document_id": document_id})
    for start in range(0, len(compared.orphaned), BATCH):
        revisions = [
            [space.name, space.dimension, ref.document_id, ref.revision_id]
            for space, ref in compared.orphaned[start : start + BATCH]
        ]
        await _queue(session, tenant_id, REMOVE, {"revisions": revisions})


async def live_revisions(session: AsyncSession, tenant_id: str, space: Space) -> list[RevisionRef]:
    """What a space must hold, the newest documents first."""
    live, _ = await _expected(session, tenant_id, space)
    return sorted(live, key=lambda ref: ref.revision_id, reverse=True)


async def live_chunks(
    session: AsyncSession, tenant_id: str, space: Space
) -> dict[RevisionRef, int]:
    """What a space must hold, with each revision's number of chunks."""
    live, _ = await _expected(session, tenant_id, space)
    return live


async def all_spaces(session: AsyncSession) -> list[tuple[str, Space]]:
    """Every tenant's spaces that some knowledge base uses."""
    rows = await session.execute(
        select(KnowledgeBase.tenant_id, KnowledgeBase.space, KnowledgeBase.dimension)
        .where(KnowledgeBase.deleted_at.is_(None))
        .distinct()
        .order_by(KnowledgeBase.tenant_id, KnowledgeBase.space)
    )
    return [(tenant_id, Space(name, dimension)) for tenant_id, name, dimension in rows]


async def live_counts(session: AsyncSession) -> list[tuple[str, Space, int]]:
    """How many revisions with text are live in each tenant's spaces."""
    rows = await session.execute(
        select(KnowledgeBase.tenant_id, KnowledgeBase.space, KnowledgeBase.dimension, func.count())
        .join(Live, Live.kb_id == KnowledgeBase.id)
        .join(Revision, Revision.id == Live.revision_id)
        .where(KnowledgeBase.deleted_at.is_(None), Revision.chunk_count > Revision.hidden_chunks)
        .group_by(KnowledgeBase.tenant_id, KnowledgeBase.space, KnowledgeBase.dimension)
    )
    return [(tenant, Space(space, dimension), n) for tenant, space, dimension, n in rows]


async def resume(db: Database, index: SearchIndex) -> int:
    """Queue the rebuild of every space that lost all it held, unless one is queued; how many.

    A worker does this at its start: so a restore that was interrupted, or a folder that was
    removed, needs nobody to notice it.
    """
    async with db.read() as session:
        expected = await live_counts(session)
    lost = [
        (tenant_id, space)
        for tenant_id, space, _ in expected
        if not (await index.stats(tenant_id, space)).documents
    ]

    async def queue(session: AsyncSession) -> int:
        if not lost or await is_repairing(session):
            return 0
        for tenant_id, space in lost:
            await _queue_rebuild(session, tenant_id, space)
        return len(lost)

    return await db.run_write(queue) if lost else 0


async def _queue_rebuild(session: AsyncSession, tenant_id: str, space: Space) -> None:
    await enqueue(
        session,
        tenant_id=tenant_id,
        kind=REBUILD,
        payload={"space": space.name, "dimension": space.dimension},
        lane=Lane.INTERACTIVE,
    )


async def is_repairing(session: AsyncSession) -> bool:
    """Whether jobs that rebuild the index wait or run."""
    open_ = exists().where(Job.kind.in_([REBUILD, REINDEX]), _is_open())
    return bool(await session.scalar(select(open_)))


async def queue_reindex(session: AsyncSession, tenant_id: str, ref: RevisionRef) -> None:
    """Queue a revision to be fed again, unless its document is being worked on."""
    payload = {"document_id": ref.document_id, "revision_id": ref.revision_id}
    await _queue_once(session, tenant_id, REINDEX, payload)


async def _uncleaned(session: AsyncSession, tenant_id: str) -> Sequence[str]:
    """Deleted documents whose texts are still there, and whose clean-up no job will do."""
    cleaning = exists().where(
        Job.kind == CLEAN,
        Job.tenant_id == tenant_id,
        _is_open(),
        _names("document_id", Document.id),
    )
    rows = await session.scalars(
        select(Document.id)
        .where(Document.tenant_id == tenant_id, Document.deleted_at.is_not(None))
        .where(exists().where(Revision.document_id == Document.id), ~cleaning)
    )
    return list(rows)


async def _half_deleted(session: AsyncSession, tenant_id: str) -> Sequence[str]:
    """Deleted knowledge bases that still have documents, and that no job will clear."""
    clearing = exists().where(
        Job.kind == DELETE_KB,
        Job.tenant_id == tenant_id,
        _is_open(),
        _names("kb_id", KnowledgeBase.id),
    )
    left = exists().where(Document.kb_id == KnowledgeBase.id, Document.deleted_at.is_(None))
    rows = await session.scalars(
        select(KnowledgeBase.id).where(
            KnowledgeBase.tenant_id == tenant_id,
            KnowledgeBase.deleted_at.is_not(None),
            left,
            ~clearing,
        )
    )
    return list(rows)


def _is_open() -> ColumnElement[bool]:
    return Job.state.in_([JobState.QUEUED, JobState.RUNNING])


def _names(key: str, id_: InstrumentedAttribute[str]) -> ColumnElement[bool]:
    named: ColumnElement[str] = Job.payload[key].as_string()
    return named == id_


async def _spaces(session: AsyncSession, tenant_id: str) -> Sequence[Space]:
    rows = await session.execute(
        select(KnowledgeBase.space, KnowledgeBase.dimension)
        .where(KnowledgeBase.tenant_id == tenant_id)
        .distinct()
    )
    return [Space(name, dimension) for name, dimension in rows]


async def _expected(
    session: AsyncSession, tenant_id: str, space: Space
) -> tuple[dict[RevisionRef, int], set[RevisionRef]]:
    """Live revisions with their chunks, and all revisions that may be in the index."""
    rows = await session.execute(
        select(Document.id, Revision.id, Revision.chunk_count - Revision.hidden_chunks, Live.branch)
        .join(Revision, Revision.document_id == Document.id)
        .outerjoin(Live, Live.revision_id == Revision.id)
        .where(
            Document.tenant_id == tenant_id,
            Document.deleted_at.is_(None),
            Revision.space == space.name,
        )
    )
    live: dict[RevisionRef, int] = {}
    building = {
        RevisionRef(*row)
        for row in await session.execute(
            select(Revision.document_id, func.max(Revision.id))
            .join(Document, Document.id == Revision.document_id)
            .where(Revision.tenant_id == tenant_id, Document.deleted_at.is_(None))
            .group_by(Revision.document_id)
        )
    }
    for document_id, revision_id, chunks, branch in rows:
        if branch is not None:
            live[RevisionRef(document_id, revision_id)] = chunks
    return live, live.keys() | building


async def _stranded(session: AsyncSession, tenant_id: str) -> list[tuple[str, str]]:
    waiting = [DocumentState.PENDING, DocumentState.RUNNING]
    job = exists().where(
        Job.document_id == Document.id, Job.state.in_([JobState.QUEUED, JobState.RUNNING])
    )
    rows = await session.execute(
        select(Document.id, func.max(Revision.id))
        .join(Revision, Revision.document_id == Document.id)
        .where(
            Document.tenant_id == tenant_id,
            Document.deleted_at.is_(None),
            Document.state.in_(waiting),
            ~job,
        )
        .group_by(Document.id)
    )
    return [(row[0], row[1]) for row in rows]


async def _recount(session: AsyncSession, tenant_id: str, *, write: bool) -> int:
    """How many knowledge bases' counters differ from what is live; with `write`, set right."""
    truth = {
        row[0]: tuple(row[1:])
        for row in await session.execute(
            select(
                Live.kb_id,
                func.count(),
                func.coalesce(func.sum(Revision.chunk_count - Revision.hidden_chunks), 0),
                func.coalesce(func.sum(Revision.token_count), 0),
            )
            .join(Revision, Revision.id == Live.revision_id)
            .join(Document, Document.id == Live.document_id)
            .where(Live.tenant_id == tenant_id, Live.branch == MAIN, Document.hidden.is_(False))
            .group_by(Live.kb_id)
        )
    }
    wrong = 0
    for kb in await session.scalars(
        select(KnowledgeBase).where(KnowledgeBase.tenant_id == tenant_id)
    ):
        right = truth.get(kb.id, (0, 0, 0))
        if (kb.document_count, kb.chunk_count, kb.token_count) != right:
            wrong += 1
            if write:
                kb.document_count, kb.chunk_count, kb.token_count = (int(n) for n in right)
                kb.updated_at = now()
    return wrong


async def _queue_once(
    session: AsyncSession, tenant_id: str, kind: str, payload: dict[str, str]
) -> None:
    """Queue a job for a document unless one waits or runs already."""
    busy = await session.scalar(
        select(
            exists().where(
                Job.document_id == payload["document_id"],
                Job.state.in_([JobState.QUEUED, JobState.RUNNING]),
            )
        )
    )
    if not busy:
        await _queue(session, tenant_id, kind, payload, payload["document_id"])


async def _queue(
    session: AsyncSession,
    tenant_id: str,
    kind: str,
    payload: Mapping[str, object],
    document_id: str | None = None,
) -> None:
    await enqueue(
        session,
        tenant_id=tenant_id,
        kind=kind,
        payload=payload,
        lane=Lane.BULK,
        document_id=document_id,
    )
