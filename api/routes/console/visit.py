"""Who visits a page of the console, what they sent, and the page or the way on that they get."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import quote, unquote

from starlette.datastructures import FormData, UploadFile
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from api import cookies
from api.problems import problem_of
from api.service import Service, principal_of, service_of
from api.templates import render_page
from engine.access.gate import may, reaches_all
from engine.domain import Principal, Scope
from engine.engine import Engine
from engine.errors import EngineError, StepUpRequired

FIELD_MAX = 8192  # bytes of a form's field
FIELDS_MAX = 200  # of a form: as many documents can be chosen at once, and more
SAID = "sj_said"  # the cookie that carries what was done to the page that says it
SAID_S = 60


@dataclass(frozen=True, slots=True)
class Tab:
    """A page of the console's navigation."""

    name: str
    path: str


@dataclass(frozen=True, slots=True)
class Visit:
    """A person at a page of the console."""

    request: Request
    service: Service
    principal: Principal

    @property
    def engine(self) -> Engine:
        """The engine, whose verbs decide what this person may do."""
        return self.service.engine

    def sees_all(self, verb: str) -> bool:
        """Whether a verb reaches every knowledge base of theirs, granted or not."""
        return reaches_all(self.principal, verb)

    def page(
        self, template: str, *, error: EngineError | None = None, **values: object
    ) -> Response:
        """A page of `api/pages/console/`; with an error it says it, and has its status."""
        problem = problem_of(error) if error is not None else None
        said = unquote(self.request.cookies.get(SAID, ""))[:300]
        page = render_page(
            f"console/{template}",
            status_code=200 if problem is None else problem.status,
            problem=problem,
            done="" if problem else said,
            tabs=tabs_for(self.principal),
            here=self.request.url.path,
            principal=self.principal,
            csrf=cookies.csrf_token(self.engine.secrets, self.principal),
            **values,
        )
        if problem is not None:
            page.headers.update(dict(problem.headers))
        if said:
            page.delete_cookie(SAID, path="/console", httponly=True, samesite="lax")
        # Without a referrer, browsers don't say in `Origin` that a form was ours.
        page.headers["Referrer-Policy"] = "same-origin"
        page.headers["X-Robots-Tag"] = "noindex, nofollow"
        return page

    def on(self, path: str, said: str = "") -> Response:
        """On to another page, which says what was done."""
        response = RedirectResponse(path, status_code=303)
        if said:
            response.set_cookie(
                SAID,
                quote(said),
                max_age=SAID_S,
                path="/console",
                secure=cookies.is_encrypted(self.request),
                httponly=True,
                samesite="lax",
            )
        return response

    def to_confirm(self, path: str) -> Response:
        """On to the page that asks who is there, and back."""
        return RedirectResponse(f"/account/confirm?return_to={quote(path)}", status_code=303)


def tabs_for(principal: Principal) -> Sequence[Tab]:
    """The pages that this person has a use for."""
    tabs = [Tab("Ask", "/"), Tab("Knowledge", "/console")]
    if Scope.KB_READ in principal.scopes:
        tabs.append(Tab("Files", "/console/files"))
    if Scope.KB_ADMIN in principal.scopes:
        tabs.append(Tab("Sources", "/console/sources"))
    if may(principal, "assistant.use"):
        tabs.append(Tab("Assistants", "/console/assistants"))
    if Scope.KB_ASK in principal.scopes:
        tabs.append(Tab("Workflows", "/console/workflows"))
    if may(principal, "member.list"):
        tabs.append(Tab("People", "/console/people"))
    if Scope.KB_READ in principal.scopes:
        tabs.append(Tab("Tokens", "/console/tokens"))
    if may(principal, "insight.list"):
        tabs.append(Tab("Insight", "/console/insight"))
    if may(principal, "audit.list"):
        tabs.append(Tab("Activity", "/console/activity"))
    return tabs


async def visit(request: Request) -> Visit:
    """Who looks at a page; raises `Unauthenticated`, which leads to the sign-in page."""
    return Visit(request, service_of(request), await principal_of(request))


async def sender(request: Request) -> Visit:
    """Who sends a form, before it is read: it comes from a page of this server.

    The form itself proves more (`require_own_form`), as soon as it is read.
    """
    service = service_of(request)
    if not request.headers.get("authorization"):
        cookies.require_origin(request)
        if signed_in := await service.doorkeeper.signed_in(request):
            return Visit(request, service, signed_in)
    return Visit(request, service, await service.doorkeeper.principal(request))


async def sent(
    request: Request, *, max_fields: int = FIELDS_MAX, max_bytes: int = FIELD_MAX
) -> tuple[Visit, FormData]:
    """Who sends a form, and the form; its limits are of the number and the size of fields."""
    visit = await sender(request)
    limits = {"max_files": 0, "max_fields": max_fields, "max_part_size": max_bytes}
    async with request.form(**limits) as form:
        require_own_form(visit, form)
        return visit, form


def require_own_form(visit: Visit, form: FormData) -> None:
    """Refuse a form that a signed-in browser sends without what only our pages know."""
    if visit.principal.session_id is not None:
        known = field(form, "csrf") or visit.request.headers.get("x-csrf-token")
        cookies.require_own_page(visit.engine.secrets, visit.principal, visit.request, known)


def field(form: FormData, name: str) -> str:
    """A field of a form, or nothing."""
    value = form.get(name, "")
    return "" if isinstance(value, UploadFile) else value.strip()[:FIELD_MAX]


def fields(form: FormData, name: str) -> list[str]:
    """All fields of a name."""
    return [item for item in form.getlist(name) if isinstance(item, str) and item]


def is_confirmation_needed(error: EngineError) -> bool:
    """Whether the person must say once more who they are."""
    return isinstance(error, StepUpRequired)
