"""The pages of signing in: sign in and out, the account, and what a one-time link opens.

They work without scripts. A one-time link carries its secret after the `#`, which no server sees
and no log keeps: `link.js` moves it into the form's field. Opening the page changes nothing, so that
programs that look into mail use no link up.
"""

from __future__ import annotations

from typing import Any

from starlette.datastructures import FormData, UploadFile
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from api import cookies
from api.problems import problem_of
from api.service import Service, service_of
from api.templates import render_page
from engine.domain import Principal
from engine.errors import EngineError, StepUpRequired, Unauthenticated
from engine.people.sign_in import SignIn

FIELD_MAX = 8192  # bytes of a form's field


async def show_sign_in(request: Request) -> Response:
    """The form, or on to where a signed-in person wanted to go."""
    return_to = cookies.own_path(request.query_params.get("return_to", "/"))
    if await service_of(request).doorkeeper.signed_in(request):
        return RedirectResponse(return_to, status_code=303)
    return _page("sign_in.html", return_to=return_to, email="")


async def sign_in(request: Request) -> Response:
    """A new session in this browser, whatever cookie came with the request."""
    cookies.require_origin(request)
    form = await _form(request)
    return_to, email = cookies.own_path(_field(form, "return_to") or "/"), _field(form, "email")
    try:
        signed_in = await _signing(request).with_password(
            email,
            _field(form, "password"),
            kind="browser",
            client=cookies.client_of(request),
            code=_field(form, "code"),
        )
    except EngineError as error:
        return _refused("sign_in.html", error, return_to=return_to, email=email)
    response = RedirectResponse(return_to, status_code=303)
    cookies.set_signed_in(response, request, signed_in)
    return response


async def sign_out(request: Request) -> Response:
    """End this browser's session, or all of the account's."""
    principal, form = await _changing(request)
    if _field(form, "everywhere"):
        await _signing(request).sign_out_everywhere(principal)
    else:
        await _signing(request).sign_out(principal)
    response = RedirectResponse("/sign-in", status_code=303)
    cookies.clear_session(response, request)
    return response


async def show_account(request: Request) -> Response:
    """The account: its sessions and its password."""
    return await _account(request, await _signed_in(request))


async def end_session(request: Request) -> Response:
    """End another session of the account."""
    principal, form = await _changing(request)
    await _signing(request).sign_out(principal, _field(form, "session_id"))
    return RedirectResponse("/account", status_code=303)


async def change_password(request: Request) -> Response:
    """Set another password; the account's other sessions end."""
    principal, form = await _changing(request)
    try:
        await _signing(request).change_password(
            principal,
            _field(form, "current_password"),
            _field(form, "new_password"),
            cookies.client_of(request),
        )
    except EngineError as error:
        return await _account(request, principal, error)
    return await _account(request, principal, done="Your password is changed.")


async def show_confirm(request: Request) -> Response:
    """The form that confirms who is signed in, before what is dangerous."""
    principal = await _signed_in(request)
    return_to = cookies.own_path(request.query_params.get("return_to", "/account"))
    return await _confirm_page(request, principal, return_to)


async def confirm(request: Request) -> Response:
    """Confirm who is signed in: ten minutes of admin verbs, and another cookie."""
    principal, form = await _changing(request)
    return_to = cookies.own_path(_field(form, "return_to") or "/account")
    try:
        confirmed = await _signing(request).step_up(
            principal,
            password=_field(form, "password"),
            code=_field(form, "code"),
            client=cookies.client_of(request),
        )
    except EngineError as error:
        return await _confirm_page(request, principal, return_to, error)
    response = RedirectResponse(return_to, status_code=303)
    cookies.set_signed_in(response, request, confirmed)
    return response


async def begin_app(request: Request) -> Response:
    """The secret of a new authenticator app, and the field for its first code."""
    principal, _ = await _changing(request)
    try:
        secret, url = await _signing(request).begin_app(principal)
    except StepUpRequired:
        return RedirectResponse("/account/confirm", status_code=303)
    except EngineError as error:
        return await _account(request, principal, error)
    csrf = cookies.csrf_token(service_of(request).engine.secrets, principal)
    return _page("app.html", secret=secret, url=url, csrf=csrf, codes=())


async def confirm_app(request: Request) -> Response:
    """Take the app's first code; shows the recovery codes, this once."""
    principal, form = await _changing(request)
    try:
        codes = await _signing(request).confirm_app(principal, _field(form, "code"))
    except StepUpRequired:
        return RedirectResponse("/account/confirm", status_code=303)
    except EngineError as error:
        return await _account(request, principal, error)
    return _page("app.html", secret="", url="", codes=codes)


async def remove_app(request: Request) -> Response:
    """Forget the authenticator app."""
    principal, _ = await _changing(request)
    try:
        await _signing(request).remove_app(principal)
    except StepUpRequired:
        return RedirectResponse("/account/confirm", status_code=303)
    return await _account(request, principal, done="Your authenticator app is removed.")


