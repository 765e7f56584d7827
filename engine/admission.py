"""How many questions are worked on at once: past that, one is refused at once, and told when to come.

Each question that is let in costs memory, and makes all others later: a bound keeps those answered
that were let in. Those that compute take turns, so that the event loop comes round to a probe. Doors need not know it: `Search.find` and `Answers.ask` pass
here. Bots have their own bound (`bots.answers_at_once`), because their questions are jobs that wait.
"""

from __future__ import annotations

import asyncio
import math
import os
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

from engine.errors import Unavailable

# How many compute at once: more would only take turns at each step, all of them on one event loop.
TURNS = 2 * (os.cpu_count() or 1)
_WEIGHT = 0.1  # of the newest in the mean of how long questions take
_SOONEST_S, _LATEST_S = 1.0, 60.0  # of what a refused caller is told


class Admission:
    """Counts what is under way; used from one event loop."""

    def __init__(self, at_once: int) -> None:
        """At most `at_once` questions and searches."""
        self._at_once = at_once
        self._turns = asyncio.Semaphore(TURNS)
        self._running = 0
        self._admitted = 0
        self._refused = 0
        self._mean_s = _SOONEST_S

    @asynccontextmanager
    async def admitted(self, *, computes: bool = True) -> AsyncIterator[None]:
        """Be one of those let in; `Unavailable` with a time to come again where it is full.

        One that `computes` waits for its turn; one that waits for a model's words needs none.
        """
        if self._running >= self._at_once:
            self._refused += 1
            raise Unavailable(
                f"{self._running} questions are being answered, which is as many as this server"
                " takes at once: try again in a moment.",
                retry_after_s=float(math.ceil(min(_LATEST_S, max(_SOONEST_S, self._mean_s)))),
            )
        self._running += 1
        self._admitted += 1
        started = time.monotonic()
        try:
            if computes:
                async with self._turns:
                    yield
            else:
                yield
        finally:
            self._running -= 1
            took_s = time.monotonic() - started
            self._mean_s += _WEIGHT * (took_s - self._mean_s)

    @property
    def running(self) -> int:
        """How many are let in now."""
        return self._running

    def figures(self) -> Mapping[str, float]:
        """What was counted since the start, for monitoring."""
        return {
            "questions_admitted_total": self._admitted,
            "questions_refused_total": self._refused,
        }
