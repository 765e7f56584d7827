"""How assistants are connected: what to paste where, for this installation."""

from __future__ import annotations

import base64
import json
import shlex
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

TOKEN = "<token>"  # noqa: S105 (a blank to fill in)


@dataclass(frozen=True, slots=True)
class Way:
    """One way to connect: `text` goes where `place` says."""

    place: str
    text: str


@dataclass(frozen=True, slots=True)
class ClientGuide:
    """An assistant and the ways to connect it; `link`, if any, installs it.

    `key` is its name on the command line. The first way is over HTTP, the second without a server.
    """

    key: str
    name: str
    ways: tuple[Way, ...]
    link: str = ""


def assistants(base_url: str, home: Path, *, is_keyless: bool) -> list[ClientGuide]:
    """What to paste for each assistant; without keyless access the HTTP ways name a token."""
    url = f"{base_url}/mcp"
    command = launcher(home)
    headers = {} if is_keyless else {"Authorization": f"Bearer {TOKEN}"}
    http = {"url": url} | ({"headers": headers} if headers else {})
    typed = {"type": "http"} | http
    option = "" if is_keyless else f' --header "Authorization: Bearer {TOKEN}"'
    encoded = base64.b64encode(json.dumps(http).encode()).decode()
    return [
        ClientGuide(
            "claude-code",
            "Claude Code",
            (
                Way(
                    "In a terminal, over HTTP",
                    f"claude mcp add --transport http scrubjay {url}{option}",
                ),
                Way(
                    "In a terminal, on this machine without the server",
                    f"claude mcp add scrubjay -- {shlex.join(command)}",
                ),
            ),
        ),
        ClientGuide(
            "cursor",
            "Cursor",
            (
                Way("In ~/.cursor/mcp.json", _json({"mcpServers": {"scrubjay": http}})),
                Way(
                    "On this machine, without the server",
                    _json({"mcpServers": {"scrubjay": _stdio(command)}}),
                ),
            ),
            f"https://cursor.com/en/install-mcp?name=scrubjay&config={quote(encoded)}",
        ),
        ClientGuide(
            "vscode",
            "VS Code",
            (
                Way("In .vscode/mcp.json", _json({"servers": {"scrubjay": typed}})),
                Way(
                    "On this machine, without the server",
                    _json({"servers": {"scrubjay": {"type": "stdio"} | _stdio(command)}}),
                ),
            ),
            "https://insiders.vscode.dev/redirect/mcp/install?name=scrubjay&config="
            + quote(json.dumps(typed)),
        ),
        ClientGuide(
            "codex",
            "Codex",
            (
                Way("In ~/.codex/config.toml", _codex(url, is_keyless=is_keyless)),
                Way(
                    "On this machine, without the server",
                    "[mcp_servers.scrubjay]\n"
                    f"command = {json.dumps(command[0])}\nargs = {json.dumps(command[1:])}",
                ),
            ),
        ),
        *_chatgpt(base_url),
    ]


def general(base_url: str, home: Path, *, is_keyless: bool) -> ClientGuide:
    """For any other client: the form most of them read."""
    headers = {} if is_keyless else {"headers": {"Authorization": f"Bearer {TOKEN}"}}
    http = {"type": "http", "url": f"{base_url}/mcp"} | headers
    stdio = {"type": "stdio"} | _stdio(launcher(home))
    return ClientGuide(
        "json",
        "Any other",
        (
            Way("In its MCP settings", _json({"mcpServers": {"scrubjay": http}})),
            Way(
                "On this machine, without the server",
                _json({"mcpServers": {"scrubjay": stdio}}),
            ),
        ),
    )


def _codex(url: str, *, is_keyless: bool) -> str:
    lines = ["[mcp_servers.scrubjay]", f"url = {json.dumps(url)}"]
    if not is_keyless:
        lines.append('bearer_token_env_var = "SCRUBJAY_TOKEN"')
    return "\n".join(lines)


def _chatgpt(base_url: str) -> list[ClientGuide]:
    """ChatGPT connects from the internet, so it needs a public https address."""
    if not base_url.startswith("https://"):
        return []
    place = "In Settings, Connectors, Create: as the MCP server's URL"
    return [ClientGuide("chatgpt", "ChatGPT", (Way(place, f"{base_url}/mcp/chatgpt"),))]


def launcher(home: Path) -> list[str]:
    """The command that serves one assistant from this data folder, wherever it is started."""
    started = Path(sys.argv[0])
    if started.name == "scrubjay" and started.is_file():
        program = str(started.absolute())
    else:
        program = shutil.which("scrubjay") or "scrubjay"
    return [program, "--home", str(home.absolute()), "mcp"]


def _stdio(command: list[str]) -> dict[str, object]:
    return {"command": command[0], "args": command[1:]}


def _json(value: object) -> str:
    return json.dumps(value, indent=2)
