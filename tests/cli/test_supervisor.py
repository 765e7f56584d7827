"""The supervisor: when it starts a worker, when it does not, and how it sees one out."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest

from cli import supervisor as supervisor_module
from cli.supervisor import Supervisor
from cli.work import ALREADY_RUNNING
from engine.clock import now
from engine.errors import Unavailable
from engine.locks import hold

BOUND_S = 60
UNTIL_CLOSED = "import sys; sys.stdin.read()"


class Jobs:
    """What the supervisor asks an engine: when a job is due."""

    def __init__(self, home: Path) -> None:
        self.settings = SimpleNamespace(home=home)
        self.operations = self
        self.due: datetime | None = None
        self.is_away = False
        self.asked = 0

    async def next_job_due_at(self) -> datetime | None:
        self.asked += 1
        if self.is_away:
            raise Unavailable("The database is not available.")
        return self.due


@pytest.fixture
def jobs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Jobs:
    monkeypatch.setattr(supervisor_module, "LOOK_S", 0.01)
    monkeypatch.setattr(supervisor_module, "LONGEST_BACKOFF_S", 0.05)
    return Jobs(tmp_path)


@asynccontextmanager
async def supervising(jobs: Jobs, script: str, *arguments: str) -> AsyncIterator[Supervisor]:
    stop = asyncio.Event()
    supervisor = Supervisor(jobs, [sys.executable, "-c", script, *arguments])
    task = asyncio.create_task(supervisor.run(stop))
    try:
        yield supervisor
    finally:
        stop.set()
        async with asyncio.timeout(BOUND_S):
            await task


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(BOUND_S):
        while not condition():  # noqa: ASYNC110 (a process tells nobody)
            await asyncio.sleep(0.01)


async def test_a_worker_is_started_when_a_job_is_due_and_seen_out_at_the_end(jobs):
    async with supervising(jobs, UNTIL_CLOSED) as supervisor:
        await until(lambda: jobs.asked > 2)
        assert supervisor.pid is None
        jobs.due = now()
        await until(lambda: supervisor.pid)
    assert supervisor.pid is None


async def test_what_a_dead_worker_held_is_taken_over_without_waiting_for_its_lease(jobs):
    jobs.due = now() + timedelta(seconds=30)  # the lease of a worker that was killed
    async with supervising(jobs, UNTIL_CLOSED) as supervisor:
        await until(lambda: supervisor.pid)


async def test_work_that_is_delayed_waits_once_a_worker_has_looked(jobs, tmp_path):
    jobs.due = now()
    log = tmp_path / "log"
    script = "import sys; open(sys.argv[1], 'a').write('x')"
    async with supervising(jobs, script, str(log)) as supervisor:
        await until(lambda: supervisor.pid)
        jobs.due = now() + timedelta(seconds=30)
        await until(lambda: supervisor.pid is None)
        asked, started = jobs.asked, log.read_text()
        await until(lambda: jobs.asked > asked + 5)
        assert log.read_text() == started


async def test_no_second_worker_is_started_beside_another(jobs):
    jobs.due = now()
    with hold(jobs.settings.home, "worker", "scrubjay worker"):
        async with supervising(jobs, UNTIL_CLOSED) as supervisor:
            await until(lambda: jobs.asked > 5)
            assert supervisor.pid is None


@pytest.mark.parametrize("status", [1, ALREADY_RUNNING])
async def test_a_worker_that_fails_is_started_again(jobs, tmp_path, status):
    jobs.due = now()
    log = tmp_path / "log"
    script = "import sys; open(sys.argv[1], 'a').write('x'); sys.exit(int(sys.argv[2]))"
    async with supervising(jobs, script, str(log), str(status)):
        await until(lambda: log.exists() and len(log.read_text()) >= 2)


async def test_a_database_that_is_away_is_waited_for_and_said_once(jobs, caplog):
    jobs.is_away = True
    async with supervising(jobs, UNTIL_CLOSED) as supervisor:
        await until(lambda: jobs.asked > 5)
        assert caplog.text.count("can't check for work") == 1
        jobs.is_away, jobs.due = False, now()
        await until(lambda: supervisor.pid)


async def test_a_worker_that_does_not_leave_is_killed(jobs, monkeypatch):
    monkeypatch.setattr(supervisor_module, "LEAVE_S", 0.1)
    jobs.due = now()
    async with supervising(jobs, "import time; time.sleep(60)") as supervisor:
        await until(lambda: supervisor.pid)
    assert supervisor.pid is None
