import asyncio
from dataclasses import replace

import pytest
from sqlalchemy import select, update

from engine.access.search_filters import SearchFilters
from engine.access.search_scope import SearchOverrides
from engine.clock import now
from engine.db.session import Database
from engine.db.tables import Document, Live, QueryLog, Tenant
from engine.domain import Audience
from engine.errors import InvalidInput, NotFound, Unavailable
from engine.search.query_log import SearchLog
from engine.search.retrieval import explain
from tests.fakes.library import Library

LEAVE = "Sick leave is 104 hours a year.\n\nAsk your supervisor for sick leave."
TRAVEL = "Vouchers for travel are due within five days."


@pytest.fixture
async def library(database: Database, tmp_path):
    made = await Library.create(database, tmp_path)
    yield made
    await made.index.aclose()


def titles(result):
    return [hit.title for hit in result.hits]


async def test_a_search_finds_the_document_with_its_passages_in_full(library):
    kb = await library.add_kb("handbook")
    document = await library.add(kb, "Leave", LEAVE)
    await library.add(kb, "Travel", TRAVEL)
    result = await library.retriever().search(*library.reader(kb), "sick leave hours")
    [first, *_] = result.hits
    assert (first.document_id, first.title, first.kb_name) == (document, "Leave", "handbook")
    assert first.text == "Sick leave is 104 hours a year."
    assert first.id == first.passages[0].id == f"{first.revision_id}.0"
    assert LEAVE[first.passages[0].start : first.passages[0].end] == first.text
    assert result.searched_kbs == ["handbook"]
    assert result.searched_documents == 2
    assert 0 < first.confidence < 1


async def test_a_document_whose_acl_is_not_held_is_never_found(library):
    kb = await library.add_kb("handbook")
    await library.add(kb, "Open", "The salary table is public.")
    await library.add(kb, "Secret", "The salary table of the board.", acl=["g:board"])
    reader, audience = library.reader(kb)
    assert titles(await library.retriever().search(reader, audience, "salary table")) == ["Open"]
    board = replace(reader, tokens=reader.tokens | {"g:board"})
    assert titles(await library.retriever().search(board, audience, "salary table")) == ["Open"]
    both = Audience("u:b", "b", board.tokens)
    found = await library.retriever().search(board, both, "salary table")
    assert sorted(titles(found)) == ["Open", "Secret"]


async def test_a_deletion_holds_before_the_index_knows(library):
    kb = await library.add_kb("handbook")
    gone = await library.add(kb, "Leave", LEAVE)
    await library.add(kb, "Other leave", "Leave of another kind.")
    async with library.db.write() as session:
        await session.execute(update(Document).where(Document.id == gone).values(deleted_at=now()))
    result = await library.retriever().search(*library.reader(kb), "leave", limit=1)
    assert titles(result) == ["Other leave"]


async def test_a_revision_that_is_not_live_is_not_found(library):
    kb = await library.add_kb("handbook")
    document = await library.add(kb, "Leave", LEAVE)
    async with library.db.write() as session:
        await session.execute(Live.__table__.delete().where(Live.document_id == document))
    result = await library.retriever().search(*library.reader(kb), "sick leave")
    assert titles(result) == []


async def test_pages_are_fetched_until_enough_survive_the_join(library):
    kb = await library.add_kb("handbook")
    gone = [await library.add(kb, f"Leave {n}", "leave leave leave") for n in range(9)]
    await library.add(kb, "The last", "Something else, and then leave once at the very end of it.")
    async with library.db.write() as session:
        await session.execute(
            update(Document).where(Document.id.in_(gone)).values(deleted_at=now())
        )
    result = await library.retriever().search(*library.reader(kb), "leave", limit=1, mode="keyword")
    assert titles(result) == ["The last"]


