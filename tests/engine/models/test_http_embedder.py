from __future__ import annotations

import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime

import numpy as np
import pytest

from engine.errors import ConfigurationError, InvalidInput, Unavailable
from engine.models.http import HttpEmbedder, HttpReranker, space_name
from engine.models.port import Embedder
from engine.net.http import is_loopback, parse_retry_after
from tests.contracts.embedder import EmbedderContract
from tests.fakes.openai_server import KEY, Drop, Fault, Hang, OpenAIServer, Raw, open_server


@pytest.fixture
async def server() -> AsyncIterator[OpenAIServer]:
    async with open_server() as server:
        yield server


class Sleeps(list[float]):
    async def __call__(self, seconds: float) -> None:
        self.append(seconds)


def build(server: OpenAIServer, sleeps: Sleeps | None = None, **options: object) -> HttpEmbedder:
    settings: dict = {"base_url": server.base_url, "api_key": KEY, "dimension": 384, **options}
    return HttpEmbedder("text-embed-3", sleep=Sleeps() if sleeps is None else sleeps, **settings)


class TestHttpEmbedder(EmbedderContract):
    @pytest.fixture
    async def embedder(self, server: OpenAIServer) -> AsyncIterator[Embedder]:
        embedder = build(server)
        yield embedder
        await embedder.aclose()


async def test_many_texts_go_in_several_requests_and_keep_their_order(server: OpenAIServer) -> None:
    embedder = build(server, batch_texts=10)
    texts = [f"text number {i} about {i * i}" for i in range(95)]

    vectors = await embedder.embed_documents(texts)
    await embedder.aclose()

    assert sorted(len(request.body["input"]) for request in server.requests) == [5] + [10] * 9
    for index in (0, 41, 94):
        alone = await embedder.embed_query(texts[index])
        np.testing.assert_allclose(alone, vectors[index], atol=1e-6)
    await embedder.aclose()


async def test_a_busy_server_is_asked_again_when_it_says(server: OpenAIServer) -> None:
    sleeps = Sleeps()
    embedder = build(server, sleeps)
    server.enqueue(Fault(429, {"retry-after": "7"}), Fault(503), Drop())

    vectors = await embedder.embed_documents(["a text"])
    await embedder.aclose()

    assert vectors.shape == (1, 384)
    assert sleeps[0] == 7.0
    assert 0.5 <= sleeps[1] <= 1.0
    assert 1.0 <= sleeps[2] <= 2.0


async def test_a_server_that_stays_busy_is_given_up_with_what_it_asked_for(
    server: OpenAIServer,
) -> None:
    sleeps = Sleeps()
    embedder = build(server, sleeps)
    server.enqueue(Fault(429, {"retry-after": "3600"}))

    with pytest.raises(Unavailable, match="HTTP 429") as caught:
        await embedder.embed_documents(["a text"])
    await embedder.aclose()

    assert caught.value.retry_after_s == 3600.0
    assert sleeps == []


@pytest.mark.parametrize(
    ("reply", "kind", "words"),
    [
        (Fault(401), Unavailable, "check embedding.api_key"),
        (Fault(404), Unavailable, "check embedding.base_url"),
        (Fault(400), InvalidInput, "lower the chunk size"),
        (Fault(302, {"location": "http://127.0.0.1:9/"}), Unavailable, "HTTP 302"),
        (Raw("<html>SECRET UPSTREAM TEXT</html>", "text/html"), Unavailable, "unreadable response"),
        (Raw('{"data": []}'), Unavailable, "unreadable response"),
        (Raw('{"data": [{"index": 0, "embedding": "AAAA"}]}'), Unavailable, "unreadable response"),
        (Raw('{"data": [{"index": 0, "embedding": [0, 0]}]}'), ConfigurationError, "set it to 2"),
        (
            Raw(json.dumps({"data": [{"index": 0, "embedding": [0.0] * 384}]})),
            Unavailable,
            "unreadable response",
        ),
    ],
)
async def test_a_refusal_is_not_repeated_and_says_what_to_do(
    server: OpenAIServer, reply: Fault | Raw, kind: type[Exception], words: str
) -> None:
    embedder = build(server)
    server.enqueue(reply)

    with pytest.raises(kind, match=words) as caught:
        await embedder.embed_documents(["a text"])
    await embedder.aclose()

    assert len(server.requests) == 1
    assert "SECRET" not in str(caught.value)
    assert caught.value.__cause__ is None
    assert KEY not in f"{caught.value!r} {embedder!r} {embedder._endpoint!r}"


