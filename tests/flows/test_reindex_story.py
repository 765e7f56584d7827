"""Ingesting anew: what answers keeps answering, and only what changed is done again."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import func, select

from engine.db.tables import ComponentOutput
from engine.documents.reindexing import busy_s
from engine.engine import Engine
from engine.errors import NotFound
from ingestion.convert.document import Converted
from tests.fakes import installations
from tests.fakes.installations import Installation
from tests.fakes.language_models import ScriptedModel
from tests.fakes.pdfs import one_page_pdf
from tests.flows.test_pipelines_story import chain, use

TEXT = "# Wombats\n\n" + "Wombats dig long burrows in soft ground. " * 40
PARSER = {"id": "p", "type": "Parser"}


@pytest.fixture
def parses(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the files that are read."""
    seen: list[str] = []
    parse = installations.InlineParsers.parse

    async def counted(self: Any, data: bytes, filename: str, **more: Any) -> Converted:
        seen.append(filename)
        return await parse(self, data, filename, **more)

    monkeypatch.setattr(installations.InlineParsers, "parse", counted)
    return seen


async def reindex(notes: Installation) -> list[str]:
    ids = await notes.engine.knowledge_bases.reindex(notes.owner, "notes")
    await notes.drain()
    return ids


async def outputs(engine: Engine) -> int:
    async with engine.db.read() as session:
        return await session.scalar(select(func.count()).select_from(ComponentOutput)) or 0


async def test_another_splitter_neither_reads_nor_asks_again(
    notes: Installation, parses: list[str]
) -> None:
    model = notes.engine.model = ScriptedModel("About digging.")
    notes.engine.llms._operators = model  # there is no other seam
    extractor = {"id": "x", "type": "Extractor"}
    await use(notes, "mine", chain(PARSER, extractor))
    added = await notes.add(one_page_pdf("Wombats dig burrows"), "wombat.pdf")
    await notes.drain()
    before = await notes.get(added)
    assert (before.state, parses, len(model.prompts)) == ("ready", ["wombat.pdf"], 1)

    split = {"id": "s", "type": "Splitter", "param": {"strategy": "fixed", "size": 64}}
    await use(notes, "mine", chain(PARSER, extractor, split))
    assert await reindex(notes) == [added.document_id]
    after = await notes.get(added)
    assert (after.state, after.error) == ("ready", "")
    assert after.details["extracted"] == {"summary": "About digging."}
    assert (parses, len(model.prompts)) == (["wombat.pdf"], 1)
    assert await notes.found("burrows") == ["Wombats dig burrows"]

    extractor["param"] = {"field_name": "summary", "max_tokens": 100}
    model.replies.append("Digging, in short.")
    await use(notes, "mine", chain(PARSER, extractor, split))
    await reindex(notes)
    assert (await notes.get(added)).details["extracted"] == {"summary": "Digging, in short."}
    assert (parses, len(model.prompts)) == (["wombat.pdf"], 2)


async def test_unchanged_passages_keep_their_vectors(notes: Installation) -> None:
    await notes.add(TEXT)
    await notes.drain()
    embedded = notes.embedder.texts
    await reindex(notes)
    assert notes.embedder.texts == embedded


async def test_subjects_found_once_are_not_looked_for_again(notes: Installation) -> None:
    await notes.engine.knowledge_bases.update(
        notes.owner, "notes", chunking={"strategy": "semantic", "size": 100}
    )
    await notes.add(TEXT)
    await notes.drain()
    embedded = notes.embedder.texts
    await reindex(notes)
    assert notes.embedder.texts == embedded


async def test_what_answers_goes_on_answering_until_its_successor_is_whole(
    notes: Installation,
) -> None:
    added = await notes.add(TEXT)
    await notes.drain()
    chunks = (await notes.get(added)).chunk_count
    await notes.engine.knowledge_bases.update(notes.owner, "notes", chunking={"size": 64})
    notes.embedder.gate.clear()
    notes.embedder.asked.clear()
    await notes.engine.knowledge_bases.reindex(notes.owner, "notes")
    async with notes.working():
        await notes.embedder.asked.wait()
        meanwhile = await notes.until(added, lambda d: d.state == "running")
        assert meanwhile.chunk_count == chunks
        assert len(await notes.found("wombats burrows")) == 1
        assert "keeps answering" in await notes.why(added)
        notes.embedder.gate.set()
        done = await notes.until(added, lambda d: d.state == "ready")
    assert done.chunk_count > chunks
    assert len(await notes.found("wombats burrows")) == 1


async def test_what_an_earlier_pipeline_read_out_does_not_outlive_it(notes: Installation) -> None:
    quality = {"id": "q", "type": "QualityControl", "param": {"min_length": 5}}
    await use(notes, "mine", chain(PARSER, {"id": "s", "type": "Splitter"}, quality))
    added = await notes.add(TEXT)
    await notes.drain()
    assert "quality" in (await notes.get(added)).details["extracted"]
    await use(notes, "mine", chain(PARSER))
    await reindex(notes)
    assert "extracted" not in (await notes.get(added)).details


async def test_failed_documents_get_another_chance(notes: Installation) -> None:
    setups = {"pdf": {"suffix": ["pdf"]}}
    await use(notes, "mine", chain({**PARSER, "param": {"setups": setups}}))
    added = await notes.add(TEXT)
    await notes.drain()
    assert (await notes.get(added)).state == "failed"
    preview = await notes.engine.knowledge_bases.preview_reindex(notes.owner, "notes")
    assert (preview.documents, preview.failed) == (1, 1)
    await use(notes, "mine", chain(PARSER))
    await reindex(notes)
    assert (await notes.get(added)).state == "ready"


async def test_a_preview_counts_what_is_read_anew_and_what_is_kept(notes: Installation) -> None:
    pdf = one_page_pdf("Wombats dig burrows")
    await notes.add(pdf, "wombat.pdf")
    await notes.add(TEXT)
    await notes.drain()
    await notes.add("# Later\n", "later.md")  # waits
    found = await notes.engine.knowledge_bases.preview_reindex(notes.owner, "notes")
    assert (found.documents, found.parsed, found.read_bytes) == (2, 1, len(TEXT))
    assert (found.failed, found.pending, found.pipeline) == (0, 1, "general")
    infos = (await notes.engine.documents.page(notes.owner)).documents
    assert found.chunks == sum(info.chunk_count for info in infos)
    assert found.tokens == sum(info.token_count for info in infos)
    assert found.took_s is not None
    with pytest.raises(NotFound):
        await notes.engine.knowledge_bases.preview_reindex(notes.owner, "nothing")


async def test_what_was_made_of_a_document_goes_with_it(notes: Installation) -> None:
    added = await notes.add(one_page_pdf("Wombats dig burrows"), "wombat.pdf")
    await notes.drain()
    assert await outputs(notes.engine) == 1
    await notes.engine.documents.delete(notes.owner, added.document_id)
    await notes.drain()
    assert await outputs(notes.engine) == 0


def test_overlapping_runs_count_once() -> None:
    at = datetime(2026, 1, 1, tzinfo=UTC)
    spans = [(0, 10), (2, 5), (8, 12), (20, 21)]
    pairs = [(at + timedelta(seconds=a), at + timedelta(seconds=b)) for a, b in spans]
    assert busy_s(pairs) == 13
    assert busy_s([]) is None
