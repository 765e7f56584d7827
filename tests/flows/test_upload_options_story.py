"""What an upload asks for beside its pipeline: kept with the document, and done."""

from __future__ import annotations

from collections.abc import AsyncIterator
from email.message import EmailMessage
from pathlib import Path

import pytest

from engine.documents import revisions
from engine.documents.adding import Added
from engine.documents.revisions import NewChunk
from engine.documents.upload_options import KEY, UploadOptions, kept_options
from engine.errors import InvalidInput
from engine.flow.registry import Registry
from ingestion.components import COMPONENTS
from ingestion.pipelines import load_pipeline
from ingestion.upload_pipeline import pipeline_for
from tests.fakes.installations import Installation, open_installation, parse_inline

REGISTRY = Registry(COMPONENTS)
BARE = '{"components": [{"id": "p", "type": "Parser", "param": {"tables": false}}]}'
PAGE = """---
reviewer: Heliotrope
---
# Report

Words about the harbour stand here, enough of them.

| vessel |
| ------ |
| Nimbus |

```python
def f(:
```
"""
ASKED = {"extraction_strategy": "comprehensive", "quality_control": True}


@pytest.fixture
async def notes(home: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Installation]:
    parse_inline(monkeypatch)
    async with open_installation(home) as opened:
        await opened.engine.pipelines.save(
            opened.owner, "bare", BARE, check=lambda dsl: load_pipeline(dsl, REGISTRY)
        )
        await opened.engine.knowledge_bases.update(opened.owner, "notes", pipeline="bare")
        yield opened


async def chunks_of(notes: Installation, added: Added) -> list[NewChunk]:
    async with notes.engine.db.read() as session:
        return await revisions.load_chunks(session, added.revision_id)


async def test_comprehensive_takes_what_the_pipeline_and_the_reader_leave_out(
    notes: Installation,
) -> None:
    standard = await notes.add(PAGE, "standard.md")
    whole = await notes.add(PAGE, "whole.md", extraction_strategy="comprehensive")
    await notes.drain()
    found = {
        name: " ".join(chunk.text for chunk in await chunks_of(notes, added))
        for name, added in (("standard", standard), ("whole", whole))
    }
    assert "harbour" in found["standard"]
    assert "Nimbus" not in found["standard"]
    assert "Heliotrope" not in found["standard"]
    assert all(word in found["whole"] for word in ("harbour", "Nimbus", "Heliotrope"))
    assert (await notes.get(whole)).details[KEY] == ASKED | {"quality_control": False}
    assert KEY not in (await notes.get(standard)).details


async def test_quality_control_flags_where_the_pipeline_checks_nothing(notes: Installation) -> None:
    checked = await notes.add(PAGE, quality_control=True)
    await notes.drain()
    info = await notes.get(checked)
    assert info.state == "ready"
    assert info.message.endswith("1 flagged by quality control")
    assert info.details["extracted"]["quality"]["reasons"] == {"code syntax": 1}
    flags = [
        chunk.meta["flags"] for chunk in await chunks_of(notes, checked) if chunk.meta.get("flags")
    ]
    assert flags == [["python code: invalid syntax, line 1"]]


async def test_other_options_are_reason_to_read_the_same_bytes_anew(notes: Installation) -> None:
    first = await notes.add(PAGE)
    await notes.drain()
    asked = await notes.add(PAGE, **ASKED)
    await notes.drain()
    again = await notes.add(PAGE, **ASKED)
    assert (first.unchanged, asked.unchanged, again.unchanged) == (False, False, True)
    assert await notes.found("Heliotrope") != []


async def test_attached_files_are_read_as_their_message_was_to_be(notes: Installation) -> None:
    message = EmailMessage()
    message["Subject"] = "Report"
    message.set_content("See the report, which is attached to this message.")
    message.add_attachment(PAGE.encode(), "text", "markdown", filename="report.md")
    await notes.add(message.as_bytes(), "mail.eml", **ASKED)
    await notes.drain()
    listed = (await notes.engine.documents.page(notes.owner, kb="notes")).documents
    assert [document.details[KEY] for document in listed] == [ASKED, ASKED]
    assert any("Heliotrope" in text for text in await notes.found("Heliotrope"))


async def test_a_file_can_not_ask_for_itself(notes: Installation) -> None:
    added = await notes.add(f"---\n{KEY}: comprehensive\n---\n{PAGE[4:]}")
    await notes.drain()
    info = await notes.get(added)
    assert info.state == "ready"
    assert kept_options(info.details) == UploadOptions()


async def test_an_unknown_strategy_is_refused_before_anything_is_kept(notes: Installation) -> None:
    with pytest.raises(InvalidInput, match=r"'all'\. Allowed: standard, comprehensive\.") as caught:
        await notes.add(PAGE, extraction_strategy="all")
    assert caught.value.field == "extraction_strategy"
    assert (await notes.engine.documents.page(notes.owner, kb="notes")).documents == []


def test_a_pipelines_own_quality_control_stays_as_it_is() -> None:
    nodes = [
        {"id": "p", "type": "Parser"},
        {"id": "s", "type": "Splitter"},
        {"id": "q", "type": "QualityControl", "param": {"min_length": 5}},
    ]
    edges = [{"source": "p", "target": "s"}, {"source": "s", "target": "q"}]
    own = {"components": nodes, "edges": edges}
    graph = load_pipeline(pipeline_for(own, UploadOptions(quality_control=True)), REGISTRY)
    checks = [n.param for n in graph.nodes.values() if n.component.type == "QualityControl"]
    assert [check.model_dump(exclude_unset=True) for check in checks] == [{"min_length": 5}]
