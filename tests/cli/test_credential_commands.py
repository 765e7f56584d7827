"""`credential` at the command line: a secret comes from a file or a question, and is never shown."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cli.credentials import given_fields
from cli.main import main
from engine.errors import InvalidInput
from ingestion.connectors.git import GitToken
from ingestion.connectors.s3 import S3Keys

TOKEN = "ghp_a_token_nobody_may_see"


@pytest.fixture(autouse=True)
def _home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SCRUBJAY_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("SCRUBJAY_EMBEDDING__MODEL", "hashing")


def test_a_credential_is_kept_listed_and_deleted_without_being_shown(capsys):
    Path("token").write_text(f"{TOKEN}\n")
    assert main(["credential", "add", "git", "forge", "token=@token", "username=ada"]) == 0
    assert main(["credential", "list", "--json"]) == 0
    out, err = capsys.readouterr()
    [listed] = json.loads(out)["credentials"]
    assert (listed["name"], listed["kind"], listed["method"]) == ("forge", "git", "token")
    assert TOKEN not in out + err
    assert main(["credential", "test", "forge"]) != 0
    assert "name what to read" in capsys.readouterr().err
    assert main(["credential", "remove", "forge", "--yes"]) == 0
    assert main(["credential", "remove", "forge", "--yes"]) != 0


def test_a_secret_is_no_argument_and_is_asked_for_without_an_echo(monkeypatch):
    asked: list[tuple[str, bool]] = []

    def prompt(name: str, *, hide_input: bool, err: bool) -> str:
        asked.append((name, hide_input))
        return "typed"

    monkeypatch.setattr("typer.prompt", prompt)
    keys = S3Keys.model_json_schema()
    assert given_fields(keys, []) == {"access_key_id": "typed", "secret_access_key": "typed"}
    assert asked == [("access_key_id", False), ("secret_access_key", True)]
    with pytest.raises(InvalidInput, match="path of a file") as caught:
        given_fields(GitToken.model_json_schema(), [f"token={TOKEN}"])
    assert TOKEN not in str(caught.value)
    with pytest.raises(InvalidInput, match="username"):
        given_fields(GitToken.model_json_schema(), ["user=ada"])
    with pytest.raises(InvalidInput, match="can't be read"):
        given_fields(GitToken.model_json_schema(), ["token=@nowhere"])
