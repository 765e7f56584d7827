from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from cli.main import main
from engine.chats.installation_rows import NewInstallation
from engine.runtime import open_engine
from tests.fakes.homes import home_settings


@pytest.fixture
def connected(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data folder with one connected workspace."""
    monkeypatch.setenv("SCRUBJAY_EMBEDDING__MODEL", "hashing")
    monkeypatch.setenv("SCRUBJAY_HOME", str(tmp_path))

    async def connect() -> None:
        async with open_engine(home_settings(tmp_path)) as engine:
            owner = await engine.people.owner()
            new = NewInstallation("slack", "T1", "xoxb-very-secret", name="Acme")
            await engine.chats.installations.install(owner.tenant_id, new)

    asyncio.run(connect())
    return tmp_path


def test_a_command_of_the_chat_is_said_at_the_command_line(connected, capsys):
    assert main(["admin", "create", "handbook", "How we work"]) == 0
    assert "Created **handbook**" in capsys.readouterr().out
    assert main(["admin", "mode", "auto", "workspace"]) == 0
    assert main(["admin", "export-settings"]) == 0
    assert "mode auto workspace" in capsys.readouterr().out
    assert main(["admin", "delete", "handbook", "--yes"]) == 0
    assert main(["admin", "audit", "--json"]) == 0
    assert "kb.delete" in capsys.readouterr().out


def test_what_is_wrong_is_told_with_how_it_goes(connected, capsys):
    assert main(["admin", "mode", "loud"]) == 1
    assert "It goes: `mode" in capsys.readouterr().err
    assert main(["admin", "mode", "auto"]) == 1
    assert "Which channel?" in capsys.readouterr().err
    assert main(["admin", "list", "--workspace", "Nowhere"]) == 1
    assert "Which workspace?" in capsys.readouterr().err
    assert main(["admin", "privacy"]) == 1


def test_installations_are_listed_without_their_tokens(connected, capsys):
    assert main(["bot", "list"]) == 0
    assert main(["bot", "list", "--json"]) == 0
    out = capsys.readouterr().out
    assert "Acme" in out
    assert "xoxb" not in out


def test_the_manifest_is_printed(connected, capsys):
    assert main(["bot", "manifest"]) == 0
    assert '"agent_view"' in capsys.readouterr().out


def test_a_bot_that_is_not_set_up_says_what_to_set(connected, capsys):
    assert main(["bot", "slack"]) == 4
    assert "slack.app_token" in capsys.readouterr().err
    assert main(["bot", "install-link"]) == 4


def test_the_bot_is_talked_to_in_the_terminal(connected, capsys, monkeypatch):
    from io import StringIO

    lines = "hello\n/kb create wiki\nwhat is the meaning of this?\n/kb searc\n"
    monkeypatch.setattr("sys.stdin", StringIO(lines))
    assert main(["chat", "--as", "dm"]) == 0
    out = capsys.readouterr().out
    assert "bot: Hello! Ask me anything" in out
    assert "Created **wiki**" in out
    assert "has no documents yet" in out
    assert "There is no command “searc”. The nearest: `search <query>`" in out
