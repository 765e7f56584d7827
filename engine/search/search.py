"""Finding documents and reading on from them. `Engine.search` is a `Search`.

Every verb checks what the principal may read, links to the viewer included.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace

from engine.access import gate
from engine.access.search_filters import SearchFilters
from engine.access.search_scope import SearchOverrides
from engine.admission import Admission
from engine.db.session import Database
from engine.documents.knowledge_bases import KnowledgeBases
from engine.domain import Audience, Hit, Principal, Scope, SearchMode, SearchResult
from engine.limits import Limits
from engine.search import pages, reading_links
from engine.search.confidence import describe_unlikely
from engine.search.filters import SortOrder
from engine.search.origins import Origin, origins
from engine.search.pages import Page
from engine.search.query_statistics import QueryStatistics, query_statistics
from engine.search.reading_links import Opener
from engine.search.retrieval import AS_SET, Retriever
from engine.secrets import Secrets


class Search:
    """The verbs of searching and reading."""

    def __init__(
        self,
        db: Database,
        retriever: Retriever,
        knowledge_bases: KnowledgeBases,
        secrets: Secrets,
        limits: Limits,
        admission: Admission,
    ) -> None:
        self._db = db
        self._retriever = retriever
        self._knowledge_bases = knowledge_bases
        self._secrets = secrets
        self._limits = limits
        self._admission = admission

    async def statistics(self, principal: Principal, *, days: int = 7) -> QueryStatistics:
        """How often the tenant searched in its last days, and what came of it; for its admins."""
        return await self._db.run_read(
            lambda session: query_statistics(session, principal, days=days)
        )

    async def find(
        self,
        principal: Principal,
        query: str,
        *,
        kb: str = "",
        kb_ids: Collection[str] | None = None,
        limit: int | None = None,
        mode: SearchMode | None = None,
        audience: Audience | None = None,
        filters: SearchFilters | None = None,
        order: SortOrder = "relevance",
        overrides: SearchOverrides = AS_SET,
    ) -> SearchResult:
        """The best documents for a query, in one knowledge base or all that may be read.

        `kb_ids` are several of them. Where none of the documents is likely to answer it, the notice says so. `filters` narrow them
        (`engine/search/filters.py` parses them), `order` may be by date.
        """
        gate.require(principal, Scope.KB_READ)
        async with self._admission.admitted():
            found = await self._retriever.search(
                principal,
                audience or gate.audience_of_asker(principal),
                query,
                kb_ids=await self._knowledge_bases.ids(principal, kb) if kb_ids is None else kb_ids,
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

    # Links that stand in for a sign-in

    def sign_link(self, principal: Principal, id: str) -> str:  # noqa: A002
        """What follows `/v/` in a link for who holds the principal's credential, for minutes."""
        return reading_links.sign(self._secrets, reading_links.for_principal(principal, id))

    def sign_link_for_account(self, tenant_id: str, identity_id: str, id: str) -> str:  # noqa: A002
        """The same for an account on a chat platform that has just asked for it."""
        link = reading_links.for_account(tenant_id, identity_id, id)
        return reading_links.sign(self._secrets, link)

    async def open_link(self, signed: str, opener: Opener, *, at: int | None = None) -> Page:
        """The page a link leads to, or the one `at` an offset of its document.

        Raises `LinkEnded` where the link, or the credential it was made for, is over, or another
        browser has opened it; `NotFound` where its reader may not read the document any more.
        """
        link = reading_links.verify(self._secrets, signed)
        async with self._db.read() as session:
            principal = await reading_links.reader_of(session, link, opener.address)
        page = await self.fetch(principal, link.id)
        await reading_links.claim(self._limits, signed, link, opener)
        if at is None:
            return page
        return await self.fetch(principal, f"{page.document_id}~{at}")
