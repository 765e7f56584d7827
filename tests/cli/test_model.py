"""`model` and the models of knowledge bases, on the command line."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cli.main import main
from engine.config import write_setting
from engine.errors import ConfigurationError
from engine.models.catalogue import E5
from engine.models.weights import find_model
from tests.fakes.models import installed_e5

Run = Callable[..., Any]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SCRUBJAY_HOME", str(tmp_path))
    monkeypatch.delenv("SCRUBJAY_EMBEDDING__MODEL", raising=False)
    return tmp_path


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    def run(*arguments: str, code: int = 0) -> Any:
        capsys.readouterr()
        assert main([*arguments, "--json"]) == code, capsys.readouterr().err
        said = capsys.readouterr()
        return json.loads(said.out or said.err)

    return run


def test_a_model_is_installed_from_a_folder_used_and_named_by_its_knowledge_bases(
    home: Path, run: Run
) -> None:
    run("kb", "create", "before")
    refused = run("model", "use", "multilingual", code=3)
    assert "Run `scrubjay model install multilingual`" in refused["error"]["message"]

    run("model", "install", "multilingual", "--from", str(installed_e5() / E5.title))
    assert run("model", "use", "multilingual")["config"] == str(home / "scrubjay.toml")
    run("kb", "create", "after")
    run("kb", "create", "english", "--model", "minilm")

    listed = {model["name"]: model for model in run("model", "list")["models"]}
    assert listed["multilingual"]["is_default"]
    assert listed["multilingual"]["is_installed"]
    assert listed["multilingual"]["knowledge_bases"] == ["after"]
    assert listed["minilm"]["knowledge_bases"] == ["before", "english"]
    assert listed["minilm"]["languages"] == ["en"]


def test_with_minilm_comes_the_model_in_bytes_and_what_it_gains_here(home: Path, run: Run) -> None:
    files = find_model(home / "models")
    assert files is not None

    installed = run("model", "install", "minilm", "--from", str(files.weights.parent))

    assert installed["int8"]["closeness"] > 0.99
    run("model", "use", "minilm-int8")
    listed = {model["name"]: model for model in run("model", "list")["models"]}
    assert listed["minilm-int8"]["is_default"]


def test_an_unknown_model_is_refused_with_those_there_are(home: Path, run: Run) -> None:
    for command in (["model", "use", "bert"], ["model", "install", "bert"]):
        assert (
            "there are minilm, minilm-int8, multilingual"
            in run(*command, code=1)["error"]["message"]
        )


def test_a_variable_that_overrides_the_file_is_named(
    home: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SCRUBJAY_EMBEDDING__MODEL", "hashing")

    assert "SCRUBJAY_EMBEDDING__MODEL" in run("model", "use", "minilm", code=4)["error"]["message"]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("", '[embedding]\nmodel = "x"\n'),
        ("[llm]\nmodel = 'a:b'\n", "[llm]\nmodel = 'a:b'\n\n[embedding]\nmodel = \"x\"\n"),
        (
            '[embedding] \n# mine\nthreads = 2\nmodel= "y" # old\n[llm]\nmodel = "a:b"',
            '[embedding] \n# mine\nthreads = 2\nmodel = "x"\n[llm]\nmodel = "a:b"\n',
        ),
        (
            '[embedding]\nthreads = 2\n[llm]\nmodel = "a:b"\n',
            '[embedding]\nmodel = "x"\nthreads = 2\n[llm]\nmodel = "a:b"\n',
        ),
    ],
)
def test_a_setting_is_written_and_the_rest_left_as_it_was(
    tmp_path: Path, before: str, after: str
) -> None:
    file = tmp_path / "scrubjay.toml"
    file.write_text(before, encoding="utf-8")

    write_setting(file, "embedding", "model", "x")

    assert file.read_text(encoding="utf-8") == after
    assert [path.name for path in tmp_path.iterdir()] == ["scrubjay.toml"]


@pytest.mark.parametrize("before", ["embedding.model = 'y'\n", "not toml"])
def test_a_file_that_cant_be_changed_is_left_alone(tmp_path: Path, before: str) -> None:
    file = tmp_path / "scrubjay.toml"
    file.write_text(before, encoding="utf-8")

    with pytest.raises(ConfigurationError, match=r"set embedding\.model by hand"):
        write_setting(file, "embedding", "model", "x")
    assert file.read_text(encoding="utf-8") == before
