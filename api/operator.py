"""The operator's own HTTP application: `scrubjay admin serve` listens with it, on loopback alone.

It takes no API token, no cookie and no access token of the main server, only a token whose audience
is `scrubjay-operator`: ten minutes for an owner of the first tenant who has just signed in here
(`POST /admin/v1/sign_in`) or runs `scrubjay admin token` on the server. The main server has none of
these routes and refuses that token.
"""

from __future__ import annotations

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response

from api.auth import RequestGate
from api.middleware import Draining, RequestMiddleware
from api.problems import Problem, problem_of
from api.routes import tenants
from api.service import PipelineTools, Service
from engine.engine import Engine
from engine.settings import Settings


def build_operator_app(
    engine: Engine, settings: Settings, pipeline_tools: PipelineTools
) -> Starlette:
    """The application for an open engine; `settings.server` says where it is to listen."""
    service = Service.of(engine, settings, pipeline_tools)
    app = Starlette(
        routes=list(tenants.ROUTES),
        middleware=[
            Middleware(Draining, drain=service.drain),
            Middleware(RequestMiddleware, metrics=service.metrics, render=_render),
            Middleware(RequestGate, addresses=service.addresses),
        ],
        exception_handlers={HTTPException: _refused},
    )
    app.router.redirect_slashes = False
    app.state.service = service
    return app


def _render(request: Request, problem: Problem) -> Response:
    del request
    return problem.response()


async def _refused(request: Request, error: Exception) -> Response:
    del request
    return problem_of(error).response()
