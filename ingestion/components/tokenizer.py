"""Tokenizer: checks each chunk against the embedder's limit and names its language.

What it makes reaches SQL with the run's next write (`ingestion/actors.py`).
"""

from __future__ import annotations

from functools import partial
from typing import Any

import anyio.to_thread

from engine.documents.revisions import NewChunk
from engine.errors import DocumentError
from engine.flow.component import Component, Inputs, Output
from engine.flow.context import RunContext
from engine.index import detection
from engine.index.detection import detect_language
from engine.index.port import MAX_CHUNKS_PER_PART
from ingestion.languages import LanguageOf, Stretch
from ingestion.services import IngestionRun

HERE_UNDER_CHUNKS = 50
LANGUAGE_SAMPLE = 4000  # characters that decide a document's language


class Tokenizer(Component[IngestionRun]):
    """The chunks as they are stored, fed and cited."""

    type = "Tokenizer"
    reads = frozenset({"text", "chunks"})
    optional = frozenset({"languages"})
    writes = frozenset({"chunk_count", "token_count", "language", "facts"})
    weight = 0.5

    async def _invoke(self, context: RunContext[IngestionRun], inputs: Inputs) -> Output:
        run, work = context.services, context.services.work
        document = run.document
        rows = await run.unpack(inputs["chunks"])
        limit = run.embedder.max_tokens
        longest = max((row["tokens"] for row in rows), default=0)
        if longest > limit:
            raise DocumentError(
                f"{work.title!r} has a chunk of {longest} tokens and the embedder takes {limit};"
                " lower the splitter's size.",
                code="chunk_too_long",
            )
        stretches = [Stretch(**row) for row in await run.unpack(inputs.get("languages", []))]
        await detection.ready()
        make = partial(_chunks, document.text, rows, document.language, stretches)
        # A page's are made sooner than a thread would be woken for them.
        many = len(rows) > HERE_UNDER_CHUNKS
        run.chunks = chunks = await anyio.to_thread.run_sync(make) if many else make()
        run.keep_extracted(inputs.by_id.values())
        return {
            "chunk_count": len(chunks),
            "token_count": sum(chunk.tokens for chunk in chunks),
            "language": chunks[0].language if chunks else "",
            "facts": run.pack_facts(),
        }


def _chunks(
    text: str, rows: list[dict[str, Any]], declared: str, stretches: list[Stretch]
) -> list[NewChunk]:
    language = detect_language(text[:LANGUAGE_SAMPLE]) or declared[:2]
    language_of = LanguageOf(stretches, language)
    parts = _Parts()
    return [
        NewChunk(
            ordinal=ordinal,
            start=row["start"],
            end=row["end"],
            text=text[row["start"] : row["end"]],
            context=row["context"],
            tokens=row["tokens"],
            page=row["page"],
            language=(own := language_of(row["start"], row["end"])),
            part=parts.part_of(own),
            meta=_meta(row),
        )
        for ordinal, row in enumerate(rows)
    ]


class _Parts:
    """Deals chunks out to parts of the index document: one language a part, and not too many."""

    def __init__(self) -> None:
        self._open: dict[str, tuple[int, int]] = {}  # by language: its part and how full that is
        self._count = 0

    def part_of(self, language: str) -> int:
        """The part the next chunk, in `language`, goes to."""
        part, held = self._open.get(language, (-1, MAX_CHUNKS_PER_PART))
        if held >= MAX_CHUNKS_PER_PART:
            part, held = self._count, 0
            self._count += 1
        self._open[language] = part, held + 1
        return part


def _meta(row: dict[str, Any]) -> dict[str, Any]:
    meta = {"path": row["path"], "kind": row["kind"]}
    return meta | {key: row[key] for key in ("flags", "place") if row.get(key)}
