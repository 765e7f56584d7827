"""The worker's side of a knowledge base's move to another embedding model.

`engine/documents/reembedding.py` says what the move is and makes the switch; here are the vectors. Texts come
from SQL, vectors that were made before from the cache, so a second attempt continues where the first
one was killed.
"""

from __future__ import annotations

import logging
from dataclasses import replace

from sqlalchemy.ext.asyncio import AsyncSession

from engine.documents import reembedding, revisions
from engine.errors import Cancelled, Conflict, EngineError
from engine.index.port import RevisionRef, Space
from engine.jobs.leases import ClaimedJob
from ingestion.components.embedder import embed_chunks
from ingestion.services import IngestionRun, Services

log = logging.getLogger(__name__)

ROUNDS = 20  # of catching up with what was ingested meanwhile, before the job waits its turn again


class ReembedKnowledgeBase:
    """Fills the new space with every revision that answers, then switches."""

    alone = False
    feeds = True

    def __init__(self, services: Services) -> None:
        self._services = services

    async def run(self, job: ClaimedJob) -> bool:
        """Fill, compare, switch; again for what came meanwhile."""
        services, db = self._services, self._services.db
        kb_id, space = job.payload["kb_id"], job.payload["space"]
        if space not in services.embedding:
            raise EngineError(
                f"This worker has no model of {space}: set embedding.model, or start the move again."
            )
        for _ in range(ROUNDS):
            async with db.read() as session:
                move = await reembedding.plan(session, job.tenant_id, kb_id, space)
            await services.index.ensure_space(move.tenant_id, move.new)
            held = await services.index.revisions(move.tenant_id, move.new)
            for ref, chunks in move.live.items():
                if held.get(ref, 0) != chunks:
                    await self._fill(job, ref, move.new)
            held = await services.index.revisions(move.tenant_id, move.new)
            if await db.run_write(lambda s, m=move, h=held: reembedding.switch(s, m, h)):  # type: ignore[misc]
                await self._drop_unused(move)
                return False
        raise Conflict("Documents arrive faster than they are embedded: the move continues later.")

    async def _fill(self, job: ClaimedJob, ref: RevisionRef, space: Space) -> None:
        """Feed one revision to the new space, with vectors; one that no longer answers is left."""
        db = self._services.db
        try:
            async with db.read() as session:
                work = await revisions.look_up(session, ref.document_id, ref.revision_id)
                chunks = await revisions.load_chunks(session, ref.revision_id)
        except Cancelled:
            return
        moved = replace(work, space=space)
        run = IngestionRun(self._services, moved, lane=job.lane, chunks=chunks)
        vectors, _ = await embed_chunks(run, lambda _: None)
        await run.feed(vectors)
        await db.run_write(run.save_vectors)

    async def _drop_unused(self, move: reembedding.Move) -> None:
        async with self._services.db.read() as session:
            unused = await reembedding.is_unused(session, move.tenant_id, move.old)
        if unused:
            await self._services.index.drop_space(move.tenant_id, move.old)

    async def waiting(self, session: AsyncSession, job: ClaimedJob, reason: str) -> None:
        """Nobody waits for it: what answers keeps answering."""

    async def failed(
        self,
        session: AsyncSession,  # noqa: ARG002 (the protocol's)
        job: ClaimedJob,
        error: str,
        code: str,
    ) -> None:
        """The job row keeps the reason; starting the move again continues from here."""
        log.warning("re-embedding %s failed (%s): %s", job.payload["kb_id"], code, error)

    async def cancelled(self, session: AsyncSession, job: ClaimedJob) -> None:
        """Nothing to undo: the new space is filled but not named."""
