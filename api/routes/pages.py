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
from api.problems import problem_of
from api.prose import render_prose
from api.schemas import QUESTION_MAX
from api.service import Service, base_url, last_answer, principal_of, service_of
from api.streams import event, failure, stream
from api.templates import MEDIA_TYPES, render, render_page, static_file
from engine.access.gate import require
from engine.domain import Answer, Answered, Delta, Principal, Scope
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
    answer = ""
    if question and may_ask and request.method == "GET":
        answer = await _answered(
            service, principal, service.links(request, principal), question, kb
        )
    is_keyless = service.doorkeeper.is_keyless(request)
    return render_page(
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


async def _answered(
    service: Service, principal: Principal, links: Links, question: str, kb: str
) -> str:
    """The answer as HTML, or why there is none."""
    require(principal, Scope.KB_ASK)
    audience = service.engine.people.audience_of_asker(principal)
    events = service.engine.answers.ask(principal, audience, question, kb=kb, door="http")
    try:
        with service.timed("ask"):
            return render_answer(await last_answer(events), links)
    except EngineError as error:
        return render("refused.html", problem=problem_of(error))


async def ask(request: Request) -> Response:
    """The answer to a posted form, as events: text as it comes, then the answer as HTML."""
    service = service_of(request)
    principal = await principal_of(request)
    require(principal, Scope.KB_ASK)
    async with request.form(max_files=0, max_fields=4, max_part_size=32_768) as form:
        question, kb = form.get("q", ""), form.get("kb", "")
    if isinstance(question, UploadFile) or isinstance(kb, UploadFile) or not question.strip():
        raise InvalidInput("q: give a question.", field="q")
    links = service.links(request, principal)
    return stream(_events(service, principal, links, question.strip()[:QUESTION_MAX], kb))


async def _events(
    service: Service, principal: Principal, links: Links, question: str, kb: str
) -> AsyncIterator[str]:
    audience = service.engine.people.audience_of_asker(principal)
    try:
        with service.timed("ask"):
            async for item in service.engine.answers.ask(
                principal, audience, question, kb=kb, door="http"
            ):
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