async def test_a_server_that_says_nothing_is_given_up_in_time(server: OpenAIServer) -> None:
    embedder = build(server, timeout_s=0.05)
    server.enqueue(Hang(), Hang())

    with pytest.raises(Unavailable, match=r"did not respond within 0\.05 s"):
        await embedder.embed_query("a question")
    await embedder.aclose()

    assert len(server.requests) == 2


async def test_a_server_that_is_not_there_is_named() -> None:
    embedder = HttpEmbedder("m", base_url="http://127.0.0.1:9/v1", dimension=2, sleep=Sleeps())

    with pytest.raises(Unavailable, match=r"at 127\.0\.0\.1 can't be reached"):
        await embedder.embed_query("a question")
    await embedder.aclose()


def test_an_address_that_is_none_is_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"embedding\.base_url"):
        HttpEmbedder("m", base_url="localhost:11434", dimension=2)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (None, None),
        ("7", 7.0),
        (" 0.5 ", 0.5),
        ("Fri, 20 Nov 2026 12:00:30 GMT", 30.0),
        ("Fri, 20 Nov 2026 11:00:00 GMT", 0.0),
        ("soon", None),
        ("", None),
        (".", None),
        ("-3", None),
    ],
)
def test_retry_after_is_seconds_or_a_date(value: str | None, seconds: float | None) -> None:
    assert parse_retry_after(value, at=datetime(2026, 11, 20, 12, tzinfo=UTC)) == seconds


def test_a_proxy_is_not_used_for_this_machine() -> None:
    hosts = ["localhost", "127.0.0.1", "::1", "api.openai.com", "10.0.0.1"]
    assert [host for host in hosts if is_loopback(host)] == ["localhost", "127.0.0.1", "::1"]


def test_a_space_is_named_after_its_model() -> None:
    assert space_name("text-embedding-3-small", 512) == "text_embedding_3_small_512"
    long = space_name("sentence-transformers/paraphrase-multilingual-mpnet-base-v2", 768)
    assert len(long) == 40
    assert long.endswith("_768")


TEXTS = ["the cat sat", "vacation days per year", "vacation"]


@pytest.mark.parametrize("style", ["cohere", "jina", "tei"])
async def test_rerank_scores_come_in_the_order_given(server: OpenAIServer, style: str) -> None:
    reranker = HttpReranker("rerank-1", base_url=server.base_url, api_key=KEY, style=style)

    scores = await reranker.rerank("vacation days", TEXTS)
    none = await reranker.rerank("vacation days", [])
    await reranker.aclose()

    assert scores == [0.0, 1.0, 0.5]
    assert none == []


async def test_tei_is_asked_in_batches_it_takes(server: OpenAIServer) -> None:
    reranker = HttpReranker("", base_url=server.base_url, api_key=KEY, style="tei")

    scores = await reranker.rerank("vacation days", [*TEXTS] * 25)
    await reranker.aclose()

    assert scores == [0.0, 1.0, 0.5] * 25
    assert [len(request.body["texts"]) for request in server.requests] == [32, 32, 11]


async def test_a_reranker_that_answers_nonsense_is_unavailable(server: OpenAIServer) -> None:
    reranker = HttpReranker("rerank-1", base_url=server.base_url, api_key=KEY)
    server.enqueue(Raw('{"results": [{"index": 0, "relevance_score": 1.0}]}'))

    with pytest.raises(Unavailable, match="rerank endpoint"):
        await reranker.rerank("vacation days", TEXTS)
    await reranker.aclose()

    assert KEY not in repr(reranker)
