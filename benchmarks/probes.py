"""How `/health` answers beside 50 clients that ask: `python -m benchmarks.probes`.

A server as `scrubjay serve` runs it, over the sample handbook (hashing embedder, quoted answers), and
clients in this process. `/health` is asked one after the other, first alone, then beside clients that
each ask again as soon as they have an answer. What counts is the ratio: both halves are from one run.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import httpx2

from benchmarks.results import write_results
from cli import sample
from engine.config import load_settings
from engine.domain import Scope
from engine.runtime import open_engine
from ingestion.host import run_worker

QUESTIONS = (
    "How many hours may I carry over in annual leave?",
    "Who approves travel to a conference?",
    "What do I do when I lose my laptop?",
)
PAUSE_S = 0.05


async def fill(home: Path) -> str:
    """Ingest the sample; a token that may ask."""
    settings = load_settings(home, None, {"embedding.model": "hashing"})
    async with open_engine(settings) as engine:
        begun = await sample.begin(engine, await engine.people.owner(), vectors=False)
        assert begun is not None
        await sample.finish(engine, begun)
        await run_worker(engine, asyncio.Event(), idle_exit_s=0)
        owner = await engine.people.owner()
        secret, _ = await engine.people.create_token(
            owner, "benchmark", scopes=(Scope.KB_READ, Scope.KB_ASK)
        )
    return secret


async def probe(client: httpx2.AsyncClient, count: int) -> dict[str, float]:
    took_ms = []
    for _ in range(count):
        started = time.perf_counter()
        answer = await client.get("/health")
        took_ms.append((time.perf_counter() - started) * 1000)
        assert answer.status_code == 200, answer.text
        await asyncio.sleep(PAUSE_S)
    took_ms.sort()
    return {
        "p50_ms": round(statistics.median(took_ms), 1),
        "p95_ms": round(took_ms[int(0.95 * len(took_ms)) - 1], 1),
        "max_ms": round(took_ms[-1], 1),
    }


async def ask(client: httpx2.AsyncClient, number: int, codes: list[int]) -> None:
    while True:
        question = QUESTIONS[number % len(QUESTIONS)]
        answer = await client.post("/api/v1/ask", json={"question": question})
        codes.append(answer.status_code)
        if answer.status_code == 503:
            await asyncio.sleep(float(answer.headers["retry-after"]))


async def measure(address: str, token: str, clients: int, count: int) -> dict[str, object]:
    headers = {"authorization": f"Bearer {token}"}
    limits = httpx2.Limits(max_connections=clients + 10)
    async with httpx2.AsyncClient(
        base_url=address, headers=headers, timeout=None, limits=limits, trust_env=False
    ) as client:
        for _ in range(3):  # what is loaded at the first use
            await client.post("/api/v1/ask", json={"question": QUESTIONS[0]})
        idle = await probe(client, count)
        codes: list[int] = []
        asking = [asyncio.create_task(ask(client, n, codes)) for n in range(clients)]
        await asyncio.sleep(2)
        busy = await probe(client, count)
        for task in asking:
            task.cancel()
        await asyncio.gather(*asking, return_exceptions=True)
    return {
        "clients": clients,
        "idle": idle,
        "busy": busy,
        "p95_ratio": round(busy["p95_ms"] / idle["p95_ms"], 1),
        "answers": codes.count(200),
        "refused": codes.count(503),
        "load_average": round(os.getloadavg()[0], 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clients", type=int, default=50)
    parser.add_argument("--probes", type=int, default=200)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="scrubjay-probes-") as folder:
        token = asyncio.run(fill(Path(folder)))
        environ = os.environ | {
            "SCRUBJAY_HOME": folder,
            "SCRUBJAY_EMBEDDING__MODEL": "hashing",
            "SCRUBJAY_SYSTEM__LOG_FORMAT": "json",
        }
        server = subprocess.Popen(
            [sys.executable, "-c", "from cli.main import main; main(['serve', '--port', '0'])"],
            env=environ,
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            assert server.stderr is not None
            address = ""
            while not address:
                line = server.stderr.readline()
                address = line.partition('"address": "')[2].partition('"')[0]
            reading = subprocess.Popen(["cat"], stdin=server.stderr, stdout=subprocess.DEVNULL)
            found = asyncio.run(measure(address, token, args.clients, args.probes))
        finally:
            server.terminate()
            server.wait()
            reading.wait()
    print(found)
    write_results("probes", {str(args.clients): found})


if __name__ == "__main__":
    main()