async def test_an_unreadable_knowledge_base_is_as_absent_as_an_unknown_one(library):
    mine = await library.add_kb("mine")
    theirs = await library.add_kb("theirs", grants=["g:them"])
    await library.add(theirs, "Leave", LEAVE)
    messages = []
    for kb in (theirs, "f" * 32):
        with pytest.raises(NotFound) as caught:
            await library.retriever().search(*library.reader(mine), "leave", kb_ids=[kb])
        messages.append(str(caught.value).replace(kb, "…"))
    assert messages[0] == messages[1]


async def test_knowledge_bases_with_other_weights_are_fused_by_rank(library):
    one = await library.add_kb("one", alpha=0.2)
    two = await library.add_kb("two", alpha=0.8, weight=3.0)
    await library.add(one, "First", LEAVE)
    await library.add(two, "Second", LEAVE)
    result = await library.retriever().search(*library.reader(one, two), "sick leave hours")
    assert titles(result) == ["Second", "First"]
    assert result.hits[0].score == pytest.approx(3 / 61)


async def test_each_mode_says_what_it_did(library):
    kb = await library.add_kb("handbook")
    await library.add(kb, "Leave", LEAVE)
    search = library.retriever().search
    reader = library.reader(kb)
    keyword = await search(*reader, "sick leave", mode="keyword")
    assert (keyword.mode, keyword.semantic, keyword.hits[0].scores.cosine) == (
        "keyword",
        False,
        None,
    )
    semantic = await search(*reader, "sick leave", mode="semantic")
    assert semantic.mode == "semantic"
    assert semantic.hits[0].scores.cosine is not None
    adaptive = await search(*reader, "ERR_LEAVE_42", mode="adaptive")
    assert adaptive.mode == "keyword"


async def test_words_alone_are_searched_in_a_language_the_model_does_not_know(library):
    kb = await library.add_kb("handbook")
    await library.add(kb, "Urlaub", "Der Urlaub wird vom Vorgesetzten genehmigt.", language="de")
    library.embedder.languages = frozenset({"en"})
    query = "Wer genehmigt denn eigentlich den Urlaub und wann?"
    result = await library.retriever().search(*library.reader(kb), query)
    assert titles(result) == ["Urlaub"]
    assert not result.semantic
    assert "does not know the language of the query (de)" in result.notice
    with pytest.raises(Unavailable, match="keyword mode"):
        await library.retriever().search(*library.reader(kb), query, mode="semantic")


async def test_nothing_found_names_what_was_searched(library):
    kb = await library.add_kb("handbook")
    await library.add(kb, "Leave", LEAVE)
    result = await library.retriever().search(
        *library.reader(kb), "zebra", mode="keyword", overrides=SearchOverrides(threshold=0.0)
    )
    assert titles(result) == []
    assert result.notice.startswith("Nothing was found in handbook (1 document).")
    nobody = library.principal()
    nothing = await library.retriever().search(nobody, Audience("u:x", "x", frozenset()), "leave")
    assert nothing.notice.startswith("You have no access to a knowledge base")


async def test_the_threshold_applies_to_confidence(library):
    kb = await library.add_kb("handbook", confidence_threshold=1.0)
    await library.add(kb, "Leave", LEAVE)
    search = library.retriever().search
    assert titles(await search(*library.reader(kb), "sick leave")) == []
    assert titles(
        await search(*library.reader(kb), "sick leave", overrides=SearchOverrides(threshold=0.0))
    ) == ["Leave"]


class Reranker:
    def __init__(self, scores=None, wait=None):
        self.scores, self.wait = scores, wait

    async def rerank(self, query, texts):
        if self.wait:
            await self.wait.wait()
        if self.scores is None:
            raise Unavailable("away")
        return self.scores(texts)

    async def aclose(self):
        pass


