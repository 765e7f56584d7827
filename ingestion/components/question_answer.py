"""QuestionAnswer: what a resolved conversation settled, as a document of its own.

A model names the question and the turns that answer it; the answer is those turns, word for word. It
becomes a document under the conversation's, with its readers and its address: derived again when a
message is edited, gone when the conversation is, or is resolved no longer.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass

from pydantic import BaseModel, Field

from engine.answers.prompts import load_prompt
from engine.chats.derived import THREAD_MIME, is_resolved
from engine.documents.attachments import Attached
from engine.documents.component_outputs import key_of
from engine.errors import EngineError
from engine.flow.component import Component, ComponentParam, Inputs, Output
from engine.flow.context import RunContext
from engine.markup.links import sanitise
from engine.markup.matching import fold
from engine.models.port import LanguageModel
from ingestion.convert.document import Converted
from ingestion.services import IngestionRun

NAME = "question-and-answer.md"
TURNS_MAX, ANSWERS_MAX = 60, 4  # a longer conversation is read from its end: there it was settled
TURN_CHARS, QUESTION_CHARS = 2_000, 300
_OWN_WORDS = 0.6  # of the question's words must occur in what people said


@dataclass(frozen=True, slots=True)
class Utterance:
    """What one person said before another did."""

    who: str
    text: str


class Pair(BaseModel):
    """What the model says; empty where nothing was settled."""

    question: str = Field(default="", description="the question that was settled")
    answers: list[int] = Field(
        default_factory=list, description="numbers of the turns that answer it"
    )


class QuestionAnswer(Component[IngestionRun]):
    """The question a resolved conversation settled, with the messages that answer it."""

    type = "QuestionAnswer"
    reads = frozenset({"text"})
    writes = frozenset({"usage"})
    needs = frozenset({"language_model"})
    checkpoint = False  # what the model said is kept by content, and asked for once
    timeout_s = 300.0
    weight = 2.0

    class Param(ComponentParam):
        """`max_tokens`: of the model's reply."""

        max_tokens: int = Field(default=512, ge=64, le=4096)

    param: Param

    async def _invoke(self, context: RunContext[IngestionRun], inputs: Inputs) -> Output:
        del inputs  # it reads the parsed conversation, whose turns the text no longer distinguishes
        run = context.services
        usage = {"calls": 0, "input_tokens": 0, "output_tokens": 0}
        if not await _is_resolved(run):
            return {"usage": usage}
        model = await run.language_model()
        if model is None:  # checked when the flow was loaded; the settings may have changed since
            raise EngineError(
                f"QuestionAnswer {self.id!r} needs a language model and none is configured: set"
                " llm.model, or give the knowledge base a pipeline without it."
            )
        turns = turns_of(run.document)[-TURNS_MAX:]
        pair = await self._pair(run, model, turns, usage)
        text = written(pair, turns)
        if text:
            data = text.encode()
            blob_hash = await run.shared.blobs.put(run.work.tenant_id, data)
            others = [item for item in run.attached if item.name != NAME]
            run.attached = [*others, Attached(NAME, blob_hash, len(data))]
        return {"usage": usage}

    async def _pair(
        self,
        run: IngestionRun,
        model: LanguageModel,
        turns: Sequence[Utterance],
        usage: dict[str, int],
    ) -> Pair:
        prompt = _numbered(turns)
        key = key_of(
            self.type,
            model=model.name,
            rules=load_prompt("question_answer"),
            max_tokens=self.param.max_tokens,
            text=hashlib.sha256(prompt.encode()).hexdigest(),
        )
        kept = await run.recall(run.found.blob_hash, key)
        if kept is not None:
            return Pair.model_validate_json(kept)
        run.shared.park()
        fence = secrets.token_hex(6)
        done = await model.extract(
            load_prompt("question_answer"),
            f"<<<{fence} conversation\n{prompt}\n{fence}>>>",
            Pair,
            max_tokens=self.param.max_tokens,
        )
        usage |= {
            "calls": 1,
            "input_tokens": done.input_tokens,
            "output_tokens": done.output_tokens,
        }
        await run.keep(run.found.blob_hash, key, self.type, done.value.model_dump_json().encode())
        return done.value


async def _is_resolved(run: IngestionRun) -> bool:
    if run.work.mime != THREAD_MIME:
        return False
    async with run.shared.db.read() as session:
        return await is_resolved(session, run.work.document_id)


def turns_of(document: Converted) -> list[Utterance]:
    """Who said what, in order; a heading begins each turn."""
    turns: list[Utterance] = []
    who, said = "", list[str]()

    def close() -> None:
        if said:
            turns.append(Utterance(who, "\n\n".join(said)))

    for block in document.blocks:
        text = document.text[block.start : block.end]
        if block.kind == "heading":
            close()
            who, said = re.sub(r",? \d{4}-\d\d-\d\d \d\d:\d\d| ✅", "", text.lstrip("# ")), []
        else:
            said.append(text)
    close()
    return turns


def written(pair: Pair, turns: Sequence[Utterance]) -> str:
    """The pair as Markdown; nothing where the model named no turn, or asks what nobody said."""
    numbers = list(dict.fromkeys(n for n in pair.answers if 1 <= n <= len(turns)))[:ANSWERS_MAX]
    all_said = "\n".join(turn.text for turn in turns)
    question = " ".join(sanitise(pair.question, sources=[all_said]).split())[:QUESTION_CHARS]
    if not numbers or not question or not _is_theirs(question, all_said):
        return ""
    answers = "\n\n".join(
        f"#### {turns[n - 1].who}\n\n{turns[n - 1].text}" for n in sorted(numbers)
    )
    return f"# {question}\n\n{answers}\n"


def _is_theirs(question: str, said: str) -> bool:
    """Whether the question is made of words of the conversation."""
    asked = set(re.findall(r"\w{3,}", fold(question)[0]))
    words = set(re.findall(r"\w{3,}", fold(said)[0]))
    return not asked or len(asked & words) >= _OWN_WORDS * len(asked)


def _numbered(turns: Sequence[Utterance]) -> str:
    return "\n\n".join(
        f"[{n}] {turn.who}: {turn.text[:TURN_CHARS]}" for n, turn in enumerate(turns, start=1)
    )