async def show_welcome(request: Request) -> Response:
    """The first owner's form: an address and a password."""
    del request
    return _page("welcome.html", email="", person="")


async def welcome(request: Request) -> Response:
    """Make the first owner's account usable, and sign them in."""
    cookies.require_origin(request)
    form = await _form(request)
    email, name = _field(form, "email"), _field(form, "name")
    try:
        signed_in = await _signing(request).claim_owner(
            _field(form, "link"),
            email=email,
            name=name,
            password=_field(form, "password"),
            client=cookies.client_of(request),
        )
    except EngineError as error:
        return _refused("welcome.html", error, email=email, person=name)
    response = RedirectResponse("/", status_code=303)
    cookies.set_signed_in(response, request, signed_in)
    return response


async def show_set_password(request: Request) -> Response:
    """The form that a password link opens."""
    del request
    return _page("set_password.html")


async def set_password(request: Request) -> Response:
    """Set a password by a one-time link; then it is asked for once."""
    cookies.require_origin(request)
    form = await _form(request)
    try:
        email = await _signing(request).set_password(_field(form, "link"), _field(form, "password"))
    except EngineError as error:
        return _refused("set_password.html", error)
    done = "Your password is set. Sign in with it."
    response = _page("sign_in.html", return_to="/", email=email, done=done)
    cookies.clear_session(response, request)
    return response


async def _account(
    request: Request, principal: Principal, error: EngineError | None = None, *, done: str = ""
) -> Response:
    service = service_of(request)
    values: dict[str, Any] = {
        "principal": principal,
        "sessions": await _signing(request).list_sessions(principal),
        "has_app": await _signing(request).has_app(principal),
        "csrf": cookies.csrf_token(service.engine.secrets, principal),
    }
    if error is not None:
        return _refused("account.html", error, **values)
    return _page("account.html", done=done, **values)


async def _confirm_page(
    request: Request, principal: Principal, return_to: str, error: EngineError | None = None
) -> Response:
    values: dict[str, Any] = {
        "return_to": return_to,
        "has_app": await _signing(request).has_app(principal),
        "csrf": cookies.csrf_token(service_of(request).engine.secrets, principal),
    }
    if error is not None:
        return _refused("confirm.html", error, **values)
    return _page("confirm.html", **values)


async def _signed_in(request: Request) -> Principal:
    found = await service_of(request).doorkeeper.signed_in(request)
    if found is None:
        raise Unauthenticated("Sign in to see your account.")
    return found


async def _changing(request: Request) -> tuple[Principal, FormData]:
    """Who is signed in and what they sent, from a page of ours."""
    principal, form = await _signed_in(request), await _form(request)
    service: Service = service_of(request)
    cookies.require_own_page(service.engine.secrets, principal, request, _field(form, "csrf"))
    return principal, form


async def _form(request: Request) -> FormData:
    async with request.form(max_files=0, max_fields=10, max_part_size=FIELD_MAX) as form:
        return form


def _field(form: FormData, name: str) -> str:
    value = form.get(name, "")
    return "" if isinstance(value, UploadFile) else value[:FIELD_MAX]


def _signing(request: Request) -> SignIn:
    return service_of(request).engine.people.sign_in


def _refused(template: str, error: EngineError, **values: object) -> Response:
    problem = problem_of(error)
    page = _page(template, status_code=problem.status, problem=problem, **values)
    page.headers.update(dict(problem.headers))
    return page


def _page(template: str, *, status_code: int = 200, **values: object) -> Response:
    values = {"problem": None, "done": "", "csrf": ""} | values
    page = render_page(template, status_code=status_code, **values)
    # Without a referrer, browsers don't say in `Origin` that a form was ours.
    page.headers["Referrer-Policy"] = "same-origin"
    page.headers["X-Robots-Tag"] = "noindex, nofollow"
    return page


ROUTES = (
    Route("/account", show_account, methods=["GET"]),
    Route("/account/app", begin_app, methods=["POST"]),
    Route("/account/app/confirm", confirm_app, methods=["POST"]),
    Route("/account/app/remove", remove_app, methods=["POST"]),
    Route("/account/confirm", show_confirm, methods=["GET"]),
    Route("/account/confirm", confirm, methods=["POST"]),
    Route("/account/password", change_password, methods=["POST"]),
    Route("/account/sessions", end_session, methods=["POST"]),
    Route("/set-password", show_set_password, methods=["GET"]),
    Route("/set-password", set_password, methods=["POST"]),
    Route("/sign-in", show_sign_in, methods=["GET"]),
    Route("/sign-in", sign_in, methods=["POST"]),
    Route("/sign-out", sign_out, methods=["POST"]),
    Route("/welcome", show_welcome, methods=["GET"]),
    Route("/welcome", welcome, methods=["POST"]),
)
