"""How long a child may take, in time that it could use.

On a machine without processor to spare a child waits for its turn, which is no fault of the file it
reads. So a limit counts the time a child runs, and the time it sleeps; not the time in which it is
ready to run and does not. Linux tells these apart; elsewhere all time counts.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Awaitable
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")

LOOK_S = 0.2  # between two looks at a child


class UsableTime:
    """Of one process, from now on: `spent_s` grows with each `look`."""

    def __init__(self, pid: int) -> None:
        self._folder = Path(f"/proc/{pid}/task")
        self._looked_at = time.monotonic()
        self._ran_s, _ = _ran(self._folder)
        self.spent_s = 0.0

    def look(self) -> float:
        """What it has spent so far."""
        at = time.monotonic()
        passed, self._looked_at = at - self._looked_at, at
        ran_s, is_ready = _ran(self._folder)
        ran, self._ran_s = max(0.0, ran_s - self._ran_s), ran_s
        self.spent_s += min(passed, ran) if is_ready else passed
        return self.spent_s


async def within(work: Awaitable[T], pid: int, limit_s: float) -> T:
    """The result of `work`, which waits for a process; `TimeoutError` once that spent `limit_s`."""
    task = asyncio.ensure_future(work)
    spent = UsableTime(pid)
    try:
        while not task.done():
            left = limit_s - spent.look()
            if left <= 0:
                raise TimeoutError
            await asyncio.wait([task], timeout=min(LOOK_S, left))
        return task.result()
    finally:
        if not task.done():
            task.cancel()
            await asyncio.wait([task])


def _ran(folder: Path) -> tuple[float, bool]:
    """Seconds of processor time of all threads, and whether one of them runs or is ready to."""
    ticks, is_ready = 0, False
    try:
        for thread in folder.iterdir():
            # The name, in brackets, may hold anything: fields are counted after it. See proc(5).
            fields = (thread / "stat").read_text("ascii", "replace").rpartition(")")[2].split()
            is_ready |= fields[0] == "R"
            ticks += int(fields[11]) + int(fields[12])
    except (OSError, IndexError, ValueError):  # no such file system, or the process has just ended
        return 0.0, False
    return ticks / os.sysconf("SC_CLK_TCK"), is_ready
