"""What a worker does for each kind of job: one class a kind, under the `Handler` protocol.

A job holds ids; the rows are read again, and everything here may run twice.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sqlalchemy.ext.asyncio import AsyncSession

from engine.chats import derived
from engine.db.session import Database
from engine.documents import attachments, cleaning, reports, revisions
from engine.documents.revisions import NewChunk, Work
from engine.domain import Vectors
from engine.errors import Cancelled, EngineError
from engine.flow.checkpoints import SqlRunStore
from engine.flow.context import RunIds
from engine.flow.progress import RunLog
from engine.flow.run import run_flow
from engine.flow.store import SUCCEEDED, RunState, RunUpdate
from engine.index.port import RevisionRef, Space
from engine.jobs import endings
from engine.jobs.kinds import (
    CLEAN,
    DELETE_KB,
    DELETE_TENANT,
    INGEST,
    REBUILD,
    REEMBED,
    REINDEX,
    REMOVE,
    UPDATE_FIELDS,
)
from engine.jobs.leases import ClaimedJob
from engine.operations import reconcile, tenant_removal
from engine.operations.indexed_fields import IndexedFields, indexed_fields
from ingestion.channel_jobs import channel_handlers
from ingestion.components.embedder import embed_chunks
from ingestion.pipelines import PipelineGraphs
from ingestion.reembedding import ReembedKnowledgeBase
from ingestion.services import IngestionRun, Services
from ingestion.sources.reader import Reader
from ingestion.worker import Handler


class IngestDocument:
    """Runs the knowledge base's pipeline over one revision."""

    alone = False
    feeds = True

    def __init__(self, services: Services, pipelines: PipelineGraphs, log: RunLog) -> None:
        self._services = services
        self._pipelines = pipelines
        self._log = log

    async def run(self, job: ClaimedJob) -> bool:
        """Ingest; the run bears the job's id, so that a second attempt continues the first.

        The job ends in the transaction that ends the run.
        """
        document_id, revision_id = job.payload["document_id"], job.payload["revision_id"]
        async with self._services.db.read() as session:
            work = await revisions.begin(session, document_id, revision_id)
        graph = await self._pipelines.graph(job.tenant_id, work.pipeline, work.options)
        ids = RunIds(
            tenant_id=job.tenant_id,
            flow_id=work.pipeline,
            run_id=job.id,
            kb_id=work.kb_id,
            document_id=document_id,
            job_id=job.id,
            correlation_id=job.correlation_id,
        )
        run = IngestionRun(self._services, work, lane=job.lane)
        result = await run_flow(
            graph,
            ids,
            run,
            store=_IngestionRunStore(self._services.db, job, run),
            log=self._log,
            resume=job.attempt > 1,
        )
        if result.state is RunState.CANCELLED:
            raise Cancelled(result.message)
        if result.error is not None:
            raise result.error
        if result.state is RunState.PAUSED:
            raise EngineError(f"The pipeline {work.pipeline!r} waits: {result.message}")
        return True

    async def waiting(self, session: AsyncSession, job: ClaimedJob, reason: str) -> None:
        """Show on the document why it waits."""
        await reports.report_waiting(session, job.payload["document_id"], reason)

    async def failed(self, session: AsyncSession, job: ClaimedJob, error: str, code: str) -> None:
        """End the document with the reason."""
        payload = job.payload
        await reports.report_failure(
            session, payload["document_id"], payload["revision_id"], error, code
        )

    async def cancelled(self, session: AsyncSession, job: ClaimedJob) -> None:
        """End the document `cancelled`, unless a newer revision is on its way."""
        payload = job.payload
        await reports.report_cancelled(session, payload["document_id"], payload["revision_id"])


