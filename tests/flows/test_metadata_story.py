"""Metadata: set at upload, by a pipeline and afterwards; filtered by before ranking, and told with hits."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from sqlalchemy import delete, select

from engine.db.tables import AuditEvent, Channel, Job, Source, Workspace
from engine.documents.adding import NewDocument
from engine.documents.metadata import parse_change
from engine.errors import InvalidInput
from engine.flow.registry import Registry
from engine.operations.reconcile import Drift
from engine.search.filters import parse_filters
from ingestion.components import COMPONENTS
from ingestion.pipelines import load_pipeline
from tests.fakes.installations import Installation

CLEAN = Drift(missing=0, orphaned=0, stranded=0, miscounted=0, repaired=False)
REGISTRY = Registry(COMPONENTS)


async def add_three(notes: Installation) -> dict[str, str]:
    """Three documents that all say the same, and differ in what is known of them; ids by name."""
    said = {
        "old": {
            "tags": ["Policy", "ops"],
            "metadata": {
                "team_keyword": ["People", "IT"],
                "price_float": 5,
                "due_date": "2026-03-01",
            },
            "updated_at": datetime(2024, 5, 1, tzinfo=UTC),
        },
        "new": {
            "tags": ["policy"],
            "metadata": {"team_keyword": "Sales", "price_float": "9.5", "note_text": "The red fox"},
            "updated_at": datetime(2026, 2, 3, tzinfo=UTC),
        },
        "plain": {},
    }
    added = {}
    for name, known in said.items():
        text = f"---\nauthor: {'Ada Élodie Lovelace' if name == 'old' else 'Bob'}\n---\n# {name}\n\nThe ferry of {name} leaves at nine.\n"
        added[name] = (await notes.add(text, f"{name}.md", **known)).document_id
    await notes.drain()
    return added


async def titles(notes: Installation, query: str = "ferry", **said: object) -> list[str]:
    """Sorted titles of what a search finds under filters."""
    found = await notes.engine.search.find(
        notes.owner, query, mode="hybrid", filters=parse_filters(**said)
    )
    return sorted(hit.title for hit in found.hits)


async def test_every_filter_means_the_same_on_either_index_and_database(anywhere):
    notes = anywhere
    ids = await add_three(notes)
    everything = ["new", "old", "plain"]
    expected = [
        ({}, everything),
        ({"tag": "POLICY"}, ["new", "old"]),
        ({"tag": ["ops", "unknown"]}, ["old"]),
        ({"since": "2025"}, ["new"]),
        ({"until": "2024-05"}, ["old"]),
        ({"since": "2024-05-01", "until": "2024-05-01"}, ["old"]),
        ({"author": "élodie lovelace"}, ["old"]),
        ({"author": ["ADA", "bob"]}, everything),
        ({"author": "50%"}, []),
        ({"language": "en"}, everything),
        ({"language": "fr"}, []),
        ({"source": "upload"}, everything),
        ({"source": "slack"}, []),
        ({"channel": "#general"}, []),
        ({"document": ids["plain"]}, ["plain"]),
        ({"metadata": ["team_keyword=people"]}, ["old"]),
        ({"metadata": {"team_keyword": ["people", "sales"]}}, ["new", "old"]),
        ({"metadata": ["price_float>=5", "price_float<9.5"]}, ["old"]),
        ({"metadata": {"price_float": {"min": 5}}}, ["new", "old"]),
        ({"metadata": ["due_date=2026-03"]}, ["old"]),
        ({"metadata": ["due_date<2026-03"]}, []),
        ({"metadata": ["note_text=fox red"]}, ["new"]),
        ({"metadata": ["note_text=foxes"]}, []),
        ({"metadata": ["unknown_keyword=x"]}, []),
        ({"tag": "policy", "metadata": ["team_keyword=sales"], "document": ids["old"]}, []),
    ]
    for said, wanted in expected:
        assert await titles(notes, **said) == wanted, said


async def test_what_a_filter_keeps_out_takes_no_place_among_the_candidates(notes):
    await add_three(notes)
    for number in range(30):
        await notes.add(f"# Ferry {number}\n\nferry ferry ferry\n", f"f{number}.md")
    await notes.drain()
    found = await notes.engine.search.find(
        notes.owner, "ferry", limit=1, filters=parse_filters(metadata=["team_keyword=it"])
    )
    assert [hit.title for hit in found.hits] == ["old"]
    assert found.searched_documents == 1


async def test_hits_are_sorted_by_their_date(anywhere):
    notes = anywhere
    await add_three(notes)

    async def sorted_by(order: str) -> list[str]:
        found = await notes.engine.search.find(notes.owner, "ferry", order=order, limit=3)
        return [hit.title for hit in found.hits]

    assert await sorted_by("newest") == ["new", "old", "plain"]
    assert await sorted_by("oldest") == ["old", "new", "plain"]


async def test_hits_tell_what_is_known_of_their_document(anywhere):
    notes = anywhere
    await add_three(notes)
    found = await notes.engine.search.find(notes.owner, "ferry")
    hit = next(hit for hit in found.hits if hit.title == "old")
    assert (hit.author, hit.source, list(hit.tags)) == (
        "Ada Élodie Lovelace",
        "upload",
        ["ops", "policy"],
    )
    assert hit.updated_at == datetime(2024, 5, 1, tzinfo=UTC)
    assert hit.fields == {
        "team_keyword": ["People", "IT"],
        "price_float": 5.0,
        "due_date": "2026-03-01T00:00:00+00:00",
    }


async def test_a_change_of_fields_holds_at_once_and_one_of_tags_with_its_job(anywhere):
    notes = anywhere
    ids = await add_three(notes)
    texts = notes.embedder.texts
    change = parse_change(tags=["fresh"], metadata={"team_keyword": "Crew", "price_float": None})
    await notes.engine.documents.change(notes.owner, ids["old"], change)
    assert await titles(notes, metadata=["team_keyword=crew"]) == ["old"]
    assert await titles(notes, metadata=["price_float>=0"]) == ["new"]
    assert await titles(notes, metadata=["due_date=2026"]) == ["old"]
    await notes.drain()
    assert await titles(notes, tag="fresh") == ["old"]
    assert await titles(notes, tag="ops") == []
    assert notes.embedder.texts == texts
    assert await notes.engine.operations.reconcile(notes.owner, repair=False) == CLEAN
    async with notes.engine.db.read() as session:
        rows = await session.scalars(
            select(AuditEvent.action).where(AuditEvent.target == ids["old"])
        )
        assert list(rows)[-1] == "document.update"


async def test_a_raised_feature_raises_the_rank_without_reading_again(anywhere):
    notes = anywhere
    ids = await add_three(notes)
    texts = notes.embedder.texts

    async def order() -> list[str]:
        found = await notes.engine.search.find(notes.owner, "ferry leaves nine")
        return [hit.title for hit in found.hits]

    last = (await order())[-1]
    by_title = {"old": ids["old"], "new": ids["new"], "plain": ids["plain"]}
    change = parse_change(features={"pagerank": 20})
    await notes.engine.documents.change(notes.owner, by_title[last], change)
    assert (await notes.engine.operations.reconcile(notes.owner, repair=False)).outdated == 1
    await notes.drain()
    found = await notes.engine.search.find(notes.owner, "ferry leaves nine")
    assert found.hits[0].title == last
    assert found.hits[0].scores.features == pytest.approx(2.0)
    assert notes.embedder.texts == texts
    async with notes.engine.db.write() as session:
        await session.execute(delete(Job))
    change = parse_change(features={"pagerank": None}, metadata={"boost_feature": 3})
    await notes.engine.documents.change(notes.owner, by_title[last], change)
    await notes.engine.knowledge_bases.set_search(
        notes.owner, "notes", {"feature_weights": {"boost_feature": -1}}
    )
    await notes.drain()
    assert (await order())[-1] == last


async def test_metadata_of_an_upload_is_checked_before_anything_is_kept(notes):
    for wrong, field in (
        ({"metadata": {"price_float": "cheap"}}, "price_float"),
        ({"metadata": {"Bad Name": 1}}, "metadata"),
        ({"tags": ["x" * 101]}, "tags"),
    ):
        with pytest.raises(InvalidInput) as refused:
            await notes.add("# A\n\nText.\n", "a.md", **wrong)
        assert refused.value.field == field
    assert (await notes.engine.documents.page(notes.owner)).documents == []


async def test_the_same_bytes_with_other_metadata_are_not_read_again(notes):
    await notes.add("# A\n\nThe ferry.\n", "a.md", metadata={"team_keyword": "one"}, tags=["x"])
    await notes.drain()
    again = await notes.add("# A\n\nThe ferry.\n", "a.md", metadata={"team_keyword": "two"})
    assert (again.unchanged, again.chunks) == (True, 1)
    info = await notes.get(again)
    assert (info.fields, list(info.tags)) == ({"team_keyword": "two"}, ["x"])


async def test_a_pipeline_sets_fields_and_leaves_those_that_people_set(notes):
    dsl = """{"components": [
      {"id": "p", "type": "Parser"},
      {"id": "s", "type": "Splitter"},
      {"id": "q", "type": "QualityControl", "param": {"min_length": 1}},
      {"id": "m", "type": "Metadata", "param": {
        "fields": {"kind_keyword": "memo", "team_keyword": "nobody"},
        "from_extracted": {"checked_text": "quality"}}}],
      "edges": [{"source": "p", "target": "s"}, {"source": "s", "target": "q"},
                {"source": "q", "target": "m"}]}"""
    await notes.engine.pipelines.save(
        notes.owner, "memos", dsl, check=lambda given: load_pipeline(given, REGISTRY)
    )
    await notes.engine.knowledge_bases.update(notes.owner, "notes", pipeline="memos")
    added = await notes.add("# A\n\nThe ferry.\n", "a.md", metadata={"team_keyword": "crew"})
    await notes.drain()
    info = await notes.get(added)
    assert info.state == "ready", info.error
    assert info.fields["kind_keyword"] == "memo"
    assert info.fields["team_keyword"] == "crew"
    assert await titles(notes, metadata=["kind_keyword=memo"]) == ["A"]
    await notes.engine.knowledge_bases.update(notes.owner, "notes", pipeline="general")
    await notes.engine.knowledge_bases.reindex(notes.owner, "notes")
    await notes.drain()
    assert (await notes.get(added)).fields == {"team_keyword": "crew"}


def test_a_pipeline_with_a_field_of_the_wrong_type_is_refused() -> None:
    dsl = '{"components": [{"id": "m", "type": "Metadata", "param": {"fields": {"a_int": "x"}}}]}'
    with pytest.raises(Exception, match="a_int"):
        load_pipeline(dsl, REGISTRY)


async def test_messages_are_narrowed_by_channel_and_by_who_wrote_them(notes):
    tenant_id = notes.owner.tenant_id
    await add_three(notes)
    async with notes.engine.db.write() as session:
        session.add(
            Workspace(id="w1", tenant_id=tenant_id, platform="slack", external_id="T1", name="Acme")
        )
        await session.flush()
        session.add(
            Channel(
                id="c1", tenant_id=tenant_id, workspace_id="w1", external_id="C1", name="general"
            )
        )
        await session.flush()
        kb = await notes.engine.knowledge_bases.get(notes.owner, "notes")
        source = await session.scalar(select(Source).where(Source.kb_id == kb.id))
        source.channel_id = "c1"
        source.name = "#general"
    assert await titles(notes, channel="#General") == ["new", "old", "plain"]
    assert await titles(notes, channel="C1") == ["new", "old", "plain"]
    assert await titles(notes, source="general") == ["new", "old", "plain"]
    assert await titles(notes, channel="random") == []
    async with notes.engine.db.write() as session:
        channel = await session.get_one(Channel, "c1")
        channel.settings = {"bot": {"anonymous": True}}
    assert await titles(notes, author="Ada") == []  # where authors are not named, nobody is found


async def test_settings_of_a_knowledge_base_change_the_next_search(anywhere):
    notes = anywhere
    await add_three(notes)
    bases = notes.engine.knowledge_bases

    async def search():
        return await notes.engine.search.find(notes.owner, "ferry")

    await bases.set_search(notes.owner, "notes", {"top_k": 1})
    assert len((await search()).hits) == 1
    await bases.set_search(notes.owner, "notes", {"mode": "keyword", "threshold": "0"})
    assert (await search()).mode == "keyword"
    await bases.set_search(notes.owner, "notes", {"confidence_threshold": 1}, reset=["top_k"])
    assert (await search()).hits == []
    kb = await bases.set_search(notes.owner, "notes", reset=["all"])
    assert dict(kb.search) == {}
    assert len((await search()).hits) == 3
    assert (await search()).mode == "hybrid"
    for name, value in (("alpha", 2), ("alpha", "half"), ("top_k", 0), ("speed", 1), ("weight", 0)):
        with pytest.raises(InvalidInput) as refused:
            await bases.set_search(notes.owner, "notes", {name: value})
        assert name in str(refused.value)


async def test_formats_that_are_not_supported_are_refused_at_the_door_with_the_list(notes):
    await notes.engine.knowledge_bases.update(notes.owner, "notes", formats=".PDF, md")
    with pytest.raises(InvalidInput, match=r"a\.txt is not of a supported format.*md, pdf"):
        await notes.add("Text.", "a.txt")
    assert (await notes.engine.documents.page(notes.owner)).documents == []
    await notes.add("# A\n\nThe ferry.\n", "a.MD")
    with pytest.raises(InvalidInput, match="supported_formats"):
        await notes.engine.knowledge_bases.update(notes.owner, "notes", formats="p/f")
    new = NewDocument(url="https://example.org/a.docx")
    with pytest.raises(InvalidInput, match="not of a supported format"):
        await notes.engine.documents.add(notes.owner, "notes", new)
    await notes.engine.knowledge_bases.update(notes.owner, "notes", formats="")
    await notes.add("Text.", "a.txt")
