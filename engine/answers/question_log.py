"""Notes each question with its outcome in the query log, whatever becomes of it."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field

from engine.clock import now
from engine.domain import Answer, Answered, AnswerEvent, Audience, Principal
from engine.errors import EngineError
from engine.search.query_log import Searched, SearchLog

FAILED = "failed"  # the outcome of a question that ended without an answer


@dataclass(slots=True)
class NotedQuestion:
    """A question on its way into the log: `events` passes an answer's on, and notes the end."""

    log: SearchLog | None
    principal: Principal
    audience: Audience
    question: str
    door: str
    kb_ids: Sequence[str] = ()
    started: float = field(default_factory=time.perf_counter)

    async def events(self, events: AsyncGenerator[AnswerEvent]) -> AsyncGenerator[AnswerEvent]:
        """The same events. A listener who leaves before the end has asked nothing that counts."""
        try:
            async with aclosing(events):
                async for event in events:
                    if isinstance(event, Answered):
                        self.note(event.answer)
                    yield event
        except EngineError as error:
            self.note(None, error.code)
            raise
        except Exception:
            self.note(None, "internal")
            raise

    def note(self, answer: Answer | None, error_code: str = "") -> None:
        """Keep a row of it; once noted, what follows is not."""
        log, self.log = self.log, None
        if log is None:
            return
        key = self.audience.key
        log.note(
            Searched(
                tenant_id=self.principal.tenant_id,
                user_id=self.principal.user_id,
                kb_ids=self.kb_ids or (_kbs_of(answer) if answer else ()),
                mode="",
                text=self.question,
                hits=len(answer.citations) if answer else 0,
                confidence=answer.confidence if answer else 0.0,
                took_ms=(time.perf_counter() - self.started) * 1000,
                at=now(),
                error_code=error_code,
                kind="ask",
                door=self.door[:20],
                channel_id=key.removeprefix("ch:") if key.startswith("ch:") else "",
                turn_id=(answer.turn_id or None) if answer else None,
                outcome=answer.outcome if answer else FAILED,
                model=answer.model[:250] if answer else "",
                input_tokens=answer.input_tokens if answer else 0,
                output_tokens=answer.output_tokens if answer else 0,
            )
        )


def _kbs_of(answer: Answer) -> list[str]:
    """The knowledge bases that an answer rests on, or else those that came closest."""
    cited = {citation.document_id for citation in answer.citations}
    kbs = {hit.kb_id for hit in answer.hits if hit.document_id in cited}
    return sorted(kbs or {hit.kb_id for hit in answer.hits})
