"""HierarchicalMerger: an outline by patterns, which the Splitter cuts by."""

from __future__ import annotations

from typing import Annotated

import anyio.to_thread
from pydantic import Field, field_validator, model_validator

from engine.errors import DocumentError
from engine.flow.component import Component, ComponentParam, Inputs, Output
from engine.flow.context import RunContext
from ingestion.outline import SlowPattern, compile_levels, find_sections, outline_tree
from ingestion.services import IngestionRun

Text = Annotated[str, Field(min_length=1, max_length=500)]


class HierarchicalMerger(Component[IngestionRun]):
    """Sections and their headings from patterns of lines, outermost level first."""

    type = "HierarchicalMerger"
    reads = frozenset({"text"})
    writes = frozenset({"outline"})
    checkpoint = False  # pure and quick
    weight = 0.3

    class Param(ComponentParam):
        """`levels[0]` are the patterns (Python's `re`) of lines that begin a section of level 1.

        `hierarchy` is how many of the levels make sections, all unless it is set; lines of the
        others stay text. Example: `{"levels": [["^#"], ["^##"]], "hierarchy": 2}`.
        """

        levels: list[list[Text]] = Field(min_length=1, max_length=10)
        hierarchy: int | None = Field(default=None, ge=1, le=10)

        @field_validator("levels")
        @classmethod
        def _are_patterns(cls, levels: list[list[str]]) -> list[list[str]]:
            compile_levels(levels)
            return levels

        @model_validator(mode="after")
        def _has_the_levels(self) -> HierarchicalMerger.Param:
            if self.hierarchy is not None and self.hierarchy > len(self.levels):
                raise ValueError(
                    f"hierarchy is {self.hierarchy}, but there are {len(self.levels)} levels"
                )
            return self

    param: Param

    async def _invoke(self, context: RunContext[IngestionRun], inputs: Inputs) -> Output:  # noqa: ARG002
        run = context.services
        levels = compile_levels(self.param.levels)
        depth = self.param.hierarchy or len(levels)
        try:
            sections = await anyio.to_thread.run_sync(
                lambda: find_sections(run.document, levels, hierarchy=depth)
            )
        except SlowPattern as error:
            raise DocumentError(
                f"{run.work.title}: in HierarchicalMerger {self.id!r}, {error}.",
                code="slow_pattern",
            ) from None
        context.progress(self.id, 0.9, f"{len(sections)} sections")
        return {"outline": await run.pack_tree(outline_tree(sections))}
