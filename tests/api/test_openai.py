"""The door for OpenAI's clients, called with the real `openai` library."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import openai
import pytest

from engine.domain import Scope
from engine.engine import Engine
from tests.api.conftest import OpenClient
from tests.fakes.homes import make_member_token, make_token

QUESTION = "How many hours of advanced sick leave can I request?"
ADDRESS = {"peer": "10.0.0.8", "host": "0.0.0.0"}  # where everybody needs a key
HOST = "http://127.0.0.1:7337"


@asynccontextmanager
async def client_of(
    open_client: OpenClient, key: str, **server: object
) -> AsyncIterator[openai.AsyncOpenAI]:
    async with open_client(**ADDRESS, **server) as http:
        yield openai.AsyncOpenAI(
            base_url=f"{HOST}/v1", api_key=key, http_client=http, max_retries=0
        )


def asking(question: str = QUESTION) -> list[Any]:
    return [{"role": "user", "content": question}]


async def test_an_answer_has_its_citations_as_annotations(
    open_client: OpenClient, engine: Engine
) -> None:
    async with client_of(open_client, await make_token(engine)) as client:
        made = await client.chat.completions.create(model="scrubjay", messages=asking())
    [choice] = made.choices
    text = choice.message.content or ""
    assert "240 hours" in text
    assert (choice.finish_reason, choice.message.role, made.object) == (
        *("stop", "assistant", "chat.completion"),
    )
    [first, *_] = choice.message.annotations or []
    cited = first.url_citation
    assert first.type == "url_citation"
    assert cited.title == "Sick leave"
    assert text[cited.start_index : cited.end_index] == "[1]"
    assert cited.url.startswith(HOST)
    assert "240 hours" in first.scrubjay["quote"]  # type: ignore[attr-defined]
    assert made.scrubjay["outcome"] == "answered"  # type: ignore[attr-defined]
    assert made.usage is not None
    assert made.usage.total_tokens == 0  # no model wrote it


async def test_a_stream_has_the_same_answer_its_citations_and_its_usage(
    open_client: OpenClient, engine: Engine
) -> None:
    async with client_of(open_client, await make_token(engine)) as client:
        whole = await client.chat.completions.create(model="scrubjay", messages=asking())
        stream = await client.chat.completions.create(
            model="scrubjay",
            messages=asking(),
            stream=True,
            stream_options={"include_usage": True},
        )
        chunks = [chunk async for chunk in stream]
    deltas = [chunk.choices[0].delta for chunk in chunks if chunk.choices]
    assert deltas[0].role == "assistant"
    assert len(deltas) > 5
    assert "".join(delta.content or "" for delta in deltas) == whole.choices[0].message.content
    last = [chunk for chunk in chunks if chunk.choices][-1]
    assert last.choices[0].finish_reason == "stop"
    noted = last.choices[0].delta.annotations  # type: ignore[attr-defined]
    assert noted[0]["url_citation"]["title"] == "Sick leave"
    assert last.scrubjay["grounded"] is True  # type: ignore[attr-defined]
    assert (chunks[-1].choices, chunks[-1].usage is not None) == ([], True)
    assert len({chunk.id for chunk in chunks}) == 1


async def test_a_stream_sends_no_usage_unless_asked_and_ends_with_done(
    open_client: OpenClient, engine: Engine
) -> None:
    async with open_client(**ADDRESS) as http:
        answer = await http.post(
            "/v1/chat/completions",
            json={"model": "scrubjay", "messages": asking(), "stream": True},
            headers={"authorization": f"Bearer {await make_token(engine)}"},
        )
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert answer.text.endswith("data: [DONE]\n\n")
    assert '"usage"' not in answer.text


async def test_what_nothing_answers_is_said_honestly(
    open_client: OpenClient, engine: Engine
) -> None:
    async with client_of(open_client, await make_token(engine)) as client:
        made = await client.chat.completions.create(
            model="scrubjay/team", messages=asking("Who won the 1998 world cup?")
        )
    assert made.scrubjay["outcome"] == "not_found"  # type: ignore[attr-defined]
    assert made.choices[0].message.annotations == []
    assert made.choices[0].message.content


async def test_earlier_messages_make_a_follow_up_understood(
    open_client: OpenClient, engine: Engine
) -> None:
    messages: list[Any] = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": [{"type": "text", "text": "What about sick leave?"}]},
        {"role": "assistant", "content": "There is advanced sick leave. [1]"},
        {"role": "user", "content": "And how many hours of it?"},
    ]
    async with client_of(open_client, await make_token(engine)) as client:
        made = await client.chat.completions.create(model="scrubjay", messages=messages)
    assert "240 hours" in (made.choices[0].message.content or "")


async def test_an_answer_holds_only_what_the_keys_owner_may_read(
    open_client: OpenClient, engine: Engine
) -> None:
    question = asking("What is the salary of the chief gardener?")
    async with client_of(open_client, await make_member_token(engine)) as client:
        made = await client.chat.completions.create(model="scrubjay", messages=question)
        listed = [model.id async for model in client.models.list()]
        with pytest.raises(openai.NotFoundError) as unseen:
            await client.chat.completions.create(model="scrubjay/board", messages=question)
        with pytest.raises(openai.NotFoundError) as absent:
            await client.chat.completions.create(model="scrubjay/nothing", messages=question)
    assert "81,000" not in made.model_dump_json()
    assert "scrubjay/board" not in listed
    assert unseen.value.code == absent.value.code == "model_not_found"
    assert unseen.value.param == "model"


async def test_models_are_what_can_be_asked_and_what_makes_vectors(
    open_client: OpenClient, engine: Engine
) -> None:
    async with client_of(open_client, await make_token(engine)) as client:
        listed = {model.id: model async for model in client.models.list()}
        one = await client.models.retrieve("scrubjay/team")
        with pytest.raises(openai.NotFoundError):
            await client.models.retrieve("gpt-4o")
    assert {"scrubjay", "scrubjay/team", "scrubjay/board", engine.embedder.space.name} <= set(
        listed
    )
    assert one == listed["scrubjay/team"]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("n", 2),
        ("logprobs", True),
        ("top_logprobs", 3),
        ("logit_bias", {"50256": -100}),
        ("tools", [{"type": "function", "function": {"name": "f", "parameters": {}}}]),
        ("functions", [{"name": "f"}]),
        ("response_format", {"type": "json_object"}),
        ("modalities", ["text", "audio"]),
        ("audio", {"voice": "alloy", "format": "wav"}),
    ],
)
async def test_what_is_not_supported_is_refused_by_name(
    open_client: OpenClient, engine: Engine, field: str, value: object
) -> None:
    async with client_of(open_client, await make_token(engine)) as client:
        with pytest.raises(openai.BadRequestError) as refused:
            await client.chat.completions.create(
                model="scrubjay", messages=asking(), extra_body={field: value}
            )
    assert (refused.value.param, refused.value.type) == (field, "invalid_request_error")


async def test_what_only_tunes_a_model_is_taken(open_client: OpenClient, engine: Engine) -> None:
    async with client_of(open_client, await make_token(engine)) as client:
        made = await client.chat.completions.create(
            model="scrubjay",
            messages=asking(),
            temperature=0.2,
            max_completion_tokens=50,
            n=1,
            logprobs=False,
            tools=[],
            tool_choice="auto",
            response_format={"type": "text"},
            user="ada",
            seed=1,
        )
    assert "240 hours" in (made.choices[0].message.content or "")


@pytest.mark.parametrize(
    ("messages", "param"),
    [
        ([], "messages"),
        ([{"role": "assistant", "content": "x"}], "messages"),
        ([{"role": "user", "content": "  "}], "messages"),
        ([{"role": "tool", "content": "x"}], "messages.0.role"),
        ([{"role": "user", "content": [{"type": "image_url", "image_url": {}}]}], "messages.0"),
    ],
)
async def test_messages_that_are_wrong_are_named(
    open_client: OpenClient, engine: Engine, messages: list[Any], param: str
) -> None:
    async with client_of(open_client, await make_token(engine)) as client:
        with pytest.raises(openai.BadRequestError) as refused:
            await client.chat.completions.create(model="scrubjay", messages=messages)
    assert str(refused.value.param).startswith(param)


async def test_errors_have_openais_form_and_a_correlation_id(
    open_client: OpenClient, engine: Engine
) -> None:
    reader = await make_token(engine, Scope.KB_READ)
    async with client_of(open_client, "sj_wrong") as client:
        with pytest.raises(openai.AuthenticationError) as unknown:
            await client.models.list()
    async with client_of(open_client, reader) as client:
        with pytest.raises(openai.PermissionDeniedError) as forbidden:
            await client.chat.completions.create(model="scrubjay", messages=asking())
    assert (unknown.value.code, unknown.value.type) == ("invalid_api_key", "authentication_error")
    assert forbidden.value.type == "permission_error"
    assert isinstance(forbidden.value.body, dict)
    assert forbidden.value.body["correlation_id"] == forbidden.value.request_id
    async with open_client(**ADDRESS) as http:
        lost = await http.get("/v1/nothing")
        wrong = await http.get("/v1/chat/completions")
    assert (lost.status_code, lost.json()["error"]["type"]) == (404, "invalid_request_error")
    assert (wrong.status_code, wrong.json()["error"]["code"]) == (405, "method_not_allowed")


async def test_the_rate_and_the_bound_of_rest_hold_here_too(
    open_client: OpenClient, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = await make_token(engine)
    slow = {"requests_per_minute": 1, "requests_burst": 1}
    async with client_of(open_client, key, **slow) as client:
        await client.models.list()
        with pytest.raises(openai.RateLimitError) as limited:
            await client.models.list()
    assert limited.value.code == "rate_limit_exceeded"
    assert int(limited.value.response.headers["retry-after"]) > 0
    monkeypatch.setattr(engine.admission, "_at_once", 0)
    async with client_of(open_client, key) as client:
        with pytest.raises(openai.InternalServerError) as busy:
            await client.chat.completions.create(model="scrubjay", messages=asking())
    assert (busy.value.status_code, busy.value.code) == (503, "unavailable")


async def test_what_goes_wrong_in_a_stream_is_an_error_there(
    open_client: OpenClient, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(*_: object, **__: object) -> AsyncIterator[Any]:
        from engine.domain import Searching

        yield Searching("x")
        raise RuntimeError("the secret inside")

    monkeypatch.setattr(engine.answers, "ask", broken)
    async with client_of(open_client, await make_token(engine)) as client:
        stream = await client.chat.completions.create(
            model="scrubjay", messages=asking(), stream=True
        )
        with pytest.raises(openai.APIError) as failed:
            [_ async for _ in stream]
    assert "secret" not in str(failed.value)


async def test_vectors_are_those_that_documents_are_searched_with(
    open_client: OpenClient, engine: Engine
) -> None:
    name, texts = engine.embedder.space.name, ["lodging rate", "sick leave"]
    wanted = await engine.embedder.embed_documents(texts)
    async with client_of(open_client, await make_token(engine)) as client:
        packed = await client.embeddings.create(model=name, input=texts)
        plain = await client.embeddings.create(model=name, input=texts, encoding_format="float")
        one = await client.embeddings.create(
            model=name, input=texts[0], extra_body={"input_type": "query"}
        )
    for made in (packed, plain):
        assert [item.index for item in made.data] == [0, 1]
        for item, row in zip(made.data, wanted, strict=True):
            assert item.embedding == pytest.approx(row.tolist(), abs=1e-6)
    query = await engine.embedder.embed_query(texts[0])
    assert one.data[0].embedding == pytest.approx(query.tolist(), abs=1e-6)
    assert packed.usage.prompt_tokens == sum(engine.embedder.count_tokens(texts))


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"input": ""}, "input"),
        ({"input": []}, "input"),
        ({"input": [[1, 2, 3]]}, "input"),
        ({"input": "word " * 50_000}, "input"),
        ({"input": "x", "dimensions": 7}, "dimensions"),
        ({"input": "x", "encoding_format": "int8"}, "encoding_format"),
    ],
)
async def test_texts_that_have_no_vector_are_refused_by_name(
    open_client: OpenClient, engine: Engine, body: dict[str, Any], param: str
) -> None:
    name = engine.embedder.space.name
    async with client_of(open_client, await make_token(engine)) as client:
        with pytest.raises(openai.BadRequestError) as refused:
            await client.post("/embeddings", body={"model": name, **body}, cast_to=object)
    assert str(refused.value.param).startswith(param)


async def test_the_turn_is_stored_as_of_any_other_door(
    open_client: OpenClient, engine: Engine
) -> None:
    key = await make_token(engine)
    async with client_of(open_client, key) as client:
        made = await client.chat.completions.create(model="scrubjay", messages=asking())
    owner = await engine.people.owner()
    kept = made.scrubjay["conversation_id"]  # type: ignore[attr-defined]
    turns = await engine.answers.list_turns(owner, kept)
    assert [turn.question for turn in turns] == [QUESTION]
    assert made.id == f"chatcmpl-{turns[0].id}"
