"""Indexer: feeds the index and lets the revision answer. The switch is one row in SQL."""

from __future__ import annotations

from sqlalchemy.ext.asyncio import AsyncSession

from engine import revisions
from engine.domain import Vectors
from engine.flow.component import Component, Inputs, Output
from engine.flow.context import RunContext
from ingestion.services import Ingestion

NOTHING_TO_FIND = (
    "It holds nothing but front matter or comments, so there is nothing to find in it."
)


class Indexer(Component[Ingestion]):
    """The last step: afterwards every question may be answered from this revision."""

    type = "Indexer"
    reads = frozenset({"embedded"})
    writes = frozenset({"chunk_count"})
    checkpoint = False  # switching twice is as good as once
    weight = 0.5

    async def _invoke(self, context: RunContext[Ingestion], inputs: Inputs) -> Output:  # noqa: ARG002
        run, shared, work = context.services, context.services.shared, context.services.work
        if run.chunks is None or run.vectors is None:
            raise RuntimeError("Indexer stands before Embedder")
        chunks = run.chunks
        await run.feed(run.vectors)
        message = f"{len(chunks)} chunks" if chunks else NOTHING_TO_FIND

        async def switch(session: AsyncSession) -> None:
            await run.save_vectors(session)
            await revisions.make_live(session, work, Vectors.COMPLETE, final=True, message=message)

        await shared.db.run_write(switch)
        return {"chunk_count": len(chunks)}