async def test_a_reranker_decides_the_order_and_its_failure_keeps_it(library):
    kb = await library.add_kb("handbook")
    await library.add(kb, "Leave", LEAVE)
    await library.add(kb, "Travel", "Leave for travel is asked for early.")
    reader = library.reader(kb)
    plain = titles(await library.retriever().search(*reader, "leave"))
    turned = Reranker(lambda texts: [float(n) for n in range(len(texts))])
    reranked = await library.retriever(reranker=turned).search(*reader, "leave")
    assert titles(reranked) == plain[::-1]
    assert reranked.hits[0].scores.rerank == 1.0
    away = await library.retriever(reranker=Reranker()).search(*reader, "leave")
    assert titles(away) == plain
    assert "The reranker did not answer" in away.notice


async def test_neighbours_of_the_best_chunk_widen_a_hit(library):
    kb = await library.add_kb("handbook")
    text = "\n\n".join(["One alpha.", "Two beta.", "Three gamma.", "Four delta."])
    await library.add(kb, "Numbers", text)
    retriever = library.retriever()
    [hit] = (await retriever.search(*library.reader(kb), "beta", passages=1)).hits
    assert [passage.ordinal for passage in hit.passages] == [1]
    [wide] = (await retriever.search(*library.reader(kb), "beta", passages=1, widen=1)).hits
    assert sorted(passage.ordinal for passage in wide.passages) == [0, 1, 2]
    assert wide.passages[0].ordinal == 1


async def test_a_search_can_be_narrowed_to_documents(library):
    kb = await library.add_kb("handbook")
    await library.add(kb, "Leave", LEAVE)
    other = await library.add(kb, "Other leave", "Leave of another kind.")
    result = await library.retriever().search(
        *library.reader(kb), "leave", filters=SearchFilters(document_ids=[other])
    )
    assert titles(result) == ["Other leave"]


@pytest.mark.parametrize(("query", "limit", "field"), [("  ", 1, "query"), ("x", 0, "limit")])
async def test_bad_input_names_its_field(library, query, limit, field):
    with pytest.raises(InvalidInput) as caught:
        await library.retriever().search(*library.reader(), query, limit=limit)
    assert caught.value.field == field


async def test_a_search_is_logged_without_its_text_unless_the_tenant_wants_it(library):
    kb = await library.add_kb("handbook")
    await library.add(kb, "Leave", LEAVE)
    log = SearchLog(library.db)
    retriever = library.retriever(query_log=log)
    await retriever.search(*library.reader(kb), "sick leave")
    await log.flush()
    async with library.db.write() as session:
        await session.execute(
            update(Tenant)
            .where(Tenant.id == library.tenant_id)
            .values(settings={"query_log_text": True})
        )
    with pytest.raises(NotFound):
        await retriever.search(*library.reader(kb), "travel", kb_ids=["f" * 32])
    await log.flush()
    async with library.db.read() as session:
        rows = (await session.scalars(select(QueryLog).order_by(QueryLog.id))).all()
    assert [(row.text, row.hits, row.error_code) for row in rows] == [
        ("", 1, ""),
        ("travel", 0, "not_found"),
    ]


async def test_the_log_writes_behind_the_searcher(library):
    kb = await library.add_kb("handbook")
    await library.add(kb, "Leave", LEAVE)
    log = SearchLog(library.db)
    async with log.writing(), asyncio.timeout(60):
        await library.retriever(query_log=log).search(*library.reader(kb), "sick leave")
        while True:
            async with library.db.read() as session:
                if await session.scalar(select(QueryLog.hits)) == 1:
                    break
            await asyncio.sleep(0)


async def test_the_score_is_explained_in_words(library):
    kb = await library.add_kb("handbook")
    await library.add(kb, "Leave", LEAVE)
    [hit] = (await library.retriever().search(*library.reader(kb), "sick leave hours")).hits
    said = explain(replace(hit, scores=replace(hit.scores, rerank=0.5, freshness=0.9)))
    for part in ("semantic", "keyword", "BM25", "confidence", "for its age", "reranker gave"):
        assert part in said
