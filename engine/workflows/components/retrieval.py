"""Retrieval and Rewrite: passages for a query, of what principal and audience may both read."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from pydantic import Field

from engine.domain import Hit, SearchMode
from engine.errors import Unavailable
from engine.flow.component import ComponentParam, Inputs, Output
from engine.flow.context import RunContext
from engine.search.filters import parse_filters
from engine.workflows.component import (
    NUMBER,
    OBJECT,
    OBJECTS,
    STRING,
    STRINGS,
    Text,
    WorkflowComponent,
    WorkflowRun,
    scope_of,
)
from engine.workflows.prompts import REWRITE

QUERY_MAX = 2_000


class Filters(ComponentParam):
    """What narrows a search, each as in a search by command."""

    since: Text = ""
    until: Text = ""
    author: Text = ""
    channel: Text = ""
    source: Text = ""
    tag: Text = ""
    language: Text = ""


class Retrieval(WorkflowComponent):
    """Searches knowledge bases: passages, best first, and how sure they are."""

    type = "Retrieval"
    aliases = ("Knowledge", "KnowledgeBaseSearch", "knowledge_base_search", "knowledge-retrieval")
    effect = "read"
    output = {  # noqa: RUF012 (a ClassVar of the base)
        "passages": OBJECTS,
        "hits": OBJECTS,
        "text": STRING,
        "confidence": NUMBER,
        "weights": OBJECT,
    }

    class Param(ComponentParam):
        query: Text = ""
        kbs: tuple[str, ...] | str = ()
        k: int | str = Field(default=8)
        mode: SearchMode | None = None
        min_confidence: float = Field(default=0.0, ge=0, le=1)
        passages: int = Field(default=3, ge=1, le=10)
        filters: Filters = Filters()

    param: Param

    @classmethod
    def faults_of(cls, param: Any) -> list[str]:  # noqa: ANN401
        """A number of documents that is none."""
        wrong = isinstance(param.k, int) and not 1 <= param.k <= 50
        return ["param `k`: must be from 1 to 50"] if wrong else []

    async def _work(self, context: RunContext[WorkflowRun], inputs: Inputs) -> Output:
        run, param = context.services, self.param
        query = (param.query or scope_of(context, "query"))[:QUERY_MAX]
        if not query.strip():
            return {"passages": [], "hits": [], "text": "", "confidence": 0.0, "weights": {}}
        names = [param.kbs] if isinstance(param.kbs, str) else list(param.kbs)
        kb_ids: list[str] = []
        for name in filter(None, names):
            kb_ids += await run.services.kb_ids(run.principal, name) or ()
        given = param.filters.model_dump(exclude={"timeout_s"}, exclude_defaults=True)
        found = await run.services.retriever.retrieve(
            run.principal,
            run.audience,
            query,
            kb_ids=kb_ids or None,
            limit=max(1, min(50, int(param.k))),
            mode=param.mode,
            filters=parse_filters(**given),
            passages=param.passages,
        )
        hits = [hit for hit in found.result.hits if hit.confidence >= param.min_confidence]
        passages = [passage for hit in hits for passage in _passages(hit)]
        self.rest_on(passage["id"] for passage in passages)
        return {
            "passages": passages,
            "hits": [_hit(hit) for hit in hits],
            "text": "\n\n".join(f"{item['title']}\n{item['text']}" for item in passages),
            "confidence": max((hit.confidence for hit in hits), default=0.0),
            "weights": dict(found.term_weights),
        }


def _passages(hit: Hit) -> list[dict[str, Any]]:
    return [
        {
            "id": passage.id,
            "document_id": hit.document_id,
            "title": hit.title,
            "url": hit.url,
            "where": passage.where,
            "text": passage.text,
            "confidence": hit.confidence,
            "score": hit.score,
            "cosine": passage.cosine,
            "scores": asdict(hit.scores),
        }
        for passage in hit.passages
    ]


def _hit(hit: Hit) -> dict[str, Any]:
    return {
        "document_id": hit.document_id,
        "title": hit.title,
        "url": hit.url,
        "kb": hit.kb_name,
        "confidence": hit.confidence,
    }


class Rewrite(WorkflowComponent):
    """Makes a query of what was said: tidied, and with a model written out in full."""

    type = "Rewrite"
    aliases = ("QueryPreprocessor", "query_preprocessor", "RewriteQuestion")
    effect = "paid"
    output = {"query": STRING, "original": STRING, "keywords": STRINGS}  # noqa: RUF012

    class Param(ComponentParam):
        query: Text = ""
        context: Text = ""
        expand: bool = True
        model: str = ""

    param: Param

    async def _work(self, context: RunContext[WorkflowRun], inputs: Inputs) -> Output:
        original = self.param.query or scope_of(context, "query")
        query = " ".join(original.split())[:QUERY_MAX]
        run = context.services
        if self.param.expand and query and run.services.model is not None:
            try:
                query = await self._rewritten(run, query)
            except Unavailable as error:  # a query as it was said still finds something
                context.log.warning("the query was not rewritten: %s", error)
        words = [word.strip(".,;:!?\"'()") for word in query.split()]
        return {
            "query": query,
            "original": original,
            "keywords": list(dict.fromkeys(word for word in words if len(word) > 3)),
        }

    async def _rewritten(self, run: WorkflowRun, query: str) -> str:
        said = f"{self.param.context}\n\n{query}" if self.param.context else query
        completion = await run.model(name=self.param.model).complete(REWRITE, said, max_tokens=120)
        lines = [line.strip(" \"'`") for line in completion.text.splitlines() if line.strip()]
        return lines[0] if lines and len(lines[0]) <= 4 * len(query) + 300 else query
