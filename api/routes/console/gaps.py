"""`/console/insight/gaps`: what people asked and did not find, and what is done about it."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from api.routes.console.visit import Visit, field, sent, visit
from engine.errors import EngineError

PATH = "/console/insight/gaps"
SAID = {
    "assigned": "Assigned.",
    "closed": "Closed.",
    "open": "Open again.",
    "out_of_scope": "Set aside as out of scope.",
}


async def index(request: Request) -> Response:
    """The gaps, the weightiest first."""
    return await _list(await visit(request))


async def _list(here: Visit, error: EngineError | None = None) -> Response:
    return here.page("gaps.html", error=error, gaps=await here.engine.gaps.list_all(here.principal))


async def show(request: Request) -> Response:
    """One gap with its questions, and the documents that come closest."""
    here = await visit(request)
    return await _show(here, request.path_params["gap"])


async def _show(here: Visit, gap: str, error: EngineError | None = None) -> Response:
    found = await here.engine.gaps.get(here.principal, gap)
    return here.page("gap.html", error=error, gap=found.gap, nearest=found.nearest)


async def change(request: Request) -> Response:
    """What its form says."""
    here, form = await sent(request)
    gap, state = request.path_params["gap"], field(form, "do")
    try:
        await here.engine.gaps.mark(here.principal, gap, state, assignee=field(form, "assignee"))
    except EngineError as error:
        return await _show(here, gap, error)
    return here.on(f"{PATH}/{gap}", SAID[state])


ROUTES = (
    Route(PATH, index, methods=["GET"]),
    Route(f"{PATH}/{{gap}}", show, methods=["GET"]),
    Route(f"{PATH}/{{gap}}", change, methods=["POST"]),
)