class _IngestionRunStore(SqlRunStore):
    """Writes, beside a run, what it found: text, chunks, progress, and at the end the switch."""

    def __init__(self, db: Database, job: ClaimedJob, run: IngestionRun) -> None:
        super().__init__(db, also=self._settle, keep_outputs=False)
        self._job = job
        self._document = run
        self._storing = False

    async def write(self, ids: RunIds, change: RunUpdate) -> None:
        """As the port says; chunks are in SQL no later than the checkpoint of what made them."""
        await super().write(ids, change)
        self._document.stored |= self._storing

    async def _settle(self, session: AsyncSession, _: RunIds, change: RunUpdate) -> None:
        run = self._document
        cancelled = change.state is RunState.CANCELLED
        self._storing = False if cancelled else await run.store(session)
        if change.state in SUCCEEDED:
            await run.save_vectors(session)
            await revisions.make_live(
                session, run.work, Vectors.COMPLETE, content=run.content, ready=run.message
            )
            await attachments.settle(session, run.work, run.attached, lane=self._job.lane)
            await endings.finish(session, self._job)
        elif change.state is RunState.RUNNING and change.progress is not None:
            await reports.report_progress(
                session, run.work.document_id, change.progress, change.message
            )


class _BackgroundHandler:
    """A handler whose outcome no document shows."""

    alone = False
    feeds = False

    def __init__(self, services: Services) -> None:
        self._services = services

    async def waiting(self, session: AsyncSession, job: ClaimedJob, reason: str) -> None:
        """Nobody waits for it."""

    async def failed(self, session: AsyncSession, job: ClaimedJob, error: str, code: str) -> None:
        """The job row keeps the reason; `reconcile` finds what was left undone."""

    async def cancelled(self, session: AsyncSession, job: ClaimedJob) -> None:
        """Nothing to report."""


class CleanDocument(_BackgroundHandler):
    """Takes revisions that no longer answer out of the index, and a deleted document's texts."""

    async def run(self, job: ClaimedJob) -> bool:
        """Index first, then SQL: whatever is left half done is found again by `superseded`.

        An ingestion that is being stopped may still feed what this is to remove: it goes first.
        """
        document_id = job.payload["document_id"]
        services = self._services
        async with services.db.read() as session:
            stopping = await cleaning.is_being_stopped(session, document_id)
            tenant_id, spaces = await cleaning.superseded(session, document_id)
        if stopping:
            await services.db.run_write(lambda session: cleaning.clean_later(session, job))
            return True
        for space, refs in spaces.items():
            await services.index.remove(tenant_id, space, refs)
        async with services.db.read() as session:
            outdated = await derived.outdated_contents(session, document_id)
        for blob_hash in outdated:
            await services.blobs.delete(job.tenant_id, blob_hash)
        await services.db.run_write(lambda session: cleaning.forget_deleted(session, document_id))
        return False


class RemoveRevisions(_BackgroundHandler):
    """Takes revisions out of the index that SQL does not know."""

    async def run(self, job: ClaimedJob) -> bool:
        """Remove them; unknown ones are ignored."""
        for name, dimension, document_id, revision_id in job.payload["revisions"]:
            ref = RevisionRef(document_id, revision_id)
            await self._services.index.remove(job.tenant_id, Space(name, dimension), [ref])
        return False


class ReindexRevision(_BackgroundHandler):
    """Feeds a live revision to the index again, from its stored text and cached vectors."""

    feeds = True

    async def run(self, job: ClaimedJob) -> bool:
        """Read, embed what the cache does not hold, feed; again if it changed meanwhile."""
        document_id, revision_id = job.payload["document_id"], job.payload["revision_id"]
        db = self._services.db
        fed: tuple[Work, list[NewChunk]] | None = None
        while True:
            async with db.read() as session:
                work = await revisions.look_up(session, document_id, revision_id)
                chunks = await revisions.load_chunks(session, revision_id)
            if (work, chunks) == fed:
                return False
            run = IngestionRun(self._services, work, lane=job.lane, chunks=chunks)
            vectors, _ = await embed_chunks(run, lambda _: None)
            await run.feed(vectors)
            await db.run_write(run.save_vectors)
            fed = (work, chunks)


