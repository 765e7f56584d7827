"""`/widget.js` and `/embed/{widget}`: an assistant in a frame on a page of another site.

The script puts the frame on the page, and the frame is a page of this server: neither can read
the other. The sites that may show it stand in its content security policy. For anyone, a widget
answers as its service key, without addresses of documents, which a visitor could not open; members
are answered as themselves, where their browser sends their session's cookie to a frame.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Annotated

from pydantic import Field
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from api import cookies
from api.middleware import CONTENT_SECURITY_POLICY
from api.permitted import permitted
from api.prose import render_prose
from api.schemas import QUESTION_MAX, Body, QuestionText, read_body
from api.service import Service, is_answer, principal_of, service_of, take_quota
from api.streams import begun, event, failure, stream
from api.templates import MEDIA_TYPES, render, render_page, static_file
from engine import clock
from engine.assistants.widgets import OpenWidget
from engine.domain import Answer, Answered, AnswerEvent, Delta, Principal
from engine.errors import NotFound, Unauthenticated
from engine.search.links import Links, is_web_address

CONVERSATION_LASTS = timedelta(days=1)


class WidgetQuestion(Body):
    """A visitor's question; `conversation` is what the answer before came with."""

    question: QuestionText
    conversation: Annotated[str, Field(max_length=400)] = ""


async def script(request: Request) -> Response:
    """What pages of other sites load: it puts the button and the frame on them."""
    content, digest = static_file("widget.js")
    etag = f'"{digest}"'
    headers = {
        "Cache-Control": "public, max-age=300",
        "Cross-Origin-Resource-Policy": "cross-origin",
        "ETag": etag,
    }
    if request.headers.get("if-none-match") == etag:
        return Response(status_code=304, headers=headers)
    return Response(content, media_type=MEDIA_TYPES["widget.js"], headers=headers)


async def show(request: Request) -> Response:
    """The page in the frame."""
    service = service_of(request)
    widget = await service.engine.widgets.open(request.path_params["widget"])
    visitor = await _visitor(request, widget)
    page = render_page(
        "widget.html",
        widget=widget.info,
        profile=widget.assistant.answers,
        state=_state(widget, visitor),
        question_max=QUESTION_MAX,
        csrf="" if visitor is None else cookies.csrf_token(service.engine.secrets, visitor),
    )
    framing = f"frame-ancestors {' '.join(widget.info.origins)}"
    policy = CONTENT_SECURITY_POLICY.replace("frame-ancestors 'none'", framing)
    page.headers["Content-Security-Policy"] = policy
    page.headers["Cross-Origin-Resource-Policy"] = "cross-origin"
    page.headers["Referrer-Policy"] = "same-origin"  # else its questions have no origin
    page.headers["X-Robots-Tag"] = "noindex, nofollow"
    return page


def _state(widget: OpenWidget, visitor: Principal | None) -> str:
    if visitor is not None:
        return "open"
    return "closed" if widget.info.readers == "anyone" else "sign_in"


async def _visitor(request: Request, widget: OpenWidget) -> Principal | None:
    """Whom the widget answers; None where it is nobody."""
    if widget.info.readers == "anyone":
        return widget.principal
    try:
        principal = await principal_of(request)
    except Unauthenticated:
        return None
    return principal if principal.tenant_id == widget.tenant_id else None


async def ask(request: Request) -> Response:
    """Answer a visitor, as a stream of events."""
    service = service_of(request)
    cookies.require_origin(request)
    widget = await service.engine.widgets.open(request.path_params["widget"])
    visitor = await _visitor(request, widget)
    if visitor is None:
        raise Unauthenticated("This widget answers nobody here: sign in, or ask its owner.")
    taken = await service.visitors.take_of(f"{widget.info.id}:{cookies.address_of(request)}")
    service.visitors.require(taken)
    request.state.response_headers = dict(service.visitors.headers(taken))
    await take_quota(request, visitor)
    body = await read_body(request, WidgetQuestion)
    links = None
    if widget.info.readers == "members":
        links = await service.links(request, visitor)

    async def again() -> Principal:
        present = await _visitor(request, await service.engine.widgets.open(widget.info.id))
        if present is None:
            raise Unauthenticated("This widget answers nobody here any more.")
        return present

    asked = service.engine.answers.ask(
        visitor,
        service.engine.people.audience_of_asker(visitor),
        body.question,
        conversation_id=_conversation(service, widget, body.conversation),
        door="widget",
        assistant=widget.assistant if links is None else widget.assistant.id,
    )
    events = permitted(request, visitor, asked, is_last=is_answer, again=again)
    return stream(_events(service, widget, await begun(events), links))


async def _events(
    service: Service, widget: OpenWidget, events: AsyncIterator[AnswerEvent], links: Links | None
) -> AsyncIterator[str]:
    try:
        with service.timed("ask"):
            async for item in events:
                if isinstance(item, Answered):
                    known = f"widget:{widget.info.id}:{item.answer.conversation_id}"
                    signed = service.engine.secrets.sign(
                        "sessions", known, expires_at=clock.now() + CONVERSATION_LASTS
                    )
                    html = _render(item.answer, links)
                    yield event("answered", {"html": html, "conversation": signed})
                elif isinstance(item, Delta):
                    yield event("delta", {"text": item.text})
    except Exception as error:  # noqa: BLE001 (the stream has begun: it says what went wrong)
        yield failure(error)


def _conversation(service: Service, widget: OpenWidget, signed: str) -> str:
    """The conversation that goes on: only who was answered in it has its proof."""
    if not signed:
        return ""
    try:
        known = service.engine.secrets.verify("sessions", signed)
    except Unauthenticated:
        known = ""
    head = f"widget:{widget.info.id}:"
    if not known.startswith(head):
        raise NotFound("This conversation is over: ask without it.")
    return known.removeprefix(head)


def _render(answer: Answer, links: Links | None) -> str:
    """An answer with its quotes; sources open in a page of their own, where the visitor may."""
    cited = []
    for citation in answer.citations:
        url = citation.url if is_web_address(citation.url) else ""
        cited.append((citation, links.viewer(citation.id) if links else url))
    refs = {citation.n for citation in answer.citations}
    text = render_prose(answer.text, refs=refs, anchor="source")
    return render("widget_answer.html", answer=answer, text=text, cited=cited)


ROUTES = (
    Route("/widget.js", script, methods=["GET"]),
    Route("/embed/{widget}", show, methods=["GET"]),
    Route("/embed/{widget}/ask", ask, methods=["POST"]),
)
