"""`delete_document`: delete a document; no answer uses it from now on."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, Field

from engine.domain import Scope
from mcp_server.call import current
from mcp_server.tool import DELETING, KnowledgeTool


class Deleted(BaseModel):
    deleted: bool
    document_id: str


DESCRIPTION = (
    "Delete a document for everyone, at once and for good. Only when the user asked for exactly"
    " that. Takes the id from list_documents."
)


async def delete_document(
    document_id: Annotated[
        str, Field(min_length=1, max_length=100, description="From list_documents.")
    ],
) -> Deleted:
    """The deleted document."""
    call = current()
    document = await call.caller.engine.documents.delete(call.caller.principal, document_id)
    call.kb_ids, call.results = [document.kb_id], 1
    return Deleted(deleted=True, document_id=document.id)


def build_delete_document() -> KnowledgeTool:
    """The tool `delete_document`."""
    return KnowledgeTool.of(
        delete_document,
        scope=Scope.KB_ADMIN,
        title="Delete a document",
        description=DESCRIPTION,
        hints=DELETING,
    )
