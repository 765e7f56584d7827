"""Pipelines as data: stored, named by a knowledge base, and run on its documents."""

from __future__ import annotations

import asyncio
import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from engine.documents import revisions
from engine.documents.revisions import NewChunk
from engine.errors import Conflict, FlowError, Forbidden, InvalidInput, NotFound, Unavailable
from engine.flow.registry import Registry
from engine.flow.templates import TEMPLATES
from ingestion.components import COMPONENTS
from ingestion.host import run_worker
from ingestion.pipelines import load_pipeline
from tests.fakes.installations import Installation, open_installation, parse_inline
from tests.fakes.language_models import ScriptedModel
from tests.fakes.openai_server import KEY, Text, ToolCall, open_server
from tests.fakes.pdfs import one_page_pdf

REGISTRY = Registry(COMPONENTS)
# As written in the requirements: four components in a row.
EXAMPLE = {
    "components": [
        {"id": "file", "type": "File"},
        {
            "id": "parser",
            "type": "Parser",
            "param": {"setups": {"pdf": {"suffix": ["pdf"], "parse_method": "deepdoc"}}},
        },
        {"id": "extractor", "type": "Extractor", "param": {"field_name": "summary"}},
        {
            "id": "merger",
            "type": "HierarchicalMerger",
            "param": {"levels": [["^#"], ["^##"]], "hierarchy": 2},
        },
    ],
    "edges": [
        {"source": "file", "target": "parser"},
        {"source": "parser", "target": "extractor"},
        {"source": "extractor", "target": "merger"},
    ],
}


def chain(*nodes: dict[str, Any]) -> str:
    ids = [node["id"] for node in nodes]
    edges = [{"source": a, "target": b} for a, b in pairwise(ids)]
    return json.dumps({"components": nodes, "edges": edges})


def check(dsl: str) -> object:
    return load_pipeline(dsl, REGISTRY, offers={"language_model"})


async def use(notes: Installation, name: str, dsl: str) -> None:
    await notes.engine.pipelines.save(notes.owner, name, dsl, check=check, replace=True)
    await notes.engine.knowledge_bases.update(notes.owner, "notes", pipeline=name)


async def chunks_of(notes: Installation, revision_id: str) -> list[NewChunk]:
    async with notes.engine.db.read() as session:
        return await revisions.load_chunks(session, revision_id)


async def test_the_example_of_four_components_loads_and_runs(notes: Installation) -> None:
    notes.engine.model = notes.engine.llms._operators = ScriptedModel("It is about a form.")
    await use(notes, "example", json.dumps(EXAMPLE))
    added = await notes.add(one_page_pdf("Send the form to the office"), "form.pdf")
    refused = await notes.add("# Not a PDF\n", "other.md")
    await notes.drain()
    info = await notes.get(added)
    assert (info.state, info.error) == ("ready", "")
    assert info.details["extracted"]["summary"] == "It is about a form."
    assert info.details["pages"] == 1
    assert await notes.found("office") == ["Send the form to the office"]
    assert (await notes.get(refused)).error == (
        "other.md: this pipeline reads only pdf; use another pipeline or knowledge base for it."
    )


def test_the_example_is_the_same_from_text_and_from_a_dict() -> None:
    assert load_pipeline(EXAMPLE, REGISTRY) == load_pipeline(json.dumps(EXAMPLE), REGISTRY)


async def test_a_stored_pipeline_keeps_its_text_byte_for_byte(notes: Installation) -> None:
    dsl = '{ "components": [{"type": "Parser", "id": "p"}],\n\t"edges": [] }\n'
    await notes.engine.pipelines.save(notes.owner, "mine", dsl, check=check)
    found = await notes.engine.pipelines.get(notes.owner, "mine")
    assert (found.dsl, found.is_template, found.knowledge_bases) == (dsl, False, [])
    await notes.engine.knowledge_bases.update(notes.owner, "notes", pipeline="mine")
    assert (await notes.engine.pipelines.get(notes.owner, "mine")).knowledge_bases == ["notes"]
    names = [flow.name for flow in await notes.engine.pipelines.list_all(notes.owner)]
    assert names == [*sorted(TEMPLATES), "mine"]


async def test_what_can_not_be_is_refused_with_what_to_do(notes: Installation) -> None:
    engine, owner = notes.engine, notes.owner
    parser = chain({"id": "p", "type": "Parser"})
    with pytest.raises(Conflict, match="is a template"):
        await engine.pipelines.save(owner, "general", parser, check=check)
    with pytest.raises(InvalidInput, match="lowercase letters"):
        await engine.pipelines.save(owner, "Bad name", parser, check=check)
    with pytest.raises(FlowError, match="unknown type 'Parsr', did you mean 'Parser'"):
        await engine.pipelines.save(owner, "mine", chain({"id": "p", "type": "Parsr"}), check=check)
    await engine.pipelines.save(owner, "mine", parser, check=check)
    with pytest.raises(Conflict, match="exists already"):
        await engine.pipelines.save(owner, "mine", parser, check=check)
    await engine.knowledge_bases.update(owner, "notes", pipeline="mine")
    with pytest.raises(Conflict, match="pipeline of notes"):
        await engine.pipelines.delete(owner, "mine")
    with pytest.raises(InvalidInput, match=r"no pipeline 'other'; available: book, .*mine"):
        await engine.knowledge_bases.update(owner, "notes", pipeline="other")
    with pytest.raises(InvalidInput, match="no pipeline"):
        await engine.knowledge_bases.create(owner, "more", pipeline="other")
    await engine.knowledge_bases.update(owner, "notes", pipeline="general")
    await engine.pipelines.delete(owner, "mine")
    with pytest.raises(NotFound):
        await engine.pipelines.get(owner, "mine")


