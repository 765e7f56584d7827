"""What every embedder does, whatever computes its vectors.

A suite subclasses `EmbedderContract` and gives the fixture `embedder`.
"""

from __future__ import annotations

import re

import numpy as np
import pytest

from engine.errors import InvalidInput
from engine.models.port import Embedder

TEXTS = [
    "Employees earn three weeks of paid vacation in their first year.",
    "x",
    "The health plan covers partners and children from the first day of work.",
    "Bring your laptop back to the office. " * 6,
    "",
]


class EmbedderContract:
    async def test_space_has_a_name_an_index_can_use(self, embedder: Embedder) -> None:
        assert re.fullmatch(r"[a-z0-9_]{1,40}", embedder.space.name)
        assert embedder.space.dimension > 0

    async def test_vectors_are_of_unit_length_and_in_order(self, embedder: Embedder) -> None:
        vectors = await embedder.embed_documents(TEXTS)

        assert vectors.shape == (len(TEXTS), embedder.space.dimension)
        assert vectors.dtype == np.float32
        np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1.0, atol=1e-5)
        for text, vector in zip(TEXTS, vectors, strict=True):
            alone = await embedder.embed_documents([text])
            np.testing.assert_allclose(alone[0], vector, atol=1e-5)

    async def test_no_text_is_no_vector(self, embedder: Embedder) -> None:
        assert (await embedder.embed_documents([])).shape == (0, embedder.space.dimension)

    async def test_the_same_text_is_nearest_to_itself(self, embedder: Embedder) -> None:
        vectors = await embedder.embed_documents(TEXTS[:4])
        query = await embedder.embed_query(TEXTS[2])

        assert query.shape == (embedder.space.dimension,)
        assert int(np.argmax(vectors @ query)) == 2

    async def test_shared_words_bring_texts_closer(self, embedder: Embedder) -> None:
        query = await embedder.embed_query("paid vacation in the first year")
        vectors = await embedder.embed_documents(TEXTS[:4])

        assert int(np.argmax(vectors @ query)) == 0

    async def test_a_longer_text_counts_more_tokens(self, embedder: Embedder) -> None:
        counts = embedder.count_tokens(TEXTS)

        assert counts[3] > counts[0] > counts[1] >= counts[4] >= 0
        assert embedder.count_tokens([]) == []

    async def test_token_offsets_are_spans_of_characters_in_order(self, embedder: Embedder) -> None:
        text = "Zoë's café 🙂 opens at 7:30, naïve 東京 end"
        offsets = embedder.token_offsets(text)

        assert all(0 <= start < end <= len(text) for start, end in offsets)
        assert offsets == sorted(offsets)
        assert offsets[-1][1] == len(text)
        assert text[slice(*offsets[0])].startswith("Z")

    async def test_a_text_too_long_is_refused_by_name_and_a_query_is_cut(
        self, embedder: Embedder
    ) -> None:
        long = "vacation " * (embedder.max_tokens * 4)

        with pytest.raises(InvalidInput, match=str(embedder.max_tokens)) as caught:
            await embedder.embed_documents(["short", long])
        assert caught.value.field == "texts[1]"
        vector = await embedder.embed_query(long)
        assert np.linalg.norm(vector) == pytest.approx(1.0, abs=1e-5)

    async def test_a_text_of_max_tokens_is_taken(self, embedder: Embedder) -> None:
        words = embedder.max_tokens
        while embedder.count_tokens(["a " * words])[0] > embedder.max_tokens:
            words -= 1

        vectors = await embedder.embed_documents(["a " * words])

        assert vectors.shape == (1, embedder.space.dimension)

    async def test_closing_twice_is_closing_once(self, embedder: Embedder) -> None:
        await embedder.embed_query("anything")
        await embedder.aclose()
        await embedder.aclose()
