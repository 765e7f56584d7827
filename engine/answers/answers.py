"""Answering, and the tools of other servers that an answer may use. `Engine.answers` is an `Answers`."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager

from engine.access import gate
from engine.access.search_filters import SearchFilters
from engine.admission import Admission
from engine.answers import history
from engine.answers import toolbox as toolboxes
from engine.answers.ask import Asker
from engine.answers.conversations import (
    PastTurn,
    assistant_of_conversation,
    assistant_of_turn,
    no_such_conversation,
)
from engine.answers.history import ConversationInfo, TurnInfo
from engine.answers.manner import PLAIN, manner_of
from engine.answers.question_log import NotedQuestion
from engine.answers.toolbox import Approve, ExternalTools, Toolbox, matching
from engine.assistants.assistants import Assistants
from engine.assistants.rows import AssistantInfo
from engine.db.session import Database
from engine.documents.knowledge_bases import KnowledgeBases
from engine.domain import Answer, Answered, AnswerEvent, Audience, Principal, Scope, SearchMode
from engine.errors import NotFound
from engine.models.port import TunableModel
from engine.people.language_models import LanguageModels
from engine.search.query_log import SearchLog


class Answers:
    """The verbs of questions."""

    def __init__(
        self,
        db: Database,
        asker: Asker,
        knowledge_bases: KnowledgeBases,
        admission: Admission,
        llms: LanguageModels,
        assistants: Assistants,
        query_log: SearchLog | None = None,
    ) -> None:
        self._db = db
        self._admission = admission
        self._asker = asker
        self._assistants = assistants
        self._llms = llms
        self._query_log = query_log
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
        past: Sequence[PastTurn] = (),
        instructions: str = "",
        assistant: AssistantInfo | str = "",
        is_bounded: bool = False,
    ) -> AsyncIterator[AnswerEvent]:
        """Answer from what everyone in `audience` may read; the last event is `Answered`.

        `context` is what the question is about, such as a forwarded message; it is not kept.
        `past` is what a caller says was asked and answered before; `instructions` say how to answer,
        below our own; neither is kept. `language` names the one a model is to answer in; empty: that
        of the question. `assistant` says how to answer, by slug or id; empty: as the conversation
        began. One that a door has itself is used as it is, whoever asks. `is_bounded` says that the
        caller has a bound of its own on how many it asks at once; others are refused with
        `Unavailable` before anything else where too many are under way.
        """
        if isinstance(assistant, str) and assistant:
            principal, assistant = await self._assistants.admitted(principal, assistant)
        gate.require(principal, Scope.KB_ASK)
        if principal.let_in_to and conversation_id:
            await self._require_begun_with(principal.let_in_to, principal, conversation_id)
        if not assistant and conversation_id:
            assistant = await self._continued(principal, conversation_id)
        if assistant:
            using = await self._assistants.using(principal, audience, assistant, kb=kb)
            known, kb_ids, manner = using.assistant, using.kb_ids, manner_of(using.assistant)
        else:
            known, manner = None, PLAIN
            kb_ids = await self._knowledge_bases.ids(principal, kb)
        noted = NotedQuestion(
            self._query_log, principal, audience, question, door, sorted(kb_ids or ())
        )
        asker = await self._asker_of(principal, known)
        events = asker.ask(
            principal,
            audience,
            question,
            kb_ids=kb_ids,
            conversation_id=conversation_id or None,
            door=door,
            mode=mode,
            filters=filters,
            toolbox=toolbox,
            language=language,
            context=context,
            past=past,
            instructions=instructions,
            manner=manner,
        )
        admitted = self._admission.admitted(computes=not asker.writes)
        admitting = contextlib.nullcontext() if is_bounded else admitted
        async with contextlib.aclosing(noted.events(_within(admitting, events))) as all_of_it:
            async for event in all_of_it:
                if isinstance(event, Answered):  # suspended meanwhile: it is not given
                    await self._require_serving(principal)
                yield event

    async def _asker_of(
        self, principal: Principal, assistant: AssistantInfo | None = None
    ) -> Asker:
        """An asker with the model of the assistant or the principal's tenant; calls are metered."""
        profile = None if assistant is None else assistant.answers
        model = await self._llms.for_principal(
            principal, wanted="" if profile is None else profile.model, own=self._asker.model
        )
        if profile is None:
            return self._asker.with_model(model)
        if profile.temperature is not None and isinstance(model, TunableModel):
            model = model.tuned(temperature=profile.temperature)
        return self._asker.with_model(model, max_tokens=profile.max_tokens)

    async def _continued(self, principal: Principal, conversation_id: str) -> AssistantInfo | str:
        """The assistant of a conversation; `NotFound` where the principal may not use it any more."""
        known = await self._db.run_read(
            lambda session: assistant_of_conversation(session, principal, conversation_id)
        )
        if not known:
            return ""
        try:
            return await self._assistants.find(principal, known)
        except NotFound:
            raise NotFound(
                "The assistant of this conversation is not available any more: start another"
                " conversation."
            ) from None

    async def _require_begun_with(
        self, assistant_id: str, principal: Principal, conversation_id: str
    ) -> None:
        """For a key that is bound to an assistant, its owner's other conversations do not exist."""
        known = await self._db.run_read(
            lambda session: assistant_of_conversation(session, principal, conversation_id)
        )
        if known != assistant_id:
            raise no_such_conversation(conversation_id)

    async def _require_serving(self, principal: Principal) -> None:
        await self._db.run_read(lambda session: gate.require_serving(session, principal.tenant_id))

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
        given_by = await self._db.run_read(
            lambda session: assistant_of_turn(session, principal, turn_id)
        )
        known = await self._assistants.bound(principal, given_by) if given_by else None
        asker = await self._asker_of(principal, known)
        async for event in asker.elaborate(
            principal,
            audience,
            turn_id,
            door=door,
            language=language,
            manner=PLAIN if known is None else manner_of(known),
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
        self, principal: Principal, *, name: str = "", door: str = "", assistant: str = ""
    ) -> ConversationInfo:
        """A new conversation, which `ask` continues with this assistant, if any."""
        gate.require(principal, Scope.KB_ASK)
        chosen = (await self._assistants.get(principal, assistant)).id if assistant else ""
        return await self._db.run_write(
            lambda session: history.start(
                session, principal, name=name, door=door, assistant_id=chosen
            )
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

    # Tools of other servers and of plugins

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


async def _within(
    admitting: AbstractAsyncContextManager[None], events: AsyncIterator[AnswerEvent]
) -> AsyncGenerator[AnswerEvent]:
    """The events, none before it is admitted."""
    async with admitting:
        async for event in events:
            yield event
