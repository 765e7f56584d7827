"""RAGFlow's two forms of a description: components with edges, and a list of steps."""

from __future__ import annotations

import json
from typing import Any

import pytest

from engine.errors import FlowError
from engine.workflows.loading import load_workflow
from tests.engine.workflows.conftest import Desk
from tests.fakes.language_models import ScriptedModel

QUESTION = "how much sick leave can be advanced?"
KNOWN = "(known: query_preprocessor, knowledge_base_search, answer_generation, answer_validation)"
OUTPUTS = "answer, confidence, citations, retrieval_context, grounded"
STEPS: dict[str, Any] = {
    "name": "qa",
    "steps": [
        {"type": "query_preprocessor"},
        {"type": "knowledge_base_search", "config": {"knowledge_bases": ["team"], "top_k": 5}},
        {
            "type": "answer_generation",
            "config": {
                "llm_model": "gpt-4",
                "max_tokens": 77,
                "temperature": 0.1,
                "include_citations": True,
            },
        },
        {
            "type": "answer_validation",
            "config": {
                "check_factuality": True,
                "check_relevance": True,
                "confidence_threshold": 0.7,
            },
        },
    ],
    "output_format": {
        "answer": "string",
        "confidence": "float",
        "citations": "list",
        "retrieval_context": "list",
    },
}


class TunedModel(ScriptedModel):
    """Notes how it was asked."""

    def __init__(self, *replies: Any) -> None:
        super().__init__(*replies)
        self.asked: list[tuple[str, float | None]] = []
        self.most: list[int] = []

    def tuned(self, *, name: str = "", temperature: float | None = None) -> TunedModel:
        self.asked.append((name, temperature))
        return self

    async def stream(self, system: str, prompt: str, *, max_tokens: int = 1024):
        self.most.append(max_tokens)
        async for piece in super().stream(system, prompt, max_tokens=max_tokens):
            yield piece


def changed(step: str, **config: Any) -> str:
    flow = json.loads(json.dumps(STEPS))
    for item in flow["steps"]:
        if item["type"] == step:
            item["config"] = item.get("config", {}) | config
    return json.dumps(flow)


async def test_the_four_steps_run_without_a_model(desk: Desk) -> None:
    await desk.publish("qa", json.dumps(STEPS))

    run = await desk.run("qa", {"query": QUESTION})

    assert (run.state, run.error) == ("done", "")
    assert "240 hours" in run.output["answer"]
    assert 0 < run.output["confidence"] <= 1
    [citation] = run.output["citations"]
    assert citation["quote"] in " ".join(run.output["retrieval_context"])
    assert set(run.output) == {"answer", "confidence", "citations", "retrieval_context"}


async def test_the_four_steps_run_with_a_model_which_is_asked_as_they_say(desk: Desk) -> None:
    model = TunedModel(
        "advance of sick leave",
        "You can request up to 240 hours of advanced sick leave [1].",
        {"factual": 1.0, "relevant": 0.9, "reasons": []},
    )
    desk.set_model(model)
    await desk.publish("qa", json.dumps(STEPS))

    run = await desk.run("qa", {"query": QUESTION})

    assert (run.state, run.error) == ("done", "")
    assert run.output["answer"] == "You can request up to 240 hours of advanced sick leave [1]."
    assert ("gpt-4", 0.1) in model.asked
    assert model.most == [77]
    assert run.usage["requests"] == 3
    assert (run.usage["input_tokens"], run.usage["output_tokens"]) == (30, 6)


async def test_citations_are_left_out_where_the_step_says_so(desk: Desk) -> None:
    await desk.publish("qa", changed("answer_generation", include_citations=False))

    run = await desk.run("qa", {"query": QUESTION})

    assert run.output["citations"] == []
    assert "[1]" not in run.output["answer"]


@pytest.mark.parametrize(
    ("action", "shown"), [("flag", "is not well supported"), ("withhold", "could not confirm")]
)
async def test_below_the_threshold_the_answer_is_flagged_or_withheld(
    desk: Desk, action: str, shown: str
) -> None:
    model = TunedModel(
        "sick leave",
        "The moon is made of green cheese and orbits Jupiter.",
        {"factual": 1.0, "relevant": 1.0, "reasons": []},
    )
    desk.set_model(model)
    marked = json.loads(changed("answer_validation", action=action))
    marked["steps"][2]["config"]["unsupported"] = "mark"
    await desk.publish("qa", json.dumps(marked))

    run = await desk.run("qa", {"query": QUESTION})

    assert shown in run.output["answer"]
    assert ("green cheese" in run.output["answer"]) is (action == "flag")


async def test_a_question_nothing_answers_is_not_confirmed(desk: Desk) -> None:
    await desk.publish("qa", json.dumps(STEPS))

    run = await desk.run("qa", {"query": "who painted the ceiling of the chapel?"})

    assert run.state == "done"
    assert run.output["citations"] == []
    assert run.output["answer"] == "I found no answer to this in what was searched."


@pytest.mark.parametrize(
    "steps",
    [
        ["query_preprocessor", "knowledge_base_search", "answer_generation"],
        [{"name": "knowledge_base_search"}, {"component": "answer_generation", "max_tokens": 9}],
        [{"knowledge_base_search": {"top_k": 3}}, {"answer_generation": None}],
        [
            {"id": "s1", "type": "knowledge_base_search", "parameters": {"kb_ids": ["team"]}},
            {"id": "s2", "type": "answer_generation", "params": {"llm_model": ""}},
        ],
    ],
)
def test_steps_may_be_written_in_several_ways(steps: list[Any]) -> None:
    for outputs in (
        ["answer", "citations"],
        {"type": "json", "fields": ["answer"]},
        {"answer": {"type": "string"}},
        None,
    ):
        given = {"steps": steps} | ({"output_format": outputs} if outputs else {})
        load_workflow(json.dumps(given), offers=frozenset())


def test_every_fault_of_steps_is_told() -> None:
    flow = {
        "steps": [
            {"type": "knowledge_base_searching"},
            {"type": "answer_generation", "config": []},
            7,
            {"type": "answer_generation"},
        ],
        "output_format": {"answer": "number", "mood": "string"},
        "colour": 1,
    }

    with pytest.raises(FlowError) as refused:
        load_workflow(json.dumps(flow))

    assert refused.value.faults == [
        "the flow: unknown key 'colour'",
        "steps[0]: unknown step 'knowledge_base_searching', did you mean 'knowledge_base_search'? "
        + KNOWN,
        "steps[1]: `config` must be an object",
        "steps[2] must be an object with a `type`, or the name of a step",
        "steps[3]: 'answer_generation' is there already",
        "output_format: `answer` is of type string, not number",
        f"output_format: unknown 'mood' (known: {OUTPUTS})",
    ]


async def test_components_and_edges_load_as_they_are_without_references(desk: Desk) -> None:
    flow = {
        "components": [
            {"id": "find", "type": "KnowledgeBaseSearch", "param": {}},
            {"id": "answer", "type": "AnswerGeneration", "param": {}},
            {"id": "check", "type": "AnswerValidation", "param": {}},
        ],
        "edges": [
            {"source": "find", "target": "answer"},
            {"source": "answer", "target": "check"},
        ],
    }
    await desk.publish("asis", json.dumps(flow))

    run = await desk.run("asis", {"query": QUESTION})

    assert (run.state, run.output["ok"]) == ("done", True)
    assert "240 hours" in run.text
