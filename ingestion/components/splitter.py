"""Splitter: canonical text to spans that fit the embedder, each with its context.

What other components found is used where it is there: the languages of a LanguageDetector keep
languages apart, the outline of a HierarchicalMerger takes the place of the file's own headings.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any

import anyio.to_thread
import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from engine.documents.component_outputs import key_of
from engine.errors import InvalidInput
from engine.flow.component import Component, ComponentParam, Inputs, Output
from engine.flow.context import RunContext
from ingestion import chunking
from ingestion.chunking import Chunking, Marks, Span, Strategy
from ingestion.convert.document import Converted
from ingestion.outline import apply_outline
from ingestion.services import IngestionRun
from ingestion.topics import find_breaks, sentences

STEP = 256  # sentences embedded between two progress lines
FOREIGN_SHARE = 0.25  # of a chunk, where the languages are known


class Splitter(Component[IngestionRun]):
    """Spans `[start, end)` of the text, byte-faithful; code fences and tables stay whole."""

    type = "Splitter"
    reads = frozenset({"text"})
    optional = frozenset({"languages", "outline"})
    writes = frozenset({"chunks"})
    checkpoint = False  # pure and quick but for `semantic`, which embeds each sentence
    timeout_s = 24 * 3600.0  # as Embedder's

    class Param(ComponentParam):
        """What is not set here comes from the knowledge base, then from the installation.

        `size` and `overlap` are tokens. `foreign_share` is how much of a chunk may be in other
        languages. `percentile` (semantic): of the gaps between sentences, how many are no breaks.
        `sections_apart` (document_aware) joins no small sections, `rows_apart` makes each row of a
        table a chunk.
        """

        strategy: Strategy | None = None
        size: int | None = Field(default=None, ge=16)
        overlap: int | None = Field(default=None, ge=0)
        foreign_share: float = Field(default=FOREIGN_SHARE, ge=0, le=1)
        percentile: float = Field(default=90, ge=0, le=100)
        sections_apart: bool = False
        rows_apart: bool = False

    param: Param

    async def _invoke(self, context: RunContext[IngestionRun], inputs: Inputs) -> Output:
        run = context.services
        document = run.document
        if "outline" in inputs:
            tree = await run.unpack(inputs["outline"])
            document = await anyio.to_thread.run_sync(apply_outline, document, tree)
        settings = self._settings(run)
        embedder = run.embedder
        offsets = embedder.token_offsets
        breaks: list[int] = []
        if settings.strategy == "semantic":
            breaks = await self._breaks(context, document)
        rows = await run.unpack(inputs.get("languages", []))
        languages = [(row["start"], row["end"], row["language"]) for row in rows]
        if breaks or len(languages) > 1 or embedder is not run.shared.embedder:
            # The parsers count with the tokenizer of the installation's own model.
            marks = Marks(breaks=breaks, languages=languages)
            spans = await anyio.to_thread.run_sync(
                chunking.split, document, settings, offsets, marks
            )
        else:
            spans = await run.shared.parsers.split(document, settings, offsets)
        return {"chunks": await run.pack([_row(span) for span in spans])}

    def _settings(self, run: IngestionRun) -> Chunking:
        chosen: dict[str, Any] = {}
        own = {
            "strategy": self.param.strategy,
            "size": self.param.size,
            "overlap": self.param.overlap,
        }
        for layer in (run.shared.chunking, run.work.chunking, own):
            chosen |= {
                key: value
                for key, value in layer.items()
                if key in {"strategy", "size", "overlap"} and value is not None
            }
        chosen["size"] = min(chosen.get("size", 256), run.embedder.max_tokens)
        try:
            return Chunking(
                **chosen,
                foreign_share=self.param.foreign_share,
                sections_apart=self.param.sections_apart,
                rows_apart=self.param.rows_apart,
            )
        except ValueError as error:
            raise InvalidInput(f"Splitter {self.id!r}: {error}.", field="size") from error

    async def _breaks(self, context: RunContext[IngestionRun], document: Converted) -> list[int]:
        """Where the subject changes, by the vectors of the sentences; only the places are kept."""
        run = context.services
        found = await anyio.to_thread.run_sync(sentences, document)
        if len(found) < 2:
            return []
        source_hash, space = run.found.blob_hash, run.embedder.space
        key = key_of(
            self.type,
            percentile=self.param.percentile,
            space=[space.name, space.dimension],
            sentences=found,
            text=hashlib.sha256(document.text.encode()).hexdigest(),
        )
        kept = await run.recall(source_hash, key)
        if kept is not None:
            breaks: list[int] = json.loads(kept)
            return breaks
        run.shared.park()
        limit = run.embedder.max_tokens
        texts = [document.text[start:end] for start, end in found]
        vectors: list[NDArray[np.float32]] = []
        for at in range(0, len(texts), STEP):
            some = await anyio.to_thread.run_sync(self._fitting, run, texts[at : at + STEP], limit)
            vectors.append(await run.embed(some))
            done = min(at + STEP, len(texts))
            context.progress(self.id, 0.9 * done / len(texts), f"{done} of {len(texts)} sentences")
        starts = [start for start, _ in found]
        breaks = find_breaks(starts, np.concatenate(vectors), percentile=self.param.percentile)
        await run.keep(source_hash, key, self.type, json.dumps(breaks).encode())
        return breaks

    @staticmethod
    def _fitting(run: IngestionRun, texts: list[str], limit: int) -> list[str]:
        """The texts, those too long for the embedder cut: what they are about shows early."""
        embedder = run.embedder
        counts = embedder.count_tokens(texts)
        return [
            text if count <= limit else text[: embedder.token_offsets(text)[limit // 2][0]]
            for text, count in zip(texts, counts, strict=True)
        ]


def _row(span: Span) -> dict[str, Any]:
    return {
        "start": span.start,
        "end": span.end,
        "context": span.context,
        "page": span.page,
        "path": list(span.heading_path),
        "tokens": span.tokens,
        "kind": span.kind,
        "place": span.place,
    }
