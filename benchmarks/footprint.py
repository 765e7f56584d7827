"""What an installation weighs: `python -m benchmarks.footprint`.

`help`: seconds of `scrubjay --help`. `ready`: from starting `scrubjay up` on an existing home until
/ready answers. `stop`: from Ctrl-C until it has ended. `memory`: the proportional set size of
`up` and all its children, after the sample handbook is ingested with the real model, one question
is asked, and a minute has passed.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

from benchmarks.results import write_results

ROUNDS = 5
LONGEST_S = 600.0
SETTLED_S = 60.0  # after the ask


class Up:
    """A running `scrubjay up`."""

    def __init__(self, home: Path) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self.base = f"http://127.0.0.1:{port}"
        self._home = home
        command = [*scrubjay(home), "up", "--port", str(port)]
        self.started = time.perf_counter()
        self.process = subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL
        )

    def wait_ready(self) -> float:
        """Seconds since the start until /ready says so."""
        while time.perf_counter() - self.started < 60:
            try:
                with urllib.request.urlopen(f"{self.base}/ready", timeout=5) as answer:
                    if answer.status == 200:
                        return time.perf_counter() - self.started
            except (urllib.error.URLError, ConnectionError):
                time.sleep(0.01)
        raise RuntimeError("scrubjay up did not get ready")

    def stop(self) -> float:
        """Seconds from Ctrl-C to the end."""
        start = time.perf_counter()
        self.process.send_signal(signal.SIGINT)
        self.process.wait(60)
        return time.perf_counter() - start

    def documents_left(self) -> int:
        """Documents that are not yet ready."""
        if self.process.poll() is not None:
            raise RuntimeError(f"scrubjay up ended by itself with {self.process.returncode}")
        done = subprocess.run(
            [*scrubjay(self._home), "status", "--json"], capture_output=True, check=True, text=True
        )
        bases = json.loads(done.stdout)["knowledge_bases"]
        states = [kb["states"] for kb in bases]
        ready = sum(state.get("ready", 0) for state in states)
        return sum(sum(state.values()) for state in states) - ready if ready else 1

    def memory_mb(self) -> dict[str, float]:
        """PSS by process, and their sum."""
        sizes = {}
        for pid in tree(self.process.pid):
            try:
                command = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
                lines = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii").splitlines()
            except OSError:  # it has just left
                continue
            pss = next(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
            name = b" ".join(command[1:4]).decode(errors="replace").split("/")[-1]
            sizes[f"{len(sizes)} {name}"] = round(pss / 1024, 1)
        return {**sizes, "sum": round(sum(sizes.values()), 1)}


def scrubjay(home: Path) -> list[str]:
    return [sys.executable, "-m", "cli.main", "--home", str(home)]


def tree(pid: int) -> list[int]:
    """A process and all that come from it."""
    children = Path(f"/proc/{pid}/task").glob("*/children")
    found = [int(child) for path in children for child in path.read_text("ascii").split()]
    return [pid, *(below for child in found for below in tree(child))]


def help_seconds() -> list[float]:
    times = []
    for _ in range(ROUNDS + 1):  # the first one fills caches
        start = time.perf_counter()
        subprocess.run(
            [sys.executable, "-m", "cli.main", "--help"], stdout=subprocess.DEVNULL, check=True
        )
        times.append(time.perf_counter() - start)
    return times[1:]


def memory(home: Path) -> tuple[dict[str, float], float]:
    """PSS a minute after one ask and one handbook ingest, and seconds to stop."""
    up = Up(home)
    try:
        up.wait_ready()
        deadline = time.monotonic() + LONGEST_S
        while up.documents_left():
            if time.monotonic() > deadline:
                raise RuntimeError("the handbook was not ingested in time")
            time.sleep(1)
        subprocess.run(
            [*scrubjay(home), "ask", "How many hours of annual leave can I carry over?"],
            stdout=subprocess.DEVNULL,
            check=True,
        )
        ask_over_http(up.base)
        time.sleep(SETTLED_S)
        sizes = up.memory_mb()
        return sizes, up.stop()
    finally:
        if up.process.poll() is None:
            up.process.kill()


def ask_over_http(base: str) -> None:
    """The server itself answers one, so that its model is loaded."""
    body = json.dumps({"question": "How many hours of annual leave can I carry over?"}).encode()
    request = urllib.request.Request(
        f"{base}/api/v1/ask", body, {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=60) as answer:
        answer.read()


def warm_starts(home: Path) -> tuple[list[float], list[float]]:
    ready, stopped = [], []
    for _ in range(ROUNDS):
        up = Up(home)
        try:
            ready.append(up.wait_ready())
            stopped.append(up.stop())
        finally:
            if up.process.poll() is None:
                up.process.kill()
    return ready, stopped


def rounded(times: list[float]) -> dict[str, object]:
    return {
        "median_s": round(statistics.median(times), 2),
        "best_s": round(min(times), 2),
        "rounds_s": [round(item, 2) for item in times],
    }


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.parse_args()
    found: dict[str, object] = {"help": rounded(help_seconds())}
    with tempfile.TemporaryDirectory() as folder:
        sizes, after_work = await asyncio.to_thread(memory, Path(folder))
        ready, stopped = await asyncio.to_thread(warm_starts, Path(folder))
    found |= {
        "memory_pss_mb": sizes,
        "ready": rounded(ready),
        "stop": rounded([after_work, *stopped]),
        "load": round(os.getloadavg()[0], 1),
    }
    print(json.dumps(found, indent=2))
    write_results("footprint", found)


if __name__ == "__main__":
    asyncio.run(main())
