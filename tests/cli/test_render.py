"""What people and programs read, whole: hits, answers, tables and their JSON."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from inline_snapshot import snapshot

from cli import render, serializers
from engine.domain import Answer, Citation, Hit, Passage, ScoreParts, SearchResult
from engine.wording import counted

SCORES = ScoreParts(
    bm25_title=1.5, bm25_chunk=5.25, lexical=4.125, cosine=0.625, coverage=0.75, fused=0.8125
)
PASSAGE = Passage(
    id="r.0",
    ordinal=0,
    text="You can request\nup to 240 hours.",
    context="",
    start=0,
    end=32,
    where="page 3, Sick leave",
)
HIT = Hit(
    id="r.0",
    document_id="d1",
    revision_id="r",
    kb_id="k",
    kb_name="handbook",
    title="Advanced sick leave",
    url="https://example.org/leave",
    score=0.8125,
    confidence=0.86,
    scores=SCORES,
    passages=(PASSAGE,),
)
RESULT = SearchResult(
    hits=(HIT, replace(HIT, url="", title="", confidence=0.2)),
    query="sick leave",
    mode="hybrid",
    searched_kbs=("handbook",),
    searched_documents=246,
    took_ms=12.4,
)
ANSWER = Answer(
    text="You can request up to 240 hours of advanced sick leave. [1]",
    grounded=True,
    confidence=0.86,
    citations=(
        Citation(
            n=1,
            id="r.0",
            document_id="d1",
            revision_id="r",
            title="Advanced sick leave",
            url="https://example.org/leave",
            quote="up to 240\nhours",
            start=16,
            end=31,
            where="page 3, Sick leave",
        ),
    ),
    searched_kbs=("handbook",),
)


def test_hits_are_numbered_with_passage_address_and_certainty() -> None:
    assert render.hits(RESULT, width=60).plain == snapshot("""\
1. Advanced sick leave  handbook · sure (0.86)
   You can request up to 240 hours.
   https://example.org/leave  page 3, Sick leave

2. r.0  handbook · unsure (0.20)
   You can request up to 240 hours.
   scrubjay docs show d1  page 3, Sick leave

2 of 246 documents in 12 ms
""")


def test_explain_says_every_part_of_the_score_in_words() -> None:
    parts = replace(SCORES, cosine=None, freshness=0.5, features=0.25, rerank=0.9)
    assert [render.explained(SCORES), render.explained(parts)] == snapshot(
        [
            "keyword 4.12 (title 1.50, passage 5.25); semantic 0.62; fused 0.81; matches 75% of the query's weight",
            "keyword 4.12 (title 1.50, passage 5.25); semantic not compared; fused 0.81; matches 75% of the query's weight; age reduces it to 50%; features add 0.25; reranker 0.90",
        ]
    )
    assert render.explained(SCORES) in render.hits(RESULT, explain=True, width=200).plain


def test_finding_nothing_names_what_was_searched() -> None:
    nothing = replace(RESULT, hits=())
    assert render.hits(nothing).plain == "Nothing found in handbook.\n"
    assert render.hits(replace(nothing, notice="Try other words.")).plain == "Try other words.\n"


def test_an_answer_comes_before_its_numbered_quotes() -> None:
    assert render.answer(ANSWER, width=60).plain == snapshot("""\
You can request up to 240 hours of advanced sick leave. [1]

[1] Advanced sick leave
    “up to 240 hours”
    https://example.org/leave  page 3, Sick leave
""")


def test_a_document_cannot_steer_the_terminal() -> None:
    text = "\x1b[2Jgone\u202eevil\x07\r\nnext\tcell"
    hostile = replace(HIT, title=text, url=text, passages=(replace(PASSAGE, text=text),))
    shown = render.hits(replace(RESULT, hits=(hostile,))).plain
    shown += render.answer(replace(ANSWER, text=text)).plain
    shown += render.table(("title",), [(text,)]).plain
    assert not any(character in shown for character in "\x1b\x07\u202e\r\t")


@given(st.lists(st.tuples(st.text(max_size=8), st.text(max_size=8)), max_size=5))
def test_a_table_has_one_line_a_row(rows: list[tuple[str, str]]) -> None:
    assert render.table(("one", "two"), rows).plain.count("\n") == len(rows) + 1


def test_a_table_aligns_its_columns() -> None:
    assert render.table(("id", "title"), [("a", "x y"), ("longer", "z\nw")]).plain == snapshot("""\
id      title
a       x y
longer  z w
""")


def test_facts_leave_out_what_is_empty() -> None:
    at = datetime(2026, 11, 20, 12, 30, tzinfo=UTC)
    values = {"id": "d1", "url": "", "none": None, "details": {"path": "a\nb"}, "created_at": at}
    assert render.facts(values).plain == snapshot("""\
id            d1
details.path  a b
created_at    2026-11-20 12:30 UTC
""")


@pytest.mark.parametrize(
    ("number", "said"), [(0, "0 documents"), (1, "1 document"), (2000, "2,000 documents")]
)
def test_counts_read_as_people_say_them(number: int, said: str) -> None:
    assert counted(number, "document") == said


def test_search_json_has_exactly_the_promised_shape() -> None:
    [first, _] = serializers.search(RESULT)["hits"]
    assert list(serializers.search(RESULT)) == ["hits", "notice", "searched", "steps"]
    assert first == {
        "id": "r.0",
        "document_id": "d1",
        "title": "Advanced sick leave",
        "url": "https://example.org/leave",
        "where": "page 3, Sick leave",
        "text": "You can request\nup to 240 hours.",
        "score": 0.8125,
        "confidence": 0.86,
        "scores": {
            "bm25_title": 1.5,
            "bm25_chunk": 5.25,
            "lexical": 4.125,
            "cosine": 0.625,
            "coverage": 0.75,
            "fused": 0.8125,
            "freshness": 1.0,
            "features": 0.0,
            "rerank": None,
            "alpha": None,
            "titled": 0.0,
        },
        "knowledge_base": "handbook",
        "source": "",
        "author": "",
        "updated_at": "",
        "tags": [],
        "metadata": {},
    }
    assert json.loads(json.dumps(first)) == first


def test_ask_json_has_exactly_the_promised_shape() -> None:
    assert serializers.answer(ANSWER) == {
        "answer": "You can request up to 240 hours of advanced sick leave. [1]",
        "grounded": True,
        "outcome": "answered",
        "confidence": 0.86,
        "citations": [
            {
                "n": 1,
                "id": "r.0",
                "document_id": "d1",
                "title": "Advanced sick leave",
                "url": "https://example.org/leave",
                "where": "page 3, Sick leave",
                "quote": "up to 240\nhours",
            }
        ],
        "conversation_id": "",
        "searched": "",
        "steps": [],
        "choices": [],
    }


def test_a_table_fits_a_terminal_and_keeps_everything_elsewhere() -> None:
    rows = [("id", "t" * 60, "why " * 50)]
    fitting = render.table(("a", "b", "c"), rows, width=90).plain
    assert max(map(len, fitting.splitlines())) <= 90
    assert "…" in fitting
    assert "…" not in render.table(("a", "b", "c"), rows).plain
