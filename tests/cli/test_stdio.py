"""`scrubjay mcp` as a process: nothing but JSON-RPC on its wire, and a quick start."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.homes import fill, home_settings

pytestmark = pytest.mark.slow

# Everything that may write to standard output by mistake: import time, print, a raw write, a child.
NOISY = """
import os, subprocess, sys
import engine.runtime as runtime
opened = runtime.open_engine
def noisy(settings):
    print("printed")
    os.write(1, b"raw\\n")
    subprocess.run([sys.executable, "-c", "print('child')"])
    return opened(settings)
"""
START = f"""
import sys
from cli import stdio
taken = stdio.take_stdout
def take():
    wire = taken()
    exec({NOISY!r}, globals())
    runtime.open_engine = noisy
    return wire
stdio.take_stdout = take
from cli.main import main
sys.exit(main(["--home", sys.argv[1], "mcp"]))
"""
HELLO = {
    "protocolVersion": "2025-11-25",
    "capabilities": {},
    "clientInfo": {"name": "test", "version": "1"},
}


class Assistant:
    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self.process = process
        self.lines: list[bytes] = []

    def send(self, method: str, id_: int | None = None, **params: object) -> None:
        message: dict[str, object] = {"jsonrpc": "2.0", "method": method, "params": params}
        if id_ is not None:
            message["id"] = id_
        assert self.process.stdin
        self.process.stdin.write(json.dumps(message).encode() + b"\n")
        self.process.stdin.flush()

    def call(self, id_: int, method: str, **params: object) -> dict[str, Any]:
        self.send(method, id_, **params)
        while True:
            assert self.process.stdout
            line = self.process.stdout.readline()
            assert line, "the process ended"
            self.lines.append(line)
            message = json.loads(line)
            if message.get("id") == id_:
                return message["result"]


@pytest.fixture(scope="module")
def stdio_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("stdio-home")
    asyncio.run(fill(home_settings(home)))
    return home


@pytest.fixture
def start(stdio_home: Path) -> Iterator[Any]:
    processes: list[subprocess.Popen[bytes]] = []

    def start(code: str) -> Assistant:
        process = subprocess.Popen(
            [sys.executable, "-c", code, str(stdio_home)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=os.environ | {"SCRUBJAY_EMBEDDING__MODEL": "hashing"},
        )
        processes.append(process)
        return Assistant(process)

    yield start
    for process in processes:
        process.kill()
        process.communicate()


def test_only_json_rpc_is_ever_written_to_standard_output(start: Any) -> None:
    assistant = start(START)
    assistant.call(1, "initialize", **HELLO)
    assistant.send("notifications/initialized")
    tools = assistant.call(2, "tools/list")["tools"]
    found = assistant.call(3, "tools/call", name="search", arguments={"query": "lodging rate"})
    rest, errors = assistant.process.communicate(timeout=60)
    for line in [*assistant.lines, *rest.splitlines()]:
        assert json.loads(line)["jsonrpc"] == "2.0"
    assert [word for word in (b"printed", b"raw", b"child") if word not in errors] == []
    assert len(tools) == 7
    assert found["structuredContent"]["results"][0]["title"] == "Hotels"
    assert found["structuredContent"]["results"][0]["url"].startswith("http://127.0.0.1:7337/d/")
    assert assistant.process.returncode == 0


def test_initialize_does_not_wait_for_the_engine(start: Any) -> None:
    slow = START.replace("runtime.open_engine = noisy", "runtime.open_engine = None").replace(
        "from cli.main import main",
        "import time; stdio._load_engine = lambda: time.sleep(600)\nfrom cli.main import main",
    )
    started = time.monotonic()
    assistant = start(slow)
    assistant.call(1, "initialize", **HELLO)
    assert time.monotonic() - started < 300  # the engine would take twice that


def test_an_engine_that_does_not_open_is_told_to_who_calls(start: Any) -> None:
    broken = START.replace(
        "runtime.open_engine = noisy",
        "from engine.errors import Unavailable\n"
        "    def refuse(settings): raise Unavailable('The disk is full: free some space.')\n"
        "    runtime.open_engine = refuse",
    )
    assistant = start(broken)
    assistant.call(1, "initialize", **HELLO)
    assistant.send("notifications/initialized")
    said = assistant.call(2, "tools/call", name="list_knowledge_bases", arguments={})
    assert said["isError"] is True
    assert said["content"][0]["text"].startswith("The disk is full: free some space.")
