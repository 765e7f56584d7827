"""`/console/activity`: who changed what, and whether the installation is well."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from api.routes.console.visit import visit

SHOWN = 100


async def index(request: Request) -> Response:
    """The newest changes, the state of what the installation depends on, and its workers."""
    here = await visit(request)
    operations = here.engine.operations
    return here.page(
        "activity.html",
        changes=await operations.list_audit(here.principal, limit=SHOWN),
        failing=await here.service.probing.failing(),
        status=await operations.status(here.principal),
    )


ROUTES = (Route("/console/activity", index, methods=["GET"]),)
