"""`insight`: what was asked and answered, in numbers."""

from __future__ import annotations

from datetime import date
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, cast

import typer

from cli.context import As, Json, Kb, opened, run

if TYPE_CHECKING:
    from engine.deployment.production import ProductionStatus
    from engine.insight.statistics import By

app = typer.Typer(name="insight", help="What was asked and answered: stats, gaps, status.")


class StatisticsBy(StrEnum):
    """As `engine.insight.statistics.By`, which is not imported before a command runs."""

    DAY = "day"
    KB = "kb"
    DOOR = "door"
    CHANNEL = "channel"
    MODEL = "model"
    WORKFLOW = "workflow"
    SOURCE = "source"


Day = Annotated[str, typer.Option(metavar="DAY", help="ISO date, by UTC.")]


@app.callback()
def insight() -> None:
    """What was asked and answered."""


@app.command()
def stats(
    ctx: typer.Context,
    by: Annotated[StatisticsBy, typer.Option(help="What to group by.")] = StatisticsBy.DAY,
    days: Annotated[
        int, typer.Option(metavar="N", min=1, max=731, help="The last days, with today.")
    ] = 30,
    first: Day = "",
    last: Day = "",
    kb: Kb = "",
    as_user: As = "",
    as_json: Json = False,
) -> None:
    """Show questions, searches, tokens and ingestion over any days."""
    run(_stats(ctx, by, days, (first, last), kb, as_user, as_json=as_json))


@app.command()
def status(
    ctx: typer.Context,
    days: Annotated[
        int, typer.Option(metavar="N", min=1, max=731, help="Count queries of the last days.")
    ] = 7,
    as_user: As = "",
    as_json: Json = False,
) -> None:
    """Show knowledge bases, workflows, health and metrics together; exit with 1 where some part fails."""
    raise typer.Exit(run(_status(ctx, days, as_user, as_json=as_json)))


async def _status(ctx: typer.Context, days: int, as_user: str, *, as_json: bool) -> int:
    from cli import output
    from engine import serializers
    from engine.deployment.production import read_production_status

    async with opened(ctx, as_user) as (engine, principal):
        found = await read_production_status(engine, principal, days=days)
    code = 1 if found.state == "ailing" else 0
    if as_json:
        output.show_json(serializers.plain(found))
        return code
    _show_status(found)
    return code


def _show_status(found: ProductionStatus) -> None:
    from cli import output, render

    rows = [
        (
            kb.name,
            f"{kb.document_count:,}",
            f"{kb.chunk_count:,}",
            f"{kb.waiting:,}",
            f"{kb.failed:,}",
            f"{kb.last_updated:%Y-%m-%d %H:%M}",
        )
        for kb in found.knowledge_bases
    ]
    columns = ("knowledge base", "documents", "passages", "waiting", "failed", "updated (UTC)")
    output.show(render.table(columns, rows))
    if found.workflows:
        used = [
            (flow.name, flow.state, f"{flow.done:,}", f"{flow.failed:,}")
            for flow in found.workflows
        ]
        output.show("\n")
        output.show(render.table(("workflow", "state", "done", "failed"), used))
    metrics = found.metrics
    facts = {
        "queries": f"{metrics.queries_processed:,}, {metrics.query_errors:,} failed",
        "query time": "none"
        if metrics.query_p50_ms is None or metrics.query_p95_ms is None
        else f"{metrics.query_p50_ms:.0f} ms in half of them, {metrics.query_p95_ms:.0f} at p95",
        "questions": f"{metrics.questions:,}, {metrics.answered:,} answered",
        "documents": f"{metrics.documents_ingested:,} ingested, {metrics.documents_failed:,} failed",
        "parts": ", ".join(
            f"{part} {'fails' if said else 'ok'}" for part, said in found.health.items()
        ),
        "workers": ", ".join(found.workers) or "none",
    }
    output.show("\n")
    output.show(render.facts(facts))
    for reason in found.reasons:
        output.note(reason)
    output.note(
        {"well": "all is well", "working": "documents are being read"}.get(
            found.state, "look at what is named above"
        )
    )


async def _stats(
    ctx: typer.Context,
    by: StatisticsBy,
    days: int,
    range_: tuple[str, str],
    kb: str,
    as_user: str,
    *,
    as_json: bool,
) -> None:
    from cli import output, render
    from engine import serializers
    from engine.insight import wording

    first, last = (_day(name, text) for name, text in zip(("first", "last"), range_, strict=True))
    async with opened(ctx, as_user) as (engine, principal):
        found = await engine.insight.statistics(
            principal, first=first, last=last, days=days, by=cast("By", str(by)), kb=kb
        )
    if as_json:
        output.show_json(serializers.plain(found))
        return
    groups = [
        group
        for group in found.groups
        if by is not StatisticsBy.DAY or group.questions.questions or group.searches.searches
    ]
    if groups:
        rows = [(group.name, *wording.question_row(group)) for group in groups]
        output.show(render.table((str(by), *wording.QUESTIONS_HEAD), rows))
        output.show("\n")
        rows = [(group.name, *wording.other_row(group)) for group in groups]
        output.show(render.table((str(by), *wording.OTHER_HEAD), rows))
    output.note(wording.describe_total(found))


