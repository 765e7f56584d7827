from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import anyio
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from engine.domain import Lane
from engine.errors import InvalidInput, Unavailable
from engine.models.batching import EmbeddingBatcher, plan_batches
from engine.models.hashing import HashingEmbedder


class RecordingEmbedder(HashingEmbedder):
    """Notes each batch, and holds it while `gate` is closed."""

    def __init__(self) -> None:
        super().__init__()
        self.batches: list[list[str]] = []
        self.entered = anyio.Event()
        self.gate = anyio.Event()
        self.gate.set()
        self.refuses = ""
        self.is_down = False

    async def embed_documents(self, texts: Sequence[str]) -> NDArray[np.float32]:
        self.batches.append(list(texts))
        self.entered.set()
        await self.gate.wait()
        if self.is_down:
            raise Unavailable("The embeddings endpoint is down: start it.")
        if self.refuses and self.refuses in texts:
            raise InvalidInput("no such text", field="texts")
        return await super().embed_documents(texts)


def words(count: int, word: str = "word") -> str:
    return " ".join([word] * count)


@given(st.lists(st.integers(0, 300), max_size=60), st.integers(1, 600))
def test_every_text_is_in_one_batch_within_the_budget(lengths: list[int], budget: int) -> None:
    batches = plan_batches(lengths, budget)

    assert sorted(index for batch in batches for index in batch) == list(range(len(lengths)))
    for batch in batches:
        assert len(batch) == 1 or max(lengths[i] for i in batch) * len(batch) <= budget


def test_texts_of_similar_length_share_a_batch() -> None:
    assert plan_batches([10, 200, 12, 190, 11], 400) == [[1, 3], [2, 4, 0]]


async def test_documents_share_batches_of_similar_length() -> None:
    embedder = RecordingEmbedder()
    batcher = EmbeddingBatcher(embedder, batch_tokens=40)
    documents = [[words(20, f"a{i}"), words(10, f"b{i}"), words(2, f"c{i}")] for i in range(4)]
    found: dict[int, NDArray[np.float32]] = {}

    async def embed(number: int) -> None:
        # With the lengths known no thread has to count them, so all are there when the gate opens.
        found[number] = await batcher.embed(documents[number], lengths=[20, 10, 2])

    embedder.gate = anyio.Event()
    async with anyio.create_task_group() as group:
        for number in range(4):
            group.start_soon(embed, number)
        await embedder.entered.wait()
        await anyio.wait_all_tasks_blocked()
        embedder.gate.set()

    for number, texts in enumerate(documents):
        np.testing.assert_array_equal(found[number], await HashingEmbedder().embed_documents(texts))
    padded = [max(len(t.split()) for t in batch) * len(batch) for batch in embedder.batches]
    assert sum(padded) <= 1.1 * sum(len(t.split()) for texts in documents for t in texts)
    assert len(embedder.batches) <= 5


async def test_an_urgent_text_goes_before_bulk_that_came_earlier() -> None:
    embedder = RecordingEmbedder()
    batcher = EmbeddingBatcher(embedder, batch_tokens=20)
    embedder.gate = anyio.Event()
    async with anyio.create_task_group() as group:
        group.start_soon(batcher.embed, [words(10, f"bulk{i}") for i in range(20)])
        await embedder.entered.wait()
        group.start_soon(lambda: batcher.embed(["live one"], lane=Lane.LIVE))
        await anyio.wait_all_tasks_blocked()
        embedder.gate.set()

    assert "live one" in embedder.batches[1]


async def test_a_text_at_fault_fails_its_own_document_only() -> None:
    embedder = RecordingEmbedder()
    embedder.refuses = "poison here"
    batcher = EmbeddingBatcher(embedder)
    good: list[NDArray[np.float32]] = []

    async def embed_good() -> None:
        good.append(await batcher.embed(["a good text", "and another one"]))

    async def embed_bad() -> None:
        with pytest.raises(InvalidInput, match="no such text"):
            await batcher.embed(["poison here", "beside it"])

    async with anyio.create_task_group() as group:
        group.start_soon(embed_good)
        group.start_soon(embed_bad)

    np.testing.assert_array_equal(
        good[0], await HashingEmbedder().embed_documents(["a good text", "and another one"])
    )


