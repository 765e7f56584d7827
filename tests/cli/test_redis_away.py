"""Commands while Redis is away: what they accept is work like any other, and they say what fails."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cli.main import main

AWAY = "redis://:hunter2@127.0.0.1:1/0"  # no one listens there


@pytest.fixture
def away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SCRUBJAY_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("SCRUBJAY_EMBEDDING__MODEL", "hashing")
    monkeypatch.setenv("SCRUBJAY_JOBS__BROKER", AWAY)
    return tmp_path


def test_files_are_added_and_ready_without_redis(
    away: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for n in range(12):  # more than are worked on at a time
        (away / f"n{n}.md").write_text(f"The zetagood pump number {n} is checked in May.\n")
    assert main(["add", str(away / "*.md"), "--json"]) == 0
    documents = json.loads(capsys.readouterr().out)["documents"]
    assert {document["state"] for document in documents} == {"ready"}
    assert len(documents) == 12
    assert main(["search", "zetagood"]) == 0
    assert "pump" in capsys.readouterr().out


def test_files_are_accepted_without_redis_and_without_waiting(
    away: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (away / "n.md").write_text("The zetagood pump is checked in May.\n")
    assert main(["add", str(away / "n.md"), "--no-wait", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["documents"][0]["state"] == "pending"
    assert main(["worker", "--until-idle"]) == 0
    capsys.readouterr()
    assert main(["docs", "list", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["documents"][0]["state"] == "ready"


def test_doctor_names_redis_alone_and_keeps_its_password(
    away: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["doctor", "--json"]) == 3
    told = capsys.readouterr().out
    failed = [check["name"] for check in json.loads(told)["checks"] if not check["ok"]]
    assert failed == ["redis"]
    assert "hunter2" not in told
