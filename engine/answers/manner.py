"""How an assistant has a question answered, where that is not how everything is answered. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from engine.access.search_scope import SearchOverrides
from engine.answers.conversations import TURNS, PastTurn
from engine.assistants.answer_languages import name_of
from engine.assistants.rows import AssistantInfo
from engine.domain import Answer, AnswerEvent, Delta, SearchMode
from engine.search.retrieval import AS_SET

HITS = 8  # documents an answer is made from
# A mark as answers have it: after a space or a new line, at the end of its sentence or cell.
_MARKS = re.compile(r"[ \t\n](?:\[\d{1,3}\])+(?=[\s.!?…。！？\"'”’)*_|]|$)")  # noqa: RUF001


@dataclass(frozen=True, slots=True)
class Manner:
    """What an assistant sets for one answer."""

    assistant_id: str = ""
    top_k: int = HITS
    mode: SearchMode | None = None
    overrides: SearchOverrides = AS_SET
    prompt: str = ""
    language: str = ""  # a name
    empty_answer: str = ""
    cites: bool = True
    memory_turns: int = TURNS

    def past(self, turns: Sequence[PastTurn]) -> Sequence[PastTurn]:
        """Those of earlier turns that a question is read with."""
        return turns[-self.memory_turns :] if self.memory_turns else ()

    def answer(self, answer: Answer) -> Answer:
        """The answer as this assistant gives it."""
        if self.cites or not answer.citations:
            return answer
        text = _MARKS.sub("", answer.text)
        return replace(answer, text=text, citations=(), uncited=len(answer.citations))

    def event(self, event: AnswerEvent) -> AnswerEvent:
        """An event on the way to it."""
        if isinstance(event, Delta) and not self.cites:
            return Delta(_MARKS.sub("", event.text))
        return event


PLAIN = Manner()


def manner_of(assistant: AssistantInfo) -> Manner:
    """How an assistant answers."""
    profile = assistant.answers
    return Manner(
        assistant_id=assistant.id,
        top_k=profile.top_k or HITS,
        mode=profile.mode,
        overrides=profile.overrides,
        prompt=profile.prompt,
        language=name_of(profile.language),
        empty_answer=profile.empty_answer,
        cites=profile.citations,
        memory_turns=profile.memory_turns,
    )
