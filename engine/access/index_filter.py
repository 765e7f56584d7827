"""The one filter a search of the index carries: what may be found, and what the caller wants found.

Only this module makes a `Filter` (a lint holds it); `gate.py` is its counterpart in SQL.
"""

from __future__ import annotations

from collections.abc import Collection

from sqlalchemy import CompoundSelect, String, bindparam, exists, select, text, true, union
from sqlalchemy.ext.asyncio import AsyncSession

from engine.access.narrowing import narrow
from engine.access.principals import usable_tokens
from engine.access.search_filters import SearchFilters
from engine.db.json_arrays import array_value, items_of, json_items, unindexed
from engine.db.tables import AclToken, Document, Json, KnowledgeBase
from engine.domain import MAIN, Audience, Principal
from engine.index.port import Filter


async def index_filter(
    session: AsyncSession,
    principal: Principal,
    audience: Audience,
    *,
    kb_ids: Collection[str] | None = None,
    branch: str = MAIN,
    filters: SearchFilters | None = None,
) -> Filter:
    """What a search may find for this principal before this audience; `kb_ids` None = every KB.

    The tokens are cut to those that some document of the KBs searched asks for (a person may hold
    thousands), the KBs to those that exist in the tenant.
    """
    wanted = filters or SearchFilters()
    existing = select(KnowledgeBase.id).where(
        KnowledgeBase.tenant_id == principal.tenant_id, KnowledgeBase.deleted_at.is_(None)
    )
    if kb_ids is not None:
        existing = existing.where(KnowledgeBase.id.in_(select(items_of(array_value(kb_ids)))))
    searched = frozenset(await session.scalars(existing))
    kinds, only = await narrow(session, principal.tenant_id, searched, wanted)
    occurring = await session.scalars(
        _OCCURRING,
        {
            "tenant_id": principal.tenant_id,
            "kb_ids": sorted(searched),
            "tokens": sorted(usable_tokens(principal, audience)),
        },
    )
    return Filter(
        tokens=frozenset(occurring),
        kb_ids=searched,
        branch=branch,
        document_ids=only,
        languages=_frozen(wanted.languages),
        sources=kinds,
        tags=_frozen(wanted.tags),
        updated_from=wanted.updated_from,
        updated_before=wanted.updated_before,
        include_hidden=wanted.include_hidden,
    )


def _frozen(values: Collection[str] | None) -> frozenset[str] | None:
    return None if values is None else frozenset(values)


def _occurring() -> CompoundSelect[str]:
    """The held tokens that documents of these KBs ask for, in their ACL or their `acl_all`."""
    held = select(items_of(bindparam("tokens", type_=Json)))
    searched = select(items_of(bindparam("kb_ids", type_=Json)))
    each = json_items(bindparam("tokens", type_=Json)).table_valued("value")
    # Token by token, so that one held by thousands of documents is done with at the first.
    listed = select(each.c.value).where(
        exists()
        .where(
            AclToken.tenant_id == bindparam("tenant_id", type_=String),
            AclToken.token == each.c.value,
            Document.acl_id == AclToken.acl_id,
            unindexed(Document.kb_id).in_(searched),
            Document.deleted_at.is_(None),
        )
        .correlate(each)
    )
    needed = json_items(Document.acl_all).table_valued("value")
    required = (
        select(needed.c.value)
        # Document first: the function reads its column, which PostgreSQL takes in that order only.
        .select_from(Document)
        .join(needed, true())
        .where(
            Document.kb_id.in_(searched),
            text("document.acl_all <> '[]'"),  # in the words of the index that serves it
            needed.c.value.in_(held),
        )
    )
    return union(listed, required)


# Built once: composing it takes longer than the database takes to run it.
_OCCURRING = _occurring()
