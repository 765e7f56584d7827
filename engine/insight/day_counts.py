"""What happened on days, counted from the rows themselves: the truth that kept days equal.

`count_days` is used for days that nobody keeps yet, and to keep one. Everything is counted in the
database and grouped by day and dimension; only runs are read row by row, for their durations.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from datetime import UTC, date, datetime, timedelta
from typing import Any

from sqlalchemy import BigInteger, ColumnElement, String, and_, case, func, or_, select, type_coerce
from sqlalchemy.ext.asyncio import AsyncSession

from engine.db.tables import (
    Conversation,
    Document,
    Feedback,
    LedgerEntry,
    QueryLog,
    Run,
    Turn,
)
from engine.flow.store import ENDED, SUCCEEDED, RunState
from engine.insight.histogram import bucket_column, bucket_of

# Topics: what a row of `metric_day` counts.
QUESTIONS, SEARCHES, CALLS = "questions", "searches", "calls"
FEEDBACK, INGESTION, RUNS, STOCK = "feedback", "ingestion", "runs", "stock"
COUNTED = (QUESTIONS, SEARCHES, CALLS, FEEDBACK, INGESTION, RUNS)  # stock is only looked up


@dataclass(frozen=True, slots=True)
class DayCell:
    """One combination of dimensions on a day; a dimension that does not apply is empty."""

    day: str
    topic: str
    kb_id: str = ""
    door: str = ""
    channel_id: str = ""
    flow_id: str = ""
    source_id: str = ""
    model: str = ""


@dataclass(slots=True)
class Counted:
    """Whole numbers by name, and durations by bucket."""

    figures: dict[str, int] = field(default_factory=dict)
    latency: dict[int, int] = field(default_factory=dict)

    def add(self, name: str, number: int) -> None:
        """Add to a figure."""
        self.figures[name] = self.figures.get(name, 0) + number

    def took(self, bucket: int, number: int = 1) -> None:
        """Add durations to a bucket."""
        self.latency[bucket] = self.latency.get(bucket, 0) + number

    def of(self, name: str) -> int:
        """A figure; 0 where nothing was counted."""
        return self.figures.get(name, 0)

    def merge(self, figures: Mapping[str, int], latency: Mapping[int, int]) -> None:
        """Add all of another."""
        for name, number in figures.items():
            self.add(name, number)
        for bucket, number in latency.items():
            self.took(bucket, number)


Cells = dict[DayCell, Counted]
DIMENSIONS = tuple(item.name for item in fields(DayCell))


@dataclass(frozen=True, slots=True)
class DayRange:
    """From the beginning of a day to the end of another, by UTC."""

    first: date
    last: date

    @property
    def start(self) -> datetime:
        """When it begins."""
        return datetime(self.first.year, self.first.month, self.first.day, tzinfo=UTC)

    @property
    def end(self) -> datetime:
        """When it is over: not part of it."""
        return self.start + timedelta(days=(self.last - self.first).days + 1)


async def count_days(session: AsyncSession, tenant_id: str, span: DayRange) -> Cells:
    """Everything a tenant's rows say about some days."""
    found: Cells = {}
    await _count_questions(session, tenant_id, span, found)
    await _count_searches(session, tenant_id, span, found)
    await _count_calls(session, tenant_id, span, found)
    await _count_feedback(session, tenant_id, span, found)
    await _count_runs(session, tenant_id, span, found)
    return found


def cell_of(found: Cells, cell: DayCell) -> Counted:
    """What was counted of a cell, which begins at nothing."""
    return found.setdefault(cell, Counted())


def summed(cells: Cells) -> Cells:
    """The same with knowledge bases and doors alone told apart: far fewer cells."""
    found: Cells = {}
    for cell, counted in cells.items():
        coarse = DayCell(cell.day, cell.topic, kb_id=cell.kb_id, door=cell.door)
        cell_of(found, coarse).merge(counted.figures, counted.latency)
    return found


async def _count_questions(
    session: AsyncSession, tenant_id: str, span: DayRange, found: Cells
) -> None:
    log = QueryLog
    keys: list[Any] = [
        _day(session, log.at).label("day"),
        log.kb_id,
        log.door,
        log.channel_id,
        log.model,
        log.outcome,
        bucket_column(type_coerce(log.took_us, BigInteger)).label("bucket"),
    ]
    sums: list[Any] = [
        func.count(),
        _sum(log.took_us),
        _sum(log.input_tokens),
        _sum(log.output_tokens),
    ]
    rows = await session.execute(
        select(*keys, *sums).where(*_logged(tenant_id, span, "ask")).group_by(*keys)
    )
    for day, kb_id, door, channel_id, model, outcome, bucket, n, took, read, written in rows:
        counted = cell_of(
            found,
            DayCell(day, QUESTIONS, kb_id=kb_id, door=door, channel_id=channel_id, model=model),
        )
        counted.add("questions", n)
        counted.add(OUTCOMES.get(outcome, "failed"), n)
        counted.add("took_us", int(took))
        counted.add("input_tokens", int(read))
        counted.add("output_tokens", int(written))
        counted.took(bucket, n)


OUTCOMES = {"answered": "answered", "maybe": "maybe", "not_found": "not_found"}


