"""LanguageDetector: which language each part of a document is in."""

from __future__ import annotations

from dataclasses import asdict

import anyio.to_thread
from pydantic import Field

from engine.flow.component import Component, ComponentParam, Inputs, Output
from engine.flow.context import RunContext
from ingestion.languages import find_languages, shares
from ingestion.services import IngestionRun


class LanguageDetector(Component[IngestionRun]):
    """The language of each paragraph and how sure it is, and what share of the text each has."""

    type = "LanguageDetector"
    reads = frozenset({"text"})
    writes = frozenset({"languages", "language_shares"})
    checkpoint = False  # pure and quick
    weight = 0.3

    class Param(ComponentParam):
        """A paragraph less sure than `min_confidence` (0 to 1) counts for no language."""

        min_confidence: float = Field(default=0.5, ge=0, le=1)

    param: Param

    async def _invoke(self, context: RunContext[IngestionRun], inputs: Inputs) -> Output:  # noqa: ARG002
        run = context.services
        found = await anyio.to_thread.run_sync(
            lambda: find_languages(run.document, min_confidence=self.param.min_confidence)
        )
        by_language = shares(found)
        said = ", ".join(f"{language} {share:.0%}" for language, share in by_language.items())
        context.progress(self.id, 0.9, said or "no recognisable language")
        return {
            "languages": await run.pack([asdict(stretch) for stretch in found]),
            "language_shares": by_language,
        }
