"""Real clients of both languages and both majors, over HTTP and stdio, each doing everything once.

Over HTTP the server is killed between two calls of a live client and started again: none may notice.
"""

from __future__ import annotations

import asyncio
import json
import os
import sqlite3
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.fakes import openai_server
from tests.fakes.mcp_host import GENEROUS
from tests.fakes.node import mcp1_python, node_environment, node_folder
from tests.fakes.openai_server import OpenAIServer
from tests.mcp_server.hosts import Host, running

pytestmark = [pytest.mark.node, pytest.mark.slow]

CLIENTS = Path(__file__).parents[1] / "fakes" / "mcp_clients"
ROOT = Path(__file__).parents[2]
KINDS = (
    "typescript 1",
    "typescript 2",
    "typescript 2-auto",
    "python 1",
    "python 2",
    "python 2-auto",
)


def command_of(kind: str, plan: dict[str, object]) -> list[str]:
    language, _, version = kind.partition(" ")
    if language == "typescript":
        return ["node", str(CLIENTS / "client.mjs"), str(node_folder()), version, json.dumps(plan)]
    python = mcp1_python() if version == "1" else sys.executable
    mode = {"1": "1", "2": "legacy", "2-auto": "auto"}[version]
    return [python, str(CLIENTS / "client.py"), mode, json.dumps(plan)]


@pytest.fixture
async def model() -> AsyncIterator[OpenAIServer]:
    """A model that answers at once, or never where it is asked to be slow."""

    def answer(body: dict[str, Any]) -> openai_server.Reply:
        if "slowly" in json.dumps(body):
            return openai_server.Hang()
        return openai_server.Text("You can request up to 240 hours of advanced sick leave [1].")

    async with openai_server.open_server() as server:
        server.answer = answer
        yield server


def environment(model: OpenAIServer) -> dict[str, str]:
    named = {name.replace(".", "__").upper(): str(value) for name, value in GENEROUS.items()}
    named |= {
        "EMBEDDING__MODEL": "hashing",
        "LLM__MODEL": "openai:scripted",
        "LLM__BASE_URL": model.base_url,
        "LLM__API_KEY": openai_server.KEY,
    }
    return {f"SCRUBJAY_{name}": value for name, value in named.items()}


class Running:
    """A client process, line by line."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process

    async def line(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        async with asyncio.timeout(90):
            line = await self.process.stdout.readline()
        if not line:
            assert self.process.stderr is not None
            pytest.fail((await self.process.stderr.read()).decode()[-3000:])
        return json.loads(line)

    async def go_on(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(b"\n")
        await self.process.stdin.drain()


async def start(kind: str, plan: dict[str, object]) -> Running:
    environ = node_environment() if kind.startswith("typescript") else dict(os.environ)
    return Running(
        await asyncio.create_subprocess_exec(
            *command_of(kind, plan),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=environ,
        )
    )


def check(done: dict[str, Any]) -> None:
    assert done["tools"][:4] == ["search", "fetch", "ask", "list_knowledge_bases"]
    assert (done["found"], done["title"]) == ("Hotels", "Hotels")
    assert done["grounded"] is True
    assert done["error"] == [
        True,
        "Unknown argument top_k. Use limit instead. search takes: cursor, filter, knowledge_base, limit, query.",
    ]


async def cancelled_calls(home: Path) -> int:
    """How many calls the audit holds as given up."""
    with sqlite3.connect(home / "scrubjay.db") as connection:
        query = "SELECT count(*) FROM tool_call WHERE tool = 'ask' AND code = 'cancelled'"
        return int(connection.execute(query).fetchone()[0])


async def wait_for_cancelled(home: Path, wanted: int) -> None:
    async with asyncio.timeout(60):
        while await cancelled_calls(home) < wanted:  # noqa: ASYNC110 (another process writes)
            await asyncio.sleep(0.05)


async def all_started(plan: dict[str, object]) -> dict[str, Running]:
    """Every kind of client, at once: each process takes seconds to load what it needs."""
    return {kind: await start(kind, plan) for kind in KINDS}


async def next_lines(clients: dict[str, Running]) -> dict[str, dict[str, Any]]:
    said = await asyncio.gather(*(client.line() for client in clients.values()))
    return dict(zip(clients, said, strict=True))


async def finished(clients: dict[str, Running]) -> None:
    """Each gave its slow call up after it had heard of its progress, and ended well."""
    last = await next_lines(clients)
    assert {kind: line["cancelled"] for kind, line in last.items()} == dict.fromkeys(KINDS, True)
    assert min(line["progress"] for line in last.values()) >= 2
    for kind, client in clients.items():
        _, errors = await client.process.communicate()
        assert client.process.returncode == 0, (kind, errors.decode()[-3000:])


async def test_clients_do_everything_over_http_and_survive_a_kill(
    mcp_home: Path, model: OpenAIServer
) -> None:
    commands = [command_of(kind, {}) for kind in KINDS]  # skips before anything is started
    before = await cancelled_calls(mcp_home)
    host = Host(mcp_home, environment=environment(model))
    with running(host):
        clients = await all_started({"url": host.url})
        for done in (await next_lines(clients)).values():
            check(done)
        host.kill()
        host.start()
        for client in clients.values():
            await client.go_on()
        again = await next_lines(clients)
        assert again == {key: {"found": "Hotels", "errors": []} for key in KINDS}
        await finished(clients)
        # A client that has left has given up as well: all six are cancelled in the end.
        await wait_for_cancelled(mcp_home, before + len(commands))


async def test_clients_do_everything_over_stdio(mcp_home: Path, model: OpenAIServer) -> None:
    plan = {
        "command": sys.executable,
        "args": ["-c", "from cli.main import main; main()", "--home", str(mcp_home), "mcp"],
        "env": environment(model) | {"PYTHONPATH": str(ROOT)},
    }
    clients = await all_started(plan)
    for done in (await next_lines(clients)).values():
        check(done)
    for client in clients.values():
        await client.go_on()
    again = await next_lines(clients)
    assert again == {key: {"found": "Hotels", "errors": []} for key in KINDS}
    await finished(clients)
