"""The rim of the command line: help, exit codes, one line an error, settings shown."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from cli import context
from cli import main as rim
from cli.main import main
from engine.errors import (
    AlreadyRunning,
    ConfigurationError,
    InvalidInput,
    NotFound,
    RateLimited,
    Unavailable,
)
from engine.telemetry import keep_secret

SLOW = ("alembic", "mcp", "numpy", "onnxruntime", "pydantic", "pydantic_ai", "rich", "sqlalchemy")
SECRET = "sk-abcdefghijklmnop"


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SCRUBJAY_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def test_help_imports_nothing_slow() -> None:
    code = (
        "import sys; from cli.main import main; code = main(['--help']);"
        f"sys.exit(code or ' '.join(m for m in {SLOW!r} if m in sys.modules) or None)"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code], check=False, capture_output=True, text=True, timeout=240
    )
    assert (ended.returncode, ended.stderr) == (0, "")
    assert "Answers questions" in ended.stdout


@pytest.mark.parametrize("command", ["", "kb", "docs", "token", "tenant", "config", "model"])
def test_every_group_has_help(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*command.split(), "--help"]) == 0
    assert "Commands:" in capsys.readouterr().out


def test_version_names_the_program(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("scrubjay 0.")


@pytest.mark.parametrize(
    "arguments", [["nonsense"], ["search"], ["search", "x", "--mode", "psychic"], ["--nonsense"]]
)
def test_a_wrong_command_line_is_a_usage_error(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == context.USAGE
    shown = capsys.readouterr()
    assert "Usage: scrubjay" in shown.err
    assert shown.out == ""


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (NotFound("no document x"), context.REFUSED, "error: no document x\n"),
        (ConfigurationError("bad"), context.MISCONFIGURED, "error: bad\n"),
        (Unavailable("no database"), context.UNAVAILABLE, "error: no database\n"),
        (AlreadyRunning("held by y"), context.UNAVAILABLE, "error: held by y\n"),
        (RateLimited("later", retry_after_s=3), context.UNAVAILABLE, "error: later\n"),
        (NotFound(f"no {SECRET}"), context.REFUSED, "error: no ****\n"),
    ],
)
def test_an_error_is_one_line_and_a_code(
    error: Exception,
    code: int,
    line: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    fail_with(error, monkeypatch)
    assert main(["config", "path"]) == code
    assert capsys.readouterr().err == line


def test_a_fault_of_ours_shows_no_raw_text_until_debug_asks(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    fail_with(KeyError(f"inner detail {SECRET}"), monkeypatch)
    assert main(["config", "path"]) == context.BUG
    said = capsys.readouterr().err
    assert said.startswith("error: internal error (KeyError)")
    assert "inner detail" not in said
    assert main(["--debug", "config", "path"]) == context.BUG
    said = capsys.readouterr().err
    assert "Traceback" in said
    assert "inner detail" in said
    assert SECRET not in said


@pytest.mark.parametrize(
    ("error", "code", "field"),
    [
        (NotFound("no document x"), "not_found", None),
        (InvalidInput("wrong", field="limit"), "invalid_input", "limit"),
        (NotFound(f"no {SECRET}"), "not_found", None),
        (KeyError(SECRET), "internal", None),
    ],
)
def test_an_error_under_json_is_json_with_its_code_and_correlation_id(
    error: Exception,
    code: str,
    field: str | None,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    keep_secret([SECRET])
    fail_with(error, monkeypatch)
    assert main(["search", "x", "--json"]) != 0
    out, err = capsys.readouterr()
    said = json.loads(out)["error"]
    assert (said["code"], said.get("field")) == (code, field)
    assert err == f"error: {said['message']}\n"
    assert re.fullmatch("[0-9a-f]{32}", said["correlation_id"])
    assert SECRET not in out
    assert "Traceback" not in out + err


def fail_with(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr("engine.config.default_home", fail)


def test_a_bad_setting_stops_the_start_with_its_cure(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SCRUBJAY_SERVER__PORT", "web")
    assert main(["status"]) == context.MISCONFIGURED
    assert capsys.readouterr().err == (
        'error: invalid setting: server.port = "web" (SCRUBJAY_SERVER__PORT): '
        "give a whole number from 0 to 65535\n"
    )


def test_config_show_tells_value_and_origin_and_masks_secrets(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SCRUBJAY_LLM__API_KEY", SECRET)
    assert main(["config", "show", "--json"]) == 0
    settings = json.loads(capsys.readouterr().out)["settings"]
    found = {s["name"]: (s["value"], s["origin"]) for s in settings}
    assert found["llm.api_key"] == ("****", "SCRUBJAY_LLM__API_KEY")
    assert found["server.port"] == (7337, "default")
    assert main(["config", "show"]) == 0
    assert SECRET not in capsys.readouterr().out


def test_options_before_the_command_choose_folder_and_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "my.toml"
    file.write_text("[search]\ntop_k = 3\n", encoding="utf-8")
    before = ["--home", str(tmp_path / "there"), "--config", str(file)]
    assert main([*before, "config", "path", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {
        "home": str(tmp_path / "there"),
        "config": str(file),
        "config_exists": True,
    }
    assert main([*before, "config", "show", "--json"]) == 0
    settings = json.loads(capsys.readouterr().out)["settings"]
    assert {"name": "search.top_k", "value": 3, "origin": f"{file}:2"} in settings


def test_a_reader_that_leaves_early_is_no_error() -> None:
    command = (
        f"{sys.executable} -m cli.main config show --json | head -n 1; echo ${{PIPESTATUS[0]}}"
    )
    ended = subprocess.run(
        ["bash", "-c", command],
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
        cwd=Path.cwd(),
    )
    assert ended.stderr == ""
    assert ended.stdout.splitlines() == ["{", "0"]


def test_the_rim_knows_every_error_code_of_the_engine() -> None:
    from engine import errors

    codes = {
        kind.code
        for kind in vars(errors).values()
        if isinstance(kind, type) and issubclass(kind, errors.EngineError)
    }
    assert set(rim.EXIT_CODES) <= codes


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["kb", "show", "--json"], "NAME"),
        (["search", "--json", "--top-k", "many", "x"], "--"),
        (["kb", "shows", "--json"], "shows"),
    ],
)
def test_a_wrong_command_line_under_json_is_json_too(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    shown = capsys.readouterr()
    error = json.loads(shown.out)["error"]
    assert error["code"] == "usage"
    assert said in error["message"]
    assert re.fullmatch("[0-9a-f]{32}", error["correlation_id"])
    assert "Usage: scrubjay" in shown.err


def test_help_under_json_stays_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["kb", "show", "--json", "--help"]) == 0
    assert capsys.readouterr().out.startswith("Usage: scrubjay kb show")