async def test_only_who_manages_knowledge_bases_changes_pipelines(notes: Installation) -> None:
    from dataclasses import replace

    from engine.domain import Scope

    reader = replace(notes.owner, scopes=frozenset({Scope.KB_READ, Scope.KB_WRITE}))
    with pytest.raises(Forbidden):
        await notes.engine.pipelines.save(
            reader, "mine", chain({"id": "p", "type": "Parser"}), check=check
        )
    with pytest.raises(Forbidden):
        await notes.engine.pipelines.delete(reader, "mine")
    assert await notes.engine.pipelines.list_all(reader)


async def test_a_pipeline_that_no_longer_loads_fails_its_documents_with_the_reason(
    notes: Installation,
) -> None:
    await use(
        notes, "summaries", chain({"id": "p", "type": "Parser"}, {"id": "x", "type": "Extractor"})
    )
    added = await notes.add("# A page\n")
    await notes.drain()  # the installation has no model
    assert (await notes.get(added)).error == (
        "The pipeline 'summaries' does not load: component 'x': Extractor needs a language model,"
        " and none is configured: set llm.model. Mend it, or give the knowledge base another one."
    )


async def test_languages_are_kept_apart_and_told_of_each_chunk(notes: Installation) -> None:
    english = "The backup of the shop is made at night, and it is kept for a year. " * 4
    german = "Die Sicherung des Ladens wird in der Nacht gemacht und bleibt das Jahr da. " * 4
    nodes = [{"id": "p", "type": "Parser"}, {"id": "l", "type": "LanguageDetector"}]
    await use(notes, "languages", chain(*nodes))
    added = await notes.add(f"{english}\n\n{german}\n\n{english}\n")
    await notes.drain()
    chunks = await chunks_of(notes, added.revision_id)
    assert [chunk.language for chunk in chunks] == ["en", "de", "en"]
    assert [chunk.part for chunk in chunks] == [0, 1, 0]  # a part is in one language
    assert len(await notes.found("Sicherung")) == 1


async def test_an_outline_by_patterns_names_the_sections(notes: Installation) -> None:
    body = "What holds here holds for everyone who rents, whatever was said before it. " * 14
    text = f"CHAPTER 1 Rent\n\nArticle 1. Sum\n\n{body}\n\nCHAPTER 2 Keys\n\nArticle 2. Loss\n\n{body}\n"
    await notes.engine.knowledge_bases.update(notes.owner, "notes", pipeline="laws")
    added = await notes.add(text, "law.txt")
    await notes.drain()
    chunks = await chunks_of(notes, added.revision_id)
    paths = [chunk.meta["path"] for chunk in chunks]
    assert paths[0][0] == "CHAPTER 1 Rent"
    assert any("CHAPTER 2 Keys" in path for path in paths)
    assert not any("Article 1" in c.text and "Article 2" in c.text for c in chunks)


async def test_faulty_chunks_are_flagged_or_left_out_with_the_reason(notes: Installation) -> None:
    code = "```python\ndef f(:\n```"
    text = f"# Good\n\n{'Good words about the cluster stand here. ' * 12}\n\n# Bad\n\n{code}\n"
    quality = {"id": "q", "type": "QualityControl", "param": {"code_syntax": True}}
    split = {"id": "s", "type": "Splitter", "param": {"sections_apart": True}}
    parser = {"id": "p", "type": "Parser"}
    await use(notes, "checked", chain(parser, split, quality))
    flagged = await notes.add(text)
    await notes.drain()
    chunks = await chunks_of(notes, flagged.revision_id)
    reason = "python code: invalid syntax, line 1"
    assert [chunk.meta.get("flags") for chunk in chunks] == [None, [reason]]
    info = await notes.get(flagged)
    assert info.message == "2 chunks; 1 flagged by quality control"
    assert info.details["extracted"]["quality"]["reasons"] == {"code syntax": 1}

    quality["param"] = {"code_syntax": True, "on_fault": "reject"}
    await use(notes, "checked", chain(parser, split, quality))
    rejected = await notes.add(text + "\n", "again.md")
    nothing_left = await notes.add(f"{code}\n", "bad.md")
    await notes.drain()
    assert [c.text[:6] for c in await chunks_of(notes, rejected.revision_id)] == ["# Good"]
    assert (await notes.get(rejected)).message == "1 chunks; 1 rejected by quality control"
    error = (await notes.get(nothing_left)).error
    assert error.startswith("bad.md: QualityControl 'q' rejected all 1 chunks")
    assert reason in error


