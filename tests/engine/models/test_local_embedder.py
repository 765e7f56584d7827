from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from engine.errors import InvalidInput, Unavailable
from engine.models.bert import HEADS, HIDDEN
from engine.models.local import LocalEmbedder
from engine.models.minilm import LAYERS
from engine.models.port import Embedder
from engine.models.tensors import read_spans
from engine.models.weights import ModelFiles
from tests.contracts.embedder import EmbedderContract

Array = NDArray[np.float64]


class TestLocalEmbedder(EmbedderContract):
    @pytest.fixture
    def embedder(self, minilm: LocalEmbedder) -> Embedder:
        return minilm


def reference_embedding(files: ModelFiles, ids: list[int]) -> Array:
    """One text through BERT in plain numpy and double precision, written from the paper."""
    data = np.memmap(files.weights, np.uint8, mode="r")

    def read(name: str) -> Array:
        span = spans[name]
        raw = np.frombuffer(data[span.offset : span.offset + span.size].tobytes(), "<f4")
        return raw.reshape(span.shape).astype(np.float64)

    def linear(x: Array, name: str) -> Array:
        return x @ read(f"{name}.weight").T + read(f"{name}.bias")

    def norm(x: Array, name: str) -> Array:
        centred = x - x.mean(-1, keepdims=True)
        scaled = centred / np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-12)
        return scaled * read(f"{name}.weight") + read(f"{name}.bias")

    spans = read_spans(files.weights)
    gelu: Callable[[Array], Array] = np.vectorize(lambda v: 0.5 * v * (1 + math.erf(v / 2**0.5)))
    size, width = len(ids), HIDDEN // HEADS
    x = read("embeddings.word_embeddings.weight")[ids]
    x = x + read("embeddings.position_embeddings.weight")[:size]
    x = norm(x + read("embeddings.token_type_embeddings.weight")[0], "embeddings.LayerNorm")
    for number in range(LAYERS):
        prefix = f"encoder.layer.{number}"
        query, key, value = (
            linear(x, f"{prefix}.attention.self.{name}").reshape(size, HEADS, width)
            for name in ("query", "key", "value")
        )
        scores = np.einsum("qhd,khd->hqk", query, key) / math.sqrt(width)
        weights = np.exp(scores - scores.max(-1, keepdims=True))
        weights /= weights.sum(-1, keepdims=True)
        attended = np.einsum("hqk,khd->qhd", weights, value).reshape(size, HIDDEN)
        attended = linear(attended, f"{prefix}.attention.output.dense")
        x = norm(attended + x, f"{prefix}.attention.output.LayerNorm")
        inner = gelu(linear(x, f"{prefix}.intermediate.dense"))
        x = norm(linear(inner, f"{prefix}.output.dense") + x, f"{prefix}.output.LayerNorm")
    pooled = x.mean(0)
    return pooled / np.linalg.norm(pooled)


async def test_vectors_equal_an_independent_forward_pass(
    minilm: LocalEmbedder, model_files: ModelFiles
) -> None:
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(model_files.tokenizer))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    texts = ["Refunds take 14 days.", "Zoë's café opens at 7:30", "sick leave and holidays " * 4]

    vectors = await minilm.embed_documents(texts)

    for text, vector in zip(texts, vectors, strict=True):
        expected = reference_embedding(model_files, tokenizer.encode(text).ids)
        assert float(np.abs(vector - expected).max()) <= 1e-5


async def test_texts_longer_than_the_shipped_tokenizer_cuts_are_read_to_their_end(
    minilm: LocalEmbedder,
) -> None:
    start = "the office dog sleeps " * 40
    vectors = await minilm.embed_documents([start, start + "quarterly tax forms " * 10])

    assert minilm.count_tokens([start])[0] > 128
    assert float(vectors[0] @ vectors[1]) < 0.99


async def test_a_meaning_is_found_without_a_shared_word(minilm: LocalEmbedder) -> None:
    vectors = await minilm.embed_documents(
        ["Parental leave lasts sixteen weeks.", "The printer is on the second floor."]
    )
    query = await minilm.embed_query("how much time off after having a baby")

    assert vectors[0] @ query > vectors[1] @ query + 0.2


async def test_bytes_that_are_no_text_are_refused(minilm: LocalEmbedder) -> None:
    with pytest.raises(InvalidInput, match="not Unicode"):
        await minilm.embed_documents(["\ud800"])


async def test_a_released_model_loads_again(models_folder: Path) -> None:
    embedder = LocalEmbedder(models_folder, threads=1)
    before = await embedder.embed_query("parking")
    await embedder.release()
    after = await embedder.embed_query("parking")
    await embedder.aclose()

    np.testing.assert_array_equal(before, after)


async def test_a_model_that_is_not_installed_says_how_to_install_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("engine.models.weights._package_folder", lambda model: None)

    with pytest.raises(Unavailable, match="scrubjay model install"):
        await LocalEmbedder(tmp_path).embed_query("anything")


async def test_tokens_come_with_their_places_and_make_the_vector_of_their_text(minilm):
    texts = ["The harbour of Lindvik was dredged in 1964.", "Why?", "word " * 400]
    found = await minilm.embed_tokens(texts)
    [whole] = await minilm.embed_documents([texts[0]])
    assert [texts[0][start:end] for start, end in found[0].offsets][:3] == ["The", "harbour", "of"]
    assert found[0].vectors.shape == (len(found[0].offsets), HIDDEN)
    assert np.allclose(found[0].pooled, whole, atol=1e-5)
    assert len(found[2].offsets) == 254  # cut where the model ends, less [CLS] and [SEP]
    assert await minilm.embed_tokens([]) == []
    with pytest.raises(InvalidInput):
        await minilm.embed_tokens(["\ud800"])