async def _count_searches(
    session: AsyncSession, tenant_id: str, span: DayRange, found: Cells
) -> None:
    log = QueryLog
    keys: list[Any] = [
        _day(session, log.at).label("day"),
        log.kb_id,
        bucket_column(type_coerce(log.took_us, BigInteger)).label("bucket"),
    ]
    failed = log.error_code != ""
    empty = and_(log.hits == 0, log.error_code == "")
    sums: list[Any] = [func.count(), _sum(log.took_us), _sum(_one_if(empty)), _sum(_one_if(failed))]
    rows = await session.execute(
        select(*keys, *sums).where(*_logged(tenant_id, span, "search")).group_by(*keys)
    )
    for day, kb_id, bucket, n, took, without, broken in rows:
        counted = cell_of(found, DayCell(day, SEARCHES, kb_id=kb_id))
        counted.add("searches", n)
        counted.add("without_hits", int(without))
        counted.add("failed_searches", int(broken))
        counted.add("took_us", int(took))
        counted.took(bucket, n)


async def _count_calls(session: AsyncSession, tenant_id: str, span: DayRange, found: Cells) -> None:
    entry = LedgerEntry
    keys: list[Any] = [entry.day, entry.model]
    sums: list[Any] = [
        func.count(),
        _sum(entry.input_tokens),
        _sum(entry.output_tokens),
        _sum(entry.cost),
    ]
    rows = await session.execute(
        select(*keys, *sums)
        .where(
            entry.tenant_id == tenant_id,
            entry.kind == "settle",
            entry.day >= span.first.isoformat(),
            entry.day <= span.last.isoformat(),
        )
        .group_by(*keys)
    )
    for day, model, n, read, written, cost in rows:
        counted = cell_of(found, DayCell(day, CALLS, model=model))
        counted.add("model_calls", n)
        counted.add("model_input_tokens", int(read))
        counted.add("model_output_tokens", int(written))
        counted.add("cost_micro", int(cost))


async def _count_feedback(
    session: AsyncSession, tenant_id: str, span: DayRange, found: Cells
) -> None:
    asked = and_(QueryLog.turn_id == Feedback.turn_id, QueryLog.kind == "ask")
    keys: list[Any] = [
        _day(session, Feedback.created_at).label("day"),
        func.coalesce(QueryLog.kb_id, "").label("kb_id"),
        Conversation.door,
        Turn.audience,
        (Feedback.rating > 0).label("helpful"),
    ]
    rows: Any = await session.execute(
        select(*keys, func.count())
        .join(Turn, Turn.id == Feedback.turn_id)
        .join(Conversation, Conversation.id == Turn.conversation_id)
        .outerjoin(QueryLog, asked)
        .where(Feedback.tenant_id == tenant_id, *_within(Feedback.created_at, span))
        .group_by(*keys)
    )
    for day, kb_id, door, audience, helpful, n in rows:
        cell = DayCell(day, FEEDBACK, kb_id=kb_id, door=door, channel_id=channel_of(audience))
        cell_of(found, cell).add("helpful" if helpful else "unhelpful", n)


async def _count_runs(session: AsyncSession, tenant_id: str, span: DayRange, found: Cells) -> None:
    rows: Any = await session.execute(
        select(
            Run.kind,
            Run.flow_id,
            Run.state,
            Run.started_at,
            Run.ended_at,
            Document.kb_id,
            Document.source_id,
        )
        .outerjoin(Document, Document.id == Run.document_id)
        .where(Run.tenant_id == tenant_id, *_within(Run.ended_at, span))
        .where(or_(*(Run.state == str(state) for state in ENDED)))
    )
    for kind, flow_id, state, started_at, ended_at, kb_id, source_id in rows:
        if ended_at is None:  # it is within the days
            continue
        day = ended_at.date().isoformat()
        took_us = max(0, (ended_at - started_at) // timedelta(microseconds=1))
        if kind == "pipeline":
            cell = DayCell(day, INGESTION, kb_id=kb_id or "", source_id=source_id or "")
        else:
            cell = DayCell(day, RUNS, flow_id=flow_id)
        counted = cell_of(found, cell)
        if state in SUCCEEDED:
            counted.add("done", 1)
        else:
            counted.add("cancelled" if state == RunState.CANCELLED else "failed", 1)
        counted.add("took_us", took_us)
        counted.took(bucket_of(took_us))


def channel_of(audience: str) -> str:
    """The channel of an audience's key; empty where somebody asked for themselves."""
    return audience.removeprefix("ch:") if audience.startswith("ch:") else ""


def spans_of(days: Iterable[date]) -> list[DayRange]:
    """Days in order, as few spans as hold exactly them."""
    spans: list[DayRange] = []
    for day in sorted(days):
        if spans and (day - spans[-1].last).days == 1:
            spans[-1] = DayRange(spans[-1].first, day)
        else:
            spans.append(DayRange(day, day))
    return spans


def _logged(tenant_id: str, span: DayRange, kind: str) -> list[ColumnElement[bool]]:
    return [
        QueryLog.tenant_id == tenant_id,
        QueryLog.kind == kind,
        *_within(QueryLog.at, span),
    ]


def _within(column: Any, span: DayRange) -> list[ColumnElement[bool]]:  # noqa: ANN401 (a column)
    return [column >= span.start, column < span.end]


def _day(session: AsyncSession, column: Any) -> ColumnElement[str]:  # noqa: ANN401 (a column)
    """The day of a time by UTC, ISO 8601: as SQLite writes times, they begin with it."""
    if session.get_bind().dialect.name == "postgresql":
        return func.to_char(func.timezone("UTC", column), "YYYY-MM-DD")
    return func.substr(type_coerce(column, String), 1, 10)


def _sum(column: Any) -> ColumnElement[int]:  # noqa: ANN401 (a column)
    return func.coalesce(func.sum(column), 0)


def _one_if(condition: ColumnElement[bool]) -> ColumnElement[int]:
    return case((condition, 1), else_=0)