async def test_a_model_that_is_gone_fails_all_who_wait_for_it() -> None:
    embedder = RecordingEmbedder()
    embedder.is_down = True
    batcher = EmbeddingBatcher(embedder)

    with pytest.raises(Unavailable, match="start it"):
        await batcher.embed(["one"])
    embedder.is_down = False

    assert (await batcher.embed(["one"])).shape == (1, 384)


async def test_a_text_too_long_is_named_before_anything_is_embedded() -> None:
    embedder = RecordingEmbedder()

    with pytest.raises(InvalidInput, match="Text 1 has 300 tokens"):
        await EmbeddingBatcher(embedder).embed(["fine", words(300)])
    assert embedder.batches == []


async def test_cancelling_whoever_runs_the_batch_costs_the_others_nothing() -> None:
    embedder = RecordingEmbedder()
    batcher = EmbeddingBatcher(embedder)
    embedder.gate = anyio.Event()
    found: list[NDArray[np.float32]] = []

    async def embed() -> None:
        found.append(await batcher.embed(["waits for its turn", "patiently"]))

    async with anyio.create_task_group() as group:
        first = anyio.CancelScope()

        async def leader() -> None:
            with first:
                await batcher.embed(["first of all"])

        group.start_soon(leader)
        await embedder.entered.wait()
        group.start_soon(embed)
        await anyio.wait_all_tasks_blocked()
        first.cancel()
        embedder.gate.set()

    assert found[0].shape == (2, 384)


async def test_a_cancelled_request_leaves_nothing_behind() -> None:
    embedder = RecordingEmbedder()
    batcher = EmbeddingBatcher(embedder, batch_tokens=8)
    embedder.gate = anyio.Event()

    async with anyio.create_task_group() as group:
        group.start_soon(batcher.embed, [words(8, "keep")])
        await embedder.entered.wait()
        with anyio.move_on_after(0):
            await batcher.embed([words(8, "drop")] * 5, lengths=[8] * 5)
        embedder.gate.set()

    assert embedder.batches == [[words(8, "keep")]]


async def test_bulk_waits_while_too_much_waits_and_then_goes_on() -> None:
    embedder = RecordingEmbedder()
    batcher = EmbeddingBatcher(embedder, batch_tokens=4, max_waiting=6)
    embedder.gate = anyio.Event()
    async with anyio.create_task_group() as group:
        for number in range(4):
            texts = [f"text {number} {i}" for i in range(5)]
            # with lengths given nothing is counted in a thread, so they enter as they were started
            group.start_soon(partial(batcher.embed, texts, lengths=[3] * 5))
        await embedder.entered.wait()
        await anyio.wait_all_tasks_blocked()
        embedder.gate.set()

    assert sorted(text for batch in embedder.batches for text in batch) == sorted(
        f"text {number} {i}" for number in range(4) for i in range(5)
    )
    assert {text[5] for batch in embedder.batches[:5] for text in batch} == {"0"}


async def test_batches_grow_while_the_embedder_is_quick() -> None:
    embedder = RecordingEmbedder()
    batcher = EmbeddingBatcher(embedder, batch_tokens=4, growth=4)

    await batcher.embed([words(1, f"w{i}") for i in range(60)], lengths=[1] * 60)

    assert [len(batch) for batch in embedder.batches] == [4, 8, 16, 16, 16]


async def test_batches_shrink_where_the_embedder_is_slow(monkeypatch: pytest.MonkeyPatch) -> None:
    embedder = RecordingEmbedder()
    batcher = EmbeddingBatcher(embedder, batch_tokens=4, growth=4)
    await batcher.embed([words(1, f"w{i}") for i in range(28)], lengths=[1] * 28)
    monkeypatch.setattr("engine.models.batching.SLOW_S", 0.0)

    await batcher.embed([words(1, f"v{i}") for i in range(32)], lengths=[1] * 32)

    assert [len(batch) for batch in embedder.batches] == [4, 8, 16, 16, 8, 4, 4]
