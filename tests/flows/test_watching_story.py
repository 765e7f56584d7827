"""Documents followed on their way: each step, by component, with its log, and why they wait."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

from engine.documents.progress import DocumentProgress
from engine.errors import NotFound
from ingestion.components import embedder
from tests.fakes.installations import BOUND_S, Installation
from tests.flows.test_pipelines_story import chain, use

TEXT = "# Wombats\n\n" + "Wombats dig long burrows in soft ground. " * 40


async def followed(
    notes: Installation, *ids: str, begun: asyncio.Event | None = None
) -> list[DocumentProgress]:
    """Everything that is said until all have ended; `begun` is set once something was."""
    said: list[DocumentProgress] = []
    async with asyncio.timeout(BOUND_S):
        async for changed in notes.engine.documents.watch(notes.owner, ids, every_s=0.02):
            said += changed
            if begun is not None:
                begun.set()
    return said


@asynccontextmanager
async def following(
    notes: Installation, *ids: str
) -> AsyncIterator[asyncio.Task[list[DocumentProgress]]]:
    """What is said from now on, before anything else happens."""
    begun = asyncio.Event()
    task = asyncio.create_task(followed(notes, *ids, begun=begun))
    async with asyncio.timeout(BOUND_S):
        await begun.wait()
    yield task


async def test_a_document_is_followed_from_waiting_to_ready(notes: Installation) -> None:
    added = await notes.add(TEXT)
    async with following(notes, added.document_id) as task, notes.working():
        said = await task
    assert said[0].state == "pending"
    assert said[0].message.startswith("'note.md' waits next in line")
    assert (said[-1].state, said[-1].vectors, said[-1].progress) == ("ready", "complete", 1.0)
    lines = [entry for item in said for entry in item.entries]
    assert [line["component"] for line in lines if line["message"] == "start"] == [
        *("file", "parser", "splitter", "tokenizer", "embedder", "indexer")
    ]
    assert lines[-1]["component"] == "END"
    assert all(
        set(line) == {"component", "progress", "message", "datetime", "timestamp"} for line in lines
    )
    last = [item for item in said if item.components][-1]
    assert last.components["embedder"] == 1.0


async def test_words_come_first_and_both_steps_show(
    notes: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedder, "WORDS_AFTER_S", 0.0)
    added = await notes.add(TEXT)
    notes.embedder.gate.clear()
    steps = []
    async with notes.working(), asyncio.timeout(BOUND_S):
        async for changed in notes.engine.documents.watch(
            notes.owner, [added.document_id], every_s=0.02
        ):
            for item in changed:
                steps.append((item.state, item.vectors, item.chunk_count > 0))
                if item.chunk_count and not notes.embedder.gate.is_set():
                    assert len(await notes.found("burrows")) == 1
                    assert "It is already searchable by keywords." in await notes.why(added)
                    notes.embedder.gate.set()
    assert ("running", "none", True) in steps
    assert steps[-1] == ("ready", "complete", True)


async def test_a_failure_names_its_component_and_keeps_the_log(notes: Installation) -> None:
    quality = {
        "id": "q",
        "type": "QualityControl",
        "param": {"min_length": 99, "on_fault": "reject"},
    }
    nodes = [{"id": "p", "type": "Parser"}, {"id": "s", "type": "Splitter"}, quality]
    await use(notes, "strict", chain(*nodes))
    added = await notes.add("Short.\n")
    await notes.drain()
    why = await notes.why(added)
    assert why.startswith(
        "'note.md' failed in component 'q': note.md: QualityControl 'q' rejected all"
    )
    (said,) = [item for item in await followed(notes, added.document_id) if item.entries]
    assert said.components["q"] == -1
    assert said.components["s"] == 1
    assert "tokenizer" not in said.components


async def test_without_ids_all_that_is_in_work_is_followed(notes: Installation) -> None:
    ready = await notes.add(TEXT)
    await notes.drain()
    waiting = [await notes.add(f"# Page {n}\n", f"{n}.md") for n in range(7)]
    async with following(notes) as task, notes.working():
        said = await task
    ended = {one.id for one in said if one.state == "ready"}
    assert ended == {added.document_id for added in waiting}
    assert ready.document_id not in {item.id for item in said}
    assert await followed(notes) == []


async def test_what_may_not_be_seen_may_not_be_watched(notes: Installation) -> None:
    added = await notes.add(TEXT)
    stranger = replace(notes.owner, tokens=frozenset({"tenant"}))
    with pytest.raises(NotFound):
        async for _ in notes.engine.documents.watch(stranger, [added.document_id]):
            pass
    seen = [changed async for changed in notes.engine.documents.watch(stranger)]
    assert seen == []


async def test_why_tells_of_a_missing_worker_and_of_the_time_left(notes: Installation) -> None:
    added = await notes.add(TEXT)
    assert await notes.why(added) == (
        "'note.md' waits next in line, and no worker is running: start one with `scrubjay up` or"
        " `scrubjay worker`."
    )
