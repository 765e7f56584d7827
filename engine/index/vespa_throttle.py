"""How many document operations may run at Vespa at once: `vespa_http.py` asks before each."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class Throttle:
    """How many operations may be under way: one more a round that went well, half after a 429.

    Additive increase, multiplicative decrease, as TCP does and Vespa's own feed client: the limit
    settles just under what the cluster takes now. `halve` acts once for all the operations that
    were under way together, or one burst of refusals would bring it to the ground.
    """

    def __init__(self, *, start: int = 16, most: int = 256) -> None:
        self.limit = float(start)
        self.under_way = 0
        self._most = most
        self._round = 0
        self._waiters: list[asyncio.Future[None]] = []

    @asynccontextmanager
    async def slot(self) -> AsyncIterator[int]:
        """Wait until one more may begin; the number names the round it began in."""
        while self.under_way >= int(self.limit):
            waiter = asyncio.get_running_loop().create_future()
            self._waiters.append(waiter)
            try:
                await waiter
            except asyncio.CancelledError:
                if waiter.done() and not waiter.cancelled():
                    self._wake()  # our turn goes to the next one
                raise
            finally:
                if waiter in self._waiters:
                    self._waiters.remove(waiter)
        self.under_way += 1
        try:
            yield self._round
        finally:
            self.under_way -= 1
            self._wake()

    def grow(self) -> None:
        """One operation went well."""
        self.limit = min(float(self._most), self.limit + 1 / self.limit)

    def halve(self, began: int) -> None:
        """One that began in that round was refused for want of room."""
        if began == self._round:
            self._round += 1
            self.limit = max(1.0, self.limit / 2)

    def _wake(self) -> None:
        while self._waiters and self.under_way < int(self.limit):
            waiter = self._waiters.pop(0)
            if not waiter.done():
                waiter.set_result(None)
                return
