"""Extractor: fields of a document that a language model reads out of it.

What it finds is kept with the document (`details`), seen by everyone who may read the document, and
falls with it. Behind a Tokenizer it lets the document's words answer before it asks the model.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
from typing import Annotated, Any

from pydantic import Field, StringConstraints, model_validator

from engine.answers.prompts import load_prompt
from engine.documents.component_outputs import key_of
from engine.errors import EngineError
from engine.flow.component import Component, ComponentParam, Inputs, Output
from engine.flow.context import RunContext
from ingestion.derived import DerivationRequest, DerivationUsage, Mode, derive
from ingestion.services import IngestionRun

Name = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,39}$")]
RESERVED = frozenset(
    {"chunk_count", "chunks", "content", "details", "embedded", "extracted", "facts", "from_cache"}
    | {"language", "languages", "mime", "name", "outline", "quality", "size_bytes", "text", "title"}
    | {"token_count", "usage"}
)
_MODES: dict[str, Mode] = {
    "keywords": "keywords",
    "questions": "questions",
    "summary": "summary",
    "table_of_contents": "toc",
    "toc": "toc",
}


class Extractor(Component[IngestionRun]):
    """A summary, a table of contents, keywords, questions, named fields, or what a prompt asks for."""

    type = "Extractor"
    reads = frozenset({"text"})
    needs = frozenset({"language_model"})
    checkpoint_now = True  # paid for
    timeout_s = 1800.0
    weight = 4.0

    class Param(ComponentParam):
        """`field_name` is the key the value is kept under; `summary`, `toc`, `keywords` and
        `questions` are known, any other one needs `fields` (name to what it holds) or a `prompt`.

        `count`: of keywords or questions. A document longer than 24,000 characters is read in
        parts, at most `max_calls`; the rest is left out, and the log says so.
        """  # noqa: D205 (the two sentences belong together)

        field_name: Name = "summary"
        fields: dict[Name, str] = Field(default_factory=dict, max_length=30)
        prompt: str = Field(default="", max_length=4000)
        count: int = Field(default=5, ge=1, le=50)
        max_tokens: int = Field(default=512, ge=16, le=8192)
        max_calls: int = Field(default=8, ge=1, le=100)

        @model_validator(mode="after")
        def _says_what(self) -> Extractor.Param:
            if self.field_name in RESERVED:
                raise ValueError(f"field_name {self.field_name!r} is taken; choose another")
            if self.fields and self.prompt:
                raise ValueError("give `fields` or a `prompt`, not both")
            if self.field_name not in _MODES and not (self.fields or self.prompt):
                raise ValueError(
                    f"{self.field_name!r} has no definition: give `fields` or a `prompt`, or "
                    f"name it one of {', '.join(sorted(_MODES))}"
                )
            return self

        @property
        def wanted(self) -> DerivationRequest:
            """What `derive` is asked for."""
            mode: Mode = "fields" if self.fields else "text" if self.prompt else "summary"
            if not (self.fields or self.prompt):
                mode = _MODES[self.field_name]
            return DerivationRequest(
                mode, self.fields, self.prompt, self.count, self.max_tokens, self.max_calls
            )

    param: Param

    @classmethod
    def writes_of(cls, param: Any) -> frozenset[str]:  # noqa: ANN401
        """The field named, what is kept with the document, and what it cost."""
        return frozenset({param.field_name, "extracted", "usage"})

    async def _invoke(self, context: RunContext[IngestionRun], inputs: Inputs) -> Output:
        run = context.services
        model = await run.language_model()
        if model is None:  # checked when the flow was loaded; the settings may have changed since
            raise EngineError(
                f"Extractor {self.id!r} needs a language model and none is configured: set"
                " llm.model, or give the knowledge base a pipeline without it."
            )
        text = await run.unpack_text(inputs["text"])
        name, source_hash = self.param.field_name, run.found.blob_hash
        key = key_of(
            self.type,
            wanted=asdict(self.param.wanted),
            model=model.name,
            rules=load_prompt("extract"),
            text=hashlib.sha256(text.encode()).hexdigest(),
        )
        kept = await run.recall(source_hash, key)
        if kept is not None:
            value = json.loads(kept)
            context.progress(self.id, 0.95, "from the cache")
            return self._found(value, DerivationUsage())
        if run.chunks is not None:
            await run.publish_words()
        run.shared.park()
        value, usage = await derive(
            model,
            text,
            self.param.wanted,
            report=lambda share, said: context.progress(self.id, 0.95 * share, said),
        )
        if usage.read_chars < len(text):
            run.remarks.append(f"{name}: only the first {usage.read_chars:,} characters were read")
        await run.keep(source_hash, key, self.type, json.dumps(value).encode())
        return self._found(value, usage)

    def _found(self, value: object, usage: DerivationUsage) -> Output:
        name = self.param.field_name
        return {
            name: value,
            "extracted": {name: value},
            "usage": {
                "calls": usage.calls,
                "input_tokens": usage.input_tokens,
                "output_tokens": usage.output_tokens,
            },
        }
