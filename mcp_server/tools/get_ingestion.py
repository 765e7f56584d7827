"""`get_ingestion`: the progress of an added document."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, Field

from engine.domain import Scope
from mcp_server.call import current
from mcp_server.tool import KnowledgeTool


class IngestionState(BaseModel):
    job_id: str
    document_id: str
    status: str
    progress: float
    error: str


DESCRIPTION = (
    "Show the progress of an added document: pending, running, ready, failed or cancelled. "
    "progress is 0 to 1; if it failed, error says what to do."
)


async def get_ingestion(
    job_id: Annotated[
        str,
        Field(min_length=1, max_length=100, description="job_id, or a document's id."),
    ],
) -> IngestionState:
    """The state of the ingestion now."""
    call = current()
    found = await call.caller.engine.documents.get_ingestion(call.caller.principal, job_id)
    call.results = 1
    return IngestionState(
        job_id=found.job_id,
        document_id=found.document_id,
        status=found.state,
        progress=round(max(found.progress, 0.0), 3),
        error=found.error,
    )


def build_get_ingestion() -> KnowledgeTool:
    """The tool `get_ingestion`."""
    return KnowledgeTool.of(
        get_ingestion,
        scope=Scope.KB_WRITE,
        title="Follow an added document",
        description=DESCRIPTION,
    )
