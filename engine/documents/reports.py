"""How the ingestion of a document goes, as its row shows it: progress, failed, waiting, cancelled.

The worker calls this under its own authority, as it does `revisions.py`.
"""

from __future__ import annotations

from sqlalchemy import String, bindparam, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from engine.clock import now
from engine.db.tables import Document, Revision
from engine.documents.cleaning import queue_clean
from engine.documents.lifecycle import take_back
from engine.domain import DocumentState
from engine.jobs.outbox import append_event

_IN_WORK = (DocumentState.PENDING, DocumentState.RUNNING)
# Built once, as it runs twice a second: putting a statement together takes longer than the database
# does. It sets the columns that its parameters name, `row` but for one.
_REPORT = (
    update(Document)
    .where(Document.id == bindparam("row", type_=String))
    .where(Document.state.in_(_IN_WORK))
)


async def report_progress(
    session: AsyncSession, document_id: str, progress: float, message: str
) -> None:
    """Show that a document is being worked on, and how far; an ended one is left alone."""
    values = {"state": DocumentState.RUNNING, "progress": progress, "message": message}
    await (await session.connection()).execute(_REPORT, {"row": document_id, **values})


async def _current(session: AsyncSession, document_id: str, revision_id: str) -> Document | None:
    """The document where this is still its newest revision, to be changed."""
    document = await session.get(Document, document_id, with_for_update=True)
    newest = await session.scalar(
        select(Revision.id)
        .where(Revision.document_id == document_id)
        .order_by(Revision.number.desc())
        .limit(1)
    )
    if document is None or document.deleted_at is not None or newest != revision_id:
        return None
    return document


async def report_failure(
    session: AsyncSession, document_id: str, revision_id: str, error: str, code: str
) -> None:
    """End a document `failed` with one sentence; its live revision, if any, keeps answering."""
    document = await _current(session, document_id, revision_id)
    if document is None:
        return
    document.state = DocumentState.FAILED
    document.progress = -1.0
    document.error = error
    document.error_code = code
    document.message = error
    document.updated_at = now()
    await append_event(
        session,
        document.tenant_id,
        "document.processing_failed",
        {"document_id": document_id, "kb_id": document.kb_id, "error": error, "code": code},
    )


async def report_waiting(session: AsyncSession, document_id: str, reason: str) -> None:
    """Back to `pending` until the next attempt, with the reason of the delay."""
    await session.execute(
        update(Document)
        .where(Document.id == document_id, Document.state.in_(_IN_WORK))
        .values(state=DocumentState.PENDING, message=reason, updated_at=now())
    )


async def report_cancelled(session: AsyncSession, document_id: str, revision_id: str) -> None:
    """End a document `cancelled`, unless a newer revision is on its way already."""
    document = await _current(session, document_id, revision_id)
    if document is None:
        await _clean_after(session, document_id)
        return
    if document.state in _IN_WORK:
        await take_back(session, document)
        document.state = DocumentState.CANCELLED
        document.message = "Cancelled."
        document.updated_at = now()


async def _clean_after(session: AsyncSession, document_id: str) -> None:
    """Remove what an overtaken revision has fed, also where the newer one fails."""
    tenant_id = await session.scalar(select(Document.tenant_id).where(Document.id == document_id))
    if tenant_id is not None:
        await queue_clean(session, tenant_id, document_id)
