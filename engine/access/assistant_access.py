"""Which assistants and search apps somebody may use or change, and what each may read for them.

An assistant opens nothing: what it reads for somebody is cut to what they, and everyone who will
see the answer, may read themselves.
"""

from __future__ import annotations

from sqlalchemy import Select, exists, or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from engine.access.gate import readable_kbs
from engine.access.permissions import may, reaches_all
from engine.db.tables import Assistant, AssistantGrant
from engine.domain import Audience, Principal
from engine.errors import NotFound


def select_assistants(principal: Principal, kind: str) -> Select[Assistant]:
    """Those of a kind that the principal may use: granted to them, their own, or for admins all."""
    query = select(Assistant).where(
        Assistant.tenant_id == principal.tenant_id, Assistant.kind == kind
    )
    if _edits_all(principal):
        return query
    granted = exists().where(
        AssistantGrant.assistant_id == Assistant.id,
        AssistantGrant.tenant_id == principal.tenant_id,
        AssistantGrant.token.in_(sorted(principal.tokens)),
    )
    owned = Assistant.owner_id == principal.user_id
    return query.where(granted if principal.user_id is None else or_(granted, owned))


def may_edit(principal: Principal, owner_id: str | None) -> bool:
    """Whether the principal may change or delete an assistant of this owner."""
    if _edits_all(principal):
        return True
    is_own = principal.user_id is not None and principal.user_id == owner_id
    return is_own and may(principal, "assistant.update")


def _edits_all(principal: Principal) -> bool:
    return may(principal, "assistant.update") and reaches_all(principal, "assistant.update")


async def kbs_for(
    session: AsyncSession,
    principal: Principal,
    audience: Audience,
    kb_ids: frozenset[str] | None,
    *,
    only: str = "",
) -> list[str] | None:
    """The knowledge bases to search for this principal and audience; None: all they may read.

    `kb_ids` are the assistant's (None: every one). `only` names one of them, by id or name;
    `NotFound` where it is none that they may read.
    """
    if kb_ids is None and not only:
        return None
    readable = await readable_kbs(session, principal, audience)
    covered = [kb for kb in readable if kb_ids is None or kb.id in kb_ids]
    if not only:
        return [kb.id for kb in covered]
    named = [kb.id for kb in covered if only in {kb.id, kb.name}]
    if not named:
        raise NotFound(f"No knowledge base {only[:100]!r} that this assistant answers you from.")
    return named
