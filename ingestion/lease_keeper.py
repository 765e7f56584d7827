"""Keeps a worker's leases, in a thread with a loop and a connection of its own.

The worker's loop also works: on a starved machine it may not come round for longer than a lease
lasts. This thread does nothing else, so a lease lapses only when its whole process is gone.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
import threading
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager

from sqlalchemy import URL

from engine.db.session import Database, open_database
from engine.errors import EngineError
from engine.jobs import heartbeats, leases
from engine.jobs.leases import ClaimedJob

log = logging.getLogger(__name__)


class LeaseKeeper:
    """Renews the leases of the jobs in `held`, and beats, every `every_s` seconds.

    `held`, `state` and `figures` are called in the keeper's thread. Ids of jobs that were lost, or
    are to be cancelled, are given to `stop` in the loop that started the keeper.
    """

    def __init__(
        self,
        url: URL,
        worker_id: str,
        *,
        lease_s: float,
        every_s: float,
        held: Callable[[], Sequence[ClaimedJob]],
        state: Callable[[], str],
        figures: Callable[[], Mapping[str, float]],
        stop: Callable[[set[str]], None],
    ) -> None:
        self._url = url
        self._worker_id = worker_id
        self._lease_s = lease_s
        self._every_s = every_s
        self._held = held
        self._state = state
        self._figures = figures
        self._stop = stop
        self._is_away = False

    @asynccontextmanager
    async def keeping(self) -> AsyncIterator[asyncio.Future[None]]:
        """Keep leases for as long as the block runs; the future ends early where that fails."""
        caller = asyncio.get_running_loop()
        over: asyncio.Future[None] = caller.create_future()
        inner: list[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = []
        ready = threading.Event()

        def run() -> None:
            try:
                asyncio.run(self._keep(caller, inner, ready))
            except BaseException as error:  # noqa: BLE001 (the edge of a thread: the caller raises it)
                _settle(caller, over, error)
            else:
                _settle(caller, over, None)
            finally:
                ready.set()

        thread = threading.Thread(target=run, name="leases", daemon=True)
        thread.start()
        await asyncio.to_thread(ready.wait)
        try:
            yield over
        finally:
            for loop, stop in inner:
                with contextlib.suppress(RuntimeError):  # it has ended by itself
                    loop.call_soon_threadsafe(stop.set)
            await over

    async def _keep(
        self,
        caller: asyncio.AbstractEventLoop,
        inner: list[tuple[asyncio.AbstractEventLoop, asyncio.Event]],
        ready: threading.Event,
    ) -> None:
        stop = asyncio.Event()
        inner.append((asyncio.get_running_loop(), stop))
        url = self._url.render_as_string(hide_password=False)
        async with open_database(url, pool_size=1, max_overflow=1, in_loop=True) as db:
            while not stop.is_set():
                if lost := await self._keep_once(db):
                    with contextlib.suppress(RuntimeError):  # the worker is gone
                        caller.call_soon_threadsafe(self._stop, lost)
                ready.set()
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(stop.wait(), self._every_s)

    async def _keep_once(self, db: Database) -> set[str]:
        """Ids of jobs to stop."""
        try:
            lost = await leases.renew_all(db, list(self._held()), lease_s=self._lease_s)
            await heartbeats.beat(
                db,
                self._worker_id,
                host=socket.gethostname(),
                pid=os.getpid(),
                state=self._state(),
                figures=self._figures(),
            )
        except EngineError as error:
            if not self._is_away:  # said once an outage, not once a second
                log.warning("leases are not renewed: %s", error)
            self._is_away = True
            return set()
        self._is_away = False
        return lost


def _settle(
    loop: asyncio.AbstractEventLoop, over: asyncio.Future[None], error: BaseException | None
) -> None:
    def settle() -> None:
        if over.done():
            return
        if error is None:
            over.set_result(None)
        else:
            over.set_exception(error)

    with contextlib.suppress(RuntimeError):  # the caller's loop is closed: nobody waits
        loop.call_soon_threadsafe(settle)
