"""What every search index does, whatever stores it.

A suite subclasses `SearchIndexContract` and gives two async fixtures: `index`, empty, and `reader`,
a second index over the same data as another process would open it.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Literal

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine import clock
from engine.domain import MAIN
from engine.index.analysis import analyse, analyse_query
from engine.index.port import (
    FieldUpdate,
    Filter,
    IndexChunk,
    IndexDocument,
    IndexHit,
    IndexStats,
    RevisionRef,
    SearchIndex,
    SearchRequest,
    Space,
    StoredFields,
    Vector,
)

TENANT = "t1"
SPACE = Space("contract", 4)
ALL = Filter(tokens=frozenset({"tenant"}), kb_ids=frozenset({"kb"}))

X, Y, Z = (np.eye(4, dtype=np.float32)[axis] for axis in range(3))

# A suite of several classes runs these in each, with one index for all examples.
SUITE = (HealthCheck.function_scoped_fixture, HealthCheck.differing_executors)

_numbers = count()


def document(
    name: str, *texts: str | tuple[str, Vector], title: str = "", **fields: object
) -> IndexDocument:
    """An index document named d-<name>; chunks are texts, or texts with vectors."""
    pairs = [text if isinstance(text, tuple) else (text, None) for text in texts]
    values: dict[str, object] = {
        "document_id": f"d-{name}",
        "revision_id": f"r-{name}",
        "part": 0,
        "kb_id": "kb",
        "acl": ["tenant"],
        "title": title,
        "chunks": [IndexChunk(i, text, vector=vector) for i, (text, vector) in enumerate(pairs)],
    }
    return IndexDocument(**{**values, **fields})  # type: ignore[arg-type]


def ref(name: str) -> RevisionRef:
    return RevisionRef(f"d-{name}", f"r-{name}")


def asking(text: str = "", vector: Vector | None = None, **fields: object) -> SearchRequest:
    values: dict[str, object] = {
        "tenant_id": TENANT,
        "space": SPACE,
        "filter": ALL,
        "language": "en",
    }
    return SearchRequest(text=text, vector=vector, **{**values, **fields})  # type: ignore[arg-type]


def names(hits: Sequence[IndexHit]) -> list[str]:
    return [hit.document_id.removeprefix("d-") for hit in hits]


def unit(values: Sequence[float]) -> Vector:
    vector = np.array(values, np.float32)
    return vector / np.linalg.norm(vector)


class SearchIndexContract:
    # What a word's rarity counts: chunks, or documents of the index (parts). BM25 leaves it open.
    rarity_counts: Literal["chunks", "parts"] = "chunks"

    @pytest.fixture
    def index(self) -> SearchIndex:
        raise NotImplementedError

    @pytest.fixture
    def reader(self) -> SearchIndex:
        raise NotImplementedError

    async def found(self, index: SearchIndex, text: str = "", **fields: object) -> list[str]:
        return names((await index.search(asking(text, **fields))).hits)

    # Feeding, replacing, removing

    async def test_an_unknown_space_is_empty(self, index: SearchIndex) -> None:
        assert (await index.search(asking("anything"))).hits == ()
        assert await index.get(TENANT, SPACE, [ref("a")], ALL) == []
        assert await index.revisions(TENANT, SPACE) == {}
        assert await index.stats(TENANT, SPACE) == IndexStats(0, 0, 0, 0)
        await index.remove(TENANT, SPACE, [ref("a")])
        await index.update_fields(TENANT, SPACE, [FieldUpdate("d-a", "r-a", hidden=True)])
        assert await index.health() == ""

    async def test_what_was_fed_is_found_by_its_words(self, index: SearchIndex) -> None:
        await index.ensure_space(TENANT, SPACE)
        await index.ensure_space(TENANT, SPACE)
        await index.feed(TENANT, SPACE, [document("a", "red fox"), document("b", "grey wolf")])
        result = await index.search(asking("foxes"))
        assert names(result.hits) == ["a"]
        assert result.hits[0].revision_id == "r-a"
        assert result.hits[0].kb_id == "kb"
        assert not result.more

    async def test_feeding_twice_is_as_good_as_once(self, index: SearchIndex) -> None:
        for _ in range(2):
            await index.feed(TENANT, SPACE, [document("a", ("red fox", X), ("grey wolf", Y))])
        stats = await index.stats(TENANT, SPACE)
        assert (stats.documents, stats.chunks, stats.vectors) == (1, 2, 2)
        assert stats.size_bytes > 0
        assert await self.found(index, "fox") == ["a"]

    async def test_fields_that_may_change_are_told_as_they_are_stored(
        self, index: SearchIndex
    ) -> None:
        whole = document("a", "red fox", tags=["b", "a"], features={"rank": 2.5})
        await index.feed(TENANT, SPACE, [whole, replace(whole, part=1), document("b", "wolf")])
        plain = StoredFields(acl=("tenant",))
        known = replace(plain, tags=("a", "b"), features=(("rank", 2.5),))
        assert await index.fields(TENANT, SPACE) == {ref("a"): known, ref("b"): plain}
        update = FieldUpdate("d-b", "r-b", tags=["ü, x"], features={"n": -1}, hidden=True)
        await index.update_fields(TENANT, SPACE, [update])
        changed = StoredFields(("tenant",), ("ü, x",), (("n", -1.0),), hidden=True)
        assert (await index.fields(TENANT, SPACE))[ref("b")] == changed
        await index.feed(TENANT, SPACE, [replace(whole, part=1, hidden=True)])
        assert (await index.fields(TENANT, SPACE))[ref("a")] is None
        assert await index.fields("t2", SPACE) == {}

    async def test_a_part_fed_again_is_replaced_within_one_call_too(
        self, index: SearchIndex
    ) -> None:
        await index.feed(TENANT, SPACE, [document("a", "red fox")])
        await index.feed(TENANT, SPACE, [document("a", "hare"), document("a", "grey wolf")])
        assert await self.found(index, "wolf") == ["a"]
        assert await self.found(index, "fox") == []
        assert await self.found(index, "hare") == []

    async def test_vectors_may_come_after_the_text(self, index: SearchIndex) -> None:
        await index.feed(TENANT, SPACE, [document("a", "red fox"), document("b", ("wolf", Y))])
        before = (await index.search(asking("fox", X))).hits
        assert names(before) == ["a", "b"]
        assert before[0].parts.cosine is None
        await index.feed(TENANT, SPACE, [document("a", ("red fox", X))])
        after = (await index.search(asking("", X))).hits
        assert names(after) == ["a", "b"]
        assert after[0].parts.cosine == pytest.approx(1.0)

    async def test_what_was_removed_is_not_found(self, index: SearchIndex) -> None:
        await index.feed(TENANT, SPACE, [document("a", "fox"), document("b", "fox")])
        await index.remove(TENANT, SPACE, [ref("a"), ref("unknown")])
        await index.remove(TENANT, SPACE, [ref("a")])
        assert await self.found(index, "fox") == ["b"]
        assert await index.revisions(TENANT, SPACE) == {ref("b"): 1}
        assert (await index.stats(TENANT, SPACE)).documents == 1
        await index.feed(TENANT, SPACE, [document("a", "fox")])
        assert sorted(await self.found(index, "fox")) == ["a", "b"]

    async def test_removing_takes_all_parts_and_no_other_revision(self, index: SearchIndex) -> None:
        old, new = document("a", "fox"), document("a", "fox", revision_id="r-new")
        await index.feed(TENANT, SPACE, [old, replace(old, part=1), new])
        await index.remove(TENANT, SPACE, [ref("a")])
        assert await index.revisions(TENANT, SPACE) == {RevisionRef("d-a", "r-new"): 1}

    async def test_another_reader_sees_every_write_at_once(
        self, index: SearchIndex, reader: SearchIndex
    ) -> None:
        assert await self.found(reader, "fox") == []
        await index.feed(TENANT, SPACE, [document("a", "red fox")])
        assert await self.found(reader, "fox") == ["a"]
        await index.update_fields(TENANT, SPACE, [FieldUpdate("d-a", "r-a", hidden=True)])
        assert await self.found(reader, "fox") == []
        await index.update_fields(TENANT, SPACE, [FieldUpdate("d-a", "r-a", hidden=False)])
        assert await self.found(reader, "fox") == ["a"]
        await index.remove(TENANT, SPACE, [ref("a")])
        assert await self.found(reader, "fox") == []
        await index.drop_space(TENANT, SPACE)
        await index.feed(TENANT, SPACE, [document("b", "other fox")])
        assert await self.found(reader, "fox") == ["b"]

    async def test_tenants_and_spaces_do_not_see_one_another(self, index: SearchIndex) -> None:
        other = Space("other", 4)
        await index.feed(TENANT, SPACE, [document("a", "fox")])
        await index.feed(TENANT, other, [document("b", "fox")])
        await index.feed("t2", SPACE, [document("c", "fox")])
        assert await self.found(index, "fox") == ["a"]
        assert await self.found(index, "fox", space=other) == ["b"]
        assert await self.found(index, "fox", tenant_id="t2") == ["c"]
        await index.drop_space(TENANT, SPACE)
        assert await self.found(index, "fox") == []
        assert await self.found(index, "fox", space=other) == ["b"]
        await index.drop_tenant(TENANT)
        await index.drop_tenant(TENANT)
        assert await self.found(index, "fox", space=other) == []
        assert await self.found(index, "fox", tenant_id="t2") == ["c"]

    async def test_purging_changes_nothing_that_is_found(self, index: SearchIndex) -> None:
        await index.purge()
        await index.feed(TENANT, SPACE, [document(n, f"fox {n}") for n in "abc"])
        await index.remove(TENANT, SPACE, [ref("b")])
        before = (await index.search(asking("fox"))).hits
        await index.purge()
        assert (await index.search(asking("fox"))).hits == before
        assert await index.revisions(TENANT, SPACE) == {ref("a"): 1, ref("c"): 1}

    async def test_closing_twice_is_fine(self, index: SearchIndex) -> None:
        await index.feed(TENANT, SPACE, [document("a", "fox")])
        await index.aclose()
        await index.aclose()

    # Filters, as FILTERS.md says

    async def test_acl_needs_one_token_and_acl_all_every_one(self, index: SearchIndex) -> None:
        await index.feed(
            TENANT,
            SPACE,
            [
                document("any", "fox", acl=["u:1", "u:2"]),
                document("all", "fox", acl=["u:1"], acl_all=["g:1", "g:2"]),
                document("nobody", "fox", acl=[]),
            ],
        )

        async def seen(*tokens: str) -> list[str]:
            where = replace(ALL, tokens=frozenset(tokens))
            return sorted(await self.found(index, "fox", filter=where))

        assert await seen() == []
        assert await seen("u:2") == ["any"]
        assert await seen("u:1", "g:1") == ["any"]
        assert await seen("u:1", "g:1", "g:2", "u:9") == ["all", "any"]
        assert await seen("g:1", "g:2") == []

    @settings(max_examples=20, suppress_health_check=SUITE, deadline=None)
    @given(data=st.data())
    async def test_filters_keep_exactly_what_they_say(
        self, index: SearchIndex, data: st.DataObject
    ) -> None:
        space = Space(f"filters_{next(_numbers)}", 4)
        documents = data.draw(_documents())
        where = data.draw(_filters())
        await index.feed(TENANT, space, documents)
        expected = {d.document_id for d in documents if _passes(d, where)}
        request = asking("fox", space=space, filter=where, limit=50)
        assert {h.document_id for h in (await index.search(request)).hits} == expected
        request = asking("", X, space=space, filter=where, limit=50)
        assert {h.document_id for h in (await index.search(request)).hits} == expected
        refs = [RevisionRef(d.document_id, d.revision_id) for d in reversed(documents)]
        kept = [r for r in refs if r.document_id in expected]
        assert await index.get(TENANT, space, refs, where) == kept
        await index.drop_space(TENANT, space)

    async def test_fields_change_without_feeding_again(self, index: SearchIndex) -> None:
        parts = [document("a", ("fox", X), part=0), document("a", ("fox", Y), part=1)]
        await index.feed(TENANT, SPACE, [*parts, document("b", ("fox", Z))])
        updates: list[tuple[FieldUpdate, Filter]] = [
            (FieldUpdate("d-a", "r-a", acl=["u:1"]), ALL),
            (FieldUpdate("d-a", "r-a", acl=["tenant"], acl_all=["g:1"]), ALL),
            (FieldUpdate("d-a", "r-a", acl_all=[], hidden=True), ALL),
            (FieldUpdate("d-a", "r-a", hidden=False, branches=["draft"]), ALL),
            (
                FieldUpdate("d-a", "r-a", branches=[MAIN], tags=["new"]),
                replace(ALL, tags=frozenset({"old"})),
            ),
        ]
        for update, where in updates:
            await index.update_fields(
                TENANT, SPACE, [update, FieldUpdate("d-x", "r-x", hidden=True)]
            )
            assert "a" not in await self.found(index, "fox", filter=where), update
        assert sorted(await self.found(index, "fox")) == ["a", "b"]
        assert await self.found(index, filter=replace(ALL, tags=frozenset({"new"})), vector=Y) == [
            "a"
        ]
        assert (await index.stats(TENANT, SPACE)).vectors == 3

    async def test_get_keeps_order_and_leaves_out_what_does_not_pass(
        self, index: SearchIndex
    ) -> None:
        await index.feed(
            TENANT,
            SPACE,
            [document("a", "x"), document("b", "x", acl=["u:1"]), document("c", "x")],
        )
        asked = [ref("c"), ref("b"), ref("missing"), ref("a")]
        assert await index.get(TENANT, SPACE, asked, ALL) == [ref("c"), ref("a")]

    # What a hit is

    async def test_limit_cuts_and_more_says_so(self, index: SearchIndex) -> None:
        await index.feed(TENANT, SPACE, [document(f"{n:02}", ("fox", X)) for n in range(7)])
        for fields in ({"text": "fox"}, {"vector": X}, {"text": "fox", "vector": X}):
            few = await index.search(asking(**fields, limit=3, candidates=3))  # type: ignore[arg-type]
            assert (len(few.hits), few.more) == (3, True)
            everything = await index.search(asking(**fields, limit=7, candidates=3))  # type: ignore[arg-type]
            assert (len(everything.hits), everything.more) == (7, False)

    async def test_equal_documents_keep_the_order_of_their_ids(self, index: SearchIndex) -> None:
        for name in ("c", "a", "d", "b"):
            await index.feed(TENANT, SPACE, [document(name, ("red fox", X))])
        for fusion in ("linear", "rrf"):
            for fields in ({"text": "fox"}, {"vector": X}, {"text": "fox", "vector": X}):
                assert await self.found(index, fusion=fusion, **fields) == ["a", "b", "c", "d"]

    async def test_parts_of_a_revision_are_one_hit(self, index: SearchIndex) -> None:
        first = document("long", ("red fox", X), ("grey wolf", Y), title="Animals")
        second = replace(
            first, part=1, chunks=[IndexChunk(2, "brown bear", vector=Z), IndexChunk(3, "fox den")]
        )
        await index.feed(TENANT, SPACE, [document("short", ("a fox and a hare", Y))])
        await index.feed(TENANT, SPACE, [second])
        await index.feed(TENANT, SPACE, [first])
        result = await index.search(asking("bear", Z, passages=2))
        assert names(result.hits) == ["long", "short"]
        best = result.hits[0]
        assert best.passages[0].ordinal == 2
        assert best.parts.cosine == pytest.approx(1.0)
        assert not result.more
        assert await index.revisions(TENANT, SPACE) == {ref("long"): 4, ref("short"): 1}

    async def test_revisions_of_a_document_are_hits_of_their_own(self, index: SearchIndex) -> None:
        old = document("a", "fox", revision_id="r-1")
        await index.feed(TENANT, SPACE, [old, replace(old, revision_id="r-2")])
        hits = (await index.search(asking("fox"))).hits
        assert [hit.revision_id for hit in hits] == ["r-1", "r-2"]

    async def test_the_best_passages_come_first(self, index: SearchIndex) -> None:
        await index.feed(
            TENANT,
            SPACE,
            [
                document(
                    "a", ("hare", Z), ("red fox", X), ("fox", Y), ("a wolf", unit([1, 1, 0, 0]))
                )
            ],
        )

        async def ordinals(**fields: object) -> list[int]:
            hit = (await index.search(asking(**fields))).hits[0]  # type: ignore[arg-type]
            return [passage.ordinal for passage in hit.passages]

        assert await ordinals(text="fox", passages=2) == [2, 1]
        assert await ordinals(vector=X, passages=3) == [1, 3, 0]
        assert await ordinals(text="red fox", vector=X, passages=1) == [1]

    async def test_coverage_is_the_share_of_the_query_that_was_found(
        self, index: SearchIndex
    ) -> None:
        await index.feed(
            TENANT,
            SPACE,
            [document("a", "red fox", title="Forest"), document("b", "grey wolf", title="Steppe")],
        )

        async def coverage(text: str) -> float:
            return (await index.search(asking(text))).hits[0].parts.coverage

        assert await coverage("the red fox") == pytest.approx(1.0)
        assert await coverage("fox in the forest") == pytest.approx(1.0)
        assert 0.2 < await coverage("fox submarine") < 0.5
        assert (await index.search(asking("", X, filter=ALL))).hits == ()

    # Words

    @pytest.mark.parametrize(
        ("language", "text", "query"),
        [
            ("de", "Die Häuser der Straße", "haus strasse"),
            ("en", "Deploying the services", "deployed service"),
            ("zh", "北京大学位于海淀区", "海淀"),
            ("ja", "東京都の天気は晴れです", "天気"),
            ("ko", "한국어 문서를 검색합니다", "문서"),
            ("ar", "المدرسة الكبيرة في المدينة", "مدرسة"),
            ("es", "¿Dónde están los niños?", "ninos"),
            ("en", "see max_retry_count in /etc/app/app.conf", "max_retry_count"),
            ("en", "see max_retry_count in /etc/app/app.conf", "retry"),
            ("en", "see max_retry_count in /etc/app/app.conf", "app.conf"),
            ("en", "raise ConnectionResetError(E1234)", "connection reset"),
            ("en", "raise ConnectionResetError(E1234)", "ConnectionResetError"),
            ("en", "failed with ORA-00942 again", "ORA-00942"),
        ],
    )
    async def test_words_are_found_in_their_language(
        self, index: SearchIndex, language: str, text: str, query: str
    ) -> None:
        await index.feed(
            TENANT,
            SPACE,
            [document("a", text, language=language), document("b", "else", language=language)],
        )
        for asked in (language, ""):
            assert await self.found(index, query, language=asked) == ["a"]

    async def test_documents_in_several_languages_are_found_together(
        self, index: SearchIndex
    ) -> None:
        await index.feed(
            TENANT,
            SPACE,
            [
                document("de", "Universitäten und Forschung", language="de"),
                document("en", "universities and research", language="en"),
            ],
        )
        assert await self.found(index, "Universität", language="en") == ["de"]
        assert await self.found(index, "university", language="de") == ["en"]

    async def test_a_word_is_as_rare_as_all_its_spellings_together(
        self, index: SearchIndex
    ) -> None:
        """Where documents were taken for French, no word of theirs is a rarer one for it."""
        said = "several universities were founded"
        fed = [document(f"e{n}", said) for n in range(8)]
        fed += [document("f", said, title="universities", language="fr"), document("x", "else")]
        fed += [document("g", said, title="universities"), document("u", said, language="")]
        await index.feed(TENANT, SPACE, fed)
        hits = (await index.search(asking("universities", limit=50))).hits
        assert [hit.parts.bm25_chunk for hit in hits] == [
            pytest.approx(hits[0].parts.bm25_chunk)
        ] * 11
        titles = {hit.document_id: hit.parts.bm25_title for hit in hits}
        assert titles["d-f"] == pytest.approx(titles["d-g"]) != 0

    async def test_a_word_finds_itself_in_a_language_that_one_document_of_many_has(
        self, index: SearchIndex
    ) -> None:
        fed = [document(f"{n:03}", f"page {n} of the handbook") for n in range(120)]
        fed += [
            document("tr", "Isparta ofisindeki kurallar", title="Kurallar", language="tr"),
            document("pl", "budget forecasts, quarterly totals", language="pl"),
        ]
        await index.feed(TENANT, SPACE, fed)
        for asked in ("en", "tr", ""):
            for word in ("Kurallar", "kurallar", "Isparta", "ofisindeki"):
                assert await self.found(index, word, language=asked) == ["tr"]
            for word in ("forecasts", "quarterly", "totals"):
                assert await self.found(index, word, language=asked) == ["pl"]

    async def test_a_stem_meets_no_word_of_another_language(self, index: SearchIndex) -> None:
        fed = [document("en", "a new car"), document("nl", "een huis", language="nl")]
        await index.feed(TENANT, SPACE, fed)
        assert await self.found(index, "news", language="en") == []

    async def test_a_query_of_function_words_alone_is_still_asked(self, index: SearchIndex) -> None:
        await index.feed(
            TENANT, SPACE, [document("a", "The Who on stage"), document("b", "a band")]
        )
        assert await self.found(index, "the who") == ["a"]

    async def test_a_query_without_words_finds_nothing_by_words(self, index: SearchIndex) -> None:
        await index.feed(TENANT, SPACE, [document("a", ("fox", X))])
        assert await self.found(index, "?! …") == []
        assert await self.found(index, "?! …", vector=X) == ["a"]

    async def test_context_is_searched_with_the_text(self, index: SearchIndex) -> None:
        chunk = IndexChunk(0, "press the button", context="Coffee machine")
        await index.feed(TENANT, SPACE, [document("a", chunks=[chunk]), document("b", "button")])
        assert await self.found(index, "coffee") == ["a"]

    # Scores

    @settings(max_examples=25, suppress_health_check=SUITE, deadline=None)
    @given(data=st.data())
    async def test_every_score_part_is_what_the_formulas_say(
        self, index: SearchIndex, data: st.DataObject
    ) -> None:
        space = Space(f"scores_{next(_numbers)}", 4)
        documents = data.draw(_scored_documents())
        request = replace(data.draw(_requests()), space=space)
        for part in np.array_split(np.arange(len(documents)), 3):  # several commits
            await index.feed(TENANT, space, [documents[i] for i in part])
        gone = documents[: data.draw(st.integers(0, 2))]
        await index.remove(TENANT, space, [RevisionRef(d.document_id, d.revision_id) for d in gone])
        left = documents[len(gone) :]
        hits = (await index.search(request)).hits
        expected = _oracle(left, request, self.rarity_counts)
        assert {hit.document_id for hit in hits} == set(expected)
        for hit in hits:
            title, chunk, cosine = expected[hit.document_id]
            assert hit.parts.bm25_title == pytest.approx(title, abs=1e-4)
            assert hit.parts.bm25_chunk == pytest.approx(chunk, abs=1e-4)
            assert hit.parts.cosine == (None if cosine is None else pytest.approx(cosine, abs=1e-4))
            weight = request.title_weight
            assert hit.parts.lexical == pytest.approx(
                weight * title + (1 - weight) * chunk, abs=1e-4
            )
        in_order = sorted(hits, key=lambda hit: (hit.document_id, hit.revision_id))
        fused = _fused(in_order, _leaning(left, request, self.rarity_counts))
        named = _titled(left, request)
        for hit, score in zip(in_order, fused, strict=True):
            assert hit.parts.fused == pytest.approx(score, abs=1e-9)
            added = 1.05 if hit.document_id in named else 0.0
            assert hit.score == pytest.approx(score + added, abs=1e-9)
        assert [hit.score for hit in hits] == sorted((h.score for h in hits), reverse=True)
        await index.drop_space(TENANT, space)

    @pytest.mark.parametrize("language", ["en", "nl", ""])
    async def test_a_title_that_is_what_was_asked_for_leads(
        self, index: SearchIndex, language: str
    ) -> None:
        body = "a striped animal of the savannah that lives in herds and eats grass all day long"
        fed = [document(f"n{n:02}", (f"we saw a zebra, number {n}", X)) for n in range(9)]
        fed += [document("titled", (body, Z), title="Zebras", language=language)]
        fed += [document("longer", (body, Z), title="Zebra crossings of the old town")]
        await index.feed(TENANT, SPACE, fed)
        query = "zebras" if language != "en" else "What is a zebra?"
        for fields in ({}, {"vector": X}, {"vector": X, "fusion": "rrf"}):
            found = (await index.search(asking(query, candidates=2, **fields))).hits  # type: ignore[arg-type]
            assert names(found)[0] == "titled"
            assert found[0].parts.titled == 1.05
        meant = await self.found(index, query, vector=X, alpha=1.0)
        assert meant[0] == "n00"

    @pytest.mark.parametrize("fusion", ["linear", "rrf"])
    async def test_an_exact_term_leads_whatever_is_near_in_meaning(
        self, index: SearchIndex, fusion: str
    ) -> None:
        codes = {"ip": "host 10.20.30.40 port 8443", "part": "PPR-9087 costs 14 euros"}
        codes |= {"sum": "in all 1,234.56", "mac": "eth0 00:1B:44:11:3A:B7", "id": "ticket 48213"}
        fed = [document(f"n{n:02}", (f"a note about lunch {n}", X)) for n in range(40)]
        fed += [document(name, (text, Z)) for name, text in codes.items()]
        await index.feed(TENANT, SPACE, fed)
        for name, query in (
            ("ip", "10.20.30.40"),
            ("ip", "10.20.30.40:8443"),
            ("part", "PPR 9087"),
            ("part", "ppr9087"),
            ("part", "a note: what does PPR-9087 cost?"),
            ("sum", "1234.56"),
            ("sum", "1,234.56"),
            ("mac", "00:1B:44:11:3A:B7"),
            ("mac", "001b.4411.3ab7"),
            ("id", "a note about ticket 48213"),
        ):
            hits = (await index.search(asking(query, X, fusion=fusion, alpha=0.7))).hits
            assert names(hits)[0] == name, query
            assert hits[0].parts.coverage > 0.6
        meant = await index.search(asking("10.20.30.40", X, alpha=1.0))
        assert names(meant.hits)[0] == "n00"

    async def test_another_identifier_is_not_the_one_asked_for(self, index: SearchIndex) -> None:
        await index.feed(
            TENANT, SPACE, [document("a", "PPR-2000 costs 9 euros"), document("b", "else")]
        )
        right = (await index.search(asking("what does PPR-2000 cost"))).hits[0].parts.coverage
        wrong = (await index.search(asking("what does PPR-9999 cost"))).hits[0].parts.coverage
        assert right == pytest.approx(1.0)
        assert wrong < 0.5

    async def test_a_document_found_by_one_leg_has_its_score_of_the_other(
        self, index: SearchIndex
    ) -> None:
        await index.feed(
            TENANT,
            SPACE,
            [
                document("both", ("red fox", unit([1, 1, 0, 0]))),
                document("far", ("fox", Z)),
                document("near", ("red hare", X)),
            ],
        )
        one = {"text": "red fox", "vector": X, "candidates": 1, "limit": 1}
        by_words = (await index.search(asking(**one, alpha=0.0))).hits[0]  # type: ignore[arg-type]
        assert (by_words.document_id, by_words.parts.cosine) == (
            "d-both",
            pytest.approx(2**-0.5, abs=1e-6),
        )
        by_meaning = (await index.search(asking(**one, alpha=1.0))).hits[0]  # type: ignore[arg-type]
        assert by_meaning.document_id == "d-near"
        assert by_meaning.parts.bm25_chunk > 0

    async def test_freshness_multiplies_and_features_add(
        self, index: SearchIndex, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        now = datetime(2026, 5, 1, tzinfo=UTC)
        monkeypatch.setattr(clock, "now", lambda: now)
        await index.feed(
            TENANT,
            SPACE,
            [
                document("new", "fox", updated_at=now),
                document("old", "fox", updated_at=now - timedelta(days=30)),
                document("undated", "fox", features={"pagerank": 0.25, "other": 3.0}),
            ],
        )
        plain = (await index.search(asking("fox"))).hits
        assert {hit.score for hit in plain} == {0.5}
        adjusted = (
            await index.search(
                asking(
                    "fox",
                    decay_half_life_s=timedelta(days=30).total_seconds(),
                    decay_floor=0.2,
                    feature_weights={"pagerank": 2.0},
                )
            )
        ).hits
        seen = {
            name: (hit.parts.freshness, hit.parts.features, hit.score)
            for name, hit in zip(names(adjusted), adjusted, strict=True)
        }
        assert seen == {
            "new": (pytest.approx(1.0), 0.0, pytest.approx(0.5)),
            "old": (pytest.approx(0.6), 0.0, pytest.approx(0.3)),
            "undated": (pytest.approx(1.0), 0.5, pytest.approx(1.0)),
        }
        assert names(adjusted) == ["undated", "new", "old"]


# The oracle: DESIGN's formulas once more, slowly and without the index.

_K1, _B = 1.2, 0.75


def _bm25(
    query: str, texts: Sequence[Sequence[str]], counted: Sequence[Sequence[str]] | None = None
) -> list[float]:
    """The score of each text; rarity is that among `counted`, which are the texts themselves."""
    counted = texts if counted is None else counted
    frequency = Counter(term for terms in counted for term in set(terms))
    mean = sum(map(len, texts)) / max(len(texts), 1)
    scores = []
    for terms in texts:
        counts, score = Counter(terms), 0.0
        norm = _K1 * (1 - _B + _B * len(terms) / mean) if mean else 0.0
        for asked in analyse_query(query, ["en"]):
            for term in asked.terms:
                df = frequency[term]
                idf = math.log(1 + (len(counted) - df + 0.5) / (df + 0.5))
                tf = counts[term]
                score += asked.count * idf * tf * (_K1 + 1) / (tf + norm) if tf else 0.0
        scores.append(score)
    return scores


def _oracle(
    documents: Sequence[IndexDocument],
    request: SearchRequest,
    rarity_counts: Literal["chunks", "parts"],
) -> dict[str, tuple[float, float, float | None]]:
    """Title BM25, best chunk BM25 and best cosine of every document either leg can find."""
    titles = _bm25(request.text, [analyse(d.title, "en") for d in documents])
    texts = [analyse(f"{c.context}\n{c.text}", "en") for d in documents for c in d.chunks]
    of_chunks = iter(texts)
    parts = [[term for _ in d.chunks for term in next(of_chunks)] for d in documents]
    counted = parts if rarity_counts == "parts" else texts
    chunk_scores = iter(_bm25(request.text, texts, counted))
    found: dict[str, tuple[float, float, float | None]] = {}
    for title, d in zip(titles, documents, strict=True):
        chunk = max(next(chunk_scores) for _ in d.chunks)
        cosines = [
            float(np.dot(c.vector, request.vector))
            for c in d.chunks
            if c.vector is not None and request.vector is not None
        ]
        lexical = request.title_weight * title + (1 - request.title_weight) * chunk
        if lexical or cosines:
            found[d.document_id] = (title, chunk, max(cosines) if cosines else None)
    return found


def _leaning(
    documents: Sequence[IndexDocument],
    request: SearchRequest,
    rarity_counts: Literal["chunks", "parts"],
) -> SearchRequest:
    """The request with the weight that meaning has left beside the exact terms it asks for."""
    chunks = [analyse(f"{c.context}\n{c.text}", "en") for d in documents for c in d.chunks]
    of_chunks = iter(chunks)
    parts = [[term for _ in d.chunks for term in next(of_chunks)] for d in documents]
    counted = parts if rarity_counts == "parts" else chunks
    titles = {term for d in documents for term in analyse(d.title, "en")}
    exact = plain = 0.0
    for asked in analyse_query(request.text, ["en"]):
        [term] = asked.terms
        df = sum(term in text for text in counted)
        idf = math.log(1 + (len(counted) - df + 0.5) / (df + 0.5))
        if asked.exact:
            exact += idf if df or term in titles else 0.0
        elif not asked.compound and not asked.part:
            plain += idf
    share = exact / (exact + plain) if exact else 0.0
    if request.alpha >= 1 or not share:
        return request
    left = (1 - share) ** 2
    if request.fusion == "linear":
        return replace(request, alpha=request.alpha * left)
    return request if share < 0.3 else replace(request, fusion="linear", alpha=0.5 * left)


def _titled(documents: Sequence[IndexDocument], request: SearchRequest) -> set[str]:
    """The documents whose title is what was asked for: all its words, and at most one more."""
    wanted = {term.terms[0] for term in analyse_query(request.text, ["en"]) if not term.compound}
    if not 0 < len(wanted) <= 6 or request.title_weight == 0 or request.alpha >= 1:
        return set()
    titles = {d.document_id: analyse(d.title, "en") for d in documents}
    return {
        name
        for name, title in titles.items()
        if wanted <= set(title) and len(title) <= len(wanted) + 1
    }


def _fused(hits: Sequence[IndexHit], request: SearchRequest) -> list[float]:
    """The fused score of all candidates, given in the order of their ids."""
    if not hits:
        return []
    legs = []
    if analyse_query(request.text, ["en"]):
        legs.append((1 - request.alpha, [hit.parts.lexical for hit in hits]))
    if request.vector is not None and any(hit.parts.cosine is not None for hit in hits):
        cosines = [-math.inf if h.parts.cosine is None else h.parts.cosine for h in hits]
        legs.append((request.alpha, cosines))
    shares = [_ranks(values) if request.fusion == "rrf" else _spread(values) for _, values in legs]
    weights = [1.0 if request.fusion == "rrf" or len(legs) == 1 else w for w, _ in legs]
    for i in range(len(hits)):
        for leg, other in ((0, 1), (1, 0)):
            # A candidate without vectors is ordered by its words in both legs.
            if len(legs) == 2 and legs[leg][1][i] == -math.inf:
                shares[leg][i] = shares[other][i]
    return [
        sum(weight * share[i] for weight, share in zip(weights, shares, strict=True))
        for i in range(len(hits))
    ]


def _ranks(values: Sequence[float]) -> list[float]:
    order = sorted(range(len(values)), key=lambda i: -values[i])
    return [1 / (61 + order.index(i)) for i in range(len(values))]


def _spread(values: Sequence[float]) -> list[float]:
    known = [value for value in values if value > -math.inf]
    low, high = min(known), max(known)
    return [
        0.0 if value == -math.inf else 0.5 if high == low else (value - low) / (high - low)
        for value in values
    ]


def _passes(d: IndexDocument, where: Filter) -> bool:
    def dated(low: datetime | None, high: datetime | None) -> bool:
        if low is None and high is None:
            return True
        return (
            d.updated_at is not None
            and (low is None or d.updated_at >= low)
            and (high is None or d.updated_at < high)
        )

    return (
        bool(where.tokens & set(d.acl))
        and set(d.acl_all) <= where.tokens
        and d.kb_id in where.kb_ids
        and where.branch in d.branches
        and (where.document_ids is None or d.document_id in where.document_ids)
        and (where.languages is None or d.language in where.languages)
        and (where.sources is None or d.source in where.sources)
        and (where.tags is None or bool(where.tags & set(d.tags)))
        and dated(where.updated_from, where.updated_before)
        and (where.include_hidden or not d.hidden)
    )


_DAYS = [datetime(2026, 1, day, tzinfo=UTC) for day in (1, 2, 3)]


def _some(values: Sequence[str]) -> st.SearchStrategy[list[str]]:
    return st.lists(st.sampled_from(values), max_size=len(values), unique=True)


@st.composite
def _documents(draw: st.DrawFn) -> list[IndexDocument]:
    size = draw(st.integers(1, 12))
    return [
        document(
            f"{number:02}",
            (f"fox {number}", X),
            acl=draw(_some(["tenant", "u:1", "g:1"])),
            acl_all=draw(st.just([]) | _some(["g:1", "g:2"])),
            kb_id=draw(st.sampled_from(["kb", "kb2"])),
            branches=draw(st.just([MAIN]) | _some([MAIN, "draft"])),
            language=draw(st.sampled_from(["en", "de", ""])),
            source=draw(st.sampled_from(["", "a b", "'; --"])),
            tags=draw(_some(["Red", "red", "“x”"])),
            updated_at=draw(st.none() | st.sampled_from(_DAYS)),
            hidden=draw(st.booleans()),
        )
        for number in range(size)
    ]


@st.composite
def _filters(draw: st.DrawFn) -> Filter:
    def maybe(values: Sequence[str]) -> frozenset[str] | None:
        return draw(st.none() | _some(values).map(frozenset))

    return Filter(
        tokens=frozenset(draw(_some(["tenant", "u:1", "g:1", "g:2", "u:none"]))),
        kb_ids=frozenset(draw(_some(["kb", "kb2", "kb3"]))),
        branch=draw(st.sampled_from([MAIN, MAIN, "draft", "other"])),
        document_ids=maybe([f"d-{number:02}" for number in range(12)]),
        languages=maybe(["en", "de", ""]),
        sources=maybe(["", "a b", "'; --", "none"]),
        tags=maybe(["Red", "red", "“x”"]),
        updated_from=draw(st.none() | st.sampled_from(_DAYS)),
        updated_before=draw(st.none() | st.sampled_from(_DAYS)),
        include_hidden=draw(st.booleans()),
    )


_WORDS = ["fox", "foxes", "wolf", "bear", "the", "red", "snake_case", "river"]


def _words(most: int) -> st.SearchStrategy[str]:
    return st.lists(st.sampled_from(_WORDS), max_size=most).map(" ".join)


def _vectors() -> st.SearchStrategy[Vector]:
    return st.integers(0, 10_000).map(
        lambda seed: unit(np.random.default_rng(seed).standard_normal(4).tolist())
    )


@st.composite
def _scored_documents(draw: st.DrawFn) -> list[IndexDocument]:
    return [
        document(
            f"{number:02}",
            title=draw(_words(3)),
            chunks=[
                IndexChunk(i, draw(_words(8)), draw(_words(2)), draw(st.none() | _vectors()))
                for i in range(draw(st.integers(1, 3)))
            ],
        )
        for number in range(draw(st.integers(1, 10)))
    ]


@st.composite
def _requests(draw: st.DrawFn) -> SearchRequest:
    return asking(
        draw(_words(4)),
        draw(st.none() | _vectors()),
        limit=50,
        fusion=draw(st.sampled_from(["linear", "rrf"])),
        alpha=draw(st.sampled_from([0.0, 0.3, 0.5, 1.0])),
        title_weight=draw(st.sampled_from([0.0, 0.3, 1.0])),
    )
