"""One question end to end: what may be recalled, what is searched, what is answered and stored.

`Engine.ask` is `Asker.ask`. With a model it writes and `answer.py` checks; without one, or when it
fails, the answer is made of the documents' own sentences. Whoever asks gets an answer or a reason.
"""

from __future__ import annotations

import copy
import logging
import time
from collections.abc import AsyncIterator, Collection, Sequence
from dataclasses import dataclass, field, replace

from engine.access.gate import audience_of_asker, usable_tokens
from engine.access.search_filters import SearchFilters
from engine.answers.agent import Budget, Draft, Style, rewrite, write
from engine.answers.answer import Checked, Unsupported, describe_unanswered
from engine.answers.clarifying import propose, render, sources_of
from engine.answers.composition import compose_answer, compose_closest
from engine.answers.conversations import (
    GONE,
    PastTurn,
    admissible_turns,
    are_readable,
    check_conversation,
    given_answer,
    open_conversation,
    store_turn,
)
from engine.answers.judge import MAY_BE, judge
from engine.answers.ledger import AgentState
from engine.answers.lookups import LISTED, Lookups
from engine.answers.manner import PLAIN, Manner
from engine.answers.support import CitableSource
from engine.answers.toolbox import Toolbox
from engine.db.session import Database
from engine.domain import (
    MAIN,
    Answer,
    Answered,
    AnswerEvent,
    Audience,
    Delta,
    Hit,
    Principal,
    QueryStep,
    Searching,
    SearchMode,
    SearchResult,
    chunk_id,
)
from engine.errors import InvalidInput, Unavailable
from engine.models.port import LanguageModel
from engine.search.confidence import LIKELY
from engine.search.origins import origins
from engine.search.passages import Visibility, recall_hits
from engine.search.query import is_follow_up, read_question, stand_alone
from engine.search.retrieval import Retrieved, Retriever, describe_waiting
from engine.search.understanding import is_unclear

log = logging.getLogger(__name__)

READ_ON = 3  # chunks that follow a passage
LONGER = 2  # times the tokens of an answer, for one in more detail
UNSUPPORTED = "(Not every sentence of this answer is backed by a source.)"
UNBACKED = "(Nothing in this answer is backed by a source: check it.)"
MODEL_AWAY = "(The language model did not answer; this is quoted from the documents.)"
QUESTION_MAX = 8_000
INSTRUCTIONS_MAX = 4_000  # characters of what a caller instructs


@dataclass(frozen=True, slots=True)
class _Turn:
    """One question on its way."""

    principal: Principal
    audience: Audience
    question: str
    query: str
    past: Sequence[PastTurn]
    kb_ids: Collection[str] | None
    mode: SearchMode | None
    filters: SearchFilters | None
    toolbox: Toolbox | None = None
    style: Style = field(default_factory=Style)
    context: str = ""  # what the question is about; not kept
    manner: Manner = PLAIN

    @property
    def asked(self) -> str:
        """The question with what it is about, for a model."""
        return f"{self.question}\n\n{self.context}" if self.context else self.question


