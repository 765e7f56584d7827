"""How far an ingestion is, by the handle its caller got: what the MCP door's `get_ingestion` asks."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from engine.access import gate
from engine.db.tables import Job
from engine.domain import JobState, Principal, Scope
from engine.errors import NotFound
from engine.jobs.kinds import INGEST


@dataclass(frozen=True, slots=True)
class Ingestion:
    """One ingestion. `progress` is 0 to 1, -1 where it failed; `error` says what to do.

    `state` is that of the job, in the words of documents; `job_id` is empty where none is kept.
    """

    job_id: str
    document_id: str
    title: str
    state: str
    progress: float
    error: str


_STATES = {  # of a job, as documents say it; a document of its own may be ahead by now
    JobState.QUEUED: "pending",
    JobState.RUNNING: "running",
    JobState.DONE: "ready",
    JobState.FAILED: "failed",
    JobState.CANCELLED: "cancelled",
}


async def get_ingestion(session: AsyncSession, principal: Principal, ref: str) -> Ingestion:
    """An ingestion by its job's id, or the latest of a document by the document's id.

    `NotFound` where it is absent or the document is not for this principal to write.
    """
    gate.require(principal, Scope.KB_WRITE)
    job = await session.scalar(
        select(Job)
        .where(
            Job.tenant_id == principal.tenant_id,
            Job.kind == INGEST,
            (Job.id == ref) | (Job.document_id == ref),
        )
        .order_by(Job.id.desc())
        .limit(1)
    )
    document_id = (job.document_id or "") if job is not None else ref
    try:
        document = await gate.get_writable_document(session, principal, document_id)
    except NotFound:
        raise NotFound(f"No ingestion {ref!r} that you may follow.") from None
    newest = await session.scalar(
        select(Job.id)
        .where(Job.document_id == document.id, Job.kind == INGEST)
        .order_by(Job.id.desc())
        .limit(1)
    )
    if job is None or job.id == newest:
        return Ingestion(
            job_id=job.id if job is not None else "",
            document_id=document.id,
            title=document.title,
            state=document.state,
            progress=document.progress if document.state != "ready" else 1.0,
            error=document.error,
        )
    state = _STATES[JobState(job.state)]
    return Ingestion(
        job_id=job.id,
        document_id=document.id,
        title=document.title,
        state=state,
        progress={"ready": 1.0, "failed": -1.0}.get(state, 0.0),
        error=job.error,
    )
