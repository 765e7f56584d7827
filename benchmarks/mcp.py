"""What a call costs above the bare SDK: `python -m benchmarks.mcp [--seconds 4] [--soak-minutes 0]`.

Two servers, one process each, on the same HTTP stack (uvicorn, h11, event-stream answers): `bare` is
the SDK with one tool that echoes; `door` is our whole host with an API token, rates and audit on,
and an engine whose one verb returns nothing. A closed loop of 1, 8 and 32 keep-alive clients calls
each at both protocol revisions. CPU is the server's, per call: it hardly moves with what else the
machine does. `--soak-minutes` then calls `door` with 32 clients for so long and watches its memory.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import resource
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.results import write_results

CLIENTS = (1, 8, 32)
ERAS = ("2025-11-25", "2026-07-28")
WARM_S = 1.0
META = {
    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
    "io.modelcontextprotocol/clientInfo": {"name": "bench", "version": "0"},
    "io.modelcontextprotocol/clientCapabilities": {},
}
CALLS = {"bare": ("echo", {"text": "hi"}), "door": ("list_knowledge_bases", {})}


# The servers


def serve_bare(port: int) -> None:
    """The SDK's server with one tool, as its own documentation has it."""
    import uvicorn
    from mcp.server import MCPServer

    server: MCPServer[Any] = MCPServer("bare", version="0", log_level="ERROR")

    @server.tool(structured_output=False)
    async def echo(text: str) -> str:
        """Echo."""
        return text

    app = server.streamable_http_app(stateless_http=True, json_response=False)
    uvicorn.run(
        app,
        host="127.0.0.1",
        port=port,
        http="h11",
        loop="asyncio",
        log_level="error",
        access_log=False,
    )


async def serve_door(home: str, port: int) -> None:
    """The whole host as `scrubjay serve` runs it; only the verb behind the tool does nothing."""
    import signal

    from cli import serve
    from engine.config import load_settings
    from engine.documents.knowledge_bases import KbInfo
    from engine.domain import Principal, Scope
    from engine.runtime import open_engine
    from engine.telemetry import configure_logging
    from tests.fakes.mcp_host import GENEROUS

    nowhere = await asyncio.to_thread(Path(os.devnull).open, "w", encoding="utf-8")
    configure_logging(level="info", stream=nowhere)
    overrides = {"embedding.model": "hashing", "server.port": port} | GENEROUS
    settings = load_settings(Path(home), None, overrides | {"mcp.calls_burst": 100_000})
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    ready: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    async with open_engine(settings) as engine:

        async def nothing(_: Principal) -> list[KbInfo]:
            return []

        setattr(engine, "list_kbs", nothing)  # noqa: B010 (in this process only)
        secret, _ = await engine.people.create_token(
            await engine.people.owner(), "bench", scopes=[Scope.KB_READ]
        )
        ready.add_done_callback(lambda _: print(secret, flush=True))
        await serve.serve(engine, settings, ready=ready, stop=stop)


class Server:
    """One of them, as a process."""

    def __init__(self, name: str, home: str) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.name = name
        command = [sys.executable, "-m", "benchmarks.mcp", "--serve", name, home, str(self.port)]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        self.token = ""
        if name == "door":
            assert self.process.stdout is not None
            self.token = self.process.stdout.readline().strip()

    async def wait(self) -> None:
        """Until it listens."""
        for _ in range(300):
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", self.port)
            except OSError:
                await asyncio.sleep(0.1)
            else:
                writer.close()
                return
        raise RuntimeError(f"{self.name} did not start")

    def cpu_s(self) -> float:
        stat = Path(f"/proc/{self.process.pid}/stat").read_text(encoding="utf-8")
        parts = stat.rsplit(")", 1)[1].split()
        return (int(parts[11]) + int(parts[12])) / os.sysconf("SC_CLK_TCK")

    def rss_mb(self) -> float:
        pages = int(Path(f"/proc/{self.process.pid}/statm").read_text(encoding="utf-8").split()[1])
        return pages * resource.getpagesize() / 2**20

    def stop(self) -> None:
        self.process.terminate()
        self.process.communicate()


# The clients


def head_of(server: Server, era: str) -> bytes:
    name = CALLS[server.name][0]
    lines = [
        "POST /mcp HTTP/1.1",
        f"Host: 127.0.0.1:{server.port}",
        "content-type: application/json",
        "accept: application/json, text/event-stream",
        f"mcp-protocol-version: {era}",
    ]
    if era == ERAS[1]:
        lines += ["mcp-method: tools/call", f"mcp-name: {name}"]
    if server.token:
        lines.append(f"authorization: Bearer {server.token}")
    return "\r\n".join(lines).encode() + b"\r\n"


async def client(server: Server, era: str, until: float, took_s: list[float]) -> None:
    """Call again and again until the time is over; fails on any answer that is not a result."""
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port, limit=1 << 20)
    head = head_of(server, era)
    name, arguments = CALLS[server.name]
    params: dict[str, Any] = {"name": name, "arguments": arguments}
    if era == ERAS[1]:
        params["_meta"] = META
    number = 0
    while time.perf_counter() < until:
        number += 1
        body = json.dumps(
            {"jsonrpc": "2.0", "id": number, "method": "tools/call", "params": params}
        ).encode()
        started = time.perf_counter()
        writer.write(head + b"content-length: %d\r\n\r\n" % len(body) + body)
        answer = await read_answer(reader)
        took_s.append(time.perf_counter() - started)
        if b'"content"' not in answer or b'"isError":true' in answer:
            raise RuntimeError(answer[:300])
    writer.close()


