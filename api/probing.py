"""What fails, for probes: looked for once however many ask, and answered at once beside any load.

A look takes some ten steps through threads and the database, which take long on a busy machine; then
what the last look found is the answer, for a few seconds.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence

AGAIN_S = 1.0  # between two looks: anybody may ask `/health`, and a look costs
PATIENCE_S = (
    0.02  # for a look, about what one takes on an idle machine; then an earlier one answers
)
LASTS_S = 15.0  # for so long; a look that hangs longer is waited for, as nothing is known


class Probing:
    """Shares what a probe found among all that ask."""

    def __init__(self, probe: Callable[[], Awaitable[Mapping[str, str]]]) -> None:
        self._probe = probe
        self._look: asyncio.Task[None] | None = None
        self._failing: Sequence[str] = ()
        self._found_at = float("-inf")

    async def failing(self) -> Sequence[str]:
        """The names of the dependencies that fail, in order."""
        if self._look is None and time.monotonic() - self._found_at >= AGAIN_S:
            self._look = asyncio.create_task(self._find())
        if (look := self._look) is not None:
            await asyncio.wait([look], timeout=PATIENCE_S)
            if not look.done() and time.monotonic() - self._found_at >= LASTS_S:
                await asyncio.wait([look])
            if look.done():
                look.result()
        return self._failing

    async def _find(self) -> None:
        try:
            found = await self._probe()
            self._failing = sorted(name for name, text in found.items() if text)
            self._found_at = time.monotonic()
        finally:
            self._look = None
