"""Statistics over any range of days: kept days and open days, added up by a dimension.

What is read is cut to what the principal may see before anything is added: admins see their
tenant, others the knowledge bases they manage. There are no texts here, and people only as a
number, which others than admins are told from `PEOPLE_MIN` on.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Literal, get_args

from sqlalchemy import ColumnElement, func, select
from sqlalchemy.ext.asyncio import AsyncSession

from engine import clock
from engine.access import gate
from engine.db.tables import Channel, Flow, KnowledgeBase, MetricDay, QueryLog, Source
from engine.domain import Principal
from engine.errors import Forbidden, InvalidInput
from engine.insight.day_counts import (
    CALLS,
    COUNTED,
    DIMENSIONS,
    FEEDBACK,
    INGESTION,
    QUESTIONS,
    RUNS,
    SEARCHES,
    STOCK,
    Cells,
    Counted,
    DayCell,
    DayRange,
    count_days,
    spans_of,
)
from engine.insight.day_tables import SUMS, count_stock, kept_days
from engine.insight.histogram import quantile_ms

By = Literal["day", "kb", "door", "channel", "model", "workflow", "source"]
BY: tuple[By, ...] = get_args(By)
DAYS_MAX = 731
PEOPLE_MIN = 5  # fewer are not told apart from one another
MICRO = 1_000_000
_DIMENSION: Mapping[By, str] = {
    "day": "day",
    "kb": "kb_id",
    "door": "door",
    "channel": "channel_id",
    "model": "model",
    "workflow": "flow_id",
    "source": "source_id",
}
# What a grouping can tell apart: the rest of the topics knows nothing of that dimension.
_TOPICS: Mapping[By, frozenset[str]] = {
    "day": frozenset({QUESTIONS, SEARCHES, CALLS, FEEDBACK, INGESTION, RUNS, STOCK}),
    "kb": frozenset({QUESTIONS, SEARCHES, FEEDBACK, INGESTION, STOCK}),
    "door": frozenset({QUESTIONS, FEEDBACK}),
    "channel": frozenset({QUESTIONS, FEEDBACK}),
    "model": frozenset({QUESTIONS, CALLS}),
    "workflow": frozenset({RUNS}),
    "source": frozenset({INGESTION, STOCK}),
}
_OF_A_BASE = _TOPICS["kb"]
_SUMMED: frozenset[By] = frozenset({"day", "kb", "door"})  # what sums still tell apart


@dataclass(frozen=True, slots=True)
class QuestionFigures:
    """Questions by outcome; `answered` + `maybe` + `not_found` + `failed` are all of them.

    Quantiles are within 9.1 %; None where nothing was asked.
    """

    questions: int = 0
    answered: int = 0
    maybe: int = 0
    not_found: int = 0
    failed: int = 0
    mean_ms: float | None = None
    p50_ms: float | None = None
    p95_ms: float | None = None
    input_tokens: int = 0
    output_tokens: int = 0
    helpful: int = 0
    unhelpful: int = 0


@dataclass(frozen=True, slots=True)
class SearchFigures:
    """Searches, those that answers made included; `failed` were refused or broke off."""

    searches: int = 0
    without_hits: int = 0
    failed: int = 0
    mean_ms: float | None = None
    p50_ms: float | None = None
    p95_ms: float | None = None


@dataclass(frozen=True, slots=True)
class ModelFigures:
    """Calls of language models, what they read and wrote, and their cost in credits."""

    calls: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cost: float = 0.0


@dataclass(frozen=True, slots=True)
class WorkFigures:
    """Ingestions of documents or runs of workflows, by how they ended."""

    done: int = 0
    failed: int = 0
    cancelled: int = 0
    p50_ms: float | None = None
    p95_ms: float | None = None


@dataclass(frozen=True, slots=True)
class StockFigures:
    """Documents that answer, with what they hold: now, or on a day as it was kept."""

    documents: int = 0
    chunks: int = 0
    tokens: int = 0
    bytes: int = 0


@dataclass(frozen=True, slots=True)
class StatisticsGroup:
    """The figures of one value of a dimension: its key, and its name for people."""

    key: str
    name: str
    questions: QuestionFigures = field(default_factory=QuestionFigures)
    searches: SearchFigures = field(default_factory=SearchFigures)
    models: ModelFigures = field(default_factory=ModelFigures)
    ingestions: WorkFigures = field(default_factory=WorkFigures)
    runs: WorkFigures = field(default_factory=WorkFigures)
    stock: StockFigures = field(default_factory=StockFigures)


@dataclass(frozen=True, slots=True)
class Statistics:
    """What happened from one day to another, both included, by UTC: in all, and by a dimension.

    By day the groups come in order and every day is there; else most questions first. `people`
    are those who asked or searched; None where that is too few to say.
    """

    first: date
    last: date
    by: By
    total: StatisticsGroup
    groups: Sequence[StatisticsGroup]
    people: int | None


@dataclass(frozen=True, slots=True)
class StatisticsQuery:
    """Which days, grouped by what; `kb` is the name or id of one knowledge base; empty: all."""

    span: DayRange
    by: By = "day"
    kb: str = ""


def last_days(days: int) -> DayRange:
    """The last days, with today."""
    today = clock.now().date()
    return DayRange(today - timedelta(days=days - 1), today)


def checked_span(first: date | None, last: date | None, *, days: int = 30) -> DayRange:
    """From one day to another; `days` where one is open. `InvalidInput` for what is no range."""
    last = last or (clock.now().date() if first is None else max(first, clock.now().date()))
    first = first or last - timedelta(days=days - 1)
    if first > last:
        raise InvalidInput(f"The first day, {first}, is after the last, {last}.", field="first")
    if (last - first).days >= DAYS_MAX:
        raise InvalidInput(
            f"That is {(last - first).days + 1} days; ask for at most {DAYS_MAX}.", field="first"
        )
    return DayRange(first, last)


async def read_statistics(
    session: AsyncSession, principal: Principal, query: StatisticsQuery
) -> Statistics:
    """The statistics that a principal may see; `Forbidden` for what only admins do."""
    [found] = await read_groupings(session, principal, query, (query.by,))
    return found


async def read_groupings(
    session: AsyncSession, principal: Principal, query: StatisticsQuery, groupings: Sequence[By]
) -> list[Statistics]:
    """The statistics of the query's days by each grouping in turn, all from one reading."""
    names = {
        row[0]: row[1]
        for row in await session.execute(
            gate.select_managed_kbs(principal, "insight.list").with_only_columns(
                KnowledgeBase.id, KnowledgeBase.name
            )
        )
    }
    is_admin = gate.reaches_all(principal, "insight.list")
    for by in groupings:
        if by in {"channel", "model", "workflow", "source"} and not is_admin:
            raise Forbidden(
                f"Only admins see statistics by {by}. Group by day, kb or door instead."
            )
    bases: Collection[str] | None = None if is_admin else set(names)
    if query.kb:
        bases = {(await gate.get_managed_kb(session, principal, query.kb, "insight.list")).id}
    is_fine = not _SUMMED.issuperset(groupings)
    cells = await read_cells(session, principal.tenant_id, query.span, bases, is_fine=is_fine)
    stock = _of_bases(await count_stock(session, principal.tenant_id, ""), bases)
    people = await _people(session, principal.tenant_id, query.span, bases)
    counted = {cell: n for cell, n in cells.items() if cell.topic != STOCK} | stock
    total = _group("", "all", _parts(list(counted.items())))
    found: list[Statistics] = []
    for by in groupings:
        groups = _grouped(cells if by == "day" else counted, query.span, by)
        labels = names | await _names(session, principal.tenant_id, by)
        shown = [_group(key, _label(by, key, labels), parts) for key, parts in groups.items()]
        if by == "day":
            shown.sort(key=lambda group: group.key)
        else:
            shown.sort(key=lambda group: (-group.questions.questions, group.name))
        found.append(
            Statistics(
                query.span.first,
                query.span.last,
                by,
                total,
                shown,
                people if is_admin or people >= PEOPLE_MIN or not people else None,
            )
        )
    return found


