"""`/health`, `/ready` and `/metrics`: for monitoring."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from api.metrics import Sample
from api.operations import returns
from api.replies import HealthReply
from api.service import principal_of, service_of
from engine.access.gate import require
from engine.domain import Scope
from engine.operations.process_usage import PREFIX
from engine.operations.status import Status


@returns(HealthReply)
@returns(HealthReply, status=503)
async def health(request: Request) -> Response:
    """Whether every dependency is healthy; the log and `doctor` say which one is not."""
    return _said(well=not await _failing(request))


@returns(HealthReply)
@returns(HealthReply, status=503)
async def ready(request: Request) -> Response:
    """Whether to send requests here: healthy, and not about to stop; else what fails, by name."""
    if service_of(request).drain.stopping:
        return _said(well=False, failing=["stopping"])
    failing = await _failing(request)
    return _said(well=not failing, failing=failing)


async def _failing(request: Request) -> Sequence[str]:
    """The names of dependencies that fail; what is wrong with them is for the operator alone."""
    return await service_of(request).probing.failing()


def _said(*, well: bool, failing: Sequence[str] = ()) -> Response:
    named = {"failing": list(failing)} if failing else {}
    return JSONResponse(
        {"status": "ok" if well else "unavailable"} | named, status_code=200 if well else 503
    )


@returns(None, media_type="text/plain")
async def metrics(request: Request) -> Response:
    """Everything counted, for Prometheus."""
    service = service_of(request)
    principal = await principal_of(request)
    require(principal, Scope.OPS_READ)
    gauges: list[Sample] = []
    engine = service.engine
    counters, taken = _samples("server", engine.figures())
    gauges += taken
    integrations = await engine.operations.integrations()
    gauges += [
        ("scrubjay_integration_up", {"integration": name}, int(not fault))
        for name, fault in sorted(integrations.items())
    ]
    gauges.append(("scrubjay_questions_running", {}, engine.admission.running))
    if Scope.KB_READ in principal.scopes:
        status = await service.engine.operations.status(principal)
        gauges += _gauges(status)
        for worker, figures in sorted(status.figures.items()):
            counted, taken = _samples(worker, figures)
            counters += counted
            gauges += taken
    return PlainTextResponse(
        service.metrics.render(gauges, counters),
        media_type="text/plain; version=0.0.4; charset=utf-8",
    )


def _samples(process: str, figures: Mapping[str, float]) -> tuple[list[Sample], list[Sample]]:
    """Figures of a process that only grow, and those of what it takes now."""
    grow: list[Sample] = []
    now: list[Sample] = []
    for name, number in sorted(figures.items()):
        taken = name.startswith(PREFIX) and not name.endswith("_total")
        (now if taken else grow).append((f"scrubjay_{name}", {"process": process}, number))
    return grow, now


def _gauges(status: Status) -> list[Sample]:
    documents: dict[str, int] = {}
    for kb in status.knowledge_bases:
        for state, count in kb.states.items():
            documents[state] = documents.get(state, 0) + count
    return [
        *(("scrubjay_documents", {"state": name}, n) for name, n in sorted(documents.items())),
        *(
            ("scrubjay_jobs", {"lane": lane, "state": state}, n)
            for lane, states in sorted(status.jobs.items())
            for state, n in sorted(states.items())
        ),
        ("scrubjay_workers_alive", {}, len(status.workers)),
        ("scrubjay_index_full", {}, int(status.is_index_full)),
    ]


ROUTES = (
    Route("/health", health, methods=["GET"]),
    Route("/ready", ready, methods=["GET"]),
    Route("/metrics", metrics, methods=["GET"]),
)
