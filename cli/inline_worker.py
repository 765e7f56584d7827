"""The worker inside a command that waits for jobs, unless another process works on them.

`add`, imports, `reindex` and `reembed` use it; with `scrubjay up` running they only follow.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from engine.engine import Engine

T = TypeVar("T")

LOOK_AGAIN_S = 1.0  # between checks that another process still works on the data folder


async def work_while(engine: Engine, waiting: Coroutine[Any, Any, T]) -> T:
    """The result of `waiting`; be the worker meanwhile, unless another process is."""
    stop = asyncio.Event()
    following = asyncio.create_task(waiting)
    worker = None
    try:
        while not following.done():
            # Checked each time: the worker that held the folder may have been killed meanwhile.
            worker = asyncio.create_task(_be_worker(engine, stop))
            await asyncio.wait({worker, following}, return_when=asyncio.FIRST_COMPLETED)
            if worker.done():
                worker.result()  # a broken one ends the command: no one would do the work
                await asyncio.wait({following}, timeout=LOOK_AGAIN_S)
        if worker is not None:
            await worker  # cleans up what was replaced
        return await following
    finally:
        stop.set()
        following.cancel()
        await asyncio.gather(*filter(None, (worker, following)), return_exceptions=True)


async def finish_jobs(engine: Engine) -> None:
    """Wait until nothing is queued; be the worker meanwhile, unless another process is."""
    while await engine.operations.next_job_due_at() is not None:
        await _be_worker(engine, asyncio.Event())
        await asyncio.sleep(LOOK_AGAIN_S / 10)


async def _be_worker(engine: Engine, stop: asyncio.Event) -> None:
    """Work until idle; return at once if `scrubjay up` or another worker does."""
    from engine.errors import AlreadyRunning
    from engine.locks import holder
    from ingestion.host import run_worker

    if (holder(engine.settings.home, "server") or "").startswith("scrubjay up"):
        return
    with contextlib.suppress(AlreadyRunning):
        await run_worker(engine, stop, idle_exit_s=0)
