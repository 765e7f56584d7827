"""Switch and Categorize: which way a run goes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from pydantic import Field, create_model

from engine.errors import Unavailable
from engine.flow.component import ComponentParam, Fired, Inputs, Output
from engine.flow.context import RunContext
from engine.index.analysis import analyse
from engine.workflows.component import (
    STRING,
    StepId,
    Text,
    WorkflowComponent,
    WorkflowRun,
    known_targets,
)
from engine.workflows.components.conditions import Conditions
from engine.workflows.prompts import CATEGORIZE, fenced

OTHER = "other"
ALIKE = 0.3  # cosine from which a text counts as of a class without a model
TEXT_MAX = 8_000


class Case(Conditions):
    """Where to go when its conditions hold."""

    to: StepId = Field(min_length=1, max_length=100)
    name: str = ""


class Switch(WorkflowComponent):
    """Goes to the first case whose conditions hold, else to `else`."""

    type = "Switch"
    aliases = ("if-else", "IfElse", "Condition")
    output = {"case": STRING}  # noqa: RUF012 (a ClassVar of the base)

    class Param(ComponentParam):
        cases: tuple[Case, ...] = Field(min_length=1)
        otherwise: StepId | None = Field(default=None, alias="else")

    param: Param

    @classmethod
    def fires_of(cls, param: Any) -> frozenset[str]:  # noqa: ANN401
        """Every case's target."""
        return frozenset(known_targets(*(case.to for case in param.cases), param.otherwise))

    async def _work(self, context: RunContext[WorkflowRun], inputs: Inputs) -> Output:
        for number, case in enumerate(self.param.cases):
            if case.hold():
                return Fired({"case": case.name or str(number)}, (case.to,))
        return Fired({"case": "else"}, tuple(known_targets(self.param.otherwise)))


class Class(ComponentParam):
    """One class of a Categorize, and where it leads."""

    name: str = Field(min_length=1, max_length=100)
    to: StepId | None = None
    description: str = ""
    examples: tuple[str, ...] = ()


class Categorize(WorkflowComponent):
    """Decides which class a text belongs to, and goes where that class leads.

    Without a language model it compares the text with each class's description and examples.
    """

    type = "Categorize"
    aliases = ("QuestionClassifier", "question-classifier")
    effect = "paid"
    output = {"category": STRING, "reason": STRING}  # noqa: RUF012 (a ClassVar of the base)

    class Param(ComponentParam):
        text: Text
        classes: tuple[Class, ...] = Field(min_length=1, max_length=50)
        model: str = ""

    param: Param

    @classmethod
    def fires_of(cls, param: Any) -> frozenset[str]:  # noqa: ANN401
        """Where the classes lead."""
        return frozenset(known_targets(*(item.to for item in param.classes)))

    @classmethod
    def faults_of(cls, param: Any) -> list[str]:  # noqa: ANN401
        """A name twice."""
        names = [item.name for item in param.classes]
        return [f"class {name!r} is given twice" for name in set(names) if names.count(name) > 1]

    async def _work(self, context: RunContext[WorkflowRun], inputs: Inputs) -> Output:
        run, text = context.services, self.param.text[:TEXT_MAX]
        chosen, reason = "", ""
        if run.services.model is not None and text.strip():
            try:
                chosen, reason = await self._by_model(run, text)
            except Unavailable as error:
                context.log.warning("the text was classified without the model: %s", error)
        if not chosen:
            chosen, reason = await self._by_likeness(run, text)
        found = next((item for item in self.param.classes if item.name == chosen), None)
        output = {"category": chosen, "reason": reason}
        if not self.fires_of(self.param):
            return output
        return Fired(output, tuple(known_targets(found.to if found else None)))

    async def _by_model(self, run: WorkflowRun, text: str) -> tuple[str, str]:
        names = [item.name for item in self.param.classes]
        lines = [f"- {item.name}: {item.description}" for item in self.param.classes]
        lines += [
            f"  e.g. {' '.join(example.split())[:200]}"
            for item in self.param.classes
            for example in item.examples[:5]
        ]
        if OTHER not in names:
            lines.append(f"- {OTHER}: none of these")
        schema = create_model("Decision", category=(str, ...), reason=(str, ""))
        prompt = "\n".join(["Classes:", *lines, "", fenced("text", text)])
        found = await run.model(name=self.param.model).extract(
            CATEGORIZE, prompt, schema, max_tokens=200
        )
        said = str(getattr(found.value, "category", "")).strip()
        match = next((name for name in names if name.casefold() == said.casefold()), OTHER)
        return match, str(getattr(found.value, "reason", ""))[:500]

    async def _by_likeness(self, run: WorkflowRun, text: str) -> tuple[str, str]:
        named = [item for item in self.param.classes if item.name != OTHER]
        likenesses = [
            max(await _likeness(run, text, [f"{item.name} {item.description}", *item.examples]))
            for item in named
        ]
        best = max(range(len(named)), key=lambda i: likenesses[i], default=-1)
        if best < 0 or likenesses[best] < ALIKE:
            return OTHER, "No class is like the text."
        return named[best].name, f"The text is most like {named[best].name}."


async def _likeness(run: WorkflowRun, text: str, others: Sequence[str]) -> list[float]:
    """How alike a text and each of others are, 0 to 1: their words, or their meaning if more."""
    said = set(analyse(text, "en"))
    scores = []
    asked = await run.services.embedder.embed_query(text)
    for other in others:
        words = set(analyse(other, "en"))
        shared = len(said & words) / max(1, min(len(said), len(words)))
        vector = await run.services.embedder.embed_query(other)
        scores.append(max(shared, float(np.dot(asked, vector))))
    return scores
