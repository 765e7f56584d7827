"""The state of a document, in a sentence: what it waits for, what is done to it, why it failed.

`documents.py` calls it once it knows that the principal may see the document.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from engine.clock import now
from engine.db.tables import Document, Job, Live, Revision, Run, RunNode
from engine.domain import JobState, Vectors
from engine.jobs import heartbeats
from engine.wording import counted

WORKER_ALIVE_S = 10.0  # a worker beats every second; one silent for longer is gone
ETA_FROM = 0.05  # of a run: before that its speed says nothing


@dataclass(frozen=True, slots=True)
class _StatusFacts:
    """What the sentence is made of."""

    document: Document
    job: Job | None
    run: Run | None
    ahead: int
    workers: int
    failed_in: str
    live: str | None
    newest: str | None


async def explain(session: AsyncSession, document: Document) -> str:
    """One or two sentences: its state, and what to do where something is to be done."""
    job = await session.scalar(
        select(Job)
        .where(Job.document_id == document.id, Job.kind == "ingest_document")
        .order_by(Job.id.desc())
        .limit(1)
    )
    ahead = 0
    if job is not None and job.state == JobState.QUEUED:
        waiting = select(func.count()).select_from(Job)
        ahead = (
            await session.scalar(
                waiting.where(
                    Job.tenant_id == document.tenant_id,
                    Job.state.in_([JobState.QUEUED, JobState.RUNNING]),
                    Job.id < job.id,
                )
            )
            or 0
        )
    run = await session.scalar(
        select(Run).where(Run.document_id == document.id).order_by(Run.id.desc()).limit(1)
    )
    failed_in = ""
    if document.state == "failed" and run is not None and job is not None and run.job_id == job.id:
        failed_in = (
            await session.scalar(
                select(RunNode.node_id).where(RunNode.run_id == run.id, RunNode.state == "failed")
            )
            or ""
        )
    newest = select(Revision.id).where(Revision.document_id == document.id)
    return _sentence(
        _StatusFacts(
            document=document,
            job=job,
            run=run,
            ahead=ahead,
            workers=len(await heartbeats.live_workers(session, within_s=WORKER_ALIVE_S)),
            failed_in=failed_in,
            live=await session.scalar(
                select(Live.revision_id).where(Live.document_id == document.id).limit(1)
            ),
            newest=await session.scalar(newest.order_by(Revision.number.desc()).limit(1)),
        )
    )


def _sentence(facts: _StatusFacts) -> str:
    document = facts.document
    match document.state:
        case "ready":
            found = "keyword and semantic" if document.vectors == Vectors.COMPLETE else "keyword"
            passages = counted(document.chunk_count, "passage")
            said = f"{document.title!r} is ready: {passages}, {found} search."
            notice = document.details.get("notice")
            return f"{said} {notice}" if notice else said
        case "failed":
            return _failed(facts)
        case "cancelled":
            return f"{document.title!r} was cancelled; `docs retry` starts it again." + _meanwhile(
                facts
            )
        case "running":
            return _running(facts)
    return _waiting(facts) + _meanwhile(facts)


def _failed(facts: _StatusFacts) -> str:
    document, job = facts.document, facts.job
    where = f" in component {facts.failed_in!r}" if facts.failed_in else ""
    tries = f" after {job.attempts} attempts" if job is not None and job.attempts > 1 else ""
    end = "" if document.error.endswith(".") else "."
    return f"{document.title!r} failed{where}{tries}: {document.error}{end}{_meanwhile(facts)}"


def _running(facts: _StatusFacts) -> str:
    document, run = facts.document, facts.run
    where = f" ({run.message})" if run is not None and run.message else ""
    left = ""
    if run is not None and run.ended_at is None:
        seconds = time_left_s(run.started_at, document.progress)
        left = f", about {duration(seconds)} left" if seconds is not None else ""
    said = f"{document.title!r} is being ingested, {document.progress:.0%}{where}{left}."
    return said + _meanwhile(facts)


def _waiting(facts: _StatusFacts) -> str:
    document, job = facts.document, facts.job
    if job is None:
        return f"{document.title!r} has no job; `scrubjay reconcile` queues it again."
    if job.state == JobState.QUEUED and job.run_at > now():
        wait = (job.run_at - now()).total_seconds()
        reason = f" after: {job.error}" if job.error else ""
        tries = f" (attempt {job.attempts + 1} of {job.max_attempts})" if job.attempts else ""
        end = "" if reason.endswith(".") else "."
        return f"{document.title!r} will be retried in {wait:.0f} s{tries}{reason}{end}"
    jobs_ahead = "1 other job" if facts.ahead == 1 else f"{facts.ahead} other jobs"
    queue = f"behind {jobs_ahead}" if facts.ahead else "next in line"
    if not facts.workers:
        return (
            f"{document.title!r} waits {queue}, and no worker is running: start one with"
            " `scrubjay up` or `scrubjay worker`."
        )
    return f"{document.title!r} waits {queue}; a worker will take it as soon as one is free."


def _meanwhile(facts: _StatusFacts) -> str:
    if facts.live is None:
        return ""
    if facts.live == facts.newest:
        return " It is already searchable by keywords."
    return " The previous revision keeps answering."


def time_left_s(started_at: datetime, progress: float) -> float | None:
    """How long a run will take if it keeps its speed; None where that is not known yet."""
    if not ETA_FROM <= progress < 1:
        return None
    return (now() - started_at).total_seconds() * (1 - progress) / progress


def duration(seconds: float) -> str:
    """A length of time in the unit that suits it."""
    if seconds < 1:
        return "a second"
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
