"""Splitter: canonical text to spans that fit the embedder, each with its context."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from engine.errors import InvalidInput
from engine.flow.component import Component, ComponentParam, Inputs, Output
from engine.flow.context import RunContext
from ingestion.chunking import Chunking, Span, Strategy
from ingestion.services import Ingestion


class Splitter(Component[Ingestion]):
    """Spans `[start, end)` of the text, byte-faithful; code fences and tables stay whole."""

    type = "Splitter"
    reads = frozenset({"text"})
    writes = frozenset({"chunks"})
    checkpoint = False  # pure and quick

    class Param(ComponentParam):
        """What is not set here comes from the knowledge base, then from the installation."""

        strategy: Strategy | None = None
        size: int | None = Field(default=None, ge=16)
        overlap: int | None = Field(default=None, ge=0)

    param: Param

    async def _invoke(self, context: RunContext[Ingestion], inputs: Inputs) -> Output:  # noqa: ARG002
        run = context.services
        document = run.document
        settings = self._settings(run)
        offsets = run.shared.embedder.token_offsets
        spans = await run.shared.parsers.split(document, settings, offsets)
        return {"chunks": await run.pack([_row(span) for span in spans])}

    def _settings(self, run: Ingestion) -> Chunking:
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
        chosen["size"] = min(chosen.get("size", 256), run.shared.embedder.max_tokens)
        try:
            return Chunking(**chosen)
        except ValueError as error:
            raise InvalidInput(f"Splitter {self.id!r}: {error}.", field="size") from error


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
