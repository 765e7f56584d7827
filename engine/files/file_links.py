"""The documents that files are in knowledge bases: one for each file and knowledge base.

Each function works on the caller's session, in the transaction of its cause.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import delete, select
from sqlalchemy.ext.asyncio import AsyncSession

from engine import clock
from engine.access import gate
from engine.db.session import upsert
from engine.db.tables import Document, FileDocument, FileEntry, KnowledgeBase
from engine.documents.adding import Added
from engine.documents.lifecycle import retire
from engine.domain import Principal
from engine.errors import Forbidden, HasDocuments, NotFound

LISTED_MAX = 100  # ids a statement
EXTERNAL = "file:"  # what the external ids of such documents begin with


@dataclass(frozen=True, slots=True)
class FileLink:
    """A knowledge base that a file is in, and the document that it is there."""

    knowledge_base_id: str
    knowledge_base: str
    document_id: str
    state: str


async def add_link(session: AsyncSession, file: FileEntry, kb_id: str, added: Added) -> None:
    """Keep which document a file is in a knowledge base."""
    values = {
        "file_id": file.id,
        "kb_id": kb_id,
        "document_id": added.document_id,
        "tenant_id": file.tenant_id,
        "created_at": clock.now(),
    }
    statement = upsert(session, FileDocument).values(**values)
    await session.execute(
        statement.on_conflict_do_update(
            index_elements=["file_id", "kb_id"], set_={"document_id": added.document_id}
        )
    )


async def links_of(
    session: AsyncSession, principal: Principal, file_ids: Sequence[str]
) -> dict[str, list[FileLink]]:
    """The links of files that the principal may see: those to documents they may read."""
    found: dict[str, list[FileLink]] = {}
    for start in range(0, len(file_ids), LISTED_MAX):
        rows = await session.execute(
            gate.select_documents(principal)
            .join(FileDocument, FileDocument.document_id == Document.id)
            .join(KnowledgeBase, KnowledgeBase.id == FileDocument.kb_id)
            .where(FileDocument.file_id.in_(file_ids[start : start + LISTED_MAX]))
            .with_only_columns(
                FileDocument.file_id,
                KnowledgeBase.id,
                KnowledgeBase.name,
                Document.id,
                Document.state,
            )
            .order_by(KnowledgeBase.name)
        )
        for file_id, *link in rows:
            found.setdefault(file_id, []).append(FileLink(*link))
    return found


async def linked(session: AsyncSession, file: FileEntry) -> list[tuple[str, str]]:
    """The knowledge bases that a file is in, and its documents there, whoever may see them."""
    rows = await session.execute(
        select(FileDocument.kb_id, FileDocument.document_id)
        .join(KnowledgeBase, KnowledgeBase.id == FileDocument.kb_id)
        .where(
            FileDocument.file_id == file.id,
            FileDocument.tenant_id == file.tenant_id,
            KnowledgeBase.deleted_at.is_(None),
        )
        .order_by(FileDocument.kb_id)
    )
    return [(row[0], row[1]) for row in rows]


async def remove_link(
    session: AsyncSession, principal: Principal, file: FileEntry, kb_id: str
) -> str:
    """Delete the document that a file is in a knowledge base, and no other; its id."""
    document_id = await session.scalar(
        select(FileDocument.document_id).where(
            FileDocument.file_id == file.id,
            FileDocument.kb_id == kb_id,
            FileDocument.tenant_id == principal.tenant_id,
        )
    )
    if document_id is None:
        raise NotFound(f"{file.name} is not in this knowledge base.")
    document = await gate.get_writable_document(session, principal, document_id)
    await retire(session, document)
    await gate.audit(session, principal, "document.delete", document.id)
    return document.id


async def release(
    session: AsyncSession, principal: Principal, files: Sequence[FileEntry], documents: str
) -> int:
    """Before files are deleted: do with their documents as said; how many were deleted.

    `refuse` raises `HasDocuments` where there is one, `delete` deletes them all or, where one of them
    is not this principal's to delete, raises `Forbidden`; `keep` lets them answer on their own.
    """
    ids = [file.id for file in files]
    document_ids: list[str] = []
    for start in range(0, len(ids), LISTED_MAX):
        linked = FileDocument.file_id.in_(ids[start : start + LISTED_MAX])
        rows = select(FileDocument.document_id).join(
            KnowledgeBase, KnowledgeBase.id == FileDocument.kb_id
        )
        rows = rows.where(linked, KnowledgeBase.deleted_at.is_(None))
        document_ids += await session.scalars(rows)
        if documents == "keep":
            await session.execute(delete(FileDocument).where(linked))
    if not document_ids or documents == "keep":
        return 0
    if documents != "delete":
        raise HasDocuments(
            "Documents were made of this, and answers may rest on them: say whether to delete them"
            " too, or to keep them in their knowledge bases."
        )
    for document_id in document_ids:
        try:
            document = await gate.get_writable_document(session, principal, document_id)
        except (NotFound, Forbidden):
            raise Forbidden(
                "A document that was made of this is in a knowledge base you may not write to: keep"
                " the documents, or ask who may."
            ) from None
        await retire(session, document)
        await gate.audit(session, principal, "document.delete", document.id)
    return len(document_ids)
