"""Answer and Validate: an answer that cites what it rests on, and a second look at one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, Literal

from pydantic import BaseModel, Field, TypeAdapter

from engine.access.gate import usable_tokens
from engine.answers.from_passages import (
    NOTHING,
    ScoredPassage,
    Written,
    answer_from,
    recalled,
    support_of,
)
from engine.domain import Delta, Hit
from engine.errors import Unavailable
from engine.flow.component import ComponentParam, Fired, Inputs, Output
from engine.flow.context import RunContext
from engine.search.passages import Visibility
from engine.workflows.component import (
    BOOLEAN,
    NUMBER,
    OBJECTS,
    STRING,
    STRINGS,
    Schema,
    StepId,
    Text,
    WorkflowComponent,
    WorkflowRun,
    known_targets,
    scope_of,
)
from engine.workflows.prompts import VALIDATE, fenced

WITHHELD = "I have an answer, but could not confirm it well enough to give it."
DOUBTFUL = "(This answer is not well supported: check its sources.)"
_FOUND = TypeAdapter(ScoredPassage)
Passages = list[dict[str, Any]] | str | None


class WriteAnswer(WorkflowComponent):
    """Answers a question from passages, each sentence checked against them and cited.

    Without a language model the answer is made of the passages' own sentences.
    """

    type = "Answer"
    aliases = ("AnswerGeneration", "answer_generation", "Generate")
    effect = "paid"
    optional = frozenset({"passages", "weights"})
    output = {  # noqa: RUF012 (a ClassVar of the base)
        "answer": STRING,
        "citations": OBJECTS,
        "confidence": NUMBER,
        "grounded": BOOLEAN,
        "outcome": STRING,
        "retrieval_context": STRINGS,
        "model": STRING,
    }

    class Param(ComponentParam):
        query: Text = ""
        passages: Passages = None
        model: str = ""
        temperature: float | None = Field(default=None, ge=0, le=2)
        max_tokens: int = Field(default=1024, ge=1, le=32_000)
        citations: bool = True
        language: Text = ""
        unsupported: Literal["drop", "mark"] = "drop"

    param: Param

    async def _work(self, context: RunContext[WorkflowRun], inputs: Inputs) -> Output:
        run, param = context.services, self.param
        query = param.query or scope_of(context, "query")
        given = param.passages if param.passages is not None else inputs.get("passages", [])
        hits = await recall(run, given)
        self.rest_on(passage.id for hit in hits for passage in hit.passages)
        written: Written | None = None
        model = None
        if run.services.model is not None:
            model = run.model(name=param.model, temperature=param.temperature)
        async for event in answer_from(
            query,
            hits,
            model=model,
            embedder=run.services.embedder,
            term_weights=inputs.get("weights", {}),
            max_tokens=param.max_tokens,
            language=param.language,
            unsupported=param.unsupported,
        ):
            if isinstance(event, Delta):
                context.add_text(self.id, event.text)
            else:
                written = event
        assert written is not None  # noqa: S101 (the last event)
        return {
            "answer": written.text if param.citations else written.without_marks,
            "citations": [asdict(item) for item in written.citations] if param.citations else [],
            "confidence": round(written.confidence, 4),
            "grounded": written.grounded,
            "outcome": written.outcome,
            "retrieval_context": [passage.text for hit in hits for passage in hit.passages],
            "model": written.model,
        }


async def recall(run: WorkflowRun, passages: object) -> list[Hit]:
    """The passages as they are now, of those that this run's people may still read."""
    found = [
        _FOUND.validate_python(item)
        for item in (passages if isinstance(passages, list) else ())
        if isinstance(item, Mapping) and "id" in item
    ]
    tokens = usable_tokens(run.principal, run.audience)
    gate = Visibility(run.principal.tenant_id, tokens, "main")
    async with run.services.db.read() as session:
        return await recalled(session, gate, found)


