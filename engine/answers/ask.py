"""One question end to end: what may be recalled, what is searched, what is answered and stored.

`Engine.ask` is `Asker.ask`. With a model it writes and `answer.py` checks; without one, or when it
fails, the answer is made of the documents' own sentences. Whoever asks gets an answer or a reason.
"""

from __future__ import annotations

import logging
import time
from collections.abc import AsyncIterator, Collection, Sequence
from dataclasses import dataclass, field, replace

from engine.access.gate import audience_of_asker, usable_tokens
from engine.access.search_filters import SearchFilters
from engine.answers.agent import Budget, Draft, Style, rewrite, write
from engine.answers.answer import Checked, check_answer, describe_unanswered
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
    Searching,
    SearchMode,
)
from engine.errors import InvalidInput, Unavailable
from engine.models.port import LanguageModel
from engine.search.confidence import LIKELY
from engine.search.origins import origins
from engine.search.passages import Visibility, recall_hits
from engine.search.query import is_follow_up, read_question, stand_alone
from engine.search.retrieval import Retrieved, Retriever

log = logging.getLogger(__name__)

HITS = 8  # documents an answer is made from
LONGER = 2  # times the tokens of an answer, for one in more detail
UNSUPPORTED = "(Not every sentence of this answer is backed by a source.)"
UNBACKED = "(Nothing in this answer is backed by a source: check it.)"
MODEL_AWAY = "(The language model did not answer; this is quoted from the documents.)"
QUESTION_MAX = 8_000


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
    ) -> None:
        self._db = db
        self._retriever = retriever
        self._model = model
        self._budget = budget or Budget()

    @property
    def writes(self) -> bool:
        """Whether a language model writes the answers."""
        return self._model is not None

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
    ) -> AsyncIterator[AnswerEvent]:
        """The answer as it comes about; the last event is `Answered` and replaces the deltas.

        Only what everyone in `audience` may read is used. A `toolbox` is for an asker alone.
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
        past: Sequence[PastTurn] = ()
        if conversation_id is not None:
            async with self._db.read() as session:
                past = await admissible_turns(
                    session, principal, audience, conversation_id, door=door
                )
        query = await self._stand_alone(question, past)
        context = context.replace("\0", " ").strip()
        if context:  # searched with and shown to the model, and stored nowhere
            query = f"{query}\n{context}"[:QUESTION_MAX]
        alone = toolbox if audience.key == audience_of_asker(principal).key else None
        style = Style(language=language)
        turn = _Turn(
            principal, audience, question, query, past, kb_ids, mode, filters, alone, style, context
        )
        yield Searching(question if context else query)
        found = await self._search(turn, query)
        seen = list(found.result.hits)
        answer: Answer | None = None
        note = ""
        if self._model is not None:
            try:
                async for event in self._written(self._model, turn, found, seen):
                    if isinstance(event, Answer):
                        answer = event
                    else:
                        yield event
            except (Unavailable, TimeoutError) as error:
                log.warning("the language model failed", extra={"reason": str(error)})
                note = MODEL_AWAY
        if answer is None:
            answer = await self._quoted(turn, found, note)
            yield Delta(answer.text)
        answer = await self._with_messages(turn, answer)
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
        style = Style("longer", language)
        async for event in write(
            self._model, given.question, past, hits, _no_search, budget, style=style
        ):
            if isinstance(event, Draft):
                draft = event
            else:
                yield event
        checked = _check_draft(draft)
        if draft.refused or not checked.citations:
            raise Unavailable("The language model had nothing to add.")
        answer = _of_draft(self._model, draft, checked, hits)
        turn = _Turn(
            principal, audience, given.question, given.question, past, None, "hybrid", None
        )
        answer = await self._with_messages(turn, answer)
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

    async def _stand_alone(self, question: str, past: Sequence[PastTurn]) -> str:
        if not past or not is_follow_up(question):
            return question
        if self._model is not None:
            try:
                return await rewrite(self._model, question, past)
            except Unavailable as error:
                log.warning("the follow-up was not rewritten", extra={"reason": str(error)})
        return stand_alone(question, [turn.question for turn in past])

    async def _search(self, turn: _Turn, query: str) -> Retrieved:
        return await self._retriever.retrieve(
            turn.principal,
            turn.audience,
            query,
            kb_ids=turn.kb_ids,
            limit=HITS,
            mode=turn.mode,
            filters=turn.filters,
            passages=3,
            widen=1 if self._model is not None else 0,
        )

    async def _quoted(self, turn: _Turn, found: Retrieved, note: str) -> Answer:
        """The answer in the documents' own words, or what was searched in vain."""
        result = found.result
        question = read_question(turn.query)
        judged = await judge(question, result.hits, found.term_weights, embedder=found.embedder)
        best = judged[0].probability if judged else 0.0
        checked = compose_answer(question, judged)
        if checked is None and best >= MAY_BE:
            checked = compose_closest(question, judged, result)
        if checked is None:
            closest = [hit for hit in result.hits if hit.confidence >= LIKELY]
            text = describe_unanswered(result, closest)
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
        self, model: LanguageModel, turn: _Turn, found: Retrieved, seen: list[Hit]
    ) -> AsyncIterator[Searching | Delta | Answer]:
        """What the model writes, then the checked answer; `seen` gathers every hit it saw."""

        async def search(query: str) -> Sequence[Hit]:
            more = (await self._search(turn, query)).result.hits
            seen.extend(more)
            return more

        draft = Draft()
        async for event in write(
            model,
            turn.asked,
            turn.past,
            found.result.hits,
            search,
            self._budget,
            turn.toolbox,
            turn.style,
        ):
            if isinstance(event, Draft):
                draft = event
            else:
                yield event
        seen.extend(draft.used)
        result = found.result
        checked = _check_draft(draft)
        if draft.refused:
            text = describe_unanswered(result, result.hits[:3])
            checked = Checked(text, (), grounded=False)
        yield replace(
            _of_draft(model, draft, checked, seen),
            searched_kbs=result.searched_kbs,
            searched_documents=result.searched_documents or result.waiting,
        )

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
                    conversation_id = await open_conversation(session, turn.principal, door=door)
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
                )
        except Unavailable as error:
            log.warning("the turn was not stored", extra={"reason": str(error)})
            return answer
        return replace(answer, turn_id=turn_id, conversation_id=conversation_id)


async def _no_search(query: str) -> Sequence[Hit]:
    del query
    return ()


def _check_draft(draft: Draft) -> Checked:
    checked = check_answer(draft.text, draft.sources)
    if checked.grounded:
        return checked
    doubt = UNSUPPORTED if checked.citations else UNBACKED
    return replace(checked, text=f"{checked.text}\n\n{doubt}")


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
    )
