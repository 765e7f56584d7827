"""What the index is to know of documents besides their text, as SQL has it now.

The worker's `UPDATE_FIELDS` jobs bring the index up to it, and `reconcile` compares the two.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Row, select
from sqlalchemy.ext.asyncio import AsyncSession

from engine.custom_fields import index_features
from engine.db.tables import Acl, Document, KnowledgeBase, Live
from engine.index.port import FieldUpdate, RevisionRef, Space, StoredFields


@dataclass(frozen=True, slots=True)
class IndexedFields:
    """Where a document's live revisions are, and the fields that each must have there."""

    tenant_id: str
    space: Space
    updates: tuple[FieldUpdate, ...]


async def indexed_fields(session: AsyncSession, document_id: str) -> IndexedFields | None:
    """What the index must know of a document now; None where nothing of it answers."""
    rows = await _rows(session, Document.id == document_id)
    if not rows:
        return None
    updates = (
        FieldUpdate(
            document_id,
            row.revision_id,
            acl=fields.acl,
            acl_all=tuple(sorted(row.acl_all)),
            hidden=fields.hidden,
            tags=fields.tags,
            features=dict(fields.features),
        )
        for row, fields in ((row, _fields(row)) for row in rows)
    )
    space = Space(rows[0].space, rows[0].dimension)
    return IndexedFields(rows[0].tenant_id, space, tuple(updates))


async def wanted_fields(
    session: AsyncSession, tenant_id: str, space: Space
) -> dict[RevisionRef, StoredFields]:
    """What a space must know of every live revision."""
    rows = await _rows(session, Document.tenant_id == tenant_id, KnowledgeBase.space == space.name)
    return {RevisionRef(row.id, row.revision_id): _fields(row) for row in rows}


def _fields(row: Row[Any]) -> StoredFields:
    return StoredFields(
        acl=tuple(sorted(row.tokens)),
        tags=tuple(sorted(row.tags)),
        features=tuple(sorted(index_features(row.fields, row.features).items())),
        hidden=row.hidden,
    )


async def _rows(session: AsyncSession, *conditions: ColumnElement[bool]) -> Sequence[Row[Any]]:
    """A row a live revision."""
    query = (
        select(
            Document.id,
            Document.tenant_id,
            Document.hidden,
            Document.acl_all,
            Document.tags,
            Document.fields,
            Document.features,
            KnowledgeBase.space,
            KnowledgeBase.dimension,
            Live.revision_id,
            Acl.tokens,
        )
        .join(Live, Live.document_id == Document.id)
        .join(KnowledgeBase, KnowledgeBase.id == Document.kb_id)
        .join(Acl, Acl.id == Document.acl_id)
        .where(Document.deleted_at.is_(None), KnowledgeBase.deleted_at.is_(None), *conditions)
        .order_by(Live.revision_id, Live.branch)
    )
    once: dict[str, Any] = {}  # on however many branches
    for row in await session.execute(query):
        once[row.revision_id] = row
    return list(once.values())
