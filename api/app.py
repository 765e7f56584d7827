"""The HTTP application: routes inside `RequestGate`, that inside `RequestMiddleware`.

`build_app` builds the Starlette application; `cli/serve.py` adds the MCP door and owns the
lifespan.
"""

from __future__ import annotations

from collections.abc import Sequence

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute
from starlette.types import Lifespan

from api.auth import RequestGate
from api.cookies import sign_in_path
from api.keyless import SameUser
from api.middleware import Draining, RequestMiddleware
from api.openai_shape import error_response
from api.problems import Problem, problem_of
from api.routes import (
    account,
    administration,
    answers,
    assistants,
    audit,
    connected,
    console,
    conversations,
    credentials,
    documents,
    embed,
    federation,
    files,
    gaps,
    grants,
    groups,
    health,
    identity_providers,
    invitations,
    knowledge_bases,
    llm,
    mail,
    members,
    openai,
    openapi,
    pages,
    passkeys,
    pipelines,
    scim,
    secrets,
    sources,
    statistics,
    talk,
    tokens,
    user,
    viewer,
    widgets,
    workflow_executions,
    workflow_triggers,
    workflows,
)
from api.scim import mount as mount_scim
from api.service import PipelineTools, Service
from api.templates import render_problem_page
from engine.engine import Engine
from engine.settings import Settings

CALLED = (
    "/.well-known/",
    "/api/",
    "/health",
    "/mcp",
    "/metrics",
    "/openapi",
    "/ready",
    "/scim/",
    "/state",
    "/static/",
    "/v1/",
    "/widget.js",
)


def build_app(
    engine: Engine,
    settings: Settings,
    *,
    routes: Sequence[BaseRoute] = (),
    lifespan: Lifespan[Starlette] | None = None,
    keyless: SameUser | None = None,
    pipeline_tools: PipelineTools,
) -> Starlette:
    """The application for an open engine; `routes` are added to our own, behind the same gate.

    `pipeline_tools` know the components of pipelines. `keyless` lets the local owner in without a token, if it knows them for the user of this process.
    """
    service = Service.of(engine, settings, pipeline_tools, keyless=keyless)
    app = Starlette(
        routes=[*routes_of(), mount_scim(engine, settings.server.public_url), *routes],
        middleware=[
            Middleware(Draining, drain=service.drain),
            Middleware(RequestMiddleware, metrics=service.metrics, render=render_problem),
            Middleware(RequestGate, addresses=service.addresses),
        ],
        exception_handlers={HTTPException: _refused},
        lifespan=lifespan,
    )
    app.router.redirect_slashes = False  # a redirect would repeat the Host a caller chose
    app.state.service = service
    return app


def routes_of() -> list[BaseRoute]:
    """Our own routes, the same for every installation."""
    return [
        *account.ROUTES,
        *administration.ROUTES,
        *gaps.ROUTES,
        *statistics.ROUTES,
        *audit.ROUTES,
        *console.ROUTES,
        *federation.ROUTES,
        *files.ROUTES,
        *identity_providers.ROUTES,
        *grants.ROUTES,
        *groups.ROUTES,
        *invitations.ROUTES,
        *mail.ROUTES,
        *llm.ROUTES,
        *members.ROUTES,
        *openai.ROUTES,
        *openapi.ROUTES,
        *pages.ROUTES,
        *passkeys.ROUTES,
        *pipelines.ROUTES,
        *scim.ROUTES,
        *secrets.ROUTES,
        *connected.ROUTES,
        *credentials.ROUTES,
        *sources.ROUTES,
        *talk.ROUTES,
        *tokens.ROUTES,
        *user.ROUTES,
        *workflow_executions.ROUTES,
        *workflow_triggers.ROUTES,
        *workflows.ROUTES,
        *viewer.ROUTES,
        *answers.ROUTES,
        *assistants.ROUTES,
        *conversations.ROUTES,
        *documents.ROUTES,
        *embed.ROUTES,
        *widgets.ROUTES,
        *knowledge_bases.ROUTES,
        *health.ROUTES,
    ]


def render_problem(request: Request, problem: Problem) -> Response:
    """An error for the caller: a page for a browser that opens one, else problem details.

    Under `/v1` it has the form that OpenAI's clients read.
    """
    if request.url.path.startswith("/v1/"):
        return error_response(problem)
    if not is_page(request):
        return problem.response()
    signing_in_helps = problem.status == 401 and not request.url.path.startswith("/v/")
    if signing_in_helps and request.method == "GET":
        return RedirectResponse(sign_in_path(request), status_code=303)
    return render_problem_page(problem)


def is_page(request: Request) -> bool:
    """Whether a browser opens this, and not a program."""
    path = request.url.path
    is_called = path.startswith(CALLED)
    return not is_called and "text/html" in request.headers.get("accept", "")


async def _refused(request: Request, error: Exception) -> Response:
    return render_problem(request, problem_of(error))
