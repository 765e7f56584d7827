"""Files within files become documents of their own: what a message had attached.

Called in the transaction that lets their parent answer. A child is derived from its parent: it is
visible only while the parent answers and to who may read that (`access.py`), has its readers, and
goes when the parent goes or comes without it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from engine.db.tables import Document, Live, Revision
from engine.documents.lifecycle import (
    TITLE_MAX,
    child_ids,
    children_of,
    reset_state,
    retire,
    start_revision,
)
from engine.documents.revisions import Work
from engine.documents.upload_options import details_of, kept_options
from engine.domain import DocumentState, Lane
from engine.index.port import RevisionRef
from engine.jobs import endings
from engine.operations.reconcile import queue_reindex

DEPTH = 2  # a message's files, and those of a message attached to it
MAX_ATTEMPTS = 5

_DEPTH = "attachment_depth"  # in a child's details


@dataclass(frozen=True, slots=True)
class Attached:
    """A file found in a document; its bytes are stored."""

    name: str
    blob_hash: str
    size_bytes: int


async def settle(
    session: AsyncSession, work: Work, files: Sequence[Attached], *, lane: Lane
) -> None:
    """Let the documents made of a parent's files be exactly these; unchanged ones stay as they are."""
    if not files:
        of_revision = select(Revision.number).where(Revision.id == work.revision_id)
        if await session.scalar(of_revision) == 1:
            return  # the first content has nothing before it to take back
    parent = await session.get(Document, work.document_id)
    if parent is None or parent.deleted_at is not None:
        return
    depth = int(parent.details.get(_DEPTH, 0)) + 1
    known = {child.external_id: child for child in await children_of(session, parent)}
    wanted = dict(zip(child_ids(parent), files if depth <= DEPTH else (), strict=False))
    for external_id, file in wanted.items():
        await _settle_one(session, parent, file, known.get(external_id), external_id, depth, lane)
    for external_id, child in known.items():
        if external_id not in wanted and child.deleted_at is None:
            await retire(session, child)


async def _settle_one(
    session: AsyncSession,
    parent: Document,
    file: Attached,
    child: Document | None,
    external_id: str,
    depth: int,
    lane: Lane,
) -> None:
    newest = None
    if child is not None:
        newest = await session.scalar(
            select(Revision)
            .where(Revision.document_id == child.id)
            .order_by(Revision.number.desc())
            .limit(1)
        )
        same = (
            newest is not None
            and newest.blob_hash == file.blob_hash
            and kept_options(child.details) == kept_options(parent.details)
        )
        if same and child.deleted_at is None and child.state != DocumentState.CANCELLED:
            await _share(session, parent, child)
            return
        await endings.cancel_document(session, child.tenant_id, child.id)
    else:
        child = Document(
            tenant_id=parent.tenant_id,
            kb_id=parent.kb_id,
            source_id=parent.source_id,
            external_id=external_id,
            acl_id=parent.acl_id,
            title="",
        )
        session.add(child)
    child.title = f"{file.name} ({parent.title})"[:TITLE_MAX]
    child.url = parent.url
    child.acl_id, child.acl_all = parent.acl_id, list(parent.acl_all)
    child.hidden = parent.hidden
    child.derived_from = [parent.id]
    options = details_of(kept_options(parent.details))
    child.details = {"attachment_of": parent.id, _DEPTH: depth, **options}
    child.source_updated_at = parent.source_updated_at
    child.size_bytes = file.size_bytes
    child.deleted_at = None
    reset_state(child)
    await session.flush()
    await start_revision(
        session,
        child,
        newest,
        blob_hash=file.blob_hash,
        filename=file.name,
        size_bytes=file.size_bytes,
        lane=lane,
        max_attempts=MAX_ATTEMPTS,
    )


async def _share(session: AsyncSession, parent: Document, child: Document) -> None:
    """Give an unchanged child its parent's readers; the index follows."""
    if (child.acl_id, list(child.acl_all)) == (parent.acl_id, list(parent.acl_all)):
        return
    child.acl_id, child.acl_all = parent.acl_id, list(parent.acl_all)
    live = await session.scalar(select(Live.revision_id).where(Live.document_id == child.id))
    if live is not None:
        await queue_reindex(session, child.tenant_id, RevisionRef(child.id, live))
