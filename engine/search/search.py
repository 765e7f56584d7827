"""Finding documents and reading on from them. `Engine.search` is a `Search`.

Every verb checks what the principal may read, links to the viewer included.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Final

from engine.access import gate
from engine.access.search_filters import SearchFilters
from engine.access.search_scope import SearchOverrides
from engine.admission import Admission
from engine.clock import now
from engine.db.session import Database
from engine.documents.knowledge_bases import KnowledgeBases
from engine.domain import Audience, Hit, Principal, Scope, SearchMode, SearchResult
from engine.search import pages
from engine.search.confidence import describe_unlikely
from engine.search.filters import SortOrder
from engine.search.origins import Origin, origins
from engine.search.pages import Page
from engine.search.retrieval import AS_SET, Retriever
from engine.secrets import Secrets

LINK_LIFE = timedelta(days=7)
VIEWER_LINKS: Final = "viewer-links"  # what the key that signs them is for


class Search:
    """The verbs of searching and reading."""

    def __init__(
        self,
        db: Database,
        retriever: Retriever,
        knowledge_bases: KnowledgeBases,
        secrets: Secrets,
        admission: Admission,
    ) -> None:
        self._db = db
        self._retriever = retriever
        self._knowledge_bases = knowledge_bases
        self._secrets = secrets
        self._admission = admission

    async def find(
        self,
        principal: Principal,
        query: str,
        *,
        kb: str = "",
        limit: int | None = None,
        mode: SearchMode | None = None,
        audience: Audience | None = None,
        filters: SearchFilters | None = None,
        order: SortOrder = "relevance",
        overrides: SearchOverrides = AS_SET,
    ) -> SearchResult:
        """The best documents for a query, in one knowledge base or all that may be read.

        Where none of them is likely to answer it, the notice says so. `filters` narrow them
        (`engine/search/filters.py` parses them), `order` may be by date.
        """
        gate.require(principal, Scope.KB_READ)
        async with self._admission.admitted():
            found = await self._retriever.search(
                principal,
                audience or gate.audience_of_asker(principal),
                query,
                kb_ids=await self._knowledge_bases.ids(principal, kb),
                limit=limit,
                mode=mode,
                filters=filters,
                order=order,
                overrides=overrides,
            )
        notices = (found.notice, describe_unlikely(found.hits))
        return replace(found, notice=" ".join(filter(None, notices)))

    async def origins(self, principal: Principal, hits: Sequence[Hit]) -> list[Origin | None]:
        """For each hit of the principal's own search the chat message of its best passage."""
        gate.require(principal, Scope.KB_READ)
        spans = [
            (hit.revision_id, passage.start, passage.end)
            for hit in hits
            for passage in hit.passages[:1]
        ]
        async with self._db.read() as session:
            return await origins(session, principal.tenant_id, spans)

    async def at_messages(self, principal: Principal, hits: Sequence[Hit]) -> list[Hit]:
        """Hits of the principal's own search; those of chats lead to the message, not its thread."""
        found = await self.origins(principal, hits)
        return [
            hit
            if origin is None
            else replace(
                hit,
                url=origin.url or hit.url,
                author=origin.author,
                updated_at=origin.posted_at,
            )
            for hit, origin in zip(hits, found, strict=True)
        ]

    async def fetch(self, principal: Principal, id: str) -> Page:  # noqa: A002 (the field's word)
        """A page of text by the id of a hit, a citation, a document or another page, or an address.

        See `references.py` for the addresses.
        """
        gate.require(principal, Scope.KB_READ)
        return await pages.read_page(self._db, principal.tenant_id, principal.tokens, id)

    # Links to the viewer

    def sign_link(self, principal: Principal, id: str) -> str:  # noqa: A002
        """What follows `/v/` in an address: an id, bound to its reader, for seven days."""
        who = principal.user_id or f"i-{principal.identity_id or ''}"
        return self.sign_link_for(principal.tenant_id, who, id)

    def sign_link_for(self, tenant_id: str, who: str, id: str) -> str:  # noqa: A002
        """The same for `who`: a user's id, `i-` and an account's, or `ch-` and a channel's."""
        return self._secrets.sign(
            VIEWER_LINKS, f"{tenant_id}:{who}:{id}", expires_at=now() + LINK_LIFE
        )

    async def open_link(self, signed: str) -> Page:
        """The page a link leads to; whether its reader may still read it is checked."""
        tenant_id, _, rest = self._secrets.verify(VIEWER_LINKS, signed).partition(":")
        who, _, id_ = rest.partition(":")
        async with self._db.read() as session:
            principal = await gate.principal_of_link(session, tenant_id, who)
        return await self.fetch(principal, id_)