def _day(name: str, text: str) -> date | None:
    from engine.errors import InvalidInput

    if not text:
        return None
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise InvalidInput(
            f"--{name}: {text[:40]!r} is no date; write it as 2026-11-30.", field=name
        ) from None


gaps_app = typer.Typer(name="gaps", help="What people asked and did not find.")
app.add_typer(gaps_app)
GapId = Annotated[str, typer.Argument(metavar="GAP", help="Its id, as `insight gaps list` shows.")]
GapDays = Annotated[
    int, typer.Option("--days", metavar="N", min=1, max=365, help="Questions of the last days.")
]


class MarkTo(StrEnum):
    """As `engine.insight.gaps.MarkState`."""

    OPEN = "open"
    ASSIGNED = "assigned"
    CLOSED = "closed"
    OUT_OF_SCOPE = "out_of_scope"


@gaps_app.command("list")
def list_gaps(
    ctx: typer.Context, days: GapDays = 90, as_user: As = "", as_json: Json = False
) -> None:
    """List what was not or badly answered, by what it means; the weightiest first.

    Only questions of your own, and those asked in channels you may read.
    """
    run(_list_gaps(ctx, days, as_user, as_json=as_json))


@gaps_app.command()
def show(
    ctx: typer.Context, gap: GapId, days: GapDays = 90, as_user: As = "", as_json: Json = False
) -> None:
    """Show a gap with its questions, and the documents that come closest."""
    run(_show_gap(ctx, gap, days, as_user, as_json=as_json))


@gaps_app.command()
def mark(
    ctx: typer.Context,
    gap: GapId,
    state: Annotated[MarkTo, typer.Argument(help="What it is from now on.")],
    to: Annotated[
        str, typer.Option("--to", metavar="MEMBER", help="Who it is assigned to: address or id.")
    ] = "",
    as_user: As = "",
    as_json: Json = False,
) -> None:
    """Assign, close or reopen a gap, or set it aside as out of scope."""
    run(_mark_gap(ctx, gap, state, to, as_user, as_json=as_json))


async def _list_gaps(ctx: typer.Context, days: int, as_user: str, *, as_json: bool) -> None:
    from cli import output, render
    from engine import serializers

    async with opened(ctx, as_user) as (engine, principal):
        found = await engine.gaps.list_all(principal, days=days)
    if as_json:
        output.show_json({"gaps": [serializers.plain(gap) for gap in found]})
        return
    if not found:
        output.note("no question that you may see is without an answer")
        return
    rows = [
        (gap.id, gap.state.replace("_", " "), f"{gap.times}", f"{gap.people}", gap.question)
        for gap in found
    ]
    output.show(render.table(("id", "state", "times", "people", "question"), rows))


async def _show_gap(
    ctx: typer.Context, gap_id: str, days: int, as_user: str, *, as_json: bool
) -> None:
    from cli import output, render
    from engine import serializers

    async with opened(ctx, as_user) as (engine, principal):
        found = await engine.gaps.get(principal, gap_id, days=days)
    if as_json:
        output.show_json(serializers.plain(found))
        return
    gap = found.gap
    output.note(f"{gap.name}: {gap.state.replace('_', ' ')} {gap.assignee}".rstrip())
    rows = [(f"{one.asked_at:%Y-%m-%d %H:%M}", one.text) for one in gap.questions]
    output.show(render.table(("asked (UTC)", "question"), rows))
    if found.nearest:
        near = [(f"{one.confidence:.2f}", one.kb_name, one.title) for one in found.nearest]
        output.show("\n")
        output.show(render.table(("confidence", "in", "nearest document"), near))


async def _mark_gap(
    ctx: typer.Context, gap_id: str, state: MarkTo, to: str, as_user: str, *, as_json: bool
) -> None:
    from cli import output
    from engine import serializers

    async with opened(ctx, as_user) as (engine, principal):
        found = await engine.gaps.mark(principal, gap_id, str(state), assignee=to)
    if as_json:
        output.show_json(serializers.plain(found))
        return
    output.note(f"{found.name}: {found.state.replace('_', ' ')} {found.assignee}".rstrip())
