from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from pydantic import BaseModel, Field

from engine.errors import ConfigurationError, Unavailable
from engine.models.llm import PydanticLanguageModel, open_language_model
from engine.models.port import Completion, Extraction
from tests.fakes.openai_server import (
    KEY,
    Drop,
    Fault,
    Hang,
    OpenAIServer,
    Raw,
    Reply,
    Text,
    ToolCall,
    open_server,
)

NOW = {"retry-after-ms": "1"}  # the clients read it, so that their retries don't wait


class Leave(BaseModel):
    """How long a leave lasts."""

    kind: str
    days: int = Field(ge=0)


@pytest.fixture
async def server() -> AsyncIterator[OpenAIServer]:
    async with open_server() as server:
        yield server


@pytest.fixture
async def model(server: OpenAIServer) -> AsyncIterator[PydanticLanguageModel]:
    async with open_language_model(
        "openai:gpt-test", base_url=server.base_url, api_key=KEY, timeout_s=60.0
    ) as model:
        yield model


async def collect(stream: AsyncIterator[str | Completion], into: list[str | Completion]) -> None:
    async for item in stream:
        into.append(item)  # noqa: PERF401 (what came before a fault must be kept)


async def test_complete_gives_the_text_and_its_cost(
    server: OpenAIServer, model: PydanticLanguageModel
) -> None:
    server.enqueue(Text("Three weeks.", input_tokens=42, output_tokens=3))

    completion = await model.complete("Be brief.", "How much vacation?", max_tokens=50)

    assert completion == Completion("Three weeks.", 42, 3)
    body = server.requests[0].body
    assert body["model"] == "gpt-test"
    assert body["messages"] == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "How much vacation?"},
    ]
    assert body.get("max_completion_tokens", body.get("max_tokens")) == 50


async def test_a_stream_gives_pieces_and_ends_with_the_whole(
    server: OpenAIServer, model: PydanticLanguageModel
) -> None:
    server.enqueue(Text("Three weeks of paid leave.", pieces=4, input_tokens=5, output_tokens=6))

    items = [item async for item in model.stream("", "How much vacation?")]

    assert items[-1] == Completion("Three weeks of paid leave.", 5, 6)
    assert len(items) == 5
    assert "".join(str(piece) for piece in items[:-1]) == "Three weeks of paid leave."


async def test_leaving_a_stream_early_leaves_the_model_usable(
    server: OpenAIServer, model: PydanticLanguageModel
) -> None:
    server.enqueue(Text("a long answer in many pieces", pieces=9), Text("next"))
    stream = model.stream("", "Tell me")
    first = await anext(stream)
    await stream.aclose()

    assert first == "a lo"
    assert (await model.complete("", "And?")).text == "next"


async def test_extract_gives_an_instance_of_the_schema(
    server: OpenAIServer, model: PydanticLanguageModel
) -> None:
    server.enqueue(ToolCall({"kind": "parental", "days": 112}))

    found = await model.extract("Read the text.", "Parental leave lasts 16 weeks.", Leave)

    assert found == Extraction(Leave(kind="parental", days=112), 11, 7)


async def test_extract_asks_again_when_the_answer_does_not_fit(
    server: OpenAIServer, model: PydanticLanguageModel
) -> None:
    server.enqueue(ToolCall({"kind": "sick", "days": -1}), ToolCall({"kind": "sick", "days": 12}))

    found = await model.extract("", "Twelve sick days.", Leave)

    assert found == Extraction(Leave(kind="sick", days=12), 22, 14)


async def test_extract_gives_up_when_it_never_fits(
    server: OpenAIServer, model: PydanticLanguageModel
) -> None:
    server.enqueue(ToolCall({"kind": "sick"}), ToolCall({"kind": "SECRET"}))

    with pytest.raises(Unavailable, match="unreadable response") as caught:
        await model.extract("", "Twelve sick days.", Leave)
    assert "SECRET" not in str(caught.value)


async def test_a_busy_model_is_asked_again(
    server: OpenAIServer, model: PydanticLanguageModel
) -> None:
    server.enqueue(Fault(429, NOW), Fault(500, NOW), Text("now"))

    assert (await model.complete("", "Hello")).text == "now"
    assert len(server.requests) == 3


