"""A knowledge base chooses how its documents are cut, and its documents are."""

from __future__ import annotations

from typing import get_args

import pytest

from engine.documents import revisions
from engine.documents.knowledge_bases import KbChunking
from engine.documents.revisions import NewChunk
from engine.settings import ProcessingSettings
from ingestion.chunking import Strategy
from tests.fakes.installations import Installation

LAKES = "Lakes hold fresh water, and lakes hold many fish in water. "
BREAD = "Bread dough needs flour, salt, yeast and warm bread ovens. "
CODE = "run it now\n" * 12
TEXT = f"# Notes\n\n{LAKES * 6}{BREAD * 6}\n\n```\n{CODE}```\n"


async def chunks_of(notes: Installation, document_id: str, revision_id: str) -> list[NewChunk]:
    async with notes.engine.db.read() as session:
        return await revisions.load_chunks(session, revision_id)


@pytest.mark.parametrize("strategy", get_args(Strategy))
async def test_each_strategy_is_chosen_by_the_knowledge_base(
    notes: Installation, strategy: Strategy
) -> None:
    chunking = {"strategy": strategy, "size": 120, "overlap": 20}
    await notes.engine.knowledge_bases.update(notes.owner, "notes", chunking=chunking)
    added = await notes.add(TEXT)
    await notes.drain()
    assert (await notes.get(added)).error == ""
    chunks = await chunks_of(notes, added.document_id, added.revision_id)
    assert len(chunks) > 1
    assert all(chunk.tokens <= 120 for chunk in chunks)
    assert sum("run it now" in chunk.text for chunk in chunks) == 1  # the fence is whole
    if strategy == "semantic":  # elsewhere some chunk holds both
        assert not any("Lakes" in chunk.text and "Bread" in chunk.text for chunk in chunks)
    if strategy == "sliding_window":
        assert chunks[0].end > chunks[1].start


def test_settings_and_knowledge_bases_know_the_strategies_of_the_splitter() -> None:
    fields = (ProcessingSettings.model_fields["strategy"], KbChunking.model_fields["strategy"])
    for field in fields:
        known = {
            value
            for part in [field.annotation, *get_args(field.annotation)]
            for value in get_args(part)
        }
        assert {value for value in known if isinstance(value, str)} == set(get_args(Strategy))
