"""Runs of workflows as jobs: an attempt of a run, and the deadline of a question."""

from __future__ import annotations

from sqlalchemy.ext.asyncio import AsyncSession

from engine.db.session import Database
from engine.flow.store import RunState
from engine.jobs.kinds import EXPIRE_PAUSE, FIRE_TRIGGER, RUN_WORKFLOW
from engine.jobs.leases import ClaimedJob
from engine.workflows import pauses, running, triggers
from engine.workflows.workflows import Workflows
from ingestion.worker import Handler


class RunWorkflow:
    """Executes a run until it ends or waits for a person."""

    alone = False
    feeds = False

    def __init__(self, workflows: Workflows) -> None:
        self._workflows = workflows

    async def run(self, job: ClaimedJob) -> bool:
        """An attempt continues where the one before stopped."""
        return await self._workflows.execute(job)

    async def waiting(self, session: AsyncSession, job: ClaimedJob, reason: str) -> None:
        """The run's row says that it runs, which the next attempt does."""

    async def failed(self, session: AsyncSession, job: ClaimedJob, error: str, code: str) -> None:
        """End the run with the reason."""
        del code
        await running.give_up(session, job.payload["run_id"], RunState.FAILED, error)

    async def cancelled(self, session: AsyncSession, job: ClaimedJob) -> None:
        """End the run."""
        await running.give_up(session, job.payload["run_id"], RunState.CANCELLED, "Cancelled.")


class ExpirePause:
    """Ends a question that nobody answered in time."""

    alone = False
    feeds = False

    def __init__(self, db: Database) -> None:
        self._db = db

    async def run(self, job: ClaimedJob) -> bool:
        """Does nothing where it was answered."""
        await self._db.run_write(lambda session: pauses.expire(session, job.payload["pause_id"]))
        return False

    async def waiting(self, session: AsyncSession, job: ClaimedJob, reason: str) -> None:
        """Nobody waits for it."""

    async def failed(self, session: AsyncSession, job: ClaimedJob, error: str, code: str) -> None:
        """The question stays open."""

    async def cancelled(self, session: AsyncSession, job: ClaimedJob) -> None:
        """The question stays open."""


class FireTrigger:
    """Begins the run that a trigger is due for."""

    alone = False
    feeds = False

    def __init__(self, workflows: Workflows) -> None:
        self._workflows = workflows

    async def run(self, job: ClaimedJob) -> bool:
        """The job ends in the transaction that begins the run and queues the next instant."""
        await self._workflows.fire(job)
        return True

    async def waiting(self, session: AsyncSession, job: ClaimedJob, reason: str) -> None:
        """It is tried again."""

    async def failed(self, session: AsyncSession, job: ClaimedJob, error: str, code: str) -> None:
        """Keep the reason, and go on with the next instant."""
        del code
        await triggers.go_on(session, job, error)

    async def cancelled(self, session: AsyncSession, job: ClaimedJob) -> None:
        """Nothing follows: the trigger was removed, or its tenant is."""


def workflow_handlers(db: Database, workflows: Workflows) -> dict[str, Handler]:
    """A handler for each kind of job of workflows."""
    return {
        RUN_WORKFLOW: RunWorkflow(workflows),
        EXPIRE_PAUSE: ExpirePause(db),
        FIRE_TRIGGER: FireTrigger(workflows),
    }