class Asker:
    """Answers questions from what `retriever` finds; `model` None quotes instead of writing."""

    def __init__(
        self,
        db: Database,
        retriever: Retriever,
        *,
        model: LanguageModel | None = None,
        budget: Budget | None = None,
        unsupported: Unsupported = "drop",
        native: bool = True,
    ) -> None:
        self._db = db
        self._retriever = retriever
        self._model = model
        self._budget = budget or Budget()
        self._unsupported = unsupported
        self._native = native

    @property
    def writes(self) -> bool:
        """Whether a language model writes the answers."""
        return self._model is not None

    @property
    def model(self) -> LanguageModel | None:
        """The model that writes."""
        return self._model

    def with_model(self, model: LanguageModel | None, *, max_tokens: int | None = None) -> Asker:
        """The same with another model: the one of whoever asks, which counts what they use."""
        asker = copy.copy(self)
        asker._model = model  # noqa: SLF001 (its own class)
        if max_tokens is not None:
            asker._budget = replace(self._budget, max_tokens=max_tokens)  # noqa: SLF001
        return asker

    async def ask(
        self,
        principal: Principal,
        audience: Audience,
        question: str,
        *,
        kb_ids: Collection[str] | None = None,
        conversation_id: str | None = None,
        door: str = "",
        mode: SearchMode | None = None,
        filters: SearchFilters | None = None,
        toolbox: Toolbox | None = None,
        language: str = "",
        context: str = "",
        past: Sequence[PastTurn] = (),
        instructions: str = "",
        manner: Manner = PLAIN,
    ) -> AsyncIterator[AnswerEvent]:
        """The answer as it comes about; the last event is `Answered` and replaces the deltas.

        Only what everyone in `audience` may read is used. A `toolbox` is for an asker alone.
        `past` and `instructions` are a caller's own and are not kept; `manner` is an assistant's.
        `conversation_id` continues that conversation (`NotFound` where it is not the
        principal's), None starts one. Raises as
        `Retriever.retrieve` does, before the first event.
        """
        started = time.perf_counter()
        question = question.replace("\0", " ").strip()  # which PostgreSQL can't keep
        if not question:
            raise InvalidInput("The question is empty: ask something.", field="question")
        if len(question) > QUESTION_MAX:
            raise InvalidInput(
                f"The question has {len(question)} characters; the limit is {QUESTION_MAX}.",
                field="question",
            )
        if conversation_id is not None:
            async with self._db.read() as session:
                past = await admissible_turns(
                    session, principal, audience, conversation_id, door=door
                )
        past = manner.past(past)
        state = AgentState()
        query = await self._stand_alone(question, past, state)
        context = context.replace("\0", " ").strip()
        if context:  # searched with and shown to the model, and stored nowhere
            query = f"{query}\n{context}"[:QUESTION_MAX]
        alone = toolbox if audience.key == audience_of_asker(principal).key else None
        style = Style(
            language=language or manner.language,
            unsupported=self._unsupported,
            instructions="\n\n".join(
                filter(None, (manner.prompt, instructions[:INSTRUCTIONS_MAX]))
            ),
            native=self._native,
        )
        turn = _Turn(
            principal,
            audience,
            question,
            query,
            past,
            kb_ids,
            mode or manner.mode,
            filters,
            alone,
            style,
            context,
            manner,
        )
        yield Searching(question if context else query)
        found = await self._search(turn, query)
        seen = list(found.result.hits)
        answer, note = self._asked_back(turn, found), ""
        if answer is not None:
            seen = sources_of(answer.choices, seen)
        elif self._model is not None:
            try:
                async for event in self._written(self._model, turn, found, seen, state):
                    if isinstance(event, Answer):
                        answer = event
                    else:
                        yield manner.event(event)
            except (Unavailable, TimeoutError) as error:
                log.warning("the language model failed", extra={"reason": str(error)})
                note = MODEL_AWAY
        if answer is None:
            answer = _with_waiting(await self._quoted(turn, found, note), found.result)
            yield manner.event(Delta(answer.text))
        answer = replace(answer, input_tokens=state.input_tokens, output_tokens=state.output_tokens)
        answer = _traced(await self._with_messages(turn, answer), turn, found.result)
        answer = manner.answer(answer)
        took_ms = (time.perf_counter() - started) * 1000
        answer = await self._stored(turn, answer, conversation_id, door, seen, took_ms)
        yield Answered(answer)

    async def elaborate(
        self,
        principal: Principal,
        audience: Audience,
        turn_id: str,
        *,
        door: str = "",
        language: str = "",
        manner: Manner = PLAIN,
    ) -> AsyncIterator[AnswerEvent]:
        """A longer answer from what an answer was made of, as it comes about; kept as a turn.

        `NotFound` where this audience may not read all of that now. `Unavailable` where there is
        no model, or it has nothing to add that its sources carry.
        """
        if self._model is None:
            raise Unavailable("This needs a language model: configure one.")
        started = time.perf_counter()
        async with self._db.read() as session:
            given = await given_answer(session, principal, audience, turn_id)
            gate = Visibility(principal.tenant_id, usable_tokens(principal, audience), MAIN)
            hits = await recall_hits(session, gate, given.sources, confidence=given.confidence)
        past = [PastTurn(given.question, given.answer, given.grounded, given.sources)]
        draft = Draft()
        budget = replace(self._budget, searches=0, max_tokens=LONGER * self._budget.max_tokens)
        style = Style(
            "longer",
            language or manner.language,
            self._unsupported,
            manner.prompt,
            native=self._native,
        )
        async for event in write(
            self._model, given.question, past, hits, None, budget, style=style
        ):
            if isinstance(event, Draft):
                draft = event
            else:
                yield manner.event(event)
        checked = _noted(draft.checked, self._unsupported)
        if draft.refused or not checked.citations:
            raise Unavailable("The language model had nothing to add.")
        answer = _of_draft(self._model, draft, checked, hits)
        turn = _Turn(
            principal,
            audience,
            given.question,
            given.question,
            past,
            None,
            "hybrid",
            None,
            manner=manner,
        )
        answer = manner.answer(await self._with_messages(turn, answer))
        took_ms = (time.perf_counter() - started) * 1000
        yield Answered(await self._stored(turn, answer, given.conversation_id, door, hits, took_ms))

    async def answer(
        self,
        principal: Principal,
        audience: Audience,
        question: str,
        *,
        kb_ids: Collection[str] | None = None,
        conversation_id: str | None = None,
        door: str = "",
        mode: SearchMode | None = None,
        filters: SearchFilters | None = None,
    ) -> Answer:
        """`ask` for those who only want its end."""
        events = self.ask(
            principal,
            audience,
            question,
            kb_ids=kb_ids,
            conversation_id=conversation_id,
            door=door,
            mode=mode,
            filters=filters,
        )
        last: Answer | None = None
        async for event in events:
            if isinstance(event, Answered):
                last = event.answer
        if last is None:
            raise Unavailable("The answer ended before it was complete; ask again.")
        return last

    async def _stand_alone(self, question: str, past: Sequence[PastTurn], state: AgentState) -> str:
        """The question as it is searched; `state` counts what a model took to rewrite it."""
        if not past or not is_follow_up(question):
            return question
        if self._model is not None:
            try:
                query, cost = await rewrite(self._model, question, past)
            except Unavailable as error:
                log.warning("the follow-up was not rewritten", extra={"reason": str(error)})
            else:
                state.input_tokens += cost.input_tokens
                state.output_tokens += cost.output_tokens
                return query
        return stand_alone(question, [turn.question for turn in past])

    async def _search(self, turn: _Turn, query: str) -> Retrieved:
        return await self._retriever.retrieve(
            turn.principal,
            turn.audience,
            query,
            kb_ids=turn.kb_ids,
            limit=turn.manner.top_k,
            mode=turn.mode,
            filters=turn.filters,
            overrides=turn.manner.overrides,
            passages=3,
            widen=1 if self._model is not None else 0,
        )

    def _asked_back(self, turn: _Turn, found: Retrieved) -> Answer | None:
        """A question back where what is asked names nothing; None where it does, or nothing is near."""
        if "clarify" not in found.steps or turn.context or not is_unclear(turn.query):
            return None
        result = found.result
        choices = propose(turn.question, result.hits)
        if not choices:
            return None
        return Answer(
            text=render(choices),
            grounded=False,
            confidence=0.0,
            citations=(),
            searched_kbs=result.searched_kbs,
            searched_documents=result.searched_documents,
            choices=tuple(choices),
        )

    async def _quoted(self, turn: _Turn, found: Retrieved, note: str) -> Answer:
        """The answer in the documents' own words, or what was searched in vain."""
        result = found.result
        question = read_question(result.searched or turn.query)
        judged = await judge(
            question,
            result.hits,
            found.term_weights,
            embedder=found.embedder,
            spaces=found.spaces,
        )
        best = judged[0].probability if judged else 0.0
        checked = compose_answer(question, judged)
        if checked is None and best >= MAY_BE:
            checked = compose_closest(question, judged, result)
        if checked is None:
            closest = [hit for hit in result.hits if hit.confidence >= LIKELY]
            text = turn.manner.empty_answer or describe_unanswered(result, closest)
            checked = Checked(text, (), grounded=False)
        text = f"{checked.text}\n\n{note}" if note else checked.text
        return Answer(
            text=text,
            grounded=checked.grounded,
            confidence=best,
            citations=checked.citations,
            searched_kbs=result.searched_kbs,
            searched_documents=result.searched_documents or result.waiting,
            hits=result.hits,
        )

    async def _written(
        self,
        model: LanguageModel,
        turn: _Turn,
        found: Retrieved,
        seen: list[Hit],
        state: AgentState,
    ) -> AsyncIterator[Searching | Delta | Answer]:
        """What the model writes, then the checked answer; `seen` gathers every hit it saw."""
        draft = Draft()
        async for event in write(
            model,
            turn.asked,
            turn.past,
            found.result.hits,
            self._lookups(turn, seen),
            self._budget,
            turn.toolbox,
            turn.style,
            state=state,
        ):
            if isinstance(event, Draft):
                draft = event
            else:
                yield event
        seen.extend(draft.used)
        result = found.result
        checked = _noted(draft.checked, self._unsupported)
        if draft.refused or not checked.text:
            text = turn.manner.empty_answer or describe_unanswered(result, result.hits[:3])
            checked = Checked(text, (), grounded=False, left_out=checked.left_out)
        answer = replace(
            _of_draft(model, draft, checked, seen),
            searched_kbs=result.searched_kbs,
            searched_documents=result.searched_documents or result.waiting,
        )
        yield _with_waiting(answer, result)

    def _lookups(self, turn: _Turn, seen: list[Hit]) -> Lookups:
        """What a model may look up for this turn's audience; `seen` gathers what it finds."""
        gate = Visibility(
            turn.principal.tenant_id, usable_tokens(turn.principal, turn.audience), MAIN
        )

        async def search(query: str) -> Sequence[Hit]:
            more = (await self._search(turn, query)).result.hits
            seen.extend(more)
            return more

        async def recall(chunks: Sequence[str]) -> Sequence[Hit]:
            async with self._db.read() as session:
                more = await recall_hits(session, gate, chunks, confidence=0.0)
            seen.extend(more)
            return more

        async def read_on(source: CitableSource) -> Sequence[Hit]:
            last = max(part.ordinal for part in source.parts)
            revision = source.hit.revision_id
            return await recall([chunk_id(revision, last + n) for n in range(1, READ_ON + 1)])

        async def list_documents(about: str) -> Sequence[Hit]:
            result = await self._retriever.search(
                turn.principal,
                turn.audience,
                about,
                kb_ids=turn.kb_ids,
                limit=LISTED,
                filters=turn.filters,
                overrides=turn.manner.overrides,
                passages=1,
            )
            seen.extend(result.hits)
            return result.hits

        return Lookups(search, read_on, list_documents, recall)

    async def _with_messages(self, turn: _Turn, answer: Answer) -> Answer:
        """Citations of chats lead to the message they quote, and name who wrote it and when."""
        if not answer.citations:
            return answer
        spans = [
            (citation.revision_id, citation.start, citation.end) for citation in answer.citations
        ]
        async with self._db.read() as session:
            found = await origins(session, turn.principal.tenant_id, spans)
        cited = [
            one
            if origin is None
            else replace(
                one,
                url=origin.url or one.url,
                author=origin.author,
                posted_at=origin.posted_at.isoformat(),
            )
            for one, origin in zip(answer.citations, found, strict=True)
        ]
        return replace(answer, citations=cited)

    async def _stored(
        self,
        turn: _Turn,
        answer: Answer,
        conversation_id: str | None,
        door: str,
        seen: Sequence[Hit],
        took_ms: float,
    ) -> Answer:
        """The answer with the id of its turn. An answer that can't be kept is given all the same."""
        sources = [passage.id for hit in seen for passage in hit.passages]
        if self._model is not None or turn.query != turn.question:
            sources += [source for past in turn.past for source in past.sources]
        try:
            async with self._db.write() as session:
                kept = answer
                if not await are_readable(session, turn.principal, turn.audience, sources):
                    kept = replace(answer, text=GONE, citations=())  # deleted while it was written
                if conversation_id is None:
                    conversation_id = await open_conversation(
                        session,
                        turn.principal,
                        door=door,
                        assistant_id=turn.manner.assistant_id,
                    )
                else:
                    await check_conversation(session, turn.principal, conversation_id, door=door)
                turn_id = await store_turn(
                    session,
                    turn.principal,
                    turn.audience,
                    conversation_id,
                    turn.question,
                    kept,
                    sources=sources,
                    took_ms=took_ms,
                    assistant_id=turn.manner.assistant_id,
                )
        except Unavailable as error:
            log.warning("the turn was not stored", extra={"reason": str(error)})
            return answer
        return replace(answer, turn_id=turn_id, conversation_id=conversation_id)


