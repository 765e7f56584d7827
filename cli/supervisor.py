"""Keeps a worker child alive while there is work, and lets it leave when there is none.

An idle worker would hold the embedder's memory for nothing; starting a new one takes about as long
as a person needs to look up from the file they have just added.
"""

from __future__ import annotations

import asyncio
import logging
import sys
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from cli.work import ALREADY_RUNNING
from engine.clock import now
from engine.errors import Unavailable
from engine.locks import holder

if TYPE_CHECKING:
    from engine.engine import Engine
    from engine.settings import Settings

log = logging.getLogger(__name__)

LOOK_S = 0.25
LEAVE_S = 5.0
LONGEST_BACKOFF_S = 30.0
STEADY_S = 60.0  # a child that lived so long did not fail because of how it was started


class Supervisor:
    """Starts `command` when a job is due and no worker runs; stops it by closing its input."""

    def __init__(self, engine: Engine, command: Sequence[str]) -> None:
        self._engine = engine
        self._command = command
        self._child: asyncio.subprocess.Process | None = None
        self._is_blind = False
        # Jobs of a worker that died look busy until their leases lapse; the next worker knows
        # better. So after a start and after a fall, any job at all is a reason to have one.
        self._may_be_orphaned = True

    @property
    def pid(self) -> int | None:
        """The child's process id while it runs."""
        child = self._child
        return child.pid if child is not None and child.returncode is None else None

    async def run(self, stop: asyncio.Event) -> None:
        """Supervise until `stop`, then see the child out."""
        failures = 0
        try:
            while not stop.is_set():
                if not await self._is_work_due() or await self._is_another_working():
                    await _pause(stop, LOOK_S)
                    continue
                self._may_be_orphaned = False
                started = time.monotonic()
                self._child = await asyncio.create_subprocess_exec(
                    *self._command, stdin=asyncio.subprocess.PIPE
                )
                status = await self._ended(stop)
                if status == 0 or time.monotonic() - started > STEADY_S:
                    failures = 0
                if status == ALREADY_RUNNING:  # it came in between
                    self._may_be_orphaned = True
                    await _pause(stop, LOOK_S)
                elif status != 0 and not stop.is_set():
                    self._may_be_orphaned = True
                    failures += 1
                    wait_s = min(2.0**failures, LONGEST_BACKOFF_S)
                    log.error("the worker ended unexpectedly; restarting it in %.0f s", wait_s)
                    await _pause(stop, wait_s)
        finally:
            await self._dismiss()

    async def _is_work_due(self) -> bool:
        try:
            due = await self._engine.operations.next_job_due_at()
        except Unavailable as error:
            if not self._is_blind:
                log.warning("can't check for work: %s", error)
            self._is_blind = True
            return False
        self._is_blind = False
        if self._may_be_orphaned:
            return due is not None
        return due is not None and due <= now()

    async def _is_another_working(self) -> bool:
        home = self._engine.settings.home
        return await asyncio.to_thread(holder, home, "worker") is not None

    async def _ended(self, stop: asyncio.Event) -> int:
        assert self._child is not None  # noqa: S101 (just started)
        ended = asyncio.ensure_future(self._child.wait())
        stopped = asyncio.ensure_future(stop.wait())
        await asyncio.wait([ended, stopped], return_when=asyncio.FIRST_COMPLETED)
        stopped.cancel()
        return ended.result() if ended.done() else 0

    async def _dismiss(self) -> None:
        child = self._child
        if child is None or child.returncode is not None:
            return
        if child.stdin is not None:
            child.stdin.close()
        try:
            await asyncio.wait_for(child.wait(), LEAVE_S)
        except TimeoutError:
            child.kill()
            await child.wait()


def worker_command(settings: Settings) -> list[str]:
    """How the worker of a data folder is started: with the settings file its parent read."""
    config = [str(settings.config_file)] if settings.config_file is not None else []
    return [sys.executable, "-m", "cli.work", str(settings.home), *config]


async def _pause(stop: asyncio.Event, seconds: float) -> None:
    try:
        await asyncio.wait_for(stop.wait(), seconds)
    except TimeoutError:
        return
