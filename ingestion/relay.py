"""The relay: turns claimable job rows into broker messages, as many as there are free slots.

A row is hinted at again when its hint has got lost: nothing depends on a message arriving. While
the broker is away, the relay hands the rows to its own worker, which has a free slot for each.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Collection, Sequence
from typing import Any

from dramatiq import Broker, Message

from engine.db.session import Database
from engine.errors import Unavailable
from engine.jobs import claims
from ingestion.broker import QUEUE

log = logging.getLogger(__name__)

ACTOR = "work"
HINT_LIFE_S = 30.0  # a hint older than this counts as lost
POLL_BUSY_S = 0.05
POLL_IDLE_S = 0.25  # what an idle worker adds to the time a new document waits
OUTAGE_PAUSE_S = 2.0  # between two looks at a database that is away


class Relay:
    """Polls SQL and sends hints; one a worker process."""

    def __init__(
        self,
        db: Database,
        broker: Broker,
        *,
        kinds: Callable[[], Sequence[str]],
        free_slots: Callable[[], int],
        work_here: Callable[[str], None],
        held: Callable[[], Collection[str]] = tuple,
    ) -> None:
        """`held` are the ids of jobs this worker is at: their leases are its own, however late.

        `work_here` begins to work on a job without a hint, and returns at once.
        """
        self._db = db
        self._broker = broker
        self._kinds = kinds
        self._free_slots = free_slots
        self._work_here = work_here
        self._held = held
        self._away_until = 0.0  # of the monotonic clock: a broker that was away is not asked sooner
        self._is_away = False
        self._hinted: dict[str, float] = {}

    async def relay_once(self) -> int:
        """Send hints for what fits into the free slots; returns how many were sent."""
        now = time.monotonic()
        self._hinted = {job: at for job, at in self._hinted.items() if now - at < HINT_LIFE_S}
        room = self._free_slots() - len(self._hinted)
        if room <= 0:
            return 0
        # Asking for the hinted ones as well makes sure that new rows are among the answer.
        rows = await claims.claimable(
            self._db,
            kinds=self._kinds(),
            limit=room + len(self._hinted),
            held=list(self._held()),
        )
        fresh = [job for job in rows if job not in self._hinted][:room]
        for job in fresh:
            self._hinted[job] = now
            await self._send(job)
        return len(fresh)

    async def _send(self, job: str) -> None:
        if time.monotonic() >= self._away_until:
            try:
                await asyncio.to_thread(self._broker.enqueue, hint(job))
            except Unavailable as error:
                self._away_until = time.monotonic() + OUTAGE_PAUSE_S
                if not self._is_away:  # said once an outage
                    log.warning("this process works on its jobs without hints: %s", error)
                self._is_away = True
            else:
                if self._is_away:
                    log.warning("hints are sent again: Redis answers")
                self._is_away = False
                return
        self._work_here(job)

    def taken(self, job_id: str) -> None:
        """An actor got the hint: its slot is counted by the worker from here on."""
        self._hinted.pop(job_id, None)

    async def run(self, stop: asyncio.Event) -> None:
        """Relay until `stop` is set; a database that is away is waited for."""
        while not stop.is_set():
            try:
                sent = await self.relay_once()
                pause = POLL_BUSY_S if sent or self._hinted else POLL_IDLE_S
            except Unavailable as error:
                log.warning("no jobs can be taken now: %s", error)
                pause = OUTAGE_PAUSE_S
            try:
                await asyncio.wait_for(stop.wait(), pause)
            except TimeoutError:
                continue


def hint(job_id: str) -> Message[Any]:
    """The message for a job: a pointer at its row and nothing else."""
    return Message(
        queue_name=QUEUE, actor_name=ACTOR, args=(), kwargs={"job_id": job_id}, options={}
    )
