"""Limits on children count the time they could use: waiting for a processor is no fault of a file."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from ingestion import patience
from ingestion.patience import UsableTime, within

SPIN = "print('ready', flush=True)\nwhile True: pass"
SLEEP = "import time\nprint('ready', flush=True)\ntime.sleep(600)"
linux = pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells waiting from sleeping")


@asynccontextmanager
async def running(code: str) -> AsyncIterator[asyncio.subprocess.Process]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", code, stdout=asyncio.subprocess.PIPE
    )
    try:
        await process.stdout.readline()
        yield process
    finally:
        process.kill()
        await process.wait()


async def forever() -> None:
    await asyncio.Event().wait()


@pytest.mark.parametrize("code", [SPIN, SLEEP], ids=["works", "sleeps"])
async def test_a_process_that_does_not_end_spends_its_limit(code):
    async with running(code) as process, asyncio.timeout(120):
        with pytest.raises(TimeoutError):
            await within(forever(), process.pid, 0.5)


async def test_the_result_comes_as_soon_as_it_is_there():
    async def answer() -> int:
        return 7

    async with running(SLEEP) as process:
        assert await within(answer(), process.pid, 600) == 7


async def test_what_goes_wrong_is_raised():
    async def fail() -> None:
        raise EOFError("the child ended")

    async with running(SLEEP) as process:
        with pytest.raises(EOFError):
            await within(fail(), process.pid, 600)


@linux
async def test_a_process_that_waits_for_a_processor_spends_next_to_nothing():
    """Twenty that spin on one core: a share of a twentieth, however long it takes."""
    core = {min(os.sched_getaffinity(0))}
    children = [
        await asyncio.create_subprocess_exec(
            sys.executable, "-c", SPIN, stdout=asyncio.subprocess.PIPE
        )
        for _ in range(20)
    ]
    try:
        for child in children:
            await child.stdout.readline()
            os.sched_setaffinity(child.pid, core)
        spent = UsableTime(children[0].pid)
        for _ in range(20):
            await asyncio.sleep(patience.LOOK_S)
            spent.look()
        assert spent.spent_s < 0.25 * 20 * patience.LOOK_S
    finally:
        for child in children:
            child.send_signal(signal.SIGKILL)
            await child.wait()


async def test_a_process_that_is_gone_spends_all_time():
    async with running(SLEEP) as process:
        spent = UsableTime(process.pid)
    await asyncio.sleep(0.05)
    assert spent.look() >= 0.05
