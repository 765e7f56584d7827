"""How an installation does, at a glance: knowledge bases, workflows, health and metrics in one answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from engine import clock
from engine.access.gate import require
from engine.domain import Principal, Scope
from engine.engine import Engine
from engine.operations.status import KbStatus

ProductionState = Literal["well", "working", "ailing"]
FAILING = 0.05  # share of questions that break off from which something is wrong
ASKED_MIN = 20  # questions: of fewer a share says nothing


@dataclass(frozen=True, slots=True)
class KbProduction:
    """A knowledge base: what answers in it, what is on its way, and what failed."""

    id: str
    name: str
    document_count: int
    chunk_count: int
    index_size: int  # bytes, of its whole space
    last_updated: datetime
    waiting: int
    failed: int


@dataclass(frozen=True, slots=True)
class WorkflowProduction:
    """A workflow, and how its runs of the last days ended."""

    id: str
    name: str
    state: str
    published: int  # version; 0: none
    done: int
    failed: int


@dataclass(frozen=True, slots=True)
class ProductionMetrics:
    """The questions and searches of the last days; times in milliseconds, None where there were none."""

    queries_processed: int
    query_errors: int
    query_p50_ms: float | None
    query_p95_ms: float | None
    questions: int
    answered: int
    not_found: int
    tokens: int
    credits: float
    documents_ingested: int
    documents_failed: int


@dataclass(frozen=True, slots=True)
class ProductionStatus:
    """`state` is `ailing` where a part or its work fails, `working` while documents wait, else `well`.

    `reasons` says why it is not well, a sentence each. `health` is empty for a part that is well.
    """

    state: ProductionState
    reasons: Sequence[str]
    at: datetime
    days: int
    knowledge_bases: Sequence[KbProduction]
    workflows: Sequence[WorkflowProduction]
    health: Mapping[str, str]
    metrics: ProductionMetrics
    jobs: Mapping[str, Mapping[str, int]]  # by lane, then state
    workers: Sequence[str]


async def read_production_status(
    engine: Engine, principal: Principal, *, days: int = 7
) -> ProductionStatus:
    """The tenant's, over the last days with today, for its admins."""
    require(principal, Scope.KB_ADMIN)
    status = await engine.operations.status(principal)
    health = await engine.operations.all_health()
    total = (await engine.insight.statistics(principal, days=days)).total
    by_workflow = await engine.insight.statistics(principal, days=days, by="workflow")
    runs = {group.key: group.runs for group in by_workflow.groups}
    workflows = []
    for info in await engine.workflows.list_all(principal):
        ended = runs.get(info.id)
        if info.is_template and ended is None:
            continue  # nobody uses it
        done, failed = (ended.done, ended.failed) if ended is not None else (0, 0)
        line = WorkflowProduction(info.id, info.name, info.state, info.published, done, failed)
        workflows.append(line)
    metrics = ProductionMetrics(
        queries_processed=total.searches.searches,
        query_errors=total.searches.failed,
        query_p50_ms=total.searches.p50_ms,
        query_p95_ms=total.searches.p95_ms,
        questions=total.questions.questions,
        answered=total.questions.answered,
        not_found=total.questions.not_found,
        tokens=total.models.input_tokens + total.models.output_tokens,
        credits=total.models.cost,
        documents_ingested=total.ingestions.done,
        documents_failed=total.ingestions.failed,
    )
    kbs = [_kb(kb) for kb in status.knowledge_bases]
    waiting = sum(kb.waiting for kb in kbs)
    reasons = [f"{part}: {fault}" for part, fault in health.items() if fault]
    reasons += [f"{kb.name}: {kb.failed:,} documents failed." for kb in kbs if kb.failed]
    if metrics.questions >= ASKED_MIN and total.questions.failed > FAILING * metrics.questions:
        reasons.append(f"{total.questions.failed:,} of {metrics.questions:,} questions broke off.")
    if waiting and not status.workers:
        reasons.append(f"{waiting:,} documents wait, and no worker is running.")
    return ProductionStatus(
        state="ailing" if reasons else "working" if waiting else "well",
        reasons=reasons,
        at=clock.now(),
        days=days,
        knowledge_bases=kbs,
        workflows=workflows,
        health=health,
        metrics=metrics,
        jobs=status.jobs,
        workers=list(status.workers),
    )


def _kb(kb: KbStatus) -> KbProduction:
    return KbProduction(
        id=kb.id,
        name=kb.name,
        document_count=kb.documents,
        chunk_count=kb.chunks,
        index_size=kb.index_size_bytes,
        last_updated=kb.updated_at,
        waiting=kb.waiting,
        failed=kb.states.get("failed", 0),
    )
