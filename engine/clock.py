"""Time and ids: the two sources of novelty, in one place so that tests can hold them still."""

from __future__ import annotations

import os
import threading
import time
from datetime import UTC, datetime


class _Stamps:
    """Milliseconds and a counter in one integer that never goes back within the process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._last = 0

    def next(self) -> int:
        with self._lock:
            self._last = max((time.time_ns() // 1_000_000) << 12, self._last + 1)
            return self._last


_stamps = _Stamps()


def now() -> datetime:
    """The present, aware, in UTC."""
    return datetime.now(UTC)


def new_id() -> str:
    """A UUIDv7 (RFC 9562) as 32 hexadecimal digits: sorts by creation, also within one process.

    The 12 bits after the milliseconds count up where several ids fall into one millisecond.
    """
    stamp = _stamps.next()
    value = (stamp >> 12) << 80 | 0x7 << 76 | (stamp & 0xFFF) << 64 | 0b10 << 62
    value |= int.from_bytes(os.urandom(8), "big") >> 2
    return f"{value:032x}"
