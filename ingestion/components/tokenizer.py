"""Tokenizer: checks each chunk against the embedder's limit and names its language.

What it makes reaches SQL with the run's next write (`ingestion/actors.py`).
"""

from __future__ import annotations

from functools import partial
from typing import Any

import anyio.to_thread

from engine.errors import DocumentError
from engine.flow.component import Component, Inputs, Output
from engine.flow.context import RunContext
from engine.index.analysis import detect_language
from engine.index.port import MAX_CHUNKS_PER_PART
from engine.revisions import NewChunk
from ingestion.services import Ingestion

HERE_UNDER_CHUNKS = 50
LANGUAGE_SAMPLE = 4000  # characters that tell a document's language


class Tokenizer(Component[Ingestion]):
    """The chunks as they are stored, fed and cited."""

    type = "Tokenizer"
    reads = frozenset({"text", "chunks"})
    writes = frozenset({"chunk_count", "token_count", "language", "facts"})
    weight = 0.5

    async def _invoke(self, context: RunContext[Ingestion], inputs: Inputs) -> Output:
        run, shared, work = context.services, context.services.shared, context.services.work
        document = run.document
        rows = await run.unpack(inputs["chunks"])
        limit = shared.embedder.max_tokens
        longest = max((row["tokens"] for row in rows), default=0)
        if longest > limit:
            raise DocumentError(
                f"{work.title!r} has a chunk of {longest} tokens and the embedder takes {limit};"
                " lower the splitter's size.",
                code="chunk_too_long",
            )
        make = partial(_chunks, document.text, rows, document.language)
        # A page's are made sooner than a thread would be woken for them.
        many = len(rows) > HERE_UNDER_CHUNKS
        run.chunks = chunks = await anyio.to_thread.run_sync(make) if many else make()
        return {
            "chunk_count": len(chunks),
            "token_count": sum(chunk.tokens for chunk in chunks),
            "language": chunks[0].language if chunks else "",
            "facts": run.pack_facts(),
        }


def _chunks(text: str, rows: list[dict[str, Any]], declared: str) -> list[NewChunk]:
    language = detect_language(text[:LANGUAGE_SAMPLE]) or declared[:2]
    return [
        NewChunk(
            ordinal=ordinal,
            start=row["start"],
            end=row["end"],
            text=text[row["start"] : row["end"]],
            context=row["context"],
            tokens=row["tokens"],
            page=row["page"],
            language=language,
            part=ordinal // MAX_CHUNKS_PER_PART,
            meta=_meta(row),
        )
        for ordinal, row in enumerate(rows)
    ]


def _meta(row: dict[str, Any]) -> dict[str, Any]:
    meta = {"path": row["path"], "kind": row["kind"]}
    return meta | {"place": row["place"]} if row.get("place") else meta
