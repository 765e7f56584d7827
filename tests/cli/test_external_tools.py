"""`mcp tools`, `allow`, `deny` and `ask --tools`, with another server that is started for real."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from cli.main import main

ROOT = Path(__file__).parents[2]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SCRUBJAY_HOME", str(tmp_path))
    monkeypatch.setenv("SCRUBJAY_EMBEDDING__MODEL", "hashing")
    (tmp_path / "mcp-servers.toml").write_text(
        f"[servers.tracker]\ncommand = {json.dumps(sys.executable)}\n"
        f'args = ["-m", "tests.fakes.mcp_stranger"]\nenv = {{PYTHONPATH = {json.dumps(str(ROOT))}}}\n',
        encoding="utf-8",
    )
    return tmp_path


def shown(capsys: pytest.CaptureFixture[str], *arguments: str) -> Any:
    capsys.readouterr()
    assert main([*arguments, "--json"]) == 0, capsys.readouterr().err
    return json.loads(capsys.readouterr().out)


def test_tools_are_listed_and_allowed_by_pattern(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = shown(capsys, "mcp", "tools")
    assert (before["allowed"], before["silent"]) == ([], [])
    assert next(tool["tool"] for tool in before["tools"]) == "tracker/ticket_status"
    assert shown(capsys, "mcp", "allow", "tracker/ticket_*") == {"allowed": ["tracker/ticket_*"]}
    after = shown(capsys, "mcp", "tools")["tools"]
    assert [tool["tool"] for tool in after if tool["allowed"]] == ["tracker/ticket_status"]
    assert shown(capsys, "mcp", "deny", "tracker/ticket_*") == {"allowed": []}


def test_tools_need_somebody_to_approve_them_and_a_model(
    home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO(""))
    assert main(["ask", "--tools", "x"]) == 1
    assert "asks before each call, but this is not a terminal" in capsys.readouterr().err

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setattr(sys, "stdin", Terminal("y\n"))
    assert main(["ask", "--tools", "x"]) == 1
    assert "needs a language model" in capsys.readouterr().err


def test_a_broken_file_is_told_with_its_name(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (home / "mcp-servers.toml").write_text("[servers.x]\n", encoding="utf-8")
    assert main(["mcp", "tools"]) == 4
    assert "mcp-servers.toml" in capsys.readouterr().err
