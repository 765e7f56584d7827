"""`member`: who is in the tenant, and that leaving it ends what was handed out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from cli.main import main


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SCRUBJAY_HOME", str(tmp_path))
    monkeypatch.setenv("SCRUBJAY_EMBEDDING__MODEL", "hashing")
    return tmp_path


def shown(capsys: pytest.CaptureFixture[str], *arguments: str) -> Any:
    capsys.readouterr()
    assert main([*arguments, "--json"]) == 0, capsys.readouterr().err
    return json.loads(capsys.readouterr().out)


def test_a_member_who_leaves_loses_their_tokens(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    added = shown(capsys, "member", "add", "Ada@Example.com", "--role", "curator")
    assert (added["email"], added["role"]) == ("ada@example.com", "curator")
    names = [m["name"] for m in shown(capsys, "member", "list")["members"]]
    assert names == ["Owner", "ada"]
    shown(capsys, "token", "create", "laptop", "--as", "ada@example.com")
    shown(capsys, "member", "remove", "ada@example.com")
    [token] = shown(capsys, "token", "list")["tokens"]
    assert token["revoked_at"]
    assert [m["name"] for m in shown(capsys, "member", "list")["members"]] == ["Owner"]


def test_an_unknown_role_is_told_with_those_there_are(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["member", "add", "a@example.com", "--role", "boss"]) == 1
    assert "owner, admin, curator, member, guest" in capsys.readouterr().err
