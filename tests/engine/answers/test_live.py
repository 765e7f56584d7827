"""`make live` against a scripted server: what it counts, and what it makes of faults."""

import pytest

from benchmarks.live import Question, ask_all, judge, load_questions, quantile, report
from engine.db.session import Database
from engine.domain import Answer
from engine.models.llm import open_language_model
from tests.fakes.library import Library
from tests.fakes.openai_server import KEY, Fault, Text, ToolCall, open_server

QUESTIONS = [
    Question("How many hours of advanced sick leave can I request?", ("240",)),
    Question("When are travel vouchers due?", ("five business days", "5 business days")),
    Question("Who won the chess championship in Reykjavik?"),
    Question("How long does advanced sick leave last?", ("240",)),
]


@pytest.fixture
async def library(database: Database, tmp_path):
    made = await Library.create(database, tmp_path)
    kb = await made.add_kb("handbook")
    await made.add(
        kb, "Advanced sick leave", "You can request up to 240 hours of advanced sick leave."
    )
    await made.add(kb, "Travel", "Travel vouchers are due within five business days.")
    yield made, kb
    await made.index.aclose()


async def test_a_run_against_a_scripted_endpoint_is_reported_figure_by_figure(library):
    made, kb = library
    said: list[str] = []
    async with open_server() as server:
        model = open_language_model(
            "openai:scripted", base_url=server.base_url, api_key=KEY, retries=0
        )
        server.enqueue(
            Text("You can request up to 240 hours of advanced sick leave [1]. The moon sings [1]."),
            ToolCall({"query": "vouchers"}, "search"),
            Text("Travel vouchers are due in May [1]."),
            Text("NO ANSWER"),
            Fault(503),
        )
        principal, _ = made.reader(kb)
        told = await ask_all(made.asker(model), principal, QUESTIONS, said.append)
        await model.aclose()
    figures = report("openai:scripted", told)
    assert {name: figures[name] for name in list(figures)[:10]} == {
        "model": "openai:scripted",
        "questions": 4,
        "right": 3,  # the last one quoted the documents, for the model was away
        "claimed": 2,
        "claimed_and_right": 2,
        "not_found": 2,
        "failed": 0,
        "unsupported_sentences_left_out": 2,
        "input_tokens": 44,
        "output_tokens": 28,
    }
    assert figures["p50_seconds"] <= figures["p95_seconds"]
    assert [line.split()[1] for line in said] == ["right", "wrong", "right", "right"]


def test_right_is_what_holds_the_expected_text_or_claims_nothing_where_nothing_answers():
    answer = Answer("It is **240 hours** [1].", True, 0.9, (), ())
    assert judge(QUESTIONS[0], answer, 0.1).right
    assert not judge(QUESTIONS[1], answer, 0.1).right
    assert not judge(QUESTIONS[2], answer, 0.1).right


def test_there_are_sixty_questions_and_some_have_no_answer():
    questions = load_questions()
    assert len({question.question for question in questions}) == 60
    assert 15 <= sum(not question.expected for question in questions) <= 30


def test_a_quantile_is_the_nearest_rank():
    assert [quantile([1.0, 2.0, 3.0, 4.0], share) for share in (0.5, 0.95)] == [2.0, 4.0]
