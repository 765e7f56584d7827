"""Assistants and search apps as doors use them: `Engine.assistants` and `Engine.search_apps`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession

from engine.access import gate
from engine.access.assistant_access import kbs_for
from engine.access.search_filters import SearchFilters
from engine.assistants import rows
from engine.assistants.profiles import Kind
from engine.assistants.rows import AssistantInfo
from engine.db.session import Database
from engine.domain import Audience, Principal, SearchResult
from engine.errors import InvalidInput, NotFound
from engine.search.filters import SortOrder
from engine.search.search import Search

NAMED = 20  # assistants that an error names


@dataclass(frozen=True, slots=True)
class Using:
    """An assistant for one question: how it answers, and which knowledge bases it may search."""

    assistant: AssistantInfo
    kb_ids: list[str] | None


class Profiles:
    """The verbs that assistants and search apps share."""

    kind: Kind = "assistant"

    def __init__(self, db: Database) -> None:
        self._db = db

    async def create(self, principal: Principal, values: Mapping[str, Any]) -> AssistantInfo:
        """A new one; `profiles.py` says what its values are."""
        return await self._db.run_write(
            lambda session: rows.create(session, principal, self.kind, values)
        )

    async def list_all(self, principal: Principal) -> list[AssistantInfo]:
        """Those the principal may use, by name."""
        return await self._db.run_read(lambda session: rows.list_all(session, principal, self.kind))

    async def get(self, principal: Principal, ref: str) -> AssistantInfo:
        """One by slug or id; `NotFound` for one that the principal may not use."""
        return await self._db.run_read(lambda session: rows.get(session, principal, self.kind, ref))

    async def update(
        self,
        principal: Principal,
        ref: str,
        changes: Mapping[str, Any],
        *,
        version: int | None = None,
    ) -> AssistantInfo:
        """Change what is given, for its owner or an admin; it holds from the next question on."""
        return await self._db.run_write(
            lambda session: rows.update(
                session, principal, self.kind, ref, changes, version=version
            )
        )

    async def remove(self, principal: Principal, ref: str) -> AssistantInfo:
        """Delete one, for its owner or an admin."""
        return await self._db.run_write(
            lambda session: rows.remove(session, principal, self.kind, ref)
        )


class Assistants(Profiles):
    """The verbs of assistants. `engine.answers` applies them."""

    async def bound(self, principal: Principal, assistant_id: str) -> AssistantInfo | None:
        """The assistant that an admin has set for the place a principal asks in; None if gone."""
        return await self._db.run_read(lambda session: rows.bound(session, principal, assistant_id))

    async def find(self, principal: Principal, ref: str) -> AssistantInfo:
        """One by slug or id, for whoever may ask; `NotFound` for one they may not use."""
        return await self._db.run_read(
            lambda session: rows.find(session, principal, "assistant", ref)
        )

    async def admitted(self, principal: Principal, ref: str) -> tuple[Principal, AssistantInfo]:
        """The principal as this assistant may answer them, and the assistant.

        A key that is bound to assistants asks those alone: for it there are no others.
        """
        found = await self.find(replace(principal, assistants=None), ref)
        try:
            return gate.for_assistant(principal, found.id, found.slug), found
        except NotFound:
            raise rows.no_such("assistant", ref) from None

    @staticmethod
    def default(principal: Principal) -> str:
        """What a principal asks who names no assistant: empty, or the one that their key is bound to.

        `InvalidInput` where it is bound to several.
        """
        names = sorted(principal.assistants or ())
        if len(names) > 1:
            raise InvalidInput(
                f"This key asks several assistants: name one of {', '.join(names[:NAMED])}.",
                field="assistant",
            )
        return names[0] if names else ""

    async def askable(self, principal: Principal) -> list[AssistantInfo]:
        """Those the principal may ask, by name; of a key that is bound to some, these."""
        found = await self.list_all(replace(principal, assistants=None))
        names = principal.assistants
        return [item for item in found if names is None or names & {item.id, item.slug}]

    async def using(
        self,
        principal: Principal,
        audience: Audience,
        assistant: AssistantInfo | str,
        *,
        kb: str = "",
    ) -> Using:
        """An assistant for one question of a principal; `kb` narrows it to one knowledge base."""

        async def find(session: AsyncSession) -> Using:
            found = assistant
            if isinstance(found, str):
                found = await rows.find(session, principal, "assistant", found)
            return Using(found, await kbs_for(session, principal, audience, found.kb_ids, only=kb))

        return await self._db.run_read(find)


class SearchApps(Profiles):
    """The verbs of search apps."""

    kind: Kind = "search_app"

    def __init__(self, db: Database, search: Search) -> None:
        super().__init__(db)
        self._search = search

    async def find(
        self,
        principal: Principal,
        app: str,
        query: str,
        *,
        limit: int | None = None,
        filters: SearchFilters | None = None,
        order: SortOrder = "relevance",
    ) -> SearchResult:
        """The best documents for a query, as the search app's settings say."""
        audience = gate.audience_of_asker(principal)

        async def load(session: AsyncSession) -> Using:
            found = await rows.find(session, principal, self.kind, app)
            return Using(found, await kbs_for(session, principal, audience, found.kb_ids))

        using = await self._db.run_read(load)
        profile = using.assistant.profile
        return await self._search.find(
            principal,
            query,
            kb_ids=using.kb_ids,
            limit=limit or profile.top_k,
            mode=profile.mode,
            filters=filters,
            order=order,
            overrides=profile.overrides,
        )
