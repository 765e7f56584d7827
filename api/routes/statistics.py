"""`/api/v1/statistics`: what was asked and answered over any days, and what processes take."""

from __future__ import annotations

from datetime import date
from typing import Annotated

from pydantic import Field
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from api.operations import returns
from api.replies import ProcessesReply
from api.schemas import Body, read_query
from api.service import principal_of, service_of
from engine import serializers
from engine.deployment.production import ProductionStatus, read_production_status
from engine.insight.statistics import DAYS_MAX, By, Statistics


class StatisticsParameters(Body):
    """From one day to another, both included, by UTC; else the last `days`, with today."""

    first: date | None = None
    last: date | None = None
    days: Annotated[int, Field(ge=1, le=DAYS_MAX)] = 30
    by: By = "day"
    kb: Annotated[str, Field(max_length=200)] = ""


@returns(Statistics)
async def index(request: Request) -> Response:
    """Questions, searches, tokens, feedback and ingestion over any days, by what you group them.

    Admins see their organisation's, others those of the knowledge bases they manage.
    """
    principal = await principal_of(request)
    query = read_query(request, StatisticsParameters)
    found = await service_of(request).engine.insight.statistics(
        principal, first=query.first, last=query.last, days=query.days, by=query.by, kb=query.kb
    )
    return JSONResponse(serializers.plain(found))


@returns(ProcessesReply)
async def processes(request: Request) -> Response:
    """Processor, memory, disk and network of the server and its workers."""
    principal = await principal_of(request)
    found = await service_of(request).engine.operations.processes(principal)
    return JSONResponse({"processes": [serializers.plain(item) for item in found]})


class ProductionParameters(Body):
    """The last days that runs and queries are counted of."""

    days: Annotated[int, Field(ge=1, le=DAYS_MAX)] = 7


@returns(ProductionStatus)
async def production_status(request: Request) -> Response:
    """Knowledge bases, workflows, health and metrics in one answer, and whether all is well."""
    principal = await principal_of(request)
    query = read_query(request, ProductionParameters)
    engine = service_of(request).engine
    found = await read_production_status(engine, principal, days=query.days)
    return JSONResponse(serializers.plain(found))


ROUTES = (
    Route("/api/v1/production_status", production_status, methods=["GET"]),
    Route("/api/v1/statistics", index, methods=["GET"], name="statistics"),
    Route("/api/v1/statistics/processes", processes, methods=["GET"]),
)
