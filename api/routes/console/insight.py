"""`/console/insight`: what was asked and answered, day by day, in charts with their tables."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from api.charts import Series, bars, lines
from api.routes.console.visit import visit
from api.schemas import Body, read_query
from engine.deployment.production import read_production_status
from engine.domain import Scope
from engine.insight.statistics import By, Statistics
from engine.insight.wording import describe_total

DAYS = (7, 30, 90, 365)
DETAILS: tuple[By, ...] = ("kb", "door", "channel", "model", "workflow", "source")
OF_BASES: tuple[By, ...] = ("kb", "door")  # what others than admins may group by


class InsightQuery(Body):
    """The last days, of all knowledge bases or one, grouped by something below the charts."""

    days: Annotated[int, Field(ge=1, le=731)] = 30
    kb: Annotated[str, Field(max_length=200)] = ""
    by: Literal["kb", "door", "channel", "model", "workflow", "source"] = "kb"


async def index(request: Request) -> Response:
    """Charts by day, and a table by what is chosen."""
    here = await visit(request)
    query = read_query(request, InsightQuery)
    insight = here.engine.insight
    days, details = await insight.groupings(
        here.principal, ("day", query.by), days=query.days, kb=query.kb
    )
    return here.page(
        "insight.html",
        query=query,
        choices=DAYS,
        details_by=DETAILS if here.sees_all("insight.list") else OF_BASES,
        kbs=await here.engine.knowledge_bases.list_managed(here.principal),
        days=days,
        details=details,
        is_quiet=not any(
            group.questions.questions or group.searches.searches for group in days.groups
        ),
        summary=describe_total(days),
        charts=_charts(days),
        sees_status=Scope.KB_ADMIN in here.principal.scopes,
    )


def _charts(found: Statistics) -> list[object]:
    labels = [group.key for group in found.groups]
    asked = [group.questions for group in found.groups]
    searched = [group.searches for group in found.groups]
    return [
        bars(
            "Questions a day, by outcome",
            labels,
            [
                Series("answered", "one", [one.answered for one in asked]),
                Series("may be an answer", "two", [one.maybe for one in asked]),
                Series("not found", "three", [one.not_found for one in asked]),
                Series("failed", "four", [one.failed for one in asked]),
            ],
        ),
        lines(
            "Time to an answer, in milliseconds",
            labels,
            [
                Series("half within (p50)", "one", [one.p50_ms for one in asked]),
                Series("95 of 100 within (p95)", "three", [one.p95_ms for one in asked]),
            ],
            unit="ms",
        ),
        bars(
            "Searches a day",
            labels,
            [
                Series(
                    "found something",
                    "one",
                    [one.searches - one.without_hits - one.failed for one in searched],
                ),
                Series("found nothing", "three", [one.without_hits for one in searched]),
                Series("failed", "four", [one.failed for one in searched]),
            ],
        ),
    ]


async def status(request: Request) -> Response:
    """How knowledge bases, workflows, parts and queries do, together."""
    here = await visit(request)
    found = await read_production_status(here.engine, here.principal)
    return here.page("status.html", found=found)


ROUTES = (
    Route("/console/insight", index, methods=["GET"]),
    Route("/console/insight/status", status, methods=["GET"]),
)
