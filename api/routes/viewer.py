"""`/d/…`: a document, at the cited passage. `/v/…`: the same for who can't sign in.

An address asks who opens it: a bearer token, a signed-in browser, or the local owner. A link of
`/v/` stands for a credential, and belongs to the browser that opens it first. In both cases the gate
decides at each opening, and a passage that changed since it was cited says so.
"""

from __future__ import annotations

import re
import secrets

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from api.cookies import address_of, is_encrypted
from api.prose import Mark, render_prose
from api.service import principal_of, service_of
from api.templates import render_page
from engine.errors import InvalidInput, LinkEnded, NotFound
from engine.search import links
from engine.search.pages import PAGE_CHARS, Page
from engine.search.reading_links import Opener

READER = "sj_reader"  # the cookie of a browser that opened a link
READER_S = 24 * 3600
_QUOTE = re.compile(r"(\d{1,9})-(\d{1,9})", re.ASCII)
_SECRET = re.compile(r"[0-9A-Za-z_-]{22}", re.ASCII)


async def show_document(request: Request) -> Response:
    """One page of a document, for who may read it; absent and forbidden look the same."""
    engine = service_of(request).engine
    principal = await principal_of(request)
    id_ = links.id_of(request.url.path)
    if not id_:
        raise NotFound("Nothing here that you may read.")
    page = await engine.search.fetch(principal, id_)
    if (at := _offset(request)) is not None:
        page = await engine.search.fetch(principal, f"{page.document_id}~{at}")
    return _show(request, page)


async def show_linked(request: Request) -> Response:
    """One page of the document that a link was made for."""
    if request.method == "HEAD" or "sec-purpose" in request.headers:
        return Response(status_code=204)  # a preview must not use it up
    engine = service_of(request).engine
    known = request.cookies.get(_cookie(request), "")
    secret = known if _SECRET.fullmatch(known) else secrets.token_urlsafe(16)
    is_browser = request.headers.get("sec-fetch-user") == "?1"
    opener = Opener(secret, is_browser=is_browser, address=address_of(request))
    signed = request.path_params["signed"]
    try:
        page = await engine.search.open_link(signed, opener, at=_offset(request))
    except LinkEnded as error:
        if "text/html" not in request.headers.get("accept", ""):
            raise
        return render_page("ended.html", status_code=410, said=str(error), path=error.path)
    response = _show(request, page)
    if secret != known:
        _keep(response, request, secret)
    return response


def _show(request: Request, page: Page) -> Response:
    at = max(0, page.start - PAGE_CHARS) if page.start else None
    response = render_page(
        "viewer.html",
        page=page,
        path=request.url.path,
        prose=render_prose(page.text, marks=_marks(page, request.query_params.get("quote", ""))),
        source=page.url if links.is_web_address(page.url) else "",
        previous_at=at,
        next_at=page.end if page.next_id else None,
    )
    response.headers["Cache-Control"] = "private, no-store"
    response.headers["Referrer-Policy"] = "no-referrer"
    response.headers["Vary"] = "Authorization, Cookie"
    response.headers["X-Robots-Tag"] = "noindex, nofollow"
    return response


def _offset(request: Request) -> int | None:
    at = request.query_params.get("at", "")
    if not at:
        return None
    if not (at.isascii() and at.isdecimal() and len(at) < 12):
        raise InvalidInput("This page of the document does not exist.", field="at")
    return int(at)


def _marks(page: Page, quote: str) -> list[Mark]:
    """The cited passage, and over it the quote if the link names one."""
    if page.highlight is None:
        return []
    start, end = page.highlight
    marks = [Mark(start - page.start, end - page.start)]
    if found := _QUOTE.fullmatch(quote):
        left, right = max(int(found[1]), start), min(int(found[2]), end)
        if left < right:
            marks.append(Mark(left - page.start, right - page.start, "quote"))
    return marks


def _cookie(request: Request) -> str:
    return f"__Host-{READER}" if is_encrypted(request) else READER


def _keep(response: Response, request: Request, secret: str) -> None:
    """Give the browser what it is known by while its links last."""
    response.set_cookie(
        _cookie(request),
        secret,
        max_age=READER_S,
        path="/",
        secure=is_encrypted(request),
        httponly=True,
        samesite="lax",
    )


ROUTES = (
    Route("/d/{name}", show_document, methods=["GET"]),
    Route("/d/{name}/{passage}", show_document, methods=["GET"]),
    Route("/v/{signed}", show_linked, methods=["GET"], name="viewer"),
)
