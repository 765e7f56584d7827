"""How often a credential may call: token buckets in this process's memory, bounded.

In memory because a call may cost less than a write to the database would. Several server processes
each allow the configured rate. The arithmetic is `engine.limits.spend`'s.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

HELD_MAX = 20_000  # buckets; the least recently used are dropped; a new one is full


@dataclass(frozen=True, slots=True)
class Rate:
    """`per_minute` in the long run, `burst` at once."""

    per_minute: int
    burst: int


class Buckets:
    """Buckets of one rate, by key."""

    def __init__(self, rate: Rate, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.rate = rate
        self._clock = clock
        self._full_at: OrderedDict[str, float] = OrderedDict()

    def take(self, key: str) -> float:
        """0 if one was taken from the key's bucket, else the seconds to wait for the next."""
        from engine.limits import spend  # noqa: PLC0415 (loads SQLAlchemy: not before `initialize`)

        full_at, wait_s = spend(
            self._full_at.pop(key, 0.0),
            self._clock(),
            self.rate.per_minute / 60,
            self.rate.burst,
            1,
        )
        self._full_at[key] = full_at
        if len(self._full_at) > HELD_MAX:
            self._full_at.popitem(last=False)
        return wait_s
