"""`/v/<signed>`: a document at the cited passage, for the person the link was made for.

The signature is the credential; at each opening the engine checks again whether that person may see
the document, and whether the passage is unchanged.
"""

from __future__ import annotations

import re

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from api.prose import Mark, render_prose
from api.service import service_of
from api.templates import render_page
from engine.errors import InvalidInput
from engine.search import links
from engine.search.pages import PAGE_CHARS, Page

_QUOTE = re.compile(r"(\d{1,9})-(\d{1,9})", re.ASCII)


async def view(request: Request) -> Response:
    """One page of a document."""
    engine = service_of(request).engine
    signed = request.path_params["signed"]
    page = await engine.search.open_link(signed)
    at = request.query_params.get("at", "")
    if at:
        page = await engine.search.open_link(links.turn(engine.secrets, signed, _page_id(page, at)))
    response = render_page(
        "viewer.html",
        page=page,
        signed=signed,
        prose=render_prose(page.text, marks=_marks(page, request.query_params.get("quote", ""))),
        source=page.url if links.is_web_address(page.url) else "",
        previous_at=max(0, page.start - PAGE_CHARS) if page.start else None,
        next_at=page.end if page.next_id else None,
    )
    response.headers["X-Robots-Tag"] = "noindex, nofollow"
    return response


def _page_id(page: Page, at: str) -> str:
    if not (at.isascii() and at.isdecimal() and len(at) < 12):
        raise InvalidInput("This page of the document does not exist.", field="at")
    return f"{page.document_id}~{at}"


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


ROUTES = (Route("/v/{signed}", view, methods=["GET"], name="viewer"),)
