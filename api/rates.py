"""How often a credential may call REST, and the headers that say how much is left.

`service.principal_of` asks here once the caller is known. Where the installation has a Redis, all
its processes share one count; otherwise each process counts in memory, because a call may cost less
than a write to the database would.
"""

from __future__ import annotations

import logging
import math
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from engine.domain import Principal
from engine.errors import RateLimited, Unavailable
from engine.limits import Limits, spend

log = logging.getLogger(__name__)

HELD_MAX = 20_000  # buckets in memory; the least recently used are dropped; a new one is full
PATHS = ("/api/", "/v1/")


@dataclass(frozen=True, slots=True)
class Taken:
    """What came of asking: seconds to wait (0: none), and calls left, where that is known."""

    wait_s: float
    left: int | None


class RequestRates:
    """Buckets of one rate, by credential. `shared` is a Redis that all processes count on."""

    def __init__(
        self,
        per_minute: int,
        burst: int,
        *,
        shared: Limits | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._per_minute = per_minute
        self._burst = burst
        self._shared = shared
        self._clock = clock
        self._full_at: OrderedDict[str, float] = OrderedDict()

    async def take(self, principal: Principal) -> Taken:
        """Count a call of this credential."""
        return await self.take_of(_credential(principal))

    async def take_of(self, key: str) -> Taken:
        """Count a call of whatever the key names."""
        if self._shared is not None:
            try:
                wait_s = await self._shared.take(
                    f"rest:{key}", rate_per_s=self._per_minute / 60, burst=self._burst
                )
                return Taken(wait_s, None)
            except Unavailable as error:  # a limit must not be what stops an answer
                log.warning("requests are counted here alone", extra={"reason": str(error)})
        return self._take_here(key)

    def require(self, taken: Taken) -> None:
        """Raise `RateLimited` where the caller has to wait."""
        if taken.wait_s:
            raise RateLimited(
                f"Rate limit: {self._per_minute} requests per minute.",
                retry_after_s=math.ceil(taken.wait_s),
            )

    def headers(self, taken: Taken) -> Mapping[str, str]:
        """`RateLimit-Policy` and `RateLimit`, draft-ietf-httpapi-ratelimit-headers-10."""
        said = {"RateLimit-Policy": f'"api";q={self._burst};w={self._window_s}'}
        if taken.wait_s:
            said["RateLimit"] = f'"api";r=0;t={math.ceil(taken.wait_s)}'
        elif taken.left is not None:
            said["RateLimit"] = f'"api";r={taken.left};t={math.ceil(60 / self._per_minute)}'
        return said

    @property
    def _window_s(self) -> int:
        """The seconds in which an empty bucket fills."""
        return max(1, math.ceil(self._burst * 60 / self._per_minute))

    def _take_here(self, key: str) -> Taken:
        rate_per_s, now = self._per_minute / 60, self._clock()
        full_at, wait_s = spend(self._full_at.pop(key, 0.0), now, rate_per_s, self._burst, 1)
        self._full_at[key] = full_at
        if len(self._full_at) > HELD_MAX:
            self._full_at.popitem(last=False)
        used = max(0.0, full_at - now) * rate_per_s
        return Taken(wait_s, max(0, math.floor(self._burst - used + 1e-6)))


def _credential(principal: Principal) -> str:
    return principal.api_token_id or f"{principal.tenant_id}:{principal.user_id}"
