"""`scrubjay worker`: one worker process, by itself or as the child of `scrubjay up`."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import sys
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from engine.config import Settings

log = logging.getLogger(__name__)

ALREADY_RUNNING = 4  # the exit code of a child that found another worker in its data folder
NICENESS = 4  # bulk work yields to questions, and keeps a fair share beside other programs


def run(settings: Settings, *, until_idle: bool = False, child: bool = False) -> int:
    """Work until SIGINT or SIGTERM; as a child also until idle, or until the parent is gone."""
    from engine.errors import AlreadyRunning, EngineError
    from engine.telemetry import configure_logging

    # A child writes to its parent's terminal, which belongs to a person.
    level = quieter(settings.system.log_level) if child else settings.system.log_level
    configure_logging(level=level, style=settings.system.log_format)
    logging.getLogger("dramatiq").setLevel(logging.WARNING)
    try:
        asyncio.run(_work(settings, until_idle=until_idle, child=child))
    except EngineError as error:
        log.error("%s", error)  # noqa: TRY400 (the sentence says what to do; no one needs the rest)
        return ALREADY_RUNNING if isinstance(error, AlreadyRunning) else 3
    except Exception:  # the outermost boundary of the process
        log.exception("the worker stopped unexpectedly")
        return 70
    return 0


def quieter(level: str) -> str:
    """Warnings at least, unless debugging."""
    return "warning" if level == "info" else level


async def _work(settings: Settings, *, until_idle: bool, child: bool) -> None:
    from cli.hangup import reload_on_hangup
    from engine.runtime import open_engine
    from ingestion.connectors.kinds import open_connectors
    from ingestion.host import run_worker

    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for name in (signal.SIGINT, signal.SIGTERM):
        with contextlib.suppress(NotImplementedError):  # Windows: Ctrl-C raises instead
            loop.add_signal_handler(name, stop.set)
    if child:
        if hasattr(os, "nice"):
            os.nice(NICENESS)
        threading.Thread(target=_watch_parent, args=(loop, stop), daemon=True).start()
    idle_exit_s = 0.0 if until_idle else settings.jobs.idle_exit_s if child else None
    async with open_engine(settings, sql_in_loop=True, connectors=open_connectors()) as engine:
        if not child:  # a terminal that closes ends `up` with its workers
            reload_on_hangup(engine)
        await run_worker(engine, stop, idle_exit_s=idle_exit_s)


def _watch_parent(loop: asyncio.AbstractEventLoop, stop: asyncio.Event) -> None:
    """The parent holds the other end of standard input: when it closes, the parent is gone."""
    with contextlib.suppress(OSError, ValueError):
        # Not through `sys.stdin`: its lock would be held by this thread when the process ends.
        while os.read(0, 1024):
            pass
    with contextlib.suppress(RuntimeError):
        loop.call_soon_threadsafe(stop.set)
    # Leaves are taken over by the next worker, so there is nothing worth waiting for.
    threading.Timer(0.8, os._exit, (0,)).start()


def main() -> None:
    """Entry of the child process: `python -m cli.work HOME [CONFIG]`."""
    from pathlib import Path

    from engine.config import load_settings
    from engine.errors import ConfigurationError

    config = Path(sys.argv[2]) if len(sys.argv) > 2 else None
    try:
        settings = load_settings(Path(sys.argv[1]), config)
    except ConfigurationError as error:  # it says what to do; a traceback would say no more
        sys.exit(f"worker: {error}")
    sys.exit(run(settings, child=True))


if __name__ == "__main__":
    main()
