"""Counts what each callback of an event loop costs its thread, in processor time.

Wall time would measure the machine: a callback that waits for a processor is not to blame.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Monitor:
    """The callbacks over the bound, costliest first: seconds and what ran."""

    over: list[tuple[float, str]] = field(default_factory=list)
    callbacks: int = 0


@contextmanager
def watched_loop(*, longest_s: float) -> Iterator[Monitor]:
    """Watch every callback of this thread's loops in the block."""
    monitor = Monitor()
    run = asyncio.events.Handle._run

    def timed(handle: Any) -> None:
        described = repr(handle)  # before: a finished task tells less
        started = time.thread_time()
        run(handle)
        took_s = time.thread_time() - started
        monitor.callbacks += 1
        if took_s > longest_s:
            monitor.over.append((took_s, described))

    asyncio.events.Handle._run = timed  # type: ignore[assignment, method-assign]
    try:
        yield monitor
    finally:
        asyncio.events.Handle._run = run  # type: ignore[method-assign]
        monitor.over.sort(reverse=True)
