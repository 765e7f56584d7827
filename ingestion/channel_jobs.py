"""What a worker does for channels: derive their documents. One class a kind of job.

Reading and writing the rows is `engine/derived.py`'s, making documents `threads.py`'s.
"""

from __future__ import annotations

import anyio.to_thread
from sqlalchemy.ext.asyncio import AsyncSession

from engine import derived
from engine.blobs import BlobStore
from engine.db.session import Database
from engine.derived import Changes, DerivedDocument
from engine.jobs import ClaimedJob
from ingestion import threads
from ingestion.convert import document as documents
from ingestion.threads import ThreadDocument

TRIES = 5  # reads of a channel that changes while it is derived


class DeriveChannel:
    """Makes documents of what changed in a channel."""

    alone = False

    def __init__(self, db: Database, blobs: BlobStore) -> None:
        self._db = db
        self._blobs = blobs

    async def run(self, job: ClaimedJob) -> bool:
        """Read, derive, commit; again where something changed in between.

        What changes once this has read queues another job: nothing waits for this one.
        """
        source_id = job.payload["source_id"]
        await self._db.run_write(lambda session: derived.start_derivation(session, source_id))
        for _ in range(TRIES):
            async with self._db.read() as session:
                changes = await derived.load_changes(session, source_id)
            if changes is None:
                return False
            made = await anyio.to_thread.run_sync(threads.derive, changes)
            stored = [await self._store(changes, one) for one in made]
            if await self._commit(changes, stored, job):
                return False
        await self._db.run_write(lambda session: derived.derive_later(session, source_id, job.lane))
        return False

    async def _store(self, changes: Changes, made: ThreadDocument) -> DerivedDocument:
        data = documents.encode(made.converted)
        return DerivedDocument(
            external_id=made.external_id,
            title=made.title,
            url=made.url,
            blob_hash=await self._blobs.put(changes.tenant_id, data),
            size_bytes=len(data),
            spans=made.spans,
            updated_at=made.updated_at,
            details=made.details,
        )

    async def _commit(self, changes: Changes, made: list[DerivedDocument], job: ClaimedJob) -> bool:
        return await self._db.run_write(
            lambda session: derived.commit_derived(session, changes, made, lane=job.lane)
        )

    async def waiting(self, session: AsyncSession, job: ClaimedJob, reason: str) -> None:
        """The messages stay marked."""

    async def failed(
        self,
        session: AsyncSession,
        job: ClaimedJob,
        error: str,
        code: str,  # noqa: ARG002 (the protocol's)
    ) -> None:
        """Show on the source that its documents are behind."""
        await derived.report_failure(session, job.payload["source_id"], error)

    async def cancelled(self, session: AsyncSession, job: ClaimedJob) -> None:
        """Nothing to tell."""
