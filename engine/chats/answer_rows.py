"""The answer of a post: as it was given, and whether an audience may still read what it rests on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from engine.access import gate
from engine.access.cited import all_readable
from engine.access.gate import usable_tokens
from engine.db.tables import Document, Turn
from engine.domain import Answer, Audience, Citation, Principal
from engine.errors import NotFound


async def stored_answer(
    session: AsyncSession, tenant_id: str, turn_id: str, audience: Audience, principal: Principal
) -> Answer:
    """An answer as it was given, if this audience may still read every source of it.

    `NotFound` where a source was deleted, changed or restricted since: then it is asked again.
    """
    row = await session.scalar(select(Turn).where(Turn.id == turn_id, Turn.tenant_id == tenant_id))
    if row is None or not await may_be_shown(session, principal, audience, row.sources):
        raise NotFound("This answer can't be shown here.")
    if not row.sources and row.audience != audience.key:
        raise NotFound("This answer can't be shown here.")
    return Answer(
        text=row.answer,
        grounded=row.grounded,
        confidence=row.confidence,
        citations=[Citation(**stored) for stored in row.citations],
        searched_kbs=(),
        model=row.model,
        turn_id=row.id,
    )


async def may_be_shown(
    session: AsyncSession, principal: Principal, audience: Audience, sources: Sequence[str]
) -> bool:
    """Whether everyone who will see an answer may read all of its sources, at this moment."""
    tokens = usable_tokens(principal, audience)
    return await all_readable(session, principal.tenant_id, tokens, sources)


@dataclass(frozen=True, slots=True)
class SourceFacts:
    """What a reader wants to know of a source besides its title."""

    author: str = ""
    updated_at: datetime | None = None


async def facts_of(
    session: AsyncSession,
    principal: Principal,
    audience: Audience,
    citations: Sequence[Citation],
) -> dict[str, SourceFacts]:
    """Author and age of cited documents, by document id; of those only that may be read."""
    tokens = usable_tokens(principal, audience)
    rows = await session.execute(
        select(Document.id, Document.details, Document.source_updated_at).where(
            Document.id.in_({citation.document_id for citation in citations}),
            gate.visible_document(principal.tenant_id, tokens),
        )
    )
    return {
        id_: SourceFacts(str(details.get("author", ""))[:80], updated)
        for id_, details, updated in rows
    }