class UpdateFields(_BackgroundHandler):
    """Brings what the index knows of a document besides its text up to what SQL says."""

    async def run(self, job: ClaimedJob) -> bool:
        """Write the fields as they are now; again if they changed meanwhile."""
        document_id = job.payload["document_id"]
        written: IndexedFields | None = None
        while True:
            async with self._services.db.read() as session:
                wanted = await indexed_fields(session, document_id)
            if wanted is None or wanted == written:
                return False
            await self._services.index.update_fields(wanted.tenant_id, wanted.space, wanted.updates)
            written = wanted


class RebuildSpace(_BackgroundHandler):
    """Rebuilds a damaged space of the index from SQL, while nothing else writes to it."""

    alone = True  # it makes room first

    async def run(self, job: ClaimedJob) -> bool:
        """Drop it, then queue every revision that answers; a second run drops it again."""
        space = Space(job.payload["space"], job.payload["dimension"])
        index, db = self._services.index, self._services.db
        await index.drop_space(job.tenant_id, space)
        await index.ensure_space(job.tenant_id, space)
        async with db.read() as session:
            refs = await reconcile.live_revisions(session, job.tenant_id, space)
        for start in range(0, len(refs), reconcile.BATCH):
            await _queue_reindex(db, job.tenant_id, refs[start : start + reconcile.BATCH])
        return False


async def _queue_reindex(db: Database, tenant_id: str, refs: Sequence[RevisionRef]) -> None:
    async def queue(session: AsyncSession) -> None:
        for ref in refs:
            await reconcile.queue_reindex(session, tenant_id, ref)

    await db.run_write(queue)


class DeleteKnowledgeBase(_BackgroundHandler):
    """Clears what a deleted knowledge base left, document by document."""

    async def run(self, job: ClaimedJob) -> bool:
        """Retire its documents in small transactions, then the clean-up jobs do the rest."""
        kb_id = job.payload["kb_id"]
        while await self._services.db.run_write(
            lambda session: cleaning.retire_some(session, kb_id)
        ):
            pass
        return False


class DeleteTenant(_BackgroundHandler):
    """Deletes all that a tenant has, once nothing works on it any more."""

    async def run(self, job: ClaimedJob) -> bool:
        """Index, bytes, rows, then the tenant; each step finds what a killed run left."""
        services = self._services
        tenant_id, key = job.payload["tenant_id"], job.payload["key"]
        if await services.db.run_write(
            lambda session: tenant_removal.stop_jobs(session, tenant_id)
        ):
            await services.db.run_write(lambda session: tenant_removal.later(session, job))
            return True
        await services.index.drop_tenant(tenant_id)
        await services.blobs.delete_tenant(tenant_id)
        counts = await tenant_removal.delete_rows(services.db, tenant_id)
        await services.db.run_write(
            lambda session: tenant_removal.finish(session, job.tenant_id, tenant_id, key, counts)
        )
        return False


def handlers(
    services: Services,
    pipelines: PipelineGraphs,
    log: RunLog,
    readers: Mapping[str, Reader] | None = None,
) -> dict[str, Handler]:
    """Every kind of job a worker takes; `readers` by chat platform."""
    return {
        **channel_handlers(
            services.db,
            services.blobs,
            readers or {},
            max_file_size_bytes=services.max_file_size_bytes,
        ),
        CLEAN: CleanDocument(services),
        DELETE_KB: DeleteKnowledgeBase(services),
        DELETE_TENANT: DeleteTenant(services),
        INGEST: IngestDocument(services, pipelines, log),
        REBUILD: RebuildSpace(services),
        REINDEX: ReindexRevision(services),
        REMOVE: RemoveRevisions(services),
        REEMBED: ReembedKnowledgeBase(services),
        UPDATE_FIELDS: UpdateFields(services),
    }
