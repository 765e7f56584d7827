from __future__ import annotations

import pytest

from engine.models.hashing import HashingEmbedder
from engine.models.port import Embedder
from tests.contracts.embedder import EmbedderContract


class TestHashingEmbedder(EmbedderContract):
    @pytest.fixture
    def embedder(self) -> Embedder:
        return HashingEmbedder()


async def test_vectors_are_the_same_in_every_process() -> None:
    vector = await HashingEmbedder().embed_query("Vacation, (vacation) policy!")

    slots = {int(i): round(float(vector[i]), 4) for i in vector.nonzero()[0]}
    assert slots == {111: -0.4472, 142: -0.8944}


def test_its_space_says_that_it_is_no_model() -> None:
    assert HashingEmbedder.space.name == "hashing_test_384"
