"""`member`: who is in the tenant, and that leaving it ends what was handed out."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from cli.main import main
from engine.config import load_settings
from engine.domain import Scope
from engine.people.subjects import Subject
from engine.runtime import open_engine

ROOT = Path(__file__).parents[2]


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


def test_a_member_is_unlinked_from_the_accounts_they_sign_in_with(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    added = shown(capsys, "member", "add", "ada@example.com")

    async def sign_in() -> None:
        async with open_engine(load_settings(home)) as engine:
            who = Subject("https://login.example.com", "sub-1", "ada@example.com", {Scope.KB_READ})
            await engine.people.principal_of_subject("default", who)

    asyncio.run(sign_in())
    unlinked = shown(capsys, "member", "unlink", "ada@example.com")
    assert unlinked == {"unlinked": added["user_id"], "accounts": 1}
    assert shown(capsys, "member", "unlink", "ada@example.com")["accounts"] == 0


def test_what_the_program_writes_is_for_its_user_alone(home: Path) -> None:
    home.chmod(0o755)
    page = home / "leave.md"
    page.write_text("# Leave\n\nEverybody gets thirty days.\n")
    program = "import sys; from cli.main import main; sys.exit(main())"
    command = [sys.executable, "-c", program, "add", str(page), "--kb", "notes"]
    subprocess.run(command, check=True, capture_output=True, timeout=120, cwd=ROOT)
    made = [file for file in home.rglob("*") if file != page and not file.is_socket()]
    assert any(file.is_relative_to(home / "index") for file in made)
    assert {oct(file.stat().st_mode & 0o077) for file in made} == {"0o0"}


def test_each_change_of_a_member_is_shown(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shown(capsys, "member", "add", "ada@example.com")
    assert shown(capsys, "member", "role", "ada@example.com", "curator")["role"] == "curator"
    assert shown(capsys, "member", "deactivate", "ada@example.com")["active"] is False
    assert main(["member", "list"]) == 0
    assert "deactivated" in capsys.readouterr().out
    assert shown(capsys, "member", "activate", "ada@example.com")["active"] is True
    assert main(["member", "deactivate", "Owner"]) == 1
    assert "at least one owner" in capsys.readouterr().err


def test_links_are_printed_for_the_owner_and_for_a_member(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = shown(capsys, "owner", "create")["url"]
    assert made.startswith("http://127.0.0.1:7337/welcome#sj_link_")
    assert main(["member", "password", "Owner"]) == 1
    assert "no e-mail address" in capsys.readouterr().err
    shown(capsys, "member", "add", "ada@example.com")
    made = shown(capsys, "member", "password", "ada@example.com")["url"]
    assert made.startswith("http://127.0.0.1:7337/set-password#sj_link_")


def test_somebody_is_invited_and_the_link_shown_where_nothing_can_be_mailed(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shown(capsys, "group", "create", "support")
    made = shown(capsys, "member", "invite", "Ada@Example.com", "--group", "support")
    assert made["url"].startswith("http://127.0.0.1:7337/invitation#sj_invite_")
    [listed] = shown(capsys, "member", "invitations")["invitations"]
    assert (listed["email"], listed["role"], listed["groups"]) == (
        "ada@example.com",
        "member",
        ["support"],
    )
    assert made["url"].partition("#")[2] not in json.dumps(listed)
    assert shown(capsys, "member", "uninvite", "ada@example.com") == {"revoked": "ada@example.com"}
    assert shown(capsys, "member", "invitations")["invitations"] == []
    assert main(["member", "uninvite", "ada@example.com"]) == 1
    assert main(["mail", "test", "me@example.com"]) == 1
    assert "mail.host" in capsys.readouterr().err


def test_lost_factors_are_removed_after_a_yes(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shown(capsys, "member", "add", "ada@example.com")
    assert main(["member", "reset-factors", "ada@example.com"]) != 0  # nobody said yes
    found = shown(capsys, "member", "reset-factors", "ada@example.com", "--yes")
    assert found["email"] == "ada@example.com"


def test_an_identity_provider_is_added_listed_and_removed(
    home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OIDC_CLIENT_SECRET", "a-very-secret-text")
    add = ["oidc", "add", "google", "--kind", "google", "--client-id", "client-1"]
    assert main(add) == 1
    assert "server.public_url" in capsys.readouterr().err
    monkeypatch.setenv("SCRUBJAY_SERVER__PUBLIC_URL", "https://kb.example.com")
    shown(capsys, "group", "create", "support")
    rules = ["--domain", "example.com", "--join-as", "guest", "--group", "team=a=support"]
    made = shown(capsys, *add, *rules)
    assert made["redirect_uri"] == "https://kb.example.com/auth/default/google/callback"
    assert (made["jit_role"], made["groups"]) == ("guest", {"team=a": "support"})
    [listed] = shown(capsys, "oidc", "list")["identity_providers"]
    assert listed == made
    assert "a-very-secret-text" not in json.dumps(listed)
    assert main(["oidc", "remove", "google"]) != 0  # nobody said yes
    assert shown(capsys, "oidc", "remove", "google", "--yes") == {"removed": "google"}
    assert main(["oidc", "check", "google"]) == 1