async def read_cells(
    session: AsyncSession,
    tenant_id: str,
    span: DayRange,
    bases: Collection[str] | None,
    *,
    is_fine: bool = True,
) -> Cells:
    """What happened on some days, kept or not; of some knowledge bases alone where those are given.

    Unless it is to be fine, kept days tell only knowledge bases and doors apart, where their sums
    are kept too; a day kept without them is read as it is.
    """
    kept = await kept_days(session, tenant_id, span)
    of_span = (
        MetricDay.day >= span.first.isoformat(),
        MetricDay.day <= span.last.isoformat(),
    )

    async def read(topics: Collection[str], *days: ColumnElement[bool]) -> Cells:
        columns = [getattr(MetricDay, name) for name in DIMENSIONS]
        rows = await session.execute(
            select(*columns, MetricDay.figures, MetricDay.latency).where(
                MetricDay.tenant_id == tenant_id,
                MetricDay.topic.in_(topics),
                *days,
                *([] if bases is None else [MetricDay.kb_id.in_(bases)]),
            )
        )
        found: Cells = {}
        for day, topic, *key, figures, latency in rows:
            if day in kept or topic == STOCK:
                cell = DayCell(day, SUMS.get(topic, topic), *key)
                found[cell] = Counted(figures, {int(name): n for name, n in latency.items()})
        return found

    if is_fine:
        cells = await read({*COUNTED, STOCK}, *of_span)
    else:
        cells = await read({*SUMS, STOCK}, *of_span)
        whole = kept - {cell.day for cell in cells if cell.topic != STOCK}
        if whole:
            cells |= await read(COUNTED, MetricDay.day.in_(whole))
    every = (span.first + timedelta(days=n) for n in range((span.last - span.first).days + 1))
    for some in spans_of(day for day in every if day.isoformat() not in kept):
        cells |= _of_bases(await count_days(session, tenant_id, some), bases)
    return cells


