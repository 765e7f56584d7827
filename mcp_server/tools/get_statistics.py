"""`get_statistics`: what was asked and answered, in numbers."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, Field

from engine.domain import Scope
from engine.insight.statistics import StatisticsGroup
from mcp_server.call import current
from mcp_server.render import SEARCH_BUDGET, page_within
from mcp_server.tool import KnowledgeTool


class GroupFigures(BaseModel):
    name: str
    questions: int
    answered: int
    maybe: int
    not_found: int
    failed: int
    p50_ms: float | None
    p95_ms: float | None
    searches: int
    searches_without_hits: int
    tokens: int
    credits: float
    helpful: int
    unhelpful: int
    documents_ingested: int
    documents_failed: int


class StatisticsFound(BaseModel):
    first: str
    last: str
    people: int | None
    total: GroupFigures
    groups: list[GroupFigures]
    left_out: int


DESCRIPTION = (
    "Count the questions and searches of the last days: how many were answered, how long it took,"
    " tokens, credits, feedback, ingestion. Only of knowledge bases you manage; no texts."
)


async def get_statistics(
    days: Annotated[int, Field(ge=1, le=731, description="With today, by UTC.")] = 7,
    by: Literal["day", "kb", "door", "channel", "model", "workflow", "source"] = "day",
    knowledge_base: Annotated[str, Field(max_length=200, description="Name or id; all.")] = "",
) -> StatisticsFound:
    """Statistics of the last days, grouped."""
    call = current()
    found = await call.caller.engine.insight.statistics(
        call.caller.principal, days=days, by=by, kb=knowledge_base
    )
    groups = [_figures(group) for group in found.groups]
    shown = groups[: page_within([group.model_dump() for group in groups], SEARCH_BUDGET)]
    call.results = len(shown)
    return StatisticsFound(
        first=found.first.isoformat(),
        last=found.last.isoformat(),
        people=found.people,
        total=_figures(found.total),
        groups=shown,
        left_out=len(groups) - len(shown),
    )


def _figures(group: StatisticsGroup) -> GroupFigures:
    asked = group.questions
    return GroupFigures(
        name=group.name,
        questions=asked.questions,
        answered=asked.answered,
        maybe=asked.maybe,
        not_found=asked.not_found,
        failed=asked.failed,
        p50_ms=asked.p50_ms,
        p95_ms=asked.p95_ms,
        searches=group.searches.searches,
        searches_without_hits=group.searches.without_hits,
        tokens=group.models.input_tokens + group.models.output_tokens,
        credits=group.models.cost,
        helpful=asked.helpful,
        unhelpful=asked.unhelpful,
        documents_ingested=group.ingestions.done,
        documents_failed=group.ingestions.failed,
    )


def build_get_statistics() -> KnowledgeTool:
    """The tool `get_statistics`."""
    return KnowledgeTool.of(
        get_statistics,
        scope=Scope.KB_MANAGE,
        title="Get statistics",
        description=DESCRIPTION,
    )
