"""`/`: ask, see the knowledge bases, connect an assistant. It works without scripts, too."""

from __future__ import annotations

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from api.auth import is_foreign_page
from api.connect import assistants
from api.permitted import permitted
from api.problems import Problem, problem_of
from api.routes import talk
from api.routes.console.visit import Visit
from api.routes.talk import render_answer
from api.schemas import QUESTION_MAX
from api.service import base_url, is_answer, last_answer, principal_of, service_of
from api.templates import MEDIA_TYPES, render, render_page, static_file
from engine.access.gate import require
from engine.domain import Principal, Scope
from engine.errors import EngineError
from engine.search.links import Links


async def front(request: Request) -> Response:
    """The front page; with `?q=` also the answer, for browsers without scripts."""
    service = service_of(request)
    principal = await principal_of(request)
    require(principal, Scope.KB_READ)
    question = request.query_params.get("q", "").strip()[:QUESTION_MAX]
    kb = request.query_params.get("kb", "")
    assistant = request.query_params.get("assistant", "")
    # Another site's link may fill in the box, but only the person here may ask.
    may_ask = not is_foreign_page(request.headers) and "sec-purpose" not in request.headers
    answer, problem = "", None
    if question and may_ask and request.method == "GET":
        answer, problem = await _answered(
            request, principal, await service.links(request, principal), question, kb, assistant
        )
    is_keyless = service.doorkeeper.is_keyless(request)
    page = render_page(
        "front.html",
        question=question,
        answer=answer,
        status=await service.engine.operations.status(principal),
        clients=assistants(
            base_url(service.settings, request), service.settings.home, is_keyless=is_keyless
        ),
        is_keyless=is_keyless,
        **await talk.frame(Visit(request, service, principal)),
    )
    if problem is not None and problem.status == 503:  # the page is whole, its answer is not
        page.status_code = problem.status
        page.headers.update(dict(problem.headers))
    return page


async def _answered(
    request: Request,
    principal: Principal,
    links: Links,
    question: str,
    kb: str,
    assistant: str,
) -> tuple[str, Problem | None]:
    """The answer as HTML; or why there is none, as HTML and as a problem."""
    require(principal, Scope.KB_ASK)
    service = service_of(request)
    asked = service.engine.answers.ask(
        principal,
        service.engine.people.audience_of_asker(principal),
        question,
        kb=kb,
        assistant=assistant,
        door="http",
    )
    events = permitted(request, principal, asked, is_last=is_answer)
    try:
        with service.timed("ask"):
            return render_answer(await last_answer(events), links), None
    except EngineError as error:
        problem = problem_of(error)
        return render("refused.html", problem=problem), problem


async def state(request: Request) -> Response:
    """The part of the page that shows ingestion; the script polls it."""
    principal = await principal_of(request)
    status = await service_of(request).engine.operations.status(principal)
    return HTMLResponse(render("state.html", status=status))


async def static(request: Request) -> Response:
    """A static file."""
    try:
        content, digest = static_file(request.path_params["name"])
    except KeyError:
        raise HTTPException(404, "No such file.") from None
    etag = f'"{digest}"'
    headers = {"ETag": etag, "Cache-Control": "no-cache"}
    if request.url.query == digest:
        headers["Cache-Control"] = "public, max-age=31536000, immutable"
    if request.headers.get("if-none-match") == etag:
        return Response(status_code=304, headers=headers)
    return Response(content, media_type=MEDIA_TYPES[request.path_params["name"]], headers=headers)


ROUTES = (
    Route("/", front, methods=["GET"]),
    Route("/state", state, methods=["GET"]),
    Route("/static/{name}", static, methods=["GET"]),
)