def _of_bases(cells: Cells, bases: Collection[str] | None) -> Cells:
    if bases is None:
        return cells
    return {
        cell: counted
        for cell, counted in cells.items()
        if cell.kb_id in bases and cell.topic in _OF_A_BASE
    }


Parts = dict[str, Counted]  # by topic


def _parts(cells: Sequence[tuple[DayCell, Counted]]) -> Parts:
    parts: Parts = {}
    for cell, counted in cells:
        parts.setdefault(cell.topic, Counted()).merge(counted.figures, counted.latency)
    return parts


def _grouped(cells: Cells, span: DayRange, by: By) -> dict[str, Parts]:
    """Parts by value of the dimension; by day, days without anything are there too."""
    groups: dict[str, list[tuple[DayCell, Counted]]] = {}
    if by == "day":
        for n in range((span.last - span.first).days + 1):
            groups[(span.first + timedelta(days=n)).isoformat()] = []
    dimension, topics = _DIMENSION[by], _TOPICS[by]
    for cell, counted in cells.items():
        if cell.topic in topics:
            groups.setdefault(getattr(cell, dimension), []).append((cell, counted))
    return {key: _parts(found) for key, found in groups.items()}


def _group(key: str, name: str, parts: Parts) -> StatisticsGroup:
    asked, rated, called, searched, stock = (
        parts.get(topic, Counted()) for topic in (QUESTIONS, FEEDBACK, CALLS, SEARCHES, STOCK)
    )
    return StatisticsGroup(
        key,
        name,
        questions=QuestionFigures(
            questions=asked.of("questions"),
            answered=asked.of("answered"),
            maybe=asked.of("maybe"),
            not_found=asked.of("not_found"),
            failed=asked.of("failed"),
            mean_ms=_mean_ms(asked, "questions"),
            p50_ms=_quantile(asked, 0.5),
            p95_ms=_quantile(asked, 0.95),
            input_tokens=asked.of("input_tokens"),
            output_tokens=asked.of("output_tokens"),
            helpful=rated.of("helpful"),
            unhelpful=rated.of("unhelpful"),
        ),
        searches=SearchFigures(
            searches=searched.of("searches"),
            without_hits=searched.of("without_hits"),
            failed=searched.of("failed_searches"),
            mean_ms=_mean_ms(searched, "searches"),
            p50_ms=_quantile(searched, 0.5),
            p95_ms=_quantile(searched, 0.95),
        ),
        models=ModelFigures(
            calls=called.of("model_calls"),
            input_tokens=called.of("model_input_tokens"),
            output_tokens=called.of("model_output_tokens"),
            cost=called.of("cost_micro") / MICRO,
        ),
        ingestions=_work(parts.get(INGESTION, Counted())),
        runs=_work(parts.get(RUNS, Counted())),
        stock=StockFigures(*(stock.of(n) for n in ("documents", "chunks", "tokens", "bytes"))),
    )


def _work(counted: Counted) -> WorkFigures:
    return WorkFigures(
        done=counted.of("done"),
        failed=counted.of("failed"),
        cancelled=counted.of("cancelled"),
        p50_ms=_quantile(counted, 0.5),
        p95_ms=_quantile(counted, 0.95),
    )


def _mean_ms(counted: Counted, name: str) -> float | None:
    number = counted.of(name)
    return round(counted.of("took_us") / number / 1000, 1) if number else None


def _quantile(counted: Counted, share: float) -> float | None:
    found = quantile_ms(counted.latency, share)
    return None if found is None else round(found, 1)


async def _people(
    session: AsyncSession, tenant_id: str, span: DayRange, bases: Collection[str] | None
) -> int:
    of_bases: list[ColumnElement[bool]] = [] if bases is None else [QueryLog.kb_id.in_(bases)]
    found = await session.scalar(
        select(func.count(QueryLog.user_id.distinct())).where(
            QueryLog.tenant_id == tenant_id,
            QueryLog.at >= span.start,
            QueryLog.at < span.end,
            *of_bases,
        )
    )
    return found or 0


async def _names(session: AsyncSession, tenant_id: str, by: By) -> dict[str, str]:
    """Names for people of what a dimension's keys mean."""
    if by == "channel":
        query = select(Channel.id, Channel.name).where(Channel.tenant_id == tenant_id)
    elif by == "workflow":
        query = select(Flow.id, Flow.name).where(Flow.tenant_id == tenant_id)
    elif by == "source":
        query = select(Source.id, Source.name).where(Source.tenant_id == tenant_id)
    else:
        return {}
    return {row[0]: row[1] for row in await session.execute(query)}


_NONE: Mapping[By, str] = {
    "kb": "(several)",
    "channel": "(none: asked in private)",
    "model": "(none: quoted)",
    "source": "(none)",
}


def _label(by: By, key: str, names: Mapping[str, str]) -> str:
    if not key:
        return _NONE.get(by, "(unknown)")
    return names.get(key, "(deleted)" if by in {"kb", "channel", "source"} else key)
