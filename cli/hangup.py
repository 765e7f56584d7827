"""SIGHUP: a server, a worker or a bot reads its plugins again, and goes on."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from engine.engine import Engine

log = logging.getLogger(__name__)


def reload_on_hangup(engine: Engine) -> None:
    """Read the plugins again at SIGHUP; where there is no such signal, never."""
    if not hasattr(signal, "SIGHUP"):
        return
    loop = asyncio.get_running_loop()

    def reload() -> None:
        log.info("reading the plugins again")
        loop.run_in_executor(None, engine.tools.load_plugins)

    with contextlib.suppress(NotImplementedError):
        loop.add_signal_handler(signal.SIGHUP, reload)