def _noted(checked: Checked, unsupported: Unsupported) -> Checked:
    """What is shown of a draft, saying so where not all of it is backed."""
    if checked.grounded or unsupported == "drop":
        return checked
    doubt = UNSUPPORTED if checked.citations else UNBACKED
    return replace(checked, text=f"{checked.text}\n\n{doubt}")


def _with_waiting(answer: Answer, result: SearchResult) -> Answer:
    """The answer, saying so where a good part of the documents is still being read."""
    note = describe_waiting(result.searched_documents, result.waiting)
    if not note or not answer.has_sources:  # without sources its text says so
        return answer
    return replace(answer, text=f"{answer.text}\n\n({note})")


def _of_draft(model: LanguageModel, draft: Draft, checked: Checked, seen: Sequence[Hit]) -> Answer:
    found = [hit for hit in seen if hit.document_id]
    cited = {citation.document_id for citation in checked.citations}
    return Answer(
        text=checked.text,
        grounded=checked.grounded,
        confidence=max((hit.confidence for hit in seen if hit.document_id in cited), default=0.0),
        citations=checked.citations,
        searched_kbs=(),
        hits=tuple({hit.document_id: hit for hit in reversed(found)}.values())[::-1],
        model=model.name,
        input_tokens=draft.input_tokens,
        output_tokens=draft.output_tokens,
        prompt=draft.prompt,
        left_out=checked.left_out,
    )


def _traced(answer: Answer, turn: _Turn, result: SearchResult) -> Answer:
    """The answer with what its question was read as."""
    steps = list(result.steps)
    if turn.query != turn.question and not turn.context:
        steps.insert(0, QueryStep("follow_up", turn.question, turn.query))
    searched = result.searched or (turn.query if steps else "")
    return replace(answer, searched=searched, steps=tuple(steps))
