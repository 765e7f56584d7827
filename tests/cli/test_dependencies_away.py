"""Commands while what the settings name is away: accepted work goes on, and each is named."""

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


def test_doctor_names_each_server_of_the_settings_that_does_not_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    nobody = "http://127.0.0.1:1"
    for name, value in {
        "HOME": str(tmp_path / "home"),
        "LLM__MODEL": "openai:gpt",
        "LLM__BASE_URL": f"{nobody}/v1",
        "EMBEDDING__MODEL": "some-model",
        "EMBEDDING__BASE_URL": f"{nobody}/v1",
        "EMBEDDING__DIMENSION": "384",
        "SEARCH__RERANK_BASE_URL": nobody,
        "SEARCH__RERANK_MODEL": "some-reranker",
        "SLACK__API_BASE_URL": f"{nobody}/api",
        "SLACK__BOT_TOKEN": "xoxb-hunter2",
        "SLACK__SIGNING_SECRET": "hunter2",
        "MCP__OAUTH_ISSUER": nobody,
        "SERVER__PUBLIC_URL": "http://127.0.0.1:7337",
    }.items():
        monkeypatch.setenv(f"SCRUBJAY_{name}", value)
    assert main(["doctor", "--json"]) == 3
    told = capsys.readouterr().out
    failed = {check["name"]: check["todo"] for check in json.loads(told)["checks"]}
    failed = {name: todo for name, todo in failed.items() if todo}
    assert list(failed) == ["slack", "language model", "embeddings", "reranker", "sign-in"]
    assert "llm.base_url" in failed["language model"]
    assert "hunter2" not in told