async def read_answer(reader: asyncio.StreamReader) -> bytes:
    """Head and body of one answer, in whatever framing it has."""
    head = await reader.readuntil(b"\r\n\r\n")
    if not head.startswith(b"HTTP/1.1 200"):
        raise RuntimeError(head[:300])
    for line in head.lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            return await reader.readexactly(int(line.split(b":")[1]))
    data = b""
    while size := int(await reader.readuntil(b"\r\n"), 16):
        data += (await reader.readexactly(size + 2))[:-2]
    await reader.readexactly(2)
    return data


async def measure(server: Server, era: str, clients: int, seconds: float) -> dict[str, float]:
    """One cell of the table."""
    warm: list[float] = []
    until = time.perf_counter() + WARM_S
    await asyncio.gather(*(client(server, era, until, warm) for _ in range(clients)))
    took_s: list[float] = []
    cpu, started = server.cpu_s(), time.perf_counter()
    until = started + seconds
    await asyncio.gather(*(client(server, era, until, took_s) for _ in range(clients)))
    wall_s, cpu_s = time.perf_counter() - started, server.cpu_s() - cpu
    took_s.sort()
    return {
        "calls": len(took_s),
        "calls_per_s": round(len(took_s) / wall_s, 1),
        "p50_ms": round(took_s[len(took_s) // 2] * 1000, 2),
        "p95_ms": round(took_s[int(len(took_s) * 0.95)] * 1000, 2),
        "cpu_ms_per_call": round(cpu_s * 1000 / len(took_s), 3),
        "rss_mb": round(server.rss_mb(), 1),
    }


async def compare(seconds: float, rounds: int) -> dict[str, Any]:
    """Both servers side by side, cell by cell; of several rounds the one with the least CPU."""
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as home:
        servers = [Server("bare", home), Server("door", home)]
        try:
            for server in servers:
                await server.wait()
            for era in ERAS:
                for clients in CLIENTS:
                    cell: dict[str, Any] = {}
                    for server in servers:
                        runs = [await measure(server, era, clients, seconds) for _ in range(rounds)]
                        cell[server.name] = min(runs, key=lambda run: run["cpu_ms_per_call"])
                    above = cell["door"]["cpu_ms_per_call"] - cell["bare"]["cpu_ms_per_call"]
                    cell["cpu_ms_above_bare"] = round(above, 3)
                    found.setdefault(era, {})[str(clients)] = cell
                    sys.stderr.write(f"{era}, {clients} clients: {json.dumps(cell)}\n")
        finally:
            for server in servers:
                server.stop()
    cells = [cell for era in found.values() for cell in era.values()]
    found["cpu_ms_above_bare_max"] = max(cell["cpu_ms_above_bare"] for cell in cells)
    return found


async def soak(minutes: float) -> dict[str, Any]:
    """Memory of `door` while 32 clients call it at both revisions."""
    with tempfile.TemporaryDirectory() as home:
        server = Server("door", home)
        try:
            await server.wait()
            warm: list[float] = []
            until = time.perf_counter() + min(30.0, minutes * 6)
            await asyncio.gather(*(client(server, ERAS[n % 2], until, warm) for n in range(32)))
            sizes = [server.rss_mb()]
            calls: list[float] = []
            until = time.perf_counter() + minutes * 60

            async def watch() -> None:
                while time.perf_counter() < until:
                    await asyncio.sleep(min(10.0, minutes * 6))
                    sizes.append(server.rss_mb())
                    calls.clear()

            total = 0

            async def one(n: int) -> None:
                nonlocal total
                mine: list[float] = []
                await client(server, ERAS[n % 2], until, mine)
                total += len(mine)

            await asyncio.gather(watch(), *(one(n) for n in range(32)))
        finally:
            server.stop()
    growth = (max(sizes[-3:]) - sizes[0]) / sizes[0] * 100
    return {
        "minutes": minutes,
        "clients": 32,
        "calls": total,
        "rss_mb": [round(size, 1) for size in sizes],
        "growth_percent": round(growth, 2),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=4)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--soak-minutes", type=float, default=0)
    parser.add_argument("--serve", nargs=3, metavar=("NAME", "HOME", "PORT"))
    chosen = parser.parse_args()
    if chosen.serve:
        name, home, port = chosen.serve
        serve_bare(int(port)) if name == "bare" else asyncio.run(serve_door(home, int(port)))
        return
    results: dict[str, object] = {}
    load = os.getloadavg()[0]
    if chosen.seconds:
        results["calls"] = asyncio.run(compare(chosen.seconds, chosen.rounds))
        results["load"] = round(load, 1)
    if chosen.soak_minutes:
        results["soak"] = asyncio.run(soak(chosen.soak_minutes))
    sys.stderr.write(f"{write_results('mcp', results)}\n")


if __name__ == "__main__":
    main()