@pytest.mark.parametrize(
    ("reply", "words"),
    [
        (Fault(429, {"retry-after": "9", **NOW}), "gets too many requests"),
        (Fault(500, NOW), "failed on its side"),
        (Fault(401), "check llm.api_key"),
        (Fault(404), "check llm.model"),
        (Fault(400), "refused the request"),
        (Drop(), "can't be reached"),
        (Raw("<html>SECRET UPSTREAM TEXT</html>", "text/html"), "unreadable response"),
        (Raw('{"SECRET": '), "unreadable response"),
        (Raw('{"choices": [], "SECRET": 1}'), "unreadable response"),
    ],
)
async def test_a_fault_says_what_to_do_and_not_what_the_server_said(
    server: OpenAIServer, reply: Reply, words: str
) -> None:
    server.enqueue(reply)
    async with open_language_model(
        "openai:gpt-test", base_url=server.base_url, api_key=KEY, retries=0
    ) as model:
        with pytest.raises(Unavailable, match=words) as caught:
            await model.complete("", "Hello")

    assert "SECRET" not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__
    assert KEY not in f"{caught.value!r} {model!r}"
    assert len(server.requests) == 1


async def test_retry_after_is_passed_on(server: OpenAIServer) -> None:
    server.enqueue(Fault(429, {"retry-after": "30"}))
    async with open_language_model(
        "openai:gpt-test", base_url=server.base_url, api_key=KEY, retries=0
    ) as model:
        with pytest.raises(Unavailable) as caught:
            await model.complete("", "Hello")

    assert caught.value.retry_after_s == 30.0


async def test_a_silent_model_is_given_up_in_time(server: OpenAIServer) -> None:
    server.enqueue(Hang(), Hang(), Hang(after_pieces=2), Hang(after_pieces=2))
    async with open_language_model(
        "openai:gpt-test", base_url=server.base_url, api_key=KEY, timeout_s=0.2, retries=0
    ) as model:
        with pytest.raises(Unavailable, match=r"within 0\.2 s"):
            await model.complete("", "Hello")
        with pytest.raises(Unavailable, match=r"within 0\.2 s"):
            await anext(model.stream("", "Hello"))
        pieces: list[str | Completion] = []
        with pytest.raises(Unavailable):
            await collect(model.stream("", "Hello"), pieces)

    assert pieces == ["one ", "two "]


async def test_a_stream_that_breaks_off_is_an_error_after_its_pieces(
    server: OpenAIServer, model: PydanticLanguageModel
) -> None:
    server.enqueue(Drop(after_pieces=2))
    pieces: list[str | Completion] = []

    with pytest.raises(Unavailable, match="gpt-test"):
        await collect(model.stream("", "Hello"), pieces)

    assert pieces == ["one ", "two "]


async def test_a_model_that_is_not_there_is_named() -> None:
    async with open_language_model(
        "openai:gpt-test", base_url="http://127.0.0.1:9/v1", retries=0
    ) as model:
        with pytest.raises(Unavailable, match="openai:gpt-test can't be reached"):
            await model.complete("", "Hello")


async def test_ollama_needs_no_key() -> None:
    async with (
        open_server(key=None) as server,
        open_language_model("ollama:llama3.2:3b", base_url=server.base_url) as model,
    ):
        server.enqueue(Text("Hello."))

        assert (await model.complete("", "Hi")).text == "Hello."
        assert server.requests[0].body["model"] == "llama3.2:3b"


@pytest.mark.parametrize("name", ["gpt-5", "gemini:pro", "openai:", ":x", ""])
def test_an_unknown_provider_is_refused_with_those_there_are(name: str) -> None:
    with pytest.raises(ConfigurationError, match="openai:<name>, anthropic:<name> or ollama"):
        open_language_model(name, api_key=KEY)


@pytest.mark.parametrize("name", ["openai:gpt-5", "anthropic:claude-5"])
def test_a_missing_key_is_named(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "from-the-environment")
    monkeypatch.setenv("ANTHROPIC_API_KEY", "from-the-environment")

    with pytest.raises(ConfigurationError, match=r"llm\.api_key is not set"):
        open_language_model(name)
