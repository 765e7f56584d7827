"""Indexer: feeds the index, so that the revision may answer.

The switch itself is one row in SQL, written with the end of the run and of its job in one
transaction (`ingestion/actors.py`).
"""

from __future__ import annotations

from engine.flow.component import Component, Inputs, Output
from engine.flow.context import RunContext
from ingestion.services import IngestionRun

NOTHING_TO_FIND = "It contains only front matter or comments, so there is nothing to index."


class Indexer(Component[IngestionRun]):
    """The last step: what it has fed answers as soon as the run ends."""

    type = "Indexer"
    reads = frozenset({"embedded"})
    writes = frozenset({"chunk_count"})
    checkpoint = False  # feeding twice is as good as once
    weight = 0.5

    async def _invoke(self, context: RunContext[IngestionRun], inputs: Inputs) -> Output:
        run = context.services
        if run.chunks is None or run.vectors is None:
            raise RuntimeError("Indexer comes before Embedder")
        chunks = run.chunks
        run.keep_extracted(inputs.by_id.values())
        await run.feed(run.vectors)
        run.message = f"{len(chunks)} chunks" if chunks else NOTHING_TO_FIND
        for remark in run.remarks:  # a sentence, or a part of the one before
            joint = ". " if remark[:1].isupper() else "; "
            run.message = run.message.removesuffix(".") + joint + remark
        return {"chunk_count": len(chunks)}