class _Verdict(BaseModel):
    factual: float = Field(ge=0, le=1)
    relevant: float = Field(ge=0, le=1)
    reasons: list[str] = Field(default_factory=list, max_length=10)


class Validate(WorkflowComponent):
    """Scores an answer: whether the passages carry it, and whether it responds to the question.

    Below the threshold the answer is withheld or flagged, and the edge `fail` is followed.
    """

    type = "Validate"
    aliases = ("AnswerValidation", "answer_validation")
    effect = "paid"
    optional = frozenset({"answer", "passages", "confidence", "outcome"})

    class Param(ComponentParam):
        query: Text = ""
        answer: Text | None = None
        passages: Passages = None
        check_factuality: bool = True
        check_relevance: bool = True
        threshold: float = Field(default=0.7, ge=0, le=1)
        action: Literal["flag", "withhold"] = "flag"
        use_model: bool = True
        to_pass: StepId | None = Field(default=None, alias="pass")
        to_fail: StepId | None = Field(default=None, alias="fail")

    param: Param

    @classmethod
    def schema_of(cls, param: Any) -> Mapping[str, Schema]:  # noqa: ANN401, ARG003
        """Its keys."""
        return {
            "ok": BOOLEAN,
            "score": NUMBER,
            "factuality": NUMBER,
            "relevance": NUMBER,
            "reasons": STRINGS,
            "answer": STRING,
        }

    @classmethod
    def fires_of(cls, param: Any) -> frozenset[str]:  # noqa: ANN401
        """Where it goes after either result."""
        return frozenset(known_targets(param.to_pass, param.to_fail))

    async def _work(self, context: RunContext[WorkflowRun], inputs: Inputs) -> Output:
        run, param = context.services, self.param
        query = param.query or scope_of(context, "query")
        answer = param.answer if param.answer is not None else str(inputs.get("answer", ""))
        given = param.passages if param.passages is not None else inputs.get("passages", [])
        hits = await recall(run, given)
        self.rest_on(passage.id for hit in hits for passage in hit.passages)
        verdict = await self._verdict(context, query, answer, hits)
        checks = [
            (param.check_factuality, verdict.factual),
            (param.check_relevance, verdict.relevant),
        ]
        score = round(min((value for on, value in checks if on), default=1.0), 4)
        ok = score >= param.threshold
        output = {
            "ok": ok,
            "score": score,
            "factuality": round(verdict.factual, 4),
            "relevance": round(verdict.relevant, 4),
            "reasons": verdict.reasons,
            "answer": answer if ok else self._without_support(answer),
        }
        if param.to_pass is None and param.to_fail is None:
            return output
        return Fired(output, tuple(known_targets(param.to_pass if ok else param.to_fail)))

    def _without_support(self, answer: str) -> str:
        if answer.strip() in {"", NOTHING}:
            return answer  # which claims nothing
        return WITHHELD if self.param.action == "withhold" else f"{answer}\n\n{DOUBTFUL}"

    async def _verdict(
        self, context: RunContext[WorkflowRun], query: str, answer: str, hits: Sequence[Hit]
    ) -> _Verdict:
        run = context.services
        measured = support_of(query, answer, hits)
        words = _Verdict(
            factual=measured.carried, relevant=measured.responds, reasons=list(measured.reasons)
        )
        if not (self.param.use_model and run.services.model is not None and measured.claims):
            return words
        parts = [fenced("question", query), fenced("answer", answer)]
        parts += [fenced("passage", passage.text) for hit in hits for passage in hit.passages]
        try:
            found = await run.model().extract(
                VALIDATE, "\n\n".join(parts), _Verdict, max_tokens=400
            )
        except Unavailable as error:  # words decide: better a cautious score than none
            context.log.warning("the answer was scored without the model: %s", error)
            return words
        # A model may not approve what the passages do not state.
        factual = min(found.value.factual, measured.carried)
        return found.value.model_copy(update={"factual": factual})
