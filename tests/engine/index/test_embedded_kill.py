"""A writing process is killed: what it acknowledged is there, and nothing twice."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from engine.index.embedded import EmbeddedIndex
from tests.contracts.search_index import SPACE, TENANT, X, asking, names

WRITER = """
import asyncio, sys
from pathlib import Path
from engine.index import merging
from engine.index.embedded import EmbeddedIndex
from tests.contracts.search_index import SPACE, TENANT, X, document

merging.TIER_CHUNKS = 8  # so that merges are under way most of the time

async def main():
    index = EmbeddedIndex(Path(sys.argv[1]))
    first = int(sys.argv[2])
    for number in range(first, first + 10_000):
        await index.feed(TENANT, SPACE, [document(f"{number:05}", "fox")])
        await index.feed(TENANT, SPACE, [document(f"{number:05}", ("fox", X))])
        print(number, flush=True)

asyncio.run(main())
"""


def write_until_killed(root: Path, first: int, acknowledged: int) -> int:
    """Feed from `first` on, kill after so many are acknowledged; returns the last that was."""
    process = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(root), str(first)],
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[3],
    )
    assert process.stdout is not None
    seen = [process.stdout.readline() for _ in range(acknowledged)]
    process.send_signal(signal.SIGKILL)
    seen += process.communicate()[0].split()
    return int(seen[-1])


@pytest.mark.slow
async def test_what_a_killed_writer_acknowledged_is_kept(tmp_path: Path) -> None:
    next_number = 0
    for acknowledged in (3, 12, 7):
        last = write_until_killed(tmp_path, next_number, acknowledged)
        index = EmbeddedIndex(tmp_path)
        assert await index.health() == ""
        result = await index.search(asking("fox", X, limit=1000, candidates=1000))
        found = names(result.hits)
        assert len(found) == len(set(found))
        assert set(found) >= {f"{number:05}" for number in range(last + 1)}
        assert len(found) <= last + 2  # at most the one that was on its way
        assert (await index.stats(TENANT, SPACE)).documents == len(found)
        await index.aclose()
        next_number = last + 1
