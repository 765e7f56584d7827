"""When a refused request is sent again. Pure; both clients ask it."""

from __future__ import annotations

from dataclasses import dataclass

from scrubjay_client.errors import ProblemError

FIRST_WAIT_S = 0.5  # where a safe request was refused and no time was named; doubled each time


@dataclass(frozen=True, slots=True)
class Policy:
    """How often, and how long at most each time, in seconds."""

    retries: int = 3
    longest_wait_s: float = 30.0

    def wait_s(self, error: ProblemError, *, attempt: int, is_safe: bool) -> float | None:
        """Seconds to wait before the next attempt; None to give up. Attempts count from 0.

        Only what was refused outright is sent again: 429, and 503 where the server names a time or
        the request changes nothing a second time.
        """
        if attempt >= self.retries or error.status not in {429, 503}:
            return None
        named = error.retry_after_s
        if named is None and not is_safe and error.status == 503:
            return None
        wait_s = named if named is not None else FIRST_WAIT_S * 2**attempt
        return wait_s if wait_s <= self.longest_wait_s else None
