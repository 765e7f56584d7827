"""MiniLM in bytes: made from the published file, close to it, and judged by a test of the processor."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from engine.models import self_test
from engine.models.catalogue import MINILM, MINILM_INT8
from engine.models.local import LocalEmbedder
from engine.models.port import Embedder
from engine.models.self_test import SelfTest, run_self_test
from engine.models.weights import ModelFiles, find_model, install_model
from tests.contracts.embedder import TEXTS, EmbedderContract


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, model_files: ModelFiles) -> Path:
    folder = tmp_path_factory.mktemp("bytes")
    install_model(folder, model_files.weights.parent, model=MINILM_INT8)
    return folder


@pytest.fixture(scope="module")
def small(folder: Path) -> LocalEmbedder:
    return LocalEmbedder(folder, MINILM_INT8, threads=1)


class TestModelInBytes(EmbedderContract):
    @pytest.fixture
    def embedder(self, small: LocalEmbedder) -> Embedder:
        return small


async def test_it_is_close_to_the_published_model_and_in_a_space_of_its_own(
    small: LocalEmbedder, minilm: LocalEmbedder
) -> None:
    texts = [text for text in TEXTS if text]
    exact, rounded = await minilm.embed_documents(texts), await small.embed_documents(texts)

    assert float((exact * rounded).sum(axis=1).min()) > 0.98
    assert not np.array_equal(exact, rounded)
    assert small.space != minilm.space


def test_it_takes_a_quarter_of_the_room(folder: Path) -> None:
    files = find_model(folder, MINILM_INT8)

    assert files is not None
    assert files.weights.stat().st_size < 24_000_000
    assert find_model(folder, MINILM) != files


async def test_the_self_test_measures_speed_and_closeness(folder: Path) -> None:
    found = await run_self_test(folder)

    assert found.speed > 0
    assert found.closeness > self_test.CLOSE


@pytest.mark.parametrize(
    ("speed", "closeness", "worth"), [(1.8, 0.997, True), (1.1, 0.997, False), (3.0, 0.9, False)]
)
def test_it_is_recommended_where_it_is_quicker_and_right(
    speed: float, closeness: float, worth: bool
) -> None:
    assert SelfTest(speed, closeness).is_worth_it is worth
