"""`mcp config`, `mcp bundle`, `mcp calls`, and what the registry and the README say of the server."""

from __future__ import annotations

import base64
import json
import re
import tomllib
import zipfile
from importlib.metadata import version
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from cli.main import main

ROOT = Path(__file__).parents[2]
LOCAL = "http://127.0.0.1:7337/mcp"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SCRUBJAY_HOME", str(tmp_path))
    monkeypatch.setenv("SCRUBJAY_EMBEDDING__MODEL", "hashing")
    return tmp_path


def printed(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[str, str]:
    capsys.readouterr()
    assert main(["mcp", *arguments]) == 0, capsys.readouterr().err
    found = capsys.readouterr()
    return found.out, found.err


def test_each_snippet_reads_as_its_client_reads_it(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said, _ = printed(capsys, "config", "claude-code")
    assert said == f"claude mcp add --transport http scrubjay {LOCAL}\n"
    cursor = json.loads(printed(capsys, "config", "cursor")[0])
    assert cursor == {"mcpServers": {"scrubjay": {"url": LOCAL}}}
    vscode = json.loads(printed(capsys, "config", "vscode")[0])
    assert vscode == {"servers": {"scrubjay": {"type": "http", "url": LOCAL}}}
    codex = tomllib.loads(printed(capsys, "config", "codex")[0])
    assert codex == {"mcp_servers": {"scrubjay": {"url": LOCAL}}}
    general = json.loads(printed(capsys, "config", "json")[0])
    assert general["mcpServers"]["scrubjay"] == {"type": "http", "url": LOCAL}


@pytest.mark.parametrize("client", ["claude-code", "cursor", "vscode", "codex", "json"])
def test_without_the_server_the_snippet_starts_this_data_folder(
    home: Path, capsys: pytest.CaptureFixture[str], client: str
) -> None:
    said, _ = printed(capsys, "config", client, "--stdio")
    assert str(home) in said
    assert "mcp" in said


def test_links_carry_the_same_configuration(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cursor = parse_qs(urlsplit(printed(capsys, "config", "cursor", "--link")[0].strip()).query)
    vscode = parse_qs(urlsplit(printed(capsys, "config", "vscode", "--link")[0].strip()).query)
    assert json.loads(base64.b64decode(cursor["config"][0])) == {"url": LOCAL}
    assert json.loads(vscode["config"][0]) == {"type": "http", "url": LOCAL}


def test_a_server_with_an_address_asks_for_a_token_or_fills_one_in(
    home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SCRUBJAY_SERVER__PUBLIC_URL", "https://kb.example.com")
    said, noted = printed(capsys, "config", "claude-code")
    assert 'https://kb.example.com/mcp --header "Authorization: Bearer <token>"' in said
    assert "scrubjay token create" in noted
    said, noted = printed(capsys, "config", "cursor", "--token", "sj_abc")
    assert json.loads(said)["mcpServers"]["scrubjay"]["headers"] == {
        "Authorization": "Bearer sj_abc"
    }
    assert "token create" not in noted
    assert printed(capsys, "config", "chatgpt")[0] == "https://kb.example.com/mcp/chatgpt\n"
    codex = tomllib.loads(printed(capsys, "config", "codex")[0])
    assert codex["mcp_servers"]["scrubjay"]["bearer_token_env_var"] == "SCRUBJAY_TOKEN"
    monkeypatch.setenv("SCRUBJAY_MCP__OAUTH_ISSUER", "https://id.example.com/")
    assert "Bearer" not in printed(capsys, "config", "claude-code")[0]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("chatgpt",), "set server.public_url"),
        (("codex", "--link"), "Codex has no installation link"),
    ],
)
def test_what_can_not_be_is_told(
    home: Path, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], said: str
) -> None:
    assert main(["mcp", "config", *arguments]) == 1
    assert said in capsys.readouterr().err


def test_a_bundle_starts_this_installation(
    home: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    for name in ("a.mcpb", "b.mcpb"):
        printed(capsys, "bundle", str(tmp_path / name))
    assert (tmp_path / "a.mcpb").read_bytes() == (tmp_path / "b.mcpb").read_bytes()
    with zipfile.ZipFile(tmp_path / "a.mcpb") as bundle:
        manifest = json.loads(bundle.read("manifest.json"))
        assert manifest["server"]["entry_point"] in bundle.namelist()
    started = manifest["server"]["mcp_config"]
    assert started["args"] == ["--home", str(home), "mcp"]
    assert [tool["name"] for tool in manifest["tools"]][:3] == ["search", "fetch", "ask"]


def test_calls_are_shown_and_their_text_only_when_wanted(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, noted = printed(capsys, "calls", "--keep-text")
    assert (out, "stored from now on" in noted) == ("", True)
    assert json.loads(printed(capsys, "calls", "--json")[0]) == {"calls": []}


def test_the_entry_for_the_registry_is_of_this_version_and_named_in_the_readme() -> None:
    entry = json.loads((ROOT / "server.json").read_text(encoding="utf-8"))
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert entry["version"] == entry["packages"][0]["version"] == version("scrubjay")
    assert len(entry["description"]) <= 100
    assert f"mcp-name: {entry['name']}" in readme


def test_the_readmes_buttons_install_the_local_server() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    cursor = re.search(r"\((https://cursor\.com/en/install-mcp\?[^)]+)\)", readme)
    vscode = re.search(r"\((https://insiders\.vscode\.dev/redirect/mcp/install\?[^)]+)\)", readme)
    assert cursor is not None
    assert vscode is not None
    config = parse_qs(urlsplit(cursor[1]).query)["config"][0]
    assert json.loads(base64.b64decode(config)) == {"url": LOCAL}
    assert json.loads(parse_qs(urlsplit(vscode[1]).query)["config"][0])["url"] == LOCAL
