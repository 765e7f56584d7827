"""Queries read by what the audience may read: never towards a word of somebody else's document."""

import random

import pytest
from sqlalchemy import select, update

from engine.clock import now
from engine.db.session import Database
from engine.db.tables import Document, QueryLog
from engine.search.query_log import SearchLog
from engine.search.query_steps import describe_steps
from engine.search.understood import Understanding
from tests.fakes.library import Library


@pytest.fixture
async def library(database: Database, tmp_path):
    made = await Library.create(database, tmp_path)
    yield made
    await made.index.aclose()


def understanding(library: Library, **options) -> Understanding:
    return Understanding(
        library.db, library.index, {library.embedder.space.name: library.embedder}, **options
    )


async def handbook(library: Library, name: str = "handbook", **search) -> str:
    kb = await library.add_kb(name, **search)
    await library.add(kb, "Annual leave", "Annual leave is earned by working every week.")
    await library.add(kb, "Paid time off", "Everybody has paid time off (PTO) of 25 days a year.")
    await library.add(kb, "Holiday rules", "Your paid time off carries over to March.")
    await library.add(kb, "Employment contract", "The notice period is three months.")
    await library.add(kb, "Rental terms", "The notice period is six weeks.")
    return kb


def read(result) -> list[tuple[str, str, str]]:
    return [(step.kind, step.said, step.read) for step in result.steps]


async def test_a_misspelt_word_is_read_as_the_word_the_documents_hold(library):
    kb = await handbook(library)
    found = await understanding(library).search(*library.reader(kb), "annual leeve")
    assert found.hits[0].title == "Annual leave"
    assert (found.query, found.searched) == ("annual leeve", "annual leave")
    assert read(found) == [("spelling", "leeve", "leave")]
    assert describe_steps(found.steps) == "“leeve” read as “leave”."


async def test_a_word_alone_is_found_by_what_it_is_near(library):
    kb = await handbook(library)
    found = await understanding(library).search(*library.reader(kb), "contarct")
    assert found.hits[0].title == "Employment contract"


async def test_no_query_is_read_towards_a_word_of_a_document_its_asker_may_not_read(library):
    """Names of 60 private projects, each one letter off: none may come back, in any part."""
    kb = await handbook(library)
    pick = random.Random(7)
    names = [
        "".join(
            pick.choices("bcdfgklmnprstvz", k=1)
            + pick.choices("aeiou", k=1) * 1
            + pick.choices("bcdfgklmnprstvz", k=5)
        )
        for _ in range(60)
    ]
    for name in names:
        await library.add(
            kb, f"Project {name}", f"{name} (QXZ) means quick {name} zone.", acl=["g:board"]
        )
    search = understanding(library)
    for name in names:
        asked = name[:2] + name[3] + name[2] + name[4:]
        if asked == name:
            continue
        found = await search.search(*library.reader(kb), f"budget of {asked} QXZ")
        assert name not in f"{found}"
        assert all(step.kind != "acronym" for step in found.steps)


async def test_nor_towards_one_of_a_document_that_was_closed_since(library):
    kb = await handbook(library)
    secret = await library.add(kb, "Zephyrine", "Zephyrine is the code name.")
    async with library.db.write() as session:
        await session.execute(
            update(Document).where(Document.id == secret).values(deleted_at=now())
        )
    found = await understanding(library).search(*library.reader(kb), "zephyrone")
    assert found.steps == ()


async def test_an_acronym_is_searched_with_what_a_page_defines_it_as(library):
    kb = await handbook(library)
    found = await understanding(library).search(*library.reader(kb), "Does PTO carry over?")
    assert found.searched == "Does PTO (paid time off) carry over?"
    assert "Holiday rules" in [hit.title for hit in found.hits[:2]]
    assert read(found) == [("acronym", "PTO", "paid time off")]


async def test_a_document_that_is_named_is_a_filter(library):
    kb = await handbook(library)
    found = await understanding(library).search(
        *library.reader(kb), "What is the notice period from the contract?"
    )
    assert [hit.title for hit in found.hits] == ["Employment contract"]
    assert found.searched == "What is the notice period?"


async def test_a_date_is_a_filter_where_documents_have_dates_and_none_where_they_have_not(library):
    kb = await handbook(library)
    found = await understanding(library).search(*library.reader(kb), "notice period since May")
    assert len(found.hits) > 1
    assert found.steps == ()


@pytest.mark.parametrize("step", ["spelling", "acronyms", "query_filters"])
async def test_each_step_can_be_switched_off_for_a_knowledge_base(library, step):
    kb = await handbook(library, **{step: False})
    query = "Does PTO of annuel leave carry over, from the contract?"
    on = await understanding(library).search(
        *library.reader(await handbook(library, "other")), query
    )
    off = await understanding(library).search(*library.reader(kb), query)
    kinds = {"spelling": "spelling", "acronyms": "acronym", "query_filters": "filter"}
    assert kinds[step] not in {item.kind for item in off.steps}
    assert {item.kind for item in on.steps} >= {"spelling", "acronym"}


async def test_what_stands_in_quotation_marks_is_searched_as_it_is(library):
    kb = await handbook(library)
    found = await understanding(library).search(*library.reader(kb), '"annual leeve"')
    assert found.steps == ()


async def test_one_search_is_logged_once_with_the_words_that_were_typed(library):
    kb = await handbook(library)
    log = SearchLog(library.db)
    async with log.writing():
        search = understanding(library, query_log=log)
        await search.search(*library.reader(kb), "annual leeve")
    async with library.db.read() as session:
        [row] = list(await session.scalars(select(QueryLog)))
    assert row.hits > 0


async def test_a_query_that_needs_no_reading_is_searched_once(library, monkeypatch):
    kb = await handbook(library)
    search = understanding(library)
    seen = []
    looked = library.index.search

    async def search_index(request):
        seen.append(request.text)
        return await looked(request)

    monkeypatch.setattr(library.index, "search", search_index)
    await search.search(*library.reader(kb), "How is annual leave earned?")
    assert seen == ["How is annual leave earned?"]
