"""`/`: ask, see the knowledge bases, connect an assistant. It works without scripts, too."""

from __future__ import annotations

from collections.abc import AsyncIterator

from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from api import cookies
from api.auth import is_foreign_page
from api.connect import assistants
from api.permitted import permitted
from api.problems import Problem, problem_of
from api.prose import render_prose
from api.schemas import QUESTION_MAX
from api.service import Service, base_url, is_answer, last_answer, principal_of, service_of
from api.streams import begun, event, failure, stream
from api.templates import MEDIA_TYPES, render, render_page, static_file
from engine.access.gate import require
from engine.domain import Answer, Answered, AnswerEvent, Delta, Principal, Scope
from engine.errors import EngineError, InvalidInput
from engine.search.links import Links, is_web_address


async def front(request: Request) -> Response:
    """The front page; with `?q=` also the answer, for browsers without scripts."""
    service = service_of(request)
    principal = await principal_of(request)
    require(principal, Scope.KB_READ)
    question = request.query_params.get("q", "").strip()[:QUESTION_MAX]
    kb = request.query_params.get("kb", "")
    # Another site's link may fill in the box, but only the person here may ask.
    may_ask = not is_foreign_page(request.headers) and "sec-purpose" not in request.headers
    answer, problem = "", None
    if question and may_ask and request.method == "GET":
        answer, problem = await _answered(
            request, principal, await service.links(request, principal), question, kb
        )
    is_keyless = service.doorkeeper.is_keyless(request)
    page = render_page(
        "front.html",
        question=question,
        kb=kb,
        answer=answer,
        status=await service.engine.operations.status(principal),
        assistants=assistants(
            base_url(service.settings, request), service.settings.home, is_keyless=is_keyless
        ),
        is_keyless=is_keyless,
        signed_in=principal.session_id is not None,
        who=principal.name,
        csrf=cookies.csrf_token(service.engine.secrets, principal),
    )
    if problem is not None and problem.status == 503:  # the page is whole, its answer is not
        page.status_code = problem.status
        page.headers.update(dict(problem.headers))
    return page


async def _answered(
    request: Request, principal: Principal, links: Links, question: str, kb: str
) -> tuple[str, Problem | None]:
    """The answer as HTML; or why there is none, as HTML and as a problem."""
    require(principal, Scope.KB_ASK)
    service = service_of(request)
    events = _ask(request, principal, question, kb)
    try:
        with service.timed("ask"):
            return render_answer(await last_answer(events), links), None
    except EngineError as error:
        problem = problem_of(error)
        return render("refused.html", problem=problem), problem


async def ask(request: Request) -> Response:
    """The answer to a posted form, as events: text as it comes, then the answer as HTML."""
    service = service_of(request)
    principal = await principal_of(request)
    require(principal, Scope.KB_ASK)
    async with request.form(max_files=0, max_fields=4, max_part_size=32_768) as form:
        question, kb = form.get("q", ""), form.get("kb", "")
    if isinstance(question, UploadFile) or isinstance(kb, UploadFile) or not question.strip():
        raise InvalidInput("q: give a question.", field="q")
    links = await service.links(request, principal)
    events = _ask(request, principal, question.strip()[:QUESTION_MAX], kb)
    return stream(_events(service, await begun(events), links))


def _ask(
    request: Request, principal: Principal, question: str, kb: str
) -> AsyncIterator[AnswerEvent]:
    engine = service_of(request).engine
    audience = engine.people.audience_of_asker(principal)
    asked = engine.answers.ask(principal, audience, question, kb=kb, door="http")
    return permitted(request, principal, asked, is_last=is_answer)


async def _events(
    service: Service, events: AsyncIterator[AnswerEvent], links: Links
) -> AsyncIterator[str]:
    try:
        with service.timed("ask"):
            async for item in events:
                if isinstance(item, Answered):
                    yield event("answered", {"html": render_answer(item.answer, links)})
                elif isinstance(item, Delta):
                    yield event("delta", {"text": item.text})
                else:
                    yield event("searching", {"query": item.query})
    except Exception as error:  # noqa: BLE001 (the reader of the stream still gets a reason)
        yield failure(error)


def render_answer(answer: Answer, links: Links) -> str:
    """An answer with its citations as HTML; each opens highlighted in its document."""
    return render(
        "answer.html",
        answer=answer,
        text=render_prose(answer.text, refs={citation.n for citation in answer.citations}),
        citations=[
            (
                citation,
                render_prose(citation.quote),
                f"{links.viewer(citation.id)}?quote={citation.start}-{citation.end}#passage",
                citation.url if is_web_address(citation.url) else "",
            )
            for citation in answer.citations
        ],
    )


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
    Route("/ask", ask, methods=["POST"]),
    Route("/state", state, methods=["GET"]),
    Route("/static/{name}", static, methods=["GET"]),
)
