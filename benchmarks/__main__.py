"""`make bench`: every benchmark in turn, then results/README.md from what they wrote.

Each runs in a process of its own, so that none leaves memory or threads to the next. One that
fails is named at the end, and the others still run.
"""

from __future__ import annotations

import subprocess
import sys
import time

from benchmarks.report import write_report

MODULES = (
    "footprint",
    "embedder",
    "ingestion",
    "searchable",
    "index",
    "parsing",
    "search",
    "quality",
    "chat",
    "kill",
    "mcp",
    "slack",
    "discord",
    "freshness",
    "probes",
)
LONGEST_S = 1800


def main() -> int:
    failed = []
    for number, name in enumerate(MODULES, start=1):
        sys.stderr.write(f"[{number}/{len(MODULES)}] {name} …\n")
        start = time.perf_counter()
        try:
            code = subprocess.run(
                [sys.executable, "-m", f"benchmarks.{name}"], timeout=LONGEST_S, check=False
            ).returncode
        except subprocess.TimeoutExpired:
            code = -1
        took = time.perf_counter() - start
        sys.stderr.write(f"[{number}/{len(MODULES)}] {name}: {took:.0f} s\n")
        if code:
            failed.append(name)
    sys.stderr.write(f"Results: {write_report()}\n")
    if failed:
        sys.stderr.write(f"Failed: {', '.join(failed)}\n")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
