"""The worker: takes hints from the broker, claims their jobs, runs them, and leaves cleanly.

One asyncio loop owns the engine; Dramatiq's threads only carry messages to it and wait. A job
holds one of `slots` while it works, and gives it back (`park`) while it waits for the embedder:
so the words of many documents are found long before the vectors of the first.
Started by `scrubjay up` (as a child), `scrubjay worker`, and `scrubjay add` when none is there.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
import time
from collections.abc import Awaitable, Callable, Mapping
from contextvars import ContextVar, copy_context
from dataclasses import dataclass, field
from functools import partial
from typing import Protocol

import dramatiq
from sqlalchemy.ext.asyncio import AsyncSession

from engine.clock import new_id
from engine.db.session import Database
from engine.domain import JobState
from engine.errors import (
    Blocked,
    Cancelled,
    Conflict,
    CreditsExhausted,
    DocumentError,
    EngineError,
    IndexFull,
    LeaseLost,
    OverTime,
    RateLimited,
    Unavailable,
)
from engine.jobs import backlog, claims, endings, heartbeats
from engine.jobs.leases import ClaimedJob
from ingestion.broker import QUEUE
from ingestion.exclusive_lock import ExclusiveLock
from ingestion.lease_keeper import LeaseKeeper
from ingestion.relay import ACTOR, OUTAGE_PAUSE_S, Relay

log = logging.getLogger(__name__)

RENEW_S = 1.0  # how soon a cancellation is noticed
STOP_GRACE_S = 4.0  # for running jobs to notice that they are given back
FULL_PAUSE_S = 60.0  # until a full index is tried again
PASSING = (Conflict, OverTime)  # errors that another attempt may not meet, as Unavailable


_leave_slot: ContextVar[Callable[[], None] | None] = ContextVar("leave_slot", default=None)


def park() -> None:
    """Called inside a job that will now mostly wait: its slot serves another."""
    leave = _leave_slot.get()
    if leave is not None:
        leave()


@dataclass(slots=True, eq=False)
class _RunningJob:
    """A claimed job, its work, and whether it still holds its slot."""

    claimed: ClaimedJob
    task: asyncio.Task[bool]
    left_slot: asyncio.Event = field(default_factory=asyncio.Event)
    ended: asyncio.Task[None] = field(init=False)


class Handler(Protocol):
    """What a kind of job does, and what its document shows when the job does not succeed."""

    alone: bool  # whether nothing else may run beside it
    feeds: bool  # whether it fills the index, and so waits while that is full

    async def run(self, job: ClaimedJob) -> bool:
        """Do the work, wholly or in part done before; True where it also finished the job."""

    async def waiting(self, session: AsyncSession, job: ClaimedJob, reason: str) -> None:
        """An attempt failed and another follows."""

    async def failed(self, session: AsyncSession, job: ClaimedJob, error: str, code: str) -> None:
        """No attempt follows."""

    async def cancelled(self, session: AsyncSession, job: ClaimedJob) -> None:
        """The job ended because a person asked for it, or because it became pointless."""


class JobWorker:
    """Runs jobs of the kinds in `handlers` until it is stopped.

    At most `slots` work at a time; at most `parked` more wait for the embedder.
    """

    def __init__(
        self,
        db: Database,
        broker: dramatiq.Broker,
        handlers: Mapping[str, Handler],
        *,
        slots: int,
        parked: int,
        lease_s: float,
        figures: Callable[[], Mapping[str, float]] = dict,
    ) -> None:
        """`figures` is what this process has counted, shown with its heartbeat."""
        self.id = f"{socket.gethostname()}-{os.getpid()}-{new_id()[-6:]}"
        self._db = db
        self._broker = broker
        self._handlers = handlers
        self._slots = slots
        self._limit = slots + parked
        self._lease_s = lease_s
        self._running: dict[str, _RunningJob] = {}
        self._figures = figures
        self._full_until = 0.0  # of the monotonic clock
        self._exclusive_lock = ExclusiveLock()
        self._stopping = False
        self._busy_at = time.monotonic()
        self._unhinted: set[asyncio.Task[None]] = set()
        self._relay = Relay(
            db,
            broker,
            kinds=self._kinds,
            free_slots=self._free_slots,
            work_here=self._work_here,
            held=self._running.keys,
        )

    @property
    def _is_index_full(self) -> bool:
        return time.monotonic() < self._full_until

    def _kinds(self) -> list[str]:
        """What is taken on: while the index is full only what needs no room in it."""
        full = self._is_index_full
        return [kind for kind, handler in self._handlers.items() if not (full and handler.feeds)]

    def _free_slots(self) -> int:
        if self._stopping or self._exclusive_lock.is_reserved:
            return 0
        working = sum(not job.left_slot.is_set() for job in self._running.values())
        return min(self._slots - working, self._limit - len(self._running))

    def _park(self, job_id: str) -> None:
        if job_id in self._running and len(self._running) < self._limit:
            self._running[job_id].left_slot.set()

    async def run(self, stop: asyncio.Event, *, idle_exit_s: float | None = None) -> None:
        """Work until `stop` is set or nothing was to do for `idle_exit_s`; 0 = until idle."""
        loop = asyncio.get_running_loop()

        def work(job_id: str) -> None:
            if not self._stopping:
                asyncio.run_coroutine_threadsafe(self.work(job_id), loop).result()

        dramatiq.actor(actor_name=ACTOR, queue_name=QUEUE, broker=self._broker)(work)
        threads = dramatiq.Worker(self._broker, worker_threads=self._slots, worker_timeout=100)
        await asyncio.to_thread(threads.start)
        async with self._keeper().keeping() as keeping:
            await self._run(stop, idle_exit_s, threads, keeping)
        await heartbeats.forget_worker(self._db, self.id)

    async def _run(
        self,
        stop: asyncio.Event,
        idle_exit_s: float | None,
        threads: dramatiq.Worker,
        keeping: asyncio.Future[None],
    ) -> None:
        relaying = asyncio.create_task(self._relay.run(stop))
        try:
            while not stop.is_set():
                for needed in (relaying, keeping):
                    if needed.done():
                        needed.result()
                if idle_exit_s is not None and await self._is_idle(idle_exit_s):
                    break
                await _pause(stop, 0.1)
        finally:
            self._stopping = True
            stop.set()
            for job in list(self._running.values()):
                job.task.cancel()
            ending = [job.ended for job in self._running.values()]
            if ending:
                await asyncio.wait(ending, timeout=STOP_GRACE_S)
            await asyncio.wait([relaying, *self._unhinted], timeout=STOP_GRACE_S)
            await asyncio.to_thread(threads.stop, int(STOP_GRACE_S * 1000))

    async def _is_idle(self, idle_exit_s: float) -> bool:
        if self._running or time.monotonic() - self._busy_at < idle_exit_s:
            return False
        try:
            return await backlog.next_due_at(self._db, kinds=list(self._handlers)) is None
        except Unavailable:  # who can't see whether there is work has not seen that there is none
            return False

    def _keeper(self) -> LeaseKeeper:
        return LeaseKeeper(
            self._db.url,
            self.id,
            lease_s=self._lease_s,
            every_s=min(self._lease_s / 3, RENEW_S),
            held=lambda: [job.claimed for job in list(self._running.values())],
            state=lambda: heartbeats.INDEX_FULL if self._is_index_full else heartbeats.RUNNING,
            figures=self._figures,
            stop=self._stop_jobs,
        )

    def _stop_jobs(self, ids: set[str]) -> None:
        """They were cancelled, or taken over by another worker."""
        for job_id in ids & self._running.keys():
            self._running[job_id].task.cancel()

    def _work_here(self, job_id: str) -> None:
        """Begin a job whose hint could not be sent."""
        task = asyncio.create_task(self.work(job_id))
        self._unhinted.add(task)
        task.add_done_callback(self._unhinted.discard)

    async def work(self, job_id: str) -> None:
        """Claim one job and return when it ended or gave its slot back."""
        started: list[_RunningJob] = []
        try:
            if not self._exclusive_lock.is_reserved:  # else the row waits for another hint
                claimed = await claims.claim(
                    self._db,
                    self.id,
                    kinds=self._kinds(),
                    lease_s=self._lease_s,
                    job_id=job_id,
                )
                started = [self._begin(job) for job in claimed]
        except Unavailable as error:
            log.warning("job %s could not be claimed: %s", job_id, error)
            await asyncio.sleep(OUTAGE_PAUSE_S)
        finally:
            self._relay.taken(job_id)
        for running in started:
            await running.left_slot.wait()

    def _begin(self, job: ClaimedJob) -> _RunningJob:
        context = copy_context()
        context.run(_leave_slot.set, partial(self._park, job.id))
        running = _RunningJob(job, asyncio.create_task(self._do(job), context=context))
        self._running[job.id] = running
        running.ended = asyncio.create_task(self._see_through(running))
        if self._stopping:  # claimed while the others were being given back
            running.task.cancel()
        return running

    async def _do(self, job: ClaimedJob) -> bool:
        handler = self._handlers[job.kind]
        alone = handler.alone or job.is_suspect
        async with self._exclusive_lock.alone() if alone else self._exclusive_lock.together():
            return await handler.run(job)

    async def _see_through(self, running: _RunningJob) -> None:
        try:
            await self._settle(running.claimed, running.task)
        except (
            Exception
        ):  # the end could not be written: the lease lapses and another worker continues
            log.exception("job %s ended, but its end was not written", running.claimed.id)
        finally:
            self._running.pop(running.claimed.id, None)
            running.left_slot.set()
            self._busy_at = time.monotonic()

    async def _settle(self, job: ClaimedJob, task: asyncio.Task[bool]) -> None:
        handler = self._handlers[job.kind]
        await asyncio.wait([task])
        try:
            finished = task.result()
        except asyncio.CancelledError:
            await self._commit(lambda session: self._stopped(session, job, handler))
        except Cancelled:
            await self._commit(lambda session: self._cancelled(session, job, handler))
        except DocumentError as error:
            again_in_s = error.retry_after_s
            await self._failed(
                job, handler, str(error), error.code, retry=error.retry, retry_in_s=again_in_s
            )
        except Blocked as error:
            await self._blocked(job, handler, error)
        except CreditsExhausted as error:  # nothing is wrong with the document: it waits
            await self._blocked(job, handler, Blocked(str(error)))
        except (RateLimited, Unavailable) as error:
            again_in_s = error.retry_after_s
            await self._failed(
                job, handler, str(error), error.code, retry=True, retry_in_s=again_in_s
            )
        except EngineError as error:
            passing = isinstance(error, PASSING)
            await self._failed(job, handler, str(error), error.code, retry=passing)
        except Exception:  # the edge of a job: whatever happens, its row and its document say so
            incident = new_id()[-8:]
            log.exception("job %s (%s) failed, incident %s", job.id, job.kind, incident)
            reason = f"Unexpected error (incident {incident}); see the log."
            await self._failed(job, handler, reason, "internal", retry=True)
        else:
            if not finished:
                await self._commit(lambda session: endings.finish(session, job))

    async def _commit(self, ending: Callable[[AsyncSession], Awaitable[None]]) -> None:
        """Write how a job ended; a worker that took it over writes that instead.

        A database that is away is waited for, with the lease held: the work is not done twice.
        """
        while True:
            try:
                await self._db.run_write(ending)
            except LeaseLost as error:
                # Told to stop just after its last write, a job is done already: nothing to report.
                log.log(logging.DEBUG if self._stopping else logging.WARNING, "%s", error)
            except Unavailable as error:
                if self._stopping:
                    raise
                log.warning("a job's end is written later: %s", error)
                await asyncio.sleep(OUTAGE_PAUSE_S)
                continue
            return

    async def _stopped(self, session: AsyncSession, job: ClaimedJob, handler: Handler) -> None:
        if not self._stopping:
            await self._cancelled(session, job, handler)
        elif await endings.release(session, job) is JobState.CANCELLED:
            await handler.cancelled(session, job)
        else:
            await handler.waiting(session, job, "The worker stopped; another one continues.")

    async def _cancelled(self, session: AsyncSession, job: ClaimedJob, handler: Handler) -> None:
        await endings.finish(session, job, state=JobState.CANCELLED)
        await handler.cancelled(session, job)

    async def _blocked(self, job: ClaimedJob, handler: Handler, error: Blocked) -> None:
        if isinstance(error, IndexFull):
            if not self._is_index_full:
                log.error("what fills the index waits: %s", error)
            self._full_until = time.monotonic() + (error.retry_after_s or FULL_PAUSE_S)

        async def commit(session: AsyncSession) -> None:
            state = await endings.hold(session, job, str(error), retry_in_s=error.retry_after_s)
            if state is JobState.QUEUED:
                await handler.waiting(session, job, str(error))
            else:
                await handler.cancelled(session, job)

        await self._commit(commit)

    async def _failed(
        self,
        job: ClaimedJob,
        handler: Handler,
        error: str,
        code: str,
        *,
        retry: bool,
        retry_in_s: float | None = None,
    ) -> None:
        async def commit(session: AsyncSession) -> None:
            match await endings.fail(session, job, error, retry=retry, retry_in_s=retry_in_s):
                case JobState.QUEUED:
                    await handler.waiting(session, job, error)
                case JobState.FAILED:
                    await handler.failed(session, job, error, code)
                case _:
                    await handler.cancelled(session, job)

        await self._commit(commit)


async def _pause(stop: asyncio.Event, seconds: float) -> None:
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(stop.wait(), seconds)