async def test_each_mode_of_the_extractor_fills_its_field_and_earlier_ones_survive(
    notes: Installation,
) -> None:
    notes.engine.model = notes.engine.llms._operators = ScriptedModel(
        "A short one.",
        {"items": ["leave", "sick"]},
        {"entries": [{"title": "Leave"}]},
        {"owner": "HR", "since": ""},
        "Friendly.",
    )
    extract = [
        {"field_name": "summary"},
        {"field_name": "keywords", "count": 2},
        {"field_name": "toc"},
        {"field_name": "facts_of_it", "fields": {"owner": "Who answers for it", "since": "When"}},
        {"field_name": "tone", "prompt": "In one word, what is its tone?"},
    ]
    nodes = [{"id": f"x{n}", "type": "Extractor", "param": p} for n, p in enumerate(extract)]
    await use(notes, "fields", chain({"id": "p", "type": "Parser"}, *nodes))
    added = await notes.add("# Leave\n\nTwenty days.\n")
    await notes.drain()
    info = await notes.get(added)
    assert info.error == ""
    assert {
        key: info.details["extracted"][key]
        for key in ("summary", "keywords", "toc", "facts_of_it", "tone")
    } == {
        "summary": "A short one.",
        "keywords": ["leave", "sick"],
        "toc": [{"title": "Leave", "level": 1}],
        "facts_of_it": {"owner": "HR", "since": ""},
        "tone": "Friendly.",
    }


async def test_words_answer_before_the_model_does_and_nothing_is_asked_twice(
    notes: Installation,
) -> None:
    away = Unavailable("The model is away.", retry_after_s=3600)
    model = notes.engine.model = notes.engine.llms._operators = ScriptedModel("Sum.", away)
    nodes = [
        {"id": "p", "type": "Parser"},
        {"id": "first", "type": "Extractor"},
        {"id": "s", "type": "Splitter"},
        {"id": "t", "type": "Tokenizer"},
        {"id": "second", "type": "Extractor", "param": {"field_name": "tone", "prompt": "Tone?"}},
    ]
    await use(notes, "two", chain(*nodes))
    added = await notes.add("# Leave\n\nTwenty wombats.\n")
    async with notes.working():
        waiting = await notes.until(added, lambda d: "away" in d.message)
        assert await notes.found("wombats") == ["# Leave\n\nTwenty wombats."]
    assert waiting.state == "pending"
    model.replies.append("Dry.")
    from sqlalchemy import update

    from engine.clock import now
    from engine.db.tables import Job

    async with notes.engine.db.write() as session:
        await session.execute(update(Job).values(run_at=now()))
    await notes.drain()
    info = await notes.get(added)
    assert (
        info.state,
        info.details["extracted"]["summary"],
        info.details["extracted"]["tone"],
    ) == ("ready", "Sum.", "Dry.")
    assert len(model.prompts) == 3  # one for the first, two for the second


@pytest.mark.parametrize("name", sorted(TEMPLATES))
async def test_every_template_ingests_a_page_and_a_sheet(notes: Installation, name: str) -> None:
    await notes.engine.knowledge_bases.update(notes.owner, "notes", pipeline=name)
    page = await notes.add(
        "# Chapter 1\n\nThe quokka sleeps.\n\n| q | a |\n| --- | --- |\n| x | y |\n"
    )
    await notes.drain()
    info = await notes.get(page)
    assert (info.state, info.error) == ("ready", "")
    assert len(await notes.found("quokka")) == 1


async def test_an_extractor_asks_a_real_endpoint(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parse_inline(monkeypatch)
    async with open_server() as server:
        settings = {
            "llm.model": "openai:gpt-test",
            "llm.base_url": server.base_url,
            "llm.api_key": KEY,
        }
        async with open_installation(home, settings) as notes:
            extract = [
                {"field_name": "summary"},
                {"field_name": "facts_of_it", "fields": {"owner": "Who answers for it"}},
                {"field_name": "keywords", "count": 2},
            ]
            nodes = [
                {"id": f"x{n}", "type": "Extractor", "param": p} for n, p in enumerate(extract)
            ]
            await use(notes, "fields", chain({"id": "p", "type": "Parser"}, *nodes))
            added = await notes.add("# Leave\n\nTwenty days, says HR.\n")
            server.enqueue(
                Text("Leave takes twenty days."),
                ToolCall({"owner": "HR"}),
                ToolCall({"items": ["leave", "HR"]}),
            )
            async with asyncio.timeout(60):
                await run_worker(notes.engine, asyncio.Event(), idle_exit_s=0)
            info = await notes.get(added)
    assert info.error == ""
    assert info.details["extracted"] == {
        "summary": "Leave takes twenty days.",
        "facts_of_it": {"owner": "HR"},
        "keywords": ["leave", "HR"],
    }
