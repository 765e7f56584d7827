"""Answering, and the tools of other servers that an answer may use. `Engine.answers` is an `Answers`."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator

from engine.access import gate
from engine.access.search_filters import SearchFilters
from engine.admission import Admission
from engine.answers import history
from engine.answers import toolbox as toolboxes
from engine.answers.ask import Asker
from engine.answers.history import ConversationInfo, TurnInfo
from engine.answers.toolbox import Approve, ExternalTools, Toolbox, matching
from engine.db.session import Database
from engine.documents.knowledge_bases import KnowledgeBases
from engine.domain import Answer, Answered, AnswerEvent, Audience, Principal, Scope, SearchMode


class Answers:
    """The verbs of questions."""

    def __init__(
        self, db: Database, asker: Asker, knowledge_bases: KnowledgeBases, admission: Admission
    ) -> None:
        self._db = db
        self._admission = admission
        self._asker = asker
        self._knowledge_bases = knowledge_bases

    async def ask(
        self,
        principal: Principal,
        audience: Audience,
        question: str,
        *,
        kb: str = "",
        conversation_id: str = "",
        door: str = "",
        mode: SearchMode | None = None,
        filters: SearchFilters | None = None,
        toolbox: Toolbox | None = None,
        language: str = "",
        context: str = "",
        is_bounded: bool = False,
    ) -> AsyncIterator[AnswerEvent]:
        """Answer from what everyone in `audience` may read; the last event is `Answered`.

        `context` is what the question is about, such as a forwarded message; it is not kept.
        `language` names the one a model is to answer in; empty: that of the question. `is_bounded`
        says that the caller has a bound of its own on how many it asks at once; others are refused
        with `Unavailable` before anything else where too many are under way.
        """
        gate.require(principal, Scope.KB_ASK)
        admitted = self._admission.admitted(computes=not self._asker.writes)
        async with contextlib.nullcontext() if is_bounded else admitted:
            async for event in self._asker.ask(
                principal,
                audience,
                question,
                kb_ids=await self._knowledge_bases.ids(principal, kb),
                conversation_id=conversation_id or None,
                door=door,
                mode=mode,
                filters=filters,
                toolbox=toolbox,
                language=language,
                context=context,
            ):
                yield event

    @property
    def writes(self) -> bool:
        """Whether a language model writes the answers; else they are quoted."""
        return self._asker.writes

    async def elaborate(
        self,
        principal: Principal,
        audience: Audience,
        turn_id: str,
        *,
        door: str = "",
        language: str = "",
    ) -> AsyncIterator[AnswerEvent]:
        """A given answer at more length, from the same sources; `Unavailable` where that fails."""
        gate.require(principal, Scope.KB_ASK)
        async for event in self._asker.elaborate(
            principal, audience, turn_id, door=door, language=language
        ):
            yield event

    async def answer(
        self, principal: Principal, question: str, *, kb: str = "", door: str = ""
    ) -> Answer:
        """The answer alone, for the asker's eyes."""
        audience = gate.audience_of_asker(principal)
        async for event in self.ask(principal, audience, question, kb=kb, door=door):
            if isinstance(event, Answered):
                return event.answer
        raise RuntimeError("the answer's events ended without an answer")

    # A person's own conversations

    async def start_conversation(
        self, principal: Principal, *, name: str = "", door: str = ""
    ) -> ConversationInfo:
        """A new conversation, which `ask` continues."""
        gate.require(principal, Scope.KB_ASK)
        return await self._db.run_write(
            lambda session: history.start(session, principal, name=name, door=door)
        )

    async def list_conversations(
        self, principal: Principal, *, limit: int = 50, before: str = ""
    ) -> list[ConversationInfo]:
        """The principal's own, newest first; `before` is the id of the last one seen."""
        gate.require(principal, Scope.KB_ASK)
        async with self._db.read() as session:
            return await history.list_own(session, principal, limit=limit, before=before)

    async def get_conversation(
        self, principal: Principal, conversation_id: str
    ) -> ConversationInfo:
        """One of the principal's own; `NotFound` for any other."""
        gate.require(principal, Scope.KB_ASK)
        async with self._db.read() as session:
            return await history.get(session, principal, conversation_id)

    async def list_turns(self, principal: Principal, conversation_id: str) -> list[TurnInfo]:
        """What was asked and answered in one of the principal's own, oldest first."""
        gate.require(principal, Scope.KB_ASK)
        audience = gate.audience_of_asker(principal)
        async with self._db.read() as session:
            return await history.turns(session, principal, audience, conversation_id)

    async def rename_conversation(
        self, principal: Principal, conversation_id: str, name: str
    ) -> ConversationInfo:
        """Give one of the principal's own another name."""
        gate.require(principal, Scope.KB_ASK)
        return await self._db.run_write(
            lambda session: history.rename(session, principal, conversation_id, name)
        )

    async def delete_conversation(
        self, principal: Principal, conversation_id: str
    ) -> ConversationInfo:
        """Delete one of the principal's own with all its turns."""
        gate.require(principal, Scope.KB_ASK)
        return await self._db.run_write(
            lambda session: history.remove(session, principal, conversation_id)
        )

    # Tools of other servers

    async def open_toolbox(
        self, principal: Principal, external: ExternalTools, approve: Approve
    ) -> Toolbox:
        """What an answer for the principal alone may use; `approve` is asked before each call."""
        gate.require(principal, Scope.KB_ASK)
        patterns = await self.allowed_tools(principal)
        tools = matching(await external.list_tools(), patterns) if patterns else []
        return Toolbox(tools, external, approve)

    async def allowed_tools(self, principal: Principal) -> list[str]:
        """The patterns of external tools the tenant allows."""
        return await self._db.run_read(lambda session: toolboxes.allowed(session, principal))

    async def allow_tools(self, principal: Principal, pattern: str, *, on: bool) -> list[str]:
        """Allow external tools of a pattern, or no longer; the patterns then."""
        return await self._db.run_write(
            lambda session: toolboxes.allow(session, principal, pattern, on=on)
        )
